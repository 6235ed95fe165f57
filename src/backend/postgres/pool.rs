//! A bounded number of connections, opened when they are needed and kept while they are sound.
//!
//! The driver's own pool asks the server for a sign of life after each use, which would double the round trips of an
//! append, and it hides why a connection was refused until its time-out. A lease goes back only when its holder says
//! that all went well: one that is dropped on the way closes its connection.

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use sqlx::Connection as _;
use sqlx::postgres::PgConnection;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::connect::{Connector, Purpose};
use crate::error::{Error, ErrorClass, Result};

/// A connection that was idle for longer is asked for a sign of life before it is used.
const TRUSTED: Duration = Duration::from_secs(1);
/// A connection plans its statements anew when the log is so many times as long as when it planned them. A plan that was
/// made for an almost empty table may walk the wrong index: they all begin with the lane, and cost the same there.
const GROWTH: i64 = 4;
/// Events that cost little to walk over, whatever the plan.
const FEW_EVENTS: i64 = 64;

/// The connections of a store.
#[derive(Debug)]
pub(super) struct Pool {
    pub(super) connector: Connector,
    idle: Mutex<Vec<Known>>,
    permits: Arc<Semaphore>,
    wait: Duration,
    /// The last position that was seen in any lane.
    head: AtomicI64,
}

/// A connection with what is known of it.
#[derive(Debug)]
struct Known {
    connection: PgConnection,
    /// When it last answered; `None` where a sibling was lost since.
    answered: Option<Instant>,
    /// The last position when its statements were planned.
    planned_at: i64,
}

/// A connection in use; dropping it on the way closes it.
#[derive(Debug)]
pub(super) struct Lease {
    known: Known,
    trust: Trust,
    _permit: OwnedSemaphorePermit,
}

/// Loses the trust in the idle connections when a lease ends badly.
#[derive(Debug)]
struct Trust {
    pool: Arc<Pool>,
    kept: bool,
}

impl Drop for Trust {
    fn drop(&mut self) {
        if !self.kept {
            self.pool.distrust();
        }
    }
}

impl Pool {
    pub(super) fn new(connector: Connector, most: usize, wait: Duration) -> Arc<Self> {
        let permits = Arc::new(Semaphore::new(most));
        Arc::new(Self { connector, idle: Mutex::new(Vec::new()), permits, wait, head: AtomicI64::new(0) })
    }

    /// Returns a connection: an idle one that still lives, or a new one.
    pub(super) async fn acquire(pool: &Arc<Self>) -> Result<Lease> {
        let waited = tokio::time::timeout(pool.wait, Arc::clone(&pool.permits).acquire_owned()).await;
        let permit = waited.map_err(|_| pool.exhausted())?.map_err(|_| Error::Closed)?;
        let head = pool.head.load(Ordering::Relaxed);
        let mut known = None;
        while known.is_none()
            && let Some(idle) = pool.pop()
        {
            known = idle.checked(head, pool.wait).await;
        }
        let known = if let Some(known) = known {
            known
        } else {
            let connection = pool.connector.open(Purpose::Store).await?;
            Known { connection, answered: Some(Instant::now()), planned_at: head }
        };
        Ok(Lease { known, trust: Trust { pool: Arc::clone(pool), kept: false }, _permit: permit })
    }

    fn exhausted(&self) -> Error {
        let waited = self.wait.as_millis();
        let reason = format!("no connection became free within {waited} ms: raise pool_max, or slow down");
        Error::backend("postgres", "connect", ErrorClass::Retry, reason)
    }

    /// Notes how long the log is.
    pub(super) fn observe(&self, position: i64) {
        self.head.fetch_max(position, Ordering::Relaxed);
    }

    fn pop(&self) -> Option<Known> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    fn keep(&self, known: Known) {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(known);
    }

    /// Has every idle connection asked for a sign of life before its next use: what one was lost to may have taken them
    /// all.
    fn distrust(&self) {
        for known in self.idle.lock().unwrap_or_else(PoisonError::into_inner).iter_mut() {
            known.answered = None;
        }
    }

    /// Gives out no more connections, and closes those that are idle.
    pub(super) async fn close(&self) {
        self.permits.close();
        while let Some(Known { connection, .. }) = self.pop() {
            if let Err(error) = connection.close().await {
                tracing::debug!(%error, "closing a connection");
            }
        }
    }
}

impl Known {
    /// Returns the connection if it can be used, after a sign of life where it was idle for long, and without its plans
    /// where the log has outgrown them.
    async fn checked(mut self, head: i64, wait: Duration) -> Option<Self> {
        let outgrown = head > self.planned_at.max(FEW_EVENTS) * GROWTH;
        if !outgrown && self.answered.is_some_and(|at| at.elapsed() < TRUSTED) {
            return Some(self);
        }
        let answer = async {
            if outgrown {
                self.planned_at = head;
                sqlx::raw_sql("DISCARD PLANS").execute(&mut self.connection).await.map(drop)
            } else {
                self.connection.ping().await
            }
        };
        match tokio::time::timeout(wait, answer).await {
            Ok(Ok(())) => Some(self),
            lost => {
                tracing::debug!(?lost, "an idle connection is lost");
                None
            }
        }
    }
}

impl Lease {
    pub(super) const fn connection(&mut self) -> &mut PgConnection {
        &mut self.known.connection
    }

    /// Closes the connection, which is sound.
    pub(super) fn close(mut self) {
        self.trust.kept = true;
    }

    /// Gives the connection back; it must be in no transaction, and have read all answers.
    pub(super) fn release(mut self) {
        self.trust.kept = true;
        let pool = &self.trust.pool;
        if !pool.permits.is_closed() {
            pool.keep(Known { answered: Some(Instant::now()), ..self.known });
        }
    }
}
