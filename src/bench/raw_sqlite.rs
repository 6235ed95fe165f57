//! SQLite through rusqlite by hand: what a program without a store would write.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use async_trait::async_trait;
use rusqlite::{Connection, OptionalExtension, params};

use super::contender::{
    COUNTS, Contender, Inserter, RARE_TYPE, UPSERT, counter, data, event_type, metadata, nanoseconds, stream_of,
};
use crate::config::Config;
use crate::error::{Error, ErrorClass, Result};

/// The same row as the store's.
const INSERT: &str = "INSERT INTO events (lane_id, position, event_id, aggregate_id, aggregate_type, \
     aggregate_version, event_type, event_version, event_timestamp, actor_type, source, data, metadata, hash) \
     VALUES (1, ?1, ?2, ?3, 'cart', ?4, ?5, 1, ?6, 'system', 'system', ?7, ?8, ?9)";
/// The same with what an application may add, so that each index gets an entry.
const INSERT_WHOLE: &str = "INSERT INTO events (lane_id, position, event_id, aggregate_id, aggregate_type, \
     aggregate_version, event_type, event_version, event_timestamp, actor_type, source, data, metadata, hash, actor, \
     correlation_id) VALUES (1, ?1, ?2, ?3, 'cart', ?4, ?5, 1, ?6, 'system', 'system', ?7, ?8, ?9, ?10, ?11)";
const STREAM: &str = "INSERT OR IGNORE INTO streams (lane_id, aggregate_id, aggregate_type, created_at, updated_at) \
     VALUES (1, ?1, 'cart', ?2, ?2)";
const VERSION: &str = "SELECT MAX(aggregate_version) FROM events WHERE lane_id = 1 AND aggregate_id = ?1";
const HEAD: &str = "SELECT MAX(position) FROM events WHERE lane_id = 1";
/// All columns, as the store reads them.
const COLUMNS: &str = "position, event_id, aggregate_id, aggregate_type, aggregate_version, event_type, event_version, \
     event_timestamp, actor, actor_type, source, causation_id, correlation_id, data, metadata, content_type, tags, hash";

/// One connection that callers share behind a lock, with statements that stay prepared.
pub(super) struct RawSqlite(Arc<Mutex<Connection>>);

fn failed(error: rusqlite::Error) -> Error {
    Error::backend("sqlite", "raw", ErrorClass::Fatal, error)
}

impl RawSqlite {
    pub(super) fn open(url: &str) -> Result<Self> {
        let config: Config = url.parse()?;
        let connection = Connection::open(config.target()).map_err(failed)?;
        let synchronous = config.durability().unwrap_or("full");
        connection.query_row("PRAGMA journal_mode = WAL", [], |_| Ok(())).map_err(failed)?;
        connection
            .execute_batch(&format!("PRAGMA synchronous = {synchronous}; PRAGMA temp_store = memory"))
            .map_err(failed)?;
        connection.set_prepared_statement_cache_capacity(32);
        Ok(Self(Arc::new(Mutex::new(connection))))
    }

    fn with<T>(&self, job: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> Result<T> {
        job(&self.0.lock().unwrap_or_else(PoisonError::into_inner)).map_err(failed)
    }
}

fn version(connection: &Connection, stream: &str) -> rusqlite::Result<Option<i64>> {
    connection.prepare_cached(VERSION)?.query_row([stream], |row| row.get(0))
}

/// Stores events of one stream in one transaction, at a version that is read in it.
fn store(connection: &Connection, stream: &str, numbers: std::ops::Range<usize>) -> rusqlite::Result<()> {
    store_at(connection, stream, numbers, |_| true).map(drop)
}

/// Stores events as [`store`] does if the version is accepted, and returns whether it was.
fn store_at(
    connection: &Connection,
    stream: &str,
    numbers: std::ops::Range<usize>,
    accepts: impl FnOnce(Option<i64>) -> bool,
) -> rusqlite::Result<bool> {
    let transaction = rusqlite::Transaction::new_unchecked(connection, rusqlite::TransactionBehavior::Immediate)?;
    let version = version(&transaction, stream)?;
    if !accepts(version) {
        return Ok(false);
    }
    let head: Option<i64> = transaction.prepare_cached(HEAD)?.query_row([], |row| row.get(0))?;
    let now = chrono::Utc::now().timestamp_micros();
    if version.is_none() {
        transaction.prepare_cached(STREAM)?.execute(params![stream, now])?;
    }
    let mut insert = transaction.prepare_cached(INSERT)?;
    for (number, offset) in numbers.zip(1i64..) {
        insert.execute(params![
            head.unwrap_or_default() + offset,
            uuid::Uuid::now_v7().as_bytes(),
            stream,
            version.unwrap_or_default() + offset,
            event_type(number),
            now,
            data(number),
            metadata(number),
            [7u8; 32],
        ])?;
    }
    drop(insert);
    transaction.commit().map(|()| true)
}

/// Reads rows whole, data and metadata parsed where asked.
fn read(
    connection: &Connection,
    condition: &str,
    params: &[&dyn rusqlite::ToSql],
    parse: bool,
) -> rusqlite::Result<(usize, i64)> {
    let mut statement = connection.prepare_cached(&format!("SELECT {COLUMNS} FROM events WHERE {condition}"))?;
    let mut rows = statement.query(params)?;
    let (mut events, mut last) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        last = row.get(0)?;
        let event = RawEvent {
            event_id: row.get(1)?,
            texts: [row.get(2)?, row.get(3)?, row.get(5)?, row.get(9)?, row.get(10)?, row.get(13)?],
            numbers: [row.get(4)?, row.get(6)?, row.get(7)?],
            optional: [row.get(8)?, row.get(14)?, row.get(15)?, row.get(16)?],
            ids: [row.get(11)?, row.get(12)?],
            hash: row.get(17)?,
        };
        if parse {
            std::hint::black_box(serde_json::from_str::<serde_json::Value>(&event.texts[5]).ok());
            let metadata = event.optional[1].as_deref();
            std::hint::black_box(metadata.and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok()));
        }
        events.push(event);
    }
    Ok((std::hint::black_box(events).len(), last))
}

/// A row as a program would hold it.
#[expect(dead_code, reason = "it is read by nobody, but made, as a program would")]
struct RawEvent {
    event_id: [u8; 16],
    texts: [String; 6],
    numbers: [i64; 3],
    optional: [Option<String>; 4],
    ids: [Option<[u8; 16]>; 2],
    hash: Option<[u8; 32]>,
}

#[async_trait]
impl Inserter for RawSqlite {
    async fn insert(&self, first: usize, count: usize, hashed: bool) -> Result<()> {
        self.with(|connection| {
            let transaction =
                rusqlite::Transaction::new_unchecked(connection, rusqlite::TransactionBehavior::Immediate)?;
            let mut insert = transaction.prepare_cached(INSERT_WHOLE)?;
            let now = chrono::Utc::now().timestamp_micros();
            for number in first..first + count {
                insert.execute(params![
                    counter(number + 1),
                    uuid::Uuid::now_v7().as_bytes(),
                    stream_of(0, number),
                    counter(number / 100 + 1),
                    event_type(number),
                    now,
                    data(number),
                    metadata(number),
                    hashed.then_some([7u8; 32]),
                    format!("user-{}", number % 50),
                    uuid::Uuid::now_v7().as_bytes(),
                ])?;
            }
            drop(insert);
            transaction.commit()
        })
    }

    async fn upsert(&self, streams: &[String], batch: usize) -> Result<()> {
        self.with(|connection| connection.execute_batch(&format!("{COUNTS}; DELETE FROM counts")))?;
        streams.chunks(batch).try_for_each(|streams| {
            self.with(|connection| {
                let transaction =
                    rusqlite::Transaction::new_unchecked(connection, rusqlite::TransactionBehavior::Immediate)?;
                let mut upsert = transaction.prepare_cached(UPSERT)?;
                streams.iter().try_for_each(|stream| upsert.execute([stream]).map(drop))?;
                drop(upsert);
                transaction.commit()
            })
        })
    }
}

#[async_trait]
impl Contender for RawSqlite {
    async fn append(&self, callers: usize, requests: usize, batch: usize) -> Result<Vec<u64>> {
        let caller = |caller: usize| {
            (0..requests)
                .map(|request| {
                    let start = Instant::now();
                    let numbers = request * batch..(request + 1) * batch;
                    self.with(|connection| store(connection, &stream_of(caller, request), numbers))?;
                    Ok(nanoseconds(start))
                })
                .collect::<Result<Vec<u64>>>()
        };
        if callers == 1 {
            return caller(0);
        }
        let caller = &caller;
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..callers).map(|number| scope.spawn(move || caller(number))).collect();
            let mut times = Vec::new();
            for thread in threads {
                times.extend(thread.join().map_err(|_| Error::Closed)??);
            }
            Ok(times)
        })
    }

    async fn append_contended(&self, callers: usize, requests: usize) -> Result<Vec<u64>> {
        let caller = || {
            (0..requests)
                .map(|request| {
                    let start = Instant::now();
                    loop {
                        let expected = self.with(|connection| version(connection, "contended"))?;
                        let accepts = |version| version == expected;
                        let numbers = request..request + 1;
                        if self.with(|connection| store_at(connection, "contended", numbers, accepts))? {
                            break;
                        }
                    }
                    Ok(nanoseconds(start))
                })
                .collect::<Result<Vec<u64>>>()
        };
        let caller = &caller;
        std::thread::scope(|scope| {
            let threads: Vec<_> = (0..callers).map(|_| scope.spawn(caller)).collect();
            let mut times = Vec::new();
            for thread in threads {
                times.extend(thread.join().map_err(|_| Error::Closed)??);
            }
            Ok(times)
        })
    }

    async fn append_each(&self, streams: &[String]) -> Result<Vec<u64>> {
        let append = |(number, stream): (usize, &String)| {
            let start = Instant::now();
            self.with(|connection| store(connection, stream, number..number + 1))?;
            Ok(nanoseconds(start))
        };
        streams.iter().enumerate().map(append).collect()
    }

    async fn fill(&self, stream: &str, events: usize) -> Result<()> {
        self.with(|connection| store(connection, stream, 0..events))
    }

    async fn read_stream(&self, stream: &str) -> Result<usize> {
        let condition = "lane_id = 1 AND aggregate_id = ?1 ORDER BY aggregate_version LIMIT 1000";
        Ok(self.with(|connection| read(connection, condition, &[&stream], true))?.0)
    }

    async fn read_log(&self) -> Result<usize> {
        let (mut events, mut after) = (0, 0);
        loop {
            let condition = "lane_id = 1 AND position > ?1 ORDER BY position LIMIT 1000";
            let (count, last) = self.with(|connection| read(connection, condition, &[&after], false))?;
            events += count;
            if count < 1_000 {
                return Ok(events);
            }
            after = last;
        }
    }

    async fn query_type(&self) -> Result<usize> {
        let condition = "lane_id = 1 AND event_type = ?1 ORDER BY position LIMIT 100";
        Ok(self.with(|connection| read(connection, condition, &[&RARE_TYPE], false))?.0)
    }

    async fn query_time(&self) -> Result<usize> {
        self.with(|connection| {
            let head: i64 = connection.prepare_cached(HEAD)?.query_row([], |row| row.get(0))?;
            let from: Option<i64> = connection
                .prepare_cached("SELECT event_timestamp FROM events WHERE lane_id = 1 AND position = ?1")?
                .query_row([head / 2 + 1], |row| row.get(0))
                .optional()?;
            let condition = "lane_id = 1 AND event_timestamp >= ?1 ORDER BY event_timestamp, position LIMIT 1000";
            Ok(read(connection, condition, &[&from], false)?.0)
        })
    }

    async fn close(&self) {}
}
