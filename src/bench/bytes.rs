//! `bytes_per_event`: what an event takes on disk, and of which tables and indexes.

use super::store::StoreContender;
use super::study::{Subject, fill};
use crate::error::{Error, Result};
use crate::sql::Dialect;
use crate::store::Store;

/// Streams, each of 100 events.
const STREAMS: usize = 1_000;

/// Name and bytes of everything that SQLite keeps in the file.
const SQLITE_SIZES: &str = "SELECT s.name, SUM(s.pgsize) FROM dbstat s GROUP BY s.name ORDER BY 2 DESC";
/// Name and bytes of every table, with its maps and what is stored out of line, and of every index.
const POSTGRES_SIZES: &str = "SELECT c.relname::text, CASE WHEN c.relkind = 'i' THEN pg_relation_size(c.oid) \
     ELSE pg_table_size(c.oid) END FROM pg_class c WHERE c.relnamespace = current_schema()::regnamespace \
     AND c.relkind IN ('r', 'i') AND NOT starts_with(c.relname::text, 'raw_') ORDER BY 2 DESC";

pub(super) async fn run(subject: &mut Subject<'_>) -> Result<()> {
    let database = subject.fresh().await?;
    let ours = StoreContender::open(&*database).await?;
    fill(&ours, 0..STREAMS).await?;
    let sizes = sizes(ours.store()).await?;
    let events = (STREAMS * 100) as f64;
    let sum = |wanted: &dyn Fn(&str) -> bool| {
        sizes.iter().filter(|(name, _)| wanted(name)).map(|(_, bytes)| *bytes as f64).sum::<f64>() / events
    };
    // The other tables are empty: their first pages are no event's.
    let grows = |name: &str| name.contains("events") || name.contains("streams");
    subject.found("events and streams with all indexes", sum(&grows), "bytes");
    subject.found("with the pages of the empty tables", sum(&|_| true), "bytes");
    for (name, bytes) in sizes.iter().filter(|(name, _)| grows(name)) {
        subject.found(name, *bytes as f64 / events, "bytes");
    }
    super::Contender::close(&ours).await;
    Ok(())
}

/// Returns the bytes of every table and index, the largest first, after what waits in a log was written to them.
pub(super) async fn sizes(store: &Store) -> Result<Vec<(String, u64)>> {
    let mut session = store.backend().session().await?;
    let sql = match store.capabilities().sql {
        Some(Dialect::Sqlite) => {
            session.query("PRAGMA wal_checkpoint(TRUNCATE)").await?;
            SQLITE_SIZES
        }
        Some(Dialect::Postgres) => POSTGRES_SIZES,
        _ => return Err(Error::Unsupported { backend: store.backend().name(), what: "sizes" }),
    };
    let rows = session.query(sql).await?;
    let sizes = rows.into_iter().filter_map(|row| {
        let mut cells = row.into_iter().flatten();
        Some((cells.next()?, cells.next()?.parse().ok()?))
    });
    Ok(sizes.collect())
}
