//! The children: a writer, a member of a group, a projector; each works until it is killed.

use std::time::Duration;

use annals::{Append, Expected, NewEvent, Projection, ProjectionResult, RecordedEvent, Store, Stream, Transaction};
use async_trait::async_trait;

use crate::crash::random;

/// The variables that make the test below a child: the database, what it is, whether it acknowledges early.
pub const URL: &str = "ANNALS_SOAK_URL";
pub const ROLE: &str = "ANNALS_SOAK_ROLE";
pub const EARLY: &str = "ANNALS_SOAK_EARLY";
/// Its name.
pub const NAME: &str = "soak::child::works_until_it_is_killed";

/// What a child that has found a fault prints first.
pub const FAULT: &str = "FAULT ";
/// The subscription of the projection.
pub const PROJECTION: &str = "totals";
/// After how long others take over.
pub const LEASE: Duration = Duration::from_millis(700);
const STREAMS: usize = 40;
/// Between two tries while the server is down.
const PAUSE: Duration = Duration::from_millis(20);

#[test]
#[ignore = "it is the process that the other tests start and kill"]
fn works_until_it_is_killed() {
    let Ok(url) = std::env::var(URL) else { return };
    let (role, early) = (std::env::var(ROLE).unwrap(), std::env::var(EARLY).is_ok());
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let store = open(&url).await;
        match role.as_str() {
            "writer" => tokio::join!(write(&store), write_slowly(&store)).0,
            "projector" => project(&store).await,
            group => handle(&store, group, early).await,
        }
    });
}

async fn open(url: &str) -> Store {
    loop {
        match Store::connect(url).await {
            Ok(store) => return store,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

fn events(count: usize) -> Vec<NewEvent> {
    (0..count).map(|number| NewEvent::json("Happened", &number).unwrap()).collect()
}

fn stream() -> Stream {
    Stream::new("thing", format!("thing-{}", random(STREAMS))).unwrap()
}

async fn write(store: &Store) {
    loop {
        if store.append(&stream(), Expected::Any, events(1 + random(3))).await.is_err() {
            tokio::time::sleep(PAUSE).await;
        }
        tokio::time::sleep(Duration::from_micros(1_000 + random(4_000) as u64)).await;
    }
}

/// Holds the lane's lock for a while with an append that is not committed yet.
async fn write_slowly(store: &Store) {
    loop {
        tokio::time::sleep(Duration::from_millis(700)).await;
        // What fails is rolled back, and tried again.
        let _ = slow_append(store).await;
    }
}

async fn slow_append(store: &Store) -> annals::Result<()> {
    let mut transaction = store.begin().await?;
    transaction.append(Append::new().to(stream(), Expected::Any, events(2))).await?;
    tokio::time::sleep(Duration::from_millis(100)).await;
    if random(4) > 0 { transaction.commit().await } else { Ok(()) }
}

async fn handle(store: &Store, group: &str, early: bool) {
    let describe = || {
        let group = store.group(group).lease(LEASE).save_after(20, Duration::from_millis(50));
        group.attempts(u32::MAX).backoff(Duration::from_millis(2), Duration::from_millis(20))
    };
    let member = loop {
        match describe().join().await {
            Ok(member) => break member,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    };
    loop {
        let Ok(delivery) = member.next().await else {
            tokio::time::sleep(PAUSE).await;
            continue;
        };
        if random(40) == 0 {
            let _ = member.fail(delivery, "by chance");
            continue;
        }
        let event = delivery.event().clone();
        if early {
            let _ = member.ack(delivery);
            let _ = member.save().await;
            note(store, group, &event).await;
        } else {
            note(store, group, &event).await;
            // A share that was lost meanwhile is somebody else's, who does it again.
            let _ = member.ack(delivery);
        }
    }
}

/// Notes that an event was handled, in the order in which that happens.
async fn note(store: &Store, group: &str, event: &RecordedEvent) {
    let noted = async || {
        let mut transaction = store.begin().await?;
        let values = [group.into(), (&event.aggregate_id).into(), event.aggregate_version.get().into()];
        let sql = "INSERT INTO effects (reader, stream, version) VALUES (?, ?, ?)";
        transaction.execute(sql, &values).await?;
        transaction.commit().await
    };
    while noted().await.is_err() {
        tokio::time::sleep(PAUSE).await;
    }
}

struct Totals;

#[async_trait]
impl Projection for Totals {
    fn name(&self) -> &str {
        PROJECTION
    }

    async fn create(&mut self, _: &mut Transaction) -> ProjectionResult {
        Ok(())
    }

    async fn apply(&mut self, transaction: &mut Transaction, event: &RecordedEvent) -> ProjectionResult {
        let version = event.aggregate_version.get();
        let values = [version.into(), (&event.aggregate_id).into(), (version - 1).into()];
        let update = "UPDATE totals SET events = events + 1, version = ? WHERE stream = ? AND version = ?";
        if transaction.execute(update, &values).await? == 1 {
            return Ok(());
        }
        if version != 1 {
            return Err(format!("{} is not at version {}", event.aggregate_id, version - 1).into());
        }
        let insert = "INSERT INTO totals (stream, events, version) VALUES (?, 1, 1)";
        transaction.execute(insert, &[(&event.aggregate_id).into()]).await?;
        Ok(())
    }

    async fn clear(&mut self, transaction: &mut Transaction) -> ProjectionResult {
        transaction.execute("DELETE FROM totals", &[]).await?;
        Ok(())
    }
}

async fn project(store: &Store) {
    let mut projector = store.project(Totals).lease(LEASE);
    loop {
        if let Err(error) = projector.run().await {
            if matches!(error, annals::Error::Projection { .. }) && !error.is_retryable() {
                println!("{FAULT}{}", error.report());
            }
            tokio::time::sleep(PAUSE).await;
        }
    }
}
