//! Where topics are: opening them there, and moving them elsewhere.

use uuid::Uuid;

use super::adapter::{self, Place};
use super::state::Inner;
use super::{TopicConfig, Topics};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::position::Position;
use crate::store::Store;

impl Inner {
    /// Opens a topic where its configuration says it is.
    pub(super) async fn open(&self, config: &TopicConfig) -> Result<Store> {
        let place = adapter::place(config)?;
        let url = place.config.clone().with_topic(&config.name)?;
        let backend = self.registry.reach(place.existing()).await?;
        // What lasts was made when the topic was created: where it is missing, it was lost, which nobody may overlook.
        if !backend.capabilities().durable {
            backend.create_topic(&config.name, config.partitions).await?;
        }
        Store::shared(backend, &url).await
    }

    /// Returns where a topic is to be, if it can be there.
    pub(super) fn checked_place(&self, config: &TopicConfig) -> Result<Place> {
        config.check()?;
        let place = adapter::place(config)?;
        if config.name == self.config.topic() && place.key == adapter::place_of_url(&self.config)?.key {
            let reason = format!("{:?} is the configuration's own topic there: choose another name", config.name);
            return Err(Error::invalid("name", reason));
        }
        Ok(place)
    }
}

impl Topics {
    /// Returns a store that reads a topic from its replica, which may lag behind. It shares the replica's connections.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the topic has no replica, and as [`Topics::store`].
    pub async fn replica(&self, name: &str) -> Result<Store> {
        let config = self.get(name)?.config;
        let none = || Error::invalid("replica", format!("topic {name:?} has none: update its configuration"));
        let place = replica(&config)?.ok_or_else(none)?;
        let url = place.config.clone().with_topic(name)?;
        Store::shared(self.inner.registry.reach(place).await?, &url).await
    }

    /// Checks that a topic's log is at a new place as it is at the old one, and makes it there if it is empty.
    pub(super) async fn check_move(&self, from: &TopicConfig, to: Place) -> Result<()> {
        let old = self.store(&from.name).await?;
        let events = heads(&old).await?.iter().map(|head| head.get().unsigned_abs()).sum();
        let url = to.config.clone().with_topic(&from.name)?;
        let backend = self.inner.registry.reach(to).await?;
        if events == 0 {
            return backend.create_topic(&from.name, from.partitions).await.map(drop);
        }
        let left_behind = || Error::EventsLeftBehind { topic: from.name.clone(), events };
        let new = match Store::shared(backend, &url).await {
            Ok(store) => store,
            Err(Error::UnknownTopic { .. }) => return Err(left_behind()),
            Err(error) => return Err(error),
        };
        // The new one first: what is written meanwhile makes the two differ.
        let (new_heads, old_heads) = (heads(&new).await?, heads(&old).await?);
        #[cfg(any(feature = "sqlite", feature = "postgres", feature = "mssql"))]
        if new.capabilities().sql.is_some() {
            // A place that the topic was moved away from takes no events.
            new.ends().await?.iter().try_for_each(crate::sql::rows::HeadRow::check_hold)?;
        }
        let is_same = incarnation(&new).await? == incarnation(&old).await? && new_heads == old_heads;
        if is_same { Ok(()) } else { Err(left_behind()) }
    }
}

async fn heads(store: &Store) -> Result<Vec<Position>> {
    Ok(store.heads().await?.into_iter().map(|(_, head)| head).collect())
}

/// Returns the incarnation of a store's topic as it is now: it may have changed since the store was opened.
async fn incarnation(store: &Store) -> Result<Option<Uuid>> {
    let topics = store.backend().topics().await?;
    Ok(topics.into_iter().find(|topic| topic.name == store.topic().name).map(|topic| topic.incarnation))
}

/// Returns where a topic's replica is, if it has one.
pub(super) fn replica(config: &TopicConfig) -> Result<Option<Place>> {
    let Some(url) = &config.replica else { return Ok(None) };
    let mut url: Config = url.parse()?;
    if let Some(schema) = &config.schema {
        url = url.with_option("schema", schema);
    }
    adapter::place_of_url(&url).map(Some)
}
