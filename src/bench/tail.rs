//! `callers_tail`: how long the slowest of 8 callers wait, against the time of the batch that they make up.

use std::time::Instant;

use super::contender::{Contender, nanoseconds, stream_of};
use super::store::StoreContender;
use super::study::Subject;
use super::{Plan, percentile};
use crate::error::Result;

const CALLERS: usize = 8;

pub(super) async fn run(plan: &Plan, subject: &mut Subject<'_>) -> Result<()> {
    let database = subject.fresh().await?;
    let ours = StoreContender::open(&*database).await?;
    let (mut single, mut batches) = (Vec::new(), Vec::new());
    let requests = plan.thousands * 1_000 / CALLERS;
    for round in 0..=plan.rounds {
        let times = ours.append(CALLERS, requests, 1).await?;
        let alone = lone_batches(&ours, requests).await?;
        if round > 0 {
            single.extend(times);
            batches.extend(alone);
        }
    }
    single.sort_unstable();
    batches.sort_unstable();
    let (p99, batch) = (percentile(&single, 99), percentile(&batches, 50));
    subject.found("8 callers: p50", percentile(&single, 50), "µs");
    subject.found("8 callers: p99", p99, "µs");
    subject.found("one request that writes 8 streams, alone: p50", batch, "µs");
    subject.found("p99 of 8 callers / p50 of that request", p99 / batch, "ratio");
    ours.close().await;
    Ok(())
}

/// Appends what a batch of 8 callers holds as one request, with nobody else there: one commit.
async fn lone_batches(ours: &StoreContender, requests: usize) -> Result<Vec<u64>> {
    let mut times = Vec::with_capacity(requests);
    for request in 0..requests {
        let start = Instant::now();
        ours.append_to_each((0..CALLERS).map(|caller| stream_of(caller, request)), 1).await?;
        times.push(nanoseconds(start));
    }
    Ok(times)
}
