//! The pool, and what is done with a connection of it.
//!
//! The driver can't tell a connection that is in the middle of a result from one that is idle (tiberius #79), so an
//! operation runs in a task of its own, which the caller's leaving does not stop, and a connection goes back to the pool
//! only where the operation was answered to the end, without an error. Any other is closed, and with it the server rolls
//! back what was open.

use std::fmt;
use std::io::ErrorKind;
use std::net;
use std::time::Duration;

use deadpool::managed::{self, Metrics, Object, PoolError, RecycleError, RecycleResult, TimeoutType};
use futures::TryStreamExt as _;
use futures::future::BoxFuture;
use tiberius::{Client, QueryItem, Row, SqlBulkCopyOption, ToSql};
use tokio::net::TcpStream;
use tokio::sync::oneshot;
use tokio::time::Instant;
use tokio_util::compat::Compat;

use super::connect::{Options, Server, open};
use super::convert::{bulk_row, classify, fitting};
use crate::config::Config;
use crate::error::{Error, ErrorClass, Result};
use crate::sql::{Dialect, Statement, Value};

/// How often a transaction is tried that the server rolls back because of others.
const ATTEMPTS: usize = 5;

/// The rows of each result of a call.
pub(super) type Results = Vec<Vec<Row>>;

/// What is done with a connection; a pointer, so that it can be done again.
pub(super) type Work<A, T> = for<'a> fn(&'a mut Connection, &'a A) -> BoxFuture<'a, Result<T>>;

/// A session of the server.
pub(super) struct Connection {
    client: Client<Compat<TcpStream>>,
    /// The client's socket once more, to look whether anything waits there.
    probe: net::TcpStream,
    prefix: String,
    commit: &'static str,
    server: Server,
    /// Whether the last call was answered to its end.
    clean: bool,
    /// Whether a commit was sent and not yet answered.
    committing: bool,
}

impl Connection {
    pub(super) fn new(client: Client<Compat<TcpStream>>, probe: net::TcpStream, options: &Options) -> Self {
        let (prefix, commit) = (options.prefix.clone(), "COMMIT TRANSACTION");
        let server = Server { babelfish: false, row_versions: false, kill: false };
        Self { client, probe, prefix, commit, server, clean: true, committing: false }
    }

    /// Notes what the server is like; until then it is thought to be the one that takes the most care.
    pub(super) const fn found(&mut self, server: Server) {
        self.server = server;
    }

    /// Returns what the server is like.
    pub(super) const fn server(&self) -> Server {
        self.server
    }

    /// Makes commits return before they are durable.
    pub(super) const fn delay_commits(&mut self) {
        self.commit = "COMMIT TRANSACTION WITH (DELAYED_DURABILITY = ON)";
    }

    /// Returns the statement that commits with the durability that the URL asks for.
    pub(super) const fn commit_text(&self) -> &'static str {
        self.commit
    }

    fn qualified(&self, sql: &str) -> String {
        sql.replace(Dialect::SCHEMA_TOKEN, &self.prefix)
    }

    /// Runs statements with parameters in one call.
    pub(super) async fn query(&mut self, statement: &Statement) -> Result<Results> {
        // The schema comes first: a name that stands in the text afterwards may look like its token.
        let (sql, params) = fitting(self.qualified(&statement.sql), &statement.params);
        let params: Vec<&dyn ToSql> = params.iter().map(|value| value as &dyn ToSql).collect();
        self.clean = false;
        let answer = match self.client.query(sql, &params).await {
            Ok(stream) => stream.into_results().await,
            Err(error) => Err(error),
        };
        self.answered(statement.operation, answer)
    }

    /// Runs statements with parameters in one call, and takes the rows of their results, each with the number of its result, up
    /// to the row with which there are enough. Where that came, the connection is not used again.
    pub(super) async fn query_until(
        &mut self,
        statement: &Statement,
        mut take: impl FnMut(usize, &Row) -> Result<bool>,
    ) -> Result<()> {
        let (sql, params) = fitting(self.qualified(&statement.sql), &statement.params);
        let params: Vec<&dyn ToSql> = params.iter().map(|value| value as &dyn ToSql).collect();
        self.clean = false;
        let failed = |error| classify(statement.operation, &error, false);
        let mut items = self.client.query(sql, &params).await.map_err(failed)?;
        while let Some(item) = items.try_next().await.map_err(failed)? {
            if let QueryItem::Row(row) = item
                && take(row.result_index(), &row)?
            {
                return Ok(());
            }
        }
        drop(items);
        self.clean = true;
        Ok(())
    }

    /// As [`query`](Self::query), where the statements commit: if the answer stays out, it is not known whether.
    pub(super) async fn query_and_commit(&mut self, statement: &Statement) -> Result<Results> {
        self.committing = true;
        let results = self.query(statement).await?;
        self.committing = false;
        Ok(results)
    }

    /// Runs statements without parameters in one call.
    pub(super) async fn batch(&mut self, operation: &'static str, sql: &str) -> Result<Results> {
        let answer = self.raw(&self.qualified(sql)).await;
        self.answered(operation, answer)
    }

    /// Runs text as it is, in one call, and returns the driver's own error.
    pub(super) async fn raw(&mut self, sql: &str) -> tiberius::Result<Results> {
        self.clean = false;
        let results = self.client.simple_query(sql).await?.into_results().await?;
        self.clean = true;
        Ok(results)
    }

    /// Stores rows in columns of a table by the server's bulk load, with everything checked that an insert checks.
    pub(super) async fn load(
        &mut self,
        operation: &'static str,
        table: &str,
        columns: &[&str],
        rows: &[Vec<Value>],
    ) -> Result<()> {
        self.clean = false;
        let table = self.qualified(table);
        let options = SqlBulkCopyOption::CheckConstraints | SqlBulkCopyOption::FireTriggers;
        let loaded = async {
            let mut load = self.client.bulk_insert_with_options(&table, columns, options, &[]).await?;
            for row in rows {
                load.send(bulk_row(row)).await?;
            }
            load.finalize().await
        };
        let loaded = loaded.await;
        self.answered(operation, loaded).map(drop)
    }

    /// Commits the open transaction.
    pub(super) async fn commit(&mut self, operation: &'static str) -> Result<()> {
        self.committing = true;
        self.batch(operation, self.commit).await?;
        self.committing = false;
        Ok(())
    }

    fn answered<T>(&mut self, operation: &'static str, answer: tiberius::Result<T>) -> Result<T> {
        let results = answer.map_err(|error| classify(operation, &error, self.committing))?;
        self.clean = true;
        Ok(results)
    }

    /// Whether the connection stands idle, and nothing waits to be read: neither the rest of an answer nor the end.
    fn is_idle(&self) -> bool {
        let waiting = self.probe.peek(&mut [0]);
        self.clean && waiting.is_err_and(|error| error.kind() == ErrorKind::WouldBlock)
    }

    fn timed_out(&self, operation: &'static str, limit: Duration) -> Error {
        let milliseconds = limit.as_millis().try_into().unwrap_or(u64::MAX);
        if self.committing {
            let reason = format!("the server did not acknowledge the commit within {milliseconds} ms");
            return Error::backend("mssql", operation, ErrorClass::Ambiguous, reason);
        }
        Error::Deadline { operation, milliseconds }
    }
}

#[derive(Debug)]
pub(super) struct Manager(Options);

impl managed::Manager for Manager {
    type Type = Connection;
    type Error = Error;

    async fn create(&self) -> Result<Connection> {
        open(&self.0).await
    }

    async fn recycle(&self, connection: &mut Connection, _: &Metrics) -> RecycleResult<Error> {
        if connection.is_idle() { Ok(()) } else { Err(RecycleError::message("the connection is used up")) }
    }
}

/// The connections of a store.
#[derive(Clone)]
pub(super) struct Pool {
    connections: managed::Pool<Manager>,
    statement_timeout: Duration,
}

impl fmt::Debug for Pool {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pool").field("options", &self.connections.manager().0).finish_non_exhaustive()
    }
}

impl Pool {
    pub(super) fn new(options: Options, config: &Config) -> Result<Self> {
        let connections = managed::Pool::builder(Manager(options))
            .max_size(config.pool_max() as usize)
            .wait_timeout(Some(config.connect_timeout()))
            .runtime(deadpool::Runtime::Tokio1)
            .build()
            .map_err(|error| Error::backend("mssql", "connect", ErrorClass::Fatal, error))?;
        Ok(Self { connections, statement_timeout: config.statement_timeout() })
    }

    /// Takes a connection out of the pool, which makes room for another one once it is dropped; where the answer of a
    /// call stays out, it is not used again.
    pub(super) async fn take(&self, operation: &'static str) -> Result<Object<Manager>> {
        self.connections.get().await.map_err(|error| unavailable(operation, error, &self.connections))
    }

    /// Opens a connection beside the pool.
    pub(super) async fn open(&self) -> Result<Connection> {
        if self.connections.is_closed() {
            return Err(Error::Closed);
        }
        open(&self.connections.manager().0).await
    }

    /// Does work with a connection, to its end even where the caller leaves meanwhile; a caller that leaves before it
    /// began withdraws it. Where the server rolls it back because of others, it is done again.
    pub(super) async fn run<A, T>(&self, operation: &'static str, arguments: A, work: Work<A, T>) -> Result<T>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
    {
        self.run_times(ATTEMPTS, operation, arguments, work).await
    }

    /// Does work as [`Self::run`] does, but not again.
    pub(super) async fn run_once<A, T>(&self, operation: &'static str, arguments: A, work: Work<A, T>) -> Result<T>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
    {
        self.run_times(1, operation, arguments, work).await
    }

    async fn run_times<A, T>(&self, times: usize, operation: &'static str, arguments: A, work: Work<A, T>) -> Result<T>
    where
        A: Send + Sync + 'static,
        T: Send + 'static,
    {
        let (mut answer, outcome) = oneshot::channel();
        let (pool, limit) = (self.connections.clone(), self.statement_timeout);
        tokio::spawn(async move {
            let first = tokio::select! {
                () = answer.closed() => return,
                first = pool.get() => first,
            };
            // A caller that is gone needs no answer.
            let _ = answer.send(attempts(times, operation, &pool, limit, first, &arguments, work).await);
        });
        let lost =
            |_| Error::backend("mssql", operation, ErrorClass::Ambiguous, "the task of the operation ended early");
        outcome.await.map_err(lost)?
    }

    pub(super) fn close(&self) {
        self.connections.close();
    }
}

/// Does work with the first connection, and up to some times on others where the server rolled it back because of others,
/// or was gone before anything could be committed.
async fn attempts<A, T>(
    times: usize,
    operation: &'static str,
    pool: &managed::Pool<Manager>,
    limit: Duration,
    mut next: Result<Object<Manager>, PoolError<Error>>,
    arguments: &A,
    work: Work<A, T>,
) -> Result<T> {
    let start = Instant::now();
    let mut attempt = 1;
    loop {
        let mut connection = next.map_err(|error| unavailable(operation, error, pool))?;
        let left = limit.saturating_sub(start.elapsed());
        let error = match tokio::time::timeout(left, work(&mut connection, arguments)).await {
            Ok(Ok(done)) => {
                // Its statement would hold its locks while the connection waits in the pool.
                if !connection.clean {
                    drop(Object::take(connection));
                }
                return Ok(done);
            }
            Ok(Err(error)) => error,
            Err(_) => connection.timed_out(operation, limit),
        };
        drop(Object::take(connection));
        if matches!(error, Error::Backend { class: ErrorClass::Reconnect, .. }) {
            // What ended one connection has most likely ended those that were idle, so the next attempt gets a new one.
            pool.retain(|_, _| false);
        }
        if attempt == times || !error.is_retryable() || start.elapsed() > limit / 2 {
            return Err(error);
        }
        tracing::debug!(operation, attempt, error = %error.report(), "trying again");
        attempt += 1;
        next = pool.get().await;
    }
}

/// Says why the pool gave no connection.
fn unavailable(operation: &'static str, error: PoolError<Error>, pool: &managed::Pool<Manager>) -> Error {
    match error {
        PoolError::Backend(error) => error,
        PoolError::Closed => Error::Closed,
        PoolError::Timeout(TimeoutType::Wait) => {
            let most = pool.status().max_size;
            let reason = format!("all {most} connections stayed busy: raise pool_max, or ask less at a time");
            Error::backend("mssql", operation, ErrorClass::Retry, reason)
        }
        error => Error::backend("mssql", operation, ErrorClass::Reconnect, error.to_string()),
    }
}
