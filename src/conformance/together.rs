//! What the families about races share: a start at one barrier, the one winner, and what holds of every log.

use std::collections::HashMap;
use std::sync::Arc;

use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::case::{Failure, ensure, ensure_eq};
use super::harness::Fixture;
use crate::append::Appended;
use crate::error::{Error, Result};
use crate::event::RecordedEvent;
use crate::position::{LaneId, Position};
use crate::read::Query;
use crate::store::Store;

/// Runs a number of tasks that all start at one barrier, and returns what they answered, in the order of their numbers.
pub(super) async fn together<T, F>(count: usize, work: impl Fn(usize) -> F) -> Result<Vec<T>, Failure>
where
    T: Send + 'static,
    F: Future<Output = T> + Send + 'static,
{
    let start = Arc::new(Barrier::new(count));
    let mut tasks = JoinSet::new();
    for number in 0..count {
        let (start, work) = (Arc::clone(&start), work(number));
        tasks.spawn(async move {
            start.wait().await;
            (number, work.await)
        });
    }
    let mut answers = Vec::with_capacity(count);
    while let Some(answer) = tasks.join_next().await {
        answers.push(answer?);
    }
    answers.sort_unstable_by_key(|(number, _)| *number);
    Ok(answers.into_iter().map(|(_, answer)| answer).collect())
}

/// Returns the number and the answer of the one racer that won; every other must have lost as `lost` says.
pub(super) fn one_winner<T: std::fmt::Debug>(
    answers: Vec<Result<T>>,
    lost: impl Fn(&Error) -> bool,
) -> Result<(usize, T), Failure> {
    let mut winner = None;
    for (number, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(outcome) => {
                ensure!(winner.is_none(), "racers {winner:?} and {number} both won");
                winner = Some((number, outcome));
            }
            Err(error) => ensure!(lost(&error), "racer {number} lost with {error:?}"),
        }
    }
    winner.ok_or_else(|| Failure("no racer won".to_owned()))
}

/// Opens a number of stores of the case's database, each with connections of its own.
pub(super) async fn stores(fixture: &Fixture, count: usize) -> Result<Vec<Store>> {
    let mut stores = Vec::with_capacity(count);
    for _ in 0..count {
        stores.push(fixture.database.open(&[]).await?);
    }
    Ok(stores)
}

/// Closes stores that [`stores`] opened.
pub(super) async fn close(stores: Vec<Store>) {
    for store in stores {
        store.close().await;
    }
}

/// Reads the log, lane by lane, and checks that the positions of each, and the versions of each stream, are 1, 2, 3 and
/// so on.
pub(super) async fn sound_log(store: &Store) -> Result<Vec<RecordedEvent>, Failure> {
    let events = store.query(Query::new()).await?;
    let mut versions: HashMap<&str, i64> = HashMap::new();
    let mut heads: HashMap<LaneId, i64> = HashMap::new();
    for event in &events {
        let position = heads.entry(event.lane).or_default();
        *position += 1;
        ensure_eq!(event.position.get(), *position, "position of an event of lane {}", event.lane);
        let version = versions.entry(&event.aggregate_id).or_default();
        *version += 1;
        ensure_eq!(event.aggregate_version.get(), *version, "version of the event at position {position}");
    }
    Ok(events)
}

/// Returns the events that an outcome says were stored.
pub(super) fn events_of<'a>(log: &'a [RecordedEvent], outcome: &Appended) -> &'a [RecordedEvent] {
    let Some((first, last)) = outcome.positions else { return &[] };
    let lane = log.partition_point(|event| event.lane < outcome.lane);
    let from = lane + log[lane..].partition_point(|event| event.lane == outcome.lane && event.position < first);
    let to = lane + log[lane..].partition_point(|event| event.lane == outcome.lane && event.position <= last);
    &log[from..to]
}

/// Follows a log whose positions must come one after the other.
#[derive(Debug, Default)]
pub(super) struct Follower {
    /// The last position that was seen.
    pub last: Position,
}

impl Follower {
    /// Takes the positions that a poll found after the last one, and fails where one was left out.
    pub(super) fn saw(&mut self, positions: impl IntoIterator<Item = Position>) -> Result<(), Failure> {
        for position in positions {
            ensure_eq!(position, self.last.next(), "position that the reader saw next");
            self.last = position;
        }
        Ok(())
    }
}
