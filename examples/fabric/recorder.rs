//! A backend that hands everything to another one, and notes in a journal what it was asked to append. It can fail, and
//! somebody else can be let in between.

use std::sync::{Arc, Mutex, PoisonError};

use annals::backend::{Backend, Capabilities, Request, Topic};
use annals::{
    Appended, Error, ErrorClass, Expected, Json, LaneId, NewEvent, NewSnapshot, Page, Position, Query, RecordedCommand,
    RecordedEvent, Result, Snapshot, SnapshotQuery, Store, Stream, StreamFilter, StreamInfo, TypeStatistics, Version,
};
use async_trait::async_trait;
use uuid::Uuid;

/// What happened, in order.
#[derive(Debug, Clone, Default)]
pub struct Journal(Arc<Mutex<Vec<String>>>);

impl Journal {
    /// Notes that something happened.
    pub fn note(&self, what: String) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(what);
    }

    /// Returns what happened since the last time.
    pub fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// What is to go wrong with the next append.
#[derive(Debug)]
enum Trouble {
    Fail,
    Interrupt { stream: Stream, event: Box<NewEvent>, store: Store },
}

/// The backend that records.
#[derive(Debug)]
pub struct Recorder {
    inner: Arc<dyn Backend>,
    journal: Journal,
    trouble: Mutex<Option<Trouble>>,
}

impl Recorder {
    /// Records what is asked of a backend.
    pub fn new(inner: Arc<dyn Backend>, journal: Journal) -> Self {
        Self { inner, journal, trouble: Mutex::default() }
    }

    /// Lets the next append fail, as if the disk were full.
    pub fn fail_next(&self) {
        self.expect(Trouble::Fail);
    }

    /// Lets somebody else append just before the next append.
    pub fn interrupt_next(&self, stream: Stream, event: NewEvent, store: Store) {
        self.expect(Trouble::Interrupt { stream, event: Box::new(event), store });
    }

    fn expect(&self, trouble: Trouble) {
        *self.trouble.lock().unwrap_or_else(PoisonError::into_inner) = Some(trouble);
    }
}

#[async_trait]
impl Backend for Recorder {
    async fn commit(&self, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>> {
        let trouble = self.trouble.lock().unwrap_or_else(PoisonError::into_inner).take();
        match trouble {
            None => {}
            Some(Trouble::Fail) => {
                self.journal.note("append failed".to_owned());
                return Err(Error::backend("recorder", "append", ErrorClass::Fatal, "the disk is full"));
            }
            Some(Trouble::Interrupt { stream, event, store }) => {
                store.append(&stream, Expected::Any, [*event]).await?;
            }
        }
        let answers = self.inner.commit(lane, batch).await?;
        for (request, answer) in batch.iter().zip(&answers) {
            let types: Vec<&str> = request.events.iter().map(|event| event.event_type.as_str()).collect();
            self.journal
                .note(format!("append {}", if answer.is_ok() { types.join(", ") } else { "refused".to_owned() }));
        }
        Ok(answers)
    }

    fn name(&self) -> &'static str {
        "recorder"
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn commit_blocks(&self) -> bool {
        self.inner.commit_blocks()
    }

    async fn topics(&self) -> Result<Vec<Topic>> {
        self.inner.topics().await
    }

    async fn create_topic(&self, name: &str, partitions: u16) -> Result<Topic> {
        self.inner.create_topic(name, partitions).await
    }

    async fn read(&self, lane: LaneId, query: &Query, rows: usize) -> Result<Page> {
        self.inner.read(lane, query, rows).await
    }

    async fn head(&self, lane: LaneId) -> Result<Position> {
        self.inner.head(lane).await
    }

    async fn event(&self, lane: LaneId, event_id: Uuid) -> Result<Option<RecordedEvent>> {
        self.inner.event(lane, event_id).await
    }

    async fn stream(&self, lane: LaneId, aggregate_id: &str) -> Result<Option<StreamInfo>> {
        self.inner.stream(lane, aggregate_id).await
    }

    async fn streams(&self, lane: LaneId, filter: &StreamFilter) -> Result<Vec<StreamInfo>> {
        self.inner.streams(lane, filter).await
    }

    async fn set_metadata(&self, lane: LaneId, id: &str, expected: Option<i64>, metadata: &Json) -> Result<i64> {
        self.inner.set_metadata(lane, id, expected, metadata).await
    }

    async fn command(&self, lane: LaneId, command_id: Uuid) -> Result<Option<RecordedCommand>> {
        self.inner.command(lane, command_id).await
    }

    async fn save_snapshot(&self, lane: LaneId, snapshot: &NewSnapshot) -> Result<bool> {
        self.inner.save_snapshot(lane, snapshot).await
    }

    async fn snapshot(&self, lane: LaneId, aggregate_id: &str, query: SnapshotQuery) -> Result<Option<Snapshot>> {
        self.inner.snapshot(lane, aggregate_id, query).await
    }

    async fn prune_snapshots(&self, lane: LaneId, aggregate_id: &str, before: Version) -> Result<u64> {
        self.inner.prune_snapshots(lane, aggregate_id, before).await
    }

    async fn statistics(&self, lane: LaneId) -> Result<Vec<TypeStatistics>> {
        self.inner.statistics(lane).await
    }

    async fn ping(&self) -> Result<()> {
        self.inner.ping().await
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}
