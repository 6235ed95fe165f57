//! Options of [`Topics`].

use std::sync::{Arc, RwLock};

use super::state::{Inner, Logger};
use super::{CONFIG_TOPIC, Registry, Topics};
use crate::config::Config;
use crate::error::Result;

/// Options of [`Topics`], made by [`Topics::builder`].
#[must_use = "topics are made by `build`"]
pub struct TopicsBuilder {
    url: String,
    config_topic: String,
    registry: Registry,
    actor: Option<String>,
    logger: Option<Logger>,
}

impl TopicsBuilder {
    pub(super) fn new(url: String) -> Self {
        let (config_topic, registry) = (CONFIG_TOPIC.to_owned(), Registry::default());
        Self { url, config_topic, registry, actor: None, logger: None }
    }

    /// Names the configuration topic; `topics` without.
    pub fn config_topic(mut self, name: impl Into<String>) -> Self {
        self.config_topic = name.into();
        self
    }

    /// Shares the backends of a registry.
    pub fn registry(mut self, registry: Registry) -> Self {
        self.registry = registry;
        self
    }

    /// Says who changes the configuration; it is recorded with each change.
    pub fn actor(mut self, actor: impl Into<String>) -> Self {
        self.actor = Some(actor.into());
        self
    }

    /// Tells of each change of the configuration, and of what goes wrong in following it, to a function as well as to
    /// `tracing`, where the target is `annals::topics`.
    pub fn logger(mut self, logger: impl Fn(tracing::Level, &str) + Send + Sync + 'static) -> Self {
        self.logger = Some(Arc::new(logger));
        self
    }

    /// Makes the topics, and reaches no database yet.
    ///
    /// # Errors
    /// [`Error::Url`](crate::Error::Url) where the URL can't be used, [`Error::Invalid`](crate::Error::Invalid) and
    /// [`Error::Limit`](crate::Error::Limit) where the configuration topic's name is none.
    pub fn build(self) -> Result<Topics> {
        let config = self.url.parse::<Config>()?.with_topic(&self.config_topic)?;
        let inner = Inner {
            config,
            registry: self.registry,
            actor: self.actor,
            logger: self.logger,
            state: RwLock::default(),
            starting: tokio::sync::Mutex::default(),
        };
        Ok(Topics { inner: Arc::new(inner) })
    }
}
