//! The relay, also known as an outbox: what was saved is published to a broker, in order, at least once.
//!
//! A [`Relay`] is a durable subscription whose handler is a [`Publisher`]. Its checkpoint moves only after the broker has
//! confirmed an event, so that a broker that is down, and a relay that is killed, lose nothing. What is sent a second time
//! has the same key as the first time: the id of the event.
//!
//! ```
//! # use annals::{Expected, NewEvent, Store, Stream};
//! # use annals::relay::{Lines, Relay};
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> annals::Result<()> {
//! # let store = Store::connect("sqlite::memory:?migrate=auto").await?;
//! # let event = NewEvent::json("OrderPlaced", &serde_json::json!({"total": 12}))?;
//! # store.append(&Stream::new("order", "order-1")?, Expected::NoStream, [event]).await?;
//! let relay = Relay::new(store.durable("outbox"), Lines::new(std::io::stdout()));
//! let relayed = relay.until_caught_up().run(std::future::pending()).await?;
//! assert_eq!(relayed.published, 1);
//! # Ok(())
//! # }
//! ```

mod backoff;
pub(crate) mod cloud_event;
mod lines;
#[cfg(feature = "nats")]
mod nats;
mod publisher;
mod run;
#[cfg(feature = "webhook")]
mod signature;
mod template;
#[cfg(test)]
mod tests;
#[cfg(feature = "webhook")]
mod webhook;

use std::fmt;
use std::future::Future;
use std::time::Duration;

pub use lines::Lines;
#[cfg(feature = "nats")]
pub use nats::Nats;
pub use publisher::{Message, Publisher, Trouble, Unconfirmed};
#[cfg(feature = "webhook")]
pub use signature::WebhookSecrets;
#[cfg(feature = "webhook")]
pub use webhook::Webhook;

use crate::error::{Error, Result};
use crate::subscription::Durable;
use template::Template;

/// What becomes of an event that the broker refuses for good.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum OnRefusal {
    /// The relay ends with an error, and stands before the event: nothing is lost, and nothing goes on.
    #[default]
    Stop,
    /// The event is reported, counted and left out.
    Skip,
}

/// What a relay tells while it runs.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Change {
    /// Another process runs the relay of this name; this one waits until it is gone.
    Standby {
        /// The holder of the lease.
        owner: String,
    },
    /// The relay begins, or goes on where it stood.
    Started,
    /// All that was there is published; from here on, what comes.
    CaughtUp,
    /// Something failed, and is tried again after a pause.
    Retrying {
        /// What was wrong.
        reason: String,
        /// The pause.
        pause: Duration,
    },
    /// What had failed works again.
    Resumed,
    /// An event was left out, see [`OnRefusal::Skip`].
    Skipped {
        /// The event, as a person finds it.
        event: String,
        /// Why the broker refused it.
        reason: String,
    },
}

/// Why a relay ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum End {
    /// Everything was published, and the relay was to run [`until_caught_up`](Relay::until_caught_up).
    CaughtUp,
    /// It was told to.
    Stopped,
    /// Nobody takes events any more, see [`Trouble::Closed`].
    Closed,
}

/// What a relay did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub struct Relayed {
    /// Why it ended.
    pub end: End,
    /// How many events the broker confirmed.
    pub published: u64,
    /// How many were left out.
    pub skipped: u64,
}

type Watcher = Box<dyn FnMut(Change) + Send>;

/// Publishes the events of a durable subscription.
#[must_use = "a relay does nothing until it runs"]
pub struct Relay<P> {
    durable: Durable,
    publisher: P,
    source: Option<String>,
    schema: Option<Template>,
    on_refusal: OnRefusal,
    give_up_after: Option<Duration>,
    until_caught_up: bool,
    watcher: Watcher,
}

impl<P: Publisher> Relay<P> {
    /// Makes a relay from a subscription by name and a broker.
    pub fn new(durable: Durable, publisher: P) -> Self {
        Self {
            durable,
            publisher,
            source: None,
            schema: None,
            on_refusal: OnRefusal::default(),
            give_up_after: None,
            until_caught_up: false,
            watcher: Box::new(|_| {}),
        }
    }

    /// Sets the `source` of the `CloudEvents`, a URI; `/annals/` and the topic's name without this. In a topic of several
    /// lanes, the lane follows it.
    ///
    /// # Errors
    /// [`Error::Invalid`] where it is empty, or has white space or control characters.
    pub fn source(mut self, source: impl Into<String>) -> Result<Self> {
        let source = source.into();
        check_uri("source", &source)?;
        self.source = Some(source);
        Ok(self)
    }

    /// Sets the `dataschema` of the `CloudEvents`, a URI with places such as
    /// `https://example.org/schemas/{event_type}/{event_version}`; none without this.
    ///
    /// # Errors
    /// [`Error::Invalid`] where a place is unknown, or it is no URI.
    pub fn schema(mut self, template: &str) -> Result<Self> {
        check_uri("schema", template)?;
        self.schema = Some(Template::parse("schema", template)?);
        Ok(self)
    }

    /// Says what becomes of an event that the broker refuses for good; the relay stops without this.
    pub fn on_refusal(mut self, on_refusal: OnRefusal) -> Self {
        self.on_refusal = on_refusal;
        self
    }

    /// Makes the relay end with an error once nothing was confirmed for so long although there is something to publish.
    /// Without this it tries for ever.
    pub fn give_up_after(mut self, time: Duration) -> Self {
        self.give_up_after = Some(time);
        self
    }

    /// Makes the relay end once all that is there is published.
    pub fn until_caught_up(mut self) -> Self {
        self.until_caught_up = true;
        self
    }

    /// Sets who is told what happens.
    pub fn on_change(mut self, watcher: impl FnMut(Change) + Send + 'static) -> Self {
        self.watcher = Box::new(watcher);
        self
    }

    /// Publishes until `stop` is ready, or there is a reason to end. Then the checkpoint is saved and the lease is given
    /// back. Events that are on their way at that time are waited for, 5 s at most.
    ///
    /// Where this future is dropped instead, what was confirmed since the checkpoint was saved is published again, with
    /// the same keys, by whoever goes on.
    ///
    /// # Errors
    /// What opening and reading the subscription answers, unless trying again may help; [`Error::Backend`] where the
    /// broker refuses an event and [`OnRefusal::Stop`] holds, or where nothing was confirmed for too long.
    pub async fn run(self, stop: impl Future<Output = ()> + Send) -> Result<Relayed> {
        run::run(self, stop).await
    }
}

impl<P: fmt::Debug> fmt::Debug for Relay<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("durable", &self.durable)
            .field("publisher", &self.publisher)
            .field("on_refusal", &self.on_refusal)
            .finish_non_exhaustive()
    }
}

fn check_uri(what: &'static str, text: &str) -> Result<()> {
    if text.is_empty() || text.contains(|char: char| char.is_whitespace() || char.is_control()) {
        return Err(Error::invalid(what, format!("{text:?} is empty, or has what no uri can have")));
    }
    Ok(())
}
