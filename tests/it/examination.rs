//! Contract 3.7: most of a long condition is decided before the lock. A backend that notes what it is given, over a real
//! database whose lock somebody else holds, shows how far the store has looked by then.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals::backend::{Backend, Capabilities, Examined, Request, Topic};
use annals::conformance::{Harness, UrlHarness};
use annals::{
    Append, Appended, Condition, Config, Expected, Json, LaneId, NewEvent, NewSnapshot, Page, Position, Query,
    RecordedCommand, RecordedEvent, Result, Snapshot, SnapshotQuery, Store, Stream, StreamFilter, StreamInfo,
    TypeStatistics, Version,
};
use async_trait::async_trait;
use rstest::rstest;
use uuid::Uuid;

/// Notes how far the conditions were examined that it is to commit.
#[derive(Debug)]
struct Recorder {
    inner: Arc<dyn Backend>,
    examined: Mutex<Vec<Position>>,
}

impl Recorder {
    fn note(&self, request: &Request) {
        self.examined.lock().unwrap().push(request.examined.until);
    }
}

#[async_trait]
impl Backend for Recorder {
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

    async fn commit(&self, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>> {
        for request in batch {
            self.note(request);
        }
        self.inner.commit(lane, batch).await
    }

    async fn examine(&self, lane: LaneId, condition: &Condition) -> Result<Examined> {
        self.inner.examine(lane, condition).await
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

    async fn snapshot(&self, lane: LaneId, id: &str, query: SnapshotQuery) -> Result<Option<Snapshot>> {
        self.inner.snapshot(lane, id, query).await
    }

    async fn prune_snapshots(&self, lane: LaneId, id: &str, before: Version) -> Result<u64> {
        self.inner.prune_snapshots(lane, id, before).await
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

fn harness(engine: &str) -> Option<UrlHarness> {
    if engine == "postgres" {
        crate::support::schemas(engine)
    } else {
        crate::support::sqlite_file("examination", "?durability=off")
    }
}

/// What a store knows of a log of ten events that another one makes long.
#[derive(Debug, Clone, Copy)]
enum Knowledge {
    Nothing,
    APageOfTheShortLog,
    APageOfTheLongLog,
}

/// Makes the log longer.
async fn grow(store: &Store, count: usize) {
    let events: Vec<_> = (0..count).map(|number| NewEvent::json("Added", &number).unwrap()).collect();
    store.append(&Stream::new("cart", "cart-1").unwrap(), Expected::Any, events).await.unwrap();
}

#[rstest]
#[tokio::test]
async fn a_long_condition_is_examined_before_the_lock(
    #[values("sqlite", "postgres")] engine: &str,
    #[values(Knowledge::Nothing, Knowledge::APageOfTheShortLog, Knowledge::APageOfTheLongLog)] knows: Knowledge,
) {
    let Some(harness) = harness(engine) else { return };
    let database = harness.fresh().await.unwrap();
    let (other, own) = (database.open(&[]).await.unwrap(), database.open(&[]).await.unwrap());
    let recorder = Arc::new(Recorder { inner: Arc::clone(own.backend()), examined: Mutex::default() });
    let config: Config = database.url().unwrap().parse().unwrap();
    let store = Store::with_backend(Arc::clone(&recorder) as Arc<dyn Backend>, &config).await.unwrap();
    let lane = store.topic().lanes[0];
    let read = async || assert_eq!(store.page(lane, &Query::new(), 5).await.unwrap().events.len(), 5);
    grow(&other, 10).await;
    if matches!(knows, Knowledge::APageOfTheShortLog) {
        read().await;
        // Until then the store takes the log for as long as it was.
        tokio::time::sleep(Duration::from_millis(150)).await;
    }
    grow(&other, 1_500).await;
    if matches!(knows, Knowledge::APageOfTheLongLog) {
        read().await;
    }

    let mut holder = other.backend().session().await.unwrap();
    let lock = if engine == "postgres" { "BEGIN; SELECT 1 FROM lanes FOR NO KEY UPDATE" } else { "BEGIN IMMEDIATE" };
    holder.execute(lock).await.unwrap();
    let condition = Condition::after(Position::new(10)).or(["Removed"], [""; 0]).unwrap();
    let events = [NewEvent::json("Added", &1).unwrap()];
    let append = Append::new().to(Stream::new("cart", "cart-2").unwrap(), Expected::NoStream, events);
    let committed = async || recorder.examined.lock().unwrap().clone();
    let release = async {
        while committed().await.is_empty() {
            tokio::task::yield_now().await;
        }
        let examined = committed().await;
        holder.execute("ROLLBACK").await.unwrap();
        examined
    };
    let (outcome, examined) = tokio::join!(store.commit(append.condition(condition)), release);

    assert_eq!(outcome.unwrap().position(), Position::new(1_511));
    assert_eq!(examined, [Position::new(1_510)], "how far the condition was examined before the lock");
    store.close().await;
    own.close().await;
    other.close().await;
    database.remove().await.unwrap();
}
