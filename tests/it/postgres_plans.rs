//! What the statements of the hot path cost Postgres does not grow with the log: not on an empty table, not on one that
//! was never analysed, not with plans that were made while it was empty.
//!
//! Asserted is not the text of a plan but its work: how many blocks of tables and indexes an operation touches, those
//! inside the database's functions included. A walk over an index instead of a look-up touches thousands.
//! `ANNALS_PLAN_ROWS` is the number of events in the log, 50,000 without it.

use std::sync::Arc;
use std::time::Duration;

use annals::conformance::{Database, Harness};
use annals::{Append, Command, Condition, Expected, NewEvent, Position, Query, Store, Stream};
use futures::future::try_join_all;
use uuid::Uuid;

/// Operations of a kind, of which the mean counts.
const OPERATIONS: usize = 40;
/// Blocks that an operation may touch: an event goes into a table and a dozen indexes, each a few levels deep.
const BLOCKS: i64 = 150;
/// Events of a stream.
const STREAM: usize = 500;

fn rows() -> usize {
    std::env::var("ANNALS_PLAN_ROWS").ok().and_then(|rows| rows.parse().ok()).unwrap_or(50_000)
}

/// A kind of operation, each of which appends one event in the end.
#[derive(Debug, Clone, Copy)]
enum Kind {
    Append,
    NewStream,
    Command,
    GivenId,
    Condition,
    Batch,
    BatchOfCommands,
    BatchOfConditions,
    BatchThatConflicts,
    Version,
    ReadStream,
    ReadByType,
    ReadByTag,
    ReadByTime,
    FindEvent,
    FindCommand,
}

impl Kind {
    const ALL: [Self; 16] = [
        Self::Append,
        Self::NewStream,
        Self::Command,
        Self::GivenId,
        Self::Condition,
        Self::Batch,
        Self::BatchOfCommands,
        Self::BatchOfConditions,
        Self::BatchThatConflicts,
        Self::Version,
        Self::ReadStream,
        Self::ReadByType,
        Self::ReadByTag,
        Self::ReadByTime,
        Self::FindEvent,
        Self::FindCommand,
    ];

    /// Carries out the operations, at the same time where they are to be one batch.
    async fn run(self, store: &Store) -> annals::Result<()> {
        let numbers = 0..OPERATIONS;
        if matches!(self, Self::Batch | Self::BatchOfCommands | Self::BatchOfConditions | Self::BatchThatConflicts) {
            return try_join_all(numbers.map(|number| self.one(store, number))).await.map(drop);
        }
        for number in numbers {
            self.one(store, number).await?;
        }
        Ok(())
    }

    async fn one(self, store: &Store, number: usize) -> annals::Result<()> {
        // Streams whose last events stand far back, each touched once.
        let old = Stream::new("cart", format!("filled-{}", 50 + number))?;
        let stream = Stream::new("cart", format!("cart-{}", number % 20))?;
        let event = || NewEvent::json("Added", &number)?.with_tags(["tag", "other"]);
        let lane = store.topic().lanes[0];
        let few = |query: Query| async move { store.page(lane, &query, 10).await.map(drop) };
        let plain = Append::new().to(stream.clone(), Expected::Any, [event()?]);
        let append = match self {
            Self::NewStream => {
                let new = Stream::new("cart", Uuid::now_v7().to_string())?;
                Append::new().to(new, Expected::NoStream, [event()?])
            }
            Self::GivenId => Append::new().to(stream, Expected::Any, [event()?.with_id(Uuid::now_v7())]),
            Self::Command | Self::BatchOfCommands => plain.command(Command::new(Uuid::now_v7())),
            Self::Condition | Self::BatchOfConditions => {
                let condition = Condition::after(store.heads().await?[0].1).or(["Never"], ["tag", "other"])?;
                plain.condition(condition.or(["Neither"], Vec::<String>::new())?)
            }
            Self::BatchThatConflicts => {
                let stale = Append::new().to(stream, Expected::exact(1_000_000), [event()?]);
                assert!(store.commit(stale).await.unwrap_err().is_conflict());
                plain
            }
            Self::Append => Append::new().to(old, Expected::Any, [event()?]),
            Self::Batch => plain,
            Self::Version => store.version("filled-30").await.map(|_| plain)?,
            Self::ReadStream => few(Query::stream("filled-30")).await.map(|()| plain)?,
            Self::ReadByType => few(Query::new().event_types(["Added"])?).await.map(|()| plain)?,
            Self::ReadByTag => few(Query::new().tags(["tag"])?).await.map(|()| plain)?,
            Self::ReadByTime => {
                let now = chrono::Utc::now() - chrono::TimeDelta::seconds(1);
                few(Query::new().between(Some(now), None)).await.map(|()| plain)?
            }
            Self::FindEvent => store.event(Uuid::now_v7()).await.map(|_| plain)?,
            Self::FindCommand => store.command(Uuid::now_v7()).await.map(|_| plain)?,
        };
        store.commit(append).await.map(drop)
    }
}

/// Returns the events that were ever stored, and the blocks that were touched, as far as the server was told.
async fn counters(watch: &Store) -> (i64, i64) {
    let sql = "SELECT t.n_tup_ins, (SELECT sum(heap_blks_read + heap_blks_hit + coalesce(idx_blks_read, 0) \
               + coalesce(idx_blks_hit, 0)) FROM pg_statio_user_tables WHERE schemaname = current_schema()) \
               FROM pg_stat_user_tables AS t WHERE schemaname = current_schema() AND relname = 'events'";
    let rows = watch.backend().session().await.unwrap().query(sql).await.unwrap();
    let number = |column: usize| rows[0][column].as_ref().unwrap().parse().unwrap();
    (number(0), number(1))
}

/// Waits until the server counts this many events: sessions tell it when they end.
async fn settled(watch: &Store, events: i64) -> i64 {
    for _ in 0..500 {
        let (found, blocks) = counters(watch).await;
        if found >= events {
            return blocks;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    panic!("the server did not count {events} events within 10 s");
}

/// Lets operations of a kind run through a store, and returns how many blocks each of them touched.
async fn work(kind: Kind, database: &Arc<dyn Database>, watch: &Store) -> i64 {
    let store = database.open(&[("pool_max", "1")]).await.unwrap();
    let head = watch.heads().await.unwrap()[0].1;
    let before = settled(watch, head.get()).await;
    kind.run(&store).await.unwrap();
    store.close().await;
    let events = i64::try_from(OPERATIONS).unwrap();
    (settled(watch, head.get() + events).await - before) / events
}

/// Checks what each kind of operation touches. On a busy machine more batches may come of as many requests: that is no growth, and
/// is not there the next time.
async fn check(database: &Arc<dyn Database>, watch: &Store, state: &str) {
    for kind in Kind::ALL {
        let mut blocks = work(kind, database, watch).await;
        for _ in 0..2 {
            if blocks >= BLOCKS {
                blocks = blocks.min(work(kind, database, watch).await);
            }
        }
        assert!(blocks > 0, "{kind:?} touched nothing on {state}");
        assert!(blocks < BLOCKS, "{kind:?} touches {blocks} blocks an operation on {state}");
    }
}

async fn fill(store: &Store) {
    for number in 0..rows() / STREAM {
        let stream = Stream::new("cart", format!("filled-{number}")).unwrap();
        let events = (0..STREAM).map(|number| NewEvent::json("Filled", &number)?.with_tags(["filled", "other"]));
        let events: Vec<NewEvent> = events.collect::<annals::Result<_>>().unwrap();
        store.append(&stream, Expected::Any, events).await.unwrap();
    }
}

#[tokio::test]
async fn the_work_of_an_operation_does_not_grow_with_the_log() {
    let Some(harness) = crate::support::schemas("postgres") else { return };
    let database = harness.fresh().await.unwrap();
    let watch = database.open(&[]).await.unwrap();
    let mut session = watch.backend().session().await.unwrap();
    for table in ["events", "streams", "event_tags", "commands"] {
        session.execute(&format!("ALTER TABLE {table} SET (autovacuum_enabled = false)")).await.unwrap();
    }
    check(&database, &watch, "an empty log").await;

    // Its plans are made while there is little to plan for.
    let early = database.open(&[("pool_max", "1")]).await.unwrap();
    for kind in Kind::ALL {
        kind.run(&early).await.unwrap();
    }
    fill(&watch).await;
    check(&database, &watch, "a log that was never analysed").await;
    let head = watch.heads().await.unwrap()[0].1;
    let before = settled(&watch, head.get() - i64::try_from(Kind::ALL.len() * OPERATIONS).unwrap()).await;
    for kind in Kind::ALL {
        kind.run(&early).await.unwrap();
    }
    early.close().await;
    let operations = i64::try_from(Kind::ALL.len() * OPERATIONS).unwrap();
    let blocks = (settled(&watch, head.get() + operations).await - before) / (2 * operations);
    assert!(blocks < BLOCKS, "{blocks} blocks an operation with plans of an empty log");

    session.execute("ANALYZE events, streams, event_tags, commands").await.unwrap();
    check(&database, &watch, "a log that was analysed").await;
    assert!(head > Position::new(i64::try_from(rows()).unwrap()));
    watch.close().await;
    database.remove().await.unwrap();
}
