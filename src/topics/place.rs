//! Where topics are: opening them there, and moving them elsewhere.

use std::sync::Arc;

use uuid::Uuid;

use super::adapter::{self, Place};
use super::events::Command;
use super::state::{Inner, Ready};
use super::{TopicConfig, Topics};
use crate::backend::Backend;
use crate::config::Config;
#[cfg(feature = "_sql")]
use crate::copy::{self, TopicCopy};
use crate::error::{Error, Result};
use crate::position::{Position, Version};
use crate::store::Store;

impl Inner {
    /// Opens a topic where its configuration says it is.
    pub(super) async fn open(&self, config: &TopicConfig) -> Result<Store> {
        self.open_with(config, |url| url).await
    }

    /// As [`Inner::open`], with a URL that is changed in what a connection does not depend on.
    pub(super) async fn open_with(&self, config: &TopicConfig, change: impl FnOnce(Config) -> Config) -> Result<Store> {
        let place = adapter::place(config)?;
        let url = change(place.config.clone().with_topic(&config.name)?);
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
        if config.name == self.config.topic() && place.home == adapter::place_of_url(&self.config)?.home {
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

    /// Changes a topic's configuration to a place that has its log already. Where it has not, the topic stays where it is.
    pub(super) async fn reconnect(
        &self,
        ready: &Ready,
        current: &TopicConfig,
        config: TopicConfig,
        place: Place,
        expected: Version,
    ) -> Result<()> {
        let (name, from) = (config.name.clone(), self.store(&config.name).await?);
        let events = from.event_count().await?;
        let left_behind = || Error::EventsLeftBehind { topic: name.clone(), events };
        let url = place.config.clone().with_topic(&name)?;
        let backend = self.inner.registry.reach(place).await?;
        if events == 0 {
            backend.create_topic(&name, current.partitions).await?;
        }
        #[cfg(feature = "_sql")]
        let has_sql = from.capabilities().sql.is_some() && backend.capabilities().sql.is_some();
        #[cfg(feature = "_sql")]
        if has_sql && events == 0 {
            let reason = "another log has the topic's name there: delete the topic, and create it with this connection";
            copy::prepare(&from, &backend, &url).await.map_err(|error| match error {
                Error::Invalid { what: "target", .. } => Error::invalid("connection", reason),
                error => error,
            })?;
        }
        let to = match Store::shared(backend, &url).await {
            Err(Error::UnknownTopic { .. }) => return Err(left_behind()),
            opened => opened?,
        };
        let reconnected = async {
            if events > 0 && incarnation(&to).await? != incarnation(&from).await? {
                return Err(left_behind());
            }
            #[cfg(feature = "_sql")]
            if has_sql {
                let copy = TopicCopy::of(from, to.clone());
                if !copy.has_all_events().await? {
                    return Err(left_behind());
                }
                if !copy.is_topic().await? && copy.is_itself().await? {
                    return self.change(ready, &name, Command::Update(config, expected)).await;
                }
                // What is beside the events goes along, and what comes meanwhile.
                let wanted = async { self.checked_change(ready, &config, expected).await.map(drop) };
                let cutover = copy.cutover_if(wanted, |_| {}).await?;
                return self.record(ready, &copy, &cutover, current, config, expected).await;
            }
            // Nothing can keep writers waiting there: they are to be stopped before.
            if heads(&to).await? != heads(&from).await? {
                return Err(left_behind());
            }
            self.change(ready, &name, Command::Update(config, expected)).await
        };
        let reconnected = reconnected.await;
        to.close().await;
        reconnected
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

/// Checks that a topic takes events at a place, and was not moved away from there.
pub(super) async fn check_open(backend: Arc<dyn Backend>, url: &Config) -> Result<()> {
    let store = Store::shared(backend, url).await?;
    let checked = async {
        #[cfg(feature = "_sql")]
        if store.capabilities().sql.is_some() {
            store.ends().await?.iter().try_for_each(crate::sql::rows::HeadRow::check_hold)?;
        }
        Ok(())
    };
    let checked = checked.await;
    store.close().await;
    checked
}

/// Returns where a topic's replica is, if it has one.
pub(super) fn replica(config: &TopicConfig) -> Result<Option<Place>> {
    let Some(url) = &config.replica else { return Ok(None) };
    let mut url: Config = url.parse()?;
    if let Some(schema) = &config.schema {
        url = url.with_option("schema", schema);
    }
    adapter::place_of_url(&url).map(|place| Some(place.existing()))
}
