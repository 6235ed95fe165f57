//! Transactions of the caller's own.

use std::sync::Arc;

use async_trait::async_trait;

use super::append::{append_within, finish};
use super::convert::{self, Stage};
use super::pool::{Lease, Pool};
use crate::append::Appended;
use crate::backend::{BackendTransaction, Request};
use crate::error::Result;
use crate::position::LaneId;
use crate::sql::{Row, Statement, Value};

/// An open transaction; dropping it closes its connection, and the server rolls back.
pub(super) struct PgTransaction(Lease);

/// Begins a transaction.
pub(super) async fn begin(pool: &Arc<Pool>) -> Result<PgTransaction> {
    let mut lease = Pool::acquire(pool).await?;
    convert::batch(lease.connection(), "begin a transaction", Stage::Work, "BEGIN").await?;
    Ok(PgTransaction(lease))
}

#[async_trait]
impl BackendTransaction for PgTransaction {
    async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64> {
        let statement = Statement { operation: "execute", sql: sql.to_owned(), params: params.to_vec() };
        convert::execute(self.0.connection(), &statement).await
    }

    async fn select(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>> {
        let statement = Statement { operation: "select", sql: sql.to_owned(), params: params.to_vec() };
        convert::run(self.0.connection(), &statement).await
    }

    async fn append(&mut self, lane: LaneId, request: &Arc<Request>) -> Result<Result<Appended>> {
        append_within(self.0.connection(), lane, request).await
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        finish(self.0, "commit", "COMMIT", Stage::Commit).await
    }
}
