//! The write model: every topic's configuration, as the events of the configuration topic add up to it.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio::sync::OnceCell;

use super::events::{Event, Topic};
use super::{TopicChange, TopicChangeKind, TopicConfig, adapter};
use crate::aggregate::{Aggregate, TypedEvent};
use crate::error::{Error, Result};
use crate::event::RecordedEvent;
use crate::position::{Position, Version};
use crate::store::Store;

/// A topic and its configuration.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct ConfiguredTopic {
    /// The configuration.
    pub config: TopicConfig,
    /// Its version: the next change expects it.
    pub version: Version,
    /// When the topic was created.
    pub created_at: DateTime<Utc>,
    /// When its configuration last changed.
    pub updated_at: DateTime<Utc>,
}

/// Every topic that was ever configured, up to a position of the configuration topic.
#[derive(Debug, Default)]
pub(super) struct Model {
    entries: BTreeMap<String, Entry>,
    position: Position,
}

/// A topic, and its store once somebody asked for it.
#[derive(Debug)]
pub(super) struct Entry {
    pub topic: ConfiguredTopic,
    pub deleted_at: Option<DateTime<Utc>>,
    pub store: Arc<OnceCell<Store>>,
}

/// A configuration event, taken apart.
pub(super) struct Recorded<'a> {
    event: &'a RecordedEvent,
    typed: Event,
}

impl Entry {
    /// Tells those who hold the topic's store, if its configuration changes to be in another database.
    fn tell(&self, config: &TopicConfig) {
        let home = |config| adapter::place(config).map(|place| place.home).ok();
        if let Some(store) = self.store.get().filter(|_| home(&self.topic.config) != home(config)) {
            store.leave(config.connection());
        }
    }
}

impl<'a> Recorded<'a> {
    /// Reads an event of the configuration topic. None is passed over.
    pub(super) fn read(event: &'a RecordedEvent) -> Result<Self> {
        let failed = |source: Error| Error::Configuration { position: event.position, source: Box::new(source) };
        let invalid = |reason: String| failed(Error::invalid("event", reason));
        let RecordedEvent { aggregate_id, aggregate_type, event_type, .. } = event;
        if aggregate_type != Topic::TYPE {
            return Err(invalid(format!("{event_type} is of a {aggregate_type:?}, not of a {:?}", Topic::TYPE)));
        }
        let typed = Event::decode(event).map_err(failed)?;
        let typed = typed.ok_or_else(|| invalid(format!("{event_type} is no event of a configuration")))?;
        if let Event::TopicCreated(config) | Event::TopicUpdated(config) = &typed
            && config.name != *aggregate_id
        {
            return Err(invalid(format!("it names topic {:?} in the stream of {aggregate_id:?}", config.name)));
        }
        Ok(Self { event, typed })
    }

    pub(super) fn change(self) -> TopicChange {
        let RecordedEvent { aggregate_version, position, event_timestamp, actor, .. } = self.event;
        let (kind, config, purged) = match self.typed {
            Event::TopicCreated(config) => (TopicChangeKind::Created, Some(config), None),
            Event::TopicUpdated(config) => (TopicChangeKind::Updated, Some(config), None),
            Event::TopicDeleted => (TopicChangeKind::Deleted, None, None),
            Event::TopicPurged(purged) => (TopicChangeKind::Purged, None, Some(purged)),
        };
        TopicChange {
            topic: self.event.aggregate_id.clone(),
            kind,
            version: *aggregate_version,
            position: *position,
            at: *event_timestamp,
            actor: actor.clone(),
            config,
            purged,
        }
    }
}

impl Model {
    pub(super) const fn position(&self) -> Position {
        self.position
    }

    /// Returns every topic that is not deleted, by name.
    pub(super) fn topics(&self) -> impl Iterator<Item = &ConfiguredTopic> {
        self.entries.values().filter(|entry| entry.deleted_at.is_none()).map(|entry| &entry.topic)
    }

    /// Returns the stores that are open.
    pub(super) fn stores(&self) -> Vec<Store> {
        self.entries.values().filter_map(|entry| entry.store.get().cloned()).collect()
    }

    /// Takes over the stores that are open from a model of the same topics.
    pub(super) fn keep_stores(&mut self, of: &Self) {
        for (name, entry) in &mut self.entries {
            let Some(open) = of.entries.get(name) else { continue };
            if !open.topic.config.is_at_the_place_of(&entry.topic.config) {
                open.tell(&entry.topic.config);
            } else if entry.deleted_at.is_none() {
                entry.store = Arc::clone(&open.store);
            }
        }
    }

    /// Returns a topic that is not deleted.
    pub(super) fn entry(&self, name: &str) -> Result<&Entry> {
        match self.entries.get(name) {
            Some(entry) if entry.deleted_at.is_none() => Ok(entry),
            Some(_) => Err(Error::TopicDeleted { topic: name.to_owned() }),
            None => Err(self.unknown(name)),
        }
    }

    /// Returns the configuration of a topic, or the last one of a deleted topic.
    pub(super) fn config(&self, name: &str) -> Result<TopicConfig> {
        self.entries.get(name).map(|entry| entry.topic.config.clone()).ok_or_else(|| self.unknown(name))
    }

    pub(super) fn unknown(&self, name: &str) -> Error {
        /// Names that are shown; who has more of them knows to list them.
        const SHOWN: usize = 20;
        let mut known: Vec<&str> = self.topics().map(|topic| topic.config.name.as_str()).take(SHOWN + 1).collect();
        if known.len() > SHOWN {
            known[SHOWN] = "…";
        }
        if known.is_empty() {
            known.push("none that is configured, `annals topic create` configures one");
        }
        Error::UnknownTopic { topic: name.to_owned(), known: known.join(", ") }
    }

    /// Takes in the next event, once; `None` where it was taken in already.
    pub(super) fn apply(&mut self, event: &RecordedEvent) -> Result<Option<TopicChange>> {
        if event.position <= self.position {
            return Ok(None);
        }
        if event.position != self.position.next() {
            let (lane, expected, found) = (event.lane.get(), self.position.next(), event.position);
            return Err(Error::Gap { lane, expected, found });
        }
        let change = Recorded::read(event)?.change();
        match (&change.config, self.entries.get_mut(&change.topic)) {
            (Some(config), Some(entry)) => {
                if !entry.topic.config.is_at_the_place_of(config) {
                    entry.tell(config);
                    entry.store = Arc::default();
                }
                if change.kind == TopicChangeKind::Created {
                    entry.topic.created_at = change.at;
                }
                entry.deleted_at = None;
                (entry.topic.config, entry.topic.version) = (config.clone(), change.version);
                entry.topic.updated_at = change.at;
            }
            (Some(config), None) => {
                let topic = ConfiguredTopic {
                    config: config.clone(),
                    version: change.version,
                    created_at: change.at,
                    updated_at: change.at,
                };
                let entry = Entry { topic, deleted_at: None, store: Arc::default() };
                self.entries.insert(change.topic.clone(), entry);
            }
            (None, Some(entry)) => {
                entry.deleted_at = Some(change.at);
                entry.topic.version = change.version;
                // Who holds the store is to hear where the topic is created again, if it is.
                if change.kind == TopicChangeKind::Purged {
                    entry.store = Arc::default();
                }
            }
            (None, None) => {
                let source =
                    Error::invalid("event", format!("it deletes topic {:?}, which was never created", change.topic));
                return Err(Error::Configuration { position: event.position, source: Box::new(source) });
            }
        }
        self.position = event.position;
        Ok(Some(change))
    }
}
