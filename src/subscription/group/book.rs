//! What a member has in its hands: its shares, the events of their streams, and what became of them. It knows no database.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use uuid::Uuid;

use super::plan::{Failure, Plan, Written};
use crate::event::RecordedEvent;
use crate::position::Position;

/// A share: the index of its lane, and its number.
pub(super) type Key = (usize, i32);

/// Events that are kept in memory at most.
const WINDOW: usize = 4_096;

/// How often an event is tried, and how many at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Policy {
    pub attempts: u32,
    pub backoff: (Duration, Duration),
    pub in_flight: usize,
}

impl Policy {
    /// Returns how long an event rests after so many failures: twice as long each time, less up to the half of it, so
    /// that those that failed together do not come back together.
    fn rest(&self, failures: u32) -> Duration {
        let (least, most) = self.backoff;
        let full = least.saturating_mul(2_u32.saturating_pow(failures.saturating_sub(1).min(31))).min(most);
        let share = u32::from(Uuid::new_v4().as_bytes()[0]);
        full / 2 + full / 2 * share / 255
    }
}

/// The shares of a member.
#[derive(Debug)]
pub(super) struct Book {
    pub policy: Policy,
    pub shares: BTreeMap<Key, Share>,
    /// Streams whose first event may be handed out.
    ready: VecDeque<(Key, String)>,
    /// Streams that rest, by when they go on; a number tells apart those of one moment.
    resting: BTreeMap<(Instant, u64), (Key, String)>,
    /// Events that are kept, and those of them that are handed out.
    kept: usize,
    in_flight: usize,
    /// Events that were dealt with since the last save.
    pub finished: usize,
    /// Whether something is to be written that others wait for.
    pub urgent: bool,
    numbers: u64,
}

/// A share that a member has.
#[derive(Debug)]
pub(super) struct Share {
    /// Tells this tenure from another of the same share.
    pub tenure: u64,
    pub saved: Position,
    /// All up to here was looked at.
    pub read: Position,
    /// What was looked at and is not dealt with.
    pub unfinished: BTreeSet<Position>,
    pub lines: HashMap<String, Line>,
    /// Whether it is given back as soon as nothing of it is handed out.
    pub leaving: bool,
    pub in_flight: usize,
    /// What became of dead letters that were tried again.
    pub tried: Vec<(String, Position, Option<Failure>)>,
}

/// The events of a stream that are not dealt with, in order.
#[derive(Debug, Default)]
pub(super) struct Line {
    waiting: VecDeque<Arc<RecordedEvent>>,
    stand: Stand,
    failures: u32,
    first_failed: Option<Instant>,
    /// Whether the stream has dead letters, behind which its events are parked.
    pub parked: bool,
    /// Events to be parked, with how they failed, if they were tried.
    pub behind: VecDeque<(Arc<RecordedEvent>, Option<Failure>)>,
}

/// What is the matter with the first event of a line.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Stand {
    #[default]
    Free,
    HandedOut,
    Resting,
    /// A dead letter was tried, and the outcome is not written yet.
    Tried,
}

/// What is handed out.
#[derive(Debug)]
pub(super) struct Handed {
    pub event: Arc<RecordedEvent>,
    pub attempt: u32,
    pub key: Key,
    pub tenure: u64,
}

/// What is reported of an event that was handed out.
#[derive(Debug)]
pub(super) enum Outcome {
    Done,
    Failed(String),
    /// It was not dealt with, which is nobody's fault.
    Returned,
}

impl Book {
    pub(super) const fn new(policy: Policy) -> Self {
        Self {
            policy,
            shares: BTreeMap::new(),
            ready: VecDeque::new(),
            resting: BTreeMap::new(),
            kept: 0,
            in_flight: 0,
            finished: 0,
            urgent: false,
            numbers: 0,
        }
    }

    /// Adds a share that begins after a position, and whose streams of some names have dead letters.
    pub(super) fn add(&mut self, key: Key, position: Position, parked: Vec<String>) {
        self.remove(key);
        self.numbers += 1;
        let line = |name| (name, Line { parked: true, ..Line::default() });
        let share = Share {
            tenure: self.numbers,
            saved: position,
            read: position,
            unfinished: BTreeSet::new(),
            lines: parked.into_iter().map(line).collect(),
            leaving: false,
            in_flight: 0,
            tried: Vec::new(),
        };
        self.shares.insert(key, share);
    }

    /// Forgets a share.
    pub(super) fn remove(&mut self, key: Key) {
        let Some(share) = self.shares.remove(&key) else { return };
        self.in_flight -= share.in_flight;
        self.kept -= share.lines.values().map(Line::kept).sum::<usize>();
        self.resting.retain(|_, (of, _)| *of != key);
        self.ready.retain(|(of, _)| *of != key);
    }

    /// Returns whether there is room for more events.
    pub(super) const fn has_room(&self) -> bool {
        self.kept < WINDOW
    }

    /// Returns after which position each lane is to be read, of those in which there are shares.
    pub(super) fn marks(&self) -> BTreeMap<usize, Position> {
        let mut marks = BTreeMap::new();
        for ((lane, _), share) in self.shares.iter().filter(|(_, share)| !share.leaving) {
            let mark = marks.entry(*lane).or_insert(share.read);
            *mark = share.read.min(*mark);
        }
        marks
    }

    /// Takes an event that was read, if it is of a share that is held, and new.
    pub(super) fn offer(&mut self, key: Key, event: Arc<RecordedEvent>) {
        let Some(share) = self.shares.get_mut(&key).filter(|share| !share.leaving && event.position > share.read)
        else {
            return;
        };
        share.read = event.position;
        share.unfinished.insert(event.position);
        self.kept += 1;
        let name = event.aggregate_id.clone();
        let line = share.lines.entry(name.clone()).or_default();
        if line.parked {
            line.behind.push_back((event, None));
            self.urgent |= self.kept >= WINDOW;
        } else {
            line.waiting.push_back(event);
            if line.waiting.len() == 1 {
                self.ready.push_back((key, name));
            }
        }
    }

    /// Notes that a lane was looked at up to a position.
    pub(super) fn passed(&mut self, lane: usize, position: Position) {
        for ((of, _), share) in &mut self.shares {
            if *of == lane && !share.leaving {
                share.read = share.read.max(position);
            }
        }
    }

    /// Takes a dead letter that is to be tried again, unless one of its stream is in work.
    pub(super) fn try_again(&mut self, key: Key, letter: Arc<RecordedEvent>) {
        let Some(share) = self.shares.get_mut(&key).filter(|share| !share.leaving) else { return };
        let name = letter.aggregate_id.clone();
        let line = share.lines.entry(name.clone()).or_default();
        // What waits here came in before the stream had dead letters, which a stream has in one piece.
        if line.waiting.is_empty() && line.stand == Stand::Free {
            line.parked = true;
            line.waiting.push_back(letter);
            self.kept += 1;
            self.ready.push_back((key, name));
        }
    }

    /// Returns whether a dead letter of a stream is in work.
    pub(super) fn is_in_work(&self, key: Key, stream: &str) -> bool {
        let line = self.shares.get(&key).and_then(|share| share.lines.get(stream));
        line.is_some_and(|line| !line.waiting.is_empty() || line.stand != Stand::Free)
    }

    /// Hands out an event, if there is one and not too many are handed out.
    pub(super) fn pop(&mut self) -> Option<Handed> {
        if self.in_flight >= self.policy.in_flight {
            return None;
        }
        while let Some((key, name)) = self.ready.pop_front() {
            let Some(share) = self.shares.get_mut(&key).filter(|share| !share.leaving) else { continue };
            let Some(line) = share.lines.get_mut(&name).filter(|line| line.stand == Stand::Free) else { continue };
            let Some(event) = line.waiting.front().map(Arc::clone) else { continue };
            line.stand = Stand::HandedOut;
            share.in_flight += 1;
            self.in_flight += 1;
            return Some(Handed { event, attempt: line.failures + 1, key, tenure: share.tenure });
        }
        None
    }

    /// Notes what became of an event that was handed out; `false` where the share is not held any more.
    pub(super) fn report(&mut self, handed: &Handed, outcome: Outcome) -> bool {
        let (key, name) = (handed.key, &handed.event.aggregate_id);
        let Some(share) = self.shares.get_mut(&key).filter(|share| share.tenure == handed.tenure) else { return false };
        let Some(line) = share.lines.get_mut(name) else { return false };
        share.in_flight -= 1;
        self.in_flight -= 1;
        let (position, now) = (handed.event.position, Instant::now());
        line.stand = Stand::Free;
        self.urgent |= share.leaving && share.in_flight == 0;
        match outcome {
            Outcome::Returned => {}
            Outcome::Done => {
                line.succeed();
                self.kept -= 1;
                self.finished += 1;
                if line.parked {
                    line.stand = Stand::Tried;
                    self.urgent = true;
                    share.tried.push((name.clone(), position, None));
                } else {
                    share.unfinished.remove(&position);
                }
            }
            Outcome::Failed(reason) => {
                line.failures += 1;
                let first = *line.first_failed.get_or_insert(now);
                if line.failures < self.policy.attempts {
                    line.stand = Stand::Resting;
                    self.numbers += 1;
                    let until = now + self.policy.rest(line.failures);
                    self.resting.insert((until, self.numbers), (key, name.clone()));
                } else {
                    let failure = Failure { attempts: line.failures, reason, first, last: now };
                    let parked = line.parked;
                    line.give_up(failure.clone());
                    self.urgent = true;
                    if parked {
                        line.stand = Stand::Tried;
                        self.kept -= 1;
                        share.tried.push((name.clone(), position, Some(failure)));
                    }
                }
            }
        }
        if line.stand == Stand::Free && !line.waiting.is_empty() {
            self.ready.push_back((key, name.clone()));
        } else if line.is_over() {
            share.lines.remove(name);
        }
        true
    }

    /// Lets go on what has rested for long enough; returns whether anything has.
    pub(super) fn wake(&mut self, now: Instant) -> bool {
        let later = self.resting.split_off(&(now, u64::MAX));
        let rested = std::mem::replace(&mut self.resting, later);
        let any = !rested.is_empty();
        for (key, name) in rested.into_values() {
            if let Some(line) = self.shares.get_mut(&key).and_then(|share| share.lines.get_mut(&name)) {
                line.stand = Stand::Free;
                self.ready.push_back((key, name));
            }
        }
        any
    }

    /// Returns when the next stream has rested for long enough.
    pub(super) fn next_wake(&self) -> Option<Instant> {
        self.resting.first_key_value().map(|((until, _), _)| *until)
    }

    /// Gives shares back, those first of which nothing is handed out.
    pub(super) fn give_back(&mut self, count: usize) {
        let mut held: Vec<_> = self.shares.iter_mut().filter(|(_, share)| !share.leaving).collect();
        held.sort_by_key(|(key, share)| (share.in_flight, std::cmp::Reverse(**key)));
        held.into_iter().take(count).for_each(|(_, share)| share.leaving = true);
        self.urgent = true;
    }

    /// Returns how many shares are held, and not given back.
    pub(super) fn held(&self) -> usize {
        self.shares.values().filter(|share| !share.leaving).count()
    }

    /// Lets the events of a stream go on that were to be parked behind dead letters, which are gone.
    pub(super) fn unpark(&mut self, key: Key, stream: &str) {
        let Some(line) = self.shares.get_mut(&key).and_then(|share| share.lines.get_mut(stream)) else { return };
        line.parked = false;
        line.waiting.extend(line.behind.drain(..).map(|(event, _)| event));
        if line.stand == Stand::Free && !line.waiting.is_empty() {
            self.ready.push_back((key, stream.to_owned()));
        }
    }

    /// Notes that a plan was written.
    pub(super) fn written(&mut self, plan: &Plan) {
        let Some(share) = self.shares.get_mut(&plan.key).filter(|share| share.tenure == plan.tenure) else { return };
        share.saved = plan.target;
        for Written { stream, position, .. } in &plan.parked {
            share.unfinished.remove(position);
            if let Some(line) = share.lines.get_mut(stream) {
                line.behind.pop_front();
                self.kept -= 1;
            }
        }
        for (stream, ..) in share.tried.drain(..plan.tried.len()) {
            if let Some(line) = share.lines.get_mut(&stream) {
                line.stand = Stand::Free;
            }
        }
        if plan.release {
            self.remove(plan.key);
        }
    }
}

impl Line {
    fn kept(&self) -> usize {
        self.waiting.len() + self.behind.len()
    }

    fn is_over(&self) -> bool {
        self.waiting.is_empty() && self.behind.is_empty() && !self.parked && self.stand == Stand::Free
    }

    fn succeed(&mut self) {
        self.waiting.pop_front();
        (self.failures, self.first_failed) = (0, None);
    }

    /// The first event is parked, and all others behind it; a dead letter is one already.
    fn give_up(&mut self, failure: Failure) {
        let first = self.waiting.pop_front();
        (self.failures, self.first_failed) = (0, None);
        if !self.parked {
            self.parked = true;
            self.behind.extend(first.map(|event| (event, Some(failure))));
            self.behind.extend(self.waiting.drain(..).map(|event| (event, None)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_rests_twice_as_long_after_each_failure_up_to_a_limit() {
        let (least, most) = (Duration::from_millis(10), Duration::from_secs(2));
        let policy = Policy { attempts: 40, backoff: (least, most), in_flight: 1 };
        for failures in 1..=40 {
            let full = least.saturating_mul(1_u32 << (failures - 1).min(30)).min(most);
            let rests: Vec<Duration> = (0..200).map(|_| policy.rest(failures)).collect();
            assert!(rests.iter().all(|rest| (full / 2..=full).contains(rest)), "{failures}: {rests:?}");
            assert!(rests.iter().any(|rest| *rest != rests[0]), "{failures}: no chance in {:?}", rests[0]);
        }
    }
}
