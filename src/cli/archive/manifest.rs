//! What an export holds: counted and hashed where it is written, and again where it is read.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{VERSION, check_version};
use crate::error::{Error, Result};
use crate::event::RecordedEvent;
use crate::hash::{LaneHash, TopicHash, hex};
use crate::position::Position;

/// The last line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Manifest {
    annals_manifest: u64,
    pub events: u64,
    /// How many rows of each table there are.
    pub rows: BTreeMap<String, u64>,
    partitions: Vec<Partition>,
    /// The hash of the header's line and of the lines of rows.
    rows_hash: String,
    /// The hash of the log.
    pub hash: String,
}

/// The events of a lane.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Partition {
    partition: usize,
    events: u64,
    first: Option<Position>,
    last: Option<Position>,
    hash: String,
}

impl Manifest {
    pub(super) fn parse(text: &str) -> Result<Self> {
        check_version(text, "annals_manifest")?;
        serde_json::from_str(text).map_err(|error| Error::invalid("annals_manifest", error.to_string()))
    }

    /// Returns how many rows there are.
    pub(crate) fn row_count(&self) -> u64 {
        self.rows.values().sum()
    }

    /// Returns the last position of each partition.
    pub(crate) fn ends(&self) -> impl Iterator<Item = Position> {
        self.partitions.iter().map(|partition| partition.last.unwrap_or_default())
    }

    /// Says where what was found is not what the manifest says.
    pub(crate) fn difference(&self, found: &Self) -> Option<String> {
        if self.events != found.events {
            return Some(format!("it counts {} events, and there are {}", self.events, found.events));
        }
        let count = |manifest: &Self, table| manifest.rows.get(table).copied().unwrap_or_default();
        for table in self.rows.keys().chain(found.rows.keys()) {
            let (says, there) = (count(self, table), count(found, table));
            if says != there {
                return Some(format!("it counts {says} rows of {table}, and there are {there}"));
            }
        }
        if self.partitions.len() != found.partitions.len() {
            return Some("it lists another number of partitions than the header".to_owned());
        }
        let differs = self.partitions.iter().zip(&found.partitions).find(|(says, there)| says != there);
        if let Some((_, there)) = differs {
            return Some(format!(
                "its hash or its positions of partition {} are not those of the events",
                there.partition
            ));
        }
        if self.rows_hash != found.rows_hash {
            return Some("its rows_hash is not that of the header and the rows".to_owned());
        }
        (self != found).then(|| "its hash is not that of its partitions".to_owned())
    }
}

/// What was written, or read, so far.
#[derive(Debug)]
pub(crate) struct Tally {
    lanes: Vec<Lane>,
    rows: BTreeMap<String, u64>,
    beside: Sha256,
}

#[derive(Debug, Clone, Default)]
struct Lane {
    events: u64,
    first: Option<Position>,
    last: Option<Position>,
    hash: LaneHash,
}

impl Tally {
    /// Begins with the line of the header.
    pub(crate) fn new(partitions: usize, header: &str) -> Self {
        let mut tally = Self { lanes: vec![Lane::default(); partitions], rows: BTreeMap::new(), beside: Sha256::new() };
        tally.line(header);
        tally
    }

    /// Takes in the next event of a lane.
    pub(crate) fn event(&mut self, partition: usize, event: &RecordedEvent) {
        let lane = &mut self.lanes[partition];
        lane.events += 1;
        lane.first.get_or_insert(event.position);
        lane.last = Some(event.position);
        lane.hash.event(event);
    }

    /// Takes in the line of a row.
    pub(crate) fn row(&mut self, table: &str, line: &str) {
        match self.rows.get_mut(table) {
            Some(count) => *count += 1,
            None => _ = self.rows.insert(table.to_owned(), 1),
        }
        self.line(line);
    }

    /// Returns the last position of a lane.
    pub(crate) fn last(&self, partition: usize) -> Position {
        self.lanes[partition].last.unwrap_or_default()
    }

    /// Returns how many lanes the log has.
    pub(crate) const fn partitions(&self) -> usize {
        self.lanes.len()
    }

    pub(crate) fn manifest(&self) -> Manifest {
        let mut topic = TopicHash::new();
        let partitions = self.lanes.iter().enumerate().map(|(partition, lane)| {
            let Lane { events, first, last, ref hash } = *lane;
            let hash = hash.so_far();
            topic.lane(&hash);
            Partition { partition, events, first, last, hash: hex(&hash) }
        });
        Manifest {
            annals_manifest: VERSION,
            partitions: partitions.collect(),
            events: self.lanes.iter().map(|lane| lane.events).sum(),
            rows: self.rows.clone(),
            rows_hash: hex(&self.beside.clone().finalize()),
            hash: hex(&topic.finish()),
        }
    }

    fn line(&mut self, text: &str) {
        self.beside.update(text);
        self.beside.update("\n");
    }
}
