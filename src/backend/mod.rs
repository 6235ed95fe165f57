//! The contract between the store and a database: [`Backend`].
//!
//! A backend sees ids, numbers and bytes, never a caller's types. It promises what each verb says below; the
//! conformance suite (feature `conformance`) proves it. [`decide`](decide::decide) holds the rules of an append, so
//! that a backend only locks and loads, asks it, stores and commits.

pub mod decide;
pub(crate) mod registry;
pub mod request;

#[cfg(feature = "_sql")]
pub(crate) mod engine;
#[cfg(feature = "_sql")]
pub(crate) mod event_row;
#[cfg(feature = "mssql")]
pub(crate) mod mssql;
#[cfg(feature = "postgres")]
pub(crate) mod postgres;
#[cfg(feature = "sqlite")]
pub(crate) mod sqlite;
#[cfg(feature = "postgres")]
pub(crate) mod suppose;

use std::fmt::Debug;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::append::{Appended, Condition};
use crate::command::RecordedCommand;
use crate::error::{Error, Result};
use crate::event::RecordedEvent;
use crate::json::Json;
use crate::position::{LaneId, Position, Version};
use crate::read::{Page, Query, StreamFilter, TypeStatistics};
use crate::snapshot::{NewSnapshot, Snapshot, SnapshotQuery};
use crate::sql::{Dialect, Row, Value};
use crate::stream::StreamInfo;
pub use request::{Examined, Request};

/// What a backend can do beyond the verbs that all have. The conformance suite skips, with the reason, what a
/// capability rules out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
#[allow(clippy::struct_excessive_bools)] // Each is a question of its own, in any combination.
pub struct Capabilities {
    /// Events outlive the store that wrote them: a second store of the same URL sees them.
    pub durable: bool,
    /// Several processes can use one database at a time.
    pub processes: bool,
    /// [`Backend::session`] gives connections that run SQL.
    pub sql: Option<Dialect>,
    /// Events can be found by the values that their JSON holds.
    pub json_filters: bool,
    /// Lists of streams are in byte order beyond the basic multilingual plane too.
    pub byte_order: bool,
    /// The database gives the time, so that all stores of one database agree on it.
    pub server_clock: bool,
    /// A session can end the store's other connections, which the server shows under the URL's `application_name`.
    pub kill: bool,
}

impl Capabilities {
    /// Claims nothing; for third-party backends to start from.
    #[must_use]
    pub const fn none() -> Self {
        Self {
            durable: false,
            processes: false,
            sql: None,
            json_filters: false,
            byte_order: false,
            server_clock: false,
            kill: false,
        }
    }

    /// Claims that events outlive the store.
    #[must_use]
    pub const fn with_durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// Claims that several processes can use one database.
    #[must_use]
    pub const fn with_processes(mut self, processes: bool) -> Self {
        self.processes = processes;
        self
    }

    /// Claims sessions that speak a dialect of SQL.
    #[must_use]
    pub const fn with_sql(mut self, dialect: Dialect) -> Self {
        self.sql = Some(dialect);
        self
    }

    /// Claims filters over JSON.
    #[must_use]
    pub const fn with_json_filters(mut self, json_filters: bool) -> Self {
        self.json_filters = json_filters;
        self
    }

    /// Claims lists in byte order.
    #[must_use]
    pub const fn with_byte_order(mut self, byte_order: bool) -> Self {
        self.byte_order = byte_order;
        self
    }

    /// Claims that the time is the database server's.
    #[must_use]
    pub const fn with_server_clock(mut self, server_clock: bool) -> Self {
        self.server_clock = server_clock;
        self
    }

    /// Claims that a session can end the store's other connections.
    #[must_use]
    pub const fn with_kill(mut self, kill: bool) -> Self {
        self.kill = kill;
        self
    }
}

/// A named log of events: its incarnation and its lanes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Topic {
    /// Its name.
    pub name: String,
    /// Tells this log from one that was restored or made anew under the same name.
    pub incarnation: Uuid,
    /// Its lanes, in the order of their partitions.
    pub lanes: Vec<LaneId>,
}

/// Where an event stands, and the hash of what its caller decided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EventPlace {
    /// Its id.
    pub event_id: Uuid,
    /// Its place in the lane.
    pub position: Position,
    /// Its hash; `None` where it was written from a SQL prompt.
    pub hash: Option<[u8; 32]>,
}

/// A database that keeps the contract.
///
/// **Atomicity.** A request of [`commit`](Backend::commit) is stored whole or not at all, and an acknowledged one is
/// committed with the durability that the URL asks for.
///
/// **Order.** Positions of a lane are 1, 2, 3 … without holes, in commit order: who sees position n + 1 can see n.
///
/// **Isolation.** `commit` takes the lane's lock first, and reads what decides in statements that begin after the lock
/// was granted. The reads see committed requests only, each whole.
///
/// **Cancellation.** A future that is dropped leaves no broken connection behind. Reads are cancel-safe. A `commit` that
/// is dropped may or may not have been carried out, but whole.
///
/// **Errors.** A request's own errors ([`decide`](decide::decide) lists them) are in the inner results and touch no other
/// request of the batch. An outer error concerns all of the batch, of which then nothing was stored, unless its class
/// is [`Ambiguous`](crate::ErrorClass::Ambiguous).
#[async_trait]
pub trait Backend: Debug + Send + Sync + 'static {
    /// Returns the backend's name, as in its URLs.
    fn name(&self) -> &'static str;

    /// Returns what it can do beyond the verbs that all have.
    fn capabilities(&self) -> Capabilities;

    /// Returns whether [`commit`](Self::commit) blocks the thread that polls it while the disk works, as an embedded
    /// database does. A store then commits on a thread of its own.
    fn commit_blocks(&self) -> bool {
        false
    }

    /// Returns how long those who follow a lane wait until they look for what other processes have committed: a part of
    /// the time for which there was no news, but not less than the first, and not more than the second.
    fn poll_interval(&self) -> RangeInclusive<Duration> {
        Duration::from_millis(10)..=Duration::from_millis(100)
    }

    /// Returns whether the next page is read while a caller deals with one: that pays where a database works elsewhere.
    fn reads_ahead(&self) -> bool {
        true
    }

    /// Returns once another process may have committed to a lane; never, where nothing tells. It is a hint, of which
    /// some may be lost and some be in vain.
    async fn heard(&self, lane: LaneId) {
        let _ = lane;
        std::future::pending::<()>().await;
    }

    /// Returns whether what is read is a replica, which may lag behind.
    async fn is_replica(&self) -> Result<bool> {
        Ok(false)
    }

    /// Returns every topic, by name.
    async fn topics(&self) -> Result<Vec<Topic>>;

    /// Creates a topic with a number of lanes, or returns the one that exists with as many; another number is
    /// [`Error::Invalid`].
    async fn create_topic(&self, name: &str, partitions: u16) -> Result<Topic>;

    /// Decides and stores requests of one lane, as if one after the other, in this order, and commits them together.
    ///
    /// An outcome that tells the time of its events ([`Appended::at`]) lets those who follow the lane have them at once, as
    /// the request says they are; otherwise they are read. A backend that shows events otherwise than they were given
    /// leaves the time out.
    async fn commit(&self, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>>;

    /// Commits one request as [`commit`](Self::commit) does, on the calling thread and without a pause, where that takes
    /// less time than waking another thread and coming back. As nothing is awaited, it can't be cancelled half-way.
    ///
    /// Returns `None`, and has then stored nothing, where it may take longer or somebody else is writing; the request is
    /// then for [`commit`](Self::commit).
    fn commit_briefly(&self, lane: LaneId, request: &Arc<Request>) -> Option<Result<Result<Appended>>> {
        let _ = (lane, request);
        None
    }

    /// Looks for the first event that matches a condition without any lock, and says how far it has looked.
    ///
    /// The long part of a condition is looked at before its request waits for the lane's lock; under the lock,
    /// [`commit`](Self::commit) has to look only at what stands after [`Examined::until`], see [`Request::unexamined`].
    async fn examine(&self, lane: LaneId, condition: &Condition) -> Result<Examined> {
        let _ = lane;
        Ok(Examined { until: condition.after, matched: None })
    }

    /// Returns at most `rows` events that answer a query, with the head that was observed at or before them; no more than
    /// [`Page::new`] keeps.
    async fn read(&self, lane: LaneId, query: &Query, rows: usize) -> Result<Page>;

    /// Returns the position of the lane's last event.
    async fn head(&self, lane: LaneId) -> Result<Position>;

    /// Returns the event of an id.
    async fn event(&self, lane: LaneId, event_id: Uuid) -> Result<Option<RecordedEvent>>;

    /// Returns where the events of some ids stand, at most [`crate::limits::PAGE_ROWS`] of them; those that do not
    /// exist are left out.
    async fn find_events(&self, lane: LaneId, event_ids: &[Uuid]) -> Result<Vec<EventPlace>> {
        let mut places = Vec::new();
        for event_id in event_ids {
            let event = self.event(lane, *event_id).await?;
            places.extend(event.map(|event| EventPlace {
                event_id: *event_id,
                position: event.position,
                hash: event.hash,
            }));
        }
        Ok(places)
    }

    /// Returns what is known of a stream, deleted or not.
    async fn stream(&self, lane: LaneId, aggregate_id: &str) -> Result<Option<StreamInfo>>;

    /// Lists streams in the byte order of their ids.
    async fn streams(&self, lane: LaneId, filter: &StreamFilter) -> Result<Vec<StreamInfo>>;

    /// Sets a stream's metadata, where its version is as expected (`None`: whatever it is), and returns the new version.
    ///
    /// Fails with [`Error::StreamNotFound`] or [`Error::MetadataConflict`].
    async fn set_metadata(
        &self,
        lane: LaneId,
        aggregate_id: &str,
        expected: Option<i64>,
        metadata: &Json,
    ) -> Result<i64>;

    /// Returns a command that was decided.
    async fn command(&self, lane: LaneId, command_id: Uuid) -> Result<Option<RecordedCommand>>;

    /// Saves a snapshot and returns whether it was stored: not where the stream has no such version, nor where one of
    /// the same or a later schema stands at the same or a later version.
    async fn save_snapshot(&self, lane: LaneId, snapshot: &NewSnapshot) -> Result<bool>;

    /// Returns the newest snapshot that answers a query. Those of a deleted stream, and a reused stream's older ones, are
    /// ignored.
    async fn snapshot(&self, lane: LaneId, aggregate_id: &str, query: SnapshotQuery) -> Result<Option<Snapshot>>;

    /// Deletes a stream's snapshots before a version, and returns how many.
    async fn prune_snapshots(&self, lane: LaneId, aggregate_id: &str, before: Version) -> Result<u64>;

    /// Counts the events of each type.
    async fn statistics(&self, lane: LaneId) -> Result<Vec<TypeStatistics>>;

    /// Stores events as they were elsewhere, places and times and ids included, at the end of the lane's log, and
    /// returns the new head. Events must continue the lane's positions and their streams' versions. Where it fails, a beginning
    /// of them may be stored.
    async fn restore(&self, lane: LaneId, events: &[RecordedEvent]) -> Result<Position> {
        let _ = (lane, events);
        Err(Error::Unsupported { backend: self.name(), what: "restoring a log" })
    }

    /// Asks the database for a sign of life.
    async fn ping(&self) -> Result<()>;

    /// Runs one reading statement of the caller's own, in the backend's dialect and with its placeholders.
    async fn select(&self, sql: &str, params: &[Value]) -> Result<Vec<Row>> {
        let _ = (sql, params);
        Err(Error::Unsupported { backend: self.name(), what: "sql" })
    }

    /// Begins a transaction of the caller's own.
    async fn begin(&self) -> Result<Box<dyn BackendTransaction>> {
        Err(Error::Unsupported { backend: self.name(), what: "sql" })
    }

    /// Opens a connection that runs SQL, for migrations and for looking at rows.
    async fn session(&self) -> Result<Box<dyn Session>> {
        Err(Error::Unsupported { backend: self.name(), what: "sql" })
    }

    /// Closes every connection. What was acknowledged is committed already.
    async fn close(&self);
}

/// An open transaction of a backend; dropping it rolls back. What it reads is committed, or its own.
#[async_trait]
pub trait BackendTransaction: Send {
    /// Runs one writing statement, in the backend's dialect and with its placeholders, and returns how many rows it changed.
    async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64>;

    /// Runs one reading statement, and returns its rows.
    async fn select(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>>;

    /// Takes the lane's lock, decides a request, and stores it if it is accepted, all as [`Backend::commit`] does but for
    /// the commit. After an inner error, which is the request's own, the transaction is as it was.
    async fn append(&mut self, lane: LaneId, request: &Arc<Request>) -> Result<Result<Appended>>;

    /// Commits.
    async fn commit(self: Box<Self>) -> Result<()>;
}

/// One connection that runs SQL text as it is, in the backend's dialect.
#[async_trait]
pub trait Session: Send {
    /// Runs one or several statements. The error's source is the driver's.
    async fn execute(&mut self, sql: &str) -> Result<()>;

    /// Runs one statement and returns its rows, each cell as text.
    async fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>>;
}
