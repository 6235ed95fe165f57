//! A command's way: load, decide, append at the loaded version, and again where somebody was faster.

use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use uuid::Uuid;

use super::load::stream_of;
use super::{Aggregate, Loaded, TypedEvent};
use crate::append::{Append, Appended};
use crate::command::{Command, RecordedCommand};
use crate::error::{Error, Result};
use crate::event::{ActorType, NewEvent, Source};
use crate::json::Json;
use crate::position::Version;
use crate::read::Query;
use crate::store::Store;
use crate::stream::{Expected, Stream};

/// How often a command is decided, at most, where others append to its stream in between.
const TRIES: u32 = 20;

/// The longest pause after the first conflict; it doubles with each further one.
const FIRST_PAUSE: Duration = Duration::from_millis(1);

/// The longest pause after any conflict.
const LONGEST_PAUSE: Duration = Duration::from_millis(250);

impl Store {
    /// Executes a command: loads the aggregate, lets it decide, and appends what it decided at the version that it was
    /// loaded at. Where somebody else appended in between, it is loaded and decides anew.
    ///
    /// What comes back is to be awaited; before that, it takes the command's identity, its actor and more.
    ///
    /// ```
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # use annals::{ActorType, Aggregate, Store, TypedEvent};
    /// # #[derive(Debug, Default)]
    /// # struct Counter { count: u32 }
    /// # #[derive(serde::Serialize, serde::Deserialize)]
    /// # enum Event { Counted }
    /// # impl TypedEvent for Event {}
    /// # impl Aggregate for Counter {
    /// #     const TYPE: &'static str = "counter";
    /// #     type Command = ();
    /// #     type Event = Event;
    /// #     type Error = std::convert::Infallible;
    /// #     fn decide(&self, _: &()) -> Result<Vec<Event>, Self::Error> { Ok(vec![Event::Counted]) }
    /// #     fn evolve(&mut self, _: Event) { self.count += 1; }
    /// # }
    /// # let store = Store::connect("sqlite::memory:?migrate=auto").await?;
    /// let id = uuid::Uuid::now_v7();
    /// let done = store.execute::<Counter>("visits", ()).command(id).actor("ada", ActorType::User).await?;
    /// assert_eq!((done.state.count, done.appended.duplicate), (1, false));
    ///
    /// // The same command again: the first outcome, and nothing more has happened.
    /// let again = store.execute::<Counter>("visits", ()).command(id).await?;
    /// assert_eq!((again.state.count, again.appended.duplicate), (1, true));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Awaited, it answers [`ExecuteError::Rejected`] where the aggregate rejects the command, and
    /// [`ExecuteError::Store`] with the errors of [`Store::load`] and [`Store::commit`]: [`Error::Conflict`] only where
    /// others were faster each time.
    pub fn execute<A: Aggregate>(&self, id: impl Into<String>, command: A::Command) -> Execute<A> {
        Execute {
            store: self.clone(),
            id: id.into(),
            command,
            identity: None,
            tries: TRIES,
            actor: None,
            source: Source::default(),
            metadata: None,
            causation_id: None,
            correlation_id: None,
        }
    }
}

/// A command that is about to be executed: `.await` does it.
#[must_use = "a command is executed when it is awaited"]
pub struct Execute<A: Aggregate> {
    store: Store,
    id: String,
    command: A::Command,
    identity: Option<Command>,
    tries: u32,
    actor: Option<(String, ActorType)>,
    source: Source,
    metadata: Option<Json>,
    causation_id: Option<Uuid>,
    correlation_id: Option<Uuid>,
}

/// What became of a command.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Executed<A> {
    /// The aggregate's state after the command.
    pub state: A,
    /// The version of the last event that the state holds.
    pub version: Version,
    /// What was appended. For a command that was executed before, it is marked as a duplicate, and state and version are
    /// those of the first time; where that appended nothing, they are those of now.
    pub appended: Appended,
}

/// Why a command was not executed.
#[derive(Debug, thiserror::Error)]
pub enum ExecuteError<E> {
    /// The aggregate rejected it, for a reason of its own. Nothing was stored.
    #[error(transparent)]
    Rejected(E),
    /// The store failed, or refused it.
    #[error(transparent)]
    Store(#[from] Error),
}

impl<A: Aggregate> Execute<A> {
    /// Gives the command an identity, an id or a [`Command`]: executing it again has no further effect, and answers with
    /// the first outcome.
    ///
    /// The id stands for the request. Where the [`Command`] has a type and data as well, a second one of the same id and
    /// other type or data is answered with [`Error::CommandReused`]; so is one for another aggregate.
    pub fn command(mut self, command: impl Into<Command>) -> Self {
        self.identity = Some(command.into());
        self
    }

    /// Sets who gave the command; it is recorded with each event.
    pub fn actor(mut self, actor: impl Into<String>, actor_type: ActorType) -> Self {
        self.actor = Some((actor.into(), actor_type));
        self
    }

    /// Sets the way by which the command came in.
    pub fn source(mut self, source: Source) -> Self {
        self.source = source;
        self
    }

    /// Sets the metadata of each event, a JSON object.
    pub fn metadata(mut self, metadata: Json) -> Self {
        self.metadata = Some(metadata);
        self
    }

    /// Sets the id of the message that caused the events; without one, the command's id.
    pub fn causation(mut self, causation_id: Uuid) -> Self {
        self.causation_id = Some(causation_id);
        self
    }

    /// Sets the id that all events of one conversation share.
    pub fn correlation(mut self, correlation_id: Uuid) -> Self {
        self.correlation_id = Some(correlation_id);
        self
    }

    /// Sets how often the command is decided at most, 1 or more, where others append to its stream in between; 20
    /// without. With 1, the first conflict is the answer.
    pub fn tries(mut self, tries: u32) -> Self {
        self.tries = tries;
        self
    }

    #[tracing::instrument(level = "debug", name = "execute", skip_all, fields(stream = self.id))]
    async fn run(self) -> Result<Executed<A>, ExecuteError<A::Error>> {
        let stream = stream_of::<A>(&self.id)?;
        let mut loaded = self.store.load_to::<A>(&stream, Version::MAX).await?;
        let mut tried = 1;
        loop {
            let events = match loaded.state.decide(&self.command) {
                Ok(events) => events,
                // A command that was carried out may well not be possible a second time.
                Err(rejected) => {
                    return self.first_outcome(&stream).await?.ok_or(ExecuteError::Rejected(rejected));
                }
            };
            match self.append(&stream, loaded.version, &events).await {
                Ok(appended) if appended.duplicate => return Ok(self.then(&stream, appended).await?),
                Ok(appended) => return Ok(self.done(&stream, loaded, events, appended).await),
                // The id is known from a request that was decided over another version: maybe by this very command.
                Err(reused @ Error::CommandReused { .. }) => {
                    return self.first_outcome(&stream).await?.ok_or(ExecuteError::Store(reused));
                }
                Err(error) if error.is_conflict() && tried < self.tries => {
                    tracing::debug!(tried, "somebody else was faster: deciding anew");
                    pause(tried).await;
                    tried += 1;
                    loaded = self.store.read_on(&stream, loaded, Version::MAX).await?;
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Appends what was decided, with the command. Where that is nothing, only a command that has an identity is recorded.
    async fn append(&self, stream: &Stream, version: Version, events: &[A::Event]) -> Result<Appended> {
        if events.is_empty() && self.identity.is_none() {
            return Ok(Appended::new(self.store.lane(stream.id()), None, Vec::new(), false));
        }
        let events = events.iter().map(|event| self.dress(event.encode()?)).collect::<Result<Vec<_>>>()?;
        let mut append = Append::new().to(stream.clone(), Expected::Exact(version), events);
        if let Some(command) = &self.identity {
            let mut command = command.clone();
            if let Some((actor, _)) = self.actor.as_ref().filter(|_| command.actor.is_none()) {
                command = command.with_actor(actor)?;
            }
            command.source = command.source.or(Some(self.source));
            append = append.command(command);
        }
        self.store.commit(append).await
    }

    /// Puts on an event what came with the command.
    fn dress(&self, mut event: NewEvent) -> Result<NewEvent> {
        event.source = self.source;
        event.causation_id = self.causation_id;
        event.correlation_id = self.correlation_id;
        if let Some((actor, actor_type)) = &self.actor {
            event = event.with_actor(actor, *actor_type)?;
        }
        match &self.metadata {
            Some(metadata) => event.with_metadata(metadata.clone()),
            None => Ok(event),
        }
    }

    /// Takes in what was appended.
    async fn done(
        &self,
        stream: &Stream,
        mut loaded: Loaded<A>,
        events: Vec<A::Event>,
        appended: Appended,
    ) -> Executed<A> {
        if !events.is_empty() {
            loaded.version = appended.version();
            loaded.unsaved += events.len() as u64;
            for event in events {
                loaded.state.evolve(event);
            }
            self.store.save_if_due(stream, &loaded).await;
        }
        Executed { state: loaded.state, version: loaded.version, appended }
    }

    /// Returns the outcome of a command that was executed before, as it was then.
    async fn then(&self, stream: &Stream, appended: Appended) -> Result<Executed<A>> {
        let version = appended.version_of(stream.id()).unwrap_or(Version::MAX);
        let Loaded { state, version, .. } = self.store.load_to(stream, version).await?;
        Ok(Executed { state, version, appended })
    }

    /// Returns the outcome of this command if it was executed before.
    async fn first_outcome(&self, stream: &Stream) -> Result<Option<Executed<A>>> {
        let Some(command) = &self.identity else { return Ok(None) };
        let lane = self.store.lane(stream.id());
        let Some(recorded) = self.store.command_in(lane, command.id()).await? else { return Ok(None) };
        let reused = || Error::CommandReused { command_id: command.id() };
        if !is_same(command, &recorded, stream) {
            return Err(reused());
        }
        let mut appended = Appended::new(lane, recorded.first_position.zip(recorded.last_position), Vec::new(), true);
        if let Some((first, last)) = appended.positions {
            let events = Query::stream(stream.id()).after(first.plus(-1)).until(last).include_deleted();
            let newest = self.store.query(events).await?.pop().ok_or_else(reused)?;
            appended.versions.push((newest.aggregate_id, newest.aggregate_version));
        }
        self.then(stream, appended).await.map(Some)
    }
}

/// Whether a recorded command is this one: about the same stream, and of the same type and data.
fn is_same(command: &Command, recorded: &RecordedCommand, stream: &Stream) -> bool {
    let about = command.stream.as_ref().unwrap_or(stream);
    recorded.aggregate_id.as_deref() == Some(about.id())
        && recorded.aggregate_type.as_deref() == Some(about.aggregate_type())
        && recorded.command_type == command.command_type
        && recorded.data == command.data
}

/// Waits a random part of a time that grows with each conflict, so that those who met once do not meet again.
async fn pause(tried: u32) {
    let longest = FIRST_PAUSE.saturating_mul(1 << tried.saturating_sub(1).min(16)).min(LONGEST_PAUSE);
    let (random, ..) = Uuid::new_v4().as_fields();
    tokio::time::sleep(longest.mul_f64(f64::from(random) / f64::from(u32::MAX))).await;
}

impl<A: Aggregate> IntoFuture for Execute<A> {
    type Output = Result<Executed<A>, ExecuteError<A::Error>>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}
