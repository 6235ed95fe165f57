//! Takes a log over as it was: positions, versions, ids and times, and the rows beside the events.

use std::collections::{HashMap, HashSet};

use uuid::Uuid;

use super::check::Checked;
use super::{Blame, failure};
use crate::cli::archive::{Header, Manifest, Row};
use crate::cli::{Context, Exit, Failure};
use crate::copy::{self, claim, rows};
use crate::error::Error;
use crate::event::RecordedEvent;
use crate::position::{LaneId, Position};
use crate::sql::copy::{describes_streams, rows_at_once};
use crate::store::Store;
use crate::topics::CONFIG_TOPIC;

/// What is restored of a line.
#[derive(Debug)]
pub(super) enum Entry {
    Event(Box<RecordedEvent>),
    Row(Row),
}

impl Entry {
    pub(super) fn new(line: Checked<'_>) -> Option<Self> {
        match line {
            Checked::Event(_, event) => event.map(Self::Event),
            Checked::Row(row) => Some(Self::Row(row)),
        }
    }
}

/// Opens the topic that an export is restored into, which gets the log's identity.
pub(super) async fn open(header: &Header, context: &Context) -> Result<Store, Failure> {
    if header.selection.is_some() {
        let reason =
            "the export is a part of a log, which only a whole one can be restored from: import it without --restore";
        return Err(Failure::usage(reason));
    }
    if header.topic != CONFIG_TOPIC {
        context.check_topic_of(&header.topic)?;
    }
    let store = context.store_for(&header.topic, header.partitions).await?;
    let (has, own) = (header.partitions, store.topic().lanes.len());
    if usize::from(has) != own {
        let lanes = if has == 1 { "1 lane".to_owned() } else { format!("{has} lanes") };
        return Err(Failure::usage(format!(
            "the export has {lanes}, the topic {own}: restore into a topic created with --partitions {has}"
        )));
    }
    copy::adopt(&store, header.incarnation).await.map_err(|error| match error {
        Error::Invalid { .. } => Failure::new(Exit::Conflict, error.report()),
        error => error.into(),
    })?;
    Ok(store)
}

/// Where a restore stands.
#[derive(Debug)]
pub(super) struct Restore<'a> {
    store: &'a Store,
    /// Tells this restore from whoever else restores or copies something into the topic.
    owner: String,
    heads: HashMap<LaneId, Position>,
    /// The last position that was read of each lane.
    read: HashMap<LaneId, Position>,
    /// The tables that change all the time, of which rows were stored.
    replaced: HashSet<(LaneId, &'static str)>,
    pub imported: u64,
    pub skipped: u64,
}

impl<'a> Restore<'a> {
    pub(super) async fn new(store: &'a Store) -> Result<Self, Failure> {
        let heads = store.heads().await?.into_iter().collect();
        let owner = Uuid::now_v7().to_string();
        Ok(Self { store, owner, heads, read: HashMap::new(), replaced: HashSet::new(), imported: 0, skipped: 0 })
    }

    /// Begins, where the topic does not go on beyond an export that is known to its end.
    pub(super) async fn begin(&self, manifest: Option<&Manifest>) -> Result<(), Failure> {
        manifest.map_or(Ok(()), |manifest| self.check(manifest))?;
        Ok(claim::begin(self.store, &self.owner).await?)
    }

    fn lane(&self, id: LaneId) -> rows::Lane<'_> {
        rows::Lane { store: self.store, id, owner: Some(&self.owner) }
    }

    fn check(&self, manifest: &Manifest) -> Result<(), Failure> {
        let mut lanes = self.store.topic().lanes.iter().zip(manifest.ends());
        lanes.try_for_each(|(lane, end)| self.check_end(*lane, end))
    }

    /// Checks that a lane does not go on beyond the export: its readers would be taken back to where they stood before.
    fn check_end(&self, lane: LaneId, end: Position) -> Result<(), Failure> {
        let head = self.heads.get(&lane).copied().unwrap_or_default();
        if head <= end {
            return Ok(());
        }
        let reason = format!(
            "the topic goes on to position {head}, and the export ends at {end}: restore it into another topic, or a later export"
        );
        Err(Failure::new(Exit::Conflict, reason))
    }

    fn read(&self, lane: LaneId) -> Position {
        self.read.get(&lane).copied().unwrap_or_default()
    }

    /// Stores lines. The rows of a lane come after the events of which they tell.
    pub(super) async fn store(&mut self, entries: Vec<(u64, Entry)>) -> Result<(), Blame> {
        let (mut events, mut rows): (Vec<_>, Vec<Row>) = (Vec::new(), Vec::new());
        for (line, entry) in entries {
            match entry {
                Entry::Event(event) => events.push((line, *event)),
                Entry::Row(row) => {
                    self.store_events(std::mem::take(&mut events)).await?;
                    let others = |first: &Row| first.table.name != row.table.name || first.partition != row.partition;
                    if rows.first().is_some_and(others) || rows.len() == rows_at_once(row.table) {
                        self.store_rows(std::mem::take(&mut rows)).await?;
                    }
                    rows.push(row);
                }
            }
        }
        self.store_rows(rows).await?;
        self.store_events(events).await
    }

    /// Ends a restore: tables that change all the time have no rows but those of the export.
    pub(super) async fn finish(&mut self) -> Result<(), Failure> {
        for lane in &self.store.topic().lanes {
            self.check_end(*lane, self.read(*lane))?;
            for table in rows::tables(&rows::MOVING).filter(|table| !self.replaced.contains(&(*lane, table.name))) {
                self.lane(*lane).replace(table, Vec::new()).await?;
            }
        }
        Ok(claim::end(self.store, &self.owner).await?)
    }

    /// Stores events at the ends of their lanes. Those that stand there already are skipped: an earlier run was
    /// interrupted. Anything else in their places is a failure.
    async fn store_events(&mut self, entries: Vec<(u64, RecordedEvent)>) -> Result<(), Blame> {
        let mut lanes: HashMap<LaneId, Vec<RecordedEvent>> = HashMap::new();
        let mut stored = Vec::new();
        for (line, mut event) in entries {
            event.lane = self.store.lane(&event.aggregate_id);
            self.read.insert(event.lane, event.position);
            if event.position <= self.heads.get(&event.lane).copied().unwrap_or_default() {
                stored.push((line, event));
            } else {
                lanes.entry(event.lane).or_default().push(event);
            }
        }
        self.compare(&stored).await?;
        for (lane, events) in lanes {
            let head = self.store.backend().restore(lane, &events).await.map_err(|error| (None, failure(error)))?;
            self.imported += events.len() as u64;
            self.heads.insert(lane, head);
        }
        Ok(())
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

    /// Stores rows of one table and lane.
    async fn store_rows(&mut self, rows: Vec<Row>) -> Result<(), Blame> {
        let Some(Row { table, partition, .. }) = rows.first() else { return Ok(()) };
        let (table, id) = (*table, self.store.topic().lanes[*partition]);
        self.check_end(id, self.read(id)).map_err(|failure| (None, failure))?;
        let replaces = rows::MOVING.contains(&table.name) && self.replaced.insert((id, table.name));
        let lane = self.lane(id);
        let cells: Vec<_> = rows.into_iter().map(|row| row.cells).collect();
        let expected = cells.len() as u64;
        let stored = if replaces {
            lane.replace(table, cells).await.map(|_| expected)
        } else if describes_streams(table) {
            lane.describe(&cells).await
        } else {
            lane.add(table, cells).await.map(|_| expected)
        };
        match stored {
            Err(error) => Err((None, failure(error))),
            Ok(stored) if stored < expected => {
                let reason = "a row describes a stream that no line before it begins: make the export anew";
                Err((None, Failure::usage(reason)))
            }
            Ok(_) => Ok(()),
        }
    }
}
