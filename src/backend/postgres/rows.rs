//! The rows of an append, stored by one statement, whatever their number.

use chrono::{DateTime, Utc};
use sqlx::postgres::{PgBindIterExt, PgConnection};

use super::convert::{Bound, JsonText, Stage, classify};
use crate::backend::decide::{Accepted, ChangeKind};
use crate::backend::event_row::EventRow;
use crate::backend::request::CommandWrite;
use crate::error::Result;
use crate::event::RecordedEvent;
use crate::position::{LaneId, Position};

/// `$1` is the lane. The rest are arrays, one a column: `$2` to `$7` new streams, `$8` and `$9` tags, `$10` to `$20`
/// commands, `$21` to `$38` events.
const STORE: &str = "WITH new_streams AS (\
       INSERT INTO streams (lane_id, aggregate_id, aggregate_type, created_at, updated_at, deleted_at, first_version) \
       SELECT $1, s.* FROM unnest($2::text[], $3::text[], $4::timestamptz[], $5::timestamptz[], $6::timestamptz[], \
         $7::bigint[]) AS s), \
     new_tags AS (\
       INSERT INTO event_tags (lane_id, tag, position) SELECT $1, t.* FROM unnest($8::text[], $9::bigint[]) AS t), \
     new_commands AS (\
       INSERT INTO commands (lane_id, command_id, command_type, aggregate_id, aggregate_type, actor, source, data, \
         request_hash, first_position, last_position, processed_at) \
       SELECT $1, c.* FROM unnest($10::uuid[], $11::text[], $12::text[], $13::text[], $14::text[], $15::text[], \
         $16::json[], $17::bytea[], $18::bigint[], $19::bigint[], $20::timestamptz[]) AS c) \
     INSERT INTO events (lane_id, position, aggregate_id, aggregate_type, aggregate_version, event_timestamp, event_id, \
       event_type, event_version, actor, actor_type, source, causation_id, correlation_id, data, metadata, \
       content_type, tags, hash) \
     SELECT $1, e.* FROM unnest($21::bigint[], $22::text[], $23::text[], $24::bigint[], $25::timestamptz[], $26::uuid[], \
       $27::text[], $28::integer[], $29::text[], $30::text[], $31::text[], $32::uuid[], $33::uuid[], $34::json[], \
       $35::json[], $36::text[], $37::json[], $38::bytea[]) AS e";

/// `$1` lane, then arrays: `$2` streams, `$3` the time, `$4` when they were deleted, `$5` the first version that shows.
/// Apart from [`STORE`], because few appends need it.
const CHANGE_STREAMS: &str = "UPDATE streams AS s SET updated_at = c.updated_at, deleted_at = c.deleted_at, \
       first_version = COALESCE(c.first_version, s.first_version) \
     FROM unnest($2::text[], $3::timestamptz[], $4::timestamptz[], $5::bigint[]) \
       AS c(id, updated_at, deleted_at, first_version) \
     WHERE s.lane_id = $1 AND s.aggregate_id = c.id";

/// What is to be stored in one lane.
#[derive(Debug, Default)]
pub(super) struct Rows<'a> {
    streams: Vec<StreamRow<'a>>,
    pub(super) events: Vec<EventRow<'a>>,
    commands: Vec<CommandRow<'a>>,
}

/// A stream's row as it is in the end; `created` is `None` where the row was there before.
#[derive(Debug)]
struct StreamRow<'a> {
    id: &'a str,
    aggregate_type: &'a str,
    created: Option<DateTime<Utc>>,
    updated: DateTime<Utc>,
    deleted: Option<DateTime<Utc>>,
    first_version: Option<i64>,
}

#[derive(Debug)]
struct CommandRow<'a> {
    command: &'a CommandWrite,
    time: DateTime<Utc>,
    positions: Option<(Position, Position)>,
}

impl<'a> Rows<'a> {
    pub(super) const fn is_empty(&self) -> bool {
        self.streams.is_empty() && self.events.is_empty() && self.commands.is_empty()
    }

    /// Adds what was accepted of a request.
    pub(super) fn accept(&mut self, accepted: &Accepted<'a>) {
        let now = accepted.now;
        for change in &accepted.streams {
            let (id, aggregate_type) = (&change.stream.aggregate_id, &change.stream.aggregate_type);
            self.change_to(change.kind, id, aggregate_type, now);
        }
        self.events.extend(accepted.events.iter().map(|placed| EventRow::placed(placed, now)));
        let positions = accepted.outcome.positions;
        self.commands.extend(accepted.command.map(|command| CommandRow { command, time: now, positions }));
    }

    /// Adds an event as it was elsewhere, and what it says of its stream.
    pub(super) fn restore(&mut self, event: &'a RecordedEvent) {
        let (id, aggregate_type, time) = (&event.aggregate_id, &event.aggregate_type, event.event_timestamp);
        if event.aggregate_version.get() == 1 {
            self.create(id, aggregate_type, time);
        }
        if let Some(kind) = ChangeKind::of_marker(event) {
            self.change_to(kind, id, aggregate_type, time);
        }
        self.events.push(EventRow::recorded(event));
    }

    fn change_to(&mut self, kind: ChangeKind, id: &'a str, aggregate_type: &'a str, time: DateTime<Utc>) {
        match kind {
            ChangeKind::Create => self.create(id, aggregate_type, time),
            ChangeKind::Delete => self.change(id, aggregate_type, time, Some(time), None),
            ChangeKind::Undelete => self.change(id, aggregate_type, time, None, None),
            ChangeKind::Reuse(first) => self.change(id, aggregate_type, time, None, Some(first.get())),
        }
    }

    fn create(&mut self, id: &'a str, aggregate_type: &'a str, time: DateTime<Utc>) {
        let row =
            StreamRow { id, aggregate_type, created: Some(time), updated: time, deleted: None, first_version: None };
        self.streams.push(row);
    }

    /// Changes a stream's row; one statement can't touch a row twice, so that several changes become one.
    fn change(
        &mut self,
        id: &'a str,
        aggregate_type: &'a str,
        updated: DateTime<Utc>,
        deleted: Option<DateTime<Utc>>,
        first_version: Option<i64>,
    ) {
        match self.streams.iter_mut().find(|row| row.id == id) {
            Some(row) => {
                (row.updated, row.deleted) = (updated, deleted);
                row.first_version = first_version.or(row.first_version);
            }
            None => self.streams.push(StreamRow { id, aggregate_type, created: None, updated, deleted, first_version }),
        }
    }

    /// Stores all of it.
    pub(super) async fn store(
        &self,
        connection: &mut PgConnection,
        operation: &'static str,
        lane: LaneId,
    ) -> Result<()> {
        let failed = |error| classify(operation, Stage::Work, error);
        if self.streams.iter().any(|row| row.created.is_none()) {
            self.change_streams(lane).execute(&mut *connection).await.map_err(failed)?;
        }
        self.insert(lane).execute(connection).await.map(drop).map_err(failed)
    }

    fn change_streams<'q>(&self, lane: LaneId) -> Bound<'q> {
        let changed = || self.streams.iter().filter(|row| row.created.is_none());
        sqlx::query(CHANGE_STREAMS)
            .bind(lane.get())
            .bind(changed().map(|row| row.id).bind_iter())
            .bind(changed().map(|row| row.updated).bind_iter())
            .bind(changed().map(|row| row.deleted).bind_iter())
            .bind(changed().map(|row| row.first_version).bind_iter())
    }

    fn insert<'q>(&self, lane: LaneId) -> Bound<'q> {
        let new = || self.streams.iter().filter(|row| row.created.is_some());
        let commands = || self.commands.iter();
        let events = || self.events.iter();
        let query = sqlx::query(STORE)
            .bind(lane.get())
            .bind(new().map(|row| row.id).bind_iter())
            .bind(new().map(|row| row.aggregate_type).bind_iter())
            .bind(new().map(|row| row.created).bind_iter())
            .bind(new().map(|row| row.updated).bind_iter())
            .bind(new().map(|row| row.deleted).bind_iter())
            .bind(new().map(|row| row.first_version.unwrap_or(1)).bind_iter());
        let query = self.bind_tags(query, 0);
        let query = self.bind_commands(query, 0).bind(commands().map(|row| row.time).bind_iter());
        let query = query
            .bind(events().map(|row| row.place.position).bind_iter())
            .bind(events().map(|row| row.place.aggregate_id).bind_iter())
            .bind(events().map(|row| row.place.aggregate_type).bind_iter())
            .bind(events().map(|row| row.place.version).bind_iter())
            .bind(events().map(|row| row.place.time).bind_iter());
        self.bind_events(query)
    }

    /// Binds tags and the positions of their events after `head`; nulls where there are none.
    pub(super) fn bind_tags<'q>(&self, query: Bound<'q>, head: i64) -> Bound<'q> {
        let tags =
            || self.events.iter().flat_map(|row| row.columns.tags.iter().map(|tag| (tag.as_str(), row.place.position)));
        let any = tags().next().is_some();
        query
            .bind(any.then(|| tags().map(|(tag, _)| tag).bind_iter()))
            .bind(any.then(|| tags().map(|(_, position)| position - head).bind_iter()))
    }

    /// Binds commands with the positions of their events after `head`, all but their time; nulls where there are none.
    pub(super) fn bind_commands<'q>(&self, query: Bound<'q>, head: i64) -> Bound<'q> {
        let commands = || (!self.commands.is_empty()).then(|| self.commands.iter());
        query
            .bind(commands().map(|rows| rows.map(|row| row.command.command_id).bind_iter()))
            .bind(commands().map(|rows| rows.map(|row| row.command.command_type.as_deref()).bind_iter()))
            .bind(commands().map(|rows| rows.map(|row| row.command.aggregate_id.as_deref()).bind_iter()))
            .bind(commands().map(|rows| rows.map(|row| row.command.aggregate_type.as_deref()).bind_iter()))
            .bind(commands().map(|rows| rows.map(|row| row.command.actor.as_deref()).bind_iter()))
            .bind(
                commands().map(|rows| rows.map(|row| row.command.source.map(crate::event::Source::as_str)).bind_iter()),
            )
            .bind(
                commands().map(|rows| {
                    rows.map(|row| row.command.data.as_ref().map(|data| JsonText(data.as_str()))).bind_iter()
                }),
            )
            .bind(commands().map(|rows| rows.map(|row| row.command.request_hash).bind_iter()))
            .bind(commands().map(|rows| rows.map(|row| row.positions.map(|(first, _)| first.get() - head)).bind_iter()))
            .bind(commands().map(|rows| rows.map(|row| row.positions.map(|(_, last)| last.get() - head)).bind_iter()))
    }

    /// Binds what of the events does not depend on what the lane holds; nulls where there are none.
    pub(super) fn bind_events<'q>(&self, query: Bound<'q>) -> Bound<'q> {
        let events = || (!self.events.is_empty()).then(|| self.events.iter().map(|row| &row.columns));
        query
            .bind(events().map(|rows| rows.map(|row| row.event_id).bind_iter()))
            .bind(events().map(|rows| rows.map(|row| row.event_type).bind_iter()))
            .bind(events().map(|rows| rows.map(|row| row.event_version).bind_iter()))
            .bind(events().map(|rows| rows.map(|row| row.actor).bind_iter()))
            .bind(events().map(|rows| rows.map(|row| row.actor_type).bind_iter()))
            .bind(events().map(|rows| rows.map(|row| row.source).bind_iter()))
            .bind(events().map(|rows| rows.map(|row| row.causation_id).bind_iter()))
            .bind(events().map(|rows| rows.map(|row| row.correlation_id).bind_iter()))
            .bind(events().map(|rows| rows.map(|row| JsonText(&row.data)).bind_iter()))
            .bind(events().map(|rows| rows.map(|row| row.metadata.map(JsonText)).bind_iter()))
            .bind(events().map(|rows| rows.map(|row| row.content_type).bind_iter()))
            .bind(events().map(|rows| rows.map(|row| row.tag_list.as_deref().map(JsonText)).bind_iter()))
            .bind(events().map(|rows| rows.map(|row| row.hash).bind_iter()))
    }
}
