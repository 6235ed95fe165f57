//! Random scripts: what each client is going to ask.

use std::fmt;

use proptest::collection::vec;
use proptest::option::weighted;
use proptest::prelude::{Just, Strategy, any, prop_oneof};
use proptest::sample::{select, subsequence};

use super::words::{
    Ask, CATEGORIES, Change, Commit, Condition, EVERYTHING, Expect, IDS, Named, New, Op, Part, STREAMS, TAGS, TYPES,
};

/// What each of several clients asks, one after the other; they all do so at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Script {
    /// How many stores the clients share, each with connections and a writer of its own.
    pub stores: usize,
    pub clients: Vec<Vec<Step>>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Step {
    pub op: Op,
    /// Whether the client gives up before the answer comes.
    pub gives_up: bool,
}

impl Script {
    /// Returns how many requests it holds.
    pub fn len(&self) -> usize {
        self.clients.iter().map(Vec::len).sum()
    }
}

impl fmt::Display for Script {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (client, steps) in self.clients.iter().enumerate() {
            for step in steps {
                let gives_up = if step.gives_up { ", and gives up" } else { "" };
                writeln!(f, "  client {client} of store {}: {}{gives_up}", client % self.stores, step.op)?;
            }
        }
        Ok(())
    }
}

/// One client that asks many things.
pub fn of_one_client() -> impl Strategy<Value = Script> {
    of_clients(1, 1..=1, 40, Just(false))
}

/// Several clients that ask a few things each.
pub fn of_several_clients(stores: usize) -> impl Strategy<Value = Script> {
    of_clients(stores, 2..=8, 6, prop_oneof![15 => Just(false), 1 => Just(true)])
}

/// An operation, or one of the script's commands, which several clients may give several times.
#[derive(Debug, Clone)]
enum Draft {
    Op(Op),
    Command(usize),
}

/// The commands that a script gives repeatedly.
const COMMANDS: usize = 2;

fn of_clients(
    stores: usize,
    clients: std::ops::RangeInclusive<usize>,
    steps: usize,
    gives_up: impl Strategy<Value = bool> + Clone,
) -> impl Strategy<Value = Script> {
    let draft = prop_oneof![12 => op().prop_map(Draft::Op), 2 => (0..COMMANDS).prop_map(Draft::Command)];
    let clients = vec(vec((draft, gives_up), 1..=steps), clients);
    let commands = vec(commit(Just(true)), COMMANDS);
    (1..=stores, commands, clients).prop_map(|(stores, mut commands, drafts)| {
        let mut data = 0;
        for commit in &mut commands {
            number(commit, &mut data);
        }
        let mut step = |(draft, gives_up)| {
            let mut op = match draft {
                Draft::Op(op) => op,
                Draft::Command(index) => return Step { op: Op::Commit(commands[index].clone()), gives_up },
            };
            if let Op::Commit(commit) = &mut op {
                number(commit, &mut data);
            }
            Step { op, gives_up }
        };
        let clients = drafts.into_iter().map(|steps| steps.into_iter().map(&mut step).collect()).collect();
        Script { stores, clients }
    })
}

/// Gives each event data of its own.
fn number(commit: &mut Commit, data: &mut u16) {
    for event in commit.parts.iter_mut().flat_map(|part| &mut part.events) {
        *data += 1;
        event.data = *data;
    }
}

fn op() -> impl Strategy<Value = Op> {
    let stream = || select(&STREAMS[..]);
    let change = select(&[Change::Delete, Change::Undelete, Change::Reuse][..]);
    prop_oneof![
        12 => commit(prop_oneof![3 => Just(false), 1 => Just(true)]).prop_map(Op::Commit),
        2 => (change, named(), expect()).prop_map(|(change, stream, expected)| Op::Live { change, stream, expected }),
        2 => stream().prop_map(Op::Version),
        1 => stream().prop_map(Op::Count),
        1 => stream().prop_map(Op::Info),
        2 => (stream(), 1..4_i64, any::<bool>())
            .prop_map(|(stream, from, backward)| Op::ReadStream { stream, from, backward }),
        1 => (stream(), 1..5_i64).prop_map(|(stream, version)| Op::AsOf { stream, version }),
        1 => Just(Op::Head),
        3 => page().prop_map(Op::Page),
        1 => any::<bool>().prop_map(|deleted| Op::Streams { deleted }),
        1 => (0..IDS).prop_map(Op::Command),
        1 => (0..IDS).prop_map(Op::Event),
    ]
}

fn commit(has_command: impl Strategy<Value = bool>) -> impl Strategy<Value = Commit> {
    (vec(part(), 1..=3), weighted(0.2, condition()), has_command, 0..IDS).prop_map(
        |(mut parts, condition, has_command, id)| {
            // A stream that is named again is named with the same category and expectation.
            for index in 1..parts.len() {
                let (before, rest) = parts.split_at_mut(index);
                if let Some(first) = before.iter().find(|part| part.stream.id == rest[0].stream.id) {
                    (rest[0].stream, rest[0].expected) = (first.stream, first.expected);
                }
            }
            Commit { parts, condition, command: has_command.then_some(id) }
        },
    )
}

fn part() -> impl Strategy<Value = Part> {
    (named(), expect(), vec(new_event(), 0..=2)).prop_map(|(stream, expected, events)| Part {
        stream,
        expected,
        events,
    })
}

/// A stream, mostly with the category that goes with it.
fn named() -> impl Strategy<Value = Named> {
    let other = prop_oneof![9 => Just(0), 1 => Just(1)];
    (0..STREAMS.len(), other).prop_map(|(index, other)| Named {
        id: STREAMS[index],
        category: CATEGORIES[(index + other) % CATEGORIES.len()],
    })
}

fn expect() -> impl Strategy<Value = Expect> {
    prop_oneof![
        6 => Just(Expect::Any),
        2 => Just(Expect::NoStream),
        1 => Just(Expect::Exists),
        2 => (0..4_i64).prop_map(Expect::At),
        4 => Just(Expect::Seen),
    ]
}

fn new_event() -> impl Strategy<Value = New> {
    (select(&TYPES[..]), tags(), weighted(0.1, 0..IDS)).prop_map(|(event_type, tags, id)| New {
        event_type,
        tags,
        id,
        data: 0,
    })
}

fn tags() -> impl Strategy<Value = Vec<&'static str>> {
    subsequence(&TAGS[..], 0..=2)
}

fn condition() -> impl Strategy<Value = Condition> {
    let item = (subsequence(&TYPES[..], 0..=2), subsequence(&TAGS[..], 0..=2));
    let item = item.prop_map(
        |(types, tags)| if tags.is_empty() && types.is_empty() { (vec![TYPES[0]], tags) } else { (types, tags) },
    );
    let after = prop_oneof![2 => Just(None), 1 => (0..6_i64).prop_map(Some)];
    (vec(item, 0..=2), after).prop_map(|(items, after)| Condition { items, after })
}

fn page() -> impl Strategy<Value = Ask> {
    let category = weighted(0.2, select(&CATEGORIES[..]));
    let types = prop_oneof![3 => Just(Vec::new()), 1 => subsequence(&TYPES[..], 1..=2)];
    let tags = prop_oneof![3 => Just(Vec::new()), 1 => tags()];
    let rows = prop_oneof![1 => Just(EVERYTHING.rows), 1 => 1..4_usize];
    let after = weighted(0.5, 0..8_i64);
    (after, rows, any::<bool>(), types, tags, category).prop_map(|(after, rows, backward, types, tags, category)| Ask {
        after,
        rows,
        backward,
        types,
        tags,
        category,
    })
}
