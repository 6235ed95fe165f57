//! The transactions that write: each takes the lane's lock first, in a statement of its own, and reads what decides in
//! later ones.

use std::collections::HashMap;
use std::sync::Arc;

use uuid::Uuid;

use super::convert::{MssqlRow, PARAMETERS, packed, renumbered};
use super::pool::{Connection, Results};
use super::{bulk, insert};
use crate::append::{Appended, ConditionItem};
use crate::backend::decide::{ChangeKind, CommandState, LaneState, decide_batch};
use crate::backend::event_row::EventRow;
use crate::backend::request::{Asked, Request, unexamined};
use crate::error::{Error, Result};
use crate::event::RecordedEvent;
use crate::position::{LaneId, Position, Version};
use crate::sql::holds::{self, COPY, Reason};
use crate::sql::rows::{CommandStateRow, EventPlaceRow, HeadRow, MatchRow, StreamStateRow, VersionRow};
use crate::sql::{Dialect, FromRow, Statement, statements};

const MSSQL: Dialect = Dialect::Mssql;

/// Ids that one statement looks for.
const IDS: usize = 500;

/// The row of the lane is locked by an update that changes nothing, which Babelfish heeds too: it ignores UPDLOCK.
pub(super) fn locking(lane: LaneId) -> String {
    format!("BEGIN TRANSACTION; {}", lock_text(lane))
}

fn lock_text(lane: LaneId) -> String {
    format!("UPDATE {{s}}lanes WITH (ROWLOCK) SET floor = floor WHERE lane_id = {}", lane.get())
}

/// Decodes the rows of one result.
pub(super) fn decoded<T: FromRow>(results: &mut impl Iterator<Item = Vec<tiberius::Row>>) -> Result<Vec<T>> {
    results.next().unwrap_or_default().iter().map(|row| T::from_row(&MssqlRow(row))).collect()
}

/// Runs statements in as few calls as possible, and returns a result for each that has one.
async fn run_all(
    connection: &mut Connection,
    operation: &'static str,
    statements: impl IntoIterator<Item = Statement>,
) -> Result<impl Iterator<Item = Vec<tiberius::Row>>> {
    let mut results = Results::new();
    for call in packed(operation, statements) {
        results.extend(connection.query(&call).await?);
    }
    Ok(results.into_iter())
}

/// Runs statements that have no results in as few calls as possible.
async fn store_all(
    connection: &mut Connection,
    operation: &'static str,
    statements: impl IntoIterator<Item = Statement>,
) -> Result<()> {
    for call in packed(operation, statements) {
        connection.query(&call).await?;
    }
    Ok(())
}

/// Decides a batch, stores what is accepted, and commits.
pub(super) async fn decide_and_store(
    connection: &mut Connection,
    lane: LaneId,
    batch: &[Arc<Request>],
) -> Result<Vec<Result<Appended>>> {
    connection.batch("append", &locking(lane)).await?;
    let answers = decide_under_lock(connection, lane, batch).await?;
    connection.commit("append").await?;
    Ok(answers)
}

/// Decides a batch in an open transaction that holds the lane's lock, and stores what is accepted.
async fn decide_under_lock(
    connection: &mut Connection,
    lane: LaneId,
    batch: &[Arc<Request>],
) -> Result<Vec<Result<Appended>>> {
    let (mut state, stored) = load(connection, lane, batch).await?;
    let (answers, accepted) = decide_batch(&mut state, batch, stored);
    store_all(connection, "append", insert::accepted(lane, &accepted)).await?;
    Ok(answers)
}

/// Takes the lane's lock in an open transaction, and decides and stores a request there.
pub(super) async fn append_within(
    connection: &mut Connection,
    lane: LaneId,
    request: &Arc<Request>,
) -> Result<Result<Appended>> {
    connection.batch("append", &lock_text(lane)).await?;
    decide_under_lock(connection, lane, std::slice::from_ref(request)).await?.pop().ok_or(Error::Closed)
}

/// Loads what a batch asks about, and for each request the first stored event that matches its condition.
async fn load(
    connection: &mut Connection,
    lane: LaneId,
    batch: &[Arc<Request>],
) -> Result<(LaneState, Vec<Option<Position>>)> {
    let asked = Asked::of(batch);
    let conditions = unexamined(batch);
    let mut questions = vec![statements::head_and_clock(MSSQL, lane)];
    questions.extend(asked.streams.chunks(IDS).map(|ids| statements::stream_states(MSSQL, lane, ids)));
    questions.extend(asked.events.chunks(IDS).map(|ids| statements::event_places(MSSQL, lane, ids)));
    questions.extend(asked.commands.chunks(IDS).map(|ids| statements::command_states(MSSQL, lane, ids)));
    let parts = parts(&conditions);
    questions.extend(parts.iter().map(|part| statements::first_matches(MSSQL, lane, part.iter().copied())));
    let mut results = run_all(connection, "append", questions).await?;

    let head: HeadRow = decoded(&mut results)?.pop().ok_or(Error::Closed)?;
    head.check_hold()?;
    let mut state = LaneState::new(lane, head.head, head.now());
    for _ in asked.streams.chunks(IDS) {
        let rows: Vec<StreamStateRow> = decoded(&mut results)?;
        state.streams.extend(rows.into_iter().map(|row| (row.aggregate_id, row.state)));
    }
    for _ in asked.events.chunks(IDS) {
        let rows: Vec<EventPlaceRow> = decoded(&mut results)?;
        state.event_ids.extend(rows.into_iter().map(|row| (row.event_id, row.position)));
    }
    let mut known: Vec<CommandStateRow> = Vec::new();
    for _ in asked.commands.chunks(IDS) {
        known.extend(decoded::<CommandStateRow>(&mut results)?);
    }
    let mut matches: Vec<_> = batch.iter().map(|request| request.examined.matched).collect();
    for _ in parts {
        for row in decoded::<MatchRow>(&mut results)? {
            matches[row.number] = Some(row.position);
        }
    }
    drop(results);
    state.commands = outcomes(connection, lane, known).await?;
    Ok((state, matches))
}

/// A condition under its number, with the position that it begins after.
type Unexamined<'a> = (usize, &'a [ConditionItem], Position);

/// Splits conditions into parts that each fit into one statement.
fn parts<'a, 'b>(conditions: &'b [Unexamined<'a>]) -> Vec<&'b [Unexamined<'a>]> {
    let (mut parts, mut from, mut used) = (Vec::new(), 0, 0);
    for (index, (_, items, _)) in conditions.iter().enumerate() {
        // An alternative has the lane, the position, and its names.
        let params = items.iter().map(|item| 3 * item.types.len().max(1) + item.tags.len()).sum::<usize>();
        if index > from && used + params > PARAMETERS {
            parts.push(&conditions[from..index]);
            (from, used) = (index, 0);
        }
        used += params;
    }
    if from < conditions.len() {
        parts.push(&conditions[from..]);
    }
    parts
}

/// Adds to commands that were decided before the versions that their streams had then.
async fn outcomes(
    connection: &mut Connection,
    lane: LaneId,
    known: Vec<CommandStateRow>,
) -> Result<HashMap<Uuid, CommandState>> {
    let questions: Vec<Statement> = known
        .iter()
        .filter_map(|row| row.positions)
        .map(|(first, last)| statements::versions_of(MSSQL, lane, first, last))
        .collect();
    let mut results = run_all(connection, "append", questions).await?;
    let mut commands = HashMap::with_capacity(known.len());
    for row in known {
        let versions: Vec<VersionRow> = if row.positions.is_some() { decoded(&mut results)? } else { Vec::new() };
        let versions = versions.into_iter().map(|row| (row.aggregate_id, row.version)).collect();
        let state = CommandState { request_hash: row.request_hash, positions: row.positions, versions };
        commands.insert(row.command_id, state);
    }
    Ok(commands)
}

/// Runs writing statements under the lane's lock, in one call, and returns how many rows each changed.
pub(super) async fn write(connection: &mut Connection, lane: LaneId, statements: &[Statement]) -> Result<Vec<u64>> {
    let call = writing(lane, statements, connection.commit_text());
    let mut results = connection.query_and_commit(&call).await?.into_iter();
    statements
        .iter()
        .map(|_| {
            let changed: Option<i64> = decoded(&mut results)?.pop();
            Ok(changed.and_then(|rows| rows.try_into().ok()).unwrap_or_default())
        })
        .collect()
}

/// Joins writing statements into a call that locks the lane, tells after each how many rows it changed, and commits.
pub(super) fn writing(lane: LaneId, statements: &[Statement], commit: &str) -> Statement {
    let operation = statements.first().map_or("write", |statement| statement.operation);
    let mut call = Statement { operation, sql: locking(lane), params: Vec::new() };
    for statement in statements {
        call.sql.push_str(";\n");
        call.sql.push_str(&renumbered(&statement.sql, call.params.len()));
        call.sql.push_str(";\nSELECT CAST(@@ROWCOUNT AS bigint)");
        call.params.extend(statement.params.iter().cloned());
    }
    call.sql.push_str(";\n");
    call.sql.push_str(commit);
    call
}

/// Adds the lanes of a topic, unless another caller did so. The first lane's row is the lock of the list of lanes.
pub(super) async fn create_topic(connection: &mut Connection, name: &str, partitions: u16) -> Result<()> {
    const OPERATION: &str = "create a topic";
    const LOCK: &str = "BEGIN TRANSACTION; UPDATE {s}lanes WITH (ROWLOCK) SET floor = floor \
         WHERE lane_id = (SELECT MIN(lane_id) FROM {s}lanes)";
    connection.batch(OPERATION, LOCK).await?;
    let look =
        |sql: &str, params: Vec<crate::sql::Value>| Statement { operation: OPERATION, sql: sql.to_owned(), params };
    let questions = [
        look(
            "SELECT MAX(lane_id) FROM (SELECT lane_id FROM {s}lanes UNION ALL SELECT lane_id FROM {s}holds) a",
            Vec::new(),
        ),
        look("SELECT COUNT_BIG(*) FROM {s}lanes WHERE topic = @P1", vec![name.into()]),
    ];
    let mut results = run_all(connection, OPERATION, questions).await?;
    let last: Option<i64> = decoded(&mut results)?.pop();
    let known: Option<i64> = decoded(&mut results)?.pop();
    drop(results);
    if known == Some(0) {
        let lanes = insert::lanes(last.unwrap_or_default() + 1, name, partitions, Uuid::new_v4());
        store_all(connection, OPERATION, lanes).await?;
    }
    connection.commit(OPERATION).await
}

/// Stores events as they were elsewhere: few of them in as few calls as possible, more by the server's bulk load.
pub(super) async fn restore(connection: &mut Connection, lane: LaneId, events: &[RecordedEvent]) -> Result<Position> {
    connection.batch("restore", &locking(lane)).await?;
    let questions = [statements::head_and_clock(MSSQL, lane), holds::reason(MSSQL, lane, COPY)];
    let mut results = run_all(connection, "restore", questions).await?;
    let head: Vec<HeadRow> = decoded(&mut results)?;
    let copier: Vec<Reason> = decoded(&mut results)?;
    drop(results);
    let mut head = HeadRow::restorable(lane, head.first(), copier.first())?;
    let (mut created, mut changes) = (Vec::new(), Vec::new());
    for event in events {
        if event.position != head.next() {
            return Err(Error::Gap { lane: lane.get(), expected: head.next(), found: event.position });
        }
        head = event.position;
        if event.aggregate_version == Version::new(1) {
            created.push((event.aggregate_id.as_str(), event.aggregate_type.as_str(), event.event_timestamp));
        }
        if let Some(kind) = ChangeKind::of_marker(event) {
            changes.extend(insert::change(lane, &event.aggregate_id, kind, event.event_timestamp));
        }
    }
    let rows: Vec<EventRow<'_>> = events.iter().map(EventRow::recorded).collect();
    if rows.len() <= insert::ROWS {
        let statements = insert::streams(lane, &created).into_iter().chain(changes).chain(insert::events(lane, &rows));
        store_all(connection, "restore", statements).await?;
    } else {
        bulk::streams(connection, lane, &created).await?;
        store_all(connection, "restore", changes).await?;
        bulk::events(connection, lane, &rows).await?;
    }
    connection.commit("restore").await?;
    Ok(head)
}
