//! Contract section 2: nobody changes the log, from a SQL prompt neither.

use uuid::Uuid;

use super::case::{Case, Verdict, cases, ensure, ensure_eq};
use super::harness::Fixture;
use super::prompt::{dialect, table};
use crate::command::Command;
use crate::json::Json;
use crate::position::Version;
use crate::read::Query;
use crate::snapshot::NewSnapshot;
use crate::sql::Dialect;
use crate::stream::Expected;

pub(super) const CASES: &[Case] = cases![
    an_update_of_an_event_is_refused: "2.3" if Sql;
    an_update_of_any_column_is_refused: "2.3" if Sql;
    an_update_that_changes_nothing_is_refused: "2.3" if Sql;
    a_delete_of_an_event_is_refused: "2.3" if Sql;
    a_delete_of_the_last_event_is_refused: "2.3" if Sql;
    a_truncation_of_the_events_is_refused: "2.3" if Sql;
    a_replacement_of_an_event_is_refused: "2.3" if Sql;
    a_replacement_by_any_key_is_refused: "2.3" if Sql;
    a_second_event_at_a_position_is_refused: "1.6" if Sql;
    an_update_of_a_tag_is_refused: "2.3" if Sql;
    a_delete_of_a_tag_is_refused: "2.3" if Sql;
    a_truncation_of_the_tags_is_refused: "2.3" if Sql;
    no_verb_takes_an_event_away: "8.2", "8.5";
    a_refused_change_leaves_the_store_usable: "2.3" if Sql;
];

/// Fills the log with five events with tags, runs statements that must be refused, and compares the log.
async fn refused(f: &Fixture, statements: impl IntoIterator<Item = String>) -> Verdict {
    for number in 0..5 {
        let event = f.event(&format!("T{number}"))?.with_tags(["all".to_owned(), format!("n:{number}")])?;
        f.store.append(&f.stream("a")?, Expected::exact(number), [event]).await?;
    }
    let before = f.store.query(Query::new()).await?;
    ensure_eq!(before.len(), 5, "events before");
    for statement in statements {
        let mut session = f.store.backend().session().await?;
        ensure!(session.execute(&statement).await.is_err(), "the database carried out {statement}");
        ensure_eq!(f.store.query(Query::new()).await?, before, "the log after {statement}");
        let tagged = f.store.query(Query::new().tags(["all"])?).await?;
        ensure_eq!(tagged, before, "the events with a tag after {statement}");
    }
    Ok(())
}

async fn an_update_of_an_event_is_refused(f: &Fixture) -> Verdict {
    let events = table(f, "events");
    refused(
        f,
        [format!("UPDATE {events} SET data = '{{}}' WHERE position = 3"), format!("UPDATE {events} SET data = '1'")],
    )
    .await
}

async fn an_update_of_any_column_is_refused(f: &Fixture) -> Verdict {
    let events = table(f, "events");
    let changes = [
        "lane_id = lane_id + 1",
        "position = position + 10",
        "aggregate_id = 'b'",
        "aggregate_type = 'other'",
        "aggregate_version = aggregate_version + 10",
        "event_type = 'Other'",
        "event_version = 2",
        "actor = 'mallory'",
        "actor_type = 'user'",
        "source = 'api'",
        "metadata = '{}'",
        "content_type = 'text/plain'",
        "tags = NULL",
        "hash = NULL",
    ];
    refused(f, changes.map(|change| format!("UPDATE {events} SET {change} WHERE position = 3"))).await
}

async fn an_update_that_changes_nothing_is_refused(f: &Fixture) -> Verdict {
    refused(f, [format!("UPDATE {} SET event_type = event_type", table(f, "events"))]).await
}

async fn a_delete_of_an_event_is_refused(f: &Fixture) -> Verdict {
    let events = table(f, "events");
    refused(f, [format!("DELETE FROM {events} WHERE position = 2"), format!("DELETE FROM {events}")]).await
}

async fn a_delete_of_the_last_event_is_refused(f: &Fixture) -> Verdict {
    refused(f, [format!("DELETE FROM {} WHERE position = 5", table(f, "events"))]).await
}

/// SQLite has no TRUNCATE: a DELETE without a condition is what it makes one of, where no trigger stands.
async fn a_truncation_of_the_events_is_refused(f: &Fixture) -> Verdict {
    let events = table(f, "events");
    let statements = match dialect(f) {
        Dialect::Sqlite => vec![format!("DELETE FROM {events}")],
        Dialect::Postgres => vec![
            format!("TRUNCATE {events}"),
            format!("TRUNCATE {events} CASCADE"),
            format!("TRUNCATE {events}, {}", table(f, "event_tags")),
        ],
        Dialect::Mssql => vec![format!("TRUNCATE TABLE {events}")],
    };
    refused(f, statements).await
}

/// Returns the columns of an event, with other values for some.
fn columns(changes: &[(&str, &str)]) -> (String, String) {
    let all = [
        "lane_id",
        "position",
        "event_id",
        "aggregate_id",
        "aggregate_type",
        "aggregate_version",
        "event_type",
        "event_version",
        "event_timestamp",
        "actor_type",
        "source",
        "data",
    ];
    let values = all.map(|column| changes.iter().find(|(name, _)| *name == column).map_or(column, |(_, value)| value));
    (all.join(", "), values.join(", "))
}

/// Returns statements that put a forged event in the place of the third one, as each dialect can be asked to.
fn forgeries(f: &Fixture, changes: &[(&str, &str)]) -> Vec<String> {
    let events = table(f, "events");
    let (names, values) = columns(changes);
    let forged = format!("SELECT {values} FROM {events} WHERE position = 3");
    match dialect(f) {
        Dialect::Sqlite => vec![
            format!("INSERT OR REPLACE INTO {events} ({names}) {forged}"),
            format!("REPLACE INTO {events} ({names}) {forged}"),
        ],
        Dialect::Postgres => ["lane_id, position", "lane_id, event_id", "lane_id, aggregate_id, aggregate_version"]
            .map(|key| {
                format!("INSERT INTO {events} ({names}) {forged} ON CONFLICT ({key}) DO UPDATE SET data = '666'")
            })
            .into(),
        Dialect::Mssql => vec![format!(
            "MERGE {events} WITH (HOLDLOCK) AS kept USING ({forged}) AS forged ({names}) \
             ON kept.lane_id = forged.lane_id AND kept.position = forged.position \
             WHEN MATCHED THEN UPDATE SET data = forged.data;"
        )],
    }
}

async fn a_replacement_of_an_event_is_refused(f: &Fixture) -> Verdict {
    refused(f, forgeries(f, &[("data", "'666'")])).await
}

/// Each key of the table could be the one by which a replacement finds the row in its way.
async fn a_replacement_by_any_key_is_refused(f: &Fixture) -> Verdict {
    let new_id = match dialect(f) {
        Dialect::Sqlite => "randomblob(16)",
        Dialect::Postgres => "gen_random_uuid()",
        Dialect::Mssql => "NEWID()",
    };
    let statements = [
        forgeries(f, &[("data", "'666'"), ("event_id", new_id), ("aggregate_version", "6")]),
        forgeries(f, &[("data", "'666'"), ("event_id", new_id), ("position", "6")]),
        forgeries(f, &[("data", "'666'"), ("position", "6"), ("aggregate_version", "6")]),
    ];
    if dialect(f) == Dialect::Mssql {
        // A MERGE that finds no row at its key would insert nothing here, and be right not to fail.
        return refused(f, statements[0].clone()).await;
    }
    refused(f, statements.concat()).await
}

async fn a_second_event_at_a_position_is_refused(f: &Fixture) -> Verdict {
    let events = table(f, "events");
    let (names, values) = columns(&[("data", "'666'")]);
    refused(f, [format!("INSERT INTO {events} ({names}) SELECT {values} FROM {events} WHERE position = 3")]).await
}

async fn an_update_of_a_tag_is_refused(f: &Fixture) -> Verdict {
    let tags = table(f, "event_tags");
    refused(
        f,
        [format!("UPDATE {tags} SET tag = 'other'"), format!("UPDATE {tags} SET position = 1 WHERE position = 2")],
    )
    .await
}

async fn a_delete_of_a_tag_is_refused(f: &Fixture) -> Verdict {
    let tags = table(f, "event_tags");
    refused(f, [format!("DELETE FROM {tags} WHERE position = 2"), format!("DELETE FROM {tags}")]).await
}

/// On SQL Server neither a trigger nor a key guards a table that nothing refers to from its owner's TRUNCATE; the events
/// themselves keep their tags there.
async fn a_truncation_of_the_tags_is_refused(f: &Fixture) -> Verdict {
    let tags = table(f, "event_tags");
    let statement = match dialect(f) {
        Dialect::Sqlite | Dialect::Mssql => format!("DELETE FROM {tags}"),
        Dialect::Postgres => format!("TRUNCATE {tags}"),
    };
    refused(f, [statement]).await
}

async fn no_verb_takes_an_event_away(f: &Fixture) -> Verdict {
    let (store, stream) = (&f.store, f.filled("a", 3).await?);
    let snapshot = NewSnapshot::new(stream.clone(), Version::new(2), Json::parse("{}")?);
    let mut before = store.query(Query::new()).await?;
    for step in 0..9 {
        match step {
            0 => drop(store.save_snapshot(&snapshot).await?),
            1 => drop(store.set_metadata(&stream, None, Json::parse("{}")?).await?),
            2 => drop(store.record_command(Command::new(Uuid::new_v4())).await?),
            3 | 6 => drop(store.delete(&stream, Expected::Any).await?),
            4 => drop(store.undelete(&stream, Expected::Any).await?),
            5 => drop(store.prune_snapshots(&stream, Version::MAX).await?),
            7 => drop(store.reuse(&stream, Expected::Any).await?),
            _ => drop(store.append(&stream, Expected::Any, f.events(1)?).await?),
        }
        let log = store.query(Query::new()).await?;
        ensure!(log.starts_with(&before), "step {step} took away or changed events: {before:?} became {log:?}");
        before = log;
    }
    ensure_eq!(before.len(), 8, "events, the markers included");
    Ok(())
}

async fn a_refused_change_leaves_the_store_usable(f: &Fixture) -> Verdict {
    let events = table(f, "events");
    refused(f, [format!("DELETE FROM {events}"), format!("UPDATE {events} SET data = '1'")]).await?;
    let outcome = f.store.append(&f.stream("a")?, Expected::exact(5), f.events(1)?).await?;
    ensure_eq!(outcome.position().get(), 6, "position of the next append");
    Ok(())
}
