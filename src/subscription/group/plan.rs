//! What is to be written of a share, in one transaction.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use super::book::{Book, Key, Share};
use crate::position::Position;
use crate::sql::dead_letters::Failed;

/// How an event failed for the last time.
#[derive(Debug, Clone)]
pub(super) struct Failure {
    pub attempts: u32,
    pub reason: String,
    pub first: Instant,
    pub last: Instant,
}

/// The longest reason that is kept, in bytes.
const REASON: usize = 2_000;

impl Failure {
    /// Returns it as it is written.
    pub(super) fn to_row(&self) -> Failed {
        let most = Duration::from_hours(24);
        let ago = |time: Instant| time.elapsed().min(most).as_millis().try_into().unwrap_or_default();
        let end = self.reason.floor_char_boundary(REASON);
        let reason = self.reason[..end].replace('\0', " ");
        Failed { attempts: self.attempts, reason, ago: (ago(self.first), ago(self.last)) }
    }
}

/// An event that is parked.
#[derive(Debug)]
pub(super) struct Written {
    pub stream: String,
    pub position: Position,
    pub failure: Option<Failure>,
}

/// What is to be written of a share.
#[derive(Debug)]
pub(super) struct Plan {
    pub key: Key,
    pub tenure: u64,
    /// The checkpoint once this is written.
    pub target: Position,
    /// The events to park, those of a stream in order.
    pub parked: Vec<Written>,
    /// The dead letters that were tried again: stream, position, and how it failed, if it did.
    pub tried: Vec<(String, Position, Option<Failure>)>,
    /// Whether the share is given back.
    pub release: bool,
}

impl Book {
    /// Returns what is to be written.
    pub(super) fn plans(&self) -> Vec<Plan> {
        self.shares.iter().map(|(key, share)| plan(*key, share)).filter(|plan| plan.says_anything(self)).collect()
    }
}

impl Plan {
    fn says_anything(&self, book: &Book) -> bool {
        let saved = book.shares.get(&self.key).map_or(Position::ZERO, |share| share.saved);
        self.target > saved || !self.parked.is_empty() || !self.tried.is_empty() || self.release
    }
}

fn plan(key: Key, share: &Share) -> Plan {
    let mut parked = Vec::new();
    for (stream, line) in &share.lines {
        let written = line.behind.iter().map(|(event, failure)| Written {
            stream: stream.clone(),
            position: event.position,
            failure: failure.clone(),
        });
        parked.extend(written);
    }
    let moved: BTreeSet<Position> = parked.iter().map(|written| written.position).collect();
    let first = share.unfinished.iter().find(|position| !moved.contains(position));
    let target = first.map_or(share.read, |position| position.plus(-1)).max(share.saved);
    let release = share.leaving && share.in_flight == 0;
    Plan { key, tenure: share.tenure, target, parked, tried: share.tried.clone(), release }
}
