//! The limits of the store, each a named constant. What exceeds one is answered with [`crate::Error::Limit`], and
//! nothing is stored.

/// Lanes of a topic.
pub const LANES: u16 = 1_024;
/// Bytes of UTF-8 in a name.
pub const NAME_BYTES: usize = 255;
/// Tags of one event.
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
/// Levels of nesting of a JSON document.
pub const JSON_DEPTH: usize = 128;
/// Requests that wait for one store's writer.
pub const WAITING_REQUESTS: usize = 100_000;
/// Alternatives of an append condition: its items with tags, and the types of its items without.
pub const CONDITION_ALTERNATIVES: usize = 256;
