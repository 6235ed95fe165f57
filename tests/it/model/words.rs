//! What clients ask and what they are answered, in a universe so small that requests meet each other all the time.

use annals::Expected;
use uuid::Uuid;

pub const STREAMS: [&str; 3] = ["a", "b", "c"];
pub const CATEGORIES: [&str; 2] = ["order", "bill"];
pub const TYPES: [&str; 2] = ["Placed", "Paid"];
/// In their own order, in which events have them.
pub const TAGS: [&str; 3] = ["blue", "green", "red"];
/// How many ids of commands there are, and how many of events that callers give.
pub const IDS: u8 = 3;

/// The id of a command.
pub fn command_id(number: u8) -> Uuid {
    Uuid::from_u128(0xc0 + u128::from(number))
}

/// The id of an event whose caller gave it.
pub fn event_id(number: u8) -> Uuid {
    Uuid::from_u128(0xe0 + u128::from(number))
}

/// What a client asks of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Op {
    Commit(Commit),
    Live { change: Change, stream: Named, expected: Expect },
    Version(&'static str),
    Count(&'static str),
    Info(&'static str),
    ReadStream { stream: &'static str, from: i64, backward: bool },
    AsOf { stream: &'static str, version: i64 },
    Head,
    Page(Ask),
    Streams { deleted: bool },
    Command(u8),
    Event(u8),
}

/// One request to append.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Commit {
    pub parts: Vec<Part>,
    pub condition: Option<Condition>,
    pub command: Option<u8>,
}

/// A stream of a request, with what is expected of it and the events for it; a guard, where there are none.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Part {
    pub stream: Named,
    pub expected: Expect,
    pub events: Vec<New>,
}

/// A stream as a request names it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Named {
    pub id: &'static str,
    pub category: &'static str,
}

/// An event to be stored. Its data is a number of its own, so that no two events look alike.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct New {
    pub event_type: &'static str,
    pub tags: Vec<&'static str>,
    pub id: Option<u8>,
    pub data: u16,
}

/// What is expected of a stream's version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Expect {
    Any,
    NoStream,
    Exists,
    At(i64),
    /// The version that the client saw last; a recorded request has [`Expect::At`] in its place.
    Seen,
}

/// No event of any item after a position: each item any of the types, all of the tags.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Condition {
    pub items: Vec<(Vec<&'static str>, Vec<&'static str>)>,
    /// `None`: the head that the client saw last; a recorded request has a position in its place.
    pub after: Option<i64>,
}

/// A change of a stream's life.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Change {
    Delete,
    Undelete,
    Reuse,
}

/// A page of the log.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Ask {
    pub after: Option<i64>,
    pub rows: usize,
    pub backward: bool,
    pub types: Vec<&'static str>,
    pub tags: Vec<&'static str>,
    pub category: Option<&'static str>,
}

/// The whole log.
pub const EVERYTHING: Ask =
    Ask { after: None, rows: 1_000, backward: false, types: Vec::new(), tags: Vec::new(), category: None };

/// An event that is stored.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Event {
    pub position: i64,
    pub stream: Named,
    pub version: i64,
    pub event_type: &'static str,
    pub tags: Vec<&'static str>,
    pub id: Option<u8>,
    /// `None` of the store's own events.
    pub data: Option<u16>,
}

/// What a client is answered.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Answer {
    Appended {
        positions: Option<(i64, i64)>,
        versions: Vec<(&'static str, i64)>,
        duplicate: bool,
    },
    Refused(String),
    Number(i64),
    Info(Option<Info>),
    Events(Vec<Event>),
    Page {
        events: Vec<Event>,
        head: i64,
        scanned: Option<i64>,
    },
    Streams(Vec<(&'static str, i64)>),
    /// The positions of a command's first and last event, 0 where it has none; `None` where it was not decided.
    Command(Option<(i64, i64)>),
    Event(Option<Event>),
    /// No answer, or one that leaves open whether the request was carried out.
    Unknown(String),
}

/// What is known of a stream.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Info {
    pub category: &'static str,
    pub version: i64,
    pub first_version: i64,
    pub deleted: bool,
}

impl From<Expect> for Expected {
    fn from(expect: Expect) -> Self {
        match expect {
            Expect::Any => Self::Any,
            Expect::NoStream => Self::NoStream,
            Expect::Exists => Self::Exists,
            Expect::At(version) => Self::exact(version),
            Expect::Seen => unreachable!("a request that is sent names the version"),
        }
    }
}

impl Op {
    /// Returns whether carrying it out may change the lane.
    pub fn writes(&self) -> bool {
        match self {
            Self::Commit(commit) => commit.command.is_some() || commit.parts.iter().any(|part| !part.events.is_empty()),
            Self::Live { .. } => true,
            _ => false,
        }
    }
}
