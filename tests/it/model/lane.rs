//! The model of a lane: the contract's sections 3, 4, 5, 6 and 8 in the plainest words. The log and the commands are
//! all that there is; whatever is asked is found by going through the log from its beginning.

use std::collections::BTreeMap;

use annals::{Error, Expected, Position, Version, marker};

use super::client::refusal;
use super::words::{
    Answer, Ask, Change, Commit, Condition, Event, Expect, Info, Named, Op, Part, STREAMS, command_id, event_id,
};

/// One lane.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Lane {
    log: Vec<Event>,
    /// Every command that was decided, with its request and what came of it.
    commands: BTreeMap<u8, (Commit, Outcome)>,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Outcome {
    positions: Option<(i64, i64)>,
    versions: Vec<(&'static str, i64)>,
}

impl Outcome {
    fn answer(self, duplicate: bool) -> Answer {
        Answer::Appended { positions: self.positions, versions: self.versions, duplicate }
    }
}

/// One stream, as the events of it up to some version tell it.
struct Life<'a> {
    events: Vec<&'a Event>,
    deleted: bool,
    first_version: i64,
}

impl Life<'_> {
    fn version(&self) -> i64 {
        self.events.last().map_or(0, |event| event.version)
    }

    fn is_visible(&self) -> bool {
        !self.events.is_empty() && !self.deleted
    }

    /// The events that a read of the stream shows.
    fn shown(&self) -> Vec<Event> {
        let shown = self.events.iter().filter(|event| self.is_visible() && event.version >= self.first_version);
        shown.map(|event| (*event).clone()).collect()
    }
}

impl Lane {
    /// Carries out what a client asks, and returns what the client is answered.
    pub fn apply(&mut self, op: &Op) -> Answer {
        let now = |id: &str| self.life(id, i64::MAX);
        match op {
            Op::Commit(commit) => self.commit(commit).unwrap_or_else(|error| refusal(&error)),
            Op::Live { change, stream, expected } => {
                self.change(*change, *stream, *expected).unwrap_or_else(|error| refusal(&error))
            }
            Op::Version(id) => Answer::Number(if now(id).is_visible() { now(id).version() } else { 0 }),
            Op::Count(id) => Answer::Number(i64::try_from(now(id).shown().len()).unwrap()),
            Op::Info(id) => Answer::Info(now(id).events.first().map(|first| Info {
                category: first.stream.category,
                version: now(id).version(),
                first_version: now(id).first_version,
                deleted: now(id).deleted,
            })),
            Op::ReadStream { stream, from, backward } => {
                let mut events = now(stream).shown();
                events.retain(|event| event.version >= *from);
                if *backward {
                    events.reverse();
                }
                Answer::Events(events)
            }
            Op::AsOf { stream, version } => Answer::Events(self.life(stream, *version).shown()),
            Op::Head => Answer::Number(self.head()),
            Op::Page(ask) => self.page(ask),
            Op::Streams { deleted } => {
                let listed = |id: &&'static str| now(id).is_visible() || *deleted && !now(id).events.is_empty();
                Answer::Streams(STREAMS.into_iter().filter(listed).map(|id| (id, now(id).version())).collect())
            }
            Op::Command(id) => {
                Answer::Command(self.commands.get(id).map(|(_, outcome)| outcome.positions.unwrap_or_default()))
            }
            Op::Event(id) => Answer::Event(self.log.iter().find(|event| event.id == Some(*id)).cloned()),
        }
    }

    fn head(&self) -> i64 {
        i64::try_from(self.log.len()).unwrap()
    }

    /// The stream as it was at a version.
    fn life(&self, id: &str, version: i64) -> Life<'_> {
        let events: Vec<_> = self.log.iter().filter(|e| e.stream.id == id && e.version <= version).collect();
        let (mut deleted, mut first_version) = (false, 1);
        for event in &events {
            match event.event_type {
                marker::DELETED => deleted = true,
                marker::UNDELETED => deleted = false,
                marker::REUSED => (deleted, first_version) = (false, event.version),
                _ => {}
            }
        }
        Life { events, deleted, first_version }
    }

    fn page(&self, ask: &Ask) -> Answer {
        let beyond = |position| match ask.after {
            None => true,
            Some(after) if ask.backward => position < after,
            Some(after) => position > after,
        };
        let mut events: Vec<Event> = self.log.iter().filter(|event| beyond(event.position)).cloned().collect();
        events.retain(|event| {
            (ask.types.is_empty() || ask.types.contains(&event.event_type))
                && ask.tags.iter().all(|tag| event.tags.contains(tag))
                && ask.category.is_none_or(|category| event.stream.category == category)
        });
        if ask.backward {
            events.reverse();
        }
        events.truncate(ask.rows);
        // A page that is full has looked as far as its last event, any other one has looked at everything.
        let last = events.last().filter(|_| events.len() == ask.rows).map(|event| event.position);
        let scanned = (!ask.backward).then(|| last.unwrap_or(self.head()));
        Answer::Page { events, head: self.head(), scanned }
    }

    /// Where several rules refuse a request, the first of this order answers: the command, the streams in the order in
    /// which they are named, the condition, the event ids in the order of the events.
    fn commit(&mut self, commit: &Commit) -> Result<Answer, Error> {
        let new = || commit.parts.iter().flat_map(|part| part.events.iter().map(move |event| (part.stream, event)));
        check_names(&commit.parts)?;
        if let Some((id, (request, outcome))) = commit.command.and_then(|id| self.commands.get_key_value(&id)) {
            let reused = Error::CommandReused { command_id: command_id(*id) };
            return if *request == identity(commit) { Ok(outcome.clone().answer(true)) } else { Err(reused) };
        }
        for part in &commit.parts {
            self.check(part.stream, part.expected)?;
        }
        if let Some(condition) = &commit.condition {
            self.check_condition(condition)?;
        }
        for id in new().filter_map(|(_, event)| event.id) {
            if let Some(event) = self.log.iter().find(|event| event.id == Some(id)) {
                return Err(Error::DuplicateEvent { event_id: event_id(id), position: Position::new(event.position) });
            }
        }
        let before = self.head();
        for (stream, event) in new() {
            self.store(stream, event.event_type, event.tags.clone(), event.id, Some(event.data));
        }
        let mut written: Vec<Named> = Vec::new();
        for part in &commit.parts {
            if !written.contains(&part.stream) && new().any(|(stream, _)| stream == part.stream) {
                written.push(part.stream);
            }
        }
        let outcome = self.outcome(before, &written);
        if let Some(id) = commit.command {
            self.commands.insert(id, (identity(commit), outcome.clone()));
        }
        Ok(outcome.answer(false))
    }

    fn change(&mut self, change: Change, stream: Named, expected: Expect) -> Result<Answer, Error> {
        let life = self.life(stream.id, i64::MAX);
        if life.events.is_empty() {
            return Err(Error::StreamNotFound { stream: stream.id.to_owned() });
        }
        let alive = !life.deleted;
        check_category(stream, &life)?;
        if change != Change::Delete && alive {
            return Err(Error::StreamNotDeleted { stream: stream.id.to_owned() });
        }
        if change == Change::Delete && !alive {
            return Err(Error::StreamDeleted { stream: stream.id.to_owned() });
        }
        check_version(stream, expected, life.version())?;
        let event_type = match change {
            Change::Delete => marker::DELETED,
            Change::Undelete => marker::UNDELETED,
            Change::Reuse => marker::REUSED,
        };
        let before = self.head();
        self.store(stream, event_type, Vec::new(), None, None);
        Ok(self.outcome(before, &[stream]).answer(false))
    }

    fn check(&self, stream: Named, expected: Expect) -> Result<(), Error> {
        let life = self.life(stream.id, i64::MAX);
        check_category(stream, &life)?;
        if life.deleted {
            return Err(Error::StreamDeleted { stream: stream.id.to_owned() });
        }
        check_version(stream, expected, life.version())
    }

    fn check_condition(&self, condition: &Condition) -> Result<(), Error> {
        let after = condition.after.unwrap();
        let matching = |event: &&Event| {
            condition.items.iter().any(|(types, tags)| {
                (types.is_empty() || types.contains(&event.event_type))
                    && tags.iter().all(|tag| event.tags.contains(tag))
            })
        };
        match self.log.iter().filter(|event| event.position > after).find(matching) {
            None => Ok(()),
            Some(event) => {
                Err(Error::ConditionFailed { after: Position::new(after), position: Position::new(event.position) })
            }
        }
    }

    fn store(
        &mut self,
        stream: Named,
        event_type: &'static str,
        tags: Vec<&'static str>,
        id: Option<u8>,
        data: Option<u16>,
    ) {
        let version = self.life(stream.id, i64::MAX).version() + 1;
        self.log.push(Event { position: self.head() + 1, stream, version, event_type, tags, id, data });
    }

    fn outcome(&self, before: i64, written: &[Named]) -> Outcome {
        Outcome {
            positions: (self.head() > before).then_some((before + 1, self.head())),
            versions: written.iter().map(|stream| (stream.id, self.life(stream.id, i64::MAX).version())).collect(),
        }
    }
}

/// Checks that a stream that is named again is named with the same category and expectation, and no event's id twice.
fn check_names(parts: &[Part]) -> Result<(), Error> {
    let rule = |part: &Part| (part.stream, part.expected);
    let mut ids = Vec::new();
    for (index, part) in parts.iter().enumerate() {
        if parts[..index].iter().any(|other| other.stream.id == part.stream.id && rule(other) != rule(part)) {
            return Err(Error::invalid("stream", "it stands twice"));
        }
        for id in part.events.iter().filter_map(|event| event.id) {
            if ids.contains(&id) {
                return Err(Error::invalid("event_id", "it stands twice"));
            }
            ids.push(id);
        }
    }
    Ok(())
}

/// Returns what makes a request the same as another: version 0 is "no stream", and a guard that stands twice says no
/// more than one that stands once.
fn identity(commit: &Commit) -> Commit {
    let mut identity = Commit { parts: Vec::new(), ..commit.clone() };
    for part in &commit.parts {
        let mut part = part.clone();
        if part.expected == Expect::At(0) {
            part.expected = Expect::NoStream;
        }
        if !part.events.is_empty() || identity.parts.iter().all(|other| other.stream != part.stream) {
            identity.parts.push(part);
        }
    }
    identity
}

fn check_category(stream: Named, life: &Life<'_>) -> Result<(), Error> {
    match life.events.first() {
        Some(first) if first.stream.category != stream.category => Err(Error::TypeMismatch {
            stream: stream.id.to_owned(),
            expected: stream.category.to_owned(),
            actual: first.stream.category.to_owned(),
        }),
        _ => Ok(()),
    }
}

fn check_version(stream: Named, expected: Expect, version: i64) -> Result<(), Error> {
    let holds = match expected {
        Expect::Any => true,
        Expect::NoStream => version == 0,
        Expect::Exists => version > 0,
        Expect::At(expected) => version == expected,
        Expect::Seen => unreachable!("a request that is sent names the version"),
    };
    if holds {
        return Ok(());
    }
    // Version 0 is "no stream".
    let expected = if expected == Expect::At(0) { Expected::NoStream } else { expected.into() };
    Err(Error::Conflict { stream: stream.id.to_owned(), expected, actual: Version::new(version) })
}
