//! The limits of the store, each a named constant. What exceeds one is answered with [`crate::Error::Limit`], and
//! nothing is stored.

use crate::error::{Error, Result};

/// Lanes of a topic.
pub const LANES: u16 = 1_024;
/// Bytes of UTF-8 in a name.
pub const NAME_BYTES: usize = 255;
/// Tags of one event, of a query, and of an item of a condition.
pub const TAGS_PER_EVENT: usize = 64;
/// Bytes of one event (data, metadata and tags) unless the URL's `max_event_bytes` says otherwise: 4 MiB.
pub const EVENT_BYTES: usize = 4 * 1024 * 1024;
/// The largest value that `max_event_bytes` accepts: 64 MiB.
pub const EVENT_BYTES_MAX: usize = 64 * 1024 * 1024;
/// Events of one request.
pub const EVENTS_PER_REQUEST: usize = 10_000;
/// Bytes of one request: 64 MiB.
pub const REQUEST_BYTES: usize = 64 * 1024 * 1024;
/// Events, streams or other rows of one page.
pub const PAGE_ROWS: usize = 10_000;
/// Bytes of the events of a page (data, metadata and tags) with which it ends, though more rows were asked for, but not before
/// its second event: 8 MiB.
pub const PAGE_BYTES: usize = 8 * 1024 * 1024;
/// Levels of nesting of a JSON document.
pub const JSON_DEPTH: usize = 128;
/// Requests of one store that may wait for the writer of a lane.
pub const WAITING_REQUESTS: usize = 100_000;
/// Streams of one request, written and guarded, each time that it names one.
pub const STREAMS_PER_REQUEST: usize = 10_000;
/// Types of a query.
pub const TYPES_PER_QUERY: usize = 1_000;
/// Alternatives of an append condition: each type of an item, and each item without types.
pub const CONDITION_ALTERNATIVES: usize = 256;

/// Checks a number of things against a limit.
pub(crate) fn check(what: &'static str, limit: usize, actual: usize) -> Result<()> {
    if actual > limit { Err(Error::Limit { what, limit: limit as u64, actual: actual as u64 }) } else { Ok(()) }
}
