//! Takes a log over as it was: positions, versions, ids and times.

use std::collections::HashMap;

use super::lanes::Lanes;
use super::{Blame, failure};
use crate::cli::line::Line;
use crate::cli::{Exit, Failure};
use crate::event::RecordedEvent;
use crate::position::{LaneId, Position};
use crate::store::Store;

/// Parses a line of an export.
pub(super) fn parse(_number: u64, text: &str) -> Result<RecordedEvent, Failure> {
    Ok(Line::parse(text)?.recorded()?)
}

/// Where a restore stands.
#[derive(Debug)]
pub(super) struct Restore<'a> {
    store: &'a Store,
    heads: HashMap<LaneId, Position>,
    lanes: Lanes,
    pub imported: u64,
    pub skipped: u64,
}

impl<'a> Restore<'a> {
    pub(super) async fn new(store: &'a Store) -> Result<Self, Failure> {
        let heads = store.heads().await?.into_iter().collect();
        Ok(Self { store, heads, lanes: Lanes::default(), imported: 0, skipped: 0 })
    }

    /// Stores lines at the ends of their lanes. Those that stand there already are skipped: an earlier run was
    /// interrupted. Anything else in their places is a failure.
    pub(super) async fn store(&mut self, entries: Vec<(u64, RecordedEvent)>) -> Result<(), Blame> {
        for (line, event) in &entries {
            let own = self.store.lane(&event.aggregate_id);
            let topic_lanes = self.store.topic().lanes.len();
            self.lanes.add(event.lane, own, topic_lanes).map_err(|failure| (Some(*line), failure))?;
        }
        let mut lanes: HashMap<LaneId, Vec<RecordedEvent>> = HashMap::new();
        let mut stored = Vec::new();
        let mut blame = None;
        for (line, mut event) in entries {
            let lane = self.store.lane(&event.aggregate_id);
            let head = self.heads.get(&lane).copied().unwrap_or_default();
            event.lane = lane;
            if event.position <= head {
                stored.push((line, event));
                continue;
            }
            let waiting = lanes.entry(lane).or_default();
            let expected = waiting.last().map_or(head, |last| last.position).next();
            if event.position != expected {
                let reason = format!("it has position {}, and {expected} is next", event.position);
                blame = Some((Some(line), Failure::usage(format!("{reason}: --restore needs a whole export"))));
                break;
            }
            waiting.push(event);
        }
        self.compare(&stored).await?;
        for (lane, events) in lanes {
            let head = self.store.backend().restore(lane, &events).await.map_err(|error| (None, failure(error)))?;
            self.imported += events.len() as u64;
            self.heads.insert(lane, head);
        }
        blame.map_or(Ok(()), Err)
    }

    /// Checks that what stands in the topic already is what the lines say.
    async fn compare(&mut self, lines: &[(u64, RecordedEvent)]) -> Result<(), Blame> {
        let ids = lines.iter().map(|(_, event)| (&event.aggregate_id, event.event_id));
        let known = self.store.find_events(ids).await.map_err(|error| (None, failure(error)))?;
        for (line, event) in lines {
            let same = known
                .get(&(event.lane, event.event_id))
                .is_some_and(|place| place.position == event.position && place.hash == event.hash);
            if !same {
                let reason = format!("position {} holds another event: --restore needs an empty topic", event.position);
                return Err((Some(*line), Failure::new(Exit::Conflict, reason)));
            }
            self.skipped += 1;
        }
        Ok(())
    }
}
