//! Contract section 2: the functions and procedures for a person with only a SQL prompt keep the same rules.

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use super::prompt::{Argument, call, dialect};
use super::together::{one_winner, sound_log, together};
use crate::backend::Session;
use crate::error::{Error, Result};
use crate::event::NewEvent;
use crate::position::{Position, Version};
use crate::read::Query;
use crate::snapshot::SnapshotQuery;
use crate::sql::Dialect;
use crate::stream::Expected;

pub(super) const CASES: &[Case] = cases![
    an_event_from_the_prompt_is_read_by_the_library: "2.2" if Routines, OneLane;
    the_prompt_goes_on_where_the_library_stopped: "1.5", "1.6", "2.2" if Routines, OneLane;
    the_library_goes_on_where_the_prompt_stopped: "1.5", "1.6", "2.2" if Routines, OneLane;
    the_prompt_is_refused_a_stale_version: "2.2", "3.2", "3.3" if Routines, OneLane;
    the_prompt_is_refused_a_stream_that_exists: "2.2", "3.2" if Routines;
    the_prompt_appends_to_any_version: "2.2", "3.4" if Routines;
    the_prompt_is_refused_a_deleted_stream: "2.2", "3.4" if Routines, OneLane;
    the_prompt_is_refused_another_category: "1.3", "2.2" if Routines, OneLane;
    the_prompt_is_refused_what_is_not_a_name: "2.2", "9.3" if Routines;
    the_prompt_is_refused_what_is_not_json: "2.2", "2.5" if Routines;
    the_prompt_is_refused_json_that_is_too_deep: "2.2", "2.5" if Routines, JsonFilters;
    a_refused_call_leaves_the_session_usable: "2.2", "3.10" if Routines;
    text_that_means_something_to_sql_is_kept_from_the_prompt: "2.2", "9.4" if Routines, OneLane;
    documents_from_the_prompt_are_byte_for_byte: "2.2", "2.5" if Routines, OneLane;
    the_prompt_and_the_library_race_for_a_version: "2.2", "3.2", "3.10" if Routines, OneLane;
    the_prompt_and_the_library_race_for_any_version: "2.2", "3.4", "3.10" if Routines, OneLane;
    the_prompt_reads_a_stream_forward: "2.2", "6.1" if Routines, OneLane;
    the_prompt_reads_a_stream_from_a_version_and_up_to_a_count: "2.2", "6.1" if Routines, OneLane;
    the_prompt_reads_the_whole_of_a_stream: "2.2", "6.1" if Routines, OneLane;
    the_prompt_sees_no_events_of_a_deleted_stream: "2.2", "8.2", "8.3" if Routines, OneLane;
    a_snapshot_from_the_prompt_is_found_by_the_library: "2.2", "7.1" if Routines, OneLane;
    snapshots_from_the_prompt_never_move_backwards: "2.2", "7.1" if Routines, OneLane;
    the_prompt_finds_the_latest_snapshot: "2.2", "7.1" if Routines, OneLane;
];

use Argument::{Null, Number, Text};

/// Writes an append of one event to stream `id`; without a version, to any.
fn append_call(f: &Fixture, id: &str, expected: Option<i64>, event_type: &str, data: &str) -> String {
    call(
        f,
        "append_to_stream",
        &[
            ("stream", Text(id)),
            ("stream_type", Text("thing")),
            ("expected_version", expected.map_or(Null, Number)),
            ("event_type", Text(event_type)),
            ("data", Text(data)),
        ],
    )
}

/// Runs an append, and returns the position and version that it answers.
async fn run_append(session: &mut dyn Session, sql: &str) -> Result<(i64, i64)> {
    let rows = session.query(sql).await?;
    let numbers: Vec<i64> = rows.concat().into_iter().flatten().filter_map(|cell| cell.parse().ok()).collect();
    match numbers[..] {
        [position, version] => Ok((position, version)),
        _ => Err(Error::invalid("answer", format!("{rows:?} is not a position and a version"))),
    }
}

/// Appends one event to stream `id` from the prompt.
async fn append(f: &Fixture, id: &str, expected: Option<i64>) -> Result<(i64, i64)> {
    let mut session = f.store.backend().session().await?;
    run_append(&mut *session, &append_call(f, id, expected, "Prompted", "{\"by\": \"hand\"}")).await
}

/// Checks that a call is refused with a message that says why, and that the log is as it was.
async fn refused(f: &Fixture, sql: &str, why: &str) -> Verdict {
    let before = f.store.query(Query::new()).await?;
    let mut session = f.store.backend().session().await?;
    match session.query(sql).await {
        Ok(rows) => return Err(Failure(format!("{sql} was carried out, and returned {rows:?}"))),
        Err(error) => ensure!(error.report().contains(why), "{:?} does not say {why:?}", error.report()),
    }
    ensure_eq!(f.store.query(Query::new()).await?, before, "the log after {sql}");
    Ok(())
}

async fn an_event_from_the_prompt_is_read_by_the_library(f: &Fixture) -> Verdict {
    let mut session = f.store.backend().session().await?;
    let tags = if dialect(f) == Dialect::Mssql { "N'[\"b\",\"a\",\"b\"]'" } else { "ARRAY['b','a','b']" };
    let mut sql = append_call(f, "a", Some(0), "Prompted", "{\"n\": 0.10}");
    let argument =
        |name: &str| if dialect(f) == Dialect::Mssql { format!("@{name} = ") } else { format!("{name} => ") };
    let closing = sql.ends_with(')');
    sql.truncate(sql.trim_end_matches(')').len());
    sql.push_str(&format!(
        ", {}{tags}, {}'ann'{}",
        argument("tags"),
        argument("actor"),
        if closing { ")" } else { "" }
    ));
    ensure_eq!(run_append(&mut *session, &sql).await?, (1, 1), "position and version");
    let event = f.store.read_stream("a").await?.remove(0);
    ensure_eq!(event.payload.as_json().map(crate::json::Json::as_str), Some("{\"n\": 0.10}"), "data");
    ensure_eq!((event.event_type.as_str(), event.actor.as_deref()), ("Prompted", Some("ann")), "type and actor");
    ensure_eq!(event.tags, ["a", "b"], "tags");
    ensure_eq!(f.store.query(Query::new().tags(["b"])?).await?, [event.clone()], "events that the tag finds");
    ensure_eq!(f.store.event(event.event_id).await?, Some(event.clone()), "event that the id finds");
    ensure_eq!(event.hash, None, "hash of an event that the library did not write");
    Ok(())
}

async fn the_prompt_goes_on_where_the_library_stopped(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(3)?).await?;
    f.store.append(&f.stream("b")?, Expected::NoStream, f.events(2)?).await?;
    ensure_eq!(append(f, "a", Some(3)).await?, (6, 4), "position and version");
    ensure_eq!(sound_log(&f.store).await?.len(), 6, "events");
    Ok(())
}

async fn the_library_goes_on_where_the_prompt_stopped(f: &Fixture) -> Verdict {
    append(f, "a", Some(0)).await?;
    append(f, "a", Some(1)).await?;
    let outcome = f.store.append(&f.stream("a")?, Expected::exact(2), f.events(2)?).await?;
    ensure_eq!(outcome.positions, Some((Position::new(3), Position::new(4))), "positions");
    ensure_eq!(outcome.version(), Version::new(4), "version");
    ensure_eq!(sound_log(&f.store).await?.len(), 4, "events");
    Ok(())
}

async fn the_prompt_is_refused_a_stale_version(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(3)?).await?;
    for stale in [2, 0, 4] {
        refused(f, &append_call(f, "a", Some(stale), "Prompted", "{}"), "conflict").await?;
    }
    refused(f, &append_call(f, "new", Some(1), "Prompted", "{}"), "conflict").await?;
    ensure!(!f.store.exists("new").await?, "a refused append created a stream");
    Ok(())
}

async fn the_prompt_is_refused_a_stream_that_exists(f: &Fixture) -> Verdict {
    append(f, "a", Some(0)).await?;
    refused(f, &append_call(f, "a", Some(0), "Prompted", "{}"), "conflict").await
}

async fn the_prompt_appends_to_any_version(f: &Fixture) -> Verdict {
    for version in 1..=3 {
        ensure_eq!(append(f, "a", None).await?, (version, version), "position and version");
    }
    Ok(())
}

async fn the_prompt_is_refused_a_deleted_stream(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(1)?).await?;
    f.store.delete(&f.stream("a")?, Expected::Any).await?;
    for expected in [None, Some(0), Some(1), Some(2)] {
        refused(f, &append_call(f, "a", expected, "Prompted", "{}"), "deleted").await?;
    }
    f.store.undelete(&f.stream("a")?, Expected::Any).await?;
    ensure_eq!(append(f, "a", Some(3)).await?, (4, 4), "position and version after the stream was undeleted");
    Ok(())
}

async fn the_prompt_is_refused_another_category(f: &Fixture) -> Verdict {
    f.store.append(&crate::stream::Stream::new("other", "a")?, Expected::NoStream, f.events(1)?).await?;
    refused(f, &append_call(f, "a", Some(1), "Prompted", "{}"), "type").await
}

async fn the_prompt_is_refused_what_is_not_a_name(f: &Fixture) -> Verdict {
    for id in ["", " a", "a ", "a\u{1}b", &"x".repeat(256), &"é".repeat(128), "\u{a0}a"] {
        refused(f, &append_call(f, id, None, "Prompted", "{}"), "").await?;
        refused(f, &append_call(f, "a", None, id, "{}"), "").await?;
    }
    ensure_eq!(append(f, &"x".repeat(255), None).await?, (1, 1), "position and version of a name of 255 bytes");
    Ok(())
}

async fn the_prompt_is_refused_what_is_not_json(f: &Fixture) -> Verdict {
    for document in ["", "{", "{'a': 1}", "nul"] {
        refused(f, &append_call(f, "a", None, "Prompted", document), "").await?;
    }
    ensure_eq!(append(f, "a", None).await?, (1, 1), "position and version of a document that is json");
    Ok(())
}

/// The server's own functions over JSON set the limit, so that it has to have them.
async fn the_prompt_is_refused_json_that_is_too_deep(f: &Fixture) -> Verdict {
    let deep = format!("{}{}", "[".repeat(129), "]".repeat(129));
    refused(f, &append_call(f, "a", None, "Prompted", &deep), "").await?;
    ensure_eq!(append(f, "a", None).await?, (1, 1), "position and version of a document that is not");
    Ok(())
}

async fn a_refused_call_leaves_the_session_usable(f: &Fixture) -> Verdict {
    let mut session = f.store.backend().session().await?;
    for round in 0..3 {
        let stale = append_call(f, "a", Some(7), "Prompted", "{}");
        ensure!(session.query(&stale).await.is_err(), "a stale append was carried out");
        // What holds the lane's lock now would make the library wait.
        f.store.append(&f.stream("b")?, Expected::exact(round), f.events(1)?).await?;
        let good = append_call(f, "a", Some(round), "Prompted", "{}");
        ensure_eq!(run_append(&mut *session, &good).await?.1, round + 1, "version of round {round}");
    }
    Ok(())
}

const ODD: [&str; 8] = ["'", "''; DROP TABLE events; --", "%", "?", "{s}", "@P1", "[x]", "日本語 🙂"];

async fn text_that_means_something_to_sql_is_kept_from_the_prompt(f: &Fixture) -> Verdict {
    for text in ODD {
        let mut session = f.store.backend().session().await?;
        let document = serde_json::json!({ text: text }).to_string();
        run_append(&mut *session, &append_call(f, text, Some(0), text, &document)).await?;
        let event = f.store.read_stream(text).await?.remove(0);
        ensure_eq!((&*event.aggregate_id, &*event.event_type), (text, text), "stream and type");
        ensure_eq!(event.payload.as_json().map(crate::json::Json::as_str), Some(&*document), "data");
    }
    Ok(())
}

async fn documents_from_the_prompt_are_byte_for_byte(f: &Fixture) -> Verdict {
    for document in [r#" {"z":0.10, "a":1e400,"a":"\u0000"} "#, "null", "\"text\"", "[1,  2]"] {
        let mut session = f.store.backend().session().await?;
        run_append(&mut *session, &append_call(f, "a", None, "Prompted", document)).await?;
        let event = f.store.recent(1).await?.remove(0);
        ensure_eq!(event.payload.as_json().map(crate::json::Json::as_str), Some(document), "data");
    }
    Ok(())
}

async fn the_prompt_and_the_library_race_for_a_version(f: &Fixture) -> Verdict {
    for round in 0..10 {
        let answers = together(8, |number| {
            let f = f.clone();
            async move {
                if number % 2 == 0 {
                    return append(&f, "a", Some(round)).await.map(|(_, version)| version);
                }
                let event = NewEvent::json("Happened", &number)?;
                let outcome = f.store.append(&f.stream("a")?, Expected::exact(round), [event]).await?;
                Ok(outcome.version().get())
            }
        })
        .await?;
        let (_, version) = one_winner(answers, |error| error.is_conflict() || error.report().contains("conflict"))?;
        ensure_eq!(version, round + 1, "version that the winner got");
    }
    ensure_eq!(sound_log(&f.store).await?.len(), 10, "events of all rounds");
    Ok(())
}

async fn the_prompt_and_the_library_race_for_any_version(f: &Fixture) -> Verdict {
    let answers = together(8, |number| {
        let f = f.clone();
        async move {
            let mut positions = Vec::new();
            for _ in 0..10 {
                positions.push(if number % 2 == 0 {
                    append(&f, "a", None).await?.0
                } else {
                    f.store.append(&f.stream("a")?, Expected::Any, f.events(1)?).await?.position().get()
                });
            }
            Ok::<_, Error>(positions)
        }
    })
    .await?;
    let mut positions = Vec::new();
    for answer in answers {
        let answer = answer?;
        ensure!(answer.is_sorted(), "a racer's positions went back: {answer:?}");
        positions.extend(answer);
    }
    positions.sort_unstable();
    ensure_eq!(positions, (1..=80).collect::<Vec<i64>>(), "positions that the racers were told");
    let log = sound_log(&f.store).await?;
    ensure!(log.is_sorted_by_key(|event| event.event_timestamp), "the time goes back in the log");
    Ok(())
}

/// Runs a routine that returns events, and returns their versions: the sixth column of the table.
async fn versions(f: &Fixture, routine: &str, arguments: &[(&str, Argument<'_>)]) -> Result<Vec<String>, Failure> {
    let mut session = f.store.backend().session().await?;
    let rows = session.query(&call(f, routine, arguments)).await?;
    Ok(rows.into_iter().filter_map(|row| row.get(5).cloned().flatten()).collect())
}

async fn the_prompt_reads_a_stream_forward(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("b")?, Expected::NoStream, f.events(2)?).await?;
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(4)?).await?;
    let found = versions(f, "read_stream_forward", &[("stream", Text("a"))]).await?;
    ensure_eq!(found, ["1", "2", "3", "4"], "versions");
    Ok(())
}

async fn the_prompt_reads_a_stream_from_a_version_and_up_to_a_count(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(9)?).await?;
    let arguments = [("stream", Text("a")), ("from_version", Number(3)), ("max_events", Number(4))];
    ensure_eq!(versions(f, "read_stream_forward", &arguments).await?, ["3", "4", "5", "6"], "versions");
    Ok(())
}

async fn the_prompt_reads_the_whole_of_a_stream(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(1_200)?).await?;
    let found = versions(f, "get_event_stream", &[("stream", Text("a"))]).await?;
    ensure_eq!(found.len(), 1_200, "events");
    ensure_eq!(found.last().map(String::as_str), Some("1200"), "last version");
    Ok(())
}

async fn the_prompt_sees_no_events_of_a_deleted_stream(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(2)?).await?;
    f.store.delete(&f.stream("a")?, Expected::Any).await?;
    ensure_eq!(versions(f, "get_event_stream", &[("stream", Text("a"))]).await?.len(), 0, "events of a deleted stream");
    f.store.reuse(&f.stream("a")?, Expected::Any).await?;
    ensure_eq!(versions(f, "get_event_stream", &[("stream", Text("a"))]).await?, ["4"], "versions of a reused stream");
    Ok(())
}

fn snapshot_call(f: &Fixture, version: i64, state: &str) -> String {
    call(f, "create_snapshot", &[("stream", Text("a")), ("at_version", Number(version)), ("state", Text(state))])
}

async fn a_snapshot_from_the_prompt_is_found_by_the_library(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(4)?).await?;
    let mut session = f.store.backend().session().await?;
    session.query(&snapshot_call(f, 3, "{ \"n\": 0.10 }")).await?;
    let snapshot = f.store.snapshot("a", SnapshotQuery::default()).await?;
    let snapshot = snapshot.ok_or_else(|| Failure("the snapshot is missing".to_owned()))?;
    ensure_eq!(snapshot.aggregate_version, Version::new(3), "version");
    ensure_eq!(snapshot.state.as_str(), "{ \"n\": 0.10 }", "state");
    Ok(())
}

async fn snapshots_from_the_prompt_never_move_backwards(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(4)?).await?;
    let mut session = f.store.backend().session().await?;
    session.query(&snapshot_call(f, 3, "3")).await?;
    ensure_err!(session.query(&snapshot_call(f, 2, "2")).await, Error::Backend { .. });
    ensure_err!(session.query(&snapshot_call(f, 5, "5")).await, Error::Backend { .. });
    let newest = f.store.snapshot("a", SnapshotQuery::default()).await?.map(|found| found.aggregate_version);
    ensure_eq!(newest, Some(Version::new(3)), "version of the newest snapshot");
    Ok(())
}

async fn the_prompt_finds_the_latest_snapshot(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(4)?).await?;
    let mut session = f.store.backend().session().await?;
    session.query(&snapshot_call(f, 2, "2")).await?;
    session.query(&snapshot_call(f, 4, "4")).await?;
    let rows = session.query(&call(f, "get_latest_snapshot", &[("stream", Text("a"))])).await?;
    let found: Vec<Option<&str>> = rows.iter().map(|row| row.get(2).and_then(|cell| cell.as_deref())).collect();
    ensure_eq!(found, [Some("4")], "version of the only row");
    Ok(())
}
