//! Topics beside what another program does to them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use annals::backend::Backend;
use annals::{
    Config, Error, Expected, NewEvent, Store, Stream, TopicConfig, TopicCopy, Topics, Version, register_adapter,
};
use tokio::sync::Semaphore;
use uuid::Uuid;

/// Keeps whoever opens a database of an adapter waiting.
#[derive(Debug)]
struct Gate {
    asked: Semaphore,
    open: Semaphore,
}

impl Gate {
    /// Registers an adapter for SQLite files, behind a gate.
    fn register(adapter: &str) -> Arc<Self> {
        let gate = Arc::new(Self { asked: Semaphore::new(0), open: Semaphore::new(0) });
        let pass = Arc::clone(&gate);
        register_adapter(adapter, move |config| Arc::clone(&pass).pass(config)).unwrap();
        gate
    }

    async fn pass(self: Arc<Self>, config: Config) -> annals::Result<Arc<dyn Backend>> {
        self.asked.add_permits(1);
        self.open.acquire().await.unwrap().forget();
        let url = format!("sqlite:{}?migrate=auto", config.target());
        Ok(Arc::clone(Store::connect(&url).await?.backend()))
    }

    /// Lets one pass.
    fn open(&self) {
        self.open.add_permits(1);
    }

    /// Waits until somebody is there.
    async fn is_asked(&self) {
        self.asked.acquire().await.unwrap().forget();
    }
}

/// Two programs with the same configuration, in a folder of their own.
struct Pair {
    one: Topics,
    two: Topics,
    folder: PathBuf,
}

impl Pair {
    async fn start() -> Self {
        let folder = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("topics-{}", Uuid::now_v7()));
        std::fs::create_dir(&folder).unwrap();
        let url = format!("sqlite:{}?migrate=auto", folder.join("configuration.db").display());
        let instance = async || {
            let topics = Topics::builder(&url).build().unwrap();
            topics.initialize().await.unwrap();
            topics
        };
        Self { one: instance().await, two: instance().await, folder }
    }

    fn file(&self, name: &str) -> String {
        self.folder.join(name).display().to_string()
    }

    /// Waits until the second program knows a version of the topic `t`.
    async fn known(&self, version: Version) {
        while self.two.get("t").map_or(Version::ZERO, |topic| topic.version) < version {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn end(self) {
        self.two.close().await;
        self.one.close().await;
        std::fs::remove_dir_all(self.folder).unwrap();
    }
}

fn stream() -> Stream {
    Stream::new("thing", "s").unwrap()
}

fn event() -> NewEvent {
    NewEvent::json("Happened", &1).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_that_is_opened_while_its_topic_moves_is_of_the_new_place() {
    let (gate, pair) = (Gate::register("gated"), Pair::start().await);
    let old = TopicConfig::builder("t").adapter("gated").connection(format!("gated:{}", pair.file("old.db")));
    gate.open();
    let made = pair.one.create(old.build().unwrap()).await.unwrap();
    gate.is_asked().await;
    pair.known(made.version).await;

    let two = pair.two.clone();
    let opening = tokio::spawn(async move { two.store("t").await });
    gate.is_asked().await;
    let new = made.config.change().adapter("file").connection(pair.file("new.db")).build().unwrap();
    let moved = pair.one.update(new, made.version).await.unwrap();
    pair.known(moved.version).await;
    gate.open();
    let store = opening.await.unwrap().unwrap();

    store.append(&stream(), Expected::Any, [event()]).await.unwrap();
    assert_eq!(pair.one.version("t", "s").await.unwrap(), Version::new(1));
    pair.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_that_is_refused_opens_no_place_that_was_closed_before() {
    let (gate, pair) = (Gate::register("barred"), Pair::start().await);
    let config = TopicConfig::builder("t").adapter("file").connection(pair.file("old.db")).build().unwrap();
    let made = pair.one.create(config).await.unwrap();
    pair.one.append("t", &stream(), Expected::Any, [event()]).await.unwrap();
    pair.known(made.version).await;
    let old = Store::connect(&format!("sqlite:{}?topic=t", pair.file("old.db"))).await.unwrap();
    let place = format!("barred:{}", pair.file("new.db"));
    gate.open();
    let copy = TopicCopy::begin(old.clone(), place.parse().unwrap()).await.unwrap();
    gate.is_asked().await;
    copy.cutover(|_| {}).await.unwrap();
    copy.to().append(&stream(), Expected::Any, [event()]).await.unwrap();

    let there = made.config.change().adapter("barred").connection(place).build().unwrap();
    let one = pair.one.clone();
    let updating = tokio::spawn(async move { one.update(there, made.version).await });
    gate.is_asked().await;
    let kept = made.config.change().retention_days(30).build().unwrap();
    pair.two.update(kept, made.version).await.unwrap();
    gate.open();
    let refused = updating.await.unwrap();
    assert!(matches!(refused, Err(Error::Conflict { .. })), "{refused:?}");
    let late = old.append(&stream(), Expected::Any, [event()]).await;
    assert!(matches!(late, Err(Error::Moved { .. })), "{late:?}");
    pair.end().await;
}

async fn alias(config: Config) -> annals::Result<Arc<dyn Backend>> {
    Ok(Arc::clone(Store::connect(&format!("sqlite:{}", config.target())).await?.backend()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_is_not_moved_onto_itself() {
    register_adapter("alias", alias).unwrap();
    let pair = Pair::start().await;
    let config = TopicConfig::builder("t").adapter("file").connection(pair.file("t.db")).build().unwrap();
    let made = pair.one.create(config).await.unwrap();
    pair.one.append("t", &stream(), Expected::Any, [event()]).await.unwrap();
    let place = format!("alias:{}", pair.file("t.db"));
    let itself = made.config.change().adapter("alias").connection(&place).build().unwrap();
    let moved = pair.one.relocate(itself.clone(), made.version, |_| {}).await;
    assert!(matches!(moved, Err(Error::Invalid { what: "place", .. })), "{moved:?}");
    pair.one.append("t", &stream(), Expected::Any, [event()]).await.unwrap();
    // It may be reached in another way from now on.
    pair.one.update(itself, made.version).await.unwrap();
    pair.one.append("t", &stream(), Expected::Any, [event()]).await.unwrap();
    assert_eq!(pair.one.version("t", "s").await.unwrap(), Version::new(3));
    let store = Store::connect(&format!("sqlite:{}?topic=t", pair.file("t.db"))).await.unwrap();
    let copy = TopicCopy::begin(store, place.parse().unwrap()).await.unwrap();
    assert!(matches!(copy.run(|_| {}).await, Err(Error::Invalid { what: "place", .. })));
    copy.to().append(&stream(), Expected::Any, [event()]).await.unwrap();
    pair.end().await;
}
