//! A topic that moves to a database that is slower than its writers.

use std::sync::Arc;
use std::time::{Duration, Instant};

use annals::backend::{Backend, Request};
use annals::{Appended, Config, Error, Expected, LaneId, NewEvent, Result, Store, TopicCopy, register_adapter};
use async_trait::async_trait;
use tokio::task::JoinSet;

use crate::copy::stream;
use crate::decorator::{Decorated, Decorator};

/// Takes two milliseconds for each event that was stored elsewhere.
#[derive(Debug)]
struct Slow(Arc<dyn Backend>);

#[async_trait]
impl Decorator for Slow {
    fn inner(&self) -> &Arc<dyn Backend> {
        &self.0
    }

    fn slowness(&self) -> Duration {
        Duration::from_millis(2)
    }

    async fn commit(&self, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>> {
        self.0.commit(lane, batch).await
    }
}

async fn slow(_: Config) -> Result<Arc<dyn Backend>> {
    let store = Store::connect("sqlite::memory:?migrate=auto").await?;
    Ok(Arc::new(Decorated(Slow(Arc::clone(store.backend())))))
}

/// The original's writers wait for 6 s at most, which is less than it takes to copy what they have written when they first wait.
const ORIGINAL: &str = "sqlite::memory:?migrate=auto&statement_timeout=8s";

/// Events that a writer appends at once.
const AT_ONCE: u64 = 20;

fn event() -> NewEvent {
    NewEvent::json("Happened", &1).unwrap()
}

/// Appends until the topic was moved, and returns how many events, and how often it waited for longer than a second.
async fn write(store: Store, number: usize) -> (u64, u32) {
    let (mut acknowledged, mut waits) = (0, 0);
    loop {
        let start = Instant::now();
        let outcome = store.append(&stream(&format!("w-{number}")), Expected::Any, (0..AT_ONCE).map(|_| event())).await;
        waits += u32::from(start.elapsed() > Duration::from_secs(1));
        match outcome {
            Ok(_) => acknowledged += AT_ONCE,
            Err(Error::Moved { .. }) => return (acknowledged, waits),
            Err(error) => panic!("{error}"),
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_that_are_faster_than_the_copy_wait_several_times_and_lose_nothing() {
    register_adapter("slow", slow).unwrap();
    let store = Store::connect(ORIGINAL).await.unwrap();
    let before = 1_500;
    for _ in 0..3 {
        store.append(&stream("s"), Expected::Any, (0..500).map(|_| event())).await.unwrap();
    }
    let copy = TopicCopy::begin(store.clone(), "slow:there".parse().unwrap()).await.unwrap();
    let writers: JoinSet<(u64, u32)> = (0..4).map(|number| write(store.clone(), number)).collect();
    let done = copy.cutover(|_| {}).await.unwrap();
    let written = writers.join_all().await;
    let acknowledged: u64 = written.iter().map(|(acknowledged, _)| acknowledged).sum();
    assert!(written.iter().all(|(_, waits)| *waits >= 2), "how much each wrote, and how often it waited: {written:?}");
    let (original, copied) = copy.progress().await.unwrap();
    assert_eq!((original, copied), (before + acknowledged, before + acknowledged));
    assert_eq!(done.copied.events, copied);
    assert!(copy.verify(|_| {}).await.unwrap().is_same());
}
