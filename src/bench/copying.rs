//! `copy`: how fast a topic is copied to another database, beside batched inserts of as many events into a third, and
//! compared.

use std::time::Instant;

use super::store::StoreContender;
use super::study::{Subject, fill};
use super::{Contender, Plan, median};
use crate::copy::TopicCopy;
use crate::error::{Error, Result};

/// Events that are inserted in one transaction, as many as a copy commits together.
const BATCH: usize = 2_000;

pub(super) async fn run(plan: &Plan, subject: &mut Subject<'_>) -> Result<()> {
    let database = subject.fresh().await?;
    let ours = StoreContender::open(&*database).await?;
    let events = plan.thousands * 20_000;
    fill(&ours, 0..events / 100).await?;
    let (mut copies, mut inserts, mut compared) = (Vec::new(), Vec::new(), Vec::new());
    for round in 0..=plan.rounds {
        let target = subject.fresh().await?;
        target.open(&[]).await?.close().await;
        let url = target.url().ok_or(Error::Unsupported { backend: "this", what: "urls" })?;
        let copy = TopicCopy::begin(ours.store().clone(), url.parse()?).await?;
        let start = Instant::now();
        copy.run(|_| {}).await?;
        let took = start.elapsed();
        let start = Instant::now();
        let verified = copy.verify(|_| {}).await?;
        let verifying = start.elapsed();
        copy.to().close().await;
        if !verified.is_same() || verified.events != events as u64 {
            return Err(Error::invalid("copy", format!("it is not the same: {verified:?}")));
        }
        let third = subject.fresh().await?;
        third.open(&[]).await?.close().await;
        let inserter = super::raw_inserter(&*third, subject.scheme).await?;
        let start = Instant::now();
        for first in (0..events).step_by(BATCH) {
            inserter.insert(first, BATCH.min(events - first), true).await?;
        }
        if round > 0 {
            copies.push(events as f64 / took.as_secs_f64());
            inserts.push(events as f64 / start.elapsed().as_secs_f64());
            compared.push(events as f64 / verifying.as_secs_f64());
        }
    }
    let ratios = copies.iter().zip(&inserts).map(|(copied, inserted)| copied / inserted).collect();
    subject.found("copied", median(copies), "events/s");
    subject.found("inserted in batches", median(inserts), "events/s");
    subject.found("copied to inserted", median(ratios), "ratio");
    subject.found("compared", median(compared), "events/s");
    ours.close().await;
    Ok(())
}
