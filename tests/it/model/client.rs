//! A client: it asks a store, and puts the answer into the model's words.

use std::collections::BTreeMap;

use annals::{
    Append, Appended, Command, Condition, Direction, Error, ErrorClass, Expected, NewEvent, Payload, Position, Query,
    RecordedCommand, RecordedEvent, Store, Stream, StreamFilter, Version, marker,
};

use super::words::{
    Answer, Ask, CATEGORIES, Change, Commit, Event, Expect, IDS, Info, Named, New, Op, STREAMS, TAGS, TYPES,
    command_id, event_id,
};

/// What a client remembers of the answers that it got, to decide on.
#[derive(Debug, Default)]
pub struct Memory {
    versions: BTreeMap<&'static str, i64>,
    head: i64,
}

impl Memory {
    /// Puts what the client remembers into what it is about to ask.
    pub fn decide(&self, op: &Op) -> Op {
        let seen = |id: &str, expected: &mut Expect| {
            if *expected == Expect::Seen {
                *expected = Expect::At(self.versions.get(id).copied().unwrap_or(0));
            }
        };
        let mut op = op.clone();
        match &mut op {
            Op::Commit(commit) => {
                commit.parts.iter_mut().for_each(|part| seen(part.stream.id, &mut part.expected));
                if let Some(condition) = &mut commit.condition {
                    condition.after.get_or_insert(self.head);
                }
            }
            Op::Live { stream, expected, .. } => seen(stream.id, expected),
            _ => {}
        }
        op
    }

    /// Remembers an answer.
    pub fn learn(&mut self, op: &Op, answer: &Answer) {
        match (op, answer) {
            (_, Answer::Appended { positions, versions, duplicate: false }) => {
                self.versions.extend(versions.iter().copied());
                self.head = positions.map_or(self.head, |(_, last)| last);
            }
            (Op::Version(id), Answer::Number(version)) => {
                self.versions.insert(id, *version);
            }
            (Op::Head, Answer::Number(head)) | (_, Answer::Page { head, .. }) => self.head = *head,
            _ => {}
        }
    }
}

/// Asks a store.
pub async fn ask(store: &Store, op: &Op) -> Answer {
    let answer = match op {
        Op::Commit(commit) => store.commit(append(commit)).await.map(appended),
        Op::Live { change, stream, expected } => live(store, *change, *stream, *expected).await,
        Op::Version(id) => store.version(id).await.map(|version| Answer::Number(version.get())),
        Op::Count(id) => store.count(id).await.map(|count| Answer::Number(count.try_into().unwrap())),
        Op::Info(id) => store.stream(id).await.map(|stream| {
            Answer::Info(stream.map(|stream| Info {
                category: known(&CATEGORIES, &stream.aggregate_type),
                version: stream.version.get(),
                first_version: stream.first_version.get(),
                deleted: stream.deleted_at.is_some(),
            }))
        }),
        Op::ReadStream { stream, from, backward } => {
            let query = Query::stream(*stream).from_version(Version::new(*from));
            store.query(if *backward { query.backward() } else { query }).await.map(events)
        }
        Op::AsOf { stream, version } => {
            store.query(Query::stream(*stream).to_version(Version::new(*version))).await.map(events)
        }
        Op::Head => store.heads().await.map(|heads| Answer::Number(heads[0].1.get())),
        Op::Page(ask) => page(store, ask).await,
        Op::Streams { deleted } => {
            let filter = StreamFilter { include_deleted: *deleted, limit: 100, ..StreamFilter::default() };
            let streams = store.streams(&filter).await;
            let named = |id: &str, version: Version| (known(&STREAMS, id), version.get());
            streams.map(|streams| Answer::Streams(streams.iter().map(|s| named(&s.aggregate_id, s.version)).collect()))
        }
        Op::Command(id) => store.command(command_id(*id)).await.map(|command| {
            let positions = |command: RecordedCommand| pair(command.first_position.zip(command.last_position));
            Answer::Command(command.map(|command| positions(command).unwrap_or_default()))
        }),
        Op::Event(id) => store.event(event_id(*id)).await.map(|found| Answer::Event(found.map(event))),
    };
    answer.unwrap_or_else(|error| refusal(&error))
}

/// Says why a request was refused, in words that the model can find by itself.
pub fn refusal(error: &Error) -> Answer {
    match error {
        Error::Ambiguous { .. } | Error::Deadline { .. } | Error::Backend { class: ErrorClass::Ambiguous, .. } => {
            Answer::Unknown(error.report())
        }
        Error::Invalid { what, .. } => Answer::Refused(format!("Invalid {{ {what} }}")),
        other => Answer::Refused(format!("{other:?}").replace("00000000-0000-0000-0000-0000000000", "")),
    }
}

fn append(commit: &Commit) -> Append {
    let mut append = Append::new();
    for part in &commit.parts {
        append = append.to(stream(part.stream), part.expected.into(), part.events.iter().map(new_event));
    }
    if let Some(condition) = &commit.condition {
        let after = Condition::after(Position::new(condition.after.unwrap()));
        let or = |sum: Condition, (types, tags): &(Vec<_>, Vec<_>)| sum.or(types.clone(), tags.clone()).unwrap();
        append = append.condition(condition.items.iter().fold(after, or));
    }
    match commit.command {
        None => append,
        Some(id) => append.command(Command::new(command_id(id))),
    }
}

fn new_event(new: &New) -> NewEvent {
    let event = NewEvent::json(new.event_type, &new.data).unwrap().with_tags(new.tags.clone()).unwrap();
    match new.id {
        None => event,
        Some(id) => event.with_id(event_id(id)),
    }
}

async fn live(store: &Store, change: Change, named: Named, expected: Expect) -> Result<Answer, Error> {
    let (stream, expected) = (stream(named), Expected::from(expected));
    let outcome = match change {
        Change::Delete => store.delete(&stream, expected).await,
        Change::Undelete => store.undelete(&stream, expected).await,
        Change::Reuse => store.reuse(&stream, expected).await,
    };
    outcome.map(appended)
}

async fn page(store: &Store, ask: &Ask) -> Result<Answer, Error> {
    let mut query = Query::new().event_types(ask.types.clone())?.tags(ask.tags.clone())?;
    query.after = ask.after.map(Position::new);
    query.aggregate_type = ask.category.map(str::to_owned);
    query.direction = if ask.backward { Direction::Backward } else { Direction::Forward };
    let page = store.page(store.topic().lanes[0], &query, ask.rows).await?;
    Ok(Answer::Page {
        events: page.events.into_iter().map(event).collect(),
        head: page.head.get(),
        scanned: (!ask.backward).then(|| page.scanned.get()),
    })
}

fn stream(named: Named) -> Stream {
    Stream::new(named.category, named.id).unwrap()
}

fn pair(positions: Option<(Position, Position)>) -> Option<(i64, i64)> {
    positions.map(|(first, last)| (first.get(), last.get()))
}

fn appended(outcome: Appended) -> Answer {
    let versions = outcome.versions.iter().map(|(id, version)| (known(&STREAMS, id), version.get())).collect();
    Answer::Appended { positions: pair(outcome.positions), versions, duplicate: outcome.duplicate }
}

fn events(found: Vec<RecordedEvent>) -> Answer {
    Answer::Events(found.into_iter().map(event).collect())
}

fn event(found: RecordedEvent) -> Event {
    let types = [TYPES[0], TYPES[1], marker::DELETED, marker::UNDELETED, marker::REUSED];
    let data = match &found.payload {
        Payload::Json(json) => json.as_str().parse().ok(),
        Payload::Bytes { .. } => None,
    };
    Event {
        position: found.position.get(),
        stream: Named { id: known(&STREAMS, &found.aggregate_id), category: known(&CATEGORIES, &found.aggregate_type) },
        version: found.aggregate_version.get(),
        event_type: known(&types, &found.event_type),
        tags: found.tags.iter().map(|tag| known(&TAGS, tag)).collect(),
        id: (0..IDS).find(|number| event_id(*number) == found.event_id),
        data,
    }
}

/// Returns the name of the universe that a text is.
fn known(names: &[&'static str], text: &str) -> &'static str {
    names.iter().find(|name| **name == text).copied().unwrap_or("a name that nobody gave")
}
