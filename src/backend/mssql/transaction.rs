//! Transactions of the caller's own.

use std::sync::Arc;

use async_trait::async_trait;
use deadpool::managed::Object;

use super::append::{append_within, decoded};
use super::pool::{Connection, Manager, Pool};
use crate::append::Appended;
use crate::backend::{BackendTransaction, Request};
use crate::error::{Error, Result};
use crate::position::LaneId;
use crate::sql::{Row, Statement, Value};

/// An open transaction; dropping it closes its connection, and the server rolls back. `None` once it is committed.
pub(super) struct MssqlTransaction(Option<Object<Manager>>);

impl Drop for MssqlTransaction {
    fn drop(&mut self) {
        drop(self.0.take().map(Object::take));
    }
}

/// Begins a transaction.
pub(super) async fn begin(pool: &Pool) -> Result<MssqlTransaction> {
    let mut transaction = MssqlTransaction(Some(pool.take("begin a transaction").await?));
    transaction.connection()?.batch("begin a transaction", "BEGIN TRANSACTION").await?;
    Ok(transaction)
}

impl MssqlTransaction {
    fn connection(&mut self) -> Result<&mut Connection> {
        self.0.as_deref_mut().ok_or(Error::Closed)
    }
}

#[async_trait]
impl BackendTransaction for MssqlTransaction {
    async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64> {
        let sql = format!("{sql};\nSELECT CAST(@@ROWCOUNT AS bigint)");
        let statement = Statement { operation: "execute", sql, params: params.to_vec() };
        let mut results = self.connection()?.query(&statement).await?;
        let last = results.pop().into_iter();
        let changed: Option<i64> = decoded(&mut last.into_iter())?.pop();
        Ok(changed.and_then(|rows| rows.try_into().ok()).unwrap_or_default())
    }

    async fn select(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>> {
        let statement = Statement { operation: "select", sql: sql.to_owned(), params: params.to_vec() };
        decoded(&mut self.connection()?.query(&statement).await?.into_iter())
    }

    async fn append(&mut self, lane: LaneId, request: &Arc<Request>) -> Result<Result<Appended>> {
        append_within(self.connection()?, lane, request).await
    }

    async fn commit(mut self: Box<Self>) -> Result<()> {
        self.connection()?.commit("commit").await?;
        // Back into the pool.
        drop(self.0.take());
        Ok(())
    }
}
