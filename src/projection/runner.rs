//! The runner of a projection: batches of events, each applied in the transaction that moves the checkpoint.
//!
//! The transaction moves the checkpoint first, from where the runner knows it to stand, while it holds the lease. That
//! locks the row, and finds nothing to move where another runner was here meanwhile: so a runner that was paused, for
//! however long, can't apply anything twice.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Identity, Marker, Projection};
use crate::error::{Error, ErrorClass, Result};
use crate::event::RecordedEvent;
use crate::position::{LaneId, Position};
use crate::sql::subscriptions::{self, SubscriptionRow};
use crate::store::Store;
use crate::subscription::lease::{self, Lease};
use crate::subscription::{Mark, Subscription, rows};

/// How long a lease holds unless it is renewed.
const LEASE: Duration = Duration::from_secs(10);
/// Events that are applied in one transaction, at most.
const BATCH: usize = 500;
/// How long a checkpoint waits while nothing answers the query.
const SAVE_EVERY: Duration = Duration::from_secs(1);
/// How often a batch is tried again where the database says that this may help, and the first pause between.
const ATTEMPTS: u32 = 5;
const PAUSE: Duration = Duration::from_millis(50);

/// How far catching up, or a rebuild, has come; lanes are counted together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct ProjectionProgress {
    /// Events that were applied since the call.
    pub events: u64,
    /// The position that was reached.
    pub position: i64,
    /// The position that the log ended with at the time of the call, and that is to be reached.
    pub head: i64,
    /// The time since the call.
    pub elapsed: Duration,
}

impl ProjectionProgress {
    /// Returns the events that were applied in a second.
    #[must_use]
    #[allow(clippy::cast_precision_loss)] // A rate is for the eye.
    pub fn rate(&self) -> f64 {
        self.events as f64 / self.elapsed.as_secs_f64().max(1e-6)
    }
}

/// Is told of the progress.
type OnProgress = Box<dyn FnMut(&ProjectionProgress) + Send>;

/// Runs a projection; see [`Store::project`].
///
/// It holds the projection's lease from its first call until it is dropped, so that one process at a time runs it. After
/// an error it can be called again, and goes on from the checkpoint.
pub struct Projector<P> {
    pub(super) store: Store,
    pub(super) projection: P,
    batch: usize,
    lease_time: Duration,
    on_progress: Option<OnProgress>,
    pub(super) lease: Option<Lease>,
    /// Where it stands; `None` while a batch is applied, and after one was abandoned.
    pub(super) place: Option<Place>,
    /// Events that were applied since the last call.
    events: u64,
}

/// What a step does.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Applies what is there.
    Catch,
    /// Applies what comes.
    Wait,
    /// Takes over from the version before.
    TakeOver,
    /// Goes back to before the first event.
    Reset,
}

impl<P: Projection> std::fmt::Debug for Projector<P> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Projector").field("store", &self.store).field("place", &self.place).finish_non_exhaustive()
    }
}

/// Where a projection stands.
#[derive(Debug)]
pub(super) struct Place {
    pub(super) identity: Identity,
    subscription: Subscription,
    /// The checkpoint, in each lane.
    pub(super) saved: Vec<Position>,
    pub(super) is_active: bool,
}

/// A lane whose checkpoint moves, from a position to another.
pub(super) type Move = (LaneId, (Position, Position));

impl Place {
    /// Takes the events of a batch; those that are there, or, where it is to wait, those that come within some time.
    async fn gather(&mut self, batch: usize, wait: Option<&Lease>) -> Result<Vec<Arc<RecordedEvent>>> {
        let first = match wait {
            None => self.subscription.try_next().await?,
            Some(lease) => tokio::select! {
                biased;
                event = self.subscription.next() => Some(event?),
                error = lease.lost() => return Err(error),
                () = tokio::time::sleep(SAVE_EVERY) => None,
            },
        };
        let mut events = Vec::from_iter(first);
        while !events.is_empty() && events.len() < batch {
            let Some(event) = self.subscription.advance().await? else { break };
            events.push(event);
        }
        Ok(events)
    }

    /// Returns the lanes in which the checkpoint is to move.
    fn moved(&mut self, lanes: &[LaneId]) -> Vec<Move> {
        let moves = self.saved.iter().copied().zip(self.subscription.positions());
        lanes.iter().copied().zip(moves).filter(|(_, (from, to))| to > from).collect()
    }
}

impl<P: Projection> Projector<P> {
    pub(super) fn new(store: Store, projection: P) -> Self {
        Self {
            store,
            projection,
            batch: BATCH,
            lease_time: LEASE,
            on_progress: None,
            lease: None,
            place: None,
            events: 0,
        }
    }

    /// Sets how many events are applied in one transaction at most, from 1; 500 without this. When the projection is live,
    /// each transaction applies what has come.
    #[must_use]
    pub const fn batch(mut self, events: usize) -> Self {
        self.batch = events;
        self
    }

    /// Sets how long the lease holds unless it is renewed, from 100 ms to an hour; 10 s without this.
    #[must_use]
    pub const fn lease(mut self, time: Duration) -> Self {
        self.lease_time = time;
        self
    }

    /// Has a function told of the progress after each batch of [`Projector::catch_up`] and [`Projector::rebuild`].
    #[must_use]
    pub fn on_progress(mut self, progress: impl FnMut(&ProjectionProgress) + Send + 'static) -> Self {
        self.on_progress = Some(Box::new(progress));
        self
    }

    /// Returns the projection.
    #[must_use]
    pub fn into_projection(self) -> P {
        self.projection
    }

    /// Applies what is there, takes over from the version before, and goes on with what comes, until there is an error or
    /// the future is dropped. Waits while another process holds the lease.
    ///
    /// Cancel-safe: a batch takes effect whole or not at all. What the database answers once and may not a second time,
    /// such as a deadlock, is tried again some times.
    ///
    /// # Errors
    /// [`Error::Projection`] where the projection fails, [`Error::ProjectionSuperseded`] where a newer version has taken
    /// over, [`Error::LeaseLost`], [`Error::FilterChanged`] where the same version had another query,
    /// [`Error::LogDiverged`], [`Error::Invalid`], [`Error::Unsupported`] where the backend knows no SQL, and what it
    /// answers.
    pub async fn run(&mut self) -> Result<()> {
        self.catch_up().await?;
        loop {
            self.step(Step::Wait).await?;
        }
    }

    /// Applies what is there at the time of the call, and takes over from the version before, if that is still active.
    ///
    /// Cancel-safe, as [`Projector::run`].
    ///
    /// # Errors
    /// As [`Projector::run`].
    pub async fn catch_up(&mut self) -> Result<()> {
        self.catch_up_from(Instant::now()).await
    }

    /// Empties the read model, and builds it again from the first event to what is there at the time of the call. Meanwhile
    /// readers see it incomplete; a new version, which is built beside it, spares them that.
    ///
    /// Where the future is dropped, or the process killed, the next call of any kind goes on.
    ///
    /// # Errors
    /// As [`Projector::run`].
    pub async fn rebuild(&mut self) -> Result<()> {
        let start = Instant::now();
        while !self.step(Step::Reset).await? {}
        self.catch_up_from(start).await
    }

    /// Gives the lease back, so that another process can go on at once. Dropping the runner does so too, a moment later.
    ///
    /// # Errors
    /// What the backend answers.
    pub async fn close(mut self) -> Result<()> {
        match self.lease.take() {
            Some(lease) => lease.release().await,
            None => Ok(()),
        }
    }

    async fn catch_up_from(&mut self, start: Instant) -> Result<()> {
        let heads: Vec<Position> = self.store.heads().await?.into_iter().map(|(_, head)| head).collect();
        let head = heads.iter().map(|head| head.get()).sum();
        self.events = 0;
        loop {
            let caught_up = self.step(Step::Catch).await?;
            let Some(place) = &self.place else { continue };
            let (saved, is_active) = (&place.saved, place.is_active);
            if let Some(on_progress) = &mut self.on_progress {
                let position = saved.iter().map(|position| position.get()).sum();
                on_progress(&ProjectionProgress { events: self.events, position, head, elapsed: start.elapsed() });
            }
            let is_there = caught_up || saved.iter().zip(&heads).all(|(saved, head)| saved >= head);
            if is_there && (is_active || self.step(Step::TakeOver).await?) {
                return Ok(());
            }
        }
    }

    /// Makes a step, and again where that may help. Returns whether it is done: there was nothing to apply, or it has taken
    /// over, or gone back.
    async fn step(&mut self, step: Step) -> Result<bool> {
        let mut attempt = 1;
        loop {
            match self.try_step(step).await {
                Err(error) if may_help(&error) && attempt < ATTEMPTS => {
                    tracing::debug!(error = %error.report(), "a batch of a projection is tried again");
                    tokio::time::sleep(PAUSE * attempt).await;
                    attempt += 1;
                }
                Err(Error::LeaseLost { name }) => {
                    (self.lease, self.place) = (None, None);
                    // Whoever takes over takes the leases of the versions before.
                    let identity = Identity::of(&self.projection)?;
                    identity.check_active(self.store.active_projection(&identity.name).await?)?;
                    return Err(Error::LeaseLost { name });
                }
                done => return done,
            }
        }
    }

    async fn try_step(&mut self, step: Step) -> Result<bool> {
        self.begin().await?;
        match step {
            Step::Catch => self.advance(false).await,
            Step::Wait => self.advance(true).await,
            Step::TakeOver => self.take_over().await,
            Step::Reset => self.reset().await,
        }
    }

    /// Applies a batch of what is there, or of what comes. Returns whether there was nothing.
    async fn advance(&mut self, wait: bool) -> Result<bool> {
        let (Some(mut place), Some(lease)) = (self.place.take(), &self.lease) else { return Ok(false) };
        let events = place.gather(self.batch.max(1), wait.then_some(lease)).await?;
        let moved = place.moved(&self.store.inner.topic.lanes);
        if !moved.is_empty() && !self.commit(&place.identity, &events, &moved).await? {
            return Ok(false);
        }
        for (saved, reached) in place.saved.iter_mut().zip(place.subscription.positions()) {
            *saved = reached.max(*saved);
        }
        self.events += events.len() as u64;
        self.place = Some(place);
        Ok(events.is_empty())
    }

    /// Applies events in a transaction that moves the checkpoint. Returns `false` where it does not stand where it was
    /// believed to.
    async fn commit(&mut self, identity: &Identity, events: &[Arc<RecordedEvent>], moved: &[Move]) -> Result<bool> {
        let Some(held) = self.lease.as_ref().map(Lease::held) else { return Ok(false) };
        let dialect = self.store.dialect()?;
        let mut transaction = self.store.begin().await?;
        for (lane, places) in moved {
            let shift = subscriptions::shift(dialect, &identity.subscription, Some(held.owner()), *lane, *places);
            if transaction.write(shift).await? == 0 {
                drop(transaction);
                // Another runner has the lease now, or an inline projection has moved on.
                held.renew().await?;
                return Ok(false);
            }
        }
        identity.apply(&mut self.projection, &mut transaction, events).await?;
        transaction.commit().await?;
        self.store.inner.progress.send_replace(());
        Ok(true)
    }

    /// Makes sure that the lease is held, and that it is known where the projection stands.
    pub(super) async fn begin(&mut self) -> Result<()> {
        if let (Some(lease), Some(_)) = (&self.lease, &self.place) {
            return lease.check().await;
        }
        let identity = Identity::of(&self.projection)?;
        let lease = match self.lease.take() {
            Some(lease) => lease,
            None => {
                lease::check(self.lease_time)?;
                self.create(&identity).await?;
                Lease::wait(&self.store, &identity.subscription, self.lease_time).await?
            }
        };
        identity.check_active(self.store.active_projection(&identity.name).await?)?;
        let rows = rows::read(&self.store, &identity.subscription).await?;
        let mark = |row: &SubscriptionRow| Mark { position: row.position, event_id: row.event_id.unwrap_or_default() };
        let marks: Vec<Mark> = rows.iter().map(mark).collect();
        self.store.verify_marks(&marks).await?;
        self.place = Some(Place {
            saved: marks.iter().map(|mark| mark.position).collect(),
            is_active: Marker::of(&rows).is_some_and(|marker| marker.active),
            subscription: self.store.subscribe_after(marks, identity.query.clone()),
            identity,
        });
        self.lease = Some(lease);
        Ok(())
    }

    /// Creates the rows and the tables of this version where they are missing, and checks that they are of this query.
    async fn create(&mut self, identity: &Identity) -> Result<()> {
        identity.check_active(self.store.active_projection(&identity.name).await?)?;
        let mut rows = rows::read(&self.store, &identity.subscription).await?;
        if rows.is_empty() {
            let created = self.create_tables(identity).await;
            rows = rows::read(&self.store, &identity.subscription).await?;
            match created {
                Err(error) if rows.is_empty() || !error.is_conflict() => return Err(error),
                _ => {}
            }
        }
        if Marker::of(&rows).is_none_or(|marker| marker.projection != identity.name) {
            let reason = format!("{:?} is a subscription that is no projection", identity.subscription);
            return Err(Error::invalid("projection", reason));
        }
        rows::check(&self.store, &identity.subscription, &identity.query, &rows)
    }

    async fn create_tables(&mut self, identity: &Identity) -> Result<()> {
        let (store, name) = (&self.store, &identity.subscription);
        let (dialect, lanes) = (store.dialect()?, &store.inner.topic.lanes);
        let mut transaction = store.begin().await?;
        let marks = vec![Mark::default(); lanes.len()];
        rows::insert(store, &mut transaction, name, &identity.query, &marks).await?;
        let marker = Marker::new(identity, false).to_json()?;
        for lane in lanes {
            transaction.write(subscriptions::note(dialect, name, *lane, &marker)).await?;
        }
        let created = self.projection.create(&mut transaction).await;
        created.map_err(|source| identity.failed("create", None, source))?;
        transaction.commit().await
    }

    /// Puts the checkpoint before the first event, and empties the tables. Returns `false` where it does not stand where it
    /// was believed to.
    async fn reset(&mut self) -> Result<bool> {
        let (Some(place), Some(lease)) = (self.place.take(), &self.lease) else { return Ok(false) };
        let (identity, held, dialect) = (place.identity, lease.held(), self.store.dialect()?);
        let mut transaction = self.store.begin().await?;
        for (lane, saved) in self.store.inner.topic.lanes.iter().zip(place.saved) {
            let back = (saved, Position::ZERO);
            let shift = subscriptions::shift(dialect, &identity.subscription, Some(held.owner()), *lane, back);
            if transaction.write(shift).await? == 0 {
                drop(transaction);
                held.renew().await?;
                return Ok(false);
            }
        }
        let cleared = self.projection.clear(&mut transaction).await;
        cleared.map_err(|source| identity.failed("clear", None, source))?;
        transaction.commit().await?;
        self.begin().await?;
        Ok(true)
    }
}

/// Returns whether it may help to try again. A commit that is in doubt does no harm: the checkpoint tells what became of it.
fn may_help(error: &Error) -> bool {
    let in_doubt = matches!(error, Error::Ambiguous { .. } | Error::Backend { class: ErrorClass::Ambiguous, .. });
    in_doubt || error.is_retryable()
}
