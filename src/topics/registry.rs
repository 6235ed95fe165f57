//! The backends of a program, one for all topics whose connection is the same: [`Registry`].

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use futures::future::join_all;
use serde::Serialize;
use tokio::sync::OnceCell;

use super::TopicConfig;
use super::adapter::{self, Key, Place};
use crate::backend::Backend;
use crate::error::{Error, Result};
use crate::migrate;

/// How long a backend may take to give a sign of life; beyond that, it is down.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// From when on a backend that answers is called degraded.
const SLOW: Duration = Duration::from_secs(1);

/// Backends by connection. Topics whose connections are equal share one, with its pool, however many there are and
/// however many ask for it at the same time. Cheap to clone.
#[derive(Clone, Default)]
pub struct Registry {
    slots: Arc<Mutex<Slots>>,
}

#[derive(Default)]
struct Slots {
    by_key: BTreeMap<Key, Arc<Slot>>,
    is_closed: bool,
}

/// The backend of one connection, once it was reached.
struct Slot {
    place: Place,
    backend: OnceCell<Arc<dyn Backend>>,
    /// Whether the backend is somebody else's to close.
    is_lent: bool,
}

/// How well a backend is, or all of them together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum HealthState {
    /// It answers.
    Healthy,
    /// It answers, but slowly or behind; of all together: some do.
    Degraded,
    /// It does not answer.
    Down,
}

impl fmt::Display for HealthState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Healthy => "healthy",
            Self::Degraded => "degraded",
            Self::Down => "down",
        })
    }
}

/// How well one backend is.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct BackendHealth {
    /// The adapter by which the first topic that asked for it calls it.
    pub adapter: String,
    /// The connection, without its password.
    pub connection: String,
    /// How well it is.
    pub state: HealthState,
    /// How long it took to answer.
    pub latency: Option<Duration>,
    /// How many events a replica is behind its primary.
    pub lag: Option<u64>,
    /// Why it is not healthy.
    pub reason: Option<String>,
    /// The topics that it serves, by name.
    pub topics: Vec<String>,
}

impl BackendHealth {
    /// Says that a topic's connection can't be used by this program.
    pub(super) fn nowhere(config: &TopicConfig, error: &Error) -> Self {
        Self {
            adapter: config.adapter.clone(),
            connection: config.connection(),
            state: HealthState::Down,
            latency: None,
            lag: None,
            reason: Some(error.report()),
            topics: vec![config.name.clone()],
        }
    }
}

impl Registry {
    /// Says how well the backend of a place is, which is reached where it was not before.
    pub(super) async fn health_of(&self, place: Place) -> BackendHealth {
        let start = Instant::now();
        let answered = tokio::time::timeout(PATIENCE, async { self.reach(place.clone()).await?.ping().await }).await;
        let latency = start.elapsed();
        let (state, latency, reason) = match answered {
            Ok(Ok(())) if latency > SLOW => {
                let reason = format!("it took {} ms to answer", latency.as_millis());
                (HealthState::Degraded, Some(latency), Some(reason))
            }
            Ok(Ok(())) => (HealthState::Healthy, Some(latency), None),
            Ok(Err(error)) => (HealthState::Down, None, Some(error.report())),
            Err(_) => (HealthState::Down, None, Some(format!("no answer within {} s", PATIENCE.as_secs()))),
        };
        let Place { adapter, shown, .. } = place;
        BackendHealth { adapter, connection: shown, state, latency, lag: None, reason, topics: Vec::new() }
    }

    /// Returns the backend of a topic's connection, if it was reached before.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the connection can't be used.
    pub fn get(&self, config: &TopicConfig) -> Result<Option<Arc<dyn Backend>>> {
        let key = adapter::place(config)?.key;
        let slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        Ok(slots.by_key.get(&key).and_then(|slot| slot.backend.get().cloned()))
    }

    /// Returns the backend of a topic's connection, which is made where there is none. A failure is not kept: the next
    /// call tries again. Others' connections are not waited for.
    ///
    /// # Errors
    /// [`Error::Closed`], [`Error::Invalid`] where the connection can't be used, [`Error::Schema`], and what the backend
    /// answers.
    pub async fn get_or_create(&self, config: &TopicConfig) -> Result<Arc<dyn Backend>> {
        self.reach(adapter::place(config)?).await
    }

    /// Lends a backend that is connected already to all whose connection is equal to a URL. It stays the caller's to close.
    ///
    /// # Errors
    /// [`Error::Url`] where the URL can't be used, and [`Error::Invalid`] where there is a backend of it already.
    pub fn lend(&self, url: &str, backend: Arc<dyn Backend>) -> Result<()> {
        let place = adapter::place_of_url(&url.parse()?)?;
        let slot = Slot { place: place.clone(), backend: OnceCell::new_with(Some(backend)), is_lent: true };
        match self.slots.lock().unwrap_or_else(PoisonError::into_inner).by_key.entry(place.key) {
            Entry::Vacant(entry) => {
                entry.insert(Arc::new(slot));
                Ok(())
            }
            Entry::Occupied(_) => Err(Error::invalid("connection", format!("{} has a backend already", place.shown))),
        }
    }

    pub(super) async fn reach(&self, place: Place) -> Result<Arc<dyn Backend>> {
        let config = place.config.clone();
        let slot = self.slot(place)?;
        let backend = slot.backend.get_or_try_init(|| migrate::open(&config)).await.cloned()?;
        // Who closed the registry meanwhile did not see this one.
        if self.slots.lock().unwrap_or_else(PoisonError::into_inner).is_closed {
            if !slot.is_lent {
                backend.close().await;
            }
            return Err(Error::Closed);
        }
        Ok(backend)
    }

    fn slot(&self, place: Place) -> Result<Arc<Slot>> {
        let mut slots = self.slots.lock().unwrap_or_else(PoisonError::into_inner);
        if slots.is_closed {
            return Err(Error::Closed);
        }
        let slot = || Arc::new(Slot { place: place.clone(), backend: OnceCell::new(), is_lent: false });
        Ok(Arc::clone(slots.by_key.entry(place.key).or_insert_with(slot)))
    }

    /// Returns how well each backend is, those that were asked for and never reached included. All are asked at the same
    /// time, for 5 s at most. A registry that is closed has none.
    pub async fn health(&self) -> Vec<BackendHealth> {
        if self.slots.lock().unwrap_or_else(PoisonError::into_inner).is_closed {
            return Vec::new();
        }
        let slots = self.slots();
        join_all(slots.iter().map(|slot| self.health_of(slot.place.clone()))).await
    }

    /// Closes every backend, for `limit` at most, and lets nobody make another. Closing twice is harmless.
    pub async fn close(&self, limit: Duration) {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).is_closed = true;
        let slots = self.slots();
        let own = slots.iter().filter(|slot| !slot.is_lent);
        let backends: Vec<_> = own.filter_map(|slot| slot.backend.get().cloned()).collect();
        let closing = join_all(backends.iter().map(|backend| backend.close()));
        if tokio::time::timeout(limit, closing).await.is_err() {
            tracing::warn!("a backend did not close within {} ms", limit.as_millis());
        }
    }

    fn slots(&self) -> Vec<Arc<Slot>> {
        self.slots.lock().unwrap_or_else(PoisonError::into_inner).by_key.values().cloned().collect()
    }
}

impl fmt::Debug for Registry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let slots = self.slots();
        f.debug_set().entries(slots.iter().map(|slot| &slot.place.shown)).finish()
    }
}

/// Says how well all backends are together: down where all are, healthy where all are.
pub(super) fn together<'a>(backends: impl IntoIterator<Item = &'a BackendHealth>) -> HealthState {
    let (mut best, mut worst) = (HealthState::Down, HealthState::Healthy);
    for BackendHealth { state, .. } in backends {
        best = best.min(*state);
        worst = worst.max(*state);
    }
    match (best, worst) {
        (HealthState::Down, HealthState::Down) => HealthState::Down,
        (_, HealthState::Healthy) => HealthState::Healthy,
        _ => HealthState::Degraded,
    }
}
