//! `append_lanes`: what writers of their own gain from a topic of several lanes.
//!
//! Each writer is a store with its own connections and queues, as each process has. A lane commits one batch at a time,
//! whoever sends it; lanes commit side by side.

use std::sync::Arc;
use std::time::Instant;

use futures::future::try_join_all;

use super::contender::Contender;
use super::store::StoreContender;
use super::study::Subject;
use super::{Plan, median};
use crate::conformance::Database;
use crate::error::Result;

const WRITERS: [usize; 2] = [1, 4];
const CALLERS: usize = 32;
const LANES: [u16; 2] = [1, 16];

pub(super) async fn run(plan: &Plan, subject: &mut Subject<'_>) -> Result<()> {
    let database = subject.fresh().await?;
    let mut topics = Vec::new();
    for lanes in LANES {
        topics.push(open(&database, lanes).await?);
    }
    let requests = (plan.thousands * 1_000 / CALLERS).max(1);
    let mut rates = [[(); WRITERS.len()]; LANES.len()].map(|lanes| lanes.map(|()| Vec::new()));
    for round in 0..=plan.rounds {
        for (stores, rates) in topics.iter().zip(&mut rates) {
            for (writers, rates) in WRITERS.into_iter().zip(rates) {
                let start = Instant::now();
                try_join_all(stores.iter().take(writers).map(|store| store.append(CALLERS, requests, 1))).await?;
                let rate = (writers * CALLERS * requests) as f64 / start.elapsed().as_secs_f64();
                // The first round warms up.
                if round > 0 {
                    rates.push(rate);
                }
            }
        }
    }
    for (lanes, rates) in LANES.into_iter().zip(rates) {
        let [one, several] = rates.map(median);
        subject.found(format!("{lanes} lanes, 1 writer of {CALLERS} callers"), one, "events/s");
        subject.found(format!("{lanes} lanes, 4 writers of {CALLERS} callers"), several, "events/s");
        subject.found(format!("{lanes} lanes, 4 writers / 1 writer"), several / one, "ratio");
    }
    for store in topics.iter().flatten() {
        store.close().await;
    }
    Ok(())
}

/// Creates a topic and opens it once for each writer.
async fn open(database: &Arc<dyn Database>, lanes: u16) -> Result<Vec<StoreContender>> {
    let topic = format!("lanes-{lanes}");
    let store = database.open(&[]).await?;
    store.create_topic(&topic, lanes).await?;
    store.close().await;
    let most = WRITERS.into_iter().max().unwrap_or_default();
    let options = [("topic", topic.as_str())];
    try_join_all((0..most).map(|_| StoreContender::open_with(&**database, &options))).await
}
