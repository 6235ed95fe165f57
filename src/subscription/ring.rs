//! The newest events of a lane, kept in memory so that those who follow it read them from the database once.

use std::collections::VecDeque;
use std::sync::Arc;

use uuid::Uuid;

use crate::event::RecordedEvent;
use crate::position::Position;

/// Events that are kept at most.
const EVENTS: usize = 4_096;
/// Bytes of payloads that are kept at most, the newest event's apart.
pub(super) const BYTES: usize = 8 * 1024 * 1024;

/// Events without a gap, up to some position.
#[derive(Debug, Default)]
pub(super) struct Ring {
    events: VecDeque<Arc<RecordedEvent>>,
    bytes: usize,
    /// The position of the last event, which may be too old to be kept.
    end: Position,
    /// The position and id of the last event, where it is known.
    last: Option<(Position, Uuid)>,
}

impl Ring {
    /// Keeps nothing, and goes on after a position, at which this event stands, if it is known.
    pub(super) fn reset(&mut self, end: Position, last: Option<Uuid>) {
        *self = Self { events: VecDeque::new(), bytes: 0, end, last: last.map(|event_id| (end, event_id)) };
    }

    /// Returns the position of the last event.
    pub(super) fn end(&self) -> Position {
        self.end
    }

    /// Returns the position and id of the last event, where it is known.
    pub(super) fn last(&self) -> Option<(Position, Uuid)> {
        self.last
    }

    /// Adds the event that follows the last one, and gives up old ones for it.
    pub(super) fn push(&mut self, event: Arc<RecordedEvent>) {
        debug_assert_eq!(event.position, self.end.next(), "an event that does not follow");
        self.end = event.position;
        self.last = Some((event.position, event.event_id));
        self.bytes += weight(&event);
        self.events.push_back(event);
        while self.events.len() > EVENTS || (self.bytes > BYTES && self.events.len() > 1) {
            if let Some(oldest) = self.events.pop_front() {
                self.bytes -= weight(&oldest);
            }
        }
    }

    /// Returns up to a number of events after a position; `None` where some of them are not kept.
    pub(super) fn after(&self, position: Position, most: usize) -> Option<Vec<Arc<RecordedEvent>>> {
        if position >= self.end {
            return Some(Vec::new());
        }
        let first = self.events.front()?.position;
        let index = usize::try_from(position.next().get() - first.get()).ok()?;
        Some(self.events.range(index..).take(most).cloned().collect())
    }
}

fn weight(event: &RecordedEvent) -> usize {
    let data = match &event.payload {
        crate::event::Payload::Json(json) => json.as_str().len(),
        crate::event::Payload::Bytes { bytes, .. } => bytes.len(),
    };
    data + event.metadata.as_ref().map_or(0, |json| json.as_str().len())
}
