//! The append in one call: for a lone request that writes one stream, and that nothing contradicts.
//!
//! The call locks, looks, and stores or stores nothing and says so; who is in the right is then decided where all
//! requests are decided, see [`super::append`]. Each of its statements begins after the one before it ended, so that what
//! decides is read after the lock was granted.

use super::convert::{CellRead, MssqlRow, PARAMETERS};
use super::insert::{self, COMMANDS, EVENTS, TAGS, add_values};
use super::pool::Connection;
use crate::append::Appended;
use crate::backend::event_row::Columns;
use crate::backend::request::{Life, Request, StreamRule};
use crate::error::{Error, Result};
use crate::position::{LaneId, Position, Version};
use crate::sql::rows::{RowRead as _, required};
use crate::sql::{Dialect, Sql, Statement};
use crate::stream::Expected;

/// The lane, the stream and its type; then the lock, and each in a statement of its own what decides: the head with its
/// time, the stream (`@known` is null where it does not exist, 0 where it is deleted or of another type), its version.
const LOCK_AND_LOOK: &str = "DECLARE @lane bigint = ?, @id nvarchar(255) = ?, @type nvarchar(255) = ?, @head bigint, \
     @version bigint, @known int, @last datetime2(6), @now datetime2(6), @stored int = 0;
BEGIN TRANSACTION;
UPDATE {s}lanes WITH (ROWLOCK) SET floor = floor WHERE lane_id = @lane;
SELECT TOP (1) @head = position, @last = event_timestamp FROM {s}events WHERE lane_id = @lane ORDER BY position DESC;
IF @head IS NULL SELECT @head = floor FROM {s}lanes WHERE lane_id = @lane;
SELECT @known = CASE WHEN aggregate_type = @type AND deleted_at IS NULL THEN 1 ELSE 0 END FROM {s}streams \
     WHERE lane_id = @lane AND aggregate_id = @id;
SELECT @version = COALESCE(MAX(aggregate_version), 0) FROM {s}events WHERE lane_id = @lane AND aggregate_id = @id;
IF ";

const STORE: &str = "
BEGIN
SET @now = SYSUTCDATETIME();
IF @last > @now SET @now = @last;
IF @known IS NULL INSERT INTO {s}streams (lane_id, aggregate_id, aggregate_type, created_at, updated_at) \
     VALUES (@lane, @id, @type, @now, @now);
";

/// Runs the call; `None` where there is no call for the request, or where something contradicts it: then nothing was
/// stored.
pub(super) async fn append(connection: &mut Connection, lane: LaneId, request: &Request) -> Result<Option<Appended>> {
    let Some(call) = call(lane, request, connection.commit_text()) else { return Ok(None) };
    let results = connection.query_and_commit(&call).await?;
    let row = results.last().and_then(|rows| rows.first()).ok_or(Error::Closed)?;
    if row.cell(0)?.integer()? != Some(1) {
        return Ok(None);
    }
    let (head, version) = (required(row.cell(1)?.integer()?)?, required(row.cell(2)?.integer()?)?);
    let count = i64::try_from(request.events.len()).unwrap_or(i64::MAX);
    let positions = Some((Position::new(head + 1), Position::new(head + count)));
    let versions = request.streams.iter().map(|rule| (rule.aggregate_id.clone(), Version::new(version + count)));
    let mut appended = Appended::new(lane, positions, versions.collect(), false);
    appended.event_timestamp = MssqlRow(row).time(3).ok().flatten();
    Ok(Some(appended))
}

/// Writes the call of a request; `None` where it is not a small one of one stream without a condition.
pub(super) fn call(lane: LaneId, request: &Request, commit: &str) -> Option<Statement> {
    let [rule] = request.streams.as_slice() else { return None };
    let tags: usize = request.events.iter().map(|event| event.tags.len()).sum();
    let events = request.events.len();
    // An event has 13 values and perhaps an id to look for; a row of tags the tag; the rest is less than 20.
    let fits = events <= insert::ROWS && tags <= 1_000 && 14 * events + tags + 20 <= PARAMETERS;
    if events == 0 || !fits || rule.life != Life::Keep || request.condition.is_some() {
        return None;
    }
    let mut sql = Sql::new(Dialect::Mssql, "append");
    sql.add(LOCK_AND_LOOK, [lane.get().into(), rule.aggregate_id.as_str().into(), rule.aggregate_type.as_str().into()]);
    nothing_contradicts(&mut sql, rule, request);
    sql.push(STORE);
    rows(&mut sql, request);
    sql.push("SET @stored = 1;\n").push(commit);
    sql.push(";\nEND\nELSE ROLLBACK TRANSACTION;\nSELECT @stored, @head, @version, @now;");
    Some(sql.done())
}

/// The condition under which the request is stored.
fn nothing_contradicts(sql: &mut Sql, rule: &StreamRule, request: &Request) {
    sql.push("(@known IS NULL OR @known = 1) AND NOT EXISTS (SELECT 1 FROM {s}holds WHERE lane_id = @lane ");
    sql.push("AND kind = N'append' AND until > SYSUTCDATETIME())");
    match rule.expected {
        Expected::Any => &mut *sql,
        Expected::Exists => sql.push(" AND @version > 0"),
        Expected::NoStream => sql.push(" AND @version = 0"),
        Expected::Exact(version) => sql.add(" AND @version = ?", [version.get().into()]),
    };
    if let Some(command) = &request.command {
        sql.add(
            " AND NOT EXISTS (SELECT 1 FROM {s}commands WHERE lane_id = @lane AND command_id = ?)",
            [command.command_id.into()],
        );
    }
    let mut given = request.events.iter().filter(|event| event.id_given).map(|event| event.event_id).peekable();
    if given.peek().is_some() {
        sql.push(" AND NOT EXISTS (SELECT 1 FROM {s}events WHERE lane_id = @lane AND event_id IN (");
        sql.list(given).push("))");
    }
}

/// The rows of the request, each placed after the head and the stream's version.
fn rows(sql: &mut Sql, request: &Request) {
    sql.push(&EVENTS.head());
    for (index, event) in request.events.iter().enumerate() {
        let number = index + 1;
        let comma = if index == 0 { "" } else { ", " };
        sql.push(&format!("{comma}(@lane, @id, @type, @head + {number}, @version + {number}, @now"));
        add_values(sql, insert::event_values(&Columns::of(event)));
        sql.push(")");
    }
    sql.push(";\n");
    let tags = (1..).zip(&request.events).flat_map(|(number, event)| event.tags.iter().map(move |tag| (number, tag)));
    for (index, (number, tag)) in tags.enumerate() {
        if index == 0 {
            sql.push(&TAGS.head());
        } else {
            sql.push(", ");
        }
        let number: i32 = number;
        sql.add(&format!("(@lane, ?, @head + {number})"), [tag.as_str().into()]);
    }
    sql.push(";\n");
    if let Some(command) = &request.command {
        sql.push(&COMMANDS.head()).push("(@lane");
        add_values(sql, insert::command_values(command));
        sql.push(&format!(", @now, @head + 1, @head + {});\n", request.events.len()));
    }
}
