//! What [`Topics`](super::Topics) hold: the configuration once it was read, and the task that follows it.

use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use futures::TryStreamExt;
use tokio::task::JoinSet;

use super::model::Model;
use super::{Registry, TopicChangeKind};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::event::RecordedEvent;
use crate::read::Query;
use crate::store::Store;
use crate::subscription::Start;

/// How long a follower of the configuration waits after an error.
const PAUSE: Duration = Duration::from_secs(1);

pub(super) struct Inner {
    pub config: Config,
    pub registry: Registry,
    pub actor: Option<String>,
    pub logger: Option<Logger>,
    pub state: RwLock<State>,
    /// Held while the configuration is read as a whole.
    pub starting: tokio::sync::Mutex<()>,
}

/// What is told to a logger: a level, and a line of text.
pub(super) type Logger = Arc<dyn Fn(tracing::Level, &str) + Send + Sync>;

#[derive(Debug, Default)]
pub(super) enum State {
    #[default]
    New,
    Ready(Arc<Ready>),
    Closed,
}

/// The configuration, once it was read.
#[derive(Debug)]
pub(super) struct Ready {
    /// The configuration topic.
    pub store: Store,
    pub model: RwLock<Model>,
    /// The task that follows the configuration; it ends with this.
    pub follower: Mutex<JoinSet<()>>,
}

impl Ready {
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Model> {
        self.model.read().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    pub(super) fn ready(&self) -> Result<Arc<Ready>> {
        match &*self.state.read().unwrap_or_else(PoisonError::into_inner) {
            State::New => Err(Error::NotInitialized),
            State::Ready(ready) => Ok(Arc::clone(ready)),
            State::Closed => Err(Error::Closed),
        }
    }

    /// Takes in an event of the configuration topic, and tells of it.
    pub(super) fn take_in(&self, ready: &Ready, event: &RecordedEvent) -> Result<()> {
        let applied = ready.model.write().unwrap_or_else(PoisonError::into_inner).apply(event);
        if let Some(change) = applied? {
            let what = match change.kind {
                TopicChangeKind::Created => "created",
                TopicChangeKind::Updated => "updated",
                TopicChangeKind::Deleted => "deleted",
                TopicChangeKind::Purged => "purged",
            };
            let text = format!("topic {:?} is {what}: configuration version {}", change.topic, change.version);
            self.log(tracing::Level::INFO, &text);
        }
        Ok(())
    }

    /// Takes in what the configuration topic holds by now.
    pub(super) async fn catch_up(&self, ready: &Ready) -> Result<()> {
        let after = ready.read().position();
        let mut events = std::pin::pin!(ready.store.read(Query::new().after(after)));
        while let Some(event) = events.try_next().await? {
            self.take_in(ready, &event)?;
        }
        Ok(())
    }

    /// Takes in what comes from now on, in a task, in place of one that did so before.
    pub(super) fn follow(self: &Arc<Self>, ready: &Arc<Ready>) {
        let (topics, weak) = (Arc::downgrade(self), Arc::downgrade(ready));
        let (store, after) = (ready.store.clone(), ready.read().position());
        let task = async move {
            let changes = store.subscribe(Start::After(after), Query::new()).await;
            drop(store);
            let Ok(mut changes) = changes else { return };
            loop {
                let event = changes.next().await;
                let (Some(topics), Some(ready)) = (topics.upgrade(), weak.upgrade()) else { return };
                match event {
                    Ok(event) => {
                        if let Err(error) = topics.take_in(&ready, &event) {
                            let text = format!("the configuration is no longer followed: {}", error.report());
                            return topics.log(tracing::Level::ERROR, &text);
                        }
                    }
                    Err(Error::Closed) => return,
                    Err(error) => {
                        let text = format!("the configuration can't be followed for now: {}", error.report());
                        topics.log(tracing::Level::WARN, &text);
                        drop((topics, ready));
                        tokio::time::sleep(PAUSE).await;
                    }
                }
            }
        };
        let mut follower = ready.follower.lock().unwrap_or_else(PoisonError::into_inner);
        follower.abort_all();
        follower.spawn(task);
    }

    pub(super) fn log(&self, level: tracing::Level, text: &str) {
        match level {
            tracing::Level::ERROR => tracing::error!(target: "annals::topics", "{text}"),
            tracing::Level::WARN => tracing::warn!(target: "annals::topics", "{text}"),
            _ => tracing::info!(target: "annals::topics", "{text}"),
        }
        if let Some(logger) = &self.logger {
            logger(level, text);
        }
    }
}

/// Adds the configuration's events that answer a query to a model.
pub(super) async fn replay(store: &Store, query: Query, model: &mut Model) -> Result<()> {
    let mut events = std::pin::pin!(store.read(query));
    while let Some(event) = events.try_next().await? {
        model.apply(&event)?;
    }
    Ok(())
}

impl std::fmt::Debug for Inner {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Topics").field("config", &self.config).finish_non_exhaustive()
    }
}
