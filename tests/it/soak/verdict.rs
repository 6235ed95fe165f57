//! What is right at the end.

use std::collections::HashMap;

use annals::{Query, Store};
use futures::TryStreamExt;

/// Rows of the effects that are read at a time.
const ROWS: i64 = 10_000;

/// What was found right, in numbers.
#[derive(Debug, Default)]
pub struct Counts {
    pub events: usize,
    pub effects: usize,
    /// Effects of events that had one before.
    pub repeated: usize,
}

/// Checks what the readers did with the log.
///
/// # Errors
/// What is wrong, in a sentence that begins with its kind.
pub async fn check(store: &Store, readers: &[&str]) -> Result<Counts, String> {
    let mut counts = Counts::default();
    let last = versions(store, &mut counts).await.map_err(|error| error.report())?;
    effects(store, readers, &last, &mut counts).await?;
    totals(store, &last).await?;
    Ok(counts)
}

/// Returns the last version of each stream.
async fn versions(store: &Store, counts: &mut Counts) -> annals::Result<HashMap<String, i64>> {
    let mut last = HashMap::new();
    let mut log = std::pin::pin!(store.read(Query::new()));
    while let Some(event) = log.try_next().await? {
        counts.events += 1;
        last.insert(event.aggregate_id, event.aggregate_version.get());
    }
    Ok(last)
}

/// In the order in which things happened, each reader goes through each stream version by version; it may go back, but
/// passes over none.
async fn effects(
    store: &Store,
    readers: &[&str],
    last: &HashMap<String, i64>,
    counts: &mut Counts,
) -> Result<(), String> {
    let (mut reached, mut after): (HashMap<(String, String), i64>, i64) = (HashMap::new(), 0);
    loop {
        let sql = "SELECT id, reader, stream, version FROM effects WHERE id > ? AND id <= ? ORDER BY id";
        let rows = store.select(sql, &[after.into(), (after + ROWS).into()]).await.map_err(|error| error.report())?;
        for row in &rows {
            let text = |column| row.get::<String>(column).map_err(|error| error.report());
            let (reader, stream) = (text(1)?, text(2)?);
            let version: i64 = row.get(3).map_err(|error| error.report())?;
            let place = reached.entry((reader.clone(), stream.clone())).or_default();
            if version > *place + 1 {
                return Err(format!("skipped: {reader} handled {stream} at {version} after {place}"));
            }
            counts.effects += 1;
            counts.repeated += usize::from(version <= *place);
            *place = version.max(*place);
        }
        after += ROWS;
        let more = store.select("SELECT COUNT(*) FROM effects WHERE id > ?", &[after.into()]).await;
        if more.and_then(|rows| rows[0].get::<i64>(0)).map_err(|error| error.report())? == 0 {
            break;
        }
    }
    for reader in readers {
        for (stream, version) in last {
            let place = reached.get(&((*reader).to_owned(), stream.clone())).copied().unwrap_or_default();
            if place != *version {
                return Err(format!("skipped: {reader} handled {stream} up to {place} of {version}"));
            }
        }
    }
    Ok(())
}

/// The projection has counted each event exactly once.
async fn totals(store: &Store, last: &HashMap<String, i64>) -> Result<(), String> {
    let rows = store.select("SELECT stream, events, version FROM totals", &[]).await.map_err(|error| error.report())?;
    if rows.len() != last.len() {
        return Err(format!("counted wrong: {} streams of {}", rows.len(), last.len()));
    }
    for row in &rows {
        let stream: String = row.get(0).map_err(|error| error.report())?;
        let (events, version): (i64, i64) = (row.get(1).unwrap_or(-1), row.get(2).unwrap_or(-1));
        let expected = last.get(&stream).copied().unwrap_or_default();
        if (events, version) != (expected, expected) {
            return Err(format!(
                "counted wrong: {stream} has {events} events up to {version}, and {expected} in the log"
            ));
        }
    }
    Ok(())
}
