//! Postgres through tokio-postgres by hand, with prepared statements, each append one statement.
//!
//! Eight connections at most: more were never faster. They take positions from a sequence and so keep no order, which is
//! the store's own cost.

use std::collections::HashMap;
use std::time::Instant;

use async_trait::async_trait;
use chrono::{DateTime, Utc};
use tokio::sync::Mutex;
use tokio_postgres::{Client, NoTls, Row, Statement};
use uuid::Uuid;

use super::contender::{
    COUNTS, Contender, Inserter, RARE_TYPE, UPSERT, counter, data, event_type, metadata, nanoseconds, stream_of,
};
use crate::config::Config;
use crate::error::{Error, ErrorClass, Result};

/// Connections of the raw driver at most.
const CONNECTIONS: usize = 8;

/// The same rows as the store's, in one statement: the stream where it is new, and the events.
const INSERT: &str = "WITH new_stream AS (INSERT INTO streams (lane_id, aggregate_id, aggregate_type, created_at, \
     updated_at) SELECT 1, $1, 'cart', now(), now() WHERE $2::bigint = 0 ON CONFLICT DO NOTHING) \
     INSERT INTO events (lane_id, position, event_id, aggregate_id, aggregate_type, aggregate_version, event_type, \
     event_version, event_timestamp, actor_type, source, data, metadata, hash) \
     SELECT 1, nextval('raw_positions'), n.id, $1, 'cart', $2 + n.ordinal, n.type, 1, clock_timestamp(), 'system', \
     'system', n.data::json, n.metadata::json, $7 \
     FROM unnest($3::uuid[], $4::text[], $5::text[], $6::text[]) WITH ORDINALITY AS n(id, type, data, metadata, ordinal)";
const INSERT_ONE: &str = "INSERT INTO events (lane_id, position, event_id, aggregate_id, aggregate_type, \
     aggregate_version, event_type, event_version, event_timestamp, actor_type, source, data, metadata, hash) \
     VALUES (1, nextval('raw_positions'), $1, $2, 'cart', $3, $4, 1, clock_timestamp(), 'system', 'system', \
     ($5::text)::json, ($6::text)::json, $7)";
/// Events of several streams with what an application may add, so that each index gets an entry.
const INSERT_WHOLE: &str = "INSERT INTO events (lane_id, position, event_id, aggregate_id, aggregate_type, \
     aggregate_version, event_type, event_version, event_timestamp, actor_type, source, data, metadata, hash, actor, \
     correlation_id) SELECT 1, n.position, n.id, n.stream, 'cart', n.version, n.type, 1, clock_timestamp(), 'system', \
     'system', n.data::json, n.metadata::json, $8, n.actor, n.correlation \
     FROM unnest($1::bigint[], $2::uuid[], $3::text[], $4::bigint[], $5::text[], $6::text[], $7::text[], $9::text[], \
     $10::uuid[]) AS n(position, id, stream, version, type, data, metadata, actor, correlation)";
const VERSION: &str = "SELECT coalesce(max(aggregate_version), 0) FROM events WHERE lane_id = 1 AND aggregate_id = $1";
const COLUMNS: &str = "position, event_id, aggregate_id, aggregate_type, aggregate_version, event_type, event_version, \
     event_timestamp, actor, actor_type, source, causation_id, correlation_id, data::text, metadata::text, \
     content_type, tags::text, hash";

/// Plans that don't depend on statistics of tables that are still empty, as the store's sessions have them.
const PLANNER: &str = "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off;";

/// A connection with its prepared statements, and the versions of the streams that it has written to.
struct Connection {
    client: Client,
    versions: Mutex<HashMap<String, i64>>,
    insert: Statement,
    insert_one: Statement,
    insert_whole: Statement,
    version: Statement,
    stream: Statement,
    log: Statement,
    by_type: Statement,
    by_time: Statement,
    time_at: Statement,
}

pub(super) struct RawPostgres(Vec<Connection>);

fn failed(error: tokio_postgres::Error) -> Error {
    Error::backend("postgres", "raw", ErrorClass::Fatal, error)
}

impl RawPostgres {
    pub(super) async fn open(url: &str) -> Result<Self> {
        let config: Config = url.parse()?;
        let mut connections = Vec::with_capacity(CONNECTIONS);
        for number in 0..CONNECTIONS {
            connections.push(Connection::open(&config, number == 0).await?);
        }
        Ok(Self(connections))
    }
}

impl Connection {
    async fn open(config: &Config, first: bool) -> Result<Self> {
        let credentials = config.user().map_or_else(String::new, |user| {
            format!("{user}{}@", config.password().map(|word| format!(":{word}")).unwrap_or_default())
        });
        let target = config.target().trim_start_matches('/');
        let url = format!("postgres://{credentials}{target}");
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.map_err(failed)?;
        tokio::spawn(connection);
        let schema = config.option("schema").unwrap_or("public");
        let commit = if config.durability() == Some("off") { "off" } else { "on" };
        let mut setup = format!("SET search_path = \"{schema}\"; SET synchronous_commit = {commit}; {PLANNER}");
        if first {
            setup.push_str("CREATE SEQUENCE IF NOT EXISTS raw_positions");
        }
        client.batch_execute(&setup).await.map_err(failed)?;
        let read = |condition: &str| format!("SELECT {COLUMNS} FROM events WHERE lane_id = 1 AND {condition}");
        let prepare = async |sql: &str| client.prepare(sql).await.map_err(failed);
        Ok(Self {
            insert: prepare(INSERT).await?,
            insert_one: prepare(INSERT_ONE).await?,
            insert_whole: prepare(INSERT_WHOLE).await?,
            version: prepare(VERSION).await?,
            stream: prepare(&read("aggregate_id = $1 ORDER BY aggregate_version LIMIT 1000")).await?,
            log: prepare(&read("position > $1 ORDER BY position LIMIT 1000")).await?,
            by_type: prepare(&read("event_type = $1 ORDER BY position LIMIT 100")).await?,
            by_time: prepare(&read("event_timestamp >= $1 ORDER BY event_timestamp, position LIMIT 1000")).await?,
            time_at: prepare(
                "SELECT event_timestamp FROM events WHERE lane_id = 1 AND position > \
                 (SELECT max(position) / 2 FROM events WHERE lane_id = 1) ORDER BY position LIMIT 1",
            )
            .await?,
            client,
            versions: Mutex::default(),
        })
    }

    /// Stores events after a version that the caller knows.
    async fn store(
        &self,
        stream: &str,
        version: i64,
        numbers: std::ops::Range<usize>,
    ) -> Result<(), tokio_postgres::Error> {
        let hash = &[7u8; 32][..];
        if numbers.len() == 1 && version > 0 {
            let (kind, data, metadata) = (event_type(numbers.start), data(numbers.start), metadata(numbers.start));
            let id = Uuid::now_v7();
            let params: [&(dyn tokio_postgres::types::ToSql + Sync); 7] =
                [&id, &stream, &(version + 1), &kind, &data, &metadata, &hash];
            return self.client.execute(&self.insert_one, &params).await.map(drop);
        }
        let ids: Vec<Uuid> = numbers.clone().map(|_| Uuid::now_v7()).collect();
        let types: Vec<&str> = numbers.clone().map(event_type).collect();
        let datas: Vec<String> = numbers.clone().map(data).collect();
        let metadatas: Vec<String> = numbers.map(metadata).collect();
        self.client.execute(&self.insert, &[&stream, &version, &ids, &types, &datas, &metadatas, &hash]).await.map(drop)
    }

    async fn version(&self, stream: &str) -> Result<i64> {
        Ok(self.client.query_one(&self.version, &[&stream]).await.map_err(failed)?.get(0))
    }

    /// Appends as one of several callers that share this connection, each its own streams.
    async fn append(&self, callers: Vec<usize>, requests: usize, batch: usize) -> Result<Vec<u64>> {
        let mut times = Vec::with_capacity(requests * callers.len());
        let mut versions = self.versions.lock().await;
        for request in 0..requests {
            for caller in &callers {
                let start = Instant::now();
                let stream = stream_of(*caller, request);
                let version = match versions.get(&stream) {
                    Some(version) => *version,
                    None => self.version(&stream).await?,
                };
                self.store(&stream, version, request * batch..(request + 1) * batch).await.map_err(failed)?;
                versions.insert(stream, version + i64::try_from(batch).unwrap_or(i64::MAX));
                times.push(nanoseconds(start));
            }
        }
        Ok(times)
    }

    async fn append_contended(&self, requests: usize) -> Result<Vec<u64>> {
        let mut times = Vec::with_capacity(requests);
        for request in 0..requests {
            let start = Instant::now();
            loop {
                let version = self.version("contended").await?;
                match self.store("contended", version, request..request + 1).await {
                    Ok(()) => break,
                    Err(error) if error.code() == Some(&tokio_postgres::error::SqlState::UNIQUE_VIOLATION) => {}
                    Err(error) => return Err(failed(error)),
                }
            }
            times.push(nanoseconds(start));
        }
        Ok(times)
    }
}

/// Reads rows whole, data and metadata parsed where asked, and returns the last position.
fn take(rows: &[Row], parse: bool) -> i64 {
    let (mut last, mut events) = (0, Vec::new());
    for row in rows {
        last = row.get(0);
        let data: String = row.get(13);
        let metadata: Option<String> = row.get(14);
        if parse {
            std::hint::black_box(serde_json::from_str::<serde_json::Value>(&data).ok());
            std::hint::black_box(
                metadata.as_deref().and_then(|text| serde_json::from_str::<serde_json::Value>(text).ok()),
            );
        }
        let texts: [String; 5] = [row.get(2), row.get(3), row.get(5), row.get(9), row.get(10)];
        let optional: [Option<String>; 3] = [row.get(8), row.get(15), row.get(16)];
        let ids: (Uuid, Option<Uuid>, Option<Uuid>) = (row.get(1), row.get(11), row.get(12));
        let numbers: (i64, i32, DateTime<Utc>) = (row.get(4), row.get(6), row.get(7));
        events.push((texts, optional, ids, numbers, data, metadata, row.get::<_, Option<Vec<u8>>>(17)));
    }
    std::hint::black_box(events);
    last
}

#[async_trait]
impl Inserter for RawPostgres {
    async fn insert(&self, first: usize, count: usize, hashed: bool) -> Result<()> {
        let numbers = first..first + count;
        let positions: Vec<i64> = numbers.clone().map(|number| counter(number + 1)).collect();
        let ids: Vec<Uuid> = numbers.clone().map(|_| Uuid::now_v7()).collect();
        let streams: Vec<String> = numbers.clone().map(|number| stream_of(0, number)).collect();
        let versions: Vec<i64> = numbers.clone().map(|number| counter(number / 100 + 1)).collect();
        let types: Vec<&str> = numbers.clone().map(event_type).collect();
        let datas: Vec<String> = numbers.clone().map(data).collect();
        let metadatas: Vec<String> = numbers.clone().map(metadata).collect();
        let actors: Vec<String> = numbers.clone().map(|number| format!("user-{}", number % 50)).collect();
        let correlations: Vec<Uuid> = numbers.map(|_| Uuid::now_v7()).collect();
        let hash = hashed.then_some(&[7u8; 32][..]);
        let params: [&(dyn tokio_postgres::types::ToSql + Sync); 10] =
            [&positions, &ids, &streams, &versions, &types, &datas, &metadatas, &hash, &actors, &correlations];
        self.0[0].client.execute(&self.0[0].insert_whole, &params).await.map(drop).map_err(failed)
    }

    async fn upsert(&self, streams: &[String], batch: usize) -> Result<()> {
        let client = &self.0[0].client;
        client.batch_execute(&format!("{COUNTS}; DELETE FROM counts")).await.map_err(failed)?;
        let upsert = client.prepare(UPSERT).await.map_err(failed)?;
        for streams in streams.chunks(batch) {
            client.batch_execute("BEGIN").await.map_err(failed)?;
            for stream in streams {
                client.execute(&upsert, &[stream]).await.map_err(failed)?;
            }
            client.batch_execute("COMMIT").await.map_err(failed)?;
        }
        Ok(())
    }
}

#[async_trait]
impl Contender for RawPostgres {
    async fn append(&self, callers: usize, requests: usize, batch: usize) -> Result<Vec<u64>> {
        let work = self.0.iter().take(callers).enumerate().map(|(index, connection)| {
            connection.append((index..callers).step_by(CONNECTIONS).collect(), requests, batch)
        });
        Ok(futures::future::try_join_all(work).await?.concat())
    }

    async fn append_contended(&self, callers: usize, requests: usize) -> Result<Vec<u64>> {
        let work = self.0.iter().take(callers).map(|connection| connection.append_contended(requests));
        Ok(futures::future::try_join_all(work).await?.concat())
    }

    async fn append_each(&self, streams: &[String]) -> Result<Vec<u64>> {
        let mut times = Vec::with_capacity(streams.len());
        for (number, stream) in streams.iter().enumerate() {
            let start = Instant::now();
            let version = self.0[0].version(stream).await?;
            self.0[0].store(stream, version, number..number + 1).await.map_err(failed)?;
            times.push(nanoseconds(start));
        }
        Ok(times)
    }

    async fn resume(&self) -> Result<()> {
        let sql = "SELECT setval('raw_positions', max(position)) FROM events WHERE lane_id = 1";
        self.0[0].client.batch_execute(sql).await.map_err(failed)
    }

    async fn fill(&self, stream: &str, events: usize) -> Result<()> {
        self.0[0].store(stream, 0, 0..events).await.map_err(failed)
    }

    async fn read_stream(&self, stream: &str) -> Result<usize> {
        let rows = self.0[0].client.query(&self.0[0].stream, &[&stream]).await.map_err(failed)?;
        take(&rows, true);
        Ok(rows.len())
    }

    async fn read_log(&self) -> Result<usize> {
        let (mut events, mut after) = (0, 0i64);
        loop {
            let rows = self.0[0].client.query(&self.0[0].log, &[&after]).await.map_err(failed)?;
            events += rows.len();
            if rows.len() < 1_000 {
                return Ok(events);
            }
            after = take(&rows, false);
        }
    }

    async fn query_type(&self) -> Result<usize> {
        let rows = self.0[0].client.query(&self.0[0].by_type, &[&RARE_TYPE]).await.map_err(failed)?;
        take(&rows, false);
        Ok(rows.len())
    }

    async fn query_time(&self) -> Result<usize> {
        let from: DateTime<Utc> = self.0[0].client.query_one(&self.0[0].time_at, &[]).await.map_err(failed)?.get(0);
        let rows = self.0[0].client.query(&self.0[0].by_time, &[&from]).await.map_err(failed)?;
        take(&rows, false);
        Ok(rows.len())
    }

    async fn close(&self) {}
}
