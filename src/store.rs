//! The store: what a program holds.

#[cfg(feature = "_sql")]
mod incarnation;
mod paging;
pub(crate) mod reading;

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use tokio::sync::watch;

use crate::append::{Append, Appended};
use crate::backend::request::Life;
use crate::backend::{Backend, Capabilities, Topic};
use crate::command::Command;
use crate::config::Config;
use crate::encode;
use crate::error::{Error, Result};
use crate::event::{NewEvent, object};
use crate::json::Json;
use crate::lane;
use crate::limits;
use crate::metrics::WriterMetrics;
use crate::migrate;
use crate::name;
use crate::position::LaneId;
use crate::resend::held_pause;
use crate::stream::{Expected, Stream};
use crate::subscription::tail::Tail;
use crate::topics::adapter;
use crate::writer::Writer;

/// One topic of one database. Cheap to clone; all clones share the connections and the writer.
///
/// A store belongs to the tokio runtime that it was connected on. Futures are `Send`. Reads are cancel-safe. What
/// becomes of an append whose future is dropped is said at [`Store::commit`]; the other writing verbs are carried out
/// whole or not at all then, and repeating them does no harm.
#[derive(Debug, Clone)]
pub struct Store {
    pub(crate) inner: Arc<Inner>,
}

#[derive(Debug)]
pub(crate) struct Inner {
    pub(crate) backend: Arc<dyn Backend>,
    /// Whether others use the backend, too.
    is_shared: bool,
    pub(crate) topic: Topic,
    /// Where the topic is, without a password.
    place: String,
    pub(crate) writers: Vec<Writer>,
    pub(crate) tails: Vec<Arc<Tail>>,
    /// Tells that a checkpoint of a subscription was saved.
    pub(crate) progress: watch::Sender<()>,
    timeout: Duration,
    max_event_bytes: usize,
    /// Where the topic was moved to, once whoever configures that has said so.
    moved: OnceLock<String>,
}

impl Store {
    /// Opens the topic that a connection URL names, or `default`.
    ///
    /// # Errors
    /// [`Error::Url`] where the URL can't be used, [`Error::Schema`] where the database has no schema of this store or
    /// another version, [`Error::UnknownTopic`], and [`Error::Backend`] where the database can't be reached.
    pub async fn connect(url: &str) -> Result<Self> {
        Self::connect_with(url.parse()?).await
    }

    /// Opens the topic that a configuration names.
    ///
    /// # Errors
    /// As [`Store::connect`].
    pub async fn connect_with(config: Config) -> Result<Self> {
        let backend = migrate::open(&config).await?;
        migrate::or_close(&backend, Self::with_backend(Arc::clone(&backend), &config)).await
    }

    /// Opens a topic of a backend that is connected already. Closing the store closes the backend.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`], and what the backend answers.
    pub async fn with_backend(backend: Arc<dyn Backend>, config: &Config) -> Result<Self> {
        Self::of(backend, config, false).await
    }

    /// Opens a topic of a backend that others use, too, and that is theirs to close.
    pub(crate) async fn shared(backend: Arc<dyn Backend>, config: &Config) -> Result<Self> {
        Self::of(backend, config, true).await
    }

    async fn of(backend: Arc<dyn Backend>, config: &Config, is_shared: bool) -> Result<Self> {
        let mut topics = backend.topics().await?;
        let Some(index) = topics.iter().position(|topic| topic.name == config.topic()) else {
            let known: Vec<String> = topics.into_iter().map(|topic| topic.name).collect();
            return Err(Error::UnknownTopic { topic: config.topic().to_owned(), known: known.join(", ") });
        };
        let topic = topics.swap_remove(index);
        // A lost connection is made good, or the doubt about it told, before the callers' own deadline.
        let patience = patience(config.statement_timeout());
        let tails: Vec<_> = topic.lanes.iter().map(|lane| Arc::new(Tail::new(*lane))).collect();
        let writers = Writer::start(&backend, &tails, patience)?;
        let inner = Inner {
            backend,
            is_shared,
            tails,
            progress: watch::Sender::default(),
            topic,
            place: adapter::lasting(config),
            writers,
            timeout: config.statement_timeout(),
            max_event_bytes: config.max_event_bytes(),
            moved: OnceLock::new(),
        };
        Ok(Self { inner: Arc::new(inner) })
    }

    /// Returns the topic that is open.
    #[must_use]
    pub fn topic(&self) -> &Topic {
        &self.inner.topic
    }

    /// Creates a topic with a number of lanes, 1 to [`limits::LANES`], which is fixed from then on; or returns the one that
    /// exists with as many. Open it with the URL option `topic`.
    ///
    /// Streams are spread over the lanes by a hash of their ids: of the text inside `{…}`, where there is one. A lane is
    /// one sequence with one writer at a time; with more of them, more writers commit at the same time, and there is no
    /// order between the events of two lanes.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the name is no name, the number is out of range, or the topic has another number of lanes,
    /// and what the backend answers.
    pub async fn create_topic(&self, name: &str, partitions: u16) -> Result<Topic> {
        let name = name::check("topic", name)?;
        if !(1..=limits::LANES).contains(&partitions) {
            let reason = format!("{partitions} is not a number of lanes from 1 to {}", limits::LANES);
            return Err(Error::invalid("partitions", reason));
        }
        self.deadline("create a topic", self.inner.backend.create_topic(&name, partitions)).await
    }

    /// Returns what the backend can do beyond the verbs that all have.
    #[must_use]
    pub fn capabilities(&self) -> Capabilities {
        self.inner.backend.capabilities()
    }

    /// Returns the limit of one event in bytes.
    #[must_use]
    pub fn max_event_bytes(&self) -> usize {
        self.inner.max_event_bytes
    }

    /// Returns the backend, for what goes beyond the store's verbs.
    #[must_use]
    pub fn backend(&self) -> &Arc<dyn Backend> {
        &self.inner.backend
    }

    /// Appends events to a stream that is expected to be at some version, all of them or none.
    ///
    /// Without events it is a pure assertion of the version, and creates nothing.
    ///
    /// # Errors
    /// As [`Store::commit`].
    pub async fn append(
        &self,
        stream: &Stream,
        expected: impl Into<Expected>,
        events: impl IntoIterator<Item = NewEvent>,
    ) -> Result<Appended> {
        self.commit(Append::new().to(stream.clone(), expected.into(), events)).await
    }

    /// Commits a request: events of several streams, guards, a condition, a command; all of it or nothing.
    ///
    /// When this returns, the events are committed with the durability that the URL asks for. Dropping the future
    /// withdraws a request that still waits; one that the writer has taken runs to its end.
    ///
    /// # Errors
    /// [`Error::Conflict`], [`Error::ConditionFailed`], [`Error::StreamDeleted`], [`Error::TypeMismatch`],
    /// [`Error::CommandReused`], [`Error::DuplicateEvent`], [`Error::CrossLane`], [`Error::Limit`],
    /// [`Error::Invalid`], [`Error::Overloaded`], [`Error::Deadline`], and [`Error::Backend`].
    #[tracing::instrument(level = "debug", skip_all, fields(topic = %self.inner.topic.name, events = append.events()))]
    pub async fn commit(&self, append: Append) -> Result<Appended> {
        self.deadline("append", async {
            let index = self.lane_of_append(&append)?;
            let writer = &self.inner.writers[index];
            // What is refused for its size waits for nobody, and nobody for it.
            encode::check_limits(&append, self.inner.max_event_bytes)?;
            let place = writer.place(encode::weight(&append)).await?;
            let mut request = encode::append(append)?;
            if let Some(condition) = request.condition.as_ref().filter(|condition| writer.is_long(condition)) {
                request.examined = self.inner.backend.examine(self.inner.topic.lanes[index], condition).await?;
                writer.observe(request.examined.until);
            }
            writer.commit(place, Arc::new(request)).await
        })
        .await
    }

    /// Records a command without events, once: a repetition is answered as a duplicate.
    ///
    /// # Errors
    /// [`Error::CommandReused`] where its id was used for another request, and as [`Store::commit`].
    pub async fn record_command(&self, command: Command) -> Result<Appended> {
        self.commit(Append::new().command(command)).await
    }

    /// Deletes a stream: it is hidden from reads of the stream and from lists. The log keeps it, with a marker event.
    ///
    /// # Errors
    /// [`Error::StreamNotFound`], [`Error::StreamDeleted`], [`Error::Conflict`], and as [`Store::commit`].
    pub async fn delete(&self, stream: &Stream, expected: Expected) -> Result<Appended> {
        self.change_life(stream, expected, Life::Delete).await
    }

    /// Undeletes a stream: what showed before its deletion shows again.
    ///
    /// # Errors
    /// [`Error::StreamNotFound`], [`Error::StreamNotDeleted`], and as [`Store::commit`].
    pub async fn undelete(&self, stream: &Stream, expected: Expected) -> Result<Appended> {
        self.change_life(stream, expected, Life::Undelete).await
    }

    /// Reuses the id of a deleted stream: its versions go on, what it held before stays hidden, and snapshots from
    /// before are ignored.
    ///
    /// # Errors
    /// [`Error::StreamNotFound`], [`Error::StreamNotDeleted`], and as [`Store::commit`].
    pub async fn reuse(&self, stream: &Stream, expected: Expected) -> Result<Appended> {
        self.change_life(stream, expected, Life::Reuse).await
    }

    async fn change_life(&self, stream: &Stream, expected: Expected, life: Life) -> Result<Appended> {
        self.deadline("change a stream's life", async {
            let writer = &self.inner.writers[self.lane_index(stream.id())];
            let place = writer.place(0).await?;
            let request = encode::life(stream, expected, life)?;
            writer.commit(place, Arc::new(request)).await
        })
        .await
    }

    /// Sets a stream's metadata, a JSON object with a version of its own, and returns its new version.
    ///
    /// # Errors
    /// [`Error::StreamNotFound`], [`Error::MetadataConflict`] where `expected` is given and not the current version,
    /// and [`Error::Invalid`] where it is not an object.
    pub async fn set_metadata(&self, stream: impl AsRef<str>, expected: Option<i64>, metadata: Json) -> Result<i64> {
        let metadata = object("metadata", metadata)?;
        let id = stream.as_ref();
        let write = || self.inner.backend.set_metadata(self.lane(id), id, expected, &metadata);
        self.deadline("set a stream's metadata", self.unless_held(write)).await
    }

    /// Returns what the writer of each lane has done since the store was opened: the depth of its queue, the sizes of its
    /// batches, the time of its commits.
    #[must_use]
    pub fn metrics(&self) -> Vec<WriterMetrics> {
        self.inner.writers.iter().map(Writer::metrics).collect()
    }

    /// Asks the database for a sign of life, and returns how long it took to answer.
    ///
    /// # Errors
    /// What the backend answers.
    pub async fn health(&self) -> Result<Duration> {
        let start = Instant::now();
        self.deadline("ping", self.inner.backend.ping()).await?;
        Ok(start.elapsed())
    }

    /// Takes no more requests, answers those that were taken, and closes every connection. Closing twice is harmless, and
    /// goes on where the future of a first call was dropped.
    pub async fn close(&self) {
        for writer in &self.inner.writers {
            writer.close().await;
        }
        if !self.inner.is_shared {
            self.inner.backend.close().await;
        }
    }

    /// Returns the lane of a stream.
    #[must_use]
    pub fn lane(&self, stream: &str) -> LaneId {
        self.inner.topic.lanes[self.lane_index(stream)]
    }

    fn lane_index(&self, stream: &str) -> usize {
        lane::index(stream, self.inner.topic.lanes.len())
    }

    /// Returns the lane that holds all streams of a request.
    pub(crate) fn lane_of_append(&self, append: &Append) -> Result<usize> {
        let mut streams = append.parts.iter().map(|(stream, _, _)| stream.id());
        let command = append.command.as_ref();
        let Some(first) = streams.next() else {
            let id = command.map(|command| {
                command.stream.as_ref().map_or_else(|| command.command_id.to_string(), |stream| stream.id().to_owned())
            });
            return Ok(id.map_or(0, |id| self.lane_index(&id)));
        };
        let index = self.lane_index(first);
        match streams.find(|second| self.lane_index(second) != index) {
            None => Ok(index),
            Some(second) => Err(Error::CrossLane { first: first.to_owned(), second: second.to_owned() }),
        }
    }

    /// Returns how long a verb may take.
    pub(crate) fn timeout(&self) -> Duration {
        self.inner.timeout
    }

    /// Returns where the topic is: its URL without a password, which means the same in every folder.
    pub(crate) fn place(&self) -> &str {
        &self.inner.place
    }

    /// Has every verb fail from now on, as the topic is elsewhere.
    pub(crate) fn leave(&self, to: String) {
        let _ = self.inner.moved.set(to);
    }

    /// Tries again what is answered [`Error::Held`], for as long as an append does.
    pub(crate) async fn unless_held<T, F>(&self, work: impl Fn() -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let start = Instant::now();
        loop {
            match work().await {
                Err(Error::Held { .. }) if start.elapsed() < patience(self.inner.timeout) => {
                    tokio::time::sleep(held_pause(start.elapsed())).await;
                }
                done => return done,
            }
        }
    }

    pub(crate) async fn deadline<T>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        if let Some(to) = self.inner.moved.get() {
            return Err(Error::Moved { to: to.clone() });
        }
        let limit = self.inner.timeout;
        tokio::time::timeout(limit, work).await.unwrap_or_else(|_| {
            let milliseconds = limit.as_millis().try_into().unwrap_or(u64::MAX);
            Err(Error::Deadline { operation, milliseconds })
        })
    }
}

/// Returns for how long something is tried again that a caller waits for until a deadline.
fn patience(deadline: Duration) -> Duration {
    deadline * 3 / 4
}
