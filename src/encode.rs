//! From what a caller asks to what a backend sees: validated, encoded, hashed.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use crate::append::Append;
use crate::backend::request::{CommandWrite, EventWrite, Examined, Life, Request, StreamRule};
use crate::command::Command;
use crate::error::{Error, Result};
use crate::event::{NewEvent, Payload, RecordedEvent, marker};
use crate::hash;
use crate::json::{self, Json};
use crate::limits;
use crate::position::Version;
use crate::stream::{Expected, Stream};

/// What an event or command weighs besides its payloads and tags, in bytes.
const OVERHEAD: usize = 256;

/// What the name of a stream, a type or a tag weighs besides its text, in bytes.
const NAME: usize = 32;

/// Returns what a request weighs in the writer's queue, in bytes, before anything of it is encoded.
pub(crate) fn weight(append: &Append) -> usize {
    let streams = append.parts.iter().map(|(stream, _, _)| NAME + stream.id().len());
    let events = append.parts.iter().flat_map(|(_, _, events)| events).map(|event| OVERHEAD + event_bytes(event));
    let items = append.condition.iter().flat_map(|condition| &condition.items);
    let names = items.flat_map(|item| item.types.iter().chain(&item.tags)).map(|name| NAME + name.len());
    let command = append.command.as_ref().map_or(0, |command| OVERHEAD + command_bytes(command));
    streams.sum::<usize>() + events.sum::<usize>() + names.sum::<usize>() + command
}

/// Returns the bytes of a command that the limit of a request counts.
fn command_bytes(command: &Command) -> usize {
    command.data.as_ref().map_or(0, |data| data.as_str().len())
}

/// Returns the bytes of an event that its limit counts.
pub(crate) fn event_bytes(event: &NewEvent) -> usize {
    bytes(&event.payload, event.metadata.as_ref(), &event.tags)
}

/// As [`event_bytes`], of an event that is stored.
pub(crate) fn recorded_bytes(event: &RecordedEvent) -> usize {
    bytes(&event.payload, event.metadata.as_ref(), &event.tags)
}

fn bytes(payload: &Payload, metadata: Option<&Json>, tags: &[String]) -> usize {
    let data = match payload {
        Payload::Json(json) => json.as_str().len(),
        Payload::Bytes { bytes, .. } => bytes.len(),
    };
    data + metadata.map_or(0, |json| json.as_str().len()) + tags.iter().map(String::len).sum::<usize>()
}

/// Encodes a request.
///
/// # Errors
/// [`Error::Invalid`] where it names an event twice, or a stream with another type or expectation than before, and where
/// it expects a version below 0.
pub(crate) fn append(append: Append) -> Result<Request> {
    let bytes = weight(&append);
    let command_id = append.command.as_ref().map(Command::id);
    let mut request = Request {
        streams: Vec::with_capacity(append.parts.len()),
        events: Vec::with_capacity(append.events()),
        condition: append.condition,
        examined: Examined::default(),
        command: None,
        bytes,
    };
    let (mut ids, mut indexes) = (HashSet::new(), HashMap::new());
    for (stream, expected, events) in append.parts {
        let rule = rule(&stream, expected, Life::Keep)?;
        let index = match indexes.get(&rule.aggregate_id).copied() {
            None => request.streams.len(),
            Some(index) if request.streams[index] == rule => index,
            Some(_) => {
                let reason = format!("{:?} stands twice in the request, and not with the same", rule.aggregate_id);
                return Err(Error::invalid("stream", format!("{reason} type and expected version")));
            }
        };
        for event in events {
            if event.event_id.is_some_and(|id| !ids.insert(id)) {
                let id = event.event_id.unwrap_or_default();
                return Err(Error::invalid("event_id", format!("{id} stands twice in the request")));
            }
            request.events.push(encode_event(&rule, index, event, command_id));
        }
        if index == request.streams.len() {
            indexes.insert(rule.aggregate_id.clone(), index);
            request.streams.push(rule);
        }
    }
    finish(&mut request, append.command);
    Ok(request)
}

/// Encodes a change of a stream's life: one marker event.
///
/// # Errors
/// [`Error::Invalid`] where it expects a version below 0.
pub(crate) fn life(stream: &Stream, expected: Expected, life: Life) -> Result<Request> {
    let event_type = match life {
        Life::Keep | Life::Delete => marker::DELETED,
        Life::Undelete => marker::UNDELETED,
        Life::Reuse => marker::REUSED,
    };
    let rule = rule(stream, expected, life)?;
    let marker = NewEvent {
        event_id: None,
        event_type: event_type.to_owned(),
        event_version: 1,
        payload: Payload::Json(Json::trusted("{}")),
        metadata: None,
        tags: Vec::new(),
        actor: None,
        actor_type: crate::event::ActorType::default(),
        source: crate::event::Source::default(),
        causation_id: None,
        correlation_id: None,
    };
    let event = encode_event(&rule, 0, marker, None);
    let (streams, events) = (vec![rule], vec![event]);
    Ok(Request { streams, events, bytes: OVERHEAD, ..Request::default() })
}

fn rule(stream: &Stream, expected: Expected, life: Life) -> Result<StreamRule> {
    let expected = match expected {
        Expected::Exact(Version::ZERO) => Expected::NoStream,
        Expected::Exact(version) if version < Version::ZERO => {
            let reason = format!("{version} is below 0: expect 0 or no stream, the current version, or any");
            return Err(Error::invalid("expected version", reason));
        }
        expected => expected,
    };
    let (aggregate_id, aggregate_type) = (stream.id().to_owned(), stream.aggregate_type().to_owned());
    Ok(StreamRule { aggregate_id, aggregate_type, expected, life })
}

/// Checks what a request holds.
///
/// # Errors
/// [`Error::Limit`] where that is too much.
pub(crate) fn check_limits(append: &Append, max_event_bytes: usize) -> Result<()> {
    limits::check("streams of a request", limits::STREAMS_PER_REQUEST, append.parts.len())?;
    limits::check("events of a request", limits::EVENTS_PER_REQUEST, append.events())?;
    let items = || append.condition.iter().flat_map(|condition| &condition.items);
    let alternatives = items().map(|item| item.types.len().max(1)).sum();
    limits::check("alternatives of a condition", limits::CONDITION_ALTERNATIVES, alternatives)?;
    let tags = items().map(|item| item.tags.len()).max().unwrap_or_default();
    limits::check("tags of an item of a condition", limits::TAGS_PER_EVENT, tags)?;
    let mut total = append.command.as_ref().map_or(0, command_bytes);
    for event in append.parts.iter().flat_map(|(_, _, events)| events) {
        total += check_event(event, max_event_bytes)?;
    }
    limits::check("bytes of a request", limits::REQUEST_BYTES, total)
}

/// Checks the size of an event, and returns it in bytes.
pub(crate) fn check_event(event: &NewEvent, max_event_bytes: usize) -> Result<usize> {
    let bytes = event_bytes(event);
    limits::check("bytes of an event", max_event_bytes, bytes)?;
    Ok(bytes)
}

fn encode_event(rule: &StreamRule, stream: usize, event: NewEvent, command_id: Option<Uuid>) -> EventWrite {
    let (data, content_type) = match event.payload {
        Payload::Json(json) => (json, None),
        Payload::Bytes { content_type, bytes } => (json::encode_bytes(&bytes), Some(content_type)),
    };
    let mut write = EventWrite {
        stream,
        event_id: event.event_id.unwrap_or_else(Uuid::now_v7),
        id_given: event.event_id.is_some(),
        event_type: event.event_type,
        event_version: event.event_version,
        actor: event.actor,
        actor_type: event.actor_type,
        source: event.source,
        causation_id: event.causation_id.or(command_id),
        correlation_id: event.correlation_id,
        data,
        metadata: event.metadata,
        content_type,
        tags: event.tags,
        hash: [0; 32],
    };
    write.hash = hash::event(rule, &write);
    write
}

/// Adds the command, whose hash covers the whole request.
fn finish(request: &mut Request, command: Option<Command>) {
    if let Some(command) = command {
        let first = request.streams.first();
        let (aggregate_id, aggregate_type) = match &command.stream {
            Some(stream) => (Some(stream.id().to_owned()), Some(stream.aggregate_type().to_owned())),
            None => (first.map(|rule| rule.aggregate_id.clone()), first.map(|rule| rule.aggregate_type.clone())),
        };
        let mut write = CommandWrite {
            command_id: command.command_id,
            command_type: command.command_type,
            aggregate_id,
            aggregate_type,
            actor: command.actor,
            source: command.source,
            data: command.data,
            request_hash: [0; 32],
        };
        write.request_hash = hash::request(request, &write);
        request.command = Some(write);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(event_type: &str) -> [NewEvent; 1] {
        [NewEvent::json(event_type, &1).unwrap()]
    }

    #[test]
    fn events_of_streams_that_take_turns_keep_the_order_of_the_calls() {
        let stream = |id| Stream::new("order", id).unwrap();
        let turns = Append::new()
            .to(stream("a"), Expected::Any, event("1"))
            .to(stream("b"), Expected::Any, event("2"))
            .to(stream("a"), Expected::Any, event("3"));
        let request = append(turns.clone()).unwrap();
        let order: Vec<_> = request.events.iter().map(|event| (event.stream, event.event_type.as_str())).collect();
        assert_eq!((order.as_slice(), request.streams.len()), (&[(0, "1"), (1, "2"), (0, "3")][..], 2));
        let unlike = turns.to(stream("a"), Expected::NoStream, event("4"));
        assert!(matches!(append(unlike), Err(Error::Invalid { what: "stream", .. })));
    }
}
