//! What a topic has beside its events, table by table.

use std::collections::VecDeque;

use chrono::{DateTime, Utc};

use super::claim;
use crate::error::Result;
use crate::limits;
use crate::position::{LaneId, Position};
use crate::projection::Marker;
use crate::schema::model;
use crate::schema::shape::{Column, Table};
use crate::sql::copy::Part;
use crate::sql::{Value, copy};
use crate::store::Store;
use crate::transaction::Transaction;

/// A row: a cell for each column of its table.
pub(crate) type Cells = Vec<Value>;

/// Tables that only grow, or whose rows may stay: what the copy lacks is added.
pub(crate) const GROWING: [&str; 2] = ["commands", "snapshots"];

/// Short tables that change all the time: the copy's rows are replaced.
pub(crate) const MOVING: [&str; 3] = ["subscriptions", "subscription_shares", "dead_letters"];

/// Columns that say who runs something at present, which nobody does at the new place.
pub(crate) const LEASES: [&str; 2] = ["lease_owner", "lease_until"];

/// Tables that are compared; the first one's rows come with the events.
pub(super) const COMPARED: [&str; 6] =
    ["streams", "commands", "snapshots", "subscriptions", "subscription_shares", "dead_letters"];

/// Returns tables by name.
pub(crate) fn tables(names: &[&str]) -> impl Iterator<Item = &'static Table> {
    model::all_tables().filter(move |table| names.contains(&table.name))
}

/// Returns the tables whose rows the events do not bring, but for those that change all the time, in the order in which
/// they are written.
pub(crate) fn lasting() -> impl Iterator<Item = &'static Table> {
    std::iter::once(&model::DESCRIPTIONS).chain(tables(&GROWING))
}

/// A lane of a store, whose rows beside the events are read and written.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lane<'a> {
    pub store: &'a Store,
    pub id: LaneId,
    /// Who copies onto it, where somebody else may do so, too.
    pub owner: Option<&'a str>,
}

impl<'a> Lane<'a> {
    /// Makes a lane that nobody else writes to in this way.
    pub(crate) const fn new(store: &'a Store, id: LaneId) -> Self {
        Self { store, id, owner: None }
    }

    /// Begins a transaction that writes to the lane.
    pub(super) async fn begin(self) -> Result<Transaction> {
        let mut transaction = self.store.begin().await?;
        if let Some(owner) = self.owner {
            claim::check(&mut transaction, self.id, owner).await?;
        }
        Ok(transaction)
    }

    /// Returns the rows of a table, but for those of events beyond a position.
    pub(crate) const fn rows(self, table: &'static Table, until: Position) -> Pages<'a> {
        let part = Part { lane: self.id, until, since: None };
        Pages { store: self.store, table, part, rows: copy::rows_at_once(table), after: None, sizes: VecDeque::new() }
    }

    /// Counts what only becomes more: commands, and versions of metadata.
    pub(super) async fn sums(self) -> Result<Vec<i64>> {
        let mut sums = Vec::new();
        for (table, what) in [("commands", "COUNT(*)"), ("streams", "SUM(metadata_version)")] {
            let sum: Vec<i64> = self.store.fetch(copy::sum(self.store.dialect()?, table, what, self.id)).await?;
            sums.push(sum.into_iter().sum());
        }
        Ok(sums)
    }

    /// Reads the tables that change all the time.
    pub(crate) async fn moving(self) -> Result<Vec<(&'static Table, Vec<Cells>)>> {
        let mut moving = Vec::new();
        for table in tables(&MOVING) {
            moving.push((table, self.all(table).await?));
        }
        Ok(moving)
    }

    /// Reads a table, but for the rows of projections.
    async fn all(self, table: &'static Table) -> Result<Vec<Cells>> {
        let (mut pages, mut rows) = (self.rows(table, Position::MAX), Vec::new());
        while let Some(page) = pages.next().await? {
            rows.extend(page.into_iter().filter(|row| !is_projection(table, row)));
        }
        Ok(rows)
    }

    /// Adds the rows that the lane lacks, in place of those that have their keys, and returns how many; at most as many as
    /// one statement inserts. The rows of streams themselves come with their first events.
    pub(crate) async fn add(self, table: &'static Table, rows: Vec<Cells>) -> Result<u64> {
        let dialect = self.store.dialect()?;
        if copy::describes_streams(table) {
            return self.describe(&rows).await.map(|_| 0);
        }
        let known = self.counterparts(table, &rows).await?;
        let is_known = |row: &Cells| known.contains(&with_lane(table, row, self.id));
        let missing: Vec<_> = rows.into_iter().filter(|row| !is_known(row)).collect();
        if missing.is_empty() {
            return Ok(0);
        }
        let keys: Vec<_> = missing.iter().map(|row| key(table, row)).collect();
        let mut transaction = self.begin().await?;
        transaction.write(copy::delete(dialect, table, self.id, &keys)).await?;
        transaction.write(copy::insert(dialect, table, self.id, &missing)).await?;
        transaction.commit().await?;
        Ok(missing.len() as u64)
    }

    /// Sets what applications say of streams, and returns how many of those streams are there.
    pub(crate) async fn describe(self, rows: &[Cells]) -> Result<u64> {
        let (mut transaction, mut there) = (self.begin().await?, 0);
        for row in rows {
            there += transaction.write(copy::describe_stream(transaction.dialect(), self.id, row)).await?;
        }
        transaction.commit().await?;
        Ok(there)
    }

    /// Replaces the rows of a table by others, without leases, where the two differ, and returns how many it has written.
    /// The rows of projections stay: their tables are in this database, and go on from there.
    pub(crate) async fn replace(self, table: &'static Table, mut rows: Vec<Cells>) -> Result<u64> {
        end_leases(table, &mut rows);
        let rows: Vec<_> = rows.iter().map(|row| with_lane(table, row, self.id)).collect();
        let mut known = self.all(table).await?;
        end_leases(table, &mut known);
        if known == rows {
            return Ok(0);
        }
        let dialect = self.store.dialect()?;
        let mut transaction = self.begin().await?;
        for known in known.chunks(copy::rows_at_once(table)) {
            let keys: Vec<_> = known.iter().map(|row| key(table, row)).collect();
            transaction.write(copy::delete(dialect, table, self.id, &keys)).await?;
        }
        for rows in rows.chunks(copy::rows_at_once(table)) {
            transaction.write(copy::insert(dialect, table, self.id, rows)).await?;
        }
        transaction.commit().await?;
        Ok(rows.len() as u64)
    }

    /// Returns the rows that have the keys of some rows.
    pub(super) async fn counterparts(self, table: &'static Table, rows: &[Cells]) -> Result<Vec<Cells>> {
        let keys: Vec<_> = rows.iter().map(|row| key(table, row)).collect();
        let statement = copy::find(self.store.dialect()?, table, self.id, &keys);
        self.store.rows(statement).await?.iter().map(|row| copy::cells(table, row)).collect()
    }
}

/// The rows of a table in a lane, page by page.
#[derive(Debug)]
pub(crate) struct Pages<'a> {
    store: &'a Store,
    table: &'static Table,
    part: Part,
    /// How many are read at once.
    rows: usize,
    after: Option<Cells>,
    /// How long the documents of rows are that were not read yet.
    sizes: VecDeque<i64>,
}

impl Pages<'_> {
    /// Leaves out what was last written before a time.
    pub(super) const fn since(mut self, time: Option<DateTime<Utc>>) -> Self {
        self.part.since = time;
        self
    }

    /// Reads so many rows at once.
    pub(super) const fn at_once(mut self, rows: usize) -> Self {
        self.rows = rows;
        self
    }

    /// Takes the sizes of rows that are to be read next, and returns how many those are.
    fn fitting(&mut self) -> usize {
        let sums = self.sizes.iter().scan(0_u64, |sum, size| {
            *sum += size.unsigned_abs();
            Some(*sum)
        });
        let rows = sums.take_while(|sum| *sum <= limits::PAGE_BYTES as u64).count().max(1);
        self.sizes.drain(..rows);
        rows
    }

    /// Reads the next rows, as many as one statement inserts, or fewer where these are long; `None` where there are none.
    pub(crate) async fn next(&mut self) -> Result<Option<Vec<Cells>>> {
        let (table, dialect) = (self.table, self.store.dialect()?);
        if self.sizes.is_empty()
            && let Some(statement) = copy::sizes(dialect, table, self.part, self.after.as_deref(), self.rows)
        {
            self.sizes = self.store.fetch(statement).await?.into();
            if self.sizes.is_empty() {
                return Ok(None);
            }
        }
        let rows = if self.sizes.is_empty() { self.rows } else { self.fitting() };
        let statement = copy::page(dialect, table, self.part, self.after.as_deref(), rows);
        let rows = self.store.rows(statement).await?;
        let rows = rows.iter().map(|row| copy::cells(table, row)).collect::<Result<Vec<_>>>()?;
        self.after = rows.last().map(|row| key(table, row));
        Ok(Some(rows).filter(|rows| !rows.is_empty()))
    }
}

/// Whether a row is of a projection, whose tables are the application's and not copied.
pub(super) fn is_projection(table: &'static Table, row: &[Value]) -> bool {
    table.name == "subscriptions"
        && row.iter().zip(table.columns).any(|(cell, column)| match cell {
            Value::Json(Some(text)) if column.name == "metadata" => serde_json::from_str::<Marker>(text).is_ok(),
            _ => false,
        })
}

fn end_leases(table: &'static Table, rows: &mut [Cells]) {
    for (place, column) in table.columns.iter().enumerate() {
        match column.name {
            "lease_owner" => rows.iter_mut().for_each(|row| row[place] = Value::Text(None)),
            "lease_until" => rows.iter_mut().for_each(|row| row[place] = Value::Time(None)),
            _ => {}
        }
    }
}

pub(super) fn key(table: &'static Table, row: &[Value]) -> Vec<Value> {
    copy::key(table).into_iter().map(|place| row[place].clone()).collect()
}

pub(super) fn with_lane(table: &'static Table, row: &[Value], lane: LaneId) -> Vec<Value> {
    let cell = |(cell, column): (&Value, &Column)| match column.name {
        "lane_id" => lane.get().into(),
        _ => cell.clone(),
    };
    row.iter().zip(table.columns).map(cell).collect()
}
