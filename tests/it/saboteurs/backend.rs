//! A backend that keeps the contract but for one promise: a real SQLite file behind a decorator.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex};
use std::time::Instant;

use annals::backend::{Backend, BackendTransaction, Capabilities, Examined, Request, Session, Topic};
use annals::{
    Appended, Condition, Json, LaneId, NewSnapshot, Page, Position, Query, RecordedCommand, RecordedEvent, Result, Row,
    Snapshot, SnapshotQuery, StreamFilter, StreamInfo, TypeStatistics, Value, Version,
};
use async_trait::async_trait;
use uuid::Uuid;

use super::fault::Fault;
use super::hide::{self, Hidden};
use super::{commit, moved, read, topics, transaction};

/// A backend with a fault.
pub struct Saboteur {
    pub inner: Arc<dyn Backend>,
    pub fault: Fault,
    /// The commands that this saboteur keeps in memory.
    pub commands: Mutex<HashMap<Uuid, Appended>>,
    /// The last positions that this saboteur has seen or made.
    pub heads: Mutex<HashMap<LaneId, Position>>,
    /// When this saboteur last saw that a lane is not held.
    pub free: Mutex<HashMap<LaneId, Instant>>,
    /// The names of the topics that this saboteur knows, once it has looked.
    pub topics: Mutex<Option<Vec<String>>>,
    /// Tells the stores of a database apart.
    pub number: usize,
    /// What is not shown yet; shared by all stores of a database.
    pub hidden: Hidden,
}

impl fmt::Debug for Saboteur {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Saboteur({:?})", self.fault)
    }
}

#[async_trait]
impl Backend for Saboteur {
    fn name(&self) -> &'static str {
        "saboteur"
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn commit_blocks(&self) -> bool {
        self.inner.commit_blocks()
    }

    async fn topics(&self) -> Result<Vec<Topic>> {
        topics::topics(self).await
    }

    async fn create_topic(&self, name: &str, partitions: u16) -> Result<Topic> {
        topics::create(self, name, partitions).await
    }

    async fn commit(&self, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>> {
        let answers = commit::commit(self, lane, batch).await?;
        let last = answers.iter().flatten().map(Appended::position).max();
        let mut heads = self.heads.lock().unwrap();
        if let (Some(head), Some(last)) = (heads.get_mut(&lane), last) {
            *head = last.max(*head);
        }
        drop(heads);
        Ok(answers)
    }

    /// The other faults are in the commit of a batch, which therefore gets every request.
    fn commit_briefly(&self, lane: LaneId, request: &Arc<Request>) -> Option<Result<Result<Appended>>> {
        if self.fault != Fault::ForgetsBriefCommands {
            return None;
        }
        let request = Request { command: None, ..Request::clone(request) };
        self.inner.commit_briefly(lane, &Arc::new(request))
    }

    async fn read(&self, lane: LaneId, query: &Query, rows: usize) -> Result<Page> {
        read::read(self, lane, query, rows).await
    }

    async fn examine(&self, lane: LaneId, condition: &Condition) -> Result<Examined> {
        self.inner.examine(lane, condition).await
    }

    async fn head(&self, lane: LaneId) -> Result<Position> {
        let head = hide::head(self, lane).await?;
        if self.fault != Fault::IsDeafToOthers {
            return Ok(head);
        }
        Ok(*self.heads.lock().unwrap().entry(lane).or_insert(head))
    }

    async fn event(&self, lane: LaneId, event_id: Uuid) -> Result<Option<RecordedEvent>> {
        let event = self.inner.event(lane, event_id).await?;
        Ok(event.map(|event| read::show(self.fault, event)))
    }

    async fn stream(&self, lane: LaneId, aggregate_id: &str) -> Result<Option<StreamInfo>> {
        let mut stream = self.inner.stream(lane, &self.fold(aggregate_id)).await?;
        if self.fault == Fault::MixesTopics && stream.is_none() {
            stream = topics::stream_elsewhere(self, lane, aggregate_id).await?;
        }
        match (self.fault, &mut stream) {
            (Fault::ShowsDeletedStreams, Some(stream)) => stream.deleted_at = None,
            (Fault::ShowsWhatWasReused, Some(stream)) => stream.first_version = Version::new(1),
            _ => {}
        }
        Ok(stream)
    }

    async fn streams(&self, lane: LaneId, filter: &StreamFilter) -> Result<Vec<StreamInfo>> {
        read::streams(self, lane, filter).await
    }

    async fn set_metadata(&self, lane: LaneId, id: &str, expected: Option<i64>, metadata: &Json) -> Result<i64> {
        let expected = expected.filter(|_| self.fault != Fault::IgnoresMetadataVersion);
        if self.fault == Fault::IgnoresHoldsOfMetadata {
            return moved::set_metadata(self, lane, id, expected, metadata).await;
        }
        self.inner.set_metadata(lane, &self.fold(id), expected, metadata).await
    }

    async fn command(&self, lane: LaneId, command_id: Uuid) -> Result<Option<RecordedCommand>> {
        self.inner.command(lane, command_id).await
    }

    async fn save_snapshot(&self, lane: LaneId, snapshot: &NewSnapshot) -> Result<bool> {
        if self.fault == Fault::SnapshotsMoveBackwards {
            self.inner.prune_snapshots(lane, snapshot.stream().id(), Version::MAX).await?;
        }
        self.inner.save_snapshot(lane, snapshot).await
    }

    async fn snapshot(&self, lane: LaneId, id: &str, mut query: SnapshotQuery) -> Result<Option<Snapshot>> {
        if self.fault == Fault::IgnoresSnapshotSchema {
            query.snapshot_version = None;
        }
        self.inner.snapshot(lane, &self.fold(id), query).await
    }

    async fn prune_snapshots(&self, lane: LaneId, id: &str, before: Version) -> Result<u64> {
        self.inner.prune_snapshots(lane, &self.fold(id), before).await
    }

    async fn statistics(&self, lane: LaneId) -> Result<Vec<TypeStatistics>> {
        self.inner.statistics(lane).await
    }

    async fn restore(&self, lane: LaneId, events: &[RecordedEvent]) -> Result<Position> {
        topics::restore(self, lane, events).await
    }

    async fn ping(&self) -> Result<()> {
        self.inner.ping().await
    }

    async fn select(&self, sql: &str, params: &[Value]) -> Result<Vec<Row>> {
        self.inner.select(sql, params).await
    }

    async fn begin(&self) -> Result<Box<dyn BackendTransaction>> {
        transaction::begin(self).await
    }

    async fn session(&self) -> Result<Box<dyn Session>> {
        self.inner.session().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

impl Saboteur {
    /// Returns a stream's id as this saboteur compares it.
    pub fn fold(&self, id: &str) -> String {
        if self.fault == Fault::FoldsCase { id.to_lowercase() } else { id.to_owned() }
    }
}
