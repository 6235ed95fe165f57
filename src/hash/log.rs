//! The hash of a whole log.

use super::{Hasher, of};
use crate::event::RecordedEvent;

/// The hash of a lane's events in their order, each with its place, id and time.
///
/// In the encoding of this module: the text `annals-lane-1`, then for each event its `position`, `aggregate_version`,
/// `event_id` (16 bytes), `event_timestamp` (microseconds since 1970), its own [hash](of), computed anew, and the one that
/// is stored with it. Two logs of equal hashes hold the same events at the same places, on whatever engine.
#[derive(Debug, Clone)]
pub struct LaneHash(Hasher);

/// The hash of a topic: the text `annals-topic-1`, then the hash of each lane in order.
#[derive(Debug, Clone)]
pub struct TopicHash(Hasher);

impl LaneHash {
    /// Begins before the first event.
    #[must_use]
    pub fn new() -> Self {
        Self(Hasher::new("annals-lane-1"))
    }

    /// Takes in the next event, and returns its own hash.
    pub fn event(&mut self, event: &RecordedEvent) -> [u8; 32] {
        let hash = of(event);
        self.0.number(event.position.get());
        self.0.number(event.aggregate_version.get());
        self.0.bytes(event.event_id.as_bytes());
        self.0.number(event.event_timestamp.timestamp_micros());
        self.0.bytes(&hash);
        self.0.optional(event.hash.as_ref().map(<[u8; 32]>::as_slice));
        hash
    }

    /// Returns the hash of the events so far.
    #[must_use]
    pub fn so_far(&self) -> [u8; 32] {
        self.0.clone().finish()
    }
}

impl Default for LaneHash {
    fn default() -> Self {
        Self::new()
    }
}

impl TopicHash {
    /// Begins before the first lane.
    #[must_use]
    pub fn new() -> Self {
        Self(Hasher::new("annals-topic-1"))
    }

    /// Takes in the next lane.
    pub fn lane(&mut self, hash: &[u8; 32]) {
        self.0.bytes(hash);
    }

    /// Returns the hash of all lanes.
    #[must_use]
    pub fn finish(self) -> [u8; 32] {
        self.0.finish()
    }
}

impl Default for TopicHash {
    fn default() -> Self {
        Self::new()
    }
}
