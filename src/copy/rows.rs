//! What a topic has beside its events, table by table.

use crate::error::Result;
use crate::position::{LaneId, Position};
use crate::schema::shape::{Column, Table};
use crate::sql::{Row, Value, copy};
use crate::store::Store;

/// Tables that only grow, or whose rows may stay: what the copy lacks is added.
pub(super) const GROWING: [&str; 2] = ["commands", "snapshots"];

/// Short tables that change all the time: the copy's rows are replaced.
pub(super) const MOVING: [&str; 3] = ["subscriptions", "subscription_shares", "dead_letters"];

/// Columns that say who runs something at present, which nobody does at the new place.
const LEASES: [&str; 2] = ["lease_owner", "lease_until"];

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
        loop {
            let rows = self.page(table, after.as_deref()).await?;
            let Some(last) = rows.last() else { return Ok(added) };
            after = Some(key(table, last));
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
    }

    /// Replaces the rows of a table, and returns how many there are, and the last position in them. Nothing is replaced where
    /// that lies beyond the copy's end.
    pub(super) async fn replace(&self, table: &'static Table) -> Result<(u64, Position)> {
        let (mut rows, mut after) = (Vec::new(), None);
        loop {
            let page = self.page(table, after.as_deref()).await?;
            let Some(last) = page.last() else { break };
            after = Some(key(table, last));
            rows.extend(page);
        }
        let furthest = rows.iter().filter_map(|row| position(table, row)).max().unwrap_or_default();
        if furthest > self.end {
            return Ok((0, furthest));
        }
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
        Ok((rows.len() as u64, furthest))
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

    /// Counts the rows of a table that are not the same in both.
    pub(super) async fn differences(&self, table: &'static Table) -> Result<u64> {
        let (mut differing, mut after) = (0, None);
        loop {
            let rows = self.page(table, after.as_deref()).await?;
            let Some(last) = rows.last() else { return Ok(differing) };
            after = Some(key(table, last));
            let known = self.counterparts(table, &rows).await?;
            let without_leases = |row: &Vec<Value>| {
                let cells = row.iter().zip(table.columns).filter(|(_, column)| !LEASES.contains(&column.name));
                cells.map(|(cell, _)| cell.clone()).collect::<Vec<_>>()
            };
            let known: Vec<_> = known.iter().map(without_leases).collect();
            let is_there = |row: &&Vec<Value>| known.contains(&without_leases(&with_lane(table, row, self.to_lane)));
            differing += (rows.len() - rows.iter().filter(is_there).count()) as u64;
        }
    }

    async fn page(&self, table: &'static Table, after: Option<&[Value]>) -> Result<Vec<Vec<Value>>> {
        let lane = (self.from_lane, self.end);
        let statement = copy::page(self.from.dialect()?, table, lane, after, copy::rows_at_once(table));
        self.from.rows(statement).await?.iter().map(|row| copy::cells(table, row)).collect()
    }

    /// Returns the copy's rows that have the keys of some rows.
    async fn counterparts(&self, table: &'static Table, rows: &[Vec<Value>]) -> Result<Vec<Vec<Value>>> {
        let keys: Vec<_> = rows.iter().map(|row| key(table, row)).collect();
        let statement = copy::find(self.to.dialect()?, table, self.to_lane, &keys);
        self.to.rows(statement).await?.iter().map(|row| copy::cells(table, row)).collect()
    }
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

fn position(table: &'static Table, row: &[Value]) -> Option<Position> {
    let place = table.columns.iter().position(|column| column.name == "position")?;
    match row[place] {
        Value::I64(position) => position.map(Position::new),
        _ => None,
    }
}
