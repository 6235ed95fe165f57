//! The plans of the statements that an append and a short read send: each looks things up by an index, whether the file
//! is empty, was filled and never analysed, or was analysed. SQLite says what it would do; nothing is measured here.

use uuid::Uuid;

use crate::append::ConditionItem;
use crate::backend::Session;
use crate::position::{LaneId, Position, Version};
use crate::read::Query;
use crate::snapshot::SnapshotQuery;
use crate::sql::{Dialect, Statement, statements};
use crate::{Command, Expected, NewEvent, Store, Stream};

fn hot() -> Vec<Statement> {
    let (dialect, lane, id) = (Dialect::Sqlite, LaneId::new(1), Uuid::nil());
    let items = [
        ConditionItem { types: vec!["a".into(), "b".into()], tags: vec!["x".into(), "y".into()] },
        ConditionItem { types: vec!["a".into()], tags: Vec::new() },
    ];
    let after = Position::new(1);
    vec![
        statements::head(dialect, lane),
        statements::head_and_clock(dialect, lane),
        statements::stream(dialect, lane, "s"),
        statements::stream_states(dialect, lane, &["s"]),
        statements::event(dialect, lane, id),
        statements::event_places(dialect, lane, &[id]),
        statements::find_events(dialect, lane, &[id]),
        statements::command_states(dialect, lane, &[id]),
        statements::command(dialect, lane, id),
        statements::versions_of(dialect, lane, after, after),
        statements::first_matches(dialect, lane, [(0, &items[..], after)]),
        statements::snapshot(
            dialect,
            lane,
            "s",
            SnapshotQuery { at_or_before: Some(Version::new(1)), ..SnapshotQuery::default() },
        ),
        statements::events(dialect, lane, &Query::stream("s"), 10),
        statements::events(dialect, lane, &Query::new().after(after), 10),
        statements::events(dialect, lane, &Query::new().event_types(["a"]).unwrap(), 10),
        statements::events(dialect, lane, &Query::new().tags(["x"]).unwrap(), 10),
    ]
}

/// Asks for the plan of each statement, and for one that walks over a table or sorts.
async fn check(session: &mut dyn Session, state: &str) {
    for Statement { sql, params, .. } in hot() {
        let sql = (1..=params.len()).rev().fold(sql, |sql, number| sql.replace(&format!("?{number}"), "'1'"));
        let rows = session.query(&format!("EXPLAIN QUERY PLAN {sql}")).await.unwrap();
        for step in rows.iter().filter_map(|row| row.last()?.as_deref()) {
            // What a union gathered is walked over, and groups of a request's events are sorted: they are few.
            let gathered = ["SCAN m", "SCAN CONSTANT ROW", "USE TEMP B-TREE FOR GROUP BY"];
            let gathered = gathered.contains(&step) || (sql.contains("GROUP BY") && step.ends_with("FOR ORDER BY"));
            let walks = step.contains("SCAN") || step.contains("TEMP B-TREE") || step.contains("AUTOMATIC");
            assert!(!walks || gathered, "{step:?} on {state}, for {sql}");
        }
    }
}

#[tokio::test]
async fn every_statement_of_the_hot_path_looks_things_up() {
    let store = Store::connect("sqlite::memory:?migrate=auto").await.unwrap();
    let mut session = store.backend().session().await.unwrap();
    check(&mut *session, "an empty log").await;
    for number in 0..40 {
        let stream = Stream::new("cart", format!("cart-{number}")).unwrap();
        let events = (0..50).map(|number| NewEvent::json("Added", &number).unwrap().with_tags(["x", "y"]).unwrap());
        let append = crate::Append::new().to(stream, Expected::NoStream, events).command(Command::new(Uuid::now_v7()));
        store.commit(append).await.unwrap();
    }
    check(&mut *session, "a log that was never analysed").await;
    session.execute("ANALYZE").await.unwrap();
    check(&mut *session, "a log that was analysed").await;
}
