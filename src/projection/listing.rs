//! What is known of the projections.

use serde::Serialize;

use super::{Marker, active_version};
use crate::error::Result;
use crate::sql::subscriptions::{self, Names, SubscriptionRow};
use crate::store::Store;
use crate::subscription::SubscriptionInfo;

/// What is known of a version of a projection.
#[derive(Debug, Clone, Serialize)]
#[non_exhaustive]
pub struct ProjectionInfo {
    /// The name that all versions share.
    pub name: String,
    /// The version.
    pub version: u32,
    /// Whether it is the one that is read.
    pub state: ProjectionState,
    /// Its subscription: where it stands, how far it is behind, who runs it.
    pub subscription: SubscriptionInfo,
}

/// The state of a version of a projection.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum ProjectionState {
    /// It has not caught up yet, and takes over once it has.
    Building,
    /// It is the one that is read.
    Active,
    /// A newer one has taken over. Its rows and tables may be deleted.
    Retired,
}

impl ProjectionState {
    const fn of(marker: &Marker) -> Self {
        match marker {
            Marker { active: true, .. } => Self::Active,
            Marker { replaced_by: Some(_), .. } => Self::Retired,
            _ => Self::Building,
        }
    }

    /// Returns the state as a word.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Building => "building",
            Self::Active => "active",
            Self::Retired => "retired",
        }
    }
}

impl Store {
    /// Lists the versions of the topic's projections, by name and version.
    ///
    /// # Errors
    /// As [`Store::subscriptions`].
    pub async fn projections(&self) -> Result<Vec<ProjectionInfo>> {
        let mut found = Vec::new();
        for subscription in self.subscriptions().await? {
            if let Some(marker) = Marker::from_metadata(subscription.metadata.as_ref()) {
                let state = ProjectionState::of(&marker);
                found.push(ProjectionInfo { name: marker.projection, version: marker.version, state, subscription });
            }
        }
        found.sort_by(|a, b| (&a.name, a.version).cmp(&(&b.name, b.version)));
        Ok(found)
    }

    /// Returns the version of a projection that is active: the newest one that has caught up once; `None` where none has.
    ///
    /// # Errors
    /// [`Error::Unsupported`](crate::Error::Unsupported) where the backend knows no SQL, and what it answers.
    pub async fn active_projection(&self, name: &str) -> Result<Option<u32>> {
        Ok(active_version(&versions(self, name).await?))
    }
}

/// Reads the rows of all versions of a projection.
pub(super) async fn versions(store: &Store, name: &str) -> Result<Vec<SubscriptionRow>> {
    let names = Names::VersionsOf(name);
    store.fetch(subscriptions::list(store.dialect()?, &store.inner.topic.name, names)).await
}
