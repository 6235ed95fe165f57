//! `projection`: how fast a projection applies a log, with one upsert an event or with one a transaction, beside the upserts
//! of the first alone.

use std::collections::BTreeMap;
use std::time::Instant;

use async_trait::async_trait;

use super::contender::{COUNTS, Contender as _, ON_CONFLICT, UPSERT, nanoseconds};
use super::store::StoreContender;
use super::study::{Subject, fill, stream_name};
use super::{Plan, median};
use crate::error::Result;
use crate::event::RecordedEvent;
use crate::projection::{Projection, ProjectionResult};
use crate::sql::Value;
use crate::transaction::Transaction;

/// Events of a transaction, as a runner has them without a setting.
const BATCH: usize = 500;
/// Events of a stream, each of which has a row of the read model.
const PER_STREAM: usize = 100;

/// Counts the events of each stream.
struct Counts {
    /// Whether the rows of a transaction are written by one statement.
    together: bool,
}

#[async_trait]
impl Projection for Counts {
    fn name(&self) -> &'static str {
        if self.together { "together" } else { "counts" }
    }

    async fn create(&mut self, transaction: &mut Transaction) -> ProjectionResult {
        transaction.execute(COUNTS, &[]).await?;
        Ok(())
    }

    async fn apply(&mut self, transaction: &mut Transaction, event: &RecordedEvent) -> ProjectionResult {
        transaction.execute(&UPSERT.replace("$1", "?"), &[(&event.aggregate_id).into()]).await?;
        Ok(())
    }

    async fn apply_all(&mut self, transaction: &mut Transaction, events: &[&RecordedEvent]) -> ProjectionResult {
        if !self.together {
            for event in events {
                self.apply(transaction, event).await?;
            }
            return Ok(());
        }
        let mut counts: BTreeMap<&str, i64> = BTreeMap::new();
        for event in events {
            *counts.entry(&event.aggregate_id).or_default() += 1;
        }
        let rows = vec!["(?, ?)"; counts.len()].join(", ");
        let sql = format!("INSERT INTO counts VALUES {rows} {ON_CONFLICT} counts.events + excluded.events");
        let params: Vec<Value> = counts.into_iter().flat_map(|(id, count)| [id.into(), count.into()]).collect();
        transaction.execute(&sql, &params).await?;
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
    let project = |together| contender.store().project(Counts { together }).batch(BATCH);
    let (mut projector, mut together) = (project(false), project(true));
    projector.catch_up().await?;
    together.catch_up().await?;
    let (mut rates, mut together_rates, mut raw_rates, mut ratios) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let rate = |start: Instant| events as f64 / (nanoseconds(start) as f64 / 1e9);
    for round in 0..=plan.rounds {
        let start = Instant::now();
        raw.upsert(&names, BATCH).await?;
        let alone = rate(start);
        let start = Instant::now();
        projector.rebuild().await?;
        let projected = rate(start);
        let start = Instant::now();
        together.rebuild().await?;
        let at_once = rate(start);
        // The first round warms both up.
        if round > 0 {
            raw_rates.push(alone);
            rates.push(projected);
            together_rates.push(at_once);
            ratios.push(projected / alone);
        }
    }
    projector.close().await?;
    together.close().await?;
    contender.close().await;
    subject.found(format!("a rebuild, an upsert an event, {BATCH} a transaction"), median(rates), "events/s");
    subject.found(format!("a rebuild, an upsert for all of {BATCH} events"), median(together_rates), "events/s");
    subject.found("the upserts of single events alone, by the raw driver", median(raw_rates), "events/s");
    subject.found("the first to the last", median(ratios), "ratio");
    Ok(())
}
