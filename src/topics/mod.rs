//! Topics of many databases behind one handle: [`Topics`]. Where each is kept is configured by events.

pub(crate) mod adapter;
mod builder;
mod config;
mod events;
mod history;
mod model;
mod place;
#[cfg(feature = "_sql")]
mod purge;
mod registry;
#[cfg(feature = "_sql")]
mod relocate;
mod route;
mod state;

use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

pub use builder::TopicsBuilder;
pub use config::{TopicConfig, TopicConfigBuilder};
pub use history::{Purged, TopicChange, TopicChangeKind, TopicDifference, TopicHealth};
pub use model::ConfiguredTopic;
#[cfg(feature = "_sql")]
pub use purge::TopicHold;
pub use registry::{BackendHealth, HealthState, Registry};

use crate::aggregate::ExecuteError;
use crate::append::{Append, Appended};
use crate::error::{Error, Result};
use crate::event::{ActorType, NewEvent, RecordedEvent};
use crate::position::Version;
use crate::read::Query;
use crate::store::Store;
use crate::stream::{Expected, Stream};
use adapter::Place;
use events::{Command, Refusal, Topic};
use model::Model;
use state::{Inner, Ready, State, replay};

/// The configuration topic, unless another is named.
pub(crate) const CONFIG_TOPIC: &str = "topics";

/// Many topics, each in a database of its own choice, and their configuration, which is a log of events in one of them.
///
/// Topics whose connections are equal share one pool. A database that does not answer keeps nobody from topics of another.
/// Several processes can have one configuration: each sees the others' changes as they come, and of two that change one
/// topic at the same time, one is told that it conflicts. Cheap to clone.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> annals::Result<()> {
/// use annals::{Expected, NewEvent, Stream, TopicConfig, Topics};
///
/// let topics = Topics::builder("sqlite::memory:?migrate=auto").build()?;
/// topics.initialize().await?;
/// topics.create(TopicConfig::builder("orders").adapter("memory").build()?).await?;
///
/// let placed = NewEvent::json("OrderPlaced", &serde_json::json!({"total": 12}))?;
/// topics.append("orders", &Stream::new("order", "order-1")?, Expected::NoStream, [placed]).await?;
/// let orders = topics.store("orders").await?; // with every verb of a store
/// assert_eq!(orders.version("order-1").await?.get(), 1);
/// topics.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Topics {
    inner: Arc<Inner>,
}

impl Topics {
    /// Begins to make topics whose configuration is kept in the database of a URL. Its option `topic` is not used.
    pub fn builder(url: impl Into<String>) -> TopicsBuilder {
        TopicsBuilder::new(url.into())
    }

    /// Reads the configuration, and follows it from then on; creates the configuration topic where it is missing. Once that
    /// was done, it does nothing.
    ///
    /// No topic's database is reached before it is used.
    ///
    /// # Errors
    /// [`Error::Configuration`] with the position of an event that is malformed or unknown, [`Error::Closed`], and those
    /// of [`Store::connect`] about the database of the configuration.
    pub async fn initialize(&self) -> Result<()> {
        let _starting = self.inner.starting.lock().await;
        match self.inner.ready() {
            Err(Error::NotInitialized) => {}
            other => return other.map(drop),
        }
        let config = &self.inner.config;
        let backend = self.inner.registry.reach(adapter::place_of_url(config)?).await?;
        backend.create_topic(config.topic(), 1).await?;
        let store = Store::shared(backend, config).await?;
        let mut model = Model::default();
        replay(&store, Query::new(), &mut model).await?;
        let model = RwLock::new(model);
        let ready = Arc::new(Ready { store, model, follower: std::sync::Mutex::default() });
        {
            let mut state = self.inner.state.write().unwrap_or_else(PoisonError::into_inner);
            if matches!(*state, State::Closed) {
                return Err(Error::Closed);
            }
            *state = State::Ready(Arc::clone(&ready));
        }
        self.inner.follow(&ready);
        Ok(())
    }

    /// Clears what is known of the configuration, and reads all of its events again. Stores that are open stay usable.
    ///
    /// # Errors
    /// [`Error::NotInitialized`], and as [`Topics::initialize`]; what was known stays then.
    pub async fn rebuild(&self) -> Result<()> {
        let _starting = self.inner.starting.lock().await;
        let ready = self.inner.ready()?;
        let mut model = Model::default();
        loop {
            replay(&ready.store, Query::new().after(model.position()), &mut model).await?;
            let mut known = ready.model.write().unwrap_or_else(PoisonError::into_inner);
            // What others have taken in meanwhile is not to be forgotten.
            if model.position() >= known.position() {
                model.keep_stores(&known);
                *known = model;
                break;
            }
        }
        self.inner.follow(&ready);
        Ok(())
    }

    /// Creates a topic: first in its database, then in the configuration. Where a topic of that name and number of lanes is
    /// in the database already, left by a creation that was cut off or configured nowhere, it is taken as it is; so is one
    /// that was deleted, with its events.
    ///
    /// # Errors
    /// [`Error::TopicExists`], [`Error::NotInitialized`], [`Error::Invalid`] where the database has the topic with another
    /// number of lanes, and those of [`Store::connect`] about the topic's database.
    pub async fn create(&self, config: TopicConfig) -> Result<ConfiguredTopic> {
        let ready = self.inner.ready()?;
        self.inner.catch_up(&ready).await?;
        if ready.read().entry(&config.name).is_ok() {
            return Err(Error::TopicExists { topic: config.name });
        }
        let place = self.inner.checked_place(&config)?;
        let url = place.config.clone().with_topic(&config.name)?;
        let backend = self.inner.registry.reach(place).await?;
        backend.create_topic(&config.name, config.partitions).await?;
        place::check_open(backend, &url).await?;
        let name = config.name.clone();
        self.change(&ready, &name, Command::Create(config)).await?;
        self.get(&name)
    }

    /// Changes a topic's configuration, which is expected to be at a version: the one that [`Topics::get`] showed.
    ///
    /// The connection can be changed only to a place that holds the same events, such as one that `annals copy` has made, or
    /// as long as there are none; nothing is left behind in silence. What is beside the events goes along. The old place takes
    /// nothing while that is copied and recorded, nor ever after, unless one of the two has no SQL: then its writers are to be stopped
    /// before. Whether the events are the same is told by the logs' identities and last events. [`Topics::relocate`] takes the
    /// events along, too. Where it fails, the topic is where it was, or calling it again completes it.
    ///
    /// # Errors
    /// [`Error::Conflict`] where somebody else changed it since, [`Error::EventsLeftBehind`], [`Error::UnknownTopic`],
    /// [`Error::TopicDeleted`], [`Error::NotInitialized`], [`Error::Invalid`] where the number of lanes would change, and
    /// those of [`Store::connect`] about the new place.
    pub async fn update(&self, config: TopicConfig, expected: Version) -> Result<ConfiguredTopic> {
        let ready = self.inner.ready()?;
        let (current, place) = self.checked_change(&ready, &config, expected).await?;
        let name = config.name.clone();
        if place.home == adapter::place(&current.config)?.home {
            if !config.is_at_the_place_of(&current.config) {
                // What can't be used is not recorded: nobody could reach the topic.
                self.inner.registry.reach(place.existing()).await?;
            }
            self.change(&ready, &name, Command::Update(config, expected)).await?;
        } else {
            self.reconnect(&ready, &current.config, config, place, expected).await?;
        }
        self.get(&name)
    }

    /// Deletes a topic, whose configuration is expected to be at a version: it is hidden, and its log stays in its database.
    /// Creating it again, with the same connection, shows it again.
    ///
    /// # Errors
    /// As [`Topics::update`].
    pub async fn delete(&self, name: &str, expected: Version) -> Result<()> {
        let ready = self.inner.ready()?;
        self.inner.catch_up(&ready).await?;
        self.get(name)?;
        self.change(&ready, name, Command::Delete(expected)).await
    }

    /// Returns a topic and its configuration, as far as this process has heard of it.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], [`Error::TopicDeleted`], [`Error::NotInitialized`], [`Error::Closed`].
    pub fn get(&self, name: &str) -> Result<ConfiguredTopic> {
        Ok(self.inner.ready()?.read().entry(name)?.topic.clone())
    }

    /// Returns every topic that is not deleted, by name.
    ///
    /// # Errors
    /// [`Error::NotInitialized`], [`Error::Closed`].
    pub fn list(&self) -> Result<Vec<ConfiguredTopic>> {
        Ok(self.inner.ready()?.read().topics().cloned().collect())
    }

    /// Returns the store of a topic, with all verbs. It is opened when it is first asked for, and shared by all who ask: it is
    /// [`Topics::close`] that closes it. Once the topic is moved to another database, it answers [`Error::Moved`]: ask for the
    /// store again.
    ///
    /// # Errors
    /// As [`Topics::get`], and those of [`Store::connect`] about the topic's database.
    pub async fn store(&self, name: &str) -> Result<Store> {
        loop {
            let (cell, config) = {
                let ready = self.inner.ready()?;
                let model = ready.read();
                let entry = model.entry(name)?;
                if let Some(store) = entry.store.get() {
                    return Ok(store.clone());
                }
                (Arc::clone(&entry.store), entry.topic.config.clone())
            };
            let limit = adapter::place(&config)?.config.statement_timeout();
            // Those who ask at the same time try one after the other where the database does not answer.
            let opened = tokio::time::timeout(limit, cell.get_or_try_init(|| self.inner.open(&config))).await;
            let milliseconds = limit.as_millis().try_into().unwrap_or(u64::MAX);
            opened.unwrap_or(Err(Error::Deadline { operation: "open a topic", milliseconds }))?;
            // The topic may have been moved meanwhile: a store of the old place would never hear of it.
        }
    }

    /// Appends to a stream of a topic; as [`Store::append`].
    ///
    /// # Errors
    /// As [`Topics::store`] and [`Store::append`].
    pub async fn append(
        &self,
        topic: &str,
        stream: &Stream,
        expected: impl Into<Expected>,
        events: impl IntoIterator<Item = NewEvent>,
    ) -> Result<Appended> {
        self.commit(topic, Append::new().to(stream.clone(), expected.into(), events)).await
    }

    /// Commits a request in a topic; as [`Store::commit`]. While the topic is moved elsewhere, it waits, and then goes there.
    ///
    /// # Errors
    /// As [`Topics::store`] and [`Store::commit`].
    pub async fn commit(&self, topic: &str, append: Append) -> Result<Appended> {
        self.routed(topic, |store| {
            let append = append.clone();
            async move { store.commit(append).await }
        })
        .await
    }

    /// Returns the events of a topic that answer a query; as [`Store::query`].
    ///
    /// # Errors
    /// As [`Topics::store`] and [`Store::query`].
    pub async fn query(&self, topic: &str, query: Query) -> Result<Vec<RecordedEvent>> {
        self.routed(topic, |store| {
            let query = query.clone();
            async move { store.query(query).await }
        })
        .await
    }

    /// Returns the current version of a topic's stream; as [`Store::version`].
    ///
    /// # Errors
    /// As [`Topics::store`] and [`Store::version`].
    pub async fn version(&self, topic: &str, stream: impl AsRef<str>) -> Result<Version> {
        let stream = stream.as_ref();
        self.routed(topic, |store| async move { store.version(stream).await }).await
    }

    /// Returns the backends that the topics share.
    #[must_use]
    pub fn registry(&self) -> &Registry {
        &self.inner.registry
    }

    /// Ends every topic's writer and closes every connection, for 10 s at most. Closing twice is harmless.
    pub async fn close(&self) {
        const LIMIT: Duration = Duration::from_secs(10);
        let state =
            std::mem::replace(&mut *self.inner.state.write().unwrap_or_else(PoisonError::into_inner), State::Closed);
        if let State::Ready(ready) = state {
            ready.follower.lock().unwrap_or_else(PoisonError::into_inner).abort_all();
            let mut stores = ready.read().stores();
            stores.push(ready.store.clone());
            let closing = futures::future::join_all(stores.iter().map(Store::close));
            if tokio::time::timeout(LIMIT / 2, closing).await.is_err() {
                self.inner.log(tracing::Level::WARN, "a topic's writer did not end within 5 s");
            }
        }
        self.inner.registry.close(LIMIT / 2).await;
    }

    /// Returns a topic as it is, and where a change that expects it at a version would have it be.
    async fn checked_change(
        &self,
        ready: &Ready,
        config: &TopicConfig,
        expected: Version,
    ) -> Result<(ConfiguredTopic, Place)> {
        self.inner.catch_up(ready).await?;
        let current = self.get(&config.name)?;
        if current.version != expected {
            let (stream, expected, actual) = (config.name.clone(), Expected::Exact(expected), current.version);
            return Err(Error::Conflict { stream, expected, actual });
        }
        if current.config.partitions != config.partitions {
            let reason = format!("the topic has {}, whose number is fixed", current.config.partitions);
            return Err(Error::invalid("partitions", reason));
        }
        let place = self.inner.checked_place(config)?;
        Ok((current, place))
    }

    /// Records a change of the configuration, and takes it in.
    async fn change(&self, ready: &Ready, name: &str, command: Command) -> Result<()> {
        let expected = match &command {
            Command::Create(_) => Expected::NoStream,
            Command::Update(_, version) | Command::Delete(version) | Command::Purge(_, version) => {
                Expected::Exact(*version)
            }
        };
        let mut execute = ready.store.execute::<Topic>(name, command);
        if let Some(actor) = &self.inner.actor {
            execute = execute.actor(actor, ActorType::User);
        }
        let refusal = match execute.await {
            Ok(_) => None,
            Err(ExecuteError::Store(error)) => return Err(error),
            Err(ExecuteError::Rejected(refusal)) => Some(refusal),
        };
        // What others have done shows, too, where it is why the change was refused.
        self.inner.catch_up(ready).await?;
        let topic = name.to_owned();
        match refusal {
            None => Ok(()),
            Some(Refusal::Exists) => Err(Error::TopicExists { topic }),
            Some(Refusal::Unknown) => Err(ready.read().unknown(name)),
            Some(Refusal::Deleted) => Err(Error::TopicDeleted { topic }),
            Some(Refusal::Conflict(actual)) => Err(Error::Conflict { stream: topic, expected, actual }),
        }
    }
}
