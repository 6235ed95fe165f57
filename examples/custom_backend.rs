//! A backend of another crate: events in the memory of the process, under URLs such as `vec:orders`.
//!
//! `cargo run --example custom_backend --features conformance` stores an event in it and runs the conformance suite;
//! `cargo test --example custom_backend --features conformance` runs the same suite with one test a case.
//!
//! What a backend has to do is little: lock, load what [`LaneState`] asks for, let [`decide`] apply the rules, store what
//! it accepted, and answer reads.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};

use annals::backend::decide::{Accepted, ChangeKind, CommandState, Decision, LaneState, StreamState, decide};
use annals::backend::request::Request;
use annals::backend::{Backend, Capabilities, Topic};
use annals::conformance::{Database, Harness, Status, with_options};
use annals::{
    Appended, Config, Direction, Error, Expected, Json, LaneId, NewEvent, NewSnapshot, Page, Position, Query,
    RecordedCommand, RecordedEvent, Result, Snapshot, SnapshotQuery, Store, Stream, StreamFilter, StreamInfo,
    TypeStatistics, Version,
};
use async_trait::async_trait;
use chrono::{DateTime, SubsecRound, Utc};
use uuid::Uuid;

/// The databases of the process, by name: a second store of the same URL opens the same one.
static DATABASES: LazyLock<Mutex<HashMap<String, Arc<Mutex<State>>>>> = LazyLock::new(Mutex::default);

/// A connection to a database.
#[derive(Debug)]
struct Memory {
    database: Arc<Mutex<State>>,
    closed: AtomicBool,
}

/// One database.
#[derive(Debug, Default)]
struct State {
    topics: Vec<Topic>,
    lanes: HashMap<LaneId, Lane>,
}

#[derive(Debug, Default)]
struct Lane {
    events: Vec<RecordedEvent>,
    ids: HashMap<Uuid, Position>,
    streams: BTreeMap<String, StreamInfo>,
    commands: HashMap<Uuid, (RecordedCommand, CommandState)>,
    snapshots: BTreeMap<(String, Version), Snapshot>,
}

/// Opens the database that a URL names, or makes it.
async fn open(config: Config) -> Result<Arc<dyn Backend>> {
    config.check_options(&[])?;
    let mut databases = lock(&DATABASES);
    let database = databases.entry(config.target().to_owned()).or_insert_with(|| {
        let lane = LaneId::new(1);
        let topic = Topic { name: "default".to_owned(), incarnation: Uuid::new_v4(), lanes: vec![lane] };
        Arc::new(Mutex::new(State { topics: vec![topic], lanes: HashMap::new() }))
    });
    Ok(Arc::new(Memory { database: Arc::clone(database), closed: AtomicBool::new(false) }))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Memory {
    /// Runs some work on the database, unless the connection is closed.
    async fn with<T>(&self, work: impl FnOnce(&mut State) -> T) -> Result<T> {
        // Nothing here ever waits, so a caller that polls would keep its thread from all others.
        tokio::task::consume_budget().await;
        if self.closed.load(Ordering::Relaxed) {
            return Err(Error::Closed);
        }
        Ok(work(&mut lock(&self.database)))
    }

    /// Runs some work under the lock, which stands for the lane's.
    async fn with_lane<T>(&self, lane: LaneId, work: impl FnOnce(&mut Lane) -> T) -> Result<T> {
        self.with(|state| work(state.lanes.entry(lane).or_default())).await
    }
}

#[async_trait]
impl Backend for Memory {
    fn name(&self) -> &'static str {
        "vec"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::none().with_durable(true).with_byte_order(true)
    }

    async fn topics(&self) -> Result<Vec<Topic>> {
        self.with(|state| state.topics.clone()).await
    }

    async fn create_topic(&self, name: &str, partitions: u16) -> Result<Topic> {
        self.with(|state| state.create_topic(name, partitions)).await?
    }

    async fn commit(&self, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>> {
        self.with_lane(lane, |log| batch.iter().map(|request| log.commit(lane, request)).collect()).await
    }

    async fn read(&self, lane: LaneId, query: &Query, rows: usize) -> Result<Page> {
        self.with_lane(lane, |lane| {
            let matches = |event: &&RecordedEvent| lane.matches(query, event);
            let events: Vec<RecordedEvent> = match query.direction {
                Direction::Forward => lane.events.iter().filter(matches).take(rows).cloned().collect(),
                Direction::Backward => lane.events.iter().rev().filter(matches).take(rows).cloned().collect(),
            };
            Page::new(query, rows, lane.head(), events)
        })
        .await
    }

    async fn head(&self, lane: LaneId) -> Result<Position> {
        self.with_lane(lane, |lane| lane.head()).await
    }

    async fn event(&self, lane: LaneId, event_id: Uuid) -> Result<Option<RecordedEvent>> {
        self.with_lane(lane, |lane| {
            let position = lane.ids.get(&event_id)?;
            lane.events.iter().find(|event| event.position == *position).cloned()
        })
        .await
    }

    async fn stream(&self, lane: LaneId, aggregate_id: &str) -> Result<Option<StreamInfo>> {
        self.with_lane(lane, |lane| lane.streams.get(aggregate_id).cloned()).await
    }

    async fn streams(&self, lane: LaneId, filter: &StreamFilter) -> Result<Vec<StreamInfo>> {
        let matches = |stream: &&StreamInfo| {
            filter.prefix.as_ref().is_none_or(|prefix| stream.aggregate_id.starts_with(prefix))
                && filter.aggregate_type.as_ref().is_none_or(|wanted| stream.aggregate_type == *wanted)
                && filter.after.as_ref().is_none_or(|after| stream.aggregate_id > *after)
                && (filter.include_deleted || stream.deleted_at.is_none())
        };
        self.with_lane(lane, |lane| lane.streams.values().filter(matches).take(filter.limit).cloned().collect()).await
    }

    async fn set_metadata(
        &self,
        lane: LaneId,
        aggregate_id: &str,
        expected: Option<i64>,
        metadata: &Json,
    ) -> Result<i64> {
        self.with_lane(lane, |lane| {
            let now = lane.now();
            let Some(stream) = lane.streams.get_mut(aggregate_id) else {
                return Err(Error::StreamNotFound { stream: aggregate_id.to_owned() });
            };
            let actual = stream.metadata_version;
            if let Some(expected) = expected.filter(|expected| *expected != actual) {
                return Err(Error::MetadataConflict { stream: aggregate_id.to_owned(), expected, actual });
            }
            (stream.metadata, stream.metadata_version, stream.updated_at) = (Some(metadata.clone()), actual + 1, now);
            Ok(actual + 1)
        })
        .await?
    }

    async fn command(&self, lane: LaneId, command_id: Uuid) -> Result<Option<RecordedCommand>> {
        self.with_lane(lane, |lane| lane.commands.get(&command_id).map(|(command, _)| command.clone())).await
    }

    async fn save_snapshot(&self, lane: LaneId, snapshot: &NewSnapshot) -> Result<bool> {
        self.with_lane(lane, |lane| lane.save_snapshot(snapshot)).await
    }

    async fn snapshot(&self, lane: LaneId, aggregate_id: &str, query: SnapshotQuery) -> Result<Option<Snapshot>> {
        self.with_lane(lane, |lane| {
            let stream = lane.streams.get(aggregate_id).filter(|stream| stream.deleted_at.is_none())?;
            let last = query.at_or_before.unwrap_or(Version::MAX);
            if last < stream.first_version {
                return None;
            }
            let versions = (aggregate_id.to_owned(), stream.first_version)..=(aggregate_id.to_owned(), last);
            let wanted = |snapshot: &&Snapshot| {
                query.snapshot_version.is_none_or(|version| snapshot.snapshot_version == version)
            };
            lane.snapshots.range(versions).rev().map(|(_, snapshot)| snapshot).find(wanted).cloned()
        })
        .await
    }

    async fn prune_snapshots(&self, lane: LaneId, aggregate_id: &str, before: Version) -> Result<u64> {
        self.with_lane(lane, |lane| {
            let count = lane.snapshots.len();
            lane.snapshots.retain(|(id, version), _| id != aggregate_id || *version >= before);
            (count - lane.snapshots.len()) as u64
        })
        .await
    }

    async fn statistics(&self, lane: LaneId) -> Result<Vec<TypeStatistics>> {
        self.with_lane(lane, |lane| {
            let mut types: BTreeMap<&str, Vec<&RecordedEvent>> = BTreeMap::new();
            for event in &lane.events {
                types.entry(&event.event_type).or_default().push(event);
            }
            let count = |number: usize| i64::try_from(number).unwrap_or(i64::MAX);
            let statistics = types.into_iter().filter_map(|(event_type, events)| {
                let streams: std::collections::HashSet<_> = events.iter().map(|event| &event.aggregate_id).collect();
                Some(TypeStatistics {
                    event_type: event_type.to_owned(),
                    events: count(events.len()),
                    streams: count(streams.len()),
                    first_at: events.first()?.event_timestamp,
                    last_at: events.last()?.event_timestamp,
                })
            });
            statistics.collect()
        })
        .await
    }

    async fn ping(&self) -> Result<()> {
        self.with(|_| ()).await
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
    }
}

impl State {
    fn create_topic(&mut self, name: &str, partitions: u16) -> Result<Topic> {
        if let Some(topic) = self.topics.iter().find(|topic| topic.name == name) {
            return if topic.lanes.len() == usize::from(partitions) {
                Ok(topic.clone())
            } else {
                Err(Error::invalid("partitions", format!("topic {name:?} exists with {}", topic.lanes.len())))
            };
        }
        let next = self.topics.iter().flat_map(|topic| &topic.lanes).map(|lane| lane.get()).max().unwrap_or(0) + 1;
        let lanes = (next..).map(LaneId::new).take(partitions.into()).collect();
        let topic = Topic { name: name.to_owned(), incarnation: Uuid::new_v4(), lanes };
        self.topics.push(topic.clone());
        self.topics.sort_by(|left, right| left.name.cmp(&right.name));
        Ok(topic)
    }
}

impl Lane {
    fn head(&self) -> Position {
        self.events.last().map_or(Position::ZERO, |event| event.position)
    }

    /// The clock's time, unless the last event is younger: time never goes back in a lane.
    fn now(&self) -> DateTime<Utc> {
        let now = Utc::now().trunc_subsecs(6);
        self.events.last().map_or(now, |event| now.max(event.event_timestamp))
    }

    /// Decides a request and stores what is accepted.
    fn commit(&mut self, id: LaneId, request: &Request) -> Result<Appended> {
        let mut state = self.state(id, request);
        let matched = request.condition.as_ref().and_then(|condition| {
            let later = self.events.iter().filter(|event| event.position > condition.after);
            later
                .map(|event| (event.position, condition.matches(&event.event_type, &event.tags)))
                .find_map(|(position, matches)| matches.then_some(position))
        });
        match decide(&mut state, request, matched)? {
            Decision::Duplicate(outcome) => Ok(outcome),
            Decision::Accept(accepted) => self.store(id, accepted),
        }
    }

    /// Loads what the request asks about.
    fn state(&self, lane: LaneId, request: &Request) -> LaneState {
        let streams = request.streams.iter().filter_map(|rule| self.streams.get(&rule.aggregate_id));
        let known = |stream: &StreamInfo| StreamState {
            aggregate_type: stream.aggregate_type.clone(),
            version: stream.version,
            deleted: stream.deleted_at.is_some(),
        };
        let command = request.command.as_ref().and_then(|command| self.commands.get(&command.command_id));
        let ids = request.events.iter().filter_map(|event| self.ids.get_key_value(&event.event_id));
        LaneState {
            lane,
            head: self.head(),
            now: self.now(),
            streams: streams.map(|stream| (stream.aggregate_id.clone(), known(stream))).collect(),
            commands: command.map(|(command, state)| (command.command_id, state.clone())).into_iter().collect(),
            event_ids: ids.map(|(id, position)| (*id, *position)).collect(),
        }
    }

    fn store(&mut self, lane: LaneId, accepted: Accepted<'_>) -> Result<Appended> {
        let Accepted { events, streams, command, now, outcome } = accepted;
        let recorded = events.iter().map(|placed| placed.recorded(lane, now)).collect::<Result<Vec<_>>>()?;
        for change in streams {
            let rule = change.stream;
            if change.kind == ChangeKind::Create {
                let stream = Stream::new(&rule.aggregate_type, &rule.aggregate_id)?;
                self.streams.insert(rule.aggregate_id.clone(), StreamInfo::new(&stream, Version::ZERO, now));
            } else if let Some(stream) = self.streams.get_mut(&rule.aggregate_id) {
                stream.deleted_at = (change.kind == ChangeKind::Delete).then_some(now);
                stream.updated_at = now;
                if let ChangeKind::Reuse(version) = change.kind {
                    stream.first_version = version;
                }
            }
        }
        for event in recorded {
            if let Some(stream) = self.streams.get_mut(&event.aggregate_id) {
                (stream.version, stream.last_event_at) = (event.aggregate_version, now);
            }
            self.ids.insert(event.event_id, event.position);
            self.events.push(event);
        }
        if let Some(command) = command {
            let recorded = RecordedCommand {
                command_id: command.command_id,
                command_type: command.command_type.clone(),
                aggregate_id: command.aggregate_id.clone(),
                aggregate_type: command.aggregate_type.clone(),
                processed_at: now,
                actor: command.actor.clone(),
                source: command.source,
                data: command.data.clone(),
                first_position: outcome.positions.map(|(first, _)| first),
                last_position: outcome.positions.map(|(_, last)| last),
            };
            let state = CommandState {
                request_hash: command.request_hash,
                positions: outcome.positions,
                versions: outcome.versions.clone(),
            };
            self.commands.insert(command.command_id, (recorded, state));
        }
        Ok(outcome)
    }

    fn matches(&self, query: &Query, event: &RecordedEvent) -> bool {
        let (after, until) = match query.direction {
            Direction::Forward => (query.after.unwrap_or_default(), query.until.unwrap_or(Position::MAX)),
            // A read backward goes from the position before `after` down to `until`.
            Direction::Backward => (
                query.until.map_or(Position::ZERO, |until| Position::new(until.get() - 1)),
                query.after.map_or(Position::MAX, |after| Position::new(after.get() - 1)),
            ),
        };
        let shows = |id: &str| {
            self.streams.get(id).is_some_and(|stream| {
                query.include_deleted
                    || (stream.deleted_at.is_none() && event.aggregate_version >= stream.first_version)
            })
        };
        event.position > after
            && event.position <= until
            && query.stream.as_ref().is_none_or(|range| {
                event.aggregate_id == range.aggregate_id
                    && (range.from..=range.to).contains(&event.aggregate_version)
                    && shows(&range.aggregate_id)
            })
            && (query.stream_prefixes.is_empty()
                || query.stream_prefixes.iter().any(|prefix| event.aggregate_id.starts_with(prefix)))
            && (query.event_types.is_empty() || query.event_types.contains(&event.event_type))
            && query.aggregate_type.as_ref().is_none_or(|wanted| event.aggregate_type == *wanted)
            && query.tags.iter().all(|tag| event.tags.contains(tag))
            && query.actor.as_ref().is_none_or(|wanted| event.actor.as_ref() == Some(wanted))
            && query.correlation_id.is_none_or(|wanted| event.correlation_id == Some(wanted))
            && query.causation_id.is_none_or(|wanted| event.causation_id == Some(wanted))
            && query.from.is_none_or(|from| event.event_timestamp >= from)
            && query.to.is_none_or(|to| event.event_timestamp < to)
    }

    fn save_snapshot(&mut self, new: &NewSnapshot) -> bool {
        let (stream, version) = (new.stream(), new.aggregate_version());
        let known = self.streams.get(stream.id()).filter(|known| known.aggregate_type == stream.aggregate_type());
        let exists = known.is_some_and(|known| (Version::new(1)..=known.version).contains(&version));
        let id = stream.id().to_owned();
        let later = self.snapshots.range((id.clone(), version)..=(id.clone(), Version::MAX));
        if !exists || later.into_iter().any(|(_, old)| old.snapshot_version >= new.snapshot_version()) {
            return false;
        }
        let snapshot = Snapshot {
            snapshot_id: Uuid::now_v7(),
            aggregate_id: id.clone(),
            aggregate_type: stream.aggregate_type().to_owned(),
            aggregate_version: version,
            snapshot_version: new.snapshot_version(),
            snapshot_timestamp: self.now(),
            state: new.state().clone(),
        };
        self.snapshots.insert((id, version), snapshot);
        true
    }
}

/// Gives each case of the suite a database of its own.
#[derive(Debug)]
struct Fresh;

#[async_trait]
impl Harness for Fresh {
    async fn fresh(&self) -> Result<Arc<dyn Database>> {
        // Only the first of several tests of a process registers the scheme.
        let _ = annals::register_adapter("vec", open);
        Ok(Arc::new(Named(Uuid::new_v4().to_string())))
    }
}

#[derive(Debug)]
struct Named(String);

#[async_trait]
impl Database for Named {
    async fn open(&self, options: &[(&str, &str)]) -> Result<Store> {
        Store::connect(&with_options(&format!("vec:{}", self.0), options)).await
    }

    fn url(&self) -> Option<String> {
        Some(format!("vec:{}", self.0))
    }

    async fn remove(&self) -> Result<()> {
        lock(&DATABASES).remove(&self.0);
        Ok(())
    }
}

#[tokio::main]
async fn main() -> Result<()> {
    annals::register_adapter("vec", open)?;
    let store = Store::connect("vec:orders").await?;
    let placed = NewEvent::json("OrderPlaced", &serde_json::json!({"total": 12}))?;
    store.append(&Stream::new("order", "order-1")?, Expected::NoStream, [placed]).await?;
    println!("{} event in vec:orders", store.query(Query::new()).await?.len());

    let counts = annals::conformance::run(
        &Fresh,
        4,
        |_| true,
        |report| {
            if let Status::Failed(reason) = report.status {
                println!("{}: {reason}", report.name);
            }
        },
    );
    println!("{:?}", counts.await);
    Ok(())
}

#[cfg(test)]
mod suite {
    annals::conformance_suite!(|| Some(crate::Fresh));
}
