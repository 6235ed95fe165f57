//! A backend in front of another one, for tests that note or change how requests are committed.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use annals::backend::{Backend, BackendTransaction, Capabilities, EventPlace, Examined, Request, Session, Topic};
use annals::{
    Appended, Condition, Json, LaneId, NewSnapshot, Page, Position, Query, RecordedCommand, RecordedEvent, Result, Row,
    Snapshot, SnapshotQuery, StreamFilter, StreamInfo, TypeStatistics, Value, Version,
};
use async_trait::async_trait;
use uuid::Uuid;

/// What is done with the requests, instead of committing them.
#[async_trait]
pub trait Decorator: Debug + Send + Sync + 'static {
    /// Returns the backend that does all the rest.
    fn inner(&self) -> &Arc<dyn Backend>;

    /// How long storing an event as it was elsewhere takes beside what the backend takes.
    fn slowness(&self) -> Duration {
        Duration::ZERO
    }

    /// Commits a batch. Requests of lone callers come here, too: they are never committed briefly.
    async fn commit(&self, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>>;
}

/// A backend whose requests a decorator commits.
#[derive(Debug)]
pub struct Decorated<D>(pub D);

#[async_trait]
impl<D: Decorator> Backend for Decorated<D> {
    fn name(&self) -> &'static str {
        self.0.inner().name()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.inner().capabilities()
    }

    fn commit_blocks(&self) -> bool {
        self.0.inner().commit_blocks()
    }

    async fn topics(&self) -> Result<Vec<Topic>> {
        self.0.inner().topics().await
    }

    async fn create_topic(&self, name: &str, partitions: u16) -> Result<Topic> {
        self.0.inner().create_topic(name, partitions).await
    }

    async fn commit(&self, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>> {
        self.0.commit(lane, batch).await
    }

    async fn examine(&self, lane: LaneId, condition: &Condition) -> Result<Examined> {
        self.0.inner().examine(lane, condition).await
    }

    async fn read(&self, lane: LaneId, query: &Query, rows: usize) -> Result<Page> {
        self.0.inner().read(lane, query, rows).await
    }

    async fn head(&self, lane: LaneId) -> Result<Position> {
        self.0.inner().head(lane).await
    }

    async fn event(&self, lane: LaneId, event_id: Uuid) -> Result<Option<RecordedEvent>> {
        self.0.inner().event(lane, event_id).await
    }

    async fn find_events(&self, lane: LaneId, event_ids: &[Uuid]) -> Result<Vec<EventPlace>> {
        self.0.inner().find_events(lane, event_ids).await
    }

    async fn stream(&self, lane: LaneId, aggregate_id: &str) -> Result<Option<StreamInfo>> {
        self.0.inner().stream(lane, aggregate_id).await
    }

    async fn streams(&self, lane: LaneId, filter: &StreamFilter) -> Result<Vec<StreamInfo>> {
        self.0.inner().streams(lane, filter).await
    }

    async fn set_metadata(&self, lane: LaneId, id: &str, expected: Option<i64>, metadata: &Json) -> Result<i64> {
        self.0.inner().set_metadata(lane, id, expected, metadata).await
    }

    async fn command(&self, lane: LaneId, command_id: Uuid) -> Result<Option<RecordedCommand>> {
        self.0.inner().command(lane, command_id).await
    }

    async fn save_snapshot(&self, lane: LaneId, snapshot: &NewSnapshot) -> Result<bool> {
        self.0.inner().save_snapshot(lane, snapshot).await
    }

    async fn snapshot(&self, lane: LaneId, id: &str, query: SnapshotQuery) -> Result<Option<Snapshot>> {
        self.0.inner().snapshot(lane, id, query).await
    }

    async fn prune_snapshots(&self, lane: LaneId, id: &str, before: Version) -> Result<u64> {
        self.0.inner().prune_snapshots(lane, id, before).await
    }

    async fn statistics(&self, lane: LaneId) -> Result<Vec<TypeStatistics>> {
        self.0.inner().statistics(lane).await
    }

    async fn restore(&self, lane: LaneId, events: &[RecordedEvent]) -> Result<Position> {
        let mut head = self.0.inner().head(lane).await?;
        for events in events.chunks(100) {
            tokio::time::sleep(self.0.slowness() * 100).await;
            head = self.0.inner().restore(lane, events).await?;
        }
        Ok(head)
    }

    async fn ping(&self) -> Result<()> {
        self.0.inner().ping().await
    }

    async fn select(&self, sql: &str, params: &[Value]) -> Result<Vec<Row>> {
        self.0.inner().select(sql, params).await
    }

    async fn begin(&self) -> Result<Box<dyn BackendTransaction>> {
        self.0.inner().begin().await
    }

    async fn session(&self) -> Result<Box<dyn Session>> {
        self.0.inner().session().await
    }

    async fn close(&self) {
        self.0.inner().close().await;
    }
}
