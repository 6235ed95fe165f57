//! The faults of a transaction of the caller's own.

use std::sync::Arc;

use annals::backend::{Backend, BackendTransaction, Request};
use annals::{Appended, Error, LaneId, Result, Row, Value};
use async_trait::async_trait;

use super::backend::Saboteur;
use super::fault::Fault;
use super::moved;

/// An open transaction with the saboteur's fault. `None` while it is committed and begun anew.
struct Spoiled {
    backend: Arc<dyn Backend>,
    fault: Fault,
    open: Option<Box<dyn BackendTransaction>>,
}

/// Begins a transaction.
pub async fn begin(saboteur: &Saboteur) -> Result<Box<dyn BackendTransaction>> {
    let open = Some(saboteur.inner.begin().await?);
    Ok(Box::new(Spoiled { backend: Arc::clone(&saboteur.inner), fault: saboteur.fault, open }))
}

impl Spoiled {
    fn open(&mut self) -> Result<&mut Box<dyn BackendTransaction>> {
        self.open.as_mut().ok_or(Error::Closed)
    }

    /// Commits what was done so far, and goes on in another transaction.
    async fn split(&mut self) -> Result<()> {
        self.open.take().ok_or(Error::Closed)?.commit().await?;
        self.open = Some(self.backend.begin().await?);
        Ok(())
    }
}

#[async_trait]
impl BackendTransaction for Spoiled {
    async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64> {
        match self.fault {
            Fault::ForgetsDeletes if sql.starts_with("DELETE") => return Ok(1),
            Fault::KeepsDeadMembers if sql.starts_with("DELETE FROM subscription_members") && sql.contains("seen") => {
                return Ok(0);
            }
            Fault::LosesDeadLetters if sql.starts_with("INSERT INTO dead_letters") => return Ok(1),
            Fault::ForgetsToRetry if sql.starts_with("UPDATE dead_letters SET due_at = annals_now()") => return Ok(1),
            Fault::SavesWhatIsLost if sql.starts_with("UPDATE subscription_shares SET position") => {
                return self.open()?.execute(&without_owner(sql), params).await;
            }
            Fault::TakesHeldLeases if sql.starts_with("UPDATE subscriptions SET lease_owner = ?") => {
                let sql = sql.replace("(lease_owner IS NULL OR", "(1 = 1 OR lease_owner IS NULL OR");
                return self.open()?.execute(&sql, params).await;
            }
            _ => {}
        }
        let changed = self.open()?.execute(sql, params).await?;
        let is_own = sql.contains(" subscriptions ");
        let is_checkpoint = sql.starts_with("UPDATE subscriptions SET position");
        match self.fault {
            Fault::SavesCheckpointsEarly if is_checkpoint => self.split().await?,
            Fault::CommitsEachStatement if !is_own => self.split().await?,
            Fault::CountsRowsThatStay => return Ok(changed.max(1)),
            _ => {}
        }
        Ok(changed)
    }

    async fn select(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>> {
        self.open()?.select(sql, params).await
    }

    async fn append(&mut self, lane: LaneId, request: &Arc<Request>) -> Result<Result<Appended>> {
        let mut request = Arc::clone(request);
        if self.fault == Fault::ForgetsCommandsOfTransactions {
            request = Arc::new(Request { command: None, ..Request::clone(&request) });
        }
        if self.fault == Fault::IgnoresHolds {
            return moved::append(&mut **self.open()?, lane, &request).await;
        }
        let answer = self.open()?.append(lane, &request).await?;
        if self.fault == Fault::CommitsAppendsAtOnce {
            self.split().await?;
        }
        Ok(answer)
    }

    async fn commit(mut self: Box<Self>) -> Result<()> {
        self.open.take().ok_or(Error::Closed)?.commit().await
    }
}

/// Takes the condition that the share is the member's out of a statement.
fn without_owner(sql: &str) -> String {
    let (before, after) = sql.split_once("lease_owner = ?").unwrap();
    let digits = after.chars().take_while(char::is_ascii_digit).count();
    format!("{before}?{0} = ?{0}{1}", &after[..digits], &after[digits..])
}
