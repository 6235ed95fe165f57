//! Races about what is not a version: a stream's life and metadata, commands, snapshots, topics.

use uuid::Uuid;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq};
use super::harness::Fixture;
use super::together::{close, one_winner, sound_log, stores, together};
use crate::append::Append;
use crate::command::Command;
use crate::error::{Error, Result};
use crate::event::{NewEvent, marker};
use crate::json::Json;
use crate::position::Version;
use crate::snapshot::{NewSnapshot, SnapshotQuery};
use crate::store::Store;
use crate::stream::Expected;

pub(super) const CASES: &[Case] = cases![
    an_append_and_a_delete_that_race_for_a_version_do_not_both_win: "3.2", "3.4", "8.1";
    an_append_and_a_delete_on_2_stores_do_not_both_win: "3.2", "3.10", "8.1" if Durable;
    appends_that_race_with_a_delete_land_before_it_or_not_at_all: "3.4", "8.1";
    one_of_16_racers_deletes_a_stream: "3.10", "8.1";
    one_of_16_racers_undeletes_a_stream: "3.10", "8.1";
    an_undelete_and_a_reuse_that_race_do_not_both_win: "3.10", "8.1", "8.3";
    one_of_16_racers_with_the_same_command_writes: "4.1", "4.2";
    one_of_64_racers_with_the_same_command_writes: "4.1", "4.2";
    one_of_64_racers_on_4_stores_with_the_same_command_writes: "4.1", "4.2", "3.10" if Durable;
    racers_with_one_command_for_two_requests_carry_out_one: "4.1", "4.2";
    one_of_16_racers_records_a_command_without_events: "4.2", "4.3";
    one_of_16_racers_sets_the_metadata_of_a_version: "8.4";
    racers_who_set_metadata_of_any_version_all_do: "8.4";
    one_of_16_racers_on_4_stores_sets_the_metadata_of_a_version: "3.10", "8.4" if Durable;
    snapshots_that_race_never_move_backwards: "7.1";
    snapshots_that_race_on_4_stores_never_move_backwards: "7.1" if Durable;
    racers_who_create_a_topic_get_the_same_one: "1.1";
    racers_on_4_stores_who_create_a_topic_get_the_same_one: "1.1" if Durable;
    topics_that_are_created_at_once_have_lanes_of_their_own: "1.1", "1.2";
];

/// Lets an append and a delete race for one version of a stream.
async fn race_append_and_delete(f: &Fixture, stores: &[Store]) -> Verdict {
    for round in 0..15 {
        let stream = f.stream(&format!("s{round}"))?;
        f.store.append(&stream, Expected::NoStream, f.events(1)?).await?;
        let answers = together(2, |number| {
            let (store, stream) = (stores[number % stores.len()].clone(), stream.clone());
            async move {
                match number {
                    0 => store.append(&stream, Expected::exact(1), [NewEvent::json("Went on", &1)?]).await,
                    _ => store.delete(&stream, Expected::exact(1)).await,
                }
            }
        })
        .await?;
        let told = |error: &Error| match error {
            Error::Conflict { actual, .. } => actual.get() == 2,
            Error::StreamDeleted { .. } => true,
            _ => false,
        };
        let (winner, outcome) = one_winner(answers, told)?;
        ensure_eq!(outcome.version(), Version::new(2), "version that the winner got");
        ensure_eq!(f.store.exists(&stream).await?, winner == 0, "whether the stream still shows");
    }
    ensure_eq!(sound_log(&f.store).await?.len(), 30, "events of all rounds");
    Ok(())
}

async fn an_append_and_a_delete_that_race_for_a_version_do_not_both_win(f: &Fixture) -> Verdict {
    race_append_and_delete(f, std::slice::from_ref(&f.store)).await
}

async fn an_append_and_a_delete_on_2_stores_do_not_both_win(f: &Fixture) -> Verdict {
    let stores = stores(f, 2).await?;
    race_append_and_delete(f, &stores).await?;
    close(stores).await;
    Ok(())
}

async fn appends_that_race_with_a_delete_land_before_it_or_not_at_all(f: &Fixture) -> Verdict {
    for round in 0..10 {
        let stream = f.stream(&format!("s{round}"))?;
        f.store.append(&stream, Expected::NoStream, f.events(1)?).await?;
        let answers = together(16, |number| {
            let (store, stream) = (f.store.clone(), stream.clone());
            async move {
                match number {
                    9 => store.delete(&stream, Expected::Any).await,
                    _ => store.append(&stream, Expected::Any, [NewEvent::json("Landed", &number)?]).await,
                }
            }
        })
        .await?;
        let mut deleted_at = Version::ZERO;
        let mut landed = Vec::new();
        for (number, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok(outcome) if number == 9 => deleted_at = outcome.version(),
                Ok(outcome) => landed.push(outcome.version()),
                Err(Error::StreamDeleted { .. }) if number != 9 => {}
                Err(error) => return Err(error.into()),
            }
        }
        ensure!(
            landed.iter().all(|version| *version < deleted_at),
            "{landed:?} landed after the delete at {deleted_at}"
        );
        let last = f.store.stream(&stream).await?.map(|info| info.version);
        ensure_eq!(last, Some(deleted_at), "version of the deleted stream");
    }
    sound_log(&f.store).await.map(drop)
}

async fn one_of_16_racers_deletes_a_stream(f: &Fixture) -> Verdict {
    for round in 0..10 {
        let stream = f.stream(&format!("s{round}"))?;
        f.store.append(&stream, Expected::NoStream, f.events(1)?).await?;
        let answers = together(16, |_| {
            let (store, stream) = (f.store.clone(), stream.clone());
            async move { store.delete(&stream, Expected::Any).await }
        })
        .await?;
        one_winner(answers, |error| matches!(error, Error::StreamDeleted { .. }))?;
    }
    let markers = sound_log(&f.store).await?.iter().filter(|event| event.event_type == marker::DELETED).count();
    ensure_eq!(markers, 10, "markers of deletion");
    Ok(())
}

async fn one_of_16_racers_undeletes_a_stream(f: &Fixture) -> Verdict {
    for round in 0..10 {
        let stream = f.stream(&format!("s{round}"))?;
        f.store.append(&stream, Expected::NoStream, f.events(1)?).await?;
        f.store.delete(&stream, Expected::Any).await?;
        let answers = together(16, |_| {
            let (store, stream) = (f.store.clone(), stream.clone());
            async move { store.undelete(&stream, Expected::Any).await }
        })
        .await?;
        one_winner(answers, |error| matches!(error, Error::StreamNotDeleted { .. }))?;
        ensure!(f.store.exists(&stream).await?, "the stream does not show");
    }
    ensure_eq!(sound_log(&f.store).await?.len(), 30, "events of all rounds");
    Ok(())
}

async fn an_undelete_and_a_reuse_that_race_do_not_both_win(f: &Fixture) -> Verdict {
    for round in 0..15 {
        let stream = f.stream(&format!("s{round}"))?;
        f.store.append(&stream, Expected::NoStream, f.events(2)?).await?;
        f.store.delete(&stream, Expected::Any).await?;
        let answers = together(2, |number| {
            let (store, stream) = (f.store.clone(), stream.clone());
            async move {
                match number {
                    0 => store.undelete(&stream, Expected::Any).await,
                    _ => store.reuse(&stream, Expected::Any).await,
                }
            }
        })
        .await?;
        let (winner, _) = one_winner(answers, |error| matches!(error, Error::StreamNotDeleted { .. }))?;
        let shown = if winner == 0 { 4 } else { 1 };
        ensure_eq!(f.store.count(&stream).await?, shown, "events that show after racer {winner} won");
    }
    Ok(())
}

/// Lets racers repeat one command, round after round: one writes, and the others get its outcome.
async fn race_with_a_command(stores: &[Store], ways: usize, rounds: usize) -> Verdict {
    let stream = crate::stream::Stream::new("thing", "a")?;
    for round in 1..=rounds {
        let id = Uuid::new_v4();
        let answers = together(ways, |number| {
            let (store, stream) = (stores[number % stores.len()].clone(), stream.clone());
            async move {
                let events = [NewEvent::json("Done", &1)?, NewEvent::json("Done", &2)?];
                store.commit(Append::new().to(stream, Expected::Any, events).command(Command::new(id))).await
            }
        })
        .await?;
        let outcomes = answers.into_iter().collect::<Result<Vec<_>>>()?;
        ensure_eq!(outcomes.iter().filter(|outcome| !outcome.duplicate).count(), 1, "racers who wrote");
        for outcome in &outcomes {
            ensure_eq!(outcome.positions, outcomes[0].positions, "positions that each racer was told");
            ensure_eq!(outcome.versions, outcomes[0].versions, "versions that each racer was told");
        }
        ensure_eq!(sound_log(&stores[0]).await?.len(), 2 * round, "events after round {round}");
    }
    Ok(())
}

async fn one_of_16_racers_with_the_same_command_writes(f: &Fixture) -> Verdict {
    race_with_a_command(std::slice::from_ref(&f.store), 16, 10).await
}

async fn one_of_64_racers_with_the_same_command_writes(f: &Fixture) -> Verdict {
    race_with_a_command(std::slice::from_ref(&f.store), 64, 5).await
}

async fn one_of_64_racers_on_4_stores_with_the_same_command_writes(f: &Fixture) -> Verdict {
    let stores = stores(f, 4).await?;
    race_with_a_command(&stores, 64, 5).await?;
    close(stores).await;
    Ok(())
}

async fn racers_with_one_command_for_two_requests_carry_out_one(f: &Fixture) -> Verdict {
    let stream = f.stream("a")?;
    for round in 1..=10 {
        let id = Uuid::new_v4();
        let answers = together(16, |number| {
            let (store, stream) = (f.store.clone(), stream.clone());
            async move {
                let event = NewEvent::json("Done", &(number % 2))?;
                store.commit(Append::new().to(stream, Expected::Any, [event]).command(Command::new(id))).await
            }
        })
        .await?;
        let log = sound_log(&f.store).await?;
        ensure_eq!(log.len(), round, "events after round {round}");
        let stored = log[round - 1].payload.to::<usize>()?;
        for (number, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok(_) => ensure_eq!(number % 2, stored, "request of a racer who was told of success"),
                Err(Error::CommandReused { command_id }) => {
                    ensure_eq!(command_id, id, "command that was refused");
                    ensure!(
                        number % 2 != stored,
                        "racer {number} repeated the request that is stored, and was refused"
                    );
                }
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

async fn one_of_16_racers_records_a_command_without_events(f: &Fixture) -> Verdict {
    for _ in 0..10 {
        let id = Uuid::new_v4();
        let answers = together(16, |_| {
            let store = f.store.clone();
            async move { store.record_command(Command::new(id)).await }
        })
        .await?;
        let outcomes = answers.into_iter().collect::<Result<Vec<_>>>()?;
        ensure_eq!(outcomes.iter().filter(|outcome| !outcome.duplicate).count(), 1, "racers who recorded it");
        ensure!(f.store.command(id).await?.is_some(), "the command is missing");
    }
    Ok(())
}

/// Lets 16 racers set the metadata of one version, round after round.
async fn race_for_metadata(f: &Fixture, stores: &[Store]) -> Verdict {
    let stream = f.stream("a")?;
    f.store.append(&stream, Expected::NoStream, f.events(1)?).await?;
    for round in 0..8 {
        let answers = together(16, |number| {
            let (store, stream) = (stores[number % stores.len()].clone(), stream.clone());
            async move { store.set_metadata(&stream, Some(round), Json::parse(format!("{{\"by\": {number}}}"))?).await }
        })
        .await?;
        let told = |error: &Error| matches!(error, Error::MetadataConflict { expected, actual, .. } if *expected == round && *actual == round + 1);
        let (number, version) = one_winner(answers, told)?;
        ensure_eq!(version, round + 1, "version that the winner got");
        let metadata = f.store.stream(&stream).await?.and_then(|info| info.metadata);
        let metadata = metadata.ok_or_else(|| Failure("the stream has no metadata".to_owned()))?;
        ensure_eq!(metadata.as_str(), format!("{{\"by\": {number}}}"), "metadata that is stored");
    }
    Ok(())
}

async fn one_of_16_racers_sets_the_metadata_of_a_version(f: &Fixture) -> Verdict {
    race_for_metadata(f, std::slice::from_ref(&f.store)).await
}

async fn one_of_16_racers_on_4_stores_sets_the_metadata_of_a_version(f: &Fixture) -> Verdict {
    let stores = stores(f, 4).await?;
    race_for_metadata(f, &stores).await?;
    close(stores).await;
    Ok(())
}

async fn racers_who_set_metadata_of_any_version_all_do(f: &Fixture) -> Verdict {
    let stream = f.stream("a")?;
    f.store.append(&stream, Expected::NoStream, f.events(1)?).await?;
    let answers = together(16, |number| {
        let (store, stream) = (f.store.clone(), stream.clone());
        async move { store.set_metadata(&stream, None, Json::parse(format!("{{\"by\": {number}}}"))?).await }
    })
    .await?;
    let mut versions = answers.into_iter().collect::<Result<Vec<_>>>()?;
    versions.sort_unstable();
    ensure_eq!(versions, (1..=16).collect::<Vec<i64>>(), "versions of the metadata");
    Ok(())
}

/// Lets 32 racers save snapshots of different versions of a stream, and looks at the newest all the while.
async fn race_with_snapshots(f: &Fixture, stores: &[Store]) -> Verdict {
    let stream = f.stream("a")?;
    f.store.append(&stream, Expected::NoStream, f.events(32)?).await?;
    let answers = together(33, |number| {
        let (store, stream) = (stores[number % stores.len()].clone(), stream.clone());
        async move {
            if number == 32 {
                let mut seen = Vec::new();
                while seen.len() < 50 {
                    let newest = store.snapshot(&stream, SnapshotQuery::default()).await?;
                    seen.push(newest.map_or(Version::ZERO, |snapshot| snapshot.aggregate_version));
                    tokio::task::yield_now().await;
                }
                return Ok::<_, Error>(seen);
            }
            let version = Version::new(i64::try_from((number * 13) % 32 + 1).unwrap_or_default());
            let saved = store.save_snapshot(&NewSnapshot::new(stream, version, Json::from_value(&version)?)).await?;
            Ok(if saved { vec![version] } else { Vec::new() })
        }
    })
    .await?;
    let mut saved = answers.into_iter().collect::<Result<Vec<_>>>()?;
    let seen = saved.pop().unwrap_or_default();
    ensure!(seen.is_sorted(), "the newest snapshot moved backwards: {seen:?}");
    let newest = f.store.snapshot(&stream, SnapshotQuery::default()).await?.map(|found| found.aggregate_version);
    ensure_eq!(newest, Some(Version::new(32)), "version of the newest snapshot");
    for version in saved.concat() {
        let query = SnapshotQuery { at_or_before: Some(version), ..SnapshotQuery::default() };
        let found = f.store.snapshot(&stream, query).await?.map(|snapshot| snapshot.aggregate_version);
        ensure_eq!(found, Some(version), "version of a snapshot that was acknowledged");
    }
    Ok(())
}

async fn snapshots_that_race_never_move_backwards(f: &Fixture) -> Verdict {
    race_with_snapshots(f, std::slice::from_ref(&f.store)).await
}

async fn snapshots_that_race_on_4_stores_never_move_backwards(f: &Fixture) -> Verdict {
    let stores = stores(f, 4).await?;
    race_with_snapshots(f, &stores).await?;
    close(stores).await;
    Ok(())
}

/// Lets 16 racers create the same topic.
async fn race_for_a_topic(stores: &[Store]) -> Verdict {
    for round in 0..5 {
        let name = format!("topic-{round}");
        let answers = together(16, |number| {
            let (store, name) = (stores[number % stores.len()].clone(), name.clone());
            async move { store.backend().create_topic(&name, 1).await }
        })
        .await?;
        let topics = answers.into_iter().collect::<Result<Vec<_>>>()?;
        ensure!(topics.iter().all(|topic| *topic == topics[0]), "the racers got different topics: {topics:?}");
        let known = stores[0].backend().topics().await?;
        ensure_eq!(known.iter().filter(|topic| topic.name == name).count(), 1, "topics of the name");
        ensure!(known.contains(&topics[0]), "the topic that the racers got is not listed");
    }
    Ok(())
}

async fn racers_who_create_a_topic_get_the_same_one(f: &Fixture) -> Verdict {
    race_for_a_topic(std::slice::from_ref(&f.store)).await
}

async fn racers_on_4_stores_who_create_a_topic_get_the_same_one(f: &Fixture) -> Verdict {
    let stores = stores(f, 4).await?;
    race_for_a_topic(&stores).await?;
    close(stores).await;
    Ok(())
}

async fn topics_that_are_created_at_once_have_lanes_of_their_own(f: &Fixture) -> Verdict {
    let answers = together(8, |number| {
        let store = f.store.clone();
        async move { store.backend().create_topic(&format!("topic-{number}"), 2).await }
    })
    .await?;
    let topics = answers.into_iter().collect::<Result<Vec<_>>>()?;
    let mut lanes: Vec<_> = topics.iter().flat_map(|topic| topic.lanes.clone()).chain([f.store.lane("a")]).collect();
    lanes.sort_unstable();
    lanes.dedup();
    ensure_eq!(lanes.len(), 17, "lanes of eight topics of two lanes, and of the default one");
    Ok(())
}
