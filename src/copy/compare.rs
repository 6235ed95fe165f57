//! Whether two lanes have the same rows beside their events.

use std::collections::HashMap;

use super::rows::{Cells, LEASES, Lane, is_projection, key, with_lane};
use crate::error::Result;
use crate::hash::RowsHash;
use crate::position::Position;
use crate::schema::shape::Table;
use crate::sql::copy;

/// Counts the rows of a table, but for those of events beyond a position, that the copy lacks or has otherwise, or, where
/// surplus matters, the original, whichever are more. Rows of projections, and leases, are left out.
pub(super) async fn differences(
    original: Lane<'_>,
    copy: Lane<'_>,
    table: &'static Table,
    until: Position,
    surplus: bool,
) -> Result<u64> {
    let (one, two) = tokio::try_join!(hash(original, table, until), hash(copy, table, until))?;
    if one == two {
        return Ok(0);
    }
    let lacking = lacking(original, copy, table, until).await?;
    let surplus = if surplus { self::lacking(copy, original, table, until).await? } else { 0 };
    Ok(lacking.max(surplus))
}

/// Reads the rows of a lane once, in whatever order its engine has them.
async fn hash(lane: Lane<'_>, table: &'static Table, until: Position) -> Result<RowsHash> {
    let (mut hash, mut pages) = (RowsHash::default(), lane.rows(table, until).at_once(copy::keys_at_once(table)));
    let compared: Vec<bool> =
        table.columns.iter().map(|column| column.name != "lane_id" && !LEASES.contains(&column.name)).collect();
    while let Some(rows) = pages.next().await? {
        for row in rows.iter().filter(|row| !is_projection(table, row)) {
            hash.row(row.iter().zip(&compared).filter(|(_, compared)| **compared).map(|(cell, _)| cell));
        }
    }
    Ok(hash)
}

/// Counts the rows of a lane that another one lacks, or has otherwise.
async fn lacking(lane: Lane<'_>, other: Lane<'_>, table: &'static Table, until: Position) -> Result<u64> {
    let (mut lacking, mut pages) = (0, lane.rows(table, until).at_once(copy::keys_at_once(table)));
    while let Some(rows) = pages.next().await? {
        let without_leases = |row: &Cells| {
            let cells = row.iter().zip(table.columns).filter(|(_, column)| !LEASES.contains(&column.name));
            cells.map(|(cell, _)| cell.clone()).collect::<Vec<_>>()
        };
        let by_key = |row: &Cells| (format!("{:?}", key(table, row)), without_leases(row));
        let known: HashMap<_, _> = other.counterparts(table, &rows).await?.iter().map(by_key).collect();
        let is_there = |row: &Cells| {
            let (key, row) = by_key(&with_lane(table, row, other.id));
            known.get(&key) == Some(&row)
        };
        lacking += rows.iter().filter(|row| !is_projection(table, row) && !is_there(row)).count() as u64;
    }
    Ok(lacking)
}
