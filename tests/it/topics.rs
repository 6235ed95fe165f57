//! Topics beside what another program does to them.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use annals::{Config, Expected, NewEvent, Store, Stream, TopicConfig, Topics, Version, register_adapter};
use tokio::sync::{Semaphore, oneshot};
use uuid::Uuid;

/// Lets who opens a database of the adapter `gated` go on.
static GATE: Semaphore = Semaphore::const_new(1);

async fn gated(config: Config) -> annals::Result<Arc<dyn annals::backend::Backend>> {
    GATE.acquire().await.unwrap().forget();
    let url = format!("sqlite:{}?migrate=auto", config.target());
    Ok(Arc::clone(Store::connect(&url).await?.backend()))
}

async fn instance(configuration: &str) -> Topics {
    let topics = Topics::builder(configuration).build().unwrap();
    topics.initialize().await.unwrap();
    topics
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_opened_while_its_topic_moves_is_of_the_new_place() {
    register_adapter("gated", gated).unwrap();
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("topics-{}", Uuid::now_v7()));
    std::fs::create_dir(&folder).unwrap();
    let file = |name: &str| folder.join(name).display().to_string();
    let configuration = format!("sqlite:{}?migrate=auto", file("configuration.db"));
    let (one, two) = (instance(&configuration).await, instance(&configuration).await);
    let old = TopicConfig::builder("t").adapter("gated").connection(format!("gated:{}", file("old.db")));
    let made = one.create(old.build().unwrap()).await.unwrap();
    while two.get("t").is_err() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }

    let (asked, mut opened) = oneshot::channel();
    let opening = tokio::spawn({
        let two = two.clone();
        async move { asked.send(two.store("t").await) }
    });
    let new = made.config.change().adapter("file").connection(file("new.db")).build().unwrap();
    one.update(new, made.version).await.unwrap();
    while two.get("t").unwrap().version == made.version {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(opened.try_recv().is_err(), "the gate did not hold");
    GATE.add_permits(1);
    let store = opened.await.unwrap().unwrap();
    opening.await.unwrap().unwrap();

    let stream = Stream::new("thing", "s").unwrap();
    store.append(&stream, Expected::Any, [NewEvent::json("Happened", &1).unwrap()]).await.unwrap();
    assert_eq!(one.version("t", "s").await.unwrap(), Version::new(1));
    two.close().await;
    one.close().await;
    std::fs::remove_dir_all(folder).unwrap();
}
