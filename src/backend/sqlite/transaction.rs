//! Transactions of the caller's own, on the connection that writes.

use std::sync::Arc;

use async_trait::async_trait;
use rusqlite::Connection;
use tokio::sync::OwnedMutexGuard;

use super::append::decide_and_store;
use super::brief::Pace;
use super::connect::Sqlite;
use super::convert::{self, classify};
use crate::append::Appended;
use crate::backend::{BackendTransaction, Request};
use crate::error::{Error, ErrorClass, Result};
use crate::position::LaneId;
use crate::sql::{Row, Statement, Value};

/// The connection that writes, with its transaction, which is rolled back unless it was committed.
struct Open(OwnedMutexGuard<Option<Connection>>);

impl Open {
    fn connection(&self) -> Result<&Connection> {
        self.0.as_ref().ok_or(Error::Closed)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let Some(connection) = &*self.0 else { return };
        if !connection.is_autocommit()
            && let Err(error) = connection.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "a transaction could not be rolled back");
        }
    }
}

/// An open transaction.
pub(super) struct SqliteTransaction {
    /// `None` while a statement runs on another thread.
    open: Option<Open>,
    /// Of its statements.
    pace: Pace,
}

/// Begins a transaction that holds the database's write lock.
pub(super) async fn begin(sqlite: &Sqlite) -> Result<SqliteTransaction> {
    let open = Open(sqlite.write_lock().await);
    let mut transaction = SqliteTransaction { open: Some(open), pace: Pace::new() };
    transaction
        .blocking("begin a transaction", |connection| {
            connection.execute_batch("BEGIN IMMEDIATE").map_err(|error| classify("begin a transaction", error))
        })
        .await?;
    Ok(transaction)
}

impl SqliteTransaction {
    /// Runs a job on a thread that may be blocked. Where the caller leaves meanwhile, the transaction is rolled back.
    async fn blocking<T: Send + 'static>(
        &mut self,
        operation: &'static str,
        job: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let open = self.open.take().ok_or(Error::Closed)?;
        let work = tokio::task::spawn_blocking(move || {
            let outcome = open.connection().and_then(job);
            (open, outcome)
        });
        let (open, outcome) =
            work.await.map_err(|error| Error::backend("sqlite", operation, ErrorClass::Fatal, error))?;
        self.open = Some(open);
        outcome
    }

    /// Runs a job on the calling thread if the last ones were brief: the lock is held already, and nothing is flushed.
    async fn run<T: Send + 'static>(
        &mut self,
        operation: &'static str,
        job: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if self.pace.is_brief() {
            tokio::task::coop::consume_budget().await;
            let open = self.open.as_ref().ok_or(Error::Closed)?;
            return self.pace.timed(|| open.connection().and_then(job));
        }
        let start = std::time::Instant::now();
        let outcome = self.blocking(operation, job).await;
        self.pace.took(start.elapsed());
        outcome
    }
}

#[async_trait]
impl BackendTransaction for SqliteTransaction {
    async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64> {
        let statement = Statement { operation: "execute", sql: sql.to_owned(), params: params.to_vec() };
        self.run("execute", move |connection| convert::execute(connection, &statement)).await
    }

    async fn select(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>> {
        let statement = Statement { operation: "select", sql: sql.to_owned(), params: params.to_vec() };
        self.run("select", move |connection| convert::run(connection, &statement)).await
    }

    async fn append(&mut self, lane: LaneId, request: &Arc<Request>) -> Result<Result<Appended>> {
        let batch = [Arc::clone(request)];
        let decide = move |connection: &Connection| decide_and_store(connection, lane, &batch);
        self.run("append", decide).await?.pop().ok_or(Error::Closed)
    }

    async fn commit(mut self: Box<Self>) -> Result<()> {
        self.blocking("commit", |connection| {
            connection.execute_batch("COMMIT").map_err(|error| classify("commit", error))
        })
        .await
    }
}
