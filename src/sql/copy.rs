//! The statements that copy rows of any table from one database to another, generated from the tables' model.

use chrono::{DateTime, Utc};

use super::{Dialect, Row, Sql, Statement, Value};
use crate::error::Result;
use crate::position::{LaneId, Position};
use crate::schema::model;
use crate::schema::shape::{Column, Kind, Table};

/// The parameters that a statement has at most: SQL Server takes 2,100.
const PARAMETERS: usize = 2_000;

/// The columns that say when a row was written, of which each lasting table has one.
const WRITTEN: [&str; 3] = ["processed_at", "snapshot_timestamp", "updated_at"];

/// Whether a table is [`model::DESCRIPTIONS`].
pub(crate) fn describes_streams(table: &Table) -> bool {
    table.name == model::DESCRIPTIONS.name && column(table, "created_at").is_none()
}

/// Returns how many rows of a table one statement can insert.
pub(crate) const fn rows_at_once(table: &Table) -> usize {
    PARAMETERS / table.columns.len()
}

/// Returns of how many rows one statement looks for the keys: of streams, whose rows are small, as many as it can.
pub(crate) fn keys_at_once(table: &'static Table) -> usize {
    if table.name == model::STREAMS.name { PARAMETERS / key(table).len().max(1) } else { rows_at_once(table) }
}

/// Returns the places of a table's key in its rows, but for the lane.
pub(crate) fn key(table: &'static Table) -> Vec<usize> {
    let place = |name: &str| table.columns.iter().position(|column| column.name == name);
    table.primary_key.iter().filter(|name| **name != "lane_id").filter_map(|name| place(name)).collect()
}

/// Which rows of a table are read.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Part {
    pub lane: LaneId,
    /// Commands and snapshots of events beyond it are left out.
    pub until: Position,
    /// Rows that were last written before it are left out.
    pub since: Option<DateTime<Utc>>,
}

/// Returns the rows of a part after a key, in the order of the key. Streams of which nothing was ever said are left out, where
/// only that is asked for.
pub(crate) fn page(
    dialect: Dialect,
    table: &'static Table,
    part: Part,
    after: Option<&[Value]>,
    rows: usize,
) -> Statement {
    read(dialect, table, &names(table), part, after, rows)
}

/// Returns how long the documents of each row of a [`page`] are, in bytes or what the engine counts in their place; `None` where
/// the table's rows have none.
pub(crate) fn sizes(
    dialect: Dialect,
    table: &'static Table,
    part: Part,
    after: Option<&[Value]>,
    rows: usize,
) -> Option<Statement> {
    let documents = table.columns.iter().filter(|column| matches!(column.kind, Kind::Json(_)));
    let sizes: Vec<_> = documents.map(|column| format!("COALESCE({}, 0)", dialect.bytes(column.name))).collect();
    let what = format!("CAST({} AS bigint)", sizes.join(" + "));
    (!sizes.is_empty()).then(|| read(dialect, table, &what, part, after, rows))
}

fn read(
    dialect: Dialect,
    table: &'static Table,
    what: &str,
    Part { lane, until, since }: Part,
    after: Option<&[Value]>,
    rows: usize,
) -> Statement {
    let mut sql = select(dialect, table, what, lane);
    if let Some((since, name)) = since.zip(WRITTEN.into_iter().find(|name| column(table, name).is_some())) {
        sql.push(" AND ").push(name).add(" >= ?", [Value::Time(Some(since))]);
    }
    if column(table, "last_position").is_some() {
        sql.add(" AND (last_position IS NULL OR last_position <= ?)", [until.get().into()]);
    }
    if describes_streams(table) {
        sql.push(" AND metadata_version > 0");
    }
    if table.name == "snapshots" {
        let stored = " AND EXISTS (SELECT 1 FROM {s}events e WHERE e.lane_id = t.lane_id AND e.aggregate_id = t.aggregate_id \
                      AND e.aggregate_version = t.aggregate_version AND e.position <= ?)";
        sql.add(stored, [until.get().into()]);
    }
    let names: Vec<&str> = key(table).into_iter().map(|place| table.columns[place].name).collect();
    if let Some(after) = after {
        for (depth, name) in names.iter().enumerate() {
            sql.push(if depth == 0 { " AND (" } else { " OR (" });
            for (same, value) in names[..depth].iter().zip(after) {
                sql.add(&format!("{same} = ? AND "), [value.clone()]);
            }
            sql.add(&format!("{name} > ?"), [after[depth].clone()]);
            sql.push(if depth == 0 { "" } else { ")" });
        }
        sql.push(")");
    }
    sql.push(" ORDER BY ").push(&names.join(", ")).push(&dialect.limit(rows));
    sql.done()
}

/// Adds up what a lane's rows of a table have, as an aggregate function of SQL says.
pub(crate) fn sum(dialect: Dialect, table: &str, what: &str, lane: LaneId) -> Statement {
    let mut sql = Sql::new(dialect, "copy rows");
    sql.push("SELECT CAST(").push(what).push(" AS bigint) FROM {s}").push(table);
    sql.add(" WHERE lane_id = ?", [lane.get().into()]);
    sql.done()
}

/// Returns those rows of a lane whose keys are given.
pub(crate) fn find(dialect: Dialect, table: &'static Table, lane: LaneId, keys: &[Vec<Value>]) -> Statement {
    let mut sql = select(dialect, table, &names(table), lane);
    matching(&mut sql, table, keys);
    sql.done()
}

/// Deletes those rows of a lane whose keys are given.
pub(crate) fn delete(dialect: Dialect, table: &'static Table, lane: LaneId, keys: &[Vec<Value>]) -> Statement {
    let mut sql = Sql::new(dialect, "copy rows");
    sql.push("DELETE FROM {s}").push(table.name).add(" WHERE lane_id = ?", [lane.get().into()]);
    matching(&mut sql, table, keys);
    sql.done()
}

/// Inserts rows into a lane, at most [`rows_at_once`].
pub(crate) fn insert(dialect: Dialect, table: &'static Table, lane: LaneId, rows: &[Vec<Value>]) -> Statement {
    let mut sql = Sql::new(dialect, "copy rows");
    sql.push("INSERT INTO {s}").push(table.name).push(" (").push(&names(table)).push(") VALUES ");
    for (index, row) in rows.iter().enumerate() {
        sql.push(if index == 0 { "(" } else { ", (" });
        let cells = row.iter().zip(table.columns).map(|(cell, column)| match column.name {
            "lane_id" => lane.get().into(),
            _ => cell.clone(),
        });
        sql.list(cells).push(")");
    }
    sql.done()
}

/// Sets what an application says of a stream, a row of [`model::DESCRIPTIONS`].
pub(crate) fn describe_stream(dialect: Dialect, lane: LaneId, row: &[Value]) -> Statement {
    let table = &model::DESCRIPTIONS;
    let mut sql = Sql::new(dialect, "copy rows");
    sql.push("UPDATE {s}").push(table.name).push(" SET ");
    let changed = table.columns.iter().zip(row).filter(|(column, _)| !table.primary_key.contains(&column.name));
    for (index, (column, value)) in changed.enumerate() {
        sql.push(if index == 0 { "" } else { ", " }).add(&format!("{} = ?", column.name), [value.clone()]);
    }
    sql.add(" WHERE lane_id = ?", [lane.get().into()]);
    matching(&mut sql, table, &[key(table).into_iter().map(|place| row[place].clone()).collect()]);
    sql.done()
}

/// Returns a row's cells as the types of the table's columns.
pub(crate) fn cells(table: &'static Table, row: &Row) -> Result<Vec<Value>> {
    table.columns.iter().enumerate().map(|(place, column)| cell(row, place, column)).collect()
}

fn cell(row: &Row, place: usize, column: &Column) -> Result<Value> {
    Ok(match column.kind {
        Kind::Uuid => Value::Uuid(row.get(place)?),
        Kind::Name | Kind::Text(_) | Kind::OneOf(_) => Value::Text(row.get(place)?),
        Kind::Counter => Value::I64(row.get(place)?),
        Kind::Int => Value::I32(row.get(place)?),
        Kind::Time => Value::Time(row.get(place)?),
        Kind::Json(_) => Value::Json(row.get(place)?),
        Kind::Digest => Value::Bytes(row.get(place)?),
    })
}

fn select(dialect: Dialect, table: &'static Table, what: &str, lane: LaneId) -> Sql {
    let mut sql = Sql::new(dialect, "copy rows");
    sql.push("SELECT ").push(what).push(" FROM {s}").push(table.name);
    sql.add(" t WHERE t.lane_id = ?", [lane.get().into()]);
    sql
}

/// Adds the condition that a row has one of some keys.
fn matching(sql: &mut Sql, table: &'static Table, keys: &[Vec<Value>]) {
    let places = key(table);
    if let [place] = places[..] {
        sql.push(" AND ").push(table.columns[place].name).push(" IN (");
        sql.list(keys.iter().map(|key| key[0].clone())).push(")");
        return;
    }
    for (index, values) in keys.iter().enumerate() {
        sql.push(if index == 0 { " AND (" } else { " OR " });
        for (depth, (place, value)) in places.iter().zip(values).enumerate() {
            let name = table.columns[*place].name;
            sql.add(&format!("{}{name} = ?", if depth == 0 { "(" } else { " AND " }), [value.clone()]);
        }
        sql.push(")");
    }
    sql.push(")");
}

fn names(table: &Table) -> String {
    table.columns.iter().map(|column| column.name).collect::<Vec<_>>().join(", ")
}

fn column(table: &Table, name: &str) -> Option<usize> {
    table.columns.iter().position(|column| column.name == name)
}
