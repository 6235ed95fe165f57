//! What the cases about topics of many databases share.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use uuid::Uuid;

use super::case::{Failure, Verdict};
use super::harness::{Fixture, with_options};
use crate::backend::Backend;
use crate::config::Config;
use crate::copy::TopicCopy;
use crate::error::Result;
use crate::event::NewEvent;
use crate::store::Store;
use crate::stream::{Expected, Stream};
use crate::topics::{Registry, TopicConfig, TopicConfigBuilder, Topics};

/// Topics whose configuration is in the case's database, with the case's own connections.
pub(super) fn topics(f: &Fixture) -> Result<Topics> {
    topics_of(f, &f.store)
}

fn topics_of(f: &Fixture, store: &Store) -> Result<Topics> {
    let registry = Registry::default();
    let url = url(f);
    registry.lend(&url, Arc::clone(store.backend()))?;
    Topics::builder(url).registry(registry).build()
}

pub(super) fn url(f: &Fixture) -> String {
    let url = f.database.url().unwrap_or_default();
    // Where the case's store has a topic of its own, the URL names it; topics are named by their configuration here.
    with_options(&url, &[("topic", "default")])
}

pub(super) async fn initialized(f: &Fixture) -> Result<Topics> {
    let topics = topics(f)?;
    topics.initialize().await?;
    Ok(topics)
}

/// Topics of another program: with connections of their own.
pub(super) struct Instance {
    pub topics: Topics,
    store: Store,
}

impl Instance {
    pub(super) async fn start(f: &Fixture) -> Result<Self> {
        let store = f.another().await?;
        let topics = topics_of(f, &store)?;
        topics.initialize().await?;
        Ok(Self { topics, store })
    }

    pub(super) async fn end(self) {
        self.topics.close().await;
        self.store.close().await;
    }
}

/// A SQLite file for topics, which is removed with this.
pub(super) struct File(PathBuf);

impl File {
    pub(super) fn new() -> Self {
        Self(std::env::temp_dir().join(format!("annals-topics-{}.db", Uuid::now_v7())))
    }

    /// Returns a URL of the file, which makes it with its schema.
    pub(super) fn url(&self) -> String {
        format!("sqlite:{}?migrate=auto", self.0.display())
    }

    pub(super) fn topic(&self, name: &str) -> TopicConfigBuilder {
        TopicConfig::builder(name).adapter("file").connection(self.0.to_string_lossy())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        for end in ["", "-wal", "-shm"] {
            let mut path = self.0.clone().into_os_string();
            path.push(end);
            drop(std::fs::remove_file(path));
        }
    }
}

/// A topic in the case's database.
pub(super) fn here(f: &Fixture, name: &str) -> TopicConfigBuilder {
    TopicConfig::builder(name).connection(url(f))
}

/// A topic in memory, apart from the case's database even where that is in memory, too.
pub(super) fn memory(name: &str) -> TopicConfigBuilder {
    TopicConfig::builder(name).adapter("memory").connection("apart")
}

pub(super) async fn put(topics: &Topics, topic: &str, stream: &str) -> Result<()> {
    let event = NewEvent::json("Happened", &json!({"in": topic}))?;
    topics.append(topic, &Stream::new("thing", stream)?, Expected::Any, [event]).await.map(drop)
}

pub(super) fn event() -> Result<NewEvent> {
    NewEvent::json("Happened", &1)
}

pub(super) async fn append(store: &Store, stream: &str) -> Result<()> {
    store.append(&Stream::new("thing", stream)?, Expected::Any, [event()?]).await.map(drop)
}

/// Has readers share a topic, of whose events the first one fails for good.
pub(super) async fn read_shared(store: &Store) -> Result<()> {
    let member = store.group("group").attempts(1).join().await?;
    member.fail(member.next().await?, "broken")?;
    member.ack(member.next().await?)?;
    member.leave().await
}

/// Copies the case's own topic to a database in memory.
pub(super) async fn copy(f: &Fixture) -> Result<TopicCopy> {
    TopicCopy::begin(f.store.clone(), "sqlite::memory:?migrate=auto".parse()?).await
}

/// Returns the copy's way back to the case's database.
pub(super) async fn back(f: &Fixture, copy: &TopicCopy) -> Result<TopicCopy> {
    let config = url(f).parse::<Config>()?.with_topic(&f.store.topic().name)?;
    TopicCopy::between(copy.to().clone(), Arc::clone(f.store.backend()) as Arc<dyn Backend>, &config).await
}

/// A store of a topic in the case's database, whatever the configuration says.
pub(super) async fn stored(f: &Fixture, topic: &str) -> Result<Store> {
    let config = url(f).parse::<Config>()?.with_topic(topic)?;
    Store::shared(Arc::clone(f.store.backend()), &config).await
}

/// The log of the configuration.
pub(super) async fn configuration(f: &Fixture) -> Result<Store> {
    f.store.backend().create_topic("topics", 1).await?;
    stored(f, "topics").await
}

/// Waits until something holds, for 20 s at most.
pub(super) async fn until(holds: impl Fn() -> bool) -> Verdict {
    for _ in 0..4_000 {
        if holds() {
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Err(Failure("what was waited for did not come within 20 s".to_owned()))
}

/// A topic in a database that does not answer.
pub(super) fn broken(name: &str) -> TopicConfigBuilder {
    TopicConfig::builder(name).connection("sqlite:/no/such/folder/events.db")
}
