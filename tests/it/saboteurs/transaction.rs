//! The faults of what is written in a transaction of the store's own: what members of groups keep in the tables.

use std::sync::Arc;

use annals::backend::{BackendTransaction, Request};
use annals::{Appended, LaneId, Result, Row, Value};
use async_trait::async_trait;

use super::fault::Fault;

/// A transaction with a fault.
pub struct Spoiled {
    pub inner: Box<dyn BackendTransaction>,
    pub fault: Fault,
}

#[async_trait]
impl BackendTransaction for Spoiled {
    async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64> {
        match self.fault {
            Fault::KeepsDeadMembers if sql.starts_with("DELETE FROM subscription_members") && sql.contains("seen") => {
                Ok(0)
            }
            Fault::LosesDeadLetters if sql.starts_with("INSERT INTO dead_letters") => Ok(1),
            Fault::ForgetsToRetry if sql.starts_with("UPDATE dead_letters SET due_at = annals_now()") => Ok(1),
            Fault::SavesWhatIsLost if sql.starts_with("UPDATE subscription_shares SET position") => {
                self.inner.execute(&without_owner(sql), params).await
            }
            _ => self.inner.execute(sql, params).await,
        }
    }

    async fn select(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>> {
        self.inner.select(sql, params).await
    }

    async fn append(&mut self, lane: LaneId, request: &Arc<Request>) -> Result<Result<Appended>> {
        self.inner.append(lane, request).await
    }

    async fn commit(self: Box<Self>) -> Result<()> {
        self.inner.commit().await
    }
}

/// Takes the condition that the share is the member's out of a statement.
fn without_owner(sql: &str) -> String {
    let (before, after) = sql.split_once("lease_owner = ?").unwrap();
    let digits = after.chars().take_while(char::is_ascii_digit).count();
    format!("{before}?{0} = ?{0}{1}", &after[..digits], &after[digits..])
}
