//! Whether an export's lanes are those of the topic that it is restored into.

use std::collections::HashMap;
use std::io::Read;

use serde::Deserialize;

use super::{drain, reader};
use crate::cli::lines::Limits;
use crate::cli::{Failure, progress};
use crate::position::LaneId;
use crate::store::Store;

/// Where a line's event stood.
#[derive(Debug, Deserialize)]
struct Place {
    aggregate_id: String,
    #[serde(default)]
    lane: i64,
}

/// The lanes of an export, each with the topic's lane that has its streams.
#[derive(Debug, Default)]
pub(super) struct Lanes {
    own: HashMap<LaneId, LaneId>,
    exported: HashMap<LaneId, LaneId>,
    differ: bool,
}

impl Lanes {
    /// Adds a stream's lanes, and fails where streams that shared a lane do not here, or the other way round.
    pub(super) fn add(&mut self, exported: LaneId, own: LaneId, topic_lanes: usize) -> Result<(), Failure> {
        let differs = *self.own.entry(exported).or_insert(own) != own
            || *self.exported.entry(own).or_insert(exported) != exported;
        self.differ |= differs;
        if differs { Err(self.failure(topic_lanes)) } else { Ok(()) }
    }

    fn failure(&self, topic_lanes: usize) -> Failure {
        let lanes = self.own.len();
        let (has, partitions) = if lanes > 1 && lanes != topic_lanes {
            (format!("has {lanes} lanes"), format!("--partitions {lanes}"))
        } else {
            ("was made of another number of lanes".to_owned(), "as many --partitions".to_owned())
        };
        Failure::usage(format!(
            "the export {has}, the topic {topic_lanes}: restore into a topic created with {partitions}"
        ))
    }
}

/// Looks through a whole file before anything of it is stored. A line that can't be read ends this without a failure:
/// it is named when its turn comes.
pub(super) async fn check(store: &Store, source: Box<dyn Read + Send>, limits: Limits) -> Result<(), Failure> {
    let topic_lanes = store.topic().lanes.len();
    let parse = |_, text: &str| serde_json::from_str::<Place>(text).map_err(|error| Failure::usage(error.to_string()));
    let mut lanes = Lanes::default();
    // The number of lanes is known at the end, so that a failure before it is only remembered.
    let bar = progress::hidden();
    let looked = drain(reader(source, limits, parse), &bar, async |entries| {
        for (_, place) in entries {
            let _ = lanes.add(LaneId::new(place.lane), store.lane(&place.aggregate_id), topic_lanes);
        }
        Ok(())
    });
    let _ = looked.await;
    if lanes.differ { Err(lanes.failure(topic_lanes)) } else { Ok(()) }
}
