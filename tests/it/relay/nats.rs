//! NATS `JetStream`: a server that is killed, connections that are cut, a stream that refuses.

use std::collections::BTreeMap;
use std::sync::Mutex;
use std::sync::atomic::Ordering;
use std::time::Duration;

use annals::relay::{Change, End, Nats, OnRefusal, Relay, Relayed};
use annals::{Expected, NewEvent, Position, Query, Store, Stream};
use async_nats::jetstream::stream::{Config, DiscardPolicy};
use futures::StreamExt;
use tokio::sync::{oneshot, watch};

use super::nats_server::{NatsServer, cutting_proxy};
use super::{DEADLINE, database, until, write};
use crate::support;

/// What a relay told while it ran.
static CHANGES: Mutex<Vec<(String, Change)>> = Mutex::new(Vec::new());

fn told(relay: &str) -> Vec<Change> {
    let changes = CHANGES.lock().unwrap();
    changes.iter().filter(|(name, _)| name == relay).map(|(_, change)| change.clone()).collect()
}

fn relay(store: &Store, name: &'static str, nats: Nats) -> Relay<Nats> {
    let durable = store.durable(name).lease(Duration::from_secs(1));
    Relay::new(durable, nats).on_change(move |change| CHANGES.lock().unwrap().push((name.to_owned(), change)))
}

async fn catch_up(relay: Relay<Nats>) -> annals::Result<Relayed> {
    tokio::time::timeout(DEADLINE, relay.until_caught_up().run(std::future::pending())).await.unwrap()
}

/// Asserts that the broker holds every event of the log once, and those of each stream in their order.
async fn holds_the_log(server: &NatsServer, store: &Store) {
    let stored = server.stored().await;
    let events = store.query(Query::new()).await.unwrap();
    assert_eq!(stored.len(), events.len(), "messages and events");
    let mut ids: Vec<String> = stored.iter().map(|(_, key, _)| key.clone()).collect();
    let mut expected: Vec<String> = events.iter().map(|event| event.event_id.to_string()).collect();
    ids.sort_unstable();
    expected.sort_unstable();
    assert_eq!(ids, expected);
    let mut versions: BTreeMap<&str, i64> = BTreeMap::new();
    for (_, key, body) in &stored {
        let version = versions.entry(body["subject"].as_str().unwrap()).or_default();
        *version += 1;
        assert_eq!(body["aggregateversion"], version.to_string(), "{key} is out of order");
        assert_eq!(body["id"], *key);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_broker_that_is_killed_and_restarted_holds_every_event_once_in_stream_order() {
    let Some(program) = support::nats_server() else { return };
    let (mut server, (database, store)) = (NatsServer::start(program).await, database().await);
    server.create(Config::default()).await;
    let (stop, stopped) = oneshot::channel::<()>();
    let running = relay(&store, "killed", Nats::new(&server.url()).unwrap());
    let running = tokio::spawn(running.run(async { drop(stopped.await) }));
    let writers = [1, 2].map(|writer| {
        let store = store.clone();
        tokio::spawn(async move { write(&store, writer, 1_500).await })
    });
    for kill in 0..3 {
        let reached = 200 + 600 * kill;
        until("progress of the relay", || async {
            let info = store.subscriptions().await.unwrap();
            info.first().is_some_and(|info| info.lanes[0].position.get() > reached)
        })
        .await;
        server.kill();
        let known = told("killed").len();
        until("the relay noticing", || async { told("killed").len() > known }).await;
        server.restart().await;
    }
    for writer in writers {
        writer.await.unwrap();
    }
    store.wait_for("killed", (store.topic().lanes[0], Position::new(3_000)), DEADLINE).await.unwrap();
    stop.send(()).unwrap();
    let relayed = tokio::time::timeout(DEADLINE, running).await.unwrap().unwrap().unwrap();
    assert_eq!((relayed.end, relayed.published, relayed.skipped), (End::Stopped, 3_000, 0));
    holds_the_log(&server, &store).await;
    let changes = told("killed");
    assert!(changes.iter().any(|change| matches!(change, Change::Retrying { .. })), "{changes:?}");
    assert!(changes.contains(&Change::Resumed), "{changes:?}");
    store.close().await;
    database.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn connections_that_break_at_any_byte_neither_lose_nor_double_nor_reorder() {
    const CUTS: [usize; 24] = [
        150, 400, 700, 1_100, 1_900, 2_500, 3_333, 5_000, 7_777, 10_001, 700, 15_000, 20_000, 900, 30_000, 33_333, 800,
        40_000, 50_000, 1_300, 60_001, 1_200, 80_000, 100,
    ];
    let Some(program) = support::nats_server() else { return };
    let (server, (database, store)) = (NatsServer::start(program).await, database().await);
    server.create(Config::default()).await;
    write(&store, 1, 600).await;
    let (proxy, connections) = cutting_proxy(server.address(), &CUTS).await;
    let nats = Nats::new(&format!("nats://{proxy}")).unwrap();
    let relayed = catch_up(relay(&store, "cut", nats)).await.unwrap();
    assert_eq!((relayed.end, relayed.published), (End::CaughtUp, 600));
    assert!(connections.load(Ordering::Relaxed) >= 10, "{connections:?} connections were made");
    holds_the_log(&server, &store).await;
    store.close().await;
    database.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_refused_for_a_while_is_not_overtaken_and_what_is_confirmed_is_not_sent_again() {
    let Some(program) = support::nats_server() else { return };
    let (server, (database, store)) = (NatsServer::start(program).await, database().await);
    // In place of a stream, somebody who takes messages, but not each at once.
    let client = server.client().await;
    let mut messages = client.subscribe("annals.>").await.unwrap();
    client.flush().await.unwrap();
    let (told, taken) = watch::channel(Vec::new());
    tokio::spawn(async move {
        let (mut taken, mut seen) = (Vec::new(), 0);
        while let Some(message) = messages.next().await {
            seen += 1;
            let answer = if seen % 7 == 3 {
                r#"{"error":{"code":503,"err_code":10077,"description":"no space for now"}}"#
            } else {
                let body: serde_json::Value = serde_json::from_slice(&message.payload).unwrap();
                let text = |name: &str| body[name].as_str().unwrap().to_owned();
                taken.push((text("subject"), text("aggregateversion").parse::<i64>().unwrap()));
                told.send_replace(taken.clone());
                r#"{"stream":"EVENTS","seq":1}"#
            };
            client.publish(message.reply.unwrap(), answer.into()).await.unwrap();
        }
    });
    write(&store, 1, 200).await;
    let relayed = catch_up(relay(&store, "refused", Nats::new(&server.url()).unwrap())).await.unwrap();
    assert_eq!(relayed.published, 200);
    let mut versions: BTreeMap<String, i64> = BTreeMap::new();
    let taken = taken.borrow().clone();
    assert_eq!(taken.len(), 200);
    for (stream, version) in taken {
        let last = versions.entry(stream).or_default();
        *last += 1;
        assert_eq!(version, *last);
    }
    store.close().await;
    database.remove().await.unwrap();
}

#[tokio::test]
async fn a_relay_that_was_killed_repeats_what_the_broker_recognises() {
    let Some(program) = support::nats_server() else { return };
    let (server, (database, store)) = (NatsServer::start(program).await, database().await);
    server.create(Config::default()).await;
    write(&store, 1, 300).await;
    catch_up(relay(&store, "first", Nats::new(&server.url()).unwrap())).await.unwrap();
    // Under another name, nothing is known of what was published: as after a kill before the checkpoint was saved.
    let again = catch_up(relay(&store, "again", Nats::new(&server.url()).unwrap())).await.unwrap();
    assert_eq!(again.published, 300);
    holds_the_log(&server, &store).await;
    store.close().await;
    database.remove().await.unwrap();
}

#[tokio::test]
async fn without_a_stream_the_relay_says_which_subject_it_lacks_and_goes_on_once_there_is_one() {
    let Some(program) = support::nats_server() else { return };
    let (server, (database, store)) = (NatsServer::start(program).await, database().await);
    write(&store, 1, 10).await;
    let nats = || Nats::new(&server.url()).unwrap();
    let given_up = relay(&store, "absent", nats()).give_up_after(Duration::from_millis(300));
    let error = catch_up(given_up).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    assert!(error.report().contains("no stream of jetstream takes the subject annals.default.order"), "{error:?}");
    server.create(Config::default()).await;
    assert_eq!(catch_up(relay(&store, "absent", nats())).await.unwrap().published, 10);
    holds_the_log(&server, &store).await;
    store.close().await;
    database.remove().await.unwrap();
}

#[tokio::test]
async fn a_full_stream_is_waited_for_and_a_message_that_is_too_large_is_refused() {
    let Some(program) = support::nats_server() else { return };
    let (server, (database, store)) = (NatsServer::start(program).await, database().await);
    let config = Config { max_messages: 3, discard: DiscardPolicy::New, max_message_size: 4_000, ..Config::default() };
    let stream = server.create(config).await;
    let append = async |id: &str, bytes: usize| {
        let event = NewEvent::json("Sized", &"x".repeat(bytes)).unwrap();
        store.append(&Stream::new("order", id).unwrap(), Expected::Any, [event]).await.unwrap();
    };
    for (id, bytes) in [("a", 1), ("b", 5_000), ("c", 2_000_000), ("a", 2), ("a", 3), ("a", 4)] {
        append(id, bytes).await;
    }
    let nats = || Nats::new(&server.url()).unwrap();
    let error = catch_up(relay(&store, "large", nats())).await.unwrap_err();
    assert!(!error.is_retryable(), "{error:?}");
    assert!(error.report().contains("raise max_msg_size") && error.report().contains("position 2 "), "{error:?}");
    let skipping = relay(&store, "large", nats()).on_refusal(OnRefusal::Skip);
    let error = catch_up(skipping.give_up_after(Duration::from_millis(300))).await.unwrap_err();
    assert!(error.is_retryable() && error.report().contains("maximum messages exceeded"), "{error:?}");
    let skipped = told("large").into_iter().filter_map(|change| match change {
        Change::Skipped { event, reason } => Some((event, reason)),
        _ => None,
    });
    let skipped: Vec<_> = skipped.collect();
    assert!(
        matches!(&skipped[..], [(two, _), (three, why)]
        if two.contains("position 2 ") && three.contains("position 3 ") && why.contains("raise max_payload")),
        "{skipped:?}"
    );
    let versions = |stored: &[(String, String, serde_json::Value)]| -> Vec<String> {
        stored.iter().map(|(.., body)| body["aggregateversion"].as_str().unwrap().to_owned()).collect()
    };
    assert_eq!(versions(&server.stored().await), ["1", "2", "3"]);
    stream.purge().await.unwrap();
    assert_eq!(catch_up(relay(&store, "large", nats())).await.unwrap().published, 1);
    assert_eq!(versions(&server.stored().await), ["4"]);
    store.close().await;
    database.remove().await.unwrap();
}

#[tokio::test]
async fn subjects_are_made_of_what_events_say_and_names_cannot_break_them() {
    let Some(program) = support::nats_server() else { return };
    let (server, (database, store)) = (NatsServer::start(program).await, database().await);
    server.create(Config::default()).await;
    let event = NewEvent::json("Órder placed.>", &1).unwrap();
    store.append(&Stream::new("* >.x", "Ω.1").unwrap(), Expected::NoStream, [event]).await.unwrap();
    let nats =
        Nats::new(&server.url()).unwrap().subject("annals.{aggregate_type}.{aggregate_id}.{event_type}").unwrap();
    catch_up(relay(&store, "subjects", nats)).await.unwrap();
    let stored = server.stored().await;
    assert_eq!(stored[0].0, "annals.%2A%20%3E%2Ex.%CE%A9%2E1.%C3%93rder%20placed%2E%3E");
    assert_eq!((&stored[0].2["type"], &stored[0].2["subject"]), (&"Órder placed.>".into(), &"Ω.1".into()));
    store.close().await;
    database.remove().await.unwrap();
}
