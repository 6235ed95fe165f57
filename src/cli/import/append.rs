//! Appends chunks of lines, each event once, in the order of the lines.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::{Blame, failure};
use crate::append::Append;
use crate::cli::line::{Defaults, Line};
use crate::cli::{Exit, Failure};
use crate::encode;
use crate::error::Error;
use crate::event::{ActorType, NewEvent, Source};
use crate::limits;
use crate::store::Store;
use crate::stream::{Expected, Stream};

/// The namespace of the ids of lines that have none.
const LINES: Uuid = Uuid::from_u128(0x5d0c_9e0b_3b1f_5a53_8a3a_6a2f_10c4_7e91);

/// An event with its stream; it has an id.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    stream: Stream,
    event: NewEvent,
    /// The hash that the event had in the log that the line was exported from.
    hash: Option<[u8; 32]>,
}

/// Takes what a line says, with the hash that its event had in the log that it is from. One without an id gets one from the import's
/// name, its number and its bytes.
pub(super) fn entry(
    line: Line<'_>,
    name: Option<&str>,
    max_bytes: usize,
    (number, text): (u64, &str),
    hash: Option<[u8; 32]>,
) -> Result<Entry, Failure> {
    if line.is_marker() {
        let reason = "its event is one of the store's own, from an export of streams that were deleted or reused: import \
                      the whole export with --restore, into an empty topic";
        return Err(Failure::usage(reason));
    }
    let stream = line.stream()?;
    let given = line.event_id();
    let defaults = Defaults { actor: None, actor_type: ActorType::default(), source: Source::Import };
    let event = line.event(&defaults)?;
    encode::check_event(&event, max_bytes)?;
    let id = match (given, name) {
        (Some(id), _) => id,
        (None, Some(name)) => line_id(name, number, text),
        (None, None) => {
            let reason = "it has no event_id: give the import a --name, from which it gets one, the same each time";
            return Err(Failure::usage(reason));
        }
    };
    Ok(Entry { stream, event: event.with_id(id), hash })
}

/// Returns the id of a line: the UUID of version 5 of name, number and bytes, with a null byte between them.
fn line_id(name: &str, number: u64, text: &str) -> Uuid {
    let mut bytes = Vec::with_capacity(name.len() + text.len() + 24);
    for part in [name.as_bytes(), number.to_string().as_bytes()] {
        bytes.extend_from_slice(part);
        bytes.push(0);
    }
    bytes.extend_from_slice(text.as_bytes());
    Uuid::new_v5(&LINES, &bytes)
}

/// Where an import stands.
#[derive(Debug)]
pub(super) struct Import<'a> {
    store: &'a Store,
    /// Whether the last lines were there already, so that the next ones may be, too.
    resuming: bool,
    pub imported: u64,
    pub skipped: u64,
}

impl<'a> Import<'a> {
    pub(super) const fn new(store: &'a Store) -> Self {
        Self { store, resuming: true, imported: 0, skipped: 0 }
    }

    /// Stores lines that are not there yet, lane after lane, since a request has one. A failure says which line is to
    /// blame, if one is; those before it are stored, and so may be later ones of other lanes.
    pub(super) async fn store(&mut self, mut entries: Vec<(u64, Entry)>) -> Result<(), Blame> {
        entries.sort_by_cached_key(|(line, entry)| (self.store.lane(entry.stream.id()), *line));
        let mut blame = None;
        while !entries.is_empty() {
            if self.resuming
                && let Some((line, failure)) = self.skip_known(&mut entries).await?
            {
                entries.retain(|(number, _)| *number < line);
                blame = Some((Some(line), failure));
                continue;
            }
            let end = end_of_request(self.store, &entries);
            match self.store.commit(request(&entries[..end])).await {
                Ok(_) => {
                    self.imported += end as u64;
                    entries.drain(..end);
                }
                // The look-up finds at least this event, so that the next round has fewer lines.
                Err(Error::DuplicateEvent { .. }) => self.resuming = true,
                Err(error) => {
                    let (line, failure) = self.blame(&entries[..end], error).await;
                    // Lines before it may still wait in the next lanes; one of those may be to blame, too.
                    let Some(first) = line else { return Err((None, failure)) };
                    entries.drain(..end);
                    entries.retain(|(number, _)| *number < first);
                    blame = Some((line, failure));
                }
            }
        }
        blame.map_or(Ok(()), Err)
    }

    /// Takes out the lines whose events are stored already, and returns the first one whose event is stored with other
    /// content.
    async fn skip_known(&mut self, entries: &mut Vec<(u64, Entry)>) -> Result<Option<(u64, Failure)>, Blame> {
        let id = |entry: &Entry| entry.event.event_id().unwrap_or_default();
        let places = entries.iter().map(|(_, entry)| (entry.stream.id(), id(entry)));
        let known = self.store.find_events(places).await.map_err(|error| (None, failure(error)))?;
        self.resuming = !known.is_empty();
        let before = entries.len();
        let mut changed = None;
        // Lanes come one after the other: the first line that was changed may stand in a later one.
        entries.retain(|(line, entry)| match known.get(&(self.store.lane(entry.stream.id()), id(entry))) {
            None => true,
            Some(place) => {
                let is_first = changed.as_ref().is_none_or(|(first, _)| line < first);
                if is_first && place.hash.is_some() && ![entry.hash, content(entry)].contains(&place.hash) {
                    let reason = format!("its event is stored with other content, at position {}", place.position);
                    changed = Some((*line, Failure::new(Exit::Conflict, reason)));
                }
                false
            }
        });
        self.skipped += (before - entries.len()) as u64;
        Ok(changed)
    }

    /// Finds the line that made a request fail, and stores those before it.
    async fn blame(&mut self, entries: &[(u64, Entry)], error: Error) -> Blame {
        let (Error::TypeMismatch { stream: id, .. } | Error::StreamDeleted { stream: id }) = &error else {
            return (None, failure(error));
        };
        let Some(index) = entries.iter().position(|(_, entry)| entry.stream.id() == id) else {
            return (None, failure(error));
        };
        if index > 0 {
            match self.store.commit(request(&entries[..index])).await {
                Ok(_) => self.imported += index as u64,
                Err(error) => return (None, failure(error)),
            }
        }
        (Some(entries[index].0), error.into())
    }
}

/// Returns how many lines one request can hold: of one lane, each stream with one type, each id once.
fn end_of_request(store: &Store, entries: &[(u64, Entry)]) -> usize {
    let mut types = HashMap::new();
    let mut ids = HashSet::new();
    let mut bytes = 0;
    let lane = entries.first().map(|(_, entry)| store.lane(entry.stream.id()));
    for (index, (_, Entry { stream, event, .. })) in entries.iter().enumerate().take(limits::EVENTS_PER_REQUEST) {
        bytes += encode::event_bytes(event);
        let fits = *types.entry(stream.id()).or_insert(stream.aggregate_type()) == stream.aggregate_type()
            && ids.insert(event.event_id())
            && Some(store.lane(stream.id())) == lane
            && bytes <= limits::REQUEST_BYTES;
        if !fits {
            return index.max(1);
        }
    }
    entries.len().min(limits::EVENTS_PER_REQUEST)
}

fn request(entries: &[(u64, Entry)]) -> Append {
    entries
        .iter()
        .fold(Append::new(), |append, (_, entry)| append.to(entry.stream.clone(), Expected::Any, [entry.event.clone()]))
}

/// Returns the hash that an event will have.
fn content(entry: &Entry) -> Option<[u8; 32]> {
    let append = Append::new().to(entry.stream.clone(), Expected::Any, [entry.event.clone()]);
    encode::append(append).ok()?.events.first().map(|event| event.hash)
}
