//! The append: one call where nothing contradicts it, else a transaction that locks, loads, decides and stores.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use sqlx::postgres::{PgBindIterExt, PgConnection};
use uuid::Uuid;

use super::batch;
use super::convert::{self, JsonText, Stage, classify};
use super::pool::{Lease, Pool};
use super::rows::Rows;
use crate::append::Appended;
use crate::backend::decide::{CommandState, LaneState, StreamState, decide_batch};
use crate::backend::request::{Asked, EventWrite, Life, Request, StreamRule, unexamined};
use crate::error::{Error, ErrorClass, Result};
use crate::event::{RecordedEvent, Source};
use crate::json;
use crate::position::{LaneId, Position, Version};
use crate::sql::holds::{self, COPY, Reason};
use crate::sql::rows::{
    CommandStateRow, CommandVersionRow, EventPlaceRow, HeadRow, MatchRow, StreamStateRow, damaged, time,
};
use crate::sql::{Dialect, Statement, statements};
use crate::stream::Expected;

/// How often a transaction is tried that the server rolls back because of others.
const TRIES: u32 = 5;
/// Events that are restored by one statement.
const RESTORED_AT_ONCE: usize = 1_000;

/// Locks the lane, checks that nothing contradicts the request, stores it and commits, in one call. The function's own
/// text says what each parameter is.
const APPEND: &str = "SELECT annals_append($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, \
     $15, $16, $17, $18, $19, $20, $21, $22, $23, $24, $25, $26, $27, $28, $29, \
     $30, $31, $32, $33, $34, $35, $36, $37, $38, $39, $40, $41)";

/// The streams of a batch: `$1` lane, `$2` ids. Here and below, LATERAL and LIMIT leave the planner one way: to look each
/// id up by its key.
const STREAM_STATES: &str = "SELECT s.aggregate_id, s.aggregate_type, s.version, s.deleted_at \
     FROM unnest($2::text[]) AS n(id) CROSS JOIN LATERAL (SELECT s.aggregate_id, s.aggregate_type, s.deleted_at, \
       (SELECT MAX(e.aggregate_version) FROM events e WHERE e.lane_id = $1 AND e.aggregate_id = n.id) AS version \
       FROM streams s WHERE s.lane_id = $1 AND s.aggregate_id = n.id LIMIT 1) AS s";

/// The commands of a batch that were decided before: `$1` lane, `$2` ids.
const COMMAND_STATES: &str = "SELECT c.* FROM unnest($2::uuid[]) AS n(id) CROSS JOIN LATERAL (SELECT c.command_id, \
       c.request_hash, c.first_position, c.last_position FROM commands c \
       WHERE c.lane_id = $1 AND c.command_id = n.id LIMIT 1) AS c";

/// The streams that commands wrote, each with the version that it had then: `$1` lane, `$2` ids, `$3` and `$4` the
/// positions of their first and last events.
const COMMAND_VERSIONS: &str = "SELECT n.id, v.aggregate_id, v.version \
     FROM unnest($2::uuid[], $3::bigint[], $4::bigint[]) AS n(id, first, last) CROSS JOIN LATERAL (\
       SELECT e.aggregate_id, MAX(e.aggregate_version) AS version FROM events e \
       WHERE e.lane_id = $1 AND e.position >= n.first AND e.position <= n.last GROUP BY e.aggregate_id) AS v";

/// Where the events of some ids stand: `$1` lane, `$2` ids.
const EVENT_PLACES: &str = "SELECT e.* FROM unnest($2::uuid[]) AS n(id) CROSS JOIN LATERAL (SELECT e.event_id, \
       e.position FROM events e WHERE e.lane_id = $1 AND e.event_id = n.id LIMIT 1) AS e";

/// The first events that match conditions: `$1` lane, `$2` to `$6` as [`batch::bind_conditions`] binds them.
const FIRST_MATCHES: &str = "SELECT m.number, m.position FROM annals_first_matches($1, $2, $3, $4, $5, $6) AS m";

/// Keeps other creators of topics out, and lets appends go on.
const LOCK_LANES: &str = "BEGIN; LOCK TABLE lanes IN SHARE ROW EXCLUSIVE MODE";

/// `$1` topic, `$2` number of lanes, `$3` incarnation; does nothing where the topic exists.
const INSERT_LANES: &str = "INSERT INTO lanes (lane_id, topic, partition, incarnation, created_at) \
     SELECT GREATEST((SELECT MAX(lane_id) FROM lanes), (SELECT MAX(lane_id) FROM holds), 0) + p + 1, $1, p, $3, \
       clock_timestamp() FROM generate_series(0, $2 - 1) AS p WHERE NOT EXISTS (SELECT 1 FROM lanes WHERE topic = $1)";

/// Commits a batch.
pub(super) async fn commit(pool: &Arc<Pool>, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>> {
    let answers = match batch {
        [request] if is_simple(request) => call(pool, lane, request).await?.map(|answer| vec![answer]),
        _ => batch::append(pool, lane, batch).await?,
    };
    match answers {
        Some(answers) => Ok(answers),
        None => decide_and_store(pool, lane, batch).await,
    }
}

/// Counts how often a transaction was tried.
struct Retries {
    start: Instant,
    limit: Duration,
    tries: u32,
}

impl Retries {
    fn new(pool: &Pool) -> Self {
        Self { start: Instant::now(), limit: pool.connector.statement_timeout / 2, tries: 1 }
    }

    /// Returns after a short time where nothing was carried out because of others or of a lost connection, unless that
    /// happened too often or took too long; else returns the error.
    async fn pause(&mut self, error: Error) -> Result<()> {
        let again = matches!(error, Error::Backend { class: ErrorClass::Retry | ErrorClass::Reconnect, .. });
        if !again || self.tries == TRIES || self.start.elapsed() > self.limit {
            return Err(error);
        }
        tracing::debug!(tries = self.tries, error = error.report(), "nothing was carried out: it is tried again");
        let jitter = u64::from(Uuid::new_v4().as_bytes()[0]) % (8 << self.tries);
        tokio::time::sleep(Duration::from_millis(jitter)).await;
        self.tries += 1;
        Ok(())
    }
}

/// Whether the function of the database can take the request: events of one stream, and nothing that needs deciding.
fn is_simple(request: &Request) -> bool {
    let [rule] = request.streams.as_slice() else { return false };
    let is_odd = matches!(rule.expected, Expected::Exact(version) if version < Version::ZERO);
    rule.life == Life::Keep && !request.events.is_empty() && request.condition.is_none() && !is_odd
}

/// Calls the function; `None` where it has to be decided over what is stored: then nothing was.
async fn call(pool: &Arc<Pool>, lane: LaneId, request: &Request) -> Result<Option<Result<Appended>>> {
    let ([rule], [first, ..]) = (request.streams.as_slice(), request.events.as_slice()) else { return Ok(None) };
    let mut lease = Pool::acquire(pool).await?;
    let answer = bind_call(lane, rule, first, request).fetch_one(lease.connection()).await;
    let places: Option<Vec<i64>> = match answer.and_then(|row| sqlx::Row::try_get(&row, 0)) {
        Ok(places) => places,
        Err(error) => {
            return match classify("append", Stage::Commit, error) {
                Error::Backend { class: ErrorClass::Conflict, .. } => Ok(None),
                error => Err(error),
            };
        }
    };
    lease.release();
    let (first, before, micros) = match places.as_deref() {
        Some([-1, actual]) => {
            let (stream, actual) = (rule.aggregate_id.clone(), Version::new(*actual));
            return Ok(Some(Err(Error::Conflict { stream, expected: rule.expected, actual })));
        }
        Some([first, before, micros]) => (first, before, micros),
        Some(_) => return Err(damaged("annals_append answered in another shape: run the migrations")),
        None => return Ok(None),
    };
    pool.observe(*first);
    let count = i64::try_from(request.events.len()).unwrap_or(i64::MAX);
    let first = Position::new(*first);
    let version = Version::new(*before).plus(count);
    let versions = vec![(rule.aggregate_id.clone(), version)];
    let mut appended = Appended::new(lane, Some((first, first.plus(count - 1))), versions, false);
    appended.event_timestamp = time(*micros).ok();
    Ok(Some(Ok(appended)))
}

/// Binds the first event by its values, which is the cheapest way for a lone one, and all others as arrays.
fn bind_call<'q>(lane: LaneId, rule: &StreamRule, first: &EventWrite, request: &Request) -> convert::Bound<'q> {
    let expected = match rule.expected {
        Expected::Any => None,
        Expected::Exists => Some(-1),
        Expected::NoStream => Some(0),
        Expected::Exact(version) => Some(version.get()),
    };
    let events = || request.events.iter();
    let tags = || (1i32..).zip(events()).flat_map(|(number, event)| event.tags.iter().map(move |tag| (number, tag)));
    let tagged = tags().next().is_some();
    let command = request.command.as_ref();
    let query = sqlx::query(APPEND)
        .bind(lane.get())
        .bind(&rule.aggregate_id)
        .bind(&rule.aggregate_type)
        .bind(expected)
        .bind(events().any(|event| event.id_given))
        .bind(first.event_id)
        .bind(&first.event_type)
        .bind(first.event_version)
        .bind(first.actor.as_deref())
        .bind(first.actor_type.as_str())
        .bind(first.source.as_str())
        .bind(first.causation_id)
        .bind(first.correlation_id)
        .bind(JsonText(first.data.as_str()))
        .bind(first.metadata.as_ref().map(|metadata| JsonText(metadata.as_str())))
        .bind(first.content_type.as_deref())
        .bind(json::tags(&first.tags).as_deref().map(JsonText))
        .bind(first.hash)
        .bind(tagged.then(|| tags().map(|(_, tag)| tag.as_str()).bind_iter()))
        .bind(tagged.then(|| tags().map(|(number, _)| number).bind_iter()))
        .bind(command.map(|command| command.command_id))
        .bind(command.and_then(|command| command.command_type.as_deref()))
        .bind(command.and_then(|command| command.aggregate_id.as_deref()))
        .bind(command.and_then(|command| command.aggregate_type.as_deref()))
        .bind(command.and_then(|command| command.actor.as_deref()))
        .bind(command.and_then(|command| command.source).map(Source::as_str))
        .bind(command.and_then(|command| command.data.as_ref()).map(|data| JsonText(data.as_str())))
        .bind(command.map(|command| command.request_hash));
    bind_more(query, request.events.get(1..).unwrap_or_default())
}

/// Binds the events after the first, a column an array; nulls where there are none.
fn bind_more<'q>(query: convert::Bound<'q>, events: &[EventWrite]) -> convert::Bound<'q> {
    let events = || (!events.is_empty()).then(|| events.iter());
    let tag_lists: Option<Vec<_>> = events().map(|events| events.map(|event| json::tags(&event.tags)).collect());
    query
        .bind(events().map(|events| events.map(|event| event.event_id).bind_iter()))
        .bind(events().map(|events| events.map(|event| event.event_type.as_str()).bind_iter()))
        .bind(events().map(|events| events.map(|event| event.event_version).bind_iter()))
        .bind(events().map(|events| events.map(|event| event.actor.as_deref()).bind_iter()))
        .bind(events().map(|events| events.map(|event| event.actor_type.as_str()).bind_iter()))
        .bind(events().map(|events| events.map(|event| event.source.as_str()).bind_iter()))
        .bind(events().map(|events| events.map(|event| event.causation_id).bind_iter()))
        .bind(events().map(|events| events.map(|event| event.correlation_id).bind_iter()))
        .bind(events().map(|events| events.map(|event| JsonText(event.data.as_str())).bind_iter()))
        .bind(events().map(|events| {
            events.map(|event| event.metadata.as_ref().map(|metadata| JsonText(metadata.as_str()))).bind_iter()
        }))
        .bind(events().map(|events| events.map(|event| event.content_type.as_deref()).bind_iter()))
        .bind(tag_lists.as_ref().map(|lists| lists.iter().map(|list| list.as_deref().map(JsonText)).bind_iter()))
        .bind(events().map(|events| events.map(|event| event.hash).bind_iter()))
}

/// Decides a batch over what it loads under the lane's lock, and stores what is accepted.
async fn decide_and_store(pool: &Arc<Pool>, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>> {
    let mut lease = lock(pool, "append", lane).await?;
    let decided = decide_under_lock(lease.connection(), lane, batch).await?;
    if decided.stored {
        finish(lease, "append", "COMMIT", Stage::Commit).await?;
    } else {
        finish(lease, "append", "ROLLBACK", Stage::Work).await?;
    }
    pool.observe(decided.head.get());
    Ok(decided.answers)
}

/// What came of a batch whose transaction is still open.
struct Decided {
    answers: Vec<Result<Appended>>,
    /// Whether anything was.
    stored: bool,
    head: Position,
}

/// Decides a batch in an open transaction that holds the lane's lock, and stores what is accepted.
async fn decide_under_lock(connection: &mut PgConnection, lane: LaneId, batch: &[Arc<Request>]) -> Result<Decided> {
    let mut state = load(connection, lane, batch).await?;
    let stored = first_matches(connection, lane, batch).await?;
    let (answers, accepted) = decide_batch(&mut state, batch, stored);
    let mut rows = Rows::default();
    for accepted in &accepted {
        rows.accept(accepted);
    }
    if !rows.is_empty() {
        rows.store(connection, "append", lane).await?;
    }
    Ok(Decided { answers, stored: !rows.is_empty(), head: state.head })
}

/// Takes the lane's lock in an open transaction, and decides and stores a request there.
pub(super) async fn append_within(
    connection: &mut PgConnection,
    lane: LaneId,
    request: &Arc<Request>,
) -> Result<Result<Appended>> {
    convert::batch(connection, "append", Stage::Work, &lock_text(lane)).await?;
    let mut decided = decide_under_lock(connection, lane, std::slice::from_ref(request)).await?;
    decided.answers.pop().ok_or(Error::Closed)
}

/// Returns for each request the first stored event that matches its condition.
async fn first_matches(
    connection: &mut PgConnection,
    lane: LaneId,
    requests: &[Arc<Request>],
) -> Result<Vec<Option<Position>>> {
    let mut matches: Vec<_> = requests.iter().map(|request| request.examined.matched).collect();
    let unexamined = unexamined(requests);
    if !unexamined.is_empty() {
        let query = batch::bind_conditions(sqlx::query(FIRST_MATCHES).bind(lane.get()), &unexamined);
        for row in convert::rows::<MatchRow>(connection, "append", query).await? {
            matches[row.number] = Some(row.position);
        }
    }
    Ok(matches)
}

/// Begins a transaction and takes the lane's lock. What follows begins after the lock was granted.
async fn lock(pool: &Arc<Pool>, operation: &'static str, lane: LaneId) -> Result<Lease> {
    let mut lease = Pool::acquire(pool).await?;
    let sql = format!("BEGIN; {}", lock_text(lane));
    convert::batch(lease.connection(), operation, Stage::Work, &sql).await?;
    Ok(lease)
}

fn lock_text(lane: LaneId) -> String {
    format!("SELECT 1 FROM lanes WHERE lane_id = {lane} FOR NO KEY UPDATE")
}

/// Ends a transaction and gives the connection back.
pub(super) async fn finish(mut lease: Lease, operation: &'static str, end: &str, stage: Stage) -> Result<()> {
    convert::batch(lease.connection(), operation, stage, end).await?;
    lease.release();
    Ok(())
}

/// Loads what the batch asks about.
async fn load(connection: &mut PgConnection, lane: LaneId, batch: &[Arc<Request>]) -> Result<LaneState> {
    let head: Vec<HeadRow> = convert::run(connection, &statements::head_and_clock(Dialect::Postgres, lane)).await?;
    let Some(head) = head.first() else {
        let reason = format!("lane {lane} does not exist: was the topic created in another database or schema?");
        return Err(Error::backend("postgres", "append", ErrorClass::Fatal, reason));
    };
    head.check_hold()?;
    let mut state = LaneState::new(lane, head.head, head.now());
    let asked = Asked::of(batch);
    state.streams = load_streams(connection, lane, &asked.streams).await?;
    if !asked.events.is_empty() {
        let query = sqlx::query(EVENT_PLACES).bind(lane.get()).bind(asked.events);
        let found: Vec<EventPlaceRow> = convert::rows(connection, "append", query).await?;
        state.event_ids = found.into_iter().map(|row| (row.event_id, row.position)).collect();
    }
    if !asked.commands.is_empty() {
        state.commands = load_commands(connection, lane, asked.commands).await?;
    }
    Ok(state)
}

async fn load_streams(
    connection: &mut PgConnection,
    lane: LaneId,
    ids: &[&str],
) -> Result<HashMap<String, StreamState>> {
    if ids.is_empty() {
        return Ok(HashMap::new());
    }
    let query = sqlx::query(STREAM_STATES).bind(lane.get()).bind(ids);
    let found: Vec<StreamStateRow> = convert::rows(connection, "append", query).await?;
    Ok(found.into_iter().map(|row| (row.aggregate_id, row.state)).collect())
}

async fn load_commands(
    connection: &mut PgConnection,
    lane: LaneId,
    ids: Vec<Uuid>,
) -> Result<HashMap<Uuid, CommandState>> {
    let query = sqlx::query(COMMAND_STATES).bind(lane.get()).bind(ids);
    let found: Vec<CommandStateRow> = convert::rows(connection, "append", query).await?;
    let stored: Vec<_> = found.iter().filter_map(|row| Some((row.command_id, row.positions?))).collect();
    let mut commands: HashMap<Uuid, CommandState> = found
        .into_iter()
        .map(|row| {
            let (request_hash, positions) = (row.request_hash, row.positions);
            (row.command_id, CommandState { request_hash, positions, versions: Vec::new() })
        })
        .collect();
    if !stored.is_empty() {
        let query = sqlx::query(COMMAND_VERSIONS)
            .bind(lane.get())
            .bind(stored.iter().map(|(id, _)| *id).bind_iter())
            .bind(stored.iter().map(|(_, (first, _))| first.get()).bind_iter())
            .bind(stored.iter().map(|(_, (_, last))| last.get()).bind_iter());
        for row in convert::rows::<CommandVersionRow>(connection, "append", query).await? {
            if let Some(command) = commands.get_mut(&row.command_id) {
                command.versions.push((row.aggregate_id, row.version));
            }
        }
    }
    Ok(commands)
}

/// Runs writing statements under the lane's lock.
pub(super) async fn write(pool: &Arc<Pool>, lane: LaneId, statements: &[Statement]) -> Result<Vec<u64>> {
    let mut retries = Retries::new(pool);
    loop {
        match write_once(pool, lane, statements).await {
            Err(error) => retries.pause(error).await?,
            changed => return changed,
        }
    }
}

async fn write_once(pool: &Arc<Pool>, lane: LaneId, statements: &[Statement]) -> Result<Vec<u64>> {
    let operation = statements.first().map_or("write", |statement| statement.operation);
    let mut lease = lock(pool, operation, lane).await?;
    let mut changed = Vec::with_capacity(statements.len());
    for statement in statements {
        changed.push(convert::execute(lease.connection(), statement).await?);
    }
    finish(lease, operation, "COMMIT", Stage::Commit).await?;
    Ok(changed)
}

/// Adds the lanes of a topic, unless another creator was faster.
pub(super) async fn create_topic(pool: &Arc<Pool>, name: &str, partitions: u16) -> Result<()> {
    const OPERATION: &str = "create a topic";
    let mut lease = Pool::acquire(pool).await?;
    convert::batch(lease.connection(), OPERATION, Stage::Work, LOCK_LANES).await?;
    let query = sqlx::query(INSERT_LANES).bind(name).bind(i32::from(partitions)).bind(Uuid::new_v4());
    query.execute(lease.connection()).await.map_err(|error| classify(OPERATION, Stage::Work, error))?;
    finish(lease, OPERATION, "COMMIT", Stage::Commit).await
}

/// Stores events as they were elsewhere.
pub(super) async fn restore(pool: &Arc<Pool>, lane: LaneId, events: &[RecordedEvent]) -> Result<Position> {
    const OPERATION: &str = "restore";
    let mut lease = lock(pool, OPERATION, lane).await?;
    let connection = lease.connection();
    let head: Vec<HeadRow> = convert::run(connection, &statements::head_and_clock(Dialect::Postgres, lane)).await?;
    let copier: Vec<Reason> = convert::run(connection, &holds::reason(Dialect::Postgres, lane, COPY)).await?;
    let mut head = HeadRow::restorable(lane, head.first(), copier.first())?;
    for chunk in events.chunks(RESTORED_AT_ONCE) {
        let mut rows = Rows::default();
        for event in chunk {
            if event.position != head.next() {
                return Err(Error::Gap { lane: lane.get(), expected: head.next(), found: event.position });
            }
            head = event.position;
            rows.restore(event);
        }
        rows.store(connection, OPERATION, lane).await?;
    }
    finish(lease, OPERATION, "COMMIT", Stage::Commit).await?;
    pool.observe(head.get());
    Ok(head)
}
