//! The append of a batch in one call: the server checks what the batch supposes, and stores it.

use std::collections::HashMap;
use std::sync::Arc;

use sqlx::postgres::PgBindIterExt;

use super::convert::{Bound, Stage, classify};
use super::pool::Pool;
use super::rows::Rows;
use crate::append::{Appended, ConditionItem};
use crate::backend::Request;
use crate::backend::event_row::EventRow;
use crate::backend::suppose::Supposed;
use crate::error::{Error, ErrorClass, Result};
use crate::position::{LaneId, Position, Version};
use crate::sql::rows::time;

/// Locks the lane, checks what is supposed, stores the batch and commits, in one call. The function's own text says what
/// each parameter is.
const APPEND: &str = "SELECT annals_append_batch($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, \
     $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, $30, $31, $32, $33, $34, $35, $36, $37, $38, \
     $39, $40)";

/// Separates the names of a list within a text; no name holds it.
const SEPARATOR: &str = "\u{1f}";

/// Appends a batch; `None` where it has to be decided over what is stored: then nothing was.
pub(super) async fn append(
    pool: &Arc<Pool>,
    lane: LaneId,
    batch: &[Arc<Request>],
) -> Result<Option<Vec<Result<Appended>>>> {
    let Some(mut supposed) = Supposed::of(lane, batch) else { return Ok(None) };
    let mut found = call(pool, lane, batch, &supposed).await?;
    if let Some([-1, versions @ ..]) = found.as_deref() {
        supposed.correct(versions);
        found = call(pool, lane, batch, &supposed).await?;
    }
    let Some([head, micros, versions @ ..]) = found.as_deref().filter(|found| found.first() >= Some(&0)) else {
        return Ok(None);
    };
    let now = time(*micros)?;
    pool.observe(*head);
    let versions: Vec<Version> = versions.iter().copied().map(Version::new).collect();
    Ok(Some(supposed.answers(batch, Position::new(*head), &versions, now)))
}

/// Calls the function, and returns what it returns.
async fn call(
    pool: &Arc<Pool>,
    lane: LaneId,
    batch: &[Arc<Request>],
    supposed: &Supposed<'_>,
) -> Result<Option<Vec<i64>>> {
    let mut rows = Rows::default();
    for accepted in supposed.decide(batch) {
        rows.accept(&accepted);
    }
    let query = bind(lane, supposed, &rows);
    let mut lease = Pool::acquire(pool).await?;
    let answer = query.fetch_one(lease.connection()).await;
    match answer.and_then(|row| sqlx::Row::try_get(&row, 0)) {
        Ok(found) => {
            lease.release();
            Ok(found)
        }
        Err(error) => match classify("append", Stage::Commit, error) {
            // Something is in the way of a key: what, is found where all is decided.
            Error::Backend { class: ErrorClass::Conflict, .. } => Ok(None),
            error => Err(error),
        },
    }
}

fn bind<'q>(lane: LaneId, supposed: &Supposed<'_>, rows: &Rows<'_>) -> Bound<'q> {
    let head = supposed.furthest_after.get();
    let streams = || supposed.streams.iter();
    let indexes: HashMap<&str, (i32, Version)> =
        (1..).zip(streams()).map(|(number, stream)| (&*stream.rule.aggregate_id, (number, stream.base()))).collect();
    let place = |row: &EventRow<'_>| indexes.get(row.place.aggregate_id).copied().unwrap_or_default();
    let mut written = vec![false; supposed.streams.len()];
    for row in &rows.events {
        written[usize::try_from(place(row).0 - 1).unwrap_or_default()] = true;
    }
    let query = sqlx::query(APPEND)
        .bind(lane.get())
        .bind(streams().map(|stream| stream.rule.aggregate_id.as_str()).bind_iter())
        .bind(streams().map(|stream| stream.rule.aggregate_type.as_str()).bind_iter())
        .bind(streams().map(|stream| stream.version).bind_iter())
        .bind(written.into_iter().bind_iter())
        .bind((!supposed.event_ids.is_empty()).then(|| supposed.event_ids.iter().copied().bind_iter()))
        .bind((!supposed.commands.is_empty()).then(|| supposed.commands.iter().copied().bind_iter()))
        .bind(head);
    let query = rows.bind_tags(bind_conditions(query, &supposed.conditions), head);
    let query = rows.bind_commands(query, head);
    let events = || (!rows.events.is_empty()).then(|| rows.events.iter());
    let query = query
        .bind(events().map(|rows| rows.map(|row| place(row).0).bind_iter()))
        .bind(events().map(|rows| rows.map(|row| row.place.version - place(row).1.get()).bind_iter()));
    rows.bind_events(query)
}

/// An alternative of a condition, as the function `annals_first_matches` takes it.
struct Alternative<'a> {
    number: i32,
    after: i64,
    types: Option<String>,
    tag: Option<&'a str>,
    more_tags: Option<String>,
}

/// Binds conditions with their numbers and the positions that they begin after, an alternative a row; nulls where there
/// are none.
pub(super) fn bind_conditions<'q>(query: Bound<'q>, conditions: &[(usize, &[ConditionItem], Position)]) -> Bound<'q> {
    let alternatives: Vec<Alternative<'_>> = conditions
        .iter()
        .flat_map(|(number, items, after)| {
            items.iter().flat_map(|item| alternatives(i32::try_from(*number).unwrap_or(i32::MAX), item, after.get()))
        })
        .collect();
    let rows = || (!alternatives.is_empty()).then(|| alternatives.iter());
    query
        .bind(rows().map(|rows| rows.map(|row| row.number).bind_iter()))
        .bind(rows().map(|rows| rows.map(|row| row.after).bind_iter()))
        .bind(rows().map(|rows| rows.map(|row| row.types.as_deref()).bind_iter()))
        .bind(rows().map(|rows| rows.map(|row| row.tag).bind_iter()))
        .bind(rows().map(|rows| rows.map(|row| row.more_tags.as_deref()).bind_iter()))
}

/// An item with tags is one alternative, and each type of an item without.
fn alternatives(number: i32, item: &ConditionItem, after: i64) -> Vec<Alternative<'_>> {
    let list = |names: &[String]| (!names.is_empty()).then(|| names.join(SEPARATOR));
    match item.tags.split_first() {
        Some((tag, more)) => {
            vec![Alternative { number, after, types: list(&item.types), tag: Some(tag), more_tags: list(more) }]
        }
        None => {
            let one =
                |name: &String| Alternative { number, after, types: Some(name.clone()), tag: None, more_tags: None };
            item.types.iter().map(one).collect()
        }
    }
}
