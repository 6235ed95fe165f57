//! A topic's configuration as an aggregate: what can be asked of it, and the events that it is made of.

use serde::{Deserialize, Serialize};

use super::{Purged, TopicConfig};
use crate::aggregate::{Aggregate, TypedEvent};
use crate::position::Version;

/// The events of a topic's configuration. Each holds the whole configuration from then on.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[allow(clippy::enum_variant_names)] // These are the names of the stored types.
pub(super) enum Event {
    TopicCreated(TopicConfig),
    TopicUpdated(TopicConfig),
    TopicDeleted,
    /// The log of a deleted topic was removed for good, after it was exported.
    TopicPurged(Purged),
}

impl TypedEvent for Event {}

/// What can be asked of a topic's configuration.
pub(super) enum Command {
    Create(TopicConfig),
    /// Expects the version that the caller has seen.
    Update(TopicConfig, Version),
    Delete(Version),
    /// Is for deleted topics.
    Purge(Purged, Version),
}

/// Why it is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    #[error("the topic exists")]
    Exists,
    #[error("there is no such topic")]
    Unknown,
    #[error("the topic is deleted")]
    Deleted,
    #[error("its configuration is at version {0}")]
    Conflict(Version),
}

/// A topic's configuration, as far as deciding about it needs it.
#[derive(Debug, Default)]
pub(super) struct Topic {
    version: Version,
    is_deleted: bool,
}

impl Aggregate for Topic {
    const TYPE: &'static str = "topic";
    type Command = Command;
    type Event = Event;
    type Error = Refusal;

    fn decide(&self, command: &Command) -> Result<Vec<Event>, Refusal> {
        let exists = self.version > Version::ZERO;
        match command {
            Command::Create(_) if exists && !self.is_deleted => Err(Refusal::Exists),
            Command::Create(config) => Ok(vec![Event::TopicCreated(config.clone())]),
            _ if !exists => Err(Refusal::Unknown),
            Command::Purge(_, expected) if *expected != self.version => Err(Refusal::Conflict(self.version)),
            Command::Purge(purged, _) if self.is_deleted => Ok(vec![Event::TopicPurged(*purged)]),
            Command::Purge(..) => Err(Refusal::Exists),
            _ if self.is_deleted => Err(Refusal::Deleted),
            Command::Update(_, expected) | Command::Delete(expected) if *expected != self.version => {
                Err(Refusal::Conflict(self.version))
            }
            Command::Update(config, _) => Ok(vec![Event::TopicUpdated(config.clone())]),
            Command::Delete(_) => Ok(vec![Event::TopicDeleted]),
        }
    }

    fn evolve(&mut self, event: Event) {
        self.version = self.version.next();
        self.is_deleted = matches!(event, Event::TopicDeleted | Event::TopicPurged(_));
    }
}
