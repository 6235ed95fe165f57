//! Transactions of the caller's own.

use std::sync::Arc;

use async_trait::async_trait;

use super::append::{append_within, finish};
use super::connect::{Postgres, begin_text, own_plans_text};
use super::convert::{self, Stage};
use super::notify::Notifier;
use super::pool::{Lease, Pool};
use crate::append::Appended;
use crate::backend::{BackendTransaction, Request};
use crate::error::Result;
use crate::position::LaneId;
use crate::sql::{Row, Statement, Value};

/// An open transaction; dropping it closes its connection, and the server rolls back.
pub(super) struct PgTransaction {
    lease: Lease,
    pool: Arc<Pool>,
    notifier: Arc<Notifier>,
    /// The lanes that were written.
    lanes: Vec<LaneId>,
}

/// Begins a transaction.
pub(super) async fn begin(postgres: &Postgres) -> Result<PgTransaction> {
    let (pool, notifier) = (Arc::clone(&postgres.pool), Arc::clone(&postgres.notifier));
    let mut lease = Pool::acquire(&pool).await?;
    convert::batch(lease.connection(), "begin a transaction", Stage::Work, &begin_text()).await?;
    Ok(PgTransaction { lease, pool, notifier, lanes: Vec::new() })
}

impl PgTransaction {
    pub(super) async fn rows(&mut self, statement: Statement) -> Result<Vec<Row>> {
        convert::run(self.lease.connection(), &keyed(statement)).await
    }

    pub(super) async fn end(self) -> Result<()> {
        finish(self.lease, "commit", "COMMIT", Stage::Commit).await?;
        for lane in self.lanes {
            self.notifier.committed(&self.pool, lane);
        }
        Ok(())
    }
}

#[async_trait]
impl BackendTransaction for PgTransaction {
    async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64> {
        let statement = Statement { operation: "execute", sql: sql.to_owned(), params: params.to_vec() };
        convert::execute(self.lease.connection(), &keyed(statement)).await
    }

    async fn select(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>> {
        self.rows(Statement { operation: "select", sql: sql.to_owned(), params: params.to_vec() }).await
    }

    async fn append(&mut self, lane: LaneId, request: &Arc<Request>) -> Result<Result<Appended>> {
        convert::batch(self.lease.connection(), "append", Stage::Work, &own_plans_text()).await?;
        let answer = append_within(self.lease.connection(), lane, request).await?;
        self.lanes.push(lane);
        Ok(answer)
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        self.end().await
    }
}

/// Marks a statement with the types of its parameters: the driver keeps statements prepared by their text
/// alone, and would send a number as the type that the same text had before.
fn keyed(mut statement: Statement) -> Statement {
    statement.sql.push_str("\n/* ");
    for value in &statement.params {
        statement.sql.push_str(match value {
            Value::Bool(_) => "b",
            Value::I32(_) => "4",
            Value::I64(_) => "8",
            Value::F64(_) => "f",
            Value::Text(_) => "t",
            Value::Json(_) => "j",
            Value::Uuid(_) => "u",
            Value::Time(_) => "z",
            Value::Bytes(_) => "y",
        });
    }
    statement.sql.push_str(" */");
    statement
}
