//! Where a relay publishes to.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::event::RecordedEvent;

/// An event on its way to a broker.
#[derive(Debug, Clone)]
pub struct Message {
    pub(super) event: Arc<RecordedEvent>,
    pub(super) topic: Arc<str>,
    pub(super) key: String,
    pub(super) body: String,
}

impl Message {
    /// Returns the event.
    #[must_use]
    pub fn event(&self) -> &RecordedEvent {
        &self.event
    }

    /// Returns the name of the event's topic.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.topic
    }

    /// Returns the key by which the broker is to know the event again: the event's id, and in a topic of several lanes,
    /// each of which may have an event of that id, its lane. It is the same whenever the event is sent.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }

    /// Returns the event as `CloudEvents` 1.0 JSON. Data that have line breaks keep them.
    #[must_use]
    pub fn body(&self) -> &str {
        &self.body
    }
}

/// What can be done about an event that was not confirmed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Trouble {
    /// The broker is out of reach or busy: the same event may be taken later.
    Retry,
    /// The broker will not take this event, however often it is sent; it may take others.
    Refused,
    /// The broker will take nothing of this relay until somebody changes something.
    Fatal,
    /// Nobody takes events any more, which is no failure: the reader of an output has gone.
    Closed,
}

/// Why not all events of a batch were confirmed.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{reason}")]
#[non_exhaustive]
pub struct Unconfirmed {
    /// How many events were confirmed, from the first of the batch on. The trouble is that of the next one.
    pub confirmed: usize,
    /// What can be done.
    pub trouble: Trouble,
    /// What was wrong: lower case, without credentials.
    pub reason: String,
    /// How long the broker asks to wait.
    pub retry_after: Option<Duration>,
}

impl Unconfirmed {
    /// Says that the event after the first `confirmed` may be taken later.
    pub fn retry(confirmed: usize, reason: impl Into<String>) -> Self {
        Self { confirmed, trouble: Trouble::Retry, reason: reason.into(), retry_after: None }
    }

    /// Says that the event after the first `confirmed` will never be taken.
    pub fn refused(confirmed: usize, reason: impl Into<String>) -> Self {
        Self { confirmed, trouble: Trouble::Refused, reason: reason.into(), retry_after: None }
    }

    /// Says that no event will be taken.
    pub fn fatal(confirmed: usize, reason: impl Into<String>) -> Self {
        Self { confirmed, trouble: Trouble::Fatal, reason: reason.into(), retry_after: None }
    }

    /// Says that nobody takes events any more.
    pub fn closed(confirmed: usize) -> Self {
        Self { confirmed, trouble: Trouble::Closed, reason: "nobody reads on".to_owned(), retry_after: None }
    }

    /// Says how long the broker asks to wait.
    #[must_use]
    pub const fn after(mut self, time: Option<Duration>) -> Self {
        self.retry_after = time;
        self
    }
}

/// A broker, as a relay sees it.
#[async_trait]
pub trait Publisher: Send {
    /// Returns where it publishes to, for messages: without credentials.
    fn target(&self) -> String;

    /// Returns how many events [`Publisher::publish`] takes at most at a time; 1 without this.
    fn batch_size(&self) -> usize {
        1
    }

    /// Publishes events, and returns once the broker has confirmed all of them.
    ///
    /// Events of one stream must reach the broker in their order, whatever fails: none before the one that precedes it is
    /// confirmed or sure to arrive first. What is not confirmed is sent again, with the same keys.
    ///
    /// # Errors
    /// [`Unconfirmed`] says how many were confirmed, and what is wrong with the next one.
    async fn publish(&mut self, messages: &[Message]) -> Result<(), Unconfirmed>;
}
