//! Copies beside writers, and which topics they are of.

use std::collections::HashSet;
use std::process::Command;
use std::time::{Duration, Instant};

use annals::{Error, Expected, NewEvent, Query, Store};
use rstest::rstest;
use serde_json::json;
use tokio::task::JoinSet;
use uuid::Uuid;

use super::Annals;
use crate::copy::{database, stream};

/// Appends to a stream of its own until the topic was moved, and returns the ids of what was acknowledged.
async fn write(url: String, number: usize) -> Vec<Uuid> {
    let (store, stream) = (Store::connect(&url).await.unwrap(), stream(&format!("w-{number}")));
    let mut acknowledged = Vec::new();
    loop {
        let event = NewEvent::json("Happened", &number).unwrap().with_id(Uuid::now_v7());
        let id = event.event_id().unwrap();
        match store.append(&stream, Expected::Any, [event]).await {
            Ok(_) => {
                acknowledged.push(id);
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
            Err(Error::Moved { .. }) => break,
            Err(error) => panic!("{error}"),
        }
    }
    store.close().await;
    acknowledged
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_follows_eight_writers_and_becomes_the_topic(#[values("sqlite", "postgres", "mssql")] to: &str) {
    let Some(target) = database(to) else { return };
    let (annals, copied) = (Annals::new(), target.store().await.unwrap());
    let (from, to) = (annals.url("store.db"), target.url());
    let writers: JoinSet<Vec<Uuid>> = (0..8).map(|number| write(from.clone(), number)).collect();
    let following = annals.command(["copy", &from, &to, "--follow"]).spawn().unwrap();
    let start = Instant::now();
    while copied.query(Query::new()).await.unwrap().len() < 100 {
        assert!(start.elapsed() < Duration::from_mins(1), "nothing is copied");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert!(Command::new("kill").args(["-INT", &following.id().to_string()]).status().unwrap().success());
    assert_eq!(super::Run::of(following).code, 0);
    let out = annals.ok(["copy", &from, &to, "--cutover", "--verify"]);
    assert!(out.contains("the copy is the topic now; writers waited "), "{out}");
    let acknowledged: Vec<Uuid> = writers.join_all().await.concat();
    let log: HashSet<Uuid> = copied.query(Query::new()).await.unwrap().iter().map(|event| event.event_id).collect();
    assert_eq!(log.len(), acknowledged.len());
    assert!(acknowledged.iter().all(|id| log.contains(id)));

    annals.run(["append", "thing", "late", "--type", "E", "--data", "1"]).fails(1, "moved to");
    annals
        .run(["copy", &from, &format!("{}?migrate=auto", annals.url("other.db")), "--reopen", "--topic", "default"])
        .fails(1, "moved to");
    assert_eq!(annals.json(["copy", &from, &to, "--reopen"])[0]["reopened"], true);
    annals.put("late", "E", "1");
    copied.close().await;
    target.remove().await.unwrap();
}

#[test]
fn one_topic_is_copied_where_the_url_or_the_option_names_it() {
    let annals = Annals::new();
    annals.put("a", "E", "1");
    annals.topic("second", 1);
    let to = |name: &str| format!("{}?migrate=auto", annals.url(name));
    let from = annals.url("store.db");
    let copied = |from: &str, to: &str| -> Vec<String> {
        annals.json(["copy", from, to]).iter().map(|line| line["topic"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(copied(&from, &to("all.db")), ["default", "second", "topics"]);
    assert_eq!(copied(&format!("{from}?topic=default"), &to("one.db")), ["default"]);
    assert_eq!(copied(&format!("{from}?topic=second"), &to("two.db")), ["second"]);
    annals.run(["copy", &from, &format!("{}&topic=x", to("x.db"))]).fails(2, "leave that out");
    assert!(!annals.path("x.db").exists());
}

#[test]
fn a_cutover_is_completed_however_the_place_is_written() {
    let annals = Annals::new();
    annals.topic("second", 1);
    annals.ok(["append", "order", "a", "--type", "E", "--data", "1", "--topic", "second"]);
    let copy = ["copy", "sqlite:store.db", "sqlite:b.db?migrate=auto", "--cutover"];
    annals.ok(copy.into_iter().chain(["--topic", "second"]));
    annals.run(["append", "order", "a", "--type", "E", "--data", "1", "--topic", "second"]).fails(1, "/b.db");
    annals.ok(["topic", "update", "second", "--connection", "sqlite:./b.db"]);
    annals.ok(["append", "order", "a", "--type", "E", "--data", "1", "--topic", "second"]);
    // Of all topics, the one that has gone on is no hindrance.
    let lines = annals.json(copy);
    let done: Vec<_> = lines.iter().map(|line| (line["topic"].as_str().unwrap(), line["already"] == true)).collect();
    assert_eq!(done, [("default", false), ("second", true), ("topics", false)]);
    assert!(annals.ok(copy).contains("second: the copy is the topic already"));
}

#[test]
fn topics_that_were_moved_elsewhere_are_left_out() {
    let annals = Annals::new();
    annals.put("a", "E", "1");
    annals.topic("second", 1);
    let place = format!("{}?migrate=auto", annals.url("b.db"));
    annals.ok(["append", "a", "a", "--type", "E", "--data", "1", "--topic", "second"]);
    for copied in [1, 0] {
        let moved = annals.json(["topic", "move", "second", "--connection", &place]).remove(0);
        assert_eq!((&moved["copied"], &moved["already"]), (&json!(copied), &json!(copied == 0)), "{moved}");
        assert_eq!(moved["pause_seconds"].as_f64().unwrap() > 0.0, copied == 1, "{moved}");
    }
    let to = format!("{}?migrate=auto", annals.url("c.db"));
    let lines = annals.json(["copy", &annals.url("store.db"), &to, "--cutover"]);
    let left_out = lines.iter().find(|line| line["topic"] == "second").unwrap();
    assert!(left_out["moved_to"].as_str().unwrap().contains("b.db"), "{lines:?}");
    let reopened = annals.json(["copy", &annals.url("store.db"), &to, "--reopen"]);
    let names: Vec<_> = reopened.iter().map(|line| line["topic"].as_str().unwrap()).collect();
    assert_eq!(names, ["default", "topics"]);
    annals.run(["copy", &annals.url("store.db"), &to, "--reopen"]).fails(4, "no topic was moved to");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_differs_does_not_become_the_topic() {
    let annals = Annals::new();
    annals.put("a", "E", "1");
    annals.put("a", "E", "2");
    let (from, to) = (annals.url("store.db"), annals.url("copy.db"));
    annals.ok(["copy", &from, &format!("{to}?migrate=auto")]);
    let copy = Store::connect(&to).await.unwrap();
    let mut session = copy.backend().session().await.unwrap();
    session.execute("DROP TRIGGER events_refuse_update").await.unwrap();
    session.execute("UPDATE events SET data = '3' WHERE position = 1").await.unwrap();
    drop(session);
    copy.close().await;
    annals.run(["copy", &from, &to, "--cutover", "--verify"]).fails(3, "in its data");
    annals.put("a", "E", "3");
}

#[test]
fn the_configuration_takes_no_events_of_others() {
    let annals = Annals::new();
    annals.topic("one", 1);
    let append = ["append", "thing", "a", "--type", "E", "--data", "1"];
    annals.run(append.into_iter().chain(["--topic", "topics"])).fails(2, "annals topic");
    annals
        .run(append.into_iter().chain(["--url", &format!("{}?topic=topics", annals.url("store.db"))]))
        .fails(2, "annals topic");
    annals.run(["stream", "delete", "one", "--topic", "topics"]).fails(2, "annals topic");
    annals.ok(["topic", "get", "one"]);
    annals.ok(["stream", "show", "one", "--topic", "topics"]);
}

#[test]
fn a_topic_in_memory_is_none_for_the_command_line() {
    let annals = Annals::new();
    annals.topic("one", 1);
    for verb in ["create", "update", "move"] {
        let name = if verb == "create" { "new" } else { "one" };
        annals.run(["topic", verb, name, "--adapter", "memory", "--connection", "m"]).fails(2, "in memory");
    }
    annals.put("a", "E", "1");
}
