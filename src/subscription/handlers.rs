//! What is done with events, by their types.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use futures::future::BoxFuture;

use super::durable::DurableSubscription;
use crate::error::{Error, Result};
use crate::event::RecordedEvent;
use crate::read::Query;

type Failure = Box<dyn StdError + Send + Sync>;
type Handler<'h> = Box<dyn FnMut(Arc<RecordedEvent>) -> BoxFuture<'h, Result<(), Failure>> + Send + 'h>;

/// Functions for events, registered by event type; see [`DurableSubscription::run`].
///
/// ```
/// # use annals::{Expected, NewEvent, Handlers, Store, Stream};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> annals::Result<()> {
/// # let store = Store::connect("sqlite::memory:?migrate=auto").await?;
/// # let event = NewEvent::json("OrderPlaced", &serde_json::json!({"total": 12}))?;
/// # store.append(&Stream::new("order", "order-1")?, Expected::NoStream, [event]).await?;
/// let (sent, mut mails) = tokio::sync::mpsc::unbounded_channel();
/// let mut handlers = Handlers::new()
///     .on("OrderPlaced", async |event| sent.send(format!("thanks for {}", event.aggregate_id)))
///     .on("OrderShipped", async |event| sent.send(format!("{} is on its way", event.aggregate_id)));
/// let mut mailer = store.durable("mailer").query(handlers.query()?).open().await?;
/// tokio::select! {
///     ended = mailer.run(&mut handlers) => ended.map(|never| match never {})?,
///     mail = mails.recv() => assert_eq!(mail.as_deref(), Some("thanks for order-1")),
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Default)]
pub struct Handlers<'h> {
    by_type: BTreeMap<String, Handler<'h>>,
    others: Option<Handler<'h>>,
}

impl fmt::Debug for Handlers<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handlers").field("types", &self.by_type.keys()).field("others", &self.others.is_some()).finish()
    }
}

impl<'h> Handlers<'h> {
    /// Makes an empty registry, which passes over every event.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers what is done with events of a type, in the place of what was registered for it before.
    #[must_use]
    pub fn on<F, Done, E>(mut self, event_type: impl Into<String>, handler: F) -> Self
    where
        F: FnMut(Arc<RecordedEvent>) -> Done + Send + 'h,
        Done: Future<Output = Result<(), E>> + Send + 'h,
        E: Into<Failure>,
    {
        self.by_type.insert(event_type.into(), boxed(handler));
        self
    }

    /// Registers what is done with events of all other types.
    #[must_use]
    pub fn otherwise<F, Done, E>(mut self, handler: F) -> Self
    where
        F: FnMut(Arc<RecordedEvent>) -> Done + Send + 'h,
        Done: Future<Output = Result<(), E>> + Send + 'h,
        E: Into<Failure>,
    {
        self.others = Some(boxed(handler));
        self
    }

    /// Returns the query for the events that have a handler, so that the database looks for these only.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::Limit`] where a type is not a name, and where nothing is registered.
    pub fn query(&self) -> Result<Query> {
        match (&self.others, self.by_type.is_empty()) {
            (Some(_), _) => Ok(Query::new()),
            (None, true) => Err(Error::invalid("handlers", "none is registered: no event has one")),
            (None, false) => Query::new().event_types(self.by_type.keys()),
        }
    }

    /// Does what is registered for an event.
    ///
    /// # Errors
    /// [`Error::Handler`] with what the handler answered.
    pub async fn handle(&mut self, event: &Arc<RecordedEvent>) -> Result<()> {
        let handler = self.by_type.get_mut(&event.event_type).or(self.others.as_mut());
        let Some(handler) = handler else { return Ok(()) };
        handler(Arc::clone(event)).await.map_err(|source| Error::Handler {
            event_type: event.event_type.clone(),
            lane: event.lane.get(),
            position: event.position,
            source,
        })
    }
}

fn boxed<'h, F, Done, E>(mut handler: F) -> Handler<'h>
where
    F: FnMut(Arc<RecordedEvent>) -> Done + Send + 'h,
    Done: Future<Output = Result<(), E>> + Send + 'h,
    E: Into<Failure>,
{
    Box::new(move |event| {
        let done = handler(event);
        Box::pin(async move { done.await.map_err(Into::into) })
    })
}

impl DurableSubscription {
    /// Hands every event to its handler, one after the other, and acknowledges each that was handled; ends with the first
    /// error only. Dropping the future ends it too: the event that was being handled comes again.
    ///
    /// # Errors
    /// [`Error::Handler`] with what a handler answered: its event is not acknowledged, and is the first one of the next
    /// run; and as [`DurableSubscription::next`].
    pub async fn run(&mut self, handlers: &mut Handlers<'_>) -> Result<Infallible> {
        loop {
            let event = match &self.handling {
                Some(event) => Arc::clone(event),
                None => self.next().await?,
            };
            handlers.handle(self.handling.insert(Arc::clone(&event))).await?;
            self.handling = None;
            self.ack(&event).await?;
        }
    }
}
