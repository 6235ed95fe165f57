//! SQL Server, a schema a case; and what its bulk load makes of pages.

use std::iter;

use annals::{Expected, NewEvent, Store};
use serde_json::json;

use crate::copy::{database, stream};

mod server {
    annals::conformance_suite!(|| crate::support::schemas("mssql"));
}

/// Babelfish takes the end of a bulk load for another request where a packet of 4,096 bytes ends within the last token,
/// of 13 bytes: of pages whose lengths go through those of a packet, some end so.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pages_of_every_length_are_restored() {
    let Some(database) = database("mssql") else { return };
    let memory = Store::connect("sqlite::memory:?migrate=auto").await.unwrap();
    let event = |length: usize| NewEvent::json("E", &json!("a".repeat(length))).unwrap();
    for page in 0..410 {
        let events: Vec<NewEvent> = iter::once(event(5 * page)).chain((0..100).map(event)).collect();
        memory.append(&stream("one"), Expected::Any, events).await.unwrap();
    }
    let log = memory.read_stream("one").await.unwrap();
    let store = database.store().await.unwrap();
    for page in log.chunks(101) {
        store.backend().restore(store.topic().lanes[0], page).await.unwrap();
    }
    let copied = store.read_stream("one").await.unwrap();
    assert!(copied.iter().map(|event| event.hash).eq(log.iter().map(|event| event.hash)));
    store.close().await;
    database.remove().await.unwrap();
}
