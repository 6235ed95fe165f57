//! Projections that are moved on in the transaction of an append.
//!
//! Under the lane's lock, which the append holds, the checkpoint is read and all that follows it is applied: the append's
//! own events, and before these what was appended by others. So an inline projection is one like any other, that has caught
//! up whenever such an append is committed.

use tokio::sync::Mutex;

use super::{Identity, Marker, Projection};
use crate::append::{Append, Appended};
use crate::error::{Error, Result};
use crate::event::NewEvent;
use crate::position::{LaneId, Position};
use crate::sql::subscriptions::{self, Standing};
use crate::store::Store;
use crate::stream::{Expected, Stream};
use crate::transaction::Transaction;

/// Events that an append applies, its own included, at most; without them, it has no more either.
const BEHIND: i64 = 10_000;

/// A store whose appends move projections on in the same transaction: once an append is acknowledged, the read models show
/// it, and one that a projection can't apply is refused.
///
/// That has a price. Such an append is committed alone, and its lane waits meanwhile for what the projections do. It is not
/// sent again where the connection is lost: give it a command, and repeat it.
///
/// What others append to the topic, without these projections, is applied by the next append of the same lane that has
/// them. Where it would have to apply more than 10,000 events, it is refused with [`Error::Limit`] until
/// [`Projector::catch_up`](crate::Projector::catch_up) has done that, as also during a [rebuild](crate::Projector::rebuild).
#[derive(Debug)]
pub struct InlineProjections {
    store: Store,
    projections: Mutex<Projections>,
}

/// The projections, in the order in which they are applied.
struct Projections(Vec<(Identity, Box<dyn Projection>)>);

impl std::fmt::Debug for Projections {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.0.iter().map(|(identity, _)| &identity.subscription)).finish()
    }
}

impl Store {
    /// Prepares projections to be moved on within appends: creates what is missing, catches up, and takes over from older
    /// versions.
    ///
    /// # Errors
    /// As [`Projector::catch_up`](crate::Projector::catch_up).
    pub async fn inline(
        &self,
        projections: impl IntoIterator<Item = Box<dyn Projection>>,
    ) -> Result<InlineProjections> {
        let mut prepared = Vec::new();
        for mut projection in projections {
            let identity = Identity::of(&*projection)?;
            let mut projector = self.project(&mut *projection);
            projector.catch_up().await?;
            projector.close().await?;
            prepared.push((identity, projection));
        }
        Ok(InlineProjections { store: self.clone(), projections: Mutex::new(Projections(prepared)) })
    }
}

impl InlineProjections {
    /// Returns the store.
    #[must_use]
    pub const fn store(&self) -> &Store {
        &self.store
    }

    /// Appends as [`Store::append`] does, and moves the projections on, all of it or nothing.
    ///
    /// # Errors
    /// As [`InlineProjections::commit`].
    pub async fn append(
        &self,
        stream: &Stream,
        expected: impl Into<Expected>,
        events: impl IntoIterator<Item = NewEvent>,
    ) -> Result<Appended> {
        self.commit(Append::new().to(stream.clone(), expected.into(), events)).await
    }

    /// Commits a request as [`Store::commit`] does, and moves the projections on, all of it or nothing. A command that was
    /// decided before applies nothing.
    ///
    /// Cancel-safe: it is carried out whole or not at all.
    ///
    /// # Errors
    /// [`Error::Projection`] where a projection fails, [`Error::ProjectionSuperseded`] where a newer version has taken over,
    /// [`Error::SubscriptionNotFound`] where its rows were deleted, [`Error::Limit`] where it is too far behind, and as
    /// [`Store::commit`].
    pub async fn commit(&self, append: Append) -> Result<Appended> {
        self.store.unless_held(|| self.commit_once(append.clone())).await
    }

    async fn commit_once(&self, append: Append) -> Result<Appended> {
        let mut projections = self.projections.lock().await;
        let mut transaction = self.store.begin().await?;
        let appended = transaction.append(append).await?;
        if let (Some((_, last)), false) = (appended.positions, appended.duplicate) {
            for (identity, projection) in &mut projections.0 {
                identity.follow(&mut **projection, &mut transaction, (appended.lane, last)).await?;
            }
        }
        transaction.commit().await?;
        self.store.inner.progress.send_replace(());
        Ok(appended)
    }
}

impl Identity {
    /// Applies all of a lane until an event that the transaction has appended.
    async fn follow(
        &self,
        projection: &mut dyn Projection,
        transaction: &mut Transaction,
        (lane, last): (LaneId, Position),
    ) -> Result<()> {
        let (dialect, name) = (transaction.dialect(), &self.subscription);
        // What the row says is read by a statement that begins after it was locked.
        transaction.write(subscriptions::lock(dialect, name, lane)).await?;
        let row: Option<Standing> = transaction.fetch(subscriptions::standing(dialect, name, lane)).await?.pop();
        let row = row.ok_or_else(|| Error::SubscriptionNotFound { name: name.clone() })?;
        self.check_active(Marker::from_metadata(row.metadata.as_ref()).and_then(|marker| marker.replaced_by))?;
        let behind = last.get() - row.position.get();
        if behind > BEHIND {
            let (limit, actual) = (BEHIND.unsigned_abs(), behind.unsigned_abs());
            return Err(Error::Limit { what: "events that an inline projection is behind", limit, actual });
        }
        let places = (row.position, last);
        transaction.write(subscriptions::shift(dialect, name, None, lane, places)).await?;
        self.bring_up(projection, transaction, lane, places).await
    }
}
