//! Reading the bookkeeping, and what stands in the tables that a migration could lose.

use chrono::DateTime;

use super::plan::Applied;
use super::sql::Place;
use crate::backend::Session;
use crate::error::{Error, Result};
use crate::schema::model;

/// The rows of an answer, each cell as text.
pub(super) type Rows = Vec<Vec<Option<String>>>;

/// Returns whether the schema keeps books of its migrations.
pub(super) async fn exists(session: &mut dyn Session, place: Place<'_>) -> Result<bool> {
    Ok(!session.query(&place.find_table(model::MIGRATIONS.name)).await?.is_empty())
}

/// Returns what was applied, by version: nothing where there is no bookkeeping.
pub(super) async fn read(session: &mut dyn Session, place: Place<'_>) -> Result<Vec<Applied>> {
    if exists(session, place).await? { parse(session.query(&place.applied()).await?) } else { Ok(Vec::new()) }
}

/// As [`read`], with one query where the bookkeeping is there.
pub(super) async fn read_at_once(session: &mut dyn Session, place: Place<'_>) -> Result<Vec<Applied>> {
    match session.query(&place.applied()).await {
        Ok(rows) => parse(rows),
        // Somebody else may have made it meanwhile.
        Err(_) => read(session, place).await,
    }
}

/// Counts the events: none where there is no such table.
pub(super) async fn count_events(session: &mut dyn Session, place: Place<'_>) -> Result<u64> {
    if session.query(&place.find_table("events")).await?.is_empty() {
        return Ok(0);
    }
    let rows = session.query(&place.count_events()).await?;
    cell(&rows).and_then(|count| count.parse().ok()).ok_or_else(|| damaged("the number of events is no number"))
}

/// Returns the first cell of an answer.
pub(super) fn cell(rows: &Rows) -> Option<&str> {
    rows.first()?.first()?.as_deref()
}

fn parse(rows: Rows) -> Result<Vec<Applied>> {
    rows.into_iter().map(|row| parse_row(row).ok_or_else(|| damaged("annals_migrations can't be read"))).collect()
}

fn parse_row(row: Vec<Option<String>>) -> Option<Applied> {
    let [version, name, checksum, applied_at] = <[Option<String>; 4]>::try_from(row).ok()?;
    Some(Applied {
        version: version?.parse().ok()?,
        name: name?,
        checksum: checksum?,
        applied_at: DateTime::parse_from_rfc3339(&applied_at?).ok()?.to_utc(),
    })
}

fn damaged(reason: &str) -> Error {
    Error::Schema { reason: format!("{reason}: was the schema changed by hand?") }
}
