//! A member of a group, as the program sees it.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use tokio::sync::{Notify, oneshot};

use super::book::{Book, Handed, Outcome, Policy};
use super::driver::Driver;
use crate::error::{Error, Result};
use crate::event::RecordedEvent;
use crate::subscription::durable::Durable;

/// A member of a consumer group; see [`Store::group`](crate::Store::group). Tasks can share it: all methods take `&self`.
///
/// Dropping it is leaving without a word: what was acknowledged since the checkpoints were saved comes again to others,
/// at once if the database can be told, or else when the lease has ended.
#[derive(Debug)]
pub struct Member {
    shared: Arc<Shared>,
}

/// An event that was handed out, which is to be acknowledged or failed. The next one of its stream comes after that.
///
/// Dropping it gives it back: it comes again, and does not count as a failure, unless the thread panics.
pub struct Delivery {
    handed: Handed,
    /// `None` once it was reported.
    shared: Option<Arc<Shared>>,
}

/// What a member and its task share.
#[derive(Debug)]
pub(super) struct Shared {
    pub name: String,
    pub save_after: usize,
    state: Mutex<State>,
    /// Wakes those who wait for events.
    pub app: Notify,
    /// Wakes the task.
    pub driver: Notify,
}

#[derive(Debug)]
pub(super) struct State {
    pub book: Book,
    /// Until when the member is sure to be one.
    pub sure_until: Instant,
    /// What the next call of [`Member::next`] is to say.
    pub error: Option<Error>,
    pub wish: Wish,
    /// Who waits for a save.
    pub savers: Vec<oneshot::Sender<Result<()>>>,
}

/// What the member's task is to do.
#[derive(Debug, Default)]
pub(super) enum Wish {
    #[default]
    Work,
    Leave(oneshot::Sender<Result<()>>),
    /// The member was dropped.
    Drop,
    /// The task has ended.
    Ended,
}

impl Shared {
    pub(super) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reports what became of a delivery.
    fn report(&self, handed: &Handed, outcome: Outcome) -> Result<()> {
        let mut state = self.lock();
        let wakes = matches!(outcome, Outcome::Failed(_)) || !state.book.has_room();
        let held = state.book.report(handed, outcome);
        if wakes || state.book.urgent || state.book.finished >= self.save_after {
            self.driver.notify_one();
        }
        drop(state);
        self.app.notify_waiters();
        if held { Ok(()) } else { Err(Error::LeaseLost { name: self.name.clone() }) }
    }
}

impl Member {
    pub(super) async fn join(durable: Durable, policy: Policy) -> Result<Self> {
        let state = State {
            book: Book::new(policy),
            sure_until: Instant::now(),
            error: None,
            wish: Wish::Work,
            savers: Vec::new(),
        };
        let shared = Arc::new(Shared {
            name: durable.name.clone(),
            save_after: if durable.every.is_zero() { 1 } else { durable.after.max(1) },
            state: Mutex::new(state),
            app: Notify::new(),
            driver: Notify::new(),
        });
        let driver = Driver::join(Arc::clone(&shared), durable).await?;
        tokio::spawn(driver.run());
        Ok(Self { shared })
    }

    /// Returns the name of the group.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.shared.name
    }

    /// Returns how many shares of the group this member has at present.
    #[must_use]
    pub fn shares(&self) -> usize {
        self.shared.lock().book.shares.len()
    }

    /// Returns the next event of the member's shares, waiting until there is one, and until fewer events are handed out
    /// than may be at a time.
    ///
    /// An outage of the database is waited out. After another error the member goes on trying, and so can the caller.
    /// Cancel-safe.
    ///
    /// # Errors
    /// [`Error::SubscriptionNotFound`] where the group was deleted, [`Error::LogDiverged`] where the log is not the one that
    /// a checkpoint is of, [`Error::Gap`], [`Error::Closed`] where the store is closed or the member has left, and what
    /// the backend answers.
    pub async fn next(&self) -> Result<Delivery> {
        loop {
            let news = self.shared.app.notified();
            if let Some(found) = self.take() {
                return found;
            }
            news.await;
        }
    }

    /// Returns the next event of those that were read already; `None` where there is none at the moment.
    ///
    /// # Errors
    /// As [`Member::next`].
    pub fn try_next(&self) -> Result<Option<Delivery>> {
        self.take().transpose()
    }

    fn take(&self) -> Option<Result<Delivery>> {
        let mut state = self.shared.lock();
        if let Some(error) = state.error.take() {
            return Some(Err(error));
        }
        if !matches!(state.wish, Wish::Work) {
            return Some(Err(Error::Closed));
        }
        if Instant::now() >= state.sure_until {
            return None;
        }
        let handed = state.book.pop()?;
        Some(Ok(Delivery { handed, shared: Some(Arc::clone(&self.shared)) }))
    }

    /// Acknowledges an event: it was dealt with. It counts once the checkpoint is saved, see [`Member::save`].
    ///
    /// # Errors
    /// [`Error::LeaseLost`] where another member has taken the event's share over, which gets it too.
    pub fn ack(&self, delivery: Delivery) -> Result<()> {
        delivery.report(Outcome::Done)
    }

    /// Says that an event could not be dealt with, and why. It comes again after a while; its stream waits, the others go
    /// on. After the last attempt it becomes a dead letter.
    ///
    /// # Errors
    /// As [`Member::ack`].
    pub fn fail(&self, delivery: Delivery, reason: impl fmt::Display) -> Result<()> {
        delivery.report(Outcome::Failed(reason.to_string()))
    }

    /// Saves the checkpoints now, and the dead letters. That of a share stands before its first event that is not
    /// dealt with, that of the group at the least of its shares.
    ///
    /// # Errors
    /// [`Error::Closed`] where the store is closed or the member has left, and what the backend answers.
    pub async fn save(&self) -> Result<()> {
        let (saver, answer) = oneshot::channel();
        {
            let mut state = self.shared.lock();
            if !matches!(state.wish, Wish::Work) {
                return Err(Error::Closed);
            }
            state.savers.push(saver);
        }
        self.shared.driver.notify_one();
        answer.await.unwrap_or(Err(Error::Closed))
    }

    /// Saves the checkpoints and leaves the group, whose other members go on at once. Events that are handed out come to
    /// one of these again: acknowledge them before.
    ///
    /// # Errors
    /// What the backend answers; the others then go on when the lease has ended.
    pub async fn leave(self) -> Result<()> {
        let (wish, left) = oneshot::channel();
        {
            let mut state = self.shared.lock();
            if !matches!(state.wish, Wish::Work) {
                return Err(Error::Closed);
            }
            state.wish = Wish::Leave(wish);
        }
        self.shared.driver.notify_one();
        left.await.unwrap_or(Err(Error::Closed))
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        if matches!(state.wish, Wish::Work) {
            state.wish = Wish::Drop;
        }
        drop(state);
        self.shared.driver.notify_one();
    }
}

impl Delivery {
    /// Returns the event.
    #[must_use]
    pub const fn event(&self) -> &Arc<RecordedEvent> {
        &self.handed.event
    }

    /// Returns which attempt this is, from 1; a dead letter that is retried begins anew.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.handed.attempt
    }

    fn report(mut self, outcome: Outcome) -> Result<()> {
        self.shared.take().map_or(Ok(()), |shared| shared.report(&self.handed, outcome))
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        let Some(shared) = self.shared.take() else { return };
        let panicking = std::thread::panicking();
        let outcome = if panicking { Outcome::Failed("the handler panicked".into()) } else { Outcome::Returned };
        // Where the share is lost, there is nothing to give back.
        let _ = shared.report(&self.handed, outcome);
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Delivery")
            .field("event", &self.handed.event)
            .field("attempt", &self.handed.attempt)
            .finish_non_exhaustive()
    }
}
