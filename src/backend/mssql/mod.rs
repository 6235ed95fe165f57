//! Microsoft SQL Server, over TDS.
//!
//! # What a reader sees
//!
//! Appends of a lane are made one after the other under the lane's lock, so positions are committed in their order. A
//! read first takes the head, and then the events up to it, each in a statement of its own.
//!
//! Where the database keeps row versions (`READ_COMMITTED_SNAPSHOT` on, which is recommended, and Babelfish), a statement
//! sees what was committed when it began. The head is then the last position of a whole request, and the later
//! statement sees all that stands at or below it. Nobody waits.
//!
//! Where it does not (locking READ COMMITTED), a scan waits at each row that is locked and goes on from there, so one
//! result can stem from several moments. A scan forward that meets an append under way waits at its first row, and then
//! goes through the rest: it skips nothing, because the keys of a lane grow. A scan backward, as the look for the head is,
//! waits at the newest row that it finds, and does not see what the same append adds behind it meanwhile: the head would
//! lie in the midst of a request. So the head is taken while the lane's row is locked for sharing, when no append is under
//! way: it is the last position of a whole request, and all at or below it is committed and stays as it is. The lock is
//! asked for with HOLDLOCK, because READ COMMITTED alone leaves out the lock of a row on a page that nobody changed, and
//! an append leaves the lane's row as it is. The scan for the events is bounded by the head, so it meets no row that is
//! not committed, in no index, and waits for nobody. Appends wait for such a reader as long as it takes to seek one key.

mod append;
mod bulk;
mod connect;
mod convert;
mod fast;
mod insert;
#[cfg(test)]
mod parsed;
mod pool;
mod session;
mod transaction;

use std::sync::Arc;

use async_trait::async_trait;

use super::engine::Engine;
use super::{BackendTransaction, Capabilities, Request, Session};
use crate::append::Appended;
use crate::error::{Error, ErrorClass, Result};
use crate::event::RecordedEvent;
use crate::position::{LaneId, Position};
use crate::read::page_end;
use crate::sql::{Dialect, FromRow, Statement};
use append::decoded;
use connect::Server;
pub(crate) use connect::connect;
use convert::{MssqlRow, renumbered};
use pool::Pool;
use session::MssqlSession;

/// An open SQL Server database.
#[derive(Debug)]
pub(crate) struct Mssql {
    pool: Pool,
    server: Server,
}

#[async_trait]
impl Engine for Mssql {
    const DIALECT: Dialect = Dialect::Mssql;

    /// Names are in the order of UTF-16, which differs from that of bytes beyond the basic multilingual plane. Babelfish
    /// leaves escapes in the values that it takes out of JSON.
    fn capabilities(&self) -> Capabilities {
        Capabilities::none()
            .with_durable(true)
            .with_processes(true)
            .with_sql(Dialect::Mssql)
            .with_json_filters(!self.server.babelfish)
            .with_server_clock(true)
            .with_kill(self.server.kill)
    }

    async fn fetch<T: FromRow>(&self, statement: Statement) -> Result<Vec<T>> {
        self.pool
            .run(statement.operation, statement, |connection, statement| {
                Box::pin(async move { decoded(&mut connection.query(statement).await?.into_iter()) })
            })
            .await
    }

    async fn page(&self, head: Statement, events: Statement, _rows: usize) -> Result<(Position, Vec<RecordedEvent>)> {
        self.pool
            .run(events.operation, (head, events), |connection, (head, events)| {
                Box::pin(async move {
                    let call = page(head, events, connection.server().row_versions);
                    let (mut head, mut events, mut is_full) = (None, Vec::new(), false);
                    let (mut is_last, mut is_too_much) = (page_end(), page_end());
                    let take = |result: usize, row: &tiberius::Row| {
                        let row = MssqlRow(row);
                        if result == 0 {
                            head = Some(i64::from_row(&row)?);
                            return Ok(false);
                        }
                        let event = RecordedEvent::from_row(&row)?;
                        if is_full {
                            return Ok(is_too_much(&event));
                        }
                        is_full = is_last(&event);
                        events.push(event);
                        Ok(false)
                    };
                    connection.query_until(&call, take).await?;
                    Ok((Position::new(head.unwrap_or_default()), events))
                })
            })
            .await
    }

    async fn write(&self, lane: LaneId, statements: Vec<Statement>) -> Result<Vec<u64>> {
        let operation = statements.first().map_or("write", |statement| statement.operation);
        self.pool
            .run(operation, (lane, statements), |connection, (lane, statements)| {
                Box::pin(append::write(connection, *lane, statements))
            })
            .await
    }

    async fn commit(&self, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>> {
        if let [request] = batch {
            let request = Arc::clone(request);
            let outcome = self
                .pool
                .run_once("append", (lane, request), |connection, (lane, request)| {
                    Box::pin(fast::append(connection, *lane, request))
                })
                .await;
            match outcome {
                Ok(Some(appended)) => return Ok(vec![Ok(appended)]),
                // Nothing was stored: the rules say why, or find that it is right by now.
                Ok(None) | Err(Error::Backend { class: ErrorClass::Conflict, .. }) => {}
                Err(error) => return Err(error),
            }
        }
        self.pool
            .run_once("append", (lane, batch.to_vec()), |connection, (lane, batch)| {
                Box::pin(append::decide_and_store(connection, *lane, batch))
            })
            .await
    }

    async fn create_topic(&self, name: &str, partitions: u16) -> Result<()> {
        self.pool
            .run("create a topic", (name.to_owned(), partitions), |connection, (name, partitions)| {
                Box::pin(append::create_topic(connection, name, *partitions))
            })
            .await
    }

    async fn restore(&self, lane: LaneId, events: &[RecordedEvent]) -> Result<Position> {
        let restored = self
            .pool
            .run("restore", (lane, events.to_vec()), |connection, (lane, events)| {
                Box::pin(append::restore(connection, *lane, events))
            })
            .await;
        match restored {
            Err(error) if events.len() > insert::ROWS && convert::load_was_misread(&error) => {
                let (first, second) = events.split_at(events.len() / 2);
                self.restore(lane, first).await?;
                self.restore(lane, second).await
            }
            restored => restored,
        }
    }

    async fn begin(&self) -> Result<Box<dyn BackendTransaction>> {
        Ok(Box::new(transaction::begin(&self.pool).await?))
    }

    async fn session(&self) -> Result<Box<dyn Session>> {
        Ok(Box::new(MssqlSession::new(self.pool.open().await?)))
    }

    async fn close(&self) {
        self.pool.close();
    }
}

/// Writes the call that reads the head and then a page, which is bounded by the head; see the module's documentation.
fn page(head: &Statement, events: &Statement, row_versions: bool) -> Statement {
    let Statement { operation, sql, mut params } = events.clone();
    let head_sql = renumbered(&head.sql, params.len());
    let lane = params.len() + 1;
    params.extend(head.params.iter().cloned());
    let sql = if row_versions {
        format!("DECLARE @head bigint = ({head_sql});\nSELECT @head;\n{sql}")
    } else {
        format!(
            "DECLARE @head bigint;\nBEGIN TRANSACTION;\n\
             SELECT @head = floor FROM {{s}}lanes WITH (ROWLOCK, HOLDLOCK) WHERE lane_id = @P{lane};\n\
             SET @head = ({head_sql});\nCOMMIT TRANSACTION;\nSELECT @head;\n{sql}"
        )
    };
    Statement { operation, sql, params }
}
