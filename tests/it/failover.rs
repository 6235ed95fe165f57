//! Readers whose database goes away under them, for a moment, or for another one: a failover to a server that lacks the last
//! events (contract 14.6).

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use annals::backend::{Backend, Request};
use annals::{Appended, Config, Error, Expected, LaneId, NewEvent, Position, Query, Result, Start, Store, Stream};
use async_trait::async_trait;
use futures::TryStreamExt;

use crate::decorator::{Decorated, Decorator};

/// The first of two databases until it is lost, and then the second.
#[derive(Debug)]
struct Failover {
    databases: [Arc<dyn Backend>; 2],
    is_lost: AtomicBool,
}

#[async_trait]
impl Decorator for Failover {
    fn inner(&self) -> &Arc<dyn Backend> {
        &self.databases[usize::from(self.is_lost.load(Ordering::Relaxed))]
    }

    async fn commit(&self, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>> {
        self.inner().commit(lane, batch).await
    }
}

async fn filled(events: i64) -> Store {
    let store = Store::connect("sqlite::memory:?migrate=auto").await.unwrap();
    append(&store, events).await;
    store
}

async fn append(store: &Store, events: i64) {
    let events = (0..events).map(|number| NewEvent::json("Happened", &number).unwrap());
    store.append(&Stream::new("thing", "a").unwrap(), Expected::Any, events).await.unwrap();
}

/// Opens a store on the first database, and returns what becomes the second.
async fn opened(first: &Store, second: &Store) -> (Store, Arc<Decorated<Failover>>) {
    let databases = [first, second].map(|store| Arc::clone(store.backend()));
    let backend = Arc::new(Decorated(Failover { databases, is_lost: AtomicBool::new(false) }));
    let config: Config = "sqlite::memory:".parse().unwrap();
    let store = Store::with_backend(Arc::clone(&backend) as Arc<dyn Backend>, &config).await.unwrap();
    (store, backend)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_read_ahead_is_read_again() {
    let (first, closed) = (filled(2_500).await, filled(1).await);
    closed.close().await;
    let (store, backend) = opened(&first, &closed).await;
    let mut events = pin!(store.read(Query::new()));
    let mut positions = Vec::new();
    while let Some(event) = events.try_next().await.unwrap() {
        positions.push(event.position.get());
        // The second page is read ahead while the first is dealt with, and the third, in vain, once the second was taken.
        let change = match event.position.get() {
            1_000 => true,
            1_001 => false,
            _ => continue,
        };
        tokio::time::sleep(Duration::from_millis(200)).await;
        backend.0.is_lost.store(change, Ordering::Relaxed);
    }
    assert_eq!(positions, (1..=2_500).collect::<Vec<_>>());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn readers_whose_log_becomes_another_are_told() {
    let (first, second) = (filled(3).await, filled(2).await);
    let (store, backend) = opened(&first, &second).await;

    let filtered = Query::new().event_types(["Happened"]).unwrap();
    let mut readers = Vec::new();
    for (query, waits) in [(Query::new(), true), (filtered.clone(), true), (Query::new(), false), (filtered, false)] {
        let mut reader = store.subscribe(Start::Beginning, query).await.unwrap();
        for position in 1..=3 {
            assert_eq!(reader.next().await.unwrap().position, Position::new(position));
        }
        if waits {
            assert!(tokio::time::timeout(Duration::from_millis(20), reader.next()).await.is_err());
        }
        readers.push(reader);
    }
    // The other database comes further than anybody has read.
    append(&second, 4).await;
    backend.0.is_lost.store(true, Ordering::Relaxed);
    for (number, mut reader) in readers.into_iter().enumerate() {
        let told = tokio::time::timeout(Duration::from_secs(30), reader.next()).await.expect("nobody was told");
        let told = told.map(|event| event.position);
        assert!(matches!(told, Err(Error::LogDiverged { position, .. }) if position.get() == 3), "{number}: {told:?}");
    }
}
