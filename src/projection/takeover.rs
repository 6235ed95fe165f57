//! A new version of a projection takes over from the one before.
//!
//! One transaction locks the rows of all versions, in their order, so that takers come one after the other and the old
//! version stands still; applies what the old version was ahead, so that readers see nothing go back; lets the new version
//! put itself in the readers' place; and takes the leases of the older ones, whose runners then end.

use super::listing::versions;
use super::runner::Projector;
use super::{Marker, Projection};
use crate::error::Result;
use crate::position::{LaneId, Position};
use crate::sql::subscriptions::{self, Standing, SubscriptionRow};
use crate::transaction::Transaction;

/// Events that are applied in the transaction of a takeover, at most.
const AHEAD: i64 = 1_000;

/// The rows of one version, locked.
struct Version {
    name: String,
    marker: Marker,
    lanes: Vec<(LaneId, Standing)>,
}

impl Version {
    fn positions(&self) -> impl Iterator<Item = Position> {
        self.lanes.iter().map(|(_, standing)| standing.position)
    }

    fn is_held_by(&self, owner: &str) -> bool {
        self.lanes.iter().all(|(_, standing)| standing.lease_owner.as_deref() == Some(owner))
    }

    /// Writes the marker into all rows.
    async fn note(&self, transaction: &mut Transaction, marker: &Marker) -> Result<()> {
        let (dialect, metadata) = (transaction.dialect(), marker.to_json()?);
        for (lane, _) in &self.lanes {
            transaction.write(subscriptions::note(dialect, &self.name, *lane, &metadata)).await?;
        }
        Ok(())
    }
}

impl<P: Projection> Projector<P> {
    /// Takes over. Returns `false` where there is still something to catch up with.
    pub(super) async fn take_over(&mut self) -> Result<bool> {
        let (Some(place), Some(lease)) = (self.place.take(), &self.lease) else { return Ok(false) };
        let (identity, dialect) = (place.identity, self.store.dialect()?);
        let mut rows = versions(&self.store, &identity.name).await?;
        rows.sort_by_key(|row| Marker::of(std::slice::from_ref(row)).map(|marker| marker.version));
        let mut transaction = self.store.begin().await?;
        let mut others = lock(&mut transaction, rows).await?;
        let active = others.iter().filter(|version| version.marker.active).map(|version| version.marker.version).max();
        identity.check_active(active)?;
        let mine = others.iter().position(|version| version.name == identity.subscription);
        let mine = mine.map(|index| others.remove(index));
        let held =
            |mine: &Version| mine.positions().eq(place.saved.iter().copied()) && mine.is_held_by(lease.held().owner());
        let Some(mine) = mine.filter(held) else {
            drop(transaction);
            lease.held().renew().await?;
            return Ok(false);
        };

        let before = others.iter().find(|version| version.marker.active);
        let mut ahead = Vec::new();
        for ((lane, standing), theirs) in mine.lanes.iter().zip(before.into_iter().flat_map(Version::positions)) {
            if theirs > standing.position {
                ahead.push((*lane, (standing.position, theirs)));
            }
        }
        if ahead.iter().map(|(_, (from, to))| to.get() - from.get()).sum::<i64>() > AHEAD {
            return Ok(false);
        }
        for (lane, places) in ahead {
            transaction.write(subscriptions::shift(dialect, &mine.name, None, lane, places)).await?;
            identity.bring_up(&mut self.projection, &mut transaction, lane, places).await?;
        }
        let activated = self.projection.activate(&mut transaction).await;
        activated.map_err(|source| identity.failed("activate", None, source))?;
        for version in others.iter().filter(|version| version.marker.version < identity.version) {
            for (lane, _) in &version.lanes {
                transaction.write(subscriptions::revoke_lease(dialect, &version.name, *lane)).await?;
            }
            let retired = Marker { active: false, replaced_by: Some(identity.version), ..version.marker.clone() };
            version.note(&mut transaction, &retired).await?;
        }
        mine.note(&mut transaction, &Marker::new(&identity, true)).await?;
        transaction.commit().await?;
        self.store.inner.progress.send_replace(());
        self.begin().await?;
        Ok(true)
    }
}

/// Locks rows in their order, which is that of all takers, and reads them.
async fn lock(transaction: &mut Transaction, rows: Vec<SubscriptionRow>) -> Result<Vec<Version>> {
    let dialect = transaction.dialect();
    let mut found: Vec<Version> = Vec::new();
    for row in rows {
        transaction.write(subscriptions::lock(dialect, &row.name, row.lane)).await?;
        // Read by a statement that begins after the row was locked; there is none where it was deleted meanwhile.
        let read = subscriptions::standing(dialect, &row.name, row.lane);
        for standing in transaction.fetch::<Standing>(read).await? {
            let Some(marker) = Marker::from_metadata(standing.metadata.as_ref()) else { continue };
            if found.last().is_none_or(|last| last.name != row.name) {
                found.push(Version { name: row.name.clone(), marker, lanes: Vec::new() });
            }
            if let Some(last) = found.last_mut() {
                last.lanes.push((row.lane, standing));
            }
        }
    }
    Ok(found)
}
