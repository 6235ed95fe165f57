//! Whether two logs are the same, event by event.

use tokio::sync::mpsc;

use super::compare::differences;
use super::{TopicCopy, read_ahead, rows};
use crate::error::Result;
use crate::event::RecordedEvent;
use crate::hash::{LaneHash, TopicHash};
use crate::position::{LaneId, Position};
use crate::read::Query;
use crate::schema::model;
use crate::sql::holds::HoldRow;
use crate::store::Store;

/// What comparing two logs has shown.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Verified {
    /// Events that are the same in both.
    pub events: u64,
    /// The hash of the original, see [`TopicHash`].
    pub from_hash: [u8; 32],
    /// The hash of the copy, computed from its own rows. The two are equal where the logs are.
    pub to_hash: [u8; 32],
    /// The first event that differs.
    pub difference: Option<Difference>,
    /// Events of the original that the copy lacks at its end: it is not complete, or the original has gone on since.
    pub missing: u64,
    /// Rows beside the events that one of the two lacks or has otherwise: streams, commands, snapshots, subscriptions, shares of
    /// groups, dead letters and legal holds.
    pub rows: u64,
}

/// Where two logs first differ.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// The lane's partition.
    pub partition: usize,
    /// The position.
    pub position: Position,
    /// What differs: a field of the event, `hash` where an event is not what its own hash says, or `event` where the original
    /// ends.
    pub field: &'static str,
}

impl Verified {
    /// Returns whether everything is the same.
    #[must_use]
    pub fn is_same(&self) -> bool {
        self.difference.is_none() && self.missing == 0 && self.rows == 0 && self.from_hash == self.to_hash
    }
}

impl TopicCopy {
    /// Reads both logs, computes the hash of each event anew on both sides, and compares everything; then the rows beside the
    /// events. Tells how many events it has compared so far.
    ///
    /// It ends at the first event that differs, and the hashes are then those up to there. Otherwise they are those up to the end
    /// that the copy has when it begins, or the original where the copy is the topic already: so a log can be compared that is
    /// written meanwhile. Beside the events of a copy that is the topic, only commands are compared: the rest has gone on. What is
    /// beside the events may differ for a moment where readers and writers are at work.
    ///
    /// # Errors
    /// What the backends answer.
    pub async fn verify(&self, mut progress: impl FnMut(u64) + Send) -> Result<Verified> {
        let mut verified =
            Verified { events: 0, from_hash: [0; 32], to_hash: [0; 32], difference: None, missing: 0, rows: 0 };
        let (mut from_topic, mut to_topic) = (TopicHash::new(), TopicHash::new());
        let (is_topic, lanes) = (self.is_topic().await?, self.lanes().collect::<Vec<_>>());
        for (partition, (from, to)) in lanes.into_iter().enumerate() {
            // A copy that is the topic has gone on.
            let end = if is_topic { self.from.head(from).await? } else { self.to.head(to).await? };
            let until_end = || Query::new().until(end);
            let mut original = hashed(self.from.clone(), from, until_end());
            let mut copy = hashed(self.to.clone(), to, until_end());
            let (mut from_hash, mut to_hash) = (LaneHash::new().so_far(), LaneHash::new().so_far());
            while verified.difference.is_none() {
                let (one, two) = (original.recv().await.transpose()?, copy.recv().await.transpose()?);
                let (one, two) = match (one, two) {
                    (None, None) => break,
                    (one, two) => (one.unwrap_or_default(), two.unwrap_or_default()),
                };
                let (same, difference) = compare(&one, &two);
                verified.events += same;
                verified.difference = difference.map(|(position, field)| Difference { partition, position, field });
                if !one.events.is_empty() {
                    from_hash = one.hash;
                }
                if !two.events.is_empty() {
                    to_hash = two.hash;
                }
                progress(verified.events);
            }
            from_topic.lane(&from_hash);
            to_topic.lane(&to_hash);
            let missing = self.from.head(from).await?.get() - end.get();
            verified.missing += missing.max(0).unsigned_abs();
            let (original, copy) = (rows::Lane::new(&self.from, from), rows::Lane::new(&self.to, to));
            if is_topic {
                verified.rows += differences(original, copy, &model::COMMANDS, end, false).await?;
                continue;
            }
            let (holds, known) = self.legal_holds(from, to).await?;
            let lacking = |one: &[HoldRow], two: &[HoldRow]| one.iter().filter(|hold| !two.contains(hold)).count();
            verified.rows += lacking(&holds, &known).max(lacking(&known, &holds)) as u64;
            for table in rows::tables(&rows::COMPARED) {
                // Snapshots that the original has pruned since do no harm.
                let surplus = table.name != model::SNAPSHOTS.name;
                verified.rows += differences(original, copy, table, end, surplus).await?;
            }
        }
        (verified.from_hash, verified.to_hash) = (from_topic.finish(), to_topic.finish());
        Ok(verified)
    }
}

/// Returns the hash of a store's log, and how many events it has.
pub(crate) async fn log_hash(store: &Store) -> Result<([u8; 32], u64)> {
    let (mut topic, mut events) = (TopicHash::new(), 0);
    for lane in &store.topic().lanes {
        let mut pages = hashed(store.clone(), *lane, Query::new());
        let mut hash = LaneHash::new().so_far();
        while let Some(page) = pages.recv().await.transpose()? {
            events += page.events.len() as u64;
            hash = page.hash;
        }
        topic.lane(&hash);
    }
    Ok((topic.finish(), events))
}

/// A page of events, and the hash of the log up to its end.
#[derive(Debug, Default)]
struct Page {
    events: Vec<RecordedEvent>,
    hash: [u8; 32],
    /// The first event that is not what its own hash says.
    broken: Option<Position>,
}

/// Reads what answers a query of a lane, and computes its hashes, ahead of who takes them.
fn hashed(store: Store, lane: LaneId, query: Query) -> mpsc::Receiver<Result<Page>> {
    let (sender, hashed) = mpsc::channel(1);
    tokio::spawn(async move {
        let mut pages = read_ahead(store, lane, query);
        let mut log = LaneHash::new();
        while let Some(page) = pages.recv().await {
            let page = page.map(|events| {
                let mut broken = None;
                for event in &events {
                    let hash = log.event(event);
                    if event.hash.is_some_and(|stored| stored != hash) {
                        broken.get_or_insert(event.position);
                    }
                }
                Page { events, hash: log.so_far(), broken }
            });
            if sender.send(page).await.is_err() {
                return;
            }
        }
    });
    hashed
}

/// Returns how many events of two pages are the same, and where the first one differs, and in what.
fn compare(one: &Page, two: &Page) -> (u64, Option<(Position, &'static str)>) {
    let broken = one.broken.or(two.broken);
    for (index, (original, copy)) in one.events.iter().zip(&two.events).enumerate() {
        let field = differing(original, copy).or((broken == Some(original.position)).then_some("hash"));
        if let Some(field) = field {
            return (index as u64, Some((original.position, field)));
        }
    }
    let same = one.events.len().min(two.events.len());
    let longer = if one.events.len() > same { &one.events } else { &two.events };
    (same as u64, longer.get(same).map(|event| (event.position, "event")))
}

/// Returns the first field in which two events differ; their lanes' numbers may.
pub(super) fn differing(one: &RecordedEvent, two: &RecordedEvent) -> Option<&'static str> {
    let same = [
        ("position", one.position == two.position),
        ("event_id", one.event_id == two.event_id),
        ("aggregate_id", one.aggregate_id == two.aggregate_id),
        ("aggregate_type", one.aggregate_type == two.aggregate_type),
        ("aggregate_version", one.aggregate_version == two.aggregate_version),
        ("event_type", one.event_type == two.event_type),
        ("event_version", one.event_version == two.event_version),
        ("event_timestamp", one.event_timestamp == two.event_timestamp),
        ("actor", one.actor == two.actor),
        ("actor_type", one.actor_type == two.actor_type),
        ("source", one.source == two.source),
        ("causation_id", one.causation_id == two.causation_id),
        ("correlation_id", one.correlation_id == two.correlation_id),
        ("data", one.payload == two.payload),
        ("metadata", one.metadata == two.metadata),
        ("tags", one.tags == two.tags),
        ("hash", one.hash == two.hash),
    ];
    same.into_iter().find(|(_, same)| !same).map(|(field, _)| field)
}
