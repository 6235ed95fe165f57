//! `annals append`: events to a stream, all of them or none.

use std::io::{self, IsTerminal};

use serde_json::json;
use uuid::Uuid;

use super::line::{Defaults, Line};
use super::{Context, Failure, lines, parse};
use crate::append::{Append, Appended};
use crate::command::Command;
use crate::error::Error;
use crate::event::{ActorType, NewEvent, Payload, Source};
use crate::limits;
use crate::stream::{Expected, Stream};

/// The arguments of `annals append`.
#[derive(Debug, clap::Args)]
#[command(after_help = "Without --type, events are read from standard input, one JSON object a line with the fields \
    event_type and data; event_id, event_version, metadata, tags, actor, actor_type, source, causation_id, \
    correlation_id and content_type are optional. All of them are stored, or none.")]
pub(crate) struct Args {
    /// The stream's category; its first event fixes it.
    aggregate_type: String,
    /// The stream's id.
    aggregate_id: String,
    /// The version that the stream must have: any, none, exists, or a number.
    #[arg(long, value_name = "VERSION", default_value = "any", value_parser = parse::expected)]
    expect: Expected,
    /// The event's type.
    #[arg(long = "type", value_name = "EVENT_TYPE", requires = "data")]
    event_type: Option<String>,
    /// The event's data: JSON, @FILE, or - for standard input.
    #[arg(long, value_name = "JSON", requires = "event_type")]
    data: Option<String>,
    /// The event's metadata: a JSON object, @FILE, or - for standard input.
    #[arg(long, value_name = "JSON", requires = "event_type")]
    metadata: Option<String>,
    /// The version of the data's schema.
    #[arg(long, value_name = "N", requires = "event_type")]
    event_version: Option<i32>,
    /// The content type of data that is not JSON.
    #[arg(long, requires = "event_type")]
    content_type: Option<String>,
    /// A tag of the event; can be given several times.
    #[arg(long = "tag", value_name = "TAG", requires = "event_type")]
    tags: Vec<String>,
    /// The event's id, unique in the stream's lane; without one, a UUID of version 7.
    #[arg(long, value_name = "UUID", requires = "event_type")]
    event_id: Option<Uuid>,
    /// The conversation that the event belongs to.
    #[arg(long, value_name = "UUID", requires = "event_type")]
    correlation: Option<Uuid>,
    /// The message that caused the event; without one, the command.
    #[arg(long, value_name = "UUID", requires = "event_type")]
    causation: Option<Uuid>,
    /// Who caused the events [default: the environment's `ANNALS_ACTOR`, or the name of the user who runs this].
    #[arg(long)]
    actor: Option<String>,
    /// What kind of actor caused them: user, service or system.
    #[arg(long, default_value_t = ActorType::User)]
    actor_type: ActorType,
    /// The way by which they came in: ui, api, import, webhook or system.
    #[arg(long, default_value_t = Source::Api)]
    source: Source,
    /// The request's identity, unique in the stream's lane: repeating it has the effect of doing it once.
    #[arg(long, value_name = "UUID")]
    command_id: Option<Uuid>,
    /// What kind of command it is, for the record.
    #[arg(long, requires = "command_id")]
    command_type: Option<String>,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let stream = Stream::new(args.aggregate_type.as_str(), args.aggregate_id.as_str())?;
    let actor = args.actor.clone().or_else(parse::actor);
    let defaults = Defaults { actor, actor_type: args.actor_type, source: args.source };
    let mut append = Append::new();
    if let Some(command_id) = args.command_id {
        let mut command = Command::new(command_id).with_source(args.source);
        if let Some(actor) = &defaults.actor {
            command = command.with_actor(actor.as_str())?;
        }
        if let Some(command_type) = &args.command_type {
            command = command.with_type(command_type.as_str())?;
        }
        append = append.command(command);
    }
    let (expect, repeatable) = (args.expect, args.command_id.is_some());
    let events = match args.event_type.clone() {
        Some(event_type) => {
            if [&args.data, &args.metadata].iter().all(|argument| argument.as_deref() == Some("-")) {
                return Err(Failure::usage("standard input can be read only once: --data and --metadata both name it"));
            }
            vec![one(event_type, args, &defaults)?]
        }
        None => read(&stream, &defaults, context.config()?.max_event_bytes())?,
    };
    let append = append.to(stream.clone(), expect, events);
    let appended = context.commit(append).await?.map_err(|error| unknown(error, repeatable))?;
    Outcome::new(&stream, appended).print(context, "appended to")
}

/// Says what to do where a deadline ended an append, which may be stored all the same.
fn unknown(error: Error, repeatable: bool) -> Failure {
    match error {
        Error::Deadline { .. } if repeatable => {
            Failure::from(error).then("the outcome may be unknown: repeat it with the same --command-id")
        }
        Error::Deadline { .. } => Failure::from(error)
            .then("the outcome may be unknown: read the stream; with a --command-id, repeating would be safe"),
        error => error.into(),
    }
}

fn one(event_type: String, args: Args, defaults: &Defaults) -> Result<NewEvent, Failure> {
    let data = args.data.unwrap_or_default();
    let mut event = match args.content_type {
        Some(content_type) => NewEvent::bytes(event_type, content_type, parse::bytes(&data)?)?,
        None => NewEvent::new(event_type, Payload::Json(parse::json(&data)?))?,
    };
    event = event.with_version(args.event_version.unwrap_or(1))?.with_tags(args.tags)?.with_source(defaults.source);
    event = match &defaults.actor {
        Some(actor) => event.with_actor(actor.as_str(), defaults.actor_type)?,
        None => event.with_actor_type(defaults.actor_type),
    };
    if let Some(metadata) = args.metadata {
        event = event.with_metadata(parse::json(&metadata)?)?;
    }
    if let Some(id) = args.event_id {
        event = event.with_id(id);
    }
    if let Some(id) = args.correlation {
        event = event.with_correlation(id);
    }
    if let Some(id) = args.causation {
        event = event.with_causation(id);
    }
    Ok(event)
}

/// Reads events from standard input; none where it is empty, which only checks the version.
fn read(stream: &Stream, defaults: &Defaults, event_bytes: usize) -> Result<Vec<NewEvent>, Failure> {
    let mut input = io::stdin().lock();
    if input.is_terminal() {
        return Err(Failure::usage("give --type and --data, or one JSON object a line on standard input"));
    }
    let (mut events, mut line, mut number, mut bytes) = (Vec::new(), Vec::new(), 0, 0);
    loop {
        number += 1;
        let event = lines::next(&mut input, lines::line_bytes(event_bytes), &mut line, &mut bytes).and_then(|more| {
            let text = if more { lines::text(&line, number)? } else { None };
            Ok((more, text.map(|text| event(text, stream, defaults)).transpose()?))
        });
        let (more, event) = event.map_err(|failure| failure.at(&format!("line {number}")))?;
        if !more {
            return Ok(events);
        }
        events.extend(event);
        if events.len() > limits::EVENTS_PER_REQUEST || bytes > 2 * limits::REQUEST_BYTES as u64 {
            return Err(Failure::usage("the input is larger than one request may be: use import for it"));
        }
    }
}

fn event(text: &str, stream: &Stream, defaults: &Defaults) -> Result<NewEvent, Error> {
    let line = Line::parse(text)?;
    line.check_stream(stream)?;
    line.event(defaults)
}

/// What came of a request over one stream.
pub(super) struct Outcome {
    stream: String,
    appended: Appended,
}

impl Outcome {
    pub(super) fn new(stream: &Stream, appended: Appended) -> Self {
        Self { stream: stream.id().to_owned(), appended }
    }

    /// Prints it. Where that fails, the failure says what is stored all the same.
    pub(super) fn print(&self, context: &Context, done: &str) -> Result<(), Failure> {
        let (_, last) = self.appended.positions.unzip();
        let place = self.appended.version_of(&self.stream).zip(last).map(|(version, position)| {
            let lane = if context.has_lanes() { format!("lane {}, ", self.appended.lane) } else { String::new() };
            format!("version {version}, {lane}position {position}")
        });
        let printed = self.line(context, done, place.as_deref());
        context.done(printed, &place.map_or_else(|| "as expected".to_owned(), |place| format!("stored as {place}")))
    }

    fn line(&self, context: &Context, done: &str, place: Option<&str>) -> Result<(), Failure> {
        let mut out = context.output();
        if context.json {
            let (first, last) = self.appended.positions.unzip();
            return out.json(&json!({
                "aggregate_id": self.stream, "aggregate_version": self.appended.version_of(&self.stream),
                "lane": self.appended.lane, "first_position": first, "last_position": last,
                "duplicate": self.appended.duplicate,
            }));
        }
        let done = if self.appended.duplicate { "done before:" } else { done };
        match place {
            Some(place) => out.line(format_args!("{done} {}: {place}", self.stream)),
            None => out.line(format_args!("{}: as expected, nothing to append", self.stream)),
        }
    }
}
