//! Copies and restores of a long log that are killed on the way.

use std::time::{Duration, Instant};

use annals::{Store, TopicCopy};
use rstest::rstest;

use super::Annals;
use crate::copy::database;

const EVENTS: u64 = 10_000;

/// Returns how many events there are.
async fn count(store: &Store) -> u64 {
    store.heads().await.unwrap().iter().map(|(_, head)| head.get().unsigned_abs()).sum()
}

/// Returns once there are more events than there were.
async fn more(store: &Store, before: u64) {
    let start = Instant::now();
    while count(store).await <= before {
        assert!(start.elapsed() < Duration::from_mins(1), "nothing was stored behind {before} events");
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_killed_three_times_goes_on(
    #[values("sqlite", "postgres", "mssql")] to: &str,
    #[values("copy", "import")] verb: &str,
) {
    let Some(target) = database(to) else { return };
    let copied = target.store().await.unwrap();
    let annals = Annals::new();
    let line = |number: u64| {
        let stream = number % 97;
        format!(r#"{{"aggregate_id":"s-{stream}","aggregate_type":"t","event_type":"E","data":{number}}}{}"#, "\n")
    };
    assert_eq!(annals.feed(["import", "-", "--name", "long"], &(0..EVENTS).map(line).collect::<String>()).code, 0);
    annals.ok(["export", "-o", "log.jsonl"]);
    let (from, to) = (annals.url("store.db"), target.url());
    let command = match verb {
        "copy" => vec!["copy", &from, &to],
        _ => vec!["import", "log.jsonl", "--restore", "--url", &to],
    };
    for _ in 0..3 {
        let before = count(&copied).await;
        let mut child = annals.command(&command).spawn().unwrap();
        more(&copied, before).await;
        child.kill().unwrap();
        assert!(!child.wait().unwrap().success(), "it had ended before it was killed");
    }
    let (left, rest) = (count(&copied).await, annals.json(command));
    let number = |field: &str| rest[0][field].as_u64().unwrap();
    // A server may have committed what came last only after the kill.
    match verb {
        "copy" => assert!((1..=EVENTS - left).contains(&number("events")), "{rest:?} after {left}"),
        _ => assert!(
            (left..EVENTS).contains(&number("skipped")) && number("imported") + number("skipped") == EVENTS,
            "{rest:?} after {left}"
        ),
    }
    let original = Store::connect(&from).await.unwrap();
    let copy = TopicCopy::begin(original.clone(), to.parse().unwrap()).await.unwrap();
    let found = copy.verify(|_| {}).await.unwrap();
    assert!(found.is_same() && found.events == EVENTS, "{found:?}");
    for store in [copy.to(), &original, &copied] {
        store.close().await;
    }
    target.remove().await.unwrap();
}
