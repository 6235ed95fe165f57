//! `callers_tail`: how long the slowest of 8 callers wait, against the time of the batch that they make up.
//!
//! A caller whose request just missed a batch waits for that one and for its own, so that twice a batch is the least that
//! the slowest can wait. The batch's time is what the writer counted while the callers ran, a mean in each round of which
//! the median counts; and, beside it, the time of one request of the same 8 events with nobody else there.

use std::time::Instant;

use super::contender::{Contender, nanoseconds, stream_of};
use super::store::StoreContender;
use super::study::Subject;
use super::{Plan, median, percentile};
use crate::error::Result;

const CALLERS: usize = 8;

pub(super) async fn run(plan: &Plan, subject: &mut Subject<'_>) -> Result<()> {
    let database = subject.fresh().await?;
    let ours = StoreContender::open(&*database).await?;
    let (mut single, mut alone) = (Vec::new(), Vec::new());
    let (mut commits, mut sizes) = (Vec::new(), Vec::new());
    let requests = plan.thousands * 1_000 / CALLERS;
    for round in 0..=plan.rounds {
        let before = ours.store().metrics()[0];
        let times = ours.append(CALLERS, requests, 1).await?;
        let after = ours.store().metrics()[0];
        let lone = lone_batches(&ours, requests).await?;
        if round > 0 {
            single.extend(times);
            alone.extend(lone);
            let batches = (after.batches - before.batches) as f64;
            commits.push((after.commit_time.as_secs_f64() - before.commit_time.as_secs_f64()) * 1e6 / batches);
            sizes.push((after.requests - before.requests) as f64 / batches);
        }
    }
    single.sort_unstable();
    alone.sort_unstable();
    let (p99, commit, lone) = (percentile(&single, 99), median(commits), percentile(&alone, 50));
    subject.found("8 callers: p50", percentile(&single, 50), "µs");
    subject.found("8 callers: p99", p99, "µs");
    subject.found("their batches: requests", median(sizes), "a batch");
    subject.found("their batches: time in the database", commit, "µs");
    subject.found("one request of 8 events, alone: p50", lone, "µs");
    subject.found("p99 / time of a batch", p99 / commit, "ratio");
    subject.found("p99 / p50 of the request alone", p99 / lone, "ratio");
    ours.close().await;
    Ok(())
}

/// Appends what a batch of 8 callers holds as one request, with nobody else there: one commit.
async fn lone_batches(ours: &StoreContender, requests: usize) -> Result<Vec<u64>> {
    let mut times = Vec::with_capacity(requests);
    for request in 0..requests {
        let start = Instant::now();
        ours.append_to_each((0..CALLERS).map(|caller| stream_of(caller, request)), 0..1).await?;
        times.push(nanoseconds(start));
    }
    Ok(times)
}
