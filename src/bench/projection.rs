//! `projection`: how fast a projection applies a log, with one upsert an event, beside the same upserts alone.

use std::time::Instant;

use async_trait::async_trait;

use super::contender::{COUNTS, Contender as _, UPSERT, nanoseconds};
use super::store::StoreContender;
use super::study::{Subject, fill, stream_name};
use super::{Plan, median};
use crate::error::Result;
use crate::event::RecordedEvent;
use crate::projection::{Projection, ProjectionResult};
use crate::transaction::Transaction;

/// Events of a transaction, as a runner has them without a setting.
const BATCH: usize = 500;
/// Events of a stream, each of which has a row of the read model.
const PER_STREAM: usize = 100;

/// Counts the events of each stream.
struct Counts;

#[async_trait]
impl Projection for Counts {
    fn name(&self) -> &'static str {
        "counts"
    }

    async fn create(&mut self, transaction: &mut Transaction) -> ProjectionResult {
        transaction.execute(COUNTS, &[]).await?;
        Ok(())
    }

    async fn apply(&mut self, transaction: &mut Transaction, event: &RecordedEvent) -> ProjectionResult {
        transaction.execute(&UPSERT.replace("$1", "?"), &[(&event.aggregate_id).into()]).await?;
        Ok(())
    }

    async fn clear(&mut self, transaction: &mut Transaction) -> ProjectionResult {
        transaction.execute("DELETE FROM counts", &[]).await?;
        Ok(())
    }
}

pub(super) async fn run(plan: &Plan, subject: &mut Subject<'_>) -> Result<()> {
    let events = plan.thousands * 1_000;
    let (ours, bare) = (subject.fresh().await?, subject.fresh().await?);
    let contender = StoreContender::open(&*ours).await?;
    fill(&contender, 0..events / PER_STREAM).await?;
    let names: Vec<String> = (0..events).map(|number| stream_name(number / 10 % (events / PER_STREAM))).collect();
    // The schema is made by opening a store.
    bare.open(&[]).await?.close().await;
    let raw = super::raw_inserter(&*bare, subject.scheme).await?;
    let mut projector = contender.store().project(Counts).batch(BATCH);
    projector.catch_up().await?;
    let (mut rates, mut raw_rates, mut ratios) = (Vec::new(), Vec::new(), Vec::new());
    let rate = |start: Instant| events as f64 / (nanoseconds(start) as f64 / 1e9);
    for round in 0..=plan.rounds {
        let start = Instant::now();
        raw.upsert(&names, BATCH).await?;
        let alone = rate(start);
        let start = Instant::now();
        projector.rebuild().await?;
        let projected = rate(start);
        // The first round warms both up.
        if round > 0 {
            raw_rates.push(alone);
            rates.push(projected);
            ratios.push(projected / alone);
        }
    }
    projector.close().await?;
    contender.close().await;
    subject.found(format!("a rebuild, an upsert an event, {BATCH} a transaction"), median(rates), "events/s");
    subject.found("the upserts alone, by the raw driver", median(raw_rates), "events/s");
    subject.found("the first to the second", median(ratios), "ratio");
    Ok(())
}
