//! Contract section 3.13: a caller that goes away disturbs nobody, and its request is stored whole or not at all.

use std::pin::pin;

use futures::poll;
use uuid::Uuid;

use super::case::{Case, Verdict, cases, ensure, ensure_eq};
use super::harness::Fixture;
use super::together::{one_winner, sound_log, together};
use crate::append::Append;
use crate::command::Command;
use crate::error::{Error, Result};
use crate::event::NewEvent;
use crate::json::Json;
use crate::position::{Position, Version};
use crate::read::Query;
use crate::snapshot::{NewSnapshot, SnapshotQuery};
use crate::stream::{Expected, Stream};

pub(super) const CASES: &[Case] = cases![
    a_dropped_append_is_stored_whole_or_not_at_all: "3.1", "3.13";
    the_append_after_a_dropped_one_is_not_disturbed: "3.13";
    a_dropped_append_leaves_a_version_that_can_be_told: "3.2", "3.13";
    a_dropped_command_can_be_repeated: "3.13", "4.1";
    dropped_appends_do_not_disturb_those_beside_them: "3.13";
    dropped_reads_leave_the_connections_usable: "3.13";
    dropped_reads_of_a_small_pool_leave_it_whole: "3.13" if Durable;
    a_dropped_deletion_is_carried_out_whole_or_not_at_all: "3.13", "8.1" if OneLane;
    a_dropped_write_of_metadata_is_carried_out_whole_or_not_at_all: "3.13", "8.4";
    a_dropped_snapshot_is_saved_whole_or_not_at_all: "3.13", "7.1";
    a_task_that_is_aborted_does_not_hold_the_lock: "3.10", "3.13";
];

/// Polls a future a number of times and drops it; returns what it answered, if it did.
async fn polled<T>(times: usize, future: impl Future<Output = T>) -> Option<T> {
    let mut future = pin!(future);
    for _ in 0..times {
        if let std::task::Poll::Ready(answer) = poll!(&mut future) {
            return Some(answer);
        }
        tokio::task::yield_now().await;
    }
    None
}

/// Waits until everything that was begun is committed: requests of a store's writer are answered in order.
async fn settle(f: &Fixture) -> Result<()> {
    f.store.append(&f.stream("settled")?, Expected::Any, f.events(1)?).await.map(drop)
}

async fn a_dropped_append_is_stored_whole_or_not_at_all(f: &Fixture) -> Verdict {
    for times in 0..40 {
        let stream = f.stream(&format!("{{x}}{times}"))?;
        let other = f.stream(&format!("{{x}}{times} too"))?;
        let append = Append::new().to(stream, Expected::Any, f.events(20)?).to(other, Expected::Any, f.events(5)?);
        polled(times, f.store.commit(append)).await.transpose()?;
    }
    settle(f).await?;
    for times in 0..40 {
        let counts = (f.store.count(format!("{{x}}{times}")).await?, f.store.count(format!("{{x}}{times} too")).await?);
        ensure!([(0, 0), (20, 5)].contains(&counts), "{counts:?} events of a request of 20 and 5 were stored");
    }
    sound_log(&f.store).await.map(drop)
}

async fn the_append_after_a_dropped_one_is_not_disturbed(f: &Fixture) -> Verdict {
    for round in 0..20 {
        polled(3, f.store.append(&f.stream("dropped")?, Expected::Any, f.events(50)?)).await.transpose()?;
        let outcome = f.store.append(&f.stream("kept")?, Expected::exact(round), f.events(1)?).await?;
        ensure_eq!(outcome.version(), Version::new(round + 1), "version of the append after a dropped one");
    }
    let log = sound_log(&f.store).await?;
    let dropped = log.iter().filter(|event| event.aggregate_id == "dropped").count();
    ensure_eq!(dropped % 50, 0, "events of requests of 50 beyond whole ones");
    Ok(())
}

async fn a_dropped_append_leaves_a_version_that_can_be_told(f: &Fixture) -> Verdict {
    let stream = f.stream("a")?;
    let mut version = 0;
    for times in 0..30 {
        polled(times % 7, f.store.append(&stream, Expected::exact(version), f.events(1)?)).await.transpose()?;
        version = match f.store.append(&stream, Expected::exact(version), f.events(1)?).await {
            Ok(outcome) => outcome.version().get(),
            Err(Error::Conflict { actual, .. }) => {
                ensure_eq!(actual.get(), version + 1, "version after a dropped append");
                actual.get()
            }
            Err(error) => return Err(error.into()),
        };
        ensure_eq!(f.store.version(&stream).await?.get(), version, "version that is read");
    }
    sound_log(&f.store).await.map(drop)
}

async fn a_dropped_command_can_be_repeated(f: &Fixture) -> Verdict {
    for times in 0..30 {
        let stream = f.stream(&format!("s{times}"))?;
        let append =
            Append::new().to(stream.clone(), Expected::NoStream, f.events(3)?).command(Command::new(Uuid::new_v4()));
        polled(times % 9, f.store.commit(append.clone())).await.transpose()?;
        let outcome = f.store.commit(append).await?;
        ensure_eq!(outcome.version_of(stream.id()), Some(Version::new(3)), "version that the repetition was told");
        ensure_eq!(f.store.count(&stream).await?, 3, "events of a command that was repeated after it was dropped");
    }
    ensure_eq!(sound_log(&f.store).await?.len(), 90, "events");
    Ok(())
}

async fn dropped_appends_do_not_disturb_those_beside_them(f: &Fixture) -> Verdict {
    let answers = together(32, |number| {
        let store = f.store.clone();
        async move {
            let stream = Stream::new("thing", format!("s{number}"))?;
            for round in 0..5 {
                let append = store.append(&stream, Expected::Any, [NewEvent::json("Happened", &round)?]);
                if number % 2 == 0 {
                    append.await?;
                } else {
                    polled(number % 5, append).await.transpose()?;
                }
            }
            Ok::<_, Error>(())
        }
    })
    .await?;
    answers.into_iter().collect::<Result<()>>()?;
    settle(f).await?;
    for number in (0..32).step_by(2) {
        ensure_eq!(f.store.count(format!("s{number}")).await?, 5, "events of a stream whose appends were awaited");
    }
    sound_log(&f.store).await.map(drop)
}

async fn dropped_reads_leave_the_connections_usable(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(500)?).await?;
    for times in 0..60 {
        polled(times % 6, f.store.query(Query::new())).await.transpose()?;
        polled(times % 4, f.store.version("a")).await.transpose()?;
    }
    for _ in 0..5 {
        ensure_eq!(f.store.query(Query::new()).await?.len(), 500, "events after reads that were dropped");
        ensure_eq!(f.store.version("a").await?, Version::new(500), "version after reads that were dropped");
    }
    Ok(())
}

async fn dropped_reads_of_a_small_pool_leave_it_whole(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(300)?).await?;
    let store = f.database.open(&[("pool_max", "2")]).await?;
    for times in 0..40 {
        polled(times % 6, store.page(store.lane("a"), &Query::new(), 300)).await.transpose()?;
    }
    let answers = together(6, |_| {
        let store = store.clone();
        async move { store.query(Query::new()).await }
    })
    .await?;
    for events in answers {
        ensure_eq!(events?.len(), 300, "events that a read of the small pool returned");
    }
    let outcome = store.append(&f.stream("a")?, Expected::exact(300), f.events(1)?).await?;
    ensure_eq!(outcome.position(), Position::new(301), "position of an append through the small pool");
    store.close().await;
    Ok(())
}

async fn a_dropped_deletion_is_carried_out_whole_or_not_at_all(f: &Fixture) -> Verdict {
    for times in 0..20 {
        let stream = f.stream(&format!("s{times}"))?;
        f.store.append(&stream, Expected::NoStream, f.events(2)?).await?;
        polled(times % 6, f.store.delete(&stream, Expected::exact(2))).await.transpose()?;
        settle(f).await?;
        let deleted = !f.store.exists(&stream).await?;
        let info = f.store.stream(&stream).await?.map(|info| info.version.get());
        ensure_eq!(info, Some(if deleted { 3 } else { 2 }), "version of a stream that is deleted: {deleted}");
    }
    sound_log(&f.store).await.map(drop)
}

async fn a_dropped_write_of_metadata_is_carried_out_whole_or_not_at_all(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(1)?).await?;
    let mut landed = 0;
    for (version, times) in (0..24).zip((0..6).cycle()) {
        let (dropped, later) = (Json::parse("{\"of\":\"dropped\"}")?, Json::parse("{\"of\":\"later\"}")?);
        polled(times, f.store.set_metadata("a", Some(version), dropped.clone())).await.transpose()?;
        // Both expect one version, so that only one of them is ever carried out.
        let stored = match f.store.set_metadata("a", Some(version), later.clone()).await {
            Ok(_) => later,
            Err(Error::MetadataConflict { .. }) => dropped,
            Err(error) => return Err(error.into()),
        };
        landed += usize::from(stored.as_str().contains("dropped"));
        let row = f.store.stream("a").await?.map(|stream| (stream.metadata_version, stream.metadata));
        ensure_eq!(row, Some((version + 1, Some(stored))), "version and text of the metadata");
    }
    ensure!(landed < 24, "no write was dropped before it was carried out: the case proves nothing");
    Ok(())
}

async fn a_dropped_snapshot_is_saved_whole_or_not_at_all(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(20)?).await?;
    for number in 1..=20 {
        let snapshot = NewSnapshot::new(f.stream("a")?, Version::new(number), Json::from_value(&number)?);
        polled(usize::try_from(number % 5).unwrap_or_default(), f.store.save_snapshot(&snapshot)).await.transpose()?;
        if let Some(found) = f.store.snapshot("a", SnapshotQuery::default()).await? {
            let version = found.aggregate_version.get();
            ensure!(version <= number, "a snapshot of version {version} that nobody saved");
            ensure_eq!(found.state.to::<i64>()?, version, "state of the snapshot of version {version}");
        }
    }
    let last = NewSnapshot::new(f.stream("a")?, Version::new(20), Json::parse("20")?);
    f.store.save_snapshot(&last).await?;
    let found = f.store.snapshot("a", SnapshotQuery::default()).await?.map(|found| found.aggregate_version.get());
    ensure_eq!(found, Some(20), "version of the last snapshot");
    Ok(())
}

async fn a_task_that_is_aborted_does_not_hold_the_lock(f: &Fixture) -> Verdict {
    for round in 0..10 {
        let tasks: Vec<_> = (0..8)
            .map(|number| {
                let store = f.store.clone();
                tokio::spawn(async move {
                    let stream = Stream::new("thing", format!("s{number}"))?;
                    let events = (0..100).map(|n| NewEvent::json("Happened", &n)).collect::<Result<Vec<_>>>()?;
                    store.append(&stream, Expected::Any, events).await
                })
            })
            .collect();
        for _ in 0..round {
            tokio::task::yield_now().await;
        }
        tasks.iter().for_each(tokio::task::JoinHandle::abort);
        let answers = together(2, |_| {
            let (store, stream) = (f.store.clone(), f.stream("raced"));
            async move { store.append(&stream?, Expected::exact(round), [NewEvent::json("Won", &round)?]).await }
        })
        .await?;
        let (_, outcome) = one_winner(answers, |error| matches!(error, Error::Conflict { .. }))?;
        ensure_eq!(outcome.version().get(), round + 1, "version of the append after tasks that were aborted");
    }
    let log = sound_log(&f.store).await?;
    ensure_eq!((log.len() - 10) % 100, 0, "events of requests of 100 beyond whole ones");
    Ok(())
}
