//! Waking those who follow a lane from other processes: NOTIFY, as a hint.
//!
//! A NOTIFY takes a lock of the whole cluster when it commits, so it is no part of an append: a task sends it afterwards,
//! one for all that was committed meanwhile, and rarely when there is much. Nothing depends on it: who follows a lane also
//! looks for himself, so a notification that is lost costs some time and no event.

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use sqlx::postgres::{PgListener, PgPoolOptions};
use tokio::sync::Notify;
use tokio::task::AbortHandle;
use uuid::Uuid;

use super::connect::Connector;
use super::convert::{self, Stage};
use super::pool::Pool;
use crate::error::Result;
use crate::position::LaneId;

/// The channel; its payload is a lane's id and who tells. Another schema's lanes may have the same ids, which wakes somebody
/// in vain.
const CHANNEL: &str = "annals";
/// The shortest time between two notifications of a process.
const PAUSE: Duration = Duration::from_millis(5);
/// The pause before a lost listener connects again.
const AGAIN: Duration = Duration::from_secs(1);

/// Sends and hears notifications. Its tasks begin when they are first needed, and end with it.
#[derive(Debug)]
pub(super) struct Notifier {
    /// The name under which it tells others, so that it knows its own notifications, which are no news to it.
    origin: Uuid,
    committed: Mutex<BTreeSet<LaneId>>,
    wake: Arc<Notify>,
    listening: Mutex<HashMap<LaneId, Arc<Notify>>>,
    tasks: Mutex<Tasks>,
}

#[derive(Debug, Default)]
struct Tasks {
    sender: Option<AbortHandle>,
    listener: Option<AbortHandle>,
    closed: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Drop for Notifier {
    fn drop(&mut self) {
        self.close();
    }
}

impl Default for Notifier {
    fn default() -> Self {
        let (committed, wake, listening, tasks) = Default::default();
        Self { origin: Uuid::new_v4(), committed, wake, listening, tasks }
    }
}

impl Notifier {
    /// Tells others, soon, that a lane goes on.
    pub(super) fn committed(self: &Arc<Self>, pool: &Arc<Pool>, lane: LaneId) {
        lock(&self.committed).insert(lane);
        let mut tasks = lock(&self.tasks);
        if tasks.sender.is_none() && !tasks.closed {
            let sender = tokio::spawn(send(Arc::downgrade(self), Arc::downgrade(pool), Arc::clone(&self.wake)));
            tasks.sender = Some(sender.abort_handle());
        }
        drop(tasks);
        self.wake.notify_one();
    }

    /// Returns once another process may have told that a lane goes on.
    pub(super) async fn heard(self: &Arc<Self>, pool: &Arc<Pool>, lane: LaneId) {
        let news = Arc::clone(lock(&self.listening).entry(lane).or_default());
        {
            let mut tasks = lock(&self.tasks);
            if tasks.listener.is_none() && !tasks.closed {
                let listener = tokio::spawn(listen(Arc::downgrade(self), Arc::downgrade(pool)));
                tasks.listener = Some(listener.abort_handle());
            }
        }
        news.notified().await;
    }

    /// Ends the tasks.
    pub(super) fn close(&self) {
        let mut tasks = lock(&self.tasks);
        tasks.closed = true;
        for task in [tasks.sender.take(), tasks.listener.take()].into_iter().flatten() {
            task.abort();
        }
    }

    fn tell(&self, lane: Option<LaneId>) {
        for (known, news) in lock(&self.listening).iter() {
            if lane.is_none_or(|lane| lane == *known) {
                news.notify_one();
            }
        }
    }
}

async fn send(notifier: Weak<Notifier>, pool: Weak<Pool>, wake: Arc<Notify>) {
    loop {
        wake.notified().await;
        let (Some(notifier), Some(pool)) = (notifier.upgrade(), pool.upgrade()) else { return };
        let lanes = std::mem::take(&mut *lock(&notifier.committed));
        if let Err(error) = notify(&pool, notifier.origin, &lanes).await {
            tracing::debug!(error = %error.report(), "others were not notified: they look for themselves");
        }
        drop((notifier, pool));
        tokio::time::sleep(PAUSE).await;
    }
}

/// Notifies without waiting for the disk, as there is nothing to keep.
async fn notify(pool: &Arc<Pool>, origin: Uuid, lanes: &BTreeSet<LaneId>) -> Result<()> {
    let call = |lane| format!("SELECT pg_notify('{CHANNEL}', '{lane} {origin}')");
    let calls: Vec<String> = lanes.iter().map(call).collect();
    let sql = format!("BEGIN; SET LOCAL synchronous_commit = off; {}; COMMIT", calls.join("; "));
    let mut lease = Pool::acquire(pool).await?;
    convert::batch(lease.connection(), "notify", Stage::Work, &sql).await?;
    lease.release();
    Ok(())
}

async fn listen(notifier: Weak<Notifier>, pool: Weak<Pool>) {
    loop {
        let Some(connector) = pool.upgrade().map(|pool| pool.connector.clone()) else { return };
        if let Err(error) = hear(&notifier, &connector).await {
            tracing::debug!(%error, "notifications can't be heard: the database is looked at instead");
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// Hears notifications until the connection is lost.
async fn hear(notifier: &Weak<Notifier>, connector: &Connector) -> sqlx::Result<()> {
    let mut outcome = Ok(());
    for host in connector.hosts() {
        let options = PgPoolOptions::new().max_connections(1).acquire_timeout(connector.connect_timeout);
        let heard = async {
            let mut listener = PgListener::connect_with(&options.connect_lazy_with(host.clone())).await?;
            listener.listen(CHANNEL).await?;
            // What was told before is seen by looking now.
            loop {
                let Some(alive) = notifier.upgrade() else { return Ok(()) };
                alive.tell(None);
                drop(alive);
                while let Some(notification) = listener.try_recv().await? {
                    let (lane, origin) = notification.payload().split_once(' ').unwrap_or_default();
                    let Some(alive) = notifier.upgrade() else { return Ok(()) };
                    if origin.parse() != Ok(alive.origin) {
                        alive.tell(lane.parse().ok().map(LaneId::new));
                    }
                }
            }
        };
        outcome = heard.await;
    }
    outcome
}
