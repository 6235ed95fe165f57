//! `append_under_snapshot`: the throughput before, while and after a read snapshot is held open.

use std::time::{Duration, Instant};

use super::Plan;
use super::contender::Contender;
use super::store::StoreContender;
use super::study::Subject;
use crate::conformance::Database;
use crate::error::Result;
use crate::store::Store;

/// The parts of a run: before, while and after the snapshot is held.
const PARTS: [&str; 3] = ["before", "while", "after"];

pub(super) async fn run(plan: &Plan, subject: &mut Subject<'_>) -> Result<()> {
    for callers in [8, 64] {
        for ours in [true, false] {
            let database = subject.fresh().await?;
            let store = StoreContender::open(&*database).await?;
            let raw = subject.raw(&*database).await?;
            let (contender, name): (&dyn Contender, _) = if ours { (&store, "store") } else { (&*raw, "raw") };
            let holder = store.store().clone();
            let name = format!("{name}, {callers} callers");
            measure(plan, subject, (&name, callers, contender), &holder, &*database).await?;
            raw.close().await;
            store.close().await;
        }
    }
    Ok(())
}

async fn measure(
    plan: &Plan,
    subject: &mut Subject<'_>,
    (name, callers, contender): (&str, usize, &dyn Contender),
    holder: &Store,
    database: &dyn Database,
) -> Result<()> {
    // Warms up, and gives the snapshot something to see.
    load(contender, callers, Duration::from_secs(2), None).await?;
    let mut rates = Vec::new();
    for part in PARTS {
        let held = if part == "while" { Some(hold(holder).await?) } else { None };
        let seconds = if held.is_some() { plan.snapshot_seconds } else { plan.snapshot_seconds.div_ceil(6).max(2) };
        let wal = wal_path(database);
        let loaded = load(contender, callers, Duration::from_secs(seconds), wal.as_deref()).await?;
        if let Some(mut session) = held {
            session.execute("ROLLBACK").await?;
        }
        subject.found(format!("{name}: {part}, {seconds} s"), loaded.events_per_s, "events/s");
        if let Some(bytes) = loaded.wal_bytes {
            subject.found(format!("{name}: {part}, the WAL file at most"), bytes as f64 / 1_048_576.0, "MiB");
        }
        rates.push(loaded.events_per_s);
    }
    if wal_path(database).is_some() {
        // The file keeps its length; what counts is how much of it is in use once writers could begin it anew.
        let frames = holder.backend().session().await?.query("PRAGMA wal_checkpoint(PASSIVE)").await?;
        let pages = frames.first().and_then(|row| row.get(1)).and_then(|cell| cell.as_deref()?.parse::<f64>().ok());
        subject.found(
            format!("{name}: after, the WAL in use"),
            pages.unwrap_or_default() * 4_096.0 / 1_048_576.0,
            "MiB",
        );
    }
    subject.found(format!("{name}: while / before"), rates[1] / rates[0], "ratio");
    subject.found(format!("{name}: after / before"), rates[2] / rates[0], "ratio");
    Ok(())
}

/// Opens a snapshot of the database on a connection of its own.
async fn hold(store: &Store) -> Result<Box<dyn crate::backend::Session>> {
    let mut session = store.backend().session().await?;
    let begin = if store.backend().name() == "postgres" { "BEGIN ISOLATION LEVEL REPEATABLE READ" } else { "BEGIN" };
    session.execute(begin).await?;
    session.query("SELECT max(position) FROM events WHERE lane_id = 1").await?;
    Ok(session)
}

struct Loaded {
    events_per_s: f64,
    wal_bytes: Option<u64>,
}

/// Appends for some time, and looks at the WAL's size now and then.
async fn load(contender: &dyn Contender, callers: usize, time: Duration, wal: Option<&str>) -> Result<Loaded> {
    let (start, mut events, mut largest) = (Instant::now(), 0, None);
    let requests = 3_200 / callers;
    while start.elapsed() < time {
        events += contender.append(callers, requests, 1).await?.len();
        let bytes = wal.and_then(|path| std::fs::metadata(path).ok()).map(|file| file.len());
        largest = largest.max(bytes);
    }
    Ok(Loaded { events_per_s: events as f64 / start.elapsed().as_secs_f64(), wal_bytes: largest })
}

/// Returns where SQLite keeps the write-ahead log of a database; `None` for a server, which keeps it elsewhere.
fn wal_path(database: &dyn Database) -> Option<String> {
    let config: crate::Config = database.url()?.parse().ok()?;
    (config.scheme() == "sqlite").then(|| format!("{}-wal", config.target()))
}
