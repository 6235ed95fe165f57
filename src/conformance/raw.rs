//! Contract section 2 as a SQL prompt shows it: the rows that the store writes, and the views over them.

use chrono::{DateTime, NaiveDateTime, Utc};
use uuid::Uuid;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq};
use super::harness::Fixture;
use super::prompt::{cell, dialect, table};
use crate::append::Append;
use crate::command::Command;
use crate::event::{ActorType, NewEvent, RecordedEvent, Source};
use crate::json::Json;
use crate::position::Version;
use crate::read::Query;
use crate::snapshot::{NewSnapshot, SnapshotQuery};
use crate::sql::Dialect;
use crate::stream::Expected;

pub(super) const CASES: &[Case] = cases![
    the_row_of_an_event_holds_its_fields: "2.1", "2.7" if Sql;
    the_row_of_a_bare_event_holds_nulls: "2.1" if Sql;
    the_documents_in_a_row_are_byte_for_byte: "2.5" if Sql;
    the_row_of_bytes_holds_them_in_base64: "2.6" if Sql;
    the_rows_of_tags_lead_to_their_event: "2.1" if Sql;
    the_row_of_a_stream_is_not_written_by_every_append: "2.1" if Sql;
    the_row_of_a_deleted_stream_says_since_when: "2.1", "8.1" if Sql;
    the_row_of_a_command_holds_its_outcome: "2.1", "4.1" if Sql, OneLane;
    the_row_of_a_snapshot_holds_its_state: "2.1", "7.1" if Sql;
    the_row_of_a_lane_is_not_written_by_appends: "1.1", "2.1" if Sql, OneLane;
    the_view_of_recent_events_shows_the_newest_hundred: "2.2" if Sql, OneLane;
    the_view_of_statistics_agrees_with_the_store: "2.2", "6.3" if Sql;
    the_view_of_streams_agrees_with_the_store: "2.2", "6.3" if Sql;
];

/// Runs a statement in which `{name}` stands for a table or view, and returns its only row.
async fn row(f: &Fixture, name: &str, sql: &str) -> Result<Vec<Option<String>>, Failure> {
    let sql = sql.replace("{name}", &table(f, name));
    let mut session = f.store.backend().session().await?;
    let mut rows = session.query(&sql).await?;
    ensure_eq!(rows.len(), 1, "rows of {sql}");
    Ok(rows.remove(0))
}

/// Bytes and ids in digits only, whichever way the engine writes them.
fn digits(cell: Option<&String>) -> Option<String> {
    cell.map(|text| text.trim_start_matches("\\x").replace('-', "").to_lowercase())
}

/// A time, whichever way the engine writes it.
fn time(cell: Option<&String>) -> Result<Option<DateTime<Utc>>, Failure> {
    let Some(text) = cell else { return Ok(None) };
    if let Ok(micros) = text.parse() {
        return Ok(DateTime::from_timestamp_micros(micros));
    }
    let plain = text.replace(' ', "T");
    let plain = plain.trim_end_matches('Z').trim_end_matches("+00:00").trim_end_matches("+00");
    let parsed = NaiveDateTime::parse_from_str(plain, "%Y-%m-%dT%H:%M:%S%.f");
    parsed.map(|time| Some(time.and_utc())).map_err(|error| Failure(format!("{text:?} is no time: {error}")))
}

async fn only_event(f: &Fixture, event: NewEvent) -> Result<RecordedEvent, Failure> {
    f.store.append(&f.stream("a")?, Expected::NoStream, [event]).await?;
    let mut events = f.store.query(Query::new()).await?;
    events.pop().ok_or_else(|| Failure("the log is empty".to_owned()))
}

const COLUMNS: &str = "SELECT lane_id, position, event_id, aggregate_id, aggregate_type, aggregate_version, event_type, \
     event_version, event_timestamp, actor, actor_type, source, causation_id, correlation_id, data, metadata, \
     content_type, hash FROM {name}";

async fn the_row_of_an_event_holds_its_fields(f: &Fixture) -> Verdict {
    let event =
        f.event("Written")?.with_version(3)?.with_actor("ann", ActorType::Service)?.with_source(Source::Webhook);
    let event = event.with_causation(Uuid::from_u128(7)).with_correlation(Uuid::new_v4()).with_id(Uuid::new_v4());
    let event = only_event(f, event.with_metadata(Json::parse("{\"m\": 1}")?)?).await?;
    let found = row(f, "events", COLUMNS).await?;
    let texts = [0, 1, 3, 4, 5, 6, 7, 9, 10, 11, 14, 15].map(|column| found[column].as_deref().unwrap_or("null"));
    let lane = event.lane.to_string();
    let data = event.payload.as_json().map_or("", Json::as_str);
    let expected = [&lane, "1", "a", "thing", "1", "Written", "3", "ann", "service", "webhook", data, "{\"m\": 1}"];
    ensure_eq!(texts, expected, "numbers and texts of the row");
    let ids = [2, 12, 13].map(|column| digits(found[column].as_ref()));
    let expected = [Some(event.event_id), event.causation_id, event.correlation_id];
    ensure_eq!(ids, expected.map(|id| id.map(|id| id.simple().to_string())), "ids of the row");
    ensure_eq!(time(found[8].as_ref())?, Some(event.event_timestamp), "event_timestamp");
    ensure_eq!(digits(found[17].as_ref()), event.hash.map(|hash| crate::hash::hex(&hash)), "hash");
    Ok(())
}

async fn the_row_of_a_bare_event_holds_nulls(f: &Fixture) -> Verdict {
    let event = only_event(f, NewEvent::json("Bare", &1)?).await?;
    let found = row(f, "events", COLUMNS).await?;
    let nulls = [9, 12, 13, 15, 16].map(|column| found[column].clone());
    ensure_eq!(nulls, [const { None }; 5], "actor, causation, correlation, metadata and content type");
    ensure_eq!((found[7].as_deref(), found[10].as_deref()), (Some("1"), Some("system")), "version and kind of actor");
    ensure_eq!(digits(found[2].as_ref()), Some(event.event_id.simple().to_string()), "event_id");
    Ok(())
}

async fn the_documents_in_a_row_are_byte_for_byte(f: &Fixture) -> Verdict {
    let document = r#" { "z" : 0.10, "a":1e400, "a":"\u0000\ud800" } "#;
    let event = NewEvent::new("Written", crate::event::Payload::Json(Json::parse(document)?))?;
    only_event(f, event.with_metadata(Json::parse(document)?)?).await?;
    let found = row(f, "events", "SELECT data, metadata FROM {name}").await?;
    ensure_eq!(found, [Some(document.to_owned()), Some(document.to_owned())], "data and metadata");
    Ok(())
}

async fn the_row_of_bytes_holds_them_in_base64(f: &Fixture) -> Verdict {
    only_event(f, NewEvent::bytes("Written", "application/x", vec![0, 255, 62, 63])?).await?;
    let found = row(f, "events", "SELECT data, content_type FROM {name}").await?;
    ensure_eq!(found, [Some("\"AP8+Pw==\"".to_owned()), Some("application/x".to_owned())], "data and content type");
    Ok(())
}

async fn the_rows_of_tags_lead_to_their_event(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::Any, f.events(2)?).await?;
    f.store.append(&f.stream("a")?, Expected::Any, [f.event("Tagged")?.with_tags(["b", "a", "b"])?]).await?;
    let mut session = f.store.backend().session().await?;
    let sql = format!("SELECT tag, position FROM {} ORDER BY tag", table(f, "event_tags"));
    let found: Vec<String> = session.query(&sql).await?.concat().into_iter().flatten().collect();
    ensure_eq!(found, ["a", "3", "b", "3"], "tags and positions");
    let tags = cell(&mut *session, &format!("SELECT tags FROM {} WHERE position = 3", table(f, "events"))).await?;
    ensure_eq!(tags, "[\"a\",\"b\"]", "tags of the event's own row");
    Ok(())
}

const STREAM: &str = "SELECT aggregate_type, created_at, updated_at, deleted_at, first_version, metadata, \
     metadata_version FROM {name} WHERE aggregate_id = 'a'";

async fn the_row_of_a_stream_is_not_written_by_every_append(f: &Fixture) -> Verdict {
    let event = only_event(f, f.event("Made")?).await?;
    let before = row(f, "streams", STREAM).await?;
    ensure_eq!(before[0].as_deref(), Some("thing"), "category");
    ensure_eq!(time(before[1].as_ref())?, Some(event.event_timestamp), "created_at");
    ensure_eq!((before[3].clone(), before[5].clone()), (None, None), "deleted_at and metadata");
    ensure_eq!((before[4].as_deref(), before[6].as_deref()), (Some("1"), Some("0")), "first and metadata's version");
    f.store.append(&f.stream("a")?, Expected::exact(1), f.events(3)?).await?;
    ensure_eq!(row(f, "streams", STREAM).await?, before, "the stream's row after another append");
    f.store.set_metadata("a", None, Json::parse("{\"k\": 1}")?).await?;
    let after = row(f, "streams", STREAM).await?;
    ensure_eq!((after[5].as_deref(), after[6].as_deref()), (Some("{\"k\": 1}"), Some("1")), "metadata and version");
    Ok(())
}

async fn the_row_of_a_deleted_stream_says_since_when(f: &Fixture) -> Verdict {
    only_event(f, f.event("Made")?).await?;
    f.store.delete(&f.stream("a")?, Expected::Any).await?;
    let marker = f.store.recent(1).await?.remove(0);
    let found = row(f, "streams", STREAM).await?;
    ensure_eq!(time(found[3].as_ref())?, Some(marker.event_timestamp), "deleted_at");
    ensure_eq!(time(found[2].as_ref())?, Some(marker.event_timestamp), "updated_at");
    Ok(())
}

async fn the_row_of_a_command_holds_its_outcome(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("other")?, Expected::Any, f.events(4)?).await?;
    let id = Uuid::new_v4();
    let command = Command::new(id).with_type("Do")?.with_actor("ann")?.with_data(Json::parse("{ \"a\":0.10 }")?);
    let command = command.with_source(Source::Ui);
    f.store.commit(Append::new().to(f.stream("a")?, Expected::Any, f.events(3)?).command(command)).await?;
    let sql = "SELECT command_id, command_type, aggregate_id, aggregate_type, actor, source, data, first_position, \
               last_position, processed_at, request_hash FROM {name}";
    let found = row(f, "commands", sql).await?;
    ensure_eq!(digits(found[0].as_ref()), Some(id.simple().to_string()), "command_id");
    let texts: Vec<&str> = found[1..9].iter().map(|cell| cell.as_deref().unwrap_or("null")).collect();
    ensure_eq!(texts, ["Do", "a", "thing", "ann", "ui", "{ \"a\":0.10 }", "5", "7"], "texts and positions");
    let event = f.store.recent(1).await?.remove(0);
    ensure_eq!(time(found[9].as_ref())?, Some(event.event_timestamp), "processed_at");
    ensure_eq!(digits(found[10].as_ref()).map(|hash| hash.len()), Some(64), "digits of the request's hash");
    Ok(())
}

async fn the_row_of_a_snapshot_holds_its_state(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::Any, f.events(4)?).await?;
    let snapshot = NewSnapshot::new(f.stream("a")?, Version::new(3), Json::parse("[ 0.10 ]")?).with_schema(2)?;
    ensure!(f.store.save_snapshot(&snapshot).await?, "the snapshot was not stored");
    let saved = f.store.snapshot("a", SnapshotQuery::default()).await?;
    let sql = "SELECT aggregate_id, aggregate_type, aggregate_version, snapshot_version, state, snapshot_id, \
               snapshot_timestamp FROM {name}";
    let found = row(f, "snapshots", sql).await?;
    let texts: Vec<&str> = found[..5].iter().map(|cell| cell.as_deref().unwrap_or("null")).collect();
    ensure_eq!(texts, ["a", "thing", "3", "2", "[ 0.10 ]"], "texts and numbers");
    let (id, saved_at) = saved.map(|saved| (saved.snapshot_id.simple().to_string(), saved.snapshot_timestamp)).unzip();
    ensure_eq!((digits(found[5].as_ref()), time(found[6].as_ref())?), (id, saved_at), "id and time");
    Ok(())
}

async fn the_row_of_a_lane_is_not_written_by_appends(f: &Fixture) -> Verdict {
    let topic = f.store.topic().clone();
    let sql = "SELECT lane_id, topic, partition, incarnation, floor, created_at FROM {name}";
    let sql = match dialect(f) {
        Dialect::Mssql => sql.replace("partition", "[partition]"),
        // A row that is written as it was is another one at another place.
        Dialect::Postgres => sql.replace(" FROM", ", xmin, ctid FROM"),
        Dialect::Sqlite => sql.to_owned(),
    };
    let before = row(f, "lanes", &sql).await?;
    let lane = topic.lanes[0].to_string();
    let texts = [0, 1, 2, 4].map(|column| before[column].as_deref().unwrap_or("null"));
    ensure_eq!(texts, [&lane, &topic.name, "0", "0"], "lane, topic, partition and floor");
    ensure_eq!(digits(before[3].as_ref()), Some(topic.incarnation.simple().to_string()), "incarnation");
    f.store.append(&f.stream("a")?, Expected::Any, f.events(3)?).await?;
    f.store.delete(&f.stream("a")?, Expected::Any).await?;
    ensure_eq!(row(f, "lanes", &sql).await?, before, "the lane's row after an append");
    Ok(())
}

async fn the_view_of_recent_events_shows_the_newest_hundred(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::Any, f.events(70)?).await?;
    f.store.append(&f.stream("b")?, Expected::Any, f.events(80)?).await?;
    let mut session = f.store.backend().session().await?;
    let sql = format!("SELECT position, aggregate_id, event_type, topic FROM {}", table(f, "recent_events"));
    let mut found = session.query(&sql).await?;
    // SQL Server has no order in a view.
    found.sort_by_key(|row| std::cmp::Reverse(row[0].as_ref().and_then(|text| text.parse::<i64>().ok())));
    let text = |text: &str| Some(text.to_owned());
    let expected: Vec<Vec<Option<String>>> = (51..=150i64)
        .rev()
        .map(|n| vec![text(&n.to_string()), text(if n > 70 { "b" } else { "a" }), text("Happened"), text("default")])
        .collect();
    ensure_eq!(found, expected, "rows of the view");
    Ok(())
}

async fn the_view_of_statistics_agrees_with_the_store(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::Any, f.events(7)?).await?;
    f.store.append(&f.stream("b")?, Expected::Any, f.events(2)?).await?;
    f.store.append(&f.stream("b")?, Expected::Any, [f.event("Ended")?]).await?;
    let mut session = f.store.backend().session().await?;
    let view = table(f, "event_statistics");
    let columns = "event_type, events, streams, first_at, last_at";
    let found = session.query(&format!("SELECT {columns} FROM {view} ORDER BY event_type")).await?;
    for (row, known) in found.iter().zip(f.store.statistics().await?) {
        let counts = [known.event_type, known.events.to_string(), known.streams.to_string()].map(Some);
        ensure_eq!(row[..3], counts, "type, events and streams of the view");
        let times = (time(row[3].as_ref())?, time(row[4].as_ref())?);
        ensure_eq!(times, (Some(known.first_at), Some(known.last_at)), "first and last time of the view");
    }
    ensure_eq!(found.len(), 2, "types");
    Ok(())
}

async fn the_view_of_streams_agrees_with_the_store(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::Any, f.events(7)?).await?;
    f.store.append(&f.stream("b")?, Expected::Any, f.events(2)?).await?;
    f.store.delete(&f.stream("b")?, Expected::Any).await?;
    f.store.reuse(&f.stream("b")?, Expected::Any).await?;
    for id in ["a", "b"] {
        let info = f.store.stream(id).await?.ok_or_else(|| Failure(format!("stream {id} is missing")))?;
        let sql = format!(
            "SELECT aggregate_type, current_version, first_version, created_at, last_event_at, deleted_at FROM {{name}} \
             WHERE aggregate_id = '{id}'"
        );
        let found = row(f, "event_streams", &sql).await?;
        let texts: Vec<&str> = found[..3].iter().map(|cell| cell.as_deref().unwrap_or("null")).collect();
        let expected = [info.aggregate_type, info.version.to_string(), info.first_version.to_string()];
        ensure_eq!(texts, expected, "category and versions of stream {id}");
        let times = (time(found[3].as_ref())?, time(found[4].as_ref())?, found[5].clone());
        ensure_eq!(times, (Some(info.created_at), Some(info.last_event_at), None), "times of stream {id}");
    }
    Ok(())
}
