//! What the store and the raw drivers do alike in a benchmark.

use std::time::Instant;

use async_trait::async_trait;

use crate::error::Result;

/// Bytes of an event's data and metadata.
const DATA_BYTES: usize = 190;
const METADATA_BYTES: usize = 70;

/// The event type of most events, and the rare one: every 100th.
pub(super) const TYPE: &str = "ItemAdded";
pub(super) const RARE_TYPE: &str = "CartCheckedOut";

/// A read model that counts the events of each stream, and what applies an event to it.
pub(super) const COUNTS: &str =
    "CREATE TABLE IF NOT EXISTS counts (stream varchar(100) PRIMARY KEY, events bigint NOT NULL)";
pub(super) const UPSERT: &str =
    "INSERT INTO counts VALUES ($1, 1) ON CONFLICT (stream) DO UPDATE SET events = counts.events + 1";
/// What precedes the new number of events, where the row is there.
pub(super) const ON_CONFLICT: &str = "ON CONFLICT (stream) DO UPDATE SET events =";

/// Something that appends and reads.
#[async_trait]
pub(super) trait Contender: Send + Sync {
    /// Lets `callers` append at the same time, each `requests` requests of `batch` events, one after the other, each
    /// to streams of its own, and returns how long each request took in nanoseconds.
    async fn append(&self, callers: usize, requests: usize, batch: usize) -> Result<Vec<u64>>;

    /// Lets `callers` append one event at a time to one stream, each `requests` times: read the version, append, on a
    /// conflict again.
    async fn append_contended(&self, callers: usize, requests: usize) -> Result<Vec<u64>>;

    /// Appends one event to each of the streams, one after the other, whatever their versions are.
    async fn append_each(&self, streams: &[String]) -> Result<Vec<u64>>;

    /// Goes on after the events that somebody else appended meanwhile.
    async fn resume(&self) -> Result<()> {
        Ok(())
    }

    /// Appends events to one stream; every 100th is of the rare type.
    async fn fill(&self, stream: &str, events: usize) -> Result<()>;

    /// Reads the first 1,000 events of a stream, data and metadata parsed, and returns how many there were.
    async fn read_stream(&self, stream: &str) -> Result<usize>;

    /// Reads the whole log in pages of 1,000.
    async fn read_log(&self) -> Result<usize>;

    /// Reads 100 events of the rare type.
    async fn query_type(&self) -> Result<usize>;

    /// Reads the 1,000 events from the middle of the log on, by time.
    async fn query_time(&self) -> Result<usize>;

    async fn close(&self);
}

/// Something that inserts events and checks nothing, to measure what the tables themselves cost.
#[async_trait]
pub(super) trait Inserter: Send + Sync {
    /// Inserts events with an actor and a correlation id in one transaction: the one with number `n` at position
    /// `n + 1`, with version `n / 100 + 1` of the stream [`stream_of`] caller 0. `hashed` says whether with a hash.
    async fn insert(&self, first: usize, count: usize, hashed: bool) -> Result<()>;

    /// Empties the table [`COUNTS`], and runs [`UPSERT`] for each stream's name, so many in a transaction.
    async fn upsert(&self, streams: &[String], batch: usize) -> Result<()>;
}

/// Returns a number as a database counts.
pub(super) fn counter(number: usize) -> i64 {
    i64::try_from(number).unwrap_or(i64::MAX)
}

/// Returns the data of an event.
pub(super) fn data(number: usize) -> String {
    padded(&format!("{{\"number\":{number},\"text\":\""), DATA_BYTES)
}

/// Returns the metadata of an event.
pub(super) fn metadata(number: usize) -> String {
    padded(&format!("{{\"request\":{number},\"agent\":\""), METADATA_BYTES)
}

fn padded(start: &str, bytes: usize) -> String {
    let fill = bytes.saturating_sub(start.len() + 2);
    format!("{start}{}\"}}", "x".repeat(fill))
}

/// Returns the type of the event with this number.
pub(super) const fn event_type(number: usize) -> &'static str {
    if number % 100 == 99 { RARE_TYPE } else { TYPE }
}

/// Returns the nanoseconds since a moment.
pub(super) fn nanoseconds(start: Instant) -> u64 {
    start.elapsed().as_nanos().try_into().unwrap_or(u64::MAX)
}

/// Returns the stream of a caller's request: 100 streams in all where there is one caller.
pub(super) fn stream_of(caller: usize, request: usize) -> String {
    format!("cart-{caller}-{}", request % 100)
}
