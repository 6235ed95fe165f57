//! The relay against real brokers that fail.

#[cfg(feature = "nats")]
mod nats;
#[cfg(feature = "nats")]
mod nats_server;
#[cfg(feature = "webhook")]
mod webhook;
#[cfg(feature = "webhook")]
mod webhook_server;

use std::time::Duration;

use annals::testing::FreshDatabase;
use annals::{Expected, NewEvent, Store, Stream};
use serde_json::json;

/// How long anything may take.
const DEADLINE: Duration = Duration::from_mins(1);

/// A SQLite file, and a store of it.
async fn database() -> (FreshDatabase, Store) {
    let url = format!("sqlite:{}/relay.db?synchronous=off", env!("CARGO_TARGET_TMPDIR"));
    let database = FreshDatabase::new(&url).unwrap();
    let store = database.store().await.unwrap();
    (database, store)
}

/// Appends events one by one, to a few streams in turn.
async fn write(store: &Store, writer: usize, events: usize) {
    for n in 0..events {
        let stream = Stream::new("order", format!("order-{writer}-{}", n % 5)).unwrap();
        let event = NewEvent::json("Counted", &json!({"writer": writer, "n": n})).unwrap();
        store.append(&stream, Expected::Any, [event]).await.unwrap();
    }
}

/// Waits for a condition.
async fn until<F: Future<Output = bool>>(what: &str, mut condition: impl FnMut() -> F) {
    let deadline = tokio::time::Instant::now() + DEADLINE;
    while !condition().await {
        assert!(tokio::time::Instant::now() < deadline, "{what} did not happen");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
