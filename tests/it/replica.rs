//! Reading from a Postgres standby that lags behind (contract 14.6).

use std::time::{Duration, Instant};

use annals::{Error, Expected, NewEvent, Position, Query, Start, Store, Stream};

use crate::crash::server::Server;

async fn append(store: &Store, events: i64) {
    let events = (0..events).map(|number| NewEvent::json("Happened", &number).unwrap());
    store.append(&Stream::new("thing", "a").unwrap(), Expected::Any, events).await.unwrap();
}

async fn head(store: &Store) -> i64 {
    store.heads().await.unwrap()[0].1.get()
}

/// Waits until the standby has come to a position.
async fn until(standby: &Store, position: i64) {
    let start = Instant::now();
    while head(standby).await < position {
        assert!(start.elapsed() < Duration::from_mins(1), "the standby did not come to position {position}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn execute(store: &Store, sql: &str) {
    store.backend().session().await.unwrap().execute(sql).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_ahead_of_a_replica_is_told_that_it_is_behind_and_goes_on_later() {
    let Some(server) = Server::new() else { return };
    let primary = Store::connect(&format!("{}&migrate=auto", server.url("replicated"))).await.unwrap();
    append(&primary, 3).await;
    let follower = server.standby();
    let standby = Store::connect(&follower.url("replicated")).await.unwrap();
    until(&standby, 3).await;
    execute(&standby, "SELECT pg_wal_replay_pause()").await;
    append(&primary, 2).await;

    let mut reader = primary.subscribe(Start::Beginning, Query::new()).await.unwrap();
    while reader.try_next().await.unwrap().is_some() {}
    let checkpoint = reader.checkpoint().await.unwrap();
    let behind = standby.subscribe(Start::Checkpoint(checkpoint.clone()), Query::new()).await.unwrap_err();
    assert!(
        matches!(behind, Error::Behind { position, head, .. } if (position, head) == (Position::new(5), Position::new(3))),
        "{behind:?}"
    );
    assert!(behind.is_retryable());
    let mut ahead = standby.subscribe(Start::After(Position::new(4)), Query::new()).await.unwrap();
    assert!(matches!(ahead.try_next().await.unwrap_err(), Error::Behind { .. }));

    execute(&standby, "SELECT pg_wal_replay_resume()").await;
    until(&standby, 5).await;
    let mut reader = standby.subscribe(Start::Checkpoint(checkpoint), Query::new()).await.unwrap();
    assert!(reader.try_next().await.unwrap().is_none());
    // No standby can listen: it is looked at.
    append(&primary, 1).await;
    let next = tokio::time::timeout(Duration::from_mins(1), reader.next()).await.unwrap().unwrap();
    assert_eq!(next.position, Position::new(6));
    assert_eq!(ahead.next().await.unwrap().position, Position::new(5));

    let beyond = primary.subscribe(Start::After(Position::new(9)), Query::new()).await.unwrap().try_next().await;
    assert!(matches!(beyond.unwrap_err(), Error::LogDiverged { .. }), "the primary is never behind");
    standby.close().await;
    primary.close().await;
    drop(follower);
}
