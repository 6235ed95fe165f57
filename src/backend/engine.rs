//! What is the same on every SQL engine, written once over what differs: [`Engine`].

use std::fmt::Debug;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::{Backend, BackendTransaction, Capabilities, EventPlace, Examined, Request, Session, Topic};
use crate::append::{Appended, Condition};
use crate::command::RecordedCommand;
use crate::error::{Error, Result};
use crate::event::RecordedEvent;
use crate::json::Json;
use crate::position::{LaneId, Position, Version};
use crate::read::{Direction, Page, Query, StreamFilter, TypeStatistics, page_end};
use crate::snapshot::{NewSnapshot, Snapshot, SnapshotQuery};
use crate::sql::rows::{HeadRow, MatchRow, damaged};
use crate::sql::{Dialect, FromRow, Row, Statement, Value, statements};
use crate::stream::StreamInfo;

/// A database driver with the few things that differ honestly: connecting, transactions, the append.
#[async_trait]
pub(crate) trait Engine: Debug + Send + Sync + 'static {
    /// The engine's SQL.
    const DIALECT: Dialect;

    fn capabilities(&self) -> Capabilities;

    /// See [`Backend::commit_blocks`].
    fn commit_blocks(&self) -> bool {
        false
    }

    /// See [`Backend::poll_interval`].
    fn poll_interval(&self) -> RangeInclusive<Duration> {
        Duration::from_millis(5)..=Duration::from_millis(100)
    }

    /// See [`Backend::reads_ahead`].
    fn reads_ahead(&self) -> bool {
        true
    }

    /// See [`Backend::heard`].
    async fn heard(&self, _lane: LaneId) {
        std::future::pending::<()>().await;
    }

    /// See [`Backend::is_replica`].
    async fn is_replica(&self) -> Result<bool> {
        Ok(false)
    }

    /// Runs one reading statement of the caller's own.
    async fn select(&self, statement: Statement) -> Result<Vec<Row>> {
        self.fetch(statement).await
    }

    /// Runs one reading statement.
    async fn fetch<T: FromRow>(&self, statement: Statement) -> Result<Vec<T>>;

    /// Runs one reading statement that finds what it looks for by a key.
    async fn look_up<T: FromRow>(&self, statement: Statement) -> Result<Vec<T>> {
        self.fetch(statement).await
    }

    /// Runs two reading statements: the lane's head, and then, or in the same snapshot, the events, of which there are at
    /// most `rows`, up to the [`page_end`](crate::read::page_end).
    async fn page(&self, head: Statement, events: Statement, rows: usize) -> Result<(Position, Vec<RecordedEvent>)>;

    /// Runs writing statements in one transaction that takes the lane's lock first, and returns how many rows each
    /// changed.
    async fn write(&self, lane: LaneId, statements: Vec<Statement>) -> Result<Vec<u64>>;

    /// See [`Backend::commit`].
    async fn commit(&self, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>>;

    /// See [`Backend::commit_briefly`].
    fn commit_briefly(&self, _lane: LaneId, _request: &Arc<Request>) -> Option<Result<Result<Appended>>> {
        None
    }

    /// See [`Backend::create_topic`]; the name is valid, and no such topic was there a moment ago.
    async fn create_topic(&self, name: &str, partitions: u16) -> Result<()>;

    /// See [`Backend::restore`].
    async fn restore(&self, lane: LaneId, events: &[RecordedEvent]) -> Result<Position>;

    /// See [`Backend::begin`].
    async fn begin(&self) -> Result<Box<dyn BackendTransaction>>;

    async fn session(&self) -> Result<Box<dyn Session>>;

    async fn close(&self);
}

/// A SQL engine as a [`Backend`].
#[derive(Debug)]
pub(crate) struct SqlBackend<E>(pub E);

impl<E: Engine> SqlBackend<E> {
    async fn fetch_one<T: FromRow>(&self, statement: Statement) -> Result<Option<T>> {
        Ok(self.0.look_up(statement).await?.pop())
    }
}

#[async_trait]
impl<E: Engine> Backend for SqlBackend<E> {
    fn name(&self) -> &'static str {
        E::DIALECT.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    fn commit_blocks(&self) -> bool {
        self.0.commit_blocks()
    }

    fn poll_interval(&self) -> RangeInclusive<Duration> {
        self.0.poll_interval()
    }

    fn reads_ahead(&self) -> bool {
        self.0.reads_ahead()
    }

    async fn heard(&self, lane: LaneId) {
        self.0.heard(lane).await;
    }

    async fn is_replica(&self) -> Result<bool> {
        self.0.is_replica().await
    }

    async fn topics(&self) -> Result<Vec<Topic>> {
        let lanes: Vec<statements::LaneRow> = self.0.fetch(statements::lanes(E::DIALECT)).await?;
        let mut topics: Vec<Topic> = Vec::new();
        for lane in lanes {
            match topics.last_mut() {
                Some(topic) if topic.name == lane.topic => topic.lanes.push(lane.lane),
                _ => topics.push(Topic { name: lane.topic, incarnation: lane.incarnation, lanes: vec![lane.lane] }),
            }
        }
        Ok(topics)
    }

    async fn create_topic(&self, name: &str, partitions: u16) -> Result<Topic> {
        let find = |topics: Vec<Topic>| topics.into_iter().find(|topic| topic.name == name);
        let topic = if let Some(topic) = find(self.topics().await?) {
            topic
        } else {
            let created = self.0.create_topic(name, partitions).await;
            // Of those who create a topic at the same time one does; the keys refuse the others, who find it now.
            match find(self.topics().await?) {
                Some(topic) if created.as_ref().err().is_none_or(Error::is_conflict) => topic,
                _ => return Err(created.err().unwrap_or(Error::Closed)),
            }
        };
        if topic.lanes.len() == usize::from(partitions) {
            Ok(topic)
        } else {
            let reason = format!("topic {name:?} exists with {}; their number is fixed", topic.lanes.len());
            Err(Error::invalid("partitions", reason))
        }
    }

    async fn commit(&self, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>> {
        self.0.commit(lane, batch).await
    }

    fn commit_briefly(&self, lane: LaneId, request: &Arc<Request>) -> Option<Result<Result<Appended>>> {
        self.0.commit_briefly(lane, request)
    }

    async fn examine(&self, lane: LaneId, condition: &Condition) -> Result<Examined> {
        // The head comes first: what is committed after it is looked at under the lock.
        let until = self.head(lane).await?;
        let question = [(0, condition.items.as_slice(), condition.after)];
        let statement = statements::first_matches(E::DIALECT, lane, question);
        let found: Vec<MatchRow> = self.0.fetch(statement).await?;
        Ok(Examined { until, matched: found.first().map(|row| row.position) })
    }

    async fn read(&self, lane: LaneId, query: &Query, rows: usize) -> Result<Page> {
        let head = statements::head(E::DIALECT, lane);
        let events = statements::events(E::DIALECT, lane, query, rows);
        let (head, mut events) = self.0.page(head, events, rows).await?;
        let ordered = match query.direction {
            Direction::Forward => events.is_sorted_by_key(|event| event.position),
            Direction::Backward => events.is_sorted_by_key(|event| std::cmp::Reverse(event.position)),
        };
        if !ordered {
            if events.iter().any(page_end()) {
                return Err(damaged("events came in another order than they were asked for"));
            }
            events.sort_unstable_by_key(|event| event.position);
            if query.direction == Direction::Backward {
                events.reverse();
            }
        }
        Ok(Page::new(query, rows, head, events))
    }

    async fn head(&self, lane: LaneId) -> Result<Position> {
        let head: Option<i64> = self.fetch_one(statements::head(E::DIALECT, lane)).await?;
        Ok(Position::new(head.unwrap_or_default()))
    }

    async fn event(&self, lane: LaneId, event_id: Uuid) -> Result<Option<RecordedEvent>> {
        self.fetch_one(statements::event(E::DIALECT, lane, event_id)).await
    }

    async fn find_events(&self, lane: LaneId, event_ids: &[Uuid]) -> Result<Vec<EventPlace>> {
        /// Well below the parameters that a statement can have on any engine.
        const IDS: usize = 500;
        let mut places = Vec::new();
        for ids in event_ids.chunks(IDS) {
            places.extend(self.0.fetch::<EventPlace>(statements::find_events(E::DIALECT, lane, ids)).await?);
        }
        Ok(places)
    }

    async fn stream(&self, lane: LaneId, aggregate_id: &str) -> Result<Option<StreamInfo>> {
        self.fetch_one(statements::stream(E::DIALECT, lane, aggregate_id)).await
    }

    async fn streams(&self, lane: LaneId, filter: &StreamFilter) -> Result<Vec<StreamInfo>> {
        self.0.fetch(statements::streams(E::DIALECT, lane, filter)).await
    }

    async fn set_metadata(
        &self,
        lane: LaneId,
        aggregate_id: &str,
        expected: Option<i64>,
        metadata: &Json,
    ) -> Result<i64> {
        loop {
            let Some(stream) = self.stream(lane, aggregate_id).await? else {
                return Err(Error::StreamNotFound { stream: aggregate_id.to_owned() });
            };
            let current = stream.metadata_version;
            if let Some(expected) = expected.filter(|expected| *expected != current) {
                return Err(Error::MetadataConflict { stream: stream.aggregate_id, expected, actual: current });
            }
            let statement = statements::set_metadata(E::DIALECT, lane, aggregate_id, current, metadata);
            if self.0.write(lane, vec![statement]).await? == [1] {
                return Ok(current + 1);
            }
            let head: Option<HeadRow> = self.fetch_one(statements::head_and_clock(E::DIALECT, lane)).await?;
            head.map_or(Ok(()), |head| head.check_hold())?;
        }
    }

    async fn command(&self, lane: LaneId, command_id: Uuid) -> Result<Option<RecordedCommand>> {
        self.fetch_one(statements::command(E::DIALECT, lane, command_id)).await
    }

    async fn save_snapshot(&self, lane: LaneId, snapshot: &NewSnapshot) -> Result<bool> {
        let changed = self.0.write(lane, statements::save_snapshot(E::DIALECT, lane, snapshot)).await?;
        Ok(changed.last() == Some(&1))
    }

    async fn snapshot(&self, lane: LaneId, aggregate_id: &str, query: SnapshotQuery) -> Result<Option<Snapshot>> {
        self.fetch_one(statements::snapshot(E::DIALECT, lane, aggregate_id, query)).await
    }

    async fn prune_snapshots(&self, lane: LaneId, aggregate_id: &str, before: Version) -> Result<u64> {
        let statement = statements::prune_snapshots(E::DIALECT, lane, aggregate_id, before);
        Ok(self.0.write(lane, vec![statement]).await?.iter().sum())
    }

    async fn statistics(&self, lane: LaneId) -> Result<Vec<TypeStatistics>> {
        self.0.fetch(statements::statistics(E::DIALECT, lane)).await
    }

    async fn restore(&self, lane: LaneId, events: &[RecordedEvent]) -> Result<Position> {
        self.0.restore(lane, events).await
    }

    async fn ping(&self) -> Result<()> {
        self.0.fetch::<i64>(statements::ping(E::DIALECT)).await.map(drop)
    }

    async fn select(&self, sql: &str, params: &[Value]) -> Result<Vec<Row>> {
        self.0.select(Statement { operation: "select", sql: sql.to_owned(), params: params.to_vec() }).await
    }

    async fn begin(&self) -> Result<Box<dyn BackendTransaction>> {
        self.0.begin().await
    }

    async fn session(&self) -> Result<Box<dyn Session>> {
        self.0.session().await
    }

    async fn close(&self) {
        self.0.close().await;
    }
}
