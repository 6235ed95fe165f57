//! The one decoder of rows.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use crate::error::{Error, ErrorClass, Result};
use crate::event::{Payload, RecordedEvent};
use crate::json::Json;
use crate::position::{LaneId, Position, Version};
use crate::sql::Row;
use crate::sql::holds::{self, Reason};

/// A driver's row, read by column number.
pub(crate) trait RowRead {
    fn i64(&self, column: usize) -> Result<Option<i64>>;
    fn i32(&self, column: usize) -> Result<Option<i32>>;
    fn text(&self, column: usize) -> Result<Option<String>>;
    /// A document of a column of the database's JSON type.
    fn json(&self, column: usize) -> Result<Option<String>>;
    fn uuid(&self, column: usize) -> Result<Option<Uuid>>;
    fn time(&self, column: usize) -> Result<Option<DateTime<Utc>>>;
    fn bytes(&self, column: usize) -> Result<Option<Vec<u8>>>;
    /// All cells, each by the type that its column has.
    fn row(&self) -> Result<Row>;

    /// One of a closed set of words; a driver that lends texts parses without a copy.
    fn word<T: FromStr<Err = Error>>(&self, column: usize) -> Result<Option<T>> {
        self.text(column)?.map(|text| text.parse()).transpose()
    }

    /// A SHA-256; a driver that lends bytes takes them without a copy on the heap.
    fn hash(&self, column: usize) -> Result<Option<[u8; 32]>> {
        self.bytes(column)?.map(|bytes| hash(&bytes)).transpose()
    }
}

/// What a row becomes.
pub(crate) trait FromRow: Sized + Send + 'static {
    fn from_row(row: &impl RowRead) -> Result<Self>;
}

/// Refuses a null where the schema allows none.
pub(crate) fn required<T>(value: Option<T>) -> Result<T> {
    value.ok_or_else(|| damaged("a column is null that the schema declares not null"))
}

/// A row that this store can't have written.
pub(crate) fn damaged(reason: impl Into<String>) -> Error {
    Error::backend("annals", "decode a row", ErrorClass::Fatal, reason.into())
}

/// The time of a number of microseconds since 1970.
#[cfg(any(feature = "sqlite", feature = "postgres"))]
pub(crate) fn time(micros: i64) -> Result<DateTime<Utc>> {
    DateTime::from_timestamp_micros(micros).ok_or_else(|| damaged(format!("{micros} is no time")))
}

pub(crate) fn hash(bytes: &[u8]) -> Result<[u8; 32]> {
    bytes.try_into().map_err(|_| damaged("a hash is not 32 bytes long"))
}

impl FromRow for i64 {
    fn from_row(row: &impl RowRead) -> Result<Self> {
        Ok(row.i64(0)?.unwrap_or_default())
    }
}

/// A row whose cells are at hand, as a transaction of any backend returns it.
impl RowRead for Row {
    fn i64(&self, column: usize) -> Result<Option<i64>> {
        self.get(column)
    }

    fn i32(&self, column: usize) -> Result<Option<i32>> {
        self.get(column)
    }

    fn text(&self, column: usize) -> Result<Option<String>> {
        self.get(column)
    }

    fn json(&self, column: usize) -> Result<Option<String>> {
        self.get(column)
    }

    fn uuid(&self, column: usize) -> Result<Option<Uuid>> {
        self.get(column)
    }

    fn time(&self, column: usize) -> Result<Option<DateTime<Utc>>> {
        self.get(column)
    }

    fn bytes(&self, column: usize) -> Result<Option<Vec<u8>>> {
        self.get(column)
    }

    fn row(&self) -> Result<Row> {
        Ok(self.clone())
    }
}

impl FromRow for Row {
    fn from_row(row: &impl RowRead) -> Result<Self> {
        row.row()
    }
}

/// The columns of an event, of a table with the alias `e`, in the order that the decoder reads.
pub(crate) const EVENT_COLUMNS: &str = "e.lane_id, e.position, e.event_id, e.aggregate_id, e.aggregate_type, \
     e.aggregate_version, e.event_type, e.event_version, e.event_timestamp, e.actor, e.actor_type, e.source, \
     e.causation_id, e.correlation_id, e.data, e.metadata, e.content_type, e.tags, e.hash";

/// How many [`EVENT_COLUMNS`] there are.
#[cfg(feature = "postgres")]
pub(crate) const EVENT_COLUMN_COUNT: usize = 19;

impl FromRow for RecordedEvent {
    fn from_row(row: &impl RowRead) -> Result<Self> {
        let data = required(row.json(14)?)?;
        let payload = Payload::from_stored(Json::trusted(data), row.text(16)?)?;
        let tags = match row.json(17)? {
            None => Vec::new(),
            Some(tags) => serde_json::from_str(&tags).map_err(|error| damaged(format!("tags: {error}")))?,
        };
        Ok(Self {
            lane: LaneId::new(required(row.i64(0)?)?),
            position: Position::new(required(row.i64(1)?)?),
            event_id: required(row.uuid(2)?)?,
            aggregate_id: required(row.text(3)?)?,
            aggregate_type: required(row.text(4)?)?,
            aggregate_version: Version::new(required(row.i64(5)?)?),
            event_type: required(row.text(6)?)?,
            event_version: required(row.i32(7)?)?,
            event_timestamp: required(row.time(8)?)?,
            actor: row.text(9)?,
            actor_type: required(row.word(10)?)?,
            source: required(row.word(11)?)?,
            causation_id: row.uuid(12)?,
            correlation_id: row.uuid(13)?,
            payload,
            metadata: row.json(15)?.map(Json::trusted),
            tags,
            hash: row.hash(18)?,
        })
    }
}

impl FromRow for crate::backend::EventPlace {
    fn from_row(row: &impl RowRead) -> Result<Self> {
        Ok(Self {
            event_id: required(row.uuid(0)?)?,
            position: Position::new(required(row.i64(1)?)?),
            hash: row.hash(2)?,
        })
    }
}

impl FromRow for crate::stream::StreamInfo {
    fn from_row(row: &impl RowRead) -> Result<Self> {
        Ok(Self {
            aggregate_id: required(row.text(0)?)?,
            aggregate_type: required(row.text(1)?)?,
            version: Version::new(required(row.i64(2)?)?),
            first_version: Version::new(required(row.i64(3)?)?),
            created_at: required(row.time(4)?)?,
            updated_at: required(row.time(5)?)?,
            last_event_at: required(row.time(6)?)?,
            deleted_at: row.time(7)?,
            metadata: row.json(8)?.map(Json::trusted),
            metadata_version: required(row.i64(9)?)?,
        })
    }
}

impl FromRow for crate::command::RecordedCommand {
    fn from_row(row: &impl RowRead) -> Result<Self> {
        Ok(Self {
            command_id: required(row.uuid(0)?)?,
            command_type: row.text(1)?,
            aggregate_id: row.text(2)?,
            aggregate_type: row.text(3)?,
            processed_at: required(row.time(4)?)?,
            actor: row.text(5)?,
            source: row.word(6)?,
            data: row.json(7)?.map(Json::trusted),
            first_position: row.i64(8)?.map(Position::new),
            last_position: row.i64(9)?.map(Position::new),
        })
    }
}

impl FromRow for crate::snapshot::Snapshot {
    fn from_row(row: &impl RowRead) -> Result<Self> {
        Ok(Self {
            snapshot_id: required(row.uuid(0)?)?,
            aggregate_id: required(row.text(1)?)?,
            aggregate_type: required(row.text(2)?)?,
            aggregate_version: Version::new(required(row.i64(3)?)?),
            snapshot_version: required(row.i32(4)?)?,
            snapshot_timestamp: required(row.time(5)?)?,
            state: Json::trusted(required(row.json(6)?)?),
        })
    }
}

impl FromRow for crate::read::TypeStatistics {
    fn from_row(row: &impl RowRead) -> Result<Self> {
        Ok(Self {
            event_type: required(row.text(0)?)?,
            events: required(row.i64(1)?)?,
            streams: required(row.i64(2)?)?,
            first_at: required(row.time(3)?)?,
            last_at: required(row.time(4)?)?,
        })
    }
}

/// A lane with its topic.
#[derive(Debug)]
pub(crate) struct LaneRow {
    pub lane: LaneId,
    pub topic: String,
    pub incarnation: Uuid,
}

impl FromRow for LaneRow {
    fn from_row(row: &impl RowRead) -> Result<Self> {
        Ok(Self {
            lane: LaneId::new(required(row.i64(0)?)?),
            topic: required(row.text(1)?)?,
            incarnation: required(row.uuid(2)?)?,
        })
    }
}

/// What the lane's lock protects: the head, the time of the last event, the database's clock.
#[derive(Debug, Clone)]
pub(crate) struct HeadRow {
    pub head: Position,
    pub last_time: Option<DateTime<Utc>>,
    pub clock: DateTime<Utc>,
    /// Until when the lane takes no events, and why.
    hold: Option<(DateTime<Utc>, String)>,
}

impl HeadRow {
    /// Checks that the lane takes events.
    pub(crate) fn check_hold(&self) -> Result<()> {
        match &self.hold {
            Some((until, to)) if *until == holds::FOR_EVER => Err(Error::Moved { to: to.clone() }),
            Some((until, _)) if *until > self.clock => Err(Error::Held { until: *until }),
            _ => Ok(()),
        }
    }

    /// Returns the head of a lane to which events are restored, of a topic that somebody copies, or that takes events.
    pub(crate) fn restorable(lane: LaneId, head: Option<&Self>, copier: Option<&Reason>) -> Result<Position> {
        let head = head.ok_or(Error::LogDiverged { lane: lane.get(), position: Position::ZERO })?;
        copier.map_or_else(|| head.check_hold(), |_| Ok(()))?;
        Ok(head.head)
    }

    /// Returns until when the lane takes no events for some reason.
    pub(crate) fn held_for(&self, reason: &str) -> Option<DateTime<Utc>> {
        self.hold.as_ref().filter(|(until, why)| *until > self.clock && why == reason).map(|(until, _)| *until)
    }

    /// Returns the time for new events: the clock's, but never before the last event's.
    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.last_time.map_or(self.clock, |last| last.max(self.clock))
    }
}

impl FromRow for HeadRow {
    fn from_row(row: &impl RowRead) -> Result<Self> {
        Ok(Self {
            head: Position::new(row.i64(0)?.unwrap_or_default()),
            last_time: row.time(1)?,
            clock: required(row.time(2)?)?,
            hold: row.time(3)?.zip(row.text(4)?),
        })
    }
}

/// A stream as an append needs it.
#[derive(Debug)]
pub(crate) struct StreamStateRow {
    pub aggregate_id: String,
    pub state: crate::backend::decide::StreamState,
}

impl FromRow for StreamStateRow {
    fn from_row(row: &impl RowRead) -> Result<Self> {
        let state = crate::backend::decide::StreamState {
            aggregate_type: required(row.text(1)?)?,
            version: Version::new(required(row.i64(2)?)?),
            deleted: row.time(3)?.is_some(),
        };
        Ok(Self { aggregate_id: required(row.text(0)?)?, state })
    }
}

/// A command as an append needs it.
#[derive(Debug)]
pub(crate) struct CommandStateRow {
    pub command_id: Uuid,
    pub request_hash: [u8; 32],
    pub positions: Option<(Position, Position)>,
}

impl FromRow for CommandStateRow {
    fn from_row(row: &impl RowRead) -> Result<Self> {
        let first = row.i64(2)?.map(Position::new);
        Ok(Self {
            command_id: required(row.uuid(0)?)?,
            request_hash: required(row.hash(1)?)?,
            positions: first.zip(row.i64(3)?.map(Position::new)),
        })
    }
}

/// The version that a stream had after a request.
#[cfg(any(feature = "sqlite", feature = "mssql"))]
#[derive(Debug)]
pub(crate) struct VersionRow {
    pub aggregate_id: String,
    pub version: Version,
}

#[cfg(any(feature = "sqlite", feature = "mssql"))]
impl FromRow for VersionRow {
    fn from_row(row: &impl RowRead) -> Result<Self> {
        Ok(Self { aggregate_id: required(row.text(0)?)?, version: Version::new(required(row.i64(1)?)?) })
    }
}

/// Where an event stands.
#[derive(Debug)]
pub(crate) struct EventPlaceRow {
    pub event_id: Uuid,
    pub position: Position,
}

/// A stream that a command wrote, with the version that it had then.
#[cfg(feature = "postgres")]
pub(crate) struct CommandVersionRow {
    pub command_id: Uuid,
    pub aggregate_id: String,
    pub version: Version,
}

#[cfg(feature = "postgres")]
impl FromRow for CommandVersionRow {
    fn from_row(row: &impl RowRead) -> Result<Self> {
        Ok(Self {
            command_id: required(row.uuid(0)?)?,
            aggregate_id: required(row.text(1)?)?,
            version: Version::new(required(row.i64(2)?)?),
        })
    }
}

impl FromRow for EventPlaceRow {
    fn from_row(row: &impl RowRead) -> Result<Self> {
        Ok(Self { event_id: required(row.uuid(0)?)?, position: Position::new(required(row.i64(1)?)?) })
    }
}

/// The first event that matches a condition, which stands under a number.
pub(crate) struct MatchRow {
    #[cfg_attr(not(any(feature = "postgres", feature = "mssql")), expect(dead_code, reason = "sqlite asks for one"))]
    pub number: usize,
    pub position: Position,
}

impl FromRow for MatchRow {
    fn from_row(row: &impl RowRead) -> Result<Self> {
        let number = usize::try_from(required(row.i32(0)?)?).map_err(|_| damaged("a condition has no number"))?;
        Ok(Self { number, position: Position::new(required(row.i64(1)?)?) })
    }
}
