//! An order is placed and paid, and a program that read it too early is refused.
//!
//! `cargo run --example quickstart` keeps the events in memory; a URL as its argument keeps them there.

use annals::{Expected, NewEvent, Store, Stream};
use serde_json::json;

#[tokio::main]
async fn main() -> annals::Result<()> {
    let url = std::env::args().nth(1).unwrap_or_else(|| "sqlite::memory:?migrate=auto".to_owned());
    let store = Store::connect(&url).await?;
    let order = Stream::new("order", format!("order-{}", uuid::Uuid::now_v7()))?;

    let placed = NewEvent::json("OrderPlaced", &json!({"total": 12}))?;
    let first = store.append(&order, Expected::NoStream, [placed]).await?;

    let paid = NewEvent::json("OrderPaid", &json!({"by": "card"}))?;
    store.append(&order, first.version(), [paid]).await?;

    // It decided on what it read at version 1, and the order is at version 2.
    let cancelled = NewEvent::json("OrderCancelled", &json!({"by": "customer"}))?;
    if let Err(error) = store.append(&order, first.version(), [cancelled]).await {
        println!("refused: {error}");
    }

    for event in store.read_stream(&order).await? {
        let data = event.payload.as_json().map_or("(not JSON)", |json| json.as_str());
        println!("{} {} {data}", event.aggregate_version, event.event_type);
    }
    store.close().await;
    Ok(())
}
