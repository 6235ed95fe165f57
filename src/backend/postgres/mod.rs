//! Postgres: an append that nothing contradicts is one call of a function of the database, everything else a
//! transaction that locks the lane, loads, decides and stores.

mod append;
mod batch;
mod connect;
mod convert;
mod notify;
mod pool;
mod rows;
mod transaction;

use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::TryStreamExt;
use sqlx::AssertSqlSafe;
use sqlx::postgres::PgConnection;

use super::engine::Engine;
use super::{BackendTransaction, Capabilities, Request, Session};
use crate::append::Appended;
use crate::error::{Error, ErrorClass, Result};
use crate::event::RecordedEvent;
use crate::position::{LaneId, Position};
use crate::read::page_end;
use crate::sql::{Dialect, FromRow, Row, RowRead, Statement};
use connect::Purpose;
pub(crate) use connect::{Postgres, connect};
use convert::{Stage, classify};
use pool::Pool;

#[async_trait]
impl Engine for Postgres {
    const DIALECT: Dialect = Dialect::Postgres;

    fn capabilities(&self) -> Capabilities {
        Capabilities::none()
            .with_durable(true)
            .with_processes(true)
            .with_sql(Dialect::Postgres)
            .with_json_filters(true)
            .with_byte_order(true)
            .with_server_clock(true)
            .with_kill(true)
    }

    /// A look at the head costs little, and who listens hears of others before it.
    fn poll_interval(&self) -> RangeInclusive<Duration> {
        Duration::from_millis(10)..=Duration::from_millis(250)
    }

    async fn heard(&self, lane: LaneId) {
        self.notifier.heard(&self.pool, lane).await;
    }

    async fn fetch<T: FromRow>(&self, statement: Statement) -> Result<Vec<T>> {
        self.fetch_until(statement, || |_: &T| false).await
    }

    async fn page(&self, head: Statement, events: Statement, _rows: usize) -> Result<(Position, Vec<RecordedEvent>)> {
        let page_end = || {
            let mut is_last = page_end();
            move |row: &PageRow| row.event.as_ref().is_some_and(&mut is_last)
        };
        let rows = self.fetch_until(with_head(head, events), page_end).await?;
        let head = rows.first().map_or(Position::ZERO, |row| row.head);
        self.pool.observe(head.get());
        Ok((head, rows.into_iter().filter_map(|row| row.event).collect()))
    }

    async fn write(&self, lane: LaneId, statements: Vec<Statement>) -> Result<Vec<u64>> {
        let pool = Arc::clone(&self.pool);
        self.to_the_end("write", async move { append::write(&pool, lane, &statements).await }).await
    }

    async fn commit(&self, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>> {
        let (pool, batch) = (Arc::clone(&self.pool), batch.to_vec());
        let answers = self.to_the_end("append", async move { append::commit(&pool, lane, &batch).await }).await?;
        if answers.iter().flatten().any(|appended| appended.positions.is_some() && !appended.duplicate) {
            self.notifier.committed(&self.pool, lane);
        }
        Ok(answers)
    }

    async fn create_topic(&self, name: &str, partitions: u16) -> Result<()> {
        let (pool, name) = (Arc::clone(&self.pool), name.to_owned());
        self.to_the_end("create a topic", async move { append::create_topic(&pool, &name, partitions).await }).await
    }

    async fn restore(&self, lane: LaneId, events: &[RecordedEvent]) -> Result<Position> {
        let (pool, events) = (Arc::clone(&self.pool), events.to_vec());
        self.to_the_end("restore", async move { append::restore(&pool, lane, &events).await }).await
    }

    async fn begin(&self) -> Result<Box<dyn BackendTransaction>> {
        Ok(Box::new(transaction::begin(self).await?))
    }

    async fn is_replica(&self) -> Result<bool> {
        let sql = "SELECT pg_is_in_recovery()::int::bigint".to_owned();
        let statement = Statement { operation: "look for the primary", sql, params: Vec::new() };
        Ok(self.fetch::<i64>(statement).await? == [1])
    }

    /// Runs a statement with the server's own way to plan.
    async fn select(&self, statement: Statement) -> Result<Vec<Row>> {
        let mut transaction = transaction::begin(self).await?;
        let rows = transaction.rows(statement).await?;
        transaction.end().await?;
        Ok(rows)
    }

    async fn session(&self) -> Result<Box<dyn Session>> {
        Ok(Box::new(PgSession(self.pool.connector.open(Purpose::Sql).await?)))
    }

    async fn close(&self) {
        self.notifier.close();
        self.pool.close().await;
    }
}

impl Postgres {
    /// Runs a reading statement up to the row with which there are enough.
    async fn fetch_until<T: FromRow, P: FnMut(&T) -> bool + Send>(
        &self,
        statement: Statement,
        is_enough: impl Fn() -> P + Send + Sync,
    ) -> Result<Vec<T>> {
        let once = async || {
            let mut lease = Pool::acquire(&self.pool).await?;
            let (found, is_cut) =
                convert::run_until(lease.connection(), &statement, [is_enough(), is_enough()]).await?;
            // To open a connection may take less time than to read the rest, of which nobody knows how long it is.
            if is_cut {
                lease.close();
            } else {
                lease.release();
            }
            Ok(found)
        };
        match once().await {
            // An idle connection was dead. Its loss has the others checked before their next use.
            Err(Error::Backend { class: ErrorClass::Reconnect, .. }) => once().await,
            found => found,
        }
    }

    /// Runs a write on a task of its own, so that it comes to its end where the caller drops its future; bounded, so
    /// that a server that no longer answers does not hold it for ever.
    async fn to_the_end<T: Send + 'static>(
        &self,
        operation: &'static str,
        work: impl Future<Output = Result<T>> + Send + 'static,
    ) -> Result<T> {
        let limit = self.pool.connector.statement_timeout * 2 + self.pool.connector.connect_timeout;
        match tokio::spawn(tokio::time::timeout(limit, work)).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => {
                let reason = format!("the server did not answer within {} ms", limit.as_millis());
                Err(Error::backend("postgres", operation, ErrorClass::Ambiguous, reason))
            }
            Err(panicked) => Err(Error::backend("postgres", operation, ErrorClass::Ambiguous, panicked)),
        }
    }
}

/// Puts the lane's head beside each event, so that one statement reads both in one snapshot. The lane is the first
/// parameter of both, and the only one of the head.
fn with_head(head: Statement, events: Statement) -> Statement {
    let head_sql = (2..=head.params.len()).fold(head.sql, |sql, number| sql.replace(&format!("${number}"), "$1"));
    let sql =
        format!("SELECT e.*, h.head FROM ({head_sql}) AS h(head) LEFT JOIN LATERAL ({}) AS e ON TRUE", events.sql);
    Statement { sql, ..events }
}

/// An event with the head; only the head where no event answers.
struct PageRow {
    event: Option<RecordedEvent>,
    head: Position,
}

impl FromRow for PageRow {
    fn from_row(row: &impl RowRead) -> Result<Self> {
        let event = if row.i64(0)?.is_some() { Some(RecordedEvent::from_row(row)?) } else { None };
        let head = row.i64(crate::sql::rows::EVENT_COLUMN_COUNT)?.unwrap_or_default();
        Ok(Self { event, head: Position::new(head) })
    }
}

/// A connection that runs SQL text.
struct PgSession(PgConnection);

#[async_trait]
impl Session for PgSession {
    async fn execute(&mut self, sql: &str) -> Result<()> {
        let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut self.0).await;
        done.map(drop).map_err(|error| classify("execute", Stage::Sql, error))
    }

    async fn query(&mut self, sql: &str) -> Result<Vec<Vec<Option<String>>>> {
        let mut rows = sqlx::raw_sql(AssertSqlSafe(sql)).fetch(&mut self.0);
        let mut found = Vec::new();
        while let Some(row) = rows.try_next().await.map_err(|error| classify("query", Stage::Sql, error))? {
            found.push(convert::text_cells(&row)?);
        }
        Ok(found)
    }
}
