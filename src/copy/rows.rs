//! What a topic has beside its events, table by table.

use crate::error::Result;
use crate::position::{LaneId, Position};
use crate::projection::Marker;
use crate::schema::model;
use crate::schema::shape::{Column, Table};
use crate::sql::{Row, Value, copy};
use crate::store::Store;

/// Tables that only grow, or whose rows may stay: what the copy lacks is added.
pub(super) const GROWING: [&str; 2] = ["commands", "snapshots"];

/// Short tables that change all the time: the copy's rows are replaced.
pub(super) const MOVING: [&str; 3] = ["subscriptions", "subscription_shares", "dead_letters"];

/// Columns that say who runs something at present, which nobody does at the new place.
const LEASES: [&str; 2] = ["lease_owner", "lease_until"];

/// Tables that are compared; the first one's rows come with the events.
pub(super) const COMPARED: [&str; 6] =
    ["streams", "commands", "snapshots", "subscriptions", "subscription_shares", "dead_letters"];

/// Returns tables by name.
pub(super) fn tables(names: &[&str]) -> impl Iterator<Item = &'static Table> {
    model::all_tables().filter(move |table| names.contains(&table.name))
}

/// Reads the tables that change all the time.
pub(super) async fn read_moving(store: &Store, lane: LaneId) -> Result<Vec<(&'static Table, Vec<Vec<Value>>)>> {
    let mut moving = Vec::new();
    for table in tables(&MOVING) {
        let (mut rows, mut after) = (Vec::new(), None);
        while let Some(page) = page(store, table, (lane, Position::MAX), after.as_deref()).await? {
            after = page.last().map(|row| key(table, row));
            rows.extend(page.into_iter().filter(|row| !is_projection(table, row)));
        }
        moving.push((table, rows));
    }
    Ok(moving)
}

/// A lane, and the one that it is copied to.
pub(super) struct Lanes<'a> {
    pub from: &'a Store,
    pub to: &'a Store,
    pub from_lane: LaneId,
    pub to_lane: LaneId,
    /// The last position that the copy has.
    pub end: Position,
}

impl Lanes<'_> {
    /// Adds the rows of a table that the copy lacks, in place of those that have their keys, and returns how many.
    pub(super) async fn add(&self, table: &'static Table) -> Result<u64> {
        let (mut added, mut after) = (0, None);
        while let Some(rows) = page(self.from, table, (self.from_lane, self.end), after.as_deref()).await? {
            after = rows.last().map(|row| key(table, row));
            let known = self.counterparts(table, &rows).await?;
            let missing: Vec<_> =
                rows.into_iter().filter(|row| !known.contains(&with_lane(table, row, self.to_lane))).collect();
            if missing.is_empty() {
                continue;
            }
            added += missing.len() as u64;
            let dialect = self.to.dialect()?;
            let keys: Vec<_> = missing.iter().map(|row| key(table, row)).collect();
            let mut transaction = self.to.begin().await?;
            transaction.write(copy::delete(dialect, table, self.to_lane, &keys)).await?;
            transaction.write(copy::insert(dialect, table, self.to_lane, &missing)).await?;
            transaction.commit().await?;
        }
        Ok(added)
    }

    /// Replaces the rows of a table by others, and returns how many these are.
    pub(super) async fn replace(&self, table: &'static Table, mut rows: Vec<Vec<Value>>) -> Result<u64> {
        for (place, column) in table.columns.iter().enumerate() {
            match column.name {
                "lease_owner" => rows.iter_mut().for_each(|row| row[place] = Value::Text(None)),
                "lease_until" => rows.iter_mut().for_each(|row| row[place] = Value::Time(None)),
                _ => {}
            }
        }
        let dialect = self.to.dialect()?;
        let mut transaction = self.to.begin().await?;
        transaction.write(copy::clear(dialect, table, self.to_lane)).await?;
        for rows in rows.chunks(copy::rows_at_once(table)) {
            transaction.write(copy::insert(dialect, table, self.to_lane, rows)).await?;
        }
        transaction.commit().await?;
        Ok(rows.len() as u64)
    }

    /// Copies what applications say of streams. The rows of streams come with their first events.
    pub(super) async fn describe_streams(&self) -> Result<()> {
        /// Well below what one statement returns of long documents.
        const ROWS: usize = 100;
        let mut after = String::new();
        loop {
            let statement = copy::described_streams(self.from.dialect()?, self.from_lane, &after, ROWS);
            let rows: Vec<Row> = self.from.rows(statement).await?;
            let Some(last) = rows.last() else { return Ok(()) };
            after = last.get(0)?;
            let mut transaction = self.to.begin().await?;
            for row in &rows {
                transaction.write(copy::describe_stream(self.to.dialect()?, self.to_lane, row)?).await?;
            }
            transaction.commit().await?;
        }
    }

    /// Counts the rows of a table that the copy lacks, or has otherwise.
    pub(super) async fn differences(&self, table: &'static Table) -> Result<u64> {
        let (mut differing, mut after) = (0, None);
        while let Some(rows) = page(self.from, table, (self.from_lane, self.end), after.as_deref()).await? {
            after = rows.last().map(|row| key(table, row));
            let without_leases = |row: &Vec<Value>| {
                let cells = row.iter().zip(table.columns).filter(|(_, column)| !LEASES.contains(&column.name));
                cells.map(|(cell, _)| cell.clone()).collect::<Vec<_>>()
            };
            let known = self.counterparts(table, &rows).await?;
            let known: Vec<_> = known.iter().map(without_leases).collect();
            let is_there = |row: &Vec<Value>| known.contains(&without_leases(&with_lane(table, row, self.to_lane)));
            let lacking = rows.iter().filter(|row| !is_projection(table, row) && !is_there(row));
            differing += lacking.count() as u64;
        }
        Ok(differing)
    }

    /// Returns the copy's rows that have the keys of some rows.
    async fn counterparts(&self, table: &'static Table, rows: &[Vec<Value>]) -> Result<Vec<Vec<Value>>> {
        let keys: Vec<_> = rows.iter().map(|row| key(table, row)).collect();
        let statement = copy::find(self.to.dialect()?, table, self.to_lane, &keys);
        self.to.rows(statement).await?.iter().map(|row| copy::cells(table, row)).collect()
    }
}

/// Reads the next rows of a table in a lane; `None` where there are none.
async fn page(
    store: &Store,
    table: &'static Table,
    lane: (LaneId, Position),
    after: Option<&[Value]>,
) -> Result<Option<Vec<Vec<Value>>>> {
    let statement = copy::page(store.dialect()?, table, lane, after, copy::rows_at_once(table));
    let rows = store.rows(statement).await?;
    let rows = rows.iter().map(|row| copy::cells(table, row)).collect::<Result<Vec<_>>>()?;
    Ok(Some(rows).filter(|rows| !rows.is_empty()))
}

/// Whether a row is of a projection, whose tables are the application's and not copied.
fn is_projection(table: &'static Table, row: &[Value]) -> bool {
    table.name == "subscriptions"
        && row.iter().zip(table.columns).any(|(cell, column)| match cell {
            Value::Json(Some(text)) if column.name == "metadata" => serde_json::from_str::<Marker>(text).is_ok(),
            _ => false,
        })
}

fn key(table: &'static Table, row: &[Value]) -> Vec<Value> {
    copy::key(table).into_iter().map(|place| row[place].clone()).collect()
}

fn with_lane(table: &'static Table, row: &[Value], lane: LaneId) -> Vec<Value> {
    let cell = |(cell, column): (&Value, &Column)| match column.name {
        "lane_id" => lane.get().into(),
        _ => cell.clone(),
    };
    row.iter().zip(table.columns).map(cell).collect()
}
