//! The verbs that read, and snapshots.

use std::collections::HashMap;

use futures::{Stream as Events, TryStreamExt, stream};
use uuid::Uuid;

use super::Store;
use super::paging::Pages;
use crate::backend::EventPlace;
use crate::command::RecordedCommand;
use crate::error::{Error, Result};
use crate::event::RecordedEvent;
use crate::limits;
use crate::position::{LaneId, Position, Version};
use crate::read::{Direction, Page, Query, StreamFilter, TypeStatistics, rows_after};
use crate::snapshot::{NewSnapshot, Snapshot, SnapshotQuery};
use crate::stream::StreamInfo;

impl Store {
    /// Reads the whole of a stream, forward. For long streams, [`Store::read`] returns events one by one.
    ///
    /// A stream that does not exist, or is deleted, has no events.
    ///
    /// # Errors
    /// What the backend answers.
    pub async fn read_stream(&self, stream: impl AsRef<str>) -> Result<Vec<RecordedEvent>> {
        self.query(Query::stream(stream.as_ref())).await
    }

    /// Returns all events that answer a query.
    ///
    /// # Errors
    /// As [`Store::read`].
    pub async fn query(&self, query: Query) -> Result<Vec<RecordedEvent>> {
        self.read(query).try_collect().await
    }

    /// Reads the events that answer a query one by one, in constant memory; lane by lane, where the topic has several.
    ///
    /// The events of a lane end at the head that its first page saw. No transaction or connection is held between
    /// pages. While a caller deals with a page, the next one is read, from the second page on, where a
    /// server does that.
    ///
    /// # Errors
    /// The items are errors where the backend answers one, and [`Error::Gap`] where the log does not continue.
    pub fn read(&self, query: Query) -> impl Events<Item = Result<RecordedEvent>> + Send + 'static {
        let lanes = match &query.stream {
            Some(range) => vec![self.lane(&range.aggregate_id)],
            None => self.inner.topic.lanes.clone(),
        };
        stream::try_unfold(Pages::new(self.clone(), query, lanes), Pages::next)
            .map_ok(|events| stream::iter(events.into_iter().map(Ok)))
            .try_flatten()
    }

    /// Returns one page of at most `rows` events (at most [`limits::PAGE_ROWS`]) of one lane that answer a query, with
    /// the head that was observed at or before it, and how far it has looked. There are fewer events, and more to come, where
    /// they have [`limits::PAGE_BYTES`].
    ///
    /// # Errors
    /// [`Error::Limit`] for a larger page, [`Error::Gap`] where an unfiltered page has a hole, and what the backend
    /// answers.
    #[tracing::instrument(level = "debug", skip_all, fields(topic = %self.inner.topic.name, %lane))]
    pub async fn page(&self, lane: LaneId, query: &Query, rows: usize) -> Result<Page> {
        check_rows(rows)?;
        let resolved;
        let query = if looks_back(query) {
            resolved = self.resolve_as_of(lane, query).await?;
            &resolved
        } else {
            query
        };
        let page = self.deadline("read events", self.inner.backend.read(lane, query, rows)).await?;
        if query.is_unfiltered() {
            check_contiguous(lane, query, &page)?;
        }
        if let Some(index) = self.inner.topic.lanes.iter().position(|known| *known == lane) {
            self.inner.writers[index].observe(page.head);
        }
        Ok(page)
    }

    /// Returns how many events to ask for after a page, at most some. What a page leaves out costs nothing where it is not sent.
    pub(crate) fn rows_after(&self, events: &[RecordedEvent], most: usize) -> usize {
        if self.inner.backend.reads_ahead() { rows_after(events, most) } else { most }
    }

    /// Finds the last change of the stream's life before the end of a query, and asks for what showed then: nothing that
    /// was stored after the changes were looked for, which may be another one.
    pub(super) async fn resolve_as_of(&self, lane: LaneId, query: &Query) -> Result<Query> {
        let mut resolved = query.clone().include_deleted();
        let Some(range) = &mut resolved.stream else { return Ok(resolved) };
        let markers = Query {
            direction: Direction::Backward,
            stream: Some(crate::read::StreamRange { from: Version::new(1), ..range.clone() }),
            event_types: [crate::marker::DELETED, crate::marker::UNDELETED, crate::marker::REUSED]
                .map(String::from)
                .into(),
            to: query.to,
            include_deleted: true,
            ..Query::default()
        };
        let page = self.deadline("read events", self.inner.backend.read(lane, &markers, limits::PAGE_ROWS)).await?;
        let (head, found) = (page.head, page.events);
        match query.direction {
            Direction::Forward => resolved.until = Some(query.until.map_or(head, |until| until.min(head))),
            Direction::Backward => {
                resolved.after = Some(query.after.map_or(head.next(), |after| after.min(head.next())));
            }
        }
        if found.first().is_some_and(|event| event.event_type == crate::marker::DELETED) {
            range.to = Version::ZERO;
        } else if let Some(reused) = found.iter().find(|event| event.event_type == crate::marker::REUSED) {
            range.from = range.from.max(reused.aggregate_version);
        }
        Ok(resolved)
    }

    /// Returns the event of an id, from whichever lane holds it.
    ///
    /// # Errors
    /// What the backend answers.
    pub async fn event(&self, event_id: Uuid) -> Result<Option<RecordedEvent>> {
        for lane in &self.inner.topic.lanes {
            let event = self.deadline("read an event", self.inner.backend.event(*lane, event_id)).await?;
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// Returns where events of some ids, each given with its stream's id, stand, by lane and id: one id may stand in
    /// several lanes. Those that do not exist are left out.
    ///
    /// # Errors
    /// What the backend answers.
    pub async fn find_events(
        &self,
        events: impl IntoIterator<Item = (impl AsRef<str>, Uuid)>,
    ) -> Result<HashMap<(LaneId, Uuid), EventPlace>> {
        let mut lanes: HashMap<LaneId, Vec<Uuid>> = HashMap::new();
        for (stream, event_id) in events {
            lanes.entry(self.lane(stream.as_ref())).or_default().push(event_id);
        }
        let mut places = HashMap::new();
        for (lane, event_ids) in lanes {
            for ids in event_ids.chunks(limits::PAGE_ROWS) {
                let found = self.deadline("find events", self.inner.backend.find_events(lane, ids)).await?;
                places.extend(found.into_iter().map(|place| ((lane, place.event_id), place)));
            }
        }
        Ok(places)
    }

    /// Returns the newest events, the newest first; at most [`limits::PAGE_ROWS`] of each lane.
    ///
    /// # Errors
    /// As [`Store::page`].
    pub async fn recent(&self, rows: usize) -> Result<Vec<RecordedEvent>> {
        check_rows(rows)?;
        let mut events = Vec::new();
        for lane in &self.inner.topic.lanes {
            let query = Query::new().backward().limit(rows as u64);
            let pages = stream::try_unfold(Pages::new(self.clone(), query, vec![*lane]), Pages::next);
            events.append(&mut pages.try_concat().await?);
        }
        events.sort_by_key(|event| std::cmp::Reverse((event.event_timestamp, event.position)));
        events.truncate(rows);
        Ok(events)
    }

    /// Returns the version of a stream's last event; [`Version::ZERO`] where it does not exist or is deleted.
    ///
    /// # Errors
    /// What the backend answers.
    pub async fn version(&self, stream: impl AsRef<str>) -> Result<Version> {
        Ok(self.visible(stream.as_ref()).await?.map_or(Version::ZERO, |stream| stream.version))
    }

    /// Returns whether a stream exists and is not deleted.
    ///
    /// # Errors
    /// What the backend answers.
    pub async fn exists(&self, stream: impl AsRef<str>) -> Result<bool> {
        Ok(self.visible(stream.as_ref()).await?.is_some())
    }

    /// Returns how many events a read of the stream shows.
    ///
    /// # Errors
    /// What the backend answers.
    pub async fn count(&self, stream: impl AsRef<str>) -> Result<u64> {
        let stream = self.visible(stream.as_ref()).await?;
        let count = stream.map_or(0, |stream| stream.version.get() - stream.first_version.get() + 1);
        Ok(count.try_into().unwrap_or_default())
    }

    async fn visible(&self, id: &str) -> Result<Option<StreamInfo>> {
        Ok(self.stream(id).await?.filter(|stream| stream.deleted_at.is_none()))
    }

    /// Returns what is known of a stream, deleted or not.
    ///
    /// # Errors
    /// What the backend answers.
    pub async fn stream(&self, stream: impl AsRef<str>) -> Result<Option<StreamInfo>> {
        let id = stream.as_ref();
        self.deadline("read a stream's row", self.inner.backend.stream(self.lane(id), id)).await
    }

    /// Lists streams in the byte order of their ids, at most [`limits::PAGE_ROWS`]; the next page begins `after` the
    /// last id.
    ///
    /// # Errors
    /// [`Error::Limit`] for a larger page, and what the backend answers.
    pub async fn streams(&self, filter: &StreamFilter) -> Result<Vec<StreamInfo>> {
        check_rows(filter.limit)?;
        let mut streams = Vec::new();
        for lane in &self.inner.topic.lanes {
            streams.extend(self.deadline("list streams", self.inner.backend.streams(*lane, filter)).await?);
        }
        // One lane's page is in the order that its backend goes on in, which need not be that of bytes.
        if self.inner.topic.lanes.len() > 1 {
            streams.sort_by(|left, right| left.aggregate_id.cmp(&right.aggregate_id));
        }
        streams.truncate(filter.limit);
        Ok(streams)
    }

    /// Returns the position of each lane's last event.
    ///
    /// # Errors
    /// What the backend answers.
    pub async fn heads(&self) -> Result<Vec<(LaneId, Position)>> {
        let mut heads = Vec::new();
        for lane in &self.inner.topic.lanes {
            heads.push((*lane, self.deadline("read the head", self.inner.backend.head(*lane)).await?));
        }
        Ok(heads)
    }

    /// Returns how many events the topic has ever had.
    pub(crate) async fn event_count(&self) -> Result<u64> {
        Ok(self.heads().await?.iter().map(|(_, head)| head.get().unsigned_abs()).sum())
    }

    /// Returns the position of a lane's last event.
    pub(crate) async fn head(&self, lane: LaneId) -> Result<Position> {
        self.deadline("read the head", self.inner.backend.head(lane)).await
    }

    /// Returns a command that was decided, from whichever lane holds it.
    ///
    /// # Errors
    /// What the backend answers.
    pub async fn command(&self, command_id: Uuid) -> Result<Option<RecordedCommand>> {
        for lane in &self.inner.topic.lanes {
            let command = self.command_in(*lane, command_id).await?;
            if command.is_some() {
                return Ok(command);
            }
        }
        Ok(None)
    }

    /// Returns a command that was decided in a lane.
    pub(crate) async fn command_in(&self, lane: LaneId, command_id: Uuid) -> Result<Option<RecordedCommand>> {
        self.deadline("read a command", self.inner.backend.command(lane, command_id)).await
    }

    /// Saves a snapshot and returns whether it was stored: not where one of the same or a later schema stands at the
    /// same or a later version.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the stream has no such version, [`Error::StreamNotFound`], [`Error::TypeMismatch`].
    pub async fn save_snapshot(&self, snapshot: &NewSnapshot) -> Result<bool> {
        let lane = self.lane(snapshot.stream.id());
        if self.deadline("save a snapshot", self.inner.backend.save_snapshot(lane, snapshot)).await? {
            return Ok(true);
        }
        let id = || snapshot.stream.id().to_owned();
        let stream = self.stream(snapshot.stream.id()).await?.ok_or_else(|| Error::StreamNotFound { stream: id() })?;
        if stream.aggregate_type != snapshot.stream.aggregate_type() {
            let expected = snapshot.stream.aggregate_type().to_owned();
            return Err(Error::TypeMismatch { stream: id(), expected, actual: stream.aggregate_type });
        }
        let version = snapshot.aggregate_version;
        if version > stream.version || version < Version::new(1) {
            let reason = format!("the stream is at version {}, so there is no version {version}", stream.version);
            return Err(Error::invalid("snapshot", reason));
        }
        Ok(false)
    }

    /// Returns the newest snapshot of a stream that answers a query.
    ///
    /// # Errors
    /// What the backend answers.
    pub async fn snapshot(&self, stream: impl AsRef<str>, query: SnapshotQuery) -> Result<Option<Snapshot>> {
        let id = stream.as_ref();
        self.deadline("read a snapshot", self.inner.backend.snapshot(self.lane(id), id, query)).await
    }

    /// Deletes a stream's snapshots before a version, and returns how many. No result changes by it.
    ///
    /// # Errors
    /// What the backend answers.
    pub async fn prune_snapshots(&self, stream: impl AsRef<str>, before: Version) -> Result<u64> {
        let id = stream.as_ref();
        self.deadline("prune snapshots", self.inner.backend.prune_snapshots(self.lane(id), id, before)).await
    }

    /// Counts the events of each type, by type.
    ///
    /// # Errors
    /// What the backend answers.
    pub async fn statistics(&self) -> Result<Vec<TypeStatistics>> {
        let mut all: Vec<TypeStatistics> = Vec::new();
        for lane in &self.inner.topic.lanes {
            for counted in self.deadline("count events", self.inner.backend.statistics(*lane)).await? {
                match all.iter_mut().find(|known| known.event_type == counted.event_type) {
                    None => all.push(counted),
                    Some(known) => {
                        known.events += counted.events;
                        known.streams += counted.streams;
                        known.first_at = known.first_at.min(counted.first_at);
                        known.last_at = known.last_at.max(counted.last_at);
                    }
                }
            }
        }
        all.sort_by(|left, right| left.event_type.cmp(&right.event_type));
        Ok(all)
    }
}

/// Whether a query asks for a stream as it was: whether it was hidden then decides, not whether it is now.
pub(super) fn looks_back(query: &Query) -> bool {
    let earlier = query.stream.as_ref().is_some_and(|range| range.to != Version::MAX || query.to.is_some());
    earlier && !query.include_deleted
}

fn check_rows(rows: usize) -> Result<()> {
    if rows == 0 {
        return Err(Error::invalid("page", "it has no rows; a page has 1 to 10000"));
    }
    limits::check("rows of a page", limits::PAGE_ROWS, rows)
}

/// Checks that an unfiltered page has no holes: not between its events, not before the first, and, where it is the last
/// page, not behind the last.
pub(crate) fn check_contiguous(lane: LaneId, query: &Query, page: &Page) -> Result<()> {
    let forward = query.direction == Direction::Forward;
    let step = if forward { 1 } else { -1 };
    let mut expected = match (forward, query.after) {
        (true, after) => after.unwrap_or_default().next(),
        (false, None) => page.head,
        (false, Some(after)) => after.plus(-1).min(page.head),
    };
    for event in &page.events {
        if event.position != expected {
            return Err(Error::Gap { lane: lane.get(), expected, found: event.position });
        }
        expected = expected.plus(step);
    }
    let end = if forward { query.until.unwrap_or(page.head).min(page.head) } else { query.until.unwrap_or_default() };
    let is_missing = if forward { expected <= end } else { expected >= end.max(Position::new(1)) };
    if !page.more && is_missing {
        return Err(Error::Gap { lane: lane.get(), expected, found: end.plus(step) });
    }
    Ok(())
}
