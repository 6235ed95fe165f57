//! Contract 3.7: most of a long condition is decided before the lock. A backend that notes what it is given, over a real
//! database whose lock somebody else holds, shows how far the store has looked by then.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use annals::backend::{Backend, Request};
use annals::conformance::{Harness, UrlHarness};
use annals::{Append, Appended, Condition, Config, Expected, LaneId, NewEvent, Position, Query, Result, Store, Stream};
use async_trait::async_trait;
use rstest::rstest;

use crate::decorator::{Decorated, Decorator};

/// Notes how far the conditions were examined that it is to commit.
#[derive(Debug)]
struct Recorder {
    inner: Arc<dyn Backend>,
    examined: Mutex<Vec<Position>>,
}

#[async_trait]
impl Decorator for Recorder {
    fn inner(&self) -> &Arc<dyn Backend> {
        &self.inner
    }

    async fn commit(&self, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>> {
        self.examined.lock().unwrap().extend(batch.iter().map(|request| request.examined.until));
        self.inner.commit(lane, batch).await
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
    let recorder = Arc::new(Decorated(Recorder { inner: Arc::clone(own.backend()), examined: Mutex::default() }));
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
    let committed = async || recorder.0.examined.lock().unwrap().clone();
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
