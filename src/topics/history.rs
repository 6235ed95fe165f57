//! The configuration over time, and how well its databases are.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use futures::future::join_all;
use serde::{Deserialize, Serialize};

use super::model::{Model, Recorded};
use super::registry::{self, BackendHealth, HealthState};
use super::state::replay;
use super::{ConfiguredTopic, TopicConfig, Topics, adapter, place};
use crate::error::{Error, Result};
use crate::hash::hexadecimal;
use crate::position::{Position, Version};
use crate::read::Query;

/// One change of a topic's configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicChange {
    /// The topic's name.
    pub topic: String,
    /// What was done.
    pub kind: TopicChangeKind,
    /// The configuration's version from then on.
    pub version: Version,
    /// The event's position in the configuration topic.
    pub position: Position,
    /// When.
    pub at: DateTime<Utc>,
    /// Who did it, where that was said.
    pub actor: Option<String>,
    /// The configuration from then on; `None` where the topic was deleted.
    pub config: Option<TopicConfig>,
    /// What was removed, where the topic was purged.
    pub purged: Option<Purged>,
}

/// What a purge has removed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Purged {
    /// How many events.
    pub events: u64,
    /// The hash of the log, see [`TopicHash`](crate::hash::TopicHash); in JSON, 64 hexadecimal digits.
    #[serde(with = "hexadecimal")]
    pub hash: [u8; 32],
}

/// What was done to a topic.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum TopicChangeKind {
    /// It was created, or created again after it was deleted.
    Created,
    /// Its configuration was changed.
    Updated,
    /// It was deleted: it is hidden, and its log is kept.
    Deleted,
    /// After it was deleted, its log was removed for good.
    Purged,
}

/// What differs in a topic's configuration between two times.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct TopicDifference {
    /// The topic's name.
    pub topic: String,
    /// The field.
    pub field: &'static str,
    /// Its value at the earlier time, without passwords; `None` where it was not set, or the topic was not there.
    pub before: Option<String>,
    /// Its value at the later time.
    pub after: Option<String>,
}

/// How well the databases of all topics are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct TopicHealth {
    /// All together: down where every one is, healthy where every one is, degraded otherwise.
    pub state: HealthState,
    /// Each of them; that of the configuration first.
    pub backends: Vec<BackendHealth>,
}

impl Topics {
    /// Returns every change of a topic's configuration, the oldest first; also of one that is deleted.
    ///
    /// # Errors
    /// [`Error::UnknownTopic`] where there never was such a topic, [`Error::NotInitialized`], [`Error::Configuration`], and
    /// what the backend answers.
    pub async fn history(&self, name: &str) -> Result<Vec<TopicChange>> {
        let ready = self.inner.ready()?;
        let mut events = std::pin::pin!(ready.store.read(Query::stream(name).include_deleted()));
        let mut changes = Vec::new();
        while let Some(event) = events.try_next().await? {
            changes.push(Recorded::read(&event)?.change());
        }
        if changes.is_empty() { Err(ready.read().unknown(name)) } else { Ok(changes) }
    }

    /// Returns every topic as it was configured at a time, by name.
    ///
    /// # Errors
    /// [`Error::NotInitialized`], [`Error::Configuration`], and what the backend answers.
    pub async fn as_of(&self, time: DateTime<Utc>) -> Result<Vec<ConfiguredTopic>> {
        let ready = self.inner.ready()?;
        let mut model = Model::default();
        replay(&ready.store, Query::new().as_of(time), &mut model).await?;
        Ok(model.topics().cloned().collect())
    }

    /// Returns what differs in the configuration between two times, by topic and field.
    ///
    /// # Errors
    /// As [`Topics::as_of`].
    pub async fn diff(&self, earlier: DateTime<Utc>, later: DateTime<Utc>) -> Result<Vec<TopicDifference>> {
        let (before, after) = (fields(self.as_of(earlier).await?), fields(self.as_of(later).await?));
        let keys: std::collections::BTreeSet<_> = before.keys().chain(after.keys()).collect();
        let differences = keys.into_iter().filter(|key| before.get(key) != after.get(key));
        let difference = |key: &(String, &'static str)| TopicDifference {
            topic: key.0.clone(),
            field: key.1,
            before: before.get(key).cloned(),
            after: after.get(key).cloned(),
        };
        Ok(differences.map(difference).collect())
    }

    /// Returns how well the database of each topic is, its replica's too, and that of the configuration. Those that were
    /// not reached yet are reached for it. All are asked at the same time, for 5 s at most, and then the replicas.
    ///
    /// # Errors
    /// [`Error::NotInitialized`], [`Error::Closed`].
    pub async fn health(&self) -> Result<TopicHealth> {
        let mut backends = BTreeMap::new();
        let mut add = |place: adapter::Place, topic: Option<&ConfiguredTopic>| {
            let (_, topics) = backends.entry(place.key).or_insert_with(|| (place, Vec::new()));
            topics.extend(topic.map(|topic| topic.config.name().to_owned()));
        };
        let configuration = adapter::place_of_url(&self.inner.config)?;
        let first = configuration.key;
        add(configuration, None);
        let topics = self.list()?;
        let mut nowhere = Vec::new();
        for topic in &topics {
            match adapter::place(&topic.config) {
                Ok(place) => add(place.existing(), Some(topic)),
                Err(error) => nowhere.push(BackendHealth::nowhere(&topic.config, &error)),
            }
        }
        let asked = backends.into_iter().map(|(key, (place, topics))| async move {
            (key, BackendHealth { topics, ..self.inner.registry.health_of(place).await })
        });
        let mut answers = join_all(asked).await;
        answers.sort_by_key(|(key, _)| *key != first);
        let mut backends: Vec<BackendHealth> = answers.into_iter().map(|(_, health)| health).chain(nowhere).collect();
        let replicas = topics.iter().filter_map(|topic| Some((topic, place::replica(&topic.config).transpose()?)));
        backends.extend(join_all(replicas.map(|(topic, place)| self.replica_health(topic, place))).await);
        Ok(TopicHealth { state: registry::together(&backends), backends })
    }

    /// Returns how well a topic's replica is, and how far behind.
    async fn replica_health(&self, topic: &ConfiguredTopic, place: Result<adapter::Place>) -> BackendHealth {
        let name = topic.config.name();
        let place = match place {
            Ok(place) => place,
            Err(error) => return BackendHealth::nowhere(&topic.config, &error),
        };
        let health = self.inner.registry.health_of(place).await;
        let mut health = BackendHealth { topics: vec![name.to_owned()], ..health };
        if health.state == HealthState::Down {
            return health;
        }
        let lag = async {
            // The replica first: what comes in between makes it look later, never earlier.
            let replica = self.replica(name).await?.event_count().await?;
            Ok::<_, Error>(self.store(name).await?.event_count().await?.saturating_sub(replica))
        };
        match tokio::time::timeout(registry::PATIENCE, lag).await {
            Ok(Ok(0)) => health.lag = Some(0),
            Ok(Ok(lag)) => {
                (health.lag, health.state) = (Some(lag), HealthState::Degraded);
                health.reason = Some(format!("it is {lag} events behind"));
            }
            Ok(Err(error)) => {
                (health.state, health.reason) = (HealthState::Degraded, Some(error.report()));
            }
            Err(_) => {
                let reason = "it could not be compared with its primary in time".to_owned();
                (health.state, health.reason) = (HealthState::Degraded, Some(reason));
            }
        }
        health
    }
}

fn fields(topics: Vec<ConfiguredTopic>) -> BTreeMap<(String, &'static str), String> {
    let fields = topics.into_iter().flat_map(|topic| {
        let name = topic.config.name().to_owned();
        topic.config.fields().into_iter().map(move |(field, value)| ((name.clone(), field), value))
    });
    fields.collect()
}
