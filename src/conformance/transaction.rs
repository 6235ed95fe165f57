//! Contract section 20: transactions of the caller's own.

use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::future::try_join_all;
use uuid::Uuid;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use super::ledger::{dropped_after, next_times};
use super::prompt::{dialect, table};
use crate::append::Append;
use crate::command::Command;
use crate::error::{Error, Result};
use crate::json::Json;
use crate::read::Query;
use crate::sql::{Dialect, Value};
use crate::stream::Expected;
use crate::subscription::Start;

pub(super) const CASES: &[Case] = cases![
    sql_and_an_append_are_committed_together: "20.1" if Sql;
    a_dropped_transaction_leaves_nothing: "20.1" if Sql;
    a_transaction_dropped_at_any_point_is_carried_out_whole_or_not_at_all: "20.1", "3.13" if Sql;
    a_transaction_reads_what_it_wrote: "20.2" if Sql;
    a_refused_append_leaves_the_transaction_usable: "20.3" if Sql;
    a_failed_statement_ends_the_transaction: "20.3" if Sql;
    a_wrong_number_of_parameters_is_refused_before_it_is_sent: "20.3" if Sql;
    values_of_every_type_come_back: "20.4" if Sql;
    nulls_of_every_type_come_back: "20.4" if Sql;
    a_statement_takes_another_type_the_next_time: "20.4" if Sql;
    two_question_marks_are_one: "20.4" if Sql;
    an_append_of_a_transaction_keeps_the_rules: "20.5" if Sql;
    several_appends_of_a_transaction_follow_each_other: "20.5" if Sql;
    a_command_of_a_transaction_is_decided_once: "20.5", "4.1" if Sql;
    an_append_of_a_transaction_reaches_subscribers: "20.5", "14.4" if Sql;
    appends_of_transactions_and_others_leave_no_gap: "20.5", "5.1" if Sql;
];

const PATIENCE: Duration = Duration::from_secs(30);

/// Creates a table of notes, and returns its name.
async fn notes(f: &Fixture) -> Result<String, Failure> {
    let notes = table(f, "notes");
    let mut transaction = f.store.begin().await?;
    transaction.execute(&format!("CREATE TABLE {notes} (note varchar(100) NOT NULL)"), &[]).await?;
    transaction.commit().await?;
    Ok(notes)
}

fn insert(notes: &str) -> String {
    format!("INSERT INTO {notes} (note) VALUES (?)")
}

async fn noted(f: &Fixture, notes: &str) -> Result<Vec<String>> {
    let rows = f.store.select(&format!("SELECT note FROM {notes} ORDER BY note"), &[]).await?;
    rows.iter().map(|row| row.get(0)).collect()
}

fn append(f: &Fixture, stream: &str, expected: Expected, events: usize) -> Result<Append> {
    Ok(Append::new().to(f.stream(stream)?, expected, f.events(events)?))
}

async fn sql_and_an_append_are_committed_together(f: &Fixture) -> Verdict {
    let notes = notes(f).await?;
    let mut transaction = f.store.begin().await?;
    let changed = transaction.execute(&insert(&notes), &["before".into()]).await?;
    ensure_eq!(changed, 1, "rows that an insert changed");
    let appended = transaction.append(append(f, "a", Expected::NoStream, 2)?).await?;
    transaction.execute(&insert(&notes), &["behind".into()]).await?;
    transaction.commit().await?;
    ensure_eq!(appended.version().get(), 2, "the version that was answered");
    ensure_eq!(f.store.read_stream("a").await?.len(), 2, "events");
    ensure_eq!(noted(f, &notes).await?, ["before", "behind"], "notes");
    Ok(())
}

async fn a_dropped_transaction_leaves_nothing(f: &Fixture) -> Verdict {
    let notes = notes(f).await?;
    let mut transaction = f.store.begin().await?;
    transaction.execute(&insert(&notes), &["lost".into()]).await?;
    let lost = transaction.append(append(f, "a", Expected::NoStream, 2)?).await?;
    drop(transaction);
    let kept = f.store.append(&f.stream("a")?, Expected::NoStream, f.events(1)?).await?;
    ensure_eq!(kept.positions.map(|(first, _)| first), lost.positions.map(|(first, _)| first), "the next position");
    ensure_eq!(f.store.read_stream("a").await?.len(), 1, "events");
    ensure_eq!(noted(f, &notes).await?.len(), 0, "notes");
    Ok(())
}

async fn a_transaction_dropped_at_any_point_is_carried_out_whole_or_not_at_all(f: &Fixture) -> Verdict {
    let notes = notes(f).await?;
    let mut times = 1;
    loop {
        let work = async {
            let mut transaction = f.store.begin().await?;
            transaction.append(append(f, "a", Expected::Any, 1)?).await?;
            transaction.execute(&insert(&notes), &["note".into()]).await?;
            transaction.commit().await
        };
        let done = dropped_after(times, work).await.transpose()?.is_some();
        // What was sent already is carried out before this one.
        f.store.append(&f.stream("a")?, Expected::Any, []).await?;
        let mut settled = f.store.begin().await?;
        settled.append(append(f, "settled", Expected::Any, 1)?).await?;
        settled.commit().await?;
        let events = f.store.read_stream("a").await?.len();
        ensure_eq!(noted(f, &notes).await?.len(), events, "notes beside {events} events, after {times} polls");
        if done {
            break;
        }
        times = next_times(f, times);
    }
    Ok(())
}

async fn a_transaction_reads_what_it_wrote(f: &Fixture) -> Verdict {
    let notes = notes(f).await?;
    let mut transaction = f.store.begin().await?;
    transaction.execute(&insert(&notes), &["own".into()]).await?;
    let rows = transaction.select(&format!("SELECT note FROM {notes} WHERE note = ?"), &["own".into()]).await?;
    ensure_eq!(rows.len(), 1, "rows");
    ensure_eq!(rows[0].get::<String>(0)?, "own", "the note");
    transaction.append(append(f, "a", Expected::NoStream, 1)?).await?;
    let events = format!("SELECT aggregate_version FROM {} WHERE aggregate_id = ?", table(f, "events"));
    let rows = transaction.select(&events, &["a".into()]).await?;
    ensure_eq!(rows.len(), 1, "events that were appended and not committed");
    Ok(())
}

async fn a_refused_append_leaves_the_transaction_usable(f: &Fixture) -> Verdict {
    let (notes, stream) = (notes(f).await?, f.filled("a", 2).await?);
    let mut transaction = f.store.begin().await?;
    transaction.execute(&insert(&notes), &["before".into()]).await?;
    let refused = transaction.append(append(f, "a", Expected::exact(1), 1)?).await;
    ensure_err!(refused, Error::Conflict { .. });
    transaction.append(append(f, "a", Expected::exact(2), 1)?).await?;
    transaction.commit().await?;
    ensure_eq!(f.store.read_stream(&stream).await?.len(), 3, "events");
    ensure_eq!(noted(f, &notes).await?, ["before"], "notes");
    Ok(())
}

async fn a_failed_statement_ends_the_transaction(f: &Fixture) -> Verdict {
    let notes = notes(f).await?;
    let mut transaction = f.store.begin().await?;
    transaction.execute(&insert(&notes), &["lost".into()]).await?;
    transaction.append(append(f, "a", Expected::NoStream, 1)?).await?;
    let failed = transaction.execute(&insert(&notes), &[Value::Text(None)]).await;
    ensure_err!(failed, Error::Backend { .. });
    let again = transaction.execute(&insert(&notes), &["late".into()]).await;
    ensure_err!(again, Error::Invalid { what: "transaction", .. });
    ensure_err!(transaction.commit().await, Error::Invalid { what: "transaction", .. });
    ensure_eq!(noted(f, &notes).await?.len(), 0, "notes");
    ensure_eq!(f.store.read_stream("a").await?.len(), 0, "events");
    Ok(())
}

async fn a_wrong_number_of_parameters_is_refused_before_it_is_sent(f: &Fixture) -> Verdict {
    let notes = notes(f).await?;
    let mut transaction = f.store.begin().await?;
    for params in [&[][..], &["a".into(), "b".into()]] {
        let refused = transaction.execute(&insert(&notes), params).await;
        ensure_err!(refused, Error::Invalid { what: "statement", .. });
    }
    ensure_err!(transaction.select("SELECT ?", &[]).await, Error::Invalid { what: "statement", .. });
    transaction.execute(&insert(&notes), &["kept".into()]).await?;
    transaction.commit().await?;
    ensure_eq!(noted(f, &notes).await?, ["kept"], "notes");
    ensure_err!(f.store.select("SELECT ?", &[]).await, Error::Invalid { what: "statement", .. });
    Ok(())
}

/// Creates a table with a column of each type, in the order of [`values`].
async fn types(f: &Fixture) -> Result<String, Failure> {
    let types = match dialect(f) {
        Dialect::Sqlite => ["boolean", "integer", "integer", "real", "text", "text", "blob", "integer", "blob"],
        Dialect::Postgres => {
            ["boolean", "integer", "bigint", "double precision", "text", "json", "uuid", "timestamptz", "bytea"]
        }
        Dialect::Mssql => [
            "bit",
            "int",
            "bigint",
            "float",
            "nvarchar(100)",
            "nvarchar(max)",
            "uniqueidentifier",
            "datetime2(6)",
            "varbinary(100)",
        ],
    };
    let columns: Vec<String> = types.iter().enumerate().map(|(index, kind)| format!("c{index} {kind}")).collect();
    let name = table(f, "everything");
    let mut transaction = f.store.begin().await?;
    transaction.execute(&format!("CREATE TABLE {name} ({})", columns.join(", ")), &[]).await?;
    transaction.commit().await?;
    Ok(name)
}

/// Writes a row of values of every type, in a transaction that reads it, and reads it again from outside.
async fn there_and_back(f: &Fixture, values: &[Value; 9]) -> Result<[crate::sql::Row; 2], Failure> {
    let name = types(f).await?;
    let (insert, select) = (
        format!("INSERT INTO {name} (c0, c1, c2, c3, c4, c5, c6, c7, c8) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)"),
        format!("SELECT c0, c1, c2, c3, c4, c5, c6, c7, c8 FROM {name}"),
    );
    let mut transaction = f.store.begin().await?;
    transaction.execute(&insert, values).await?;
    let mut within = transaction.select(&select, &[]).await?;
    transaction.commit().await?;
    let mut outside = f.store.select(&select, &[]).await?;
    ensure_eq!((within.len(), outside.len()), (1, 1), "rows");
    Ok([within.remove(0), outside.remove(0)])
}

async fn values_of_every_type_come_back(f: &Fixture) -> Verdict {
    let (id, bytes) = (Uuid::new_v4(), vec![0, 255, 10]);
    let time = DateTime::<Utc>::from_timestamp_micros(1_700_000_000_123_456).unwrap_or_default();
    let json = Json::parse(r#"{"a": 0.10}"#)?;
    let values = [
        true.into(),
        i32::MIN.into(),
        i64::MAX.into(),
        0.1.into(),
        "naïve ☃ '?'".into(),
        json.into(),
        id.into(),
        time.into(),
        bytes.clone().into(),
    ];
    for row in there_and_back(f, &values).await? {
        ensure!(row.get::<bool>(0)?, "a truth value is another one");
        ensure_eq!(row.get::<i32>(1)?, i32::MIN, "a number of 32 bits");
        ensure_eq!(row.get::<i64>(2)?, i64::MAX, "a number of 64 bits");
        ensure_eq!(row.get::<f64>(3)?.to_bits(), 0.1f64.to_bits(), "bits of a floating-point number");
        ensure_eq!(row.get::<String>(4)?, "naïve ☃ '?'", "text");
        ensure_eq!(row.get::<String>(5)?, r#"{"a": 0.10}"#, "json");
        ensure_eq!(row.get::<Uuid>(6)?, id, "a uuid");
        ensure_eq!(row.get::<DateTime<Utc>>(7)?, time, "a time");
        ensure_eq!(row.get::<Vec<u8>>(8)?, bytes, "bytes");
        ensure_err!(row.get::<i64>(4), Error::Invalid { what: "column", .. });
    }
    Ok(())
}

async fn a_statement_takes_another_type_the_next_time(f: &Fixture) -> Verdict {
    let name = types(f).await?;
    let insert = format!("INSERT INTO {name} (c3) VALUES (?)");
    // One connection, which keeps the statement prepared.
    let mut transaction = f.store.begin().await?;
    for value in [Value::from(0.5), Value::from(2i64), Value::from(3i32), Value::from(0.25)] {
        transaction.execute(&insert, &[value]).await?;
    }
    let mut found = Vec::new();
    for row in transaction.select(&format!("SELECT c3 FROM {name}"), &[]).await? {
        found.push(row.get::<f64>(0)?);
    }
    transaction.commit().await?;
    found.sort_by(f64::total_cmp);
    ensure_eq!(found, [0.25, 0.5, 2.0, 3.0], "numbers");
    Ok(())
}

async fn nulls_of_every_type_come_back(f: &Fixture) -> Verdict {
    let values = [
        Value::Bool(None),
        Value::I32(None),
        Value::I64(None),
        Value::F64(None),
        Value::Text(None),
        Value::Json(None),
        Value::Uuid(None),
        Value::Time(None),
        Value::Bytes(None),
    ];
    for row in there_and_back(f, &values).await? {
        ensure!(row.cells().iter().all(Value::is_null), "a null came back as {row:?}");
        ensure_eq!(row.get::<Option<i64>>(2)?, None, "a null that may be one");
        ensure_err!(row.get::<i64>(2), Error::Invalid { what: "column", .. });
    }
    Ok(())
}

async fn two_question_marks_are_one(f: &Fixture) -> Verdict {
    let rows = f.store.select("SELECT CASE WHEN ? = 1 THEN 'why??' END", &[1i64.into()]).await?;
    ensure_eq!(rows[0].get::<String>(0)?, "why?", "text");
    Ok(())
}

async fn an_append_of_a_transaction_keeps_the_rules(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 2).await?;
    let mut transaction = f.store.begin().await?;
    let other = Append::new().to(crate::stream::Stream::new("other", "a")?, Expected::Any, f.events(1)?);
    ensure_err!(transaction.append(other).await, Error::TypeMismatch { .. });
    ensure_err!(transaction.append(append(f, "a", Expected::NoStream, 1)?).await, Error::Conflict { .. });
    let head = f.store.lane("a");
    let condition = crate::append::Condition::after(crate::position::Position::ZERO).or(["Happened"], [""; 0])?;
    let guarded = append(f, "a", Expected::Any, 1)?.condition(condition);
    ensure_err!(transaction.append(guarded).await, Error::ConditionFailed { .. });
    let appended = transaction.append(append(f, "a", Expected::exact(2), 1)?).await?;
    transaction.commit().await?;
    ensure_eq!(appended.lane, head, "the lane");
    ensure_eq!(f.store.read_stream(&stream).await?.len(), 3, "events");
    Ok(())
}

async fn several_appends_of_a_transaction_follow_each_other(f: &Fixture) -> Verdict {
    let mut transaction = f.store.begin().await?;
    let first = transaction.append(append(f, "a", Expected::NoStream, 2)?).await?;
    let second = transaction.append(append(f, "a", Expected::exact(2), 3)?).await?;
    transaction.commit().await?;
    ensure_eq!(second.version().get(), 5, "the version of the second append");
    ensure_eq!(second.position().get() - first.position().get(), 3, "positions between the two");
    ensure_eq!(f.store.read_stream("a").await?.len(), 5, "events");
    Ok(())
}

async fn a_command_of_a_transaction_is_decided_once(f: &Fixture) -> Verdict {
    let request = |id| Ok::<_, Error>(append(f, "a", Expected::Any, 1)?.command(Command::new(id)));
    let (first, second) = (Uuid::new_v4(), Uuid::new_v4());
    let mut transaction = f.store.begin().await?;
    let appended = transaction.append(request(first)?).await?;
    let within = transaction.append(request(first)?).await?;
    transaction.commit().await?;
    let outside = f.store.commit(request(first)?).await?;
    ensure_eq!((appended.duplicate, within.duplicate, outside.duplicate), (false, true, true), "repetitions");

    f.store.commit(request(second)?).await?;
    let mut transaction = f.store.begin().await?;
    let again = transaction.append(request(second)?).await?;
    transaction.commit().await?;
    ensure!(again.duplicate, "a command that was decided before was carried out in a transaction");
    ensure_eq!(f.store.read_stream("a").await?.len(), 2, "events");
    Ok(())
}

async fn an_append_of_a_transaction_reaches_subscribers(f: &Fixture) -> Verdict {
    let mut subscription = f.store.subscribe(Start::Beginning, Query::new()).await?;
    for version in 1..=5 {
        let write = async {
            let mut transaction = f.store.begin().await?;
            transaction.append(append(f, "a", Expected::Any, 1)?).await?;
            transaction.commit().await
        };
        let (written, came) = tokio::join!(write, tokio::time::timeout(PATIENCE, subscription.next()));
        written?;
        let came = came.map_err(|_| Failure(format!("no event came within {PATIENCE:?}")))??;
        ensure_eq!(came.aggregate_version.get(), version, "the next event");
    }
    Ok(())
}

async fn appends_of_transactions_and_others_leave_no_gap(f: &Fixture) -> Verdict {
    let writers = (0..6).map(|writer| async move {
        let stream = format!("s{writer}");
        for number in 0..10 {
            if writer % 2 == 0 {
                f.store.commit(append(f, &stream, Expected::exact(number), 1)?).await?;
                continue;
            }
            let mut transaction = f.store.begin().await?;
            transaction.append(append(f, &stream, Expected::exact(number), 1)?).await?;
            // Each third one is left.
            if number % 3 == 2 {
                drop(transaction);
                f.store.commit(append(f, &stream, Expected::exact(number), 1)?).await?;
            } else {
                transaction.commit().await?;
            }
        }
        Ok::<_, Error>(())
    });
    try_join_all(writers).await?;
    for lane in &f.store.topic().lanes {
        let page = f.store.page(*lane, &Query::new(), 100).await?;
        let positions: Vec<i64> = page.events.iter().map(|event| event.position.get()).collect();
        ensure_eq!(positions, (1..=page.head.get()).collect::<Vec<_>>(), "positions of lane {lane}");
    }
    for writer in 0..6 {
        ensure_eq!(f.store.read_stream(&format!("s{writer}")).await?.len(), 10, "events of writer {writer}");
    }
    Ok(())
}
