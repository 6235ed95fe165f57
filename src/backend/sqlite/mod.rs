//! SQLite: one connection writes, a bounded number of connections read, WAL.
//!
//! A database in memory has one connection for all: its shared cache has no WAL, and ignores the busy timeout.

mod append;
mod brief;
mod connect;
mod convert;
#[cfg(test)]
mod plans;
mod transaction;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use rusqlite::Connection;

use super::engine::Engine;
use super::{BackendTransaction, Capabilities, Request, Session};
use crate::append::Appended;
use crate::error::{Error, Result};
use crate::event::RecordedEvent;
use crate::position::{LaneId, Position};
use crate::read::page_end;
use crate::sql::{Dialect, FromRow, Statement};
pub(crate) use connect::{Sqlite, connect};
use convert::{classify, run};

/// Events of a page that is read on its caller's thread, at most.
const BRIEF_ROWS: usize = 200;
/// Bytes of a request that is committed on its caller's thread, at most.
const BRIEF_BYTES: usize = 16 * 1024;

#[async_trait]
impl Engine for Sqlite {
    const DIALECT: Dialect = Dialect::Sqlite;

    fn capabilities(&self) -> Capabilities {
        Capabilities::none()
            .with_durable(!self.is_memory())
            .with_processes(!self.is_memory())
            .with_sql(Dialect::Sqlite)
            .with_json_filters(true)
            .with_byte_order(true)
    }

    fn commit_blocks(&self) -> bool {
        true
    }

    /// A look at the head takes some microseconds, and waking up for it ten times as long. Nobody else writes to a database
    /// in memory.
    fn poll_interval(&self) -> RangeInclusive<Duration> {
        let (least, most) = if self.is_memory() { (1_000, 1_000) } else { (3, 75) };
        Duration::from_millis(least)..=Duration::from_millis(most)
    }

    async fn fetch<T: FromRow>(&self, statement: Statement) -> Result<Vec<T>> {
        self.read(statement.operation, move |connection| run(connection, &statement)).await
    }

    async fn look_up<T: FromRow>(&self, statement: Statement) -> Result<Vec<T>> {
        Self::look_up(self, statement).await
    }

    /// What another thread reads costs more than reading it here.
    fn reads_ahead(&self) -> bool {
        false
    }

    async fn page(&self, head: Statement, events: Statement, rows: usize) -> Result<(Position, Vec<RecordedEvent>)> {
        let operation = events.operation;
        let page = move |connection: &Connection| {
            let snapshot = connect::Transaction::snapshot(connection).map_err(|error| classify(operation, error))?;
            let found: Vec<i64> = run(connection, &head)?;
            let events = convert::run_until(connection, &events, page_end())?;
            snapshot.commit().map_err(|error| classify(operation, error))?;
            Ok((Position::new(found.first().copied().unwrap_or_default()), events))
        };
        if rows <= BRIEF_ROWS {
            self.read_paced(&self.pages, operation, page).await
        } else {
            self.read(operation, page).await
        }
    }

    async fn write(&self, _lane: LaneId, statements: Vec<Statement>) -> Result<Vec<u64>> {
        let operation = statements.first().map_or("write", |statement| statement.operation);
        self.transaction(operation, move |connection| {
            statements.iter().map(|statement| convert::execute(connection, statement)).collect()
        })
        .await
    }

    async fn commit(&self, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>> {
        let decide = |connection: &Connection| append::decide_and_store(connection, lane, batch);
        self.blocking_transaction("append", decide).await
    }

    fn commit_briefly(&self, lane: LaneId, request: &Arc<Request>) -> Option<Result<Result<Appended>>> {
        if request.bytes > BRIEF_BYTES || request.unexamined().is_some() {
            return None;
        }
        let batch = std::slice::from_ref(request);
        let decide = |connection: &Connection| append::decide_and_store(connection, lane, batch);
        Some(self.transaction_briefly("append", decide)?.and_then(|mut answers| answers.pop().ok_or(Error::Closed)))
    }

    async fn create_topic(&self, name: &str, partitions: u16) -> Result<()> {
        let name = name.to_owned();
        self.transaction("create a topic", move |connection| append::create_topic(connection, &name, partitions)).await
    }

    async fn restore(&self, lane: LaneId, events: &[RecordedEvent]) -> Result<Position> {
        let events = events.to_vec();
        self.transaction("restore", move |connection| append::restore(connection, lane, &events)).await
    }

    async fn begin(&self) -> Result<Box<dyn BackendTransaction>> {
        Ok(Box::new(transaction::begin(self).await?))
    }

    async fn session(&self) -> Result<Box<dyn Session>> {
        Ok(Box::new(SqliteSession(self.raw().await?)))
    }

    async fn close(&self) {
        self.shut_down().await;
    }
}

/// A connection that runs SQL text.
struct SqliteSession(connect::Raw);

#[async_trait]
impl Session for SqliteSession {
    async fn execute(&mut self, sql: &str) -> Result<()> {
        let sql = sql.to_owned();
        self.0
            .run("execute", move |connection| {
                connection.execute_batch(&sql).map_err(|error| classify("execute", error))
            })
            .await
    }

    async fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let sql = sql.to_owned();
        self.0
            .run("query", move |connection| query_text(connection, &sql).map_err(|error| classify("query", error)))
            .await
    }
}

/// Returns the rows of a statement, each cell as text: bytes in hexadecimal digits.
fn query_text(connection: &Connection, sql: &str) -> rusqlite::Result<Vec<Vec<Option<String>>>> {
    use rusqlite::types::ValueRef;
    let mut statement = connection.prepare(sql)?;
    let columns = statement.column_count();
    let rows = statement.query_map([], |row| {
        (0..columns)
            .map(|column| {
                Ok(match row.get_ref(column)? {
                    ValueRef::Null => None,
                    ValueRef::Integer(number) => Some(number.to_string()),
                    ValueRef::Real(number) => Some(number.to_string()),
                    ValueRef::Text(text) => Some(String::from_utf8_lossy(text).into_owned()),
                    ValueRef::Blob(bytes) => Some(crate::hash::hex(bytes)),
                })
            })
            .collect()
    })?;
    rows.collect()
}
