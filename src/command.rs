//! Commands: requests with an id, decided once.

use chrono::{DateTime, Utc};
use serde::Serialize;
use uuid::Uuid;

use crate::error::Result;
use crate::event::Source;
use crate::json::Json;
use crate::name;
use crate::position::Position;
use crate::stream::Stream;

/// A request's identity, and what is recorded of it beside its events.
///
/// A request that carries a command is decided once: when it is repeated, the first outcome comes back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Command {
    pub(crate) command_id: Uuid,
    pub(crate) command_type: Option<String>,
    pub(crate) stream: Option<Stream>,
    pub(crate) actor: Option<String>,
    pub(crate) source: Option<Source>,
    pub(crate) data: Option<Json>,
}

impl Command {
    /// Makes a command of an id that identifies the request, over all its repetitions.
    #[must_use]
    pub const fn new(command_id: Uuid) -> Self {
        Self { command_id, command_type: None, stream: None, actor: None, source: None, data: None }
    }

    /// Sets the command's type.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] and [`crate::Error::Limit`] where it is not a name.
    pub fn with_type(mut self, command_type: impl Into<String>) -> Result<Self> {
        self.command_type = Some(name::check("command_type", command_type)?);
        Ok(self)
    }

    /// Sets the stream that the command is about; without, the first stream of its request.
    #[must_use]
    pub fn with_stream(mut self, stream: Stream) -> Self {
        self.stream = Some(stream);
        self
    }

    /// Sets who gave the command.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] and [`crate::Error::Limit`] where it is not a name.
    pub fn with_actor(mut self, actor: impl Into<String>) -> Result<Self> {
        self.actor = Some(name::check("actor", actor)?);
        Ok(self)
    }

    /// Sets the way by which the command came in.
    #[must_use]
    pub const fn with_source(mut self, source: Source) -> Self {
        self.source = Some(source);
        self
    }

    /// Sets the command's own data.
    #[must_use]
    pub fn with_data(mut self, data: Json) -> Self {
        self.data = Some(data);
        self
    }

    /// Returns the command's id.
    #[must_use]
    pub const fn id(&self) -> Uuid {
        self.command_id
    }
}

impl From<Uuid> for Command {
    fn from(command_id: Uuid) -> Self {
        Self::new(command_id)
    }
}

/// A command as the store recorded it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RecordedCommand {
    /// Its id.
    pub command_id: Uuid,
    /// Its type.
    pub command_type: Option<String>,
    /// The id of the stream that it is about.
    pub aggregate_id: Option<String>,
    /// The category of that stream.
    pub aggregate_type: Option<String>,
    /// When it was decided, by the clock that stamps the events.
    pub processed_at: DateTime<Utc>,
    /// Who gave it.
    pub actor: Option<String>,
    /// The way by which it came in.
    pub source: Option<Source>,
    /// Its own data.
    pub data: Option<Json>,
    /// The position of its first event; `None` where it was recorded without events.
    pub first_position: Option<Position>,
    /// The position of its last event.
    pub last_position: Option<Position>,
}
