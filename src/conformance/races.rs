//! Contract sections 3.2 to 3.4: of those who race for a version, one wins, and the others are told why they lost.

use uuid::Uuid;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq};
use super::harness::Fixture;
use super::together::{close, events_of, one_winner, sound_log, stores, together};
use crate::append::Append;
use crate::error::{Error, Result};
use crate::event::NewEvent;
use crate::position::Version;
use crate::read::Query;
use crate::store::Store;
use crate::stream::{Expected, Stream};

pub(super) const CASES: &[Case] = cases![
    one_of_2_racers_for_a_version_wins: "3.2", "3.3";
    one_of_16_racers_for_a_version_wins: "3.2", "3.3";
    one_of_64_racers_for_a_version_wins: "3.2", "3.3";
    one_of_2_stores_racing_for_a_version_wins: "3.2", "3.3", "3.10" if Durable;
    one_of_16_racers_on_4_stores_wins: "3.2", "3.3", "3.10" if Durable;
    one_of_64_racers_on_4_stores_wins: "3.2", "3.3", "3.10" if Durable;
    one_of_16_racers_creates_a_stream: "3.2", "3.3";
    one_of_16_racers_on_4_stores_creates_a_stream: "3.2", "3.3", "3.10" if Durable;
    racers_that_expect_any_version_all_land: "3.4";
    racers_on_4_stores_that_expect_any_version_all_land: "3.4", "3.10" if Durable;
    racers_that_expect_a_stream_to_exist_land_once_it_does: "3.2", "3.3";
    racers_who_create_a_stream_of_two_categories_leave_it_with_one: "1.3", "3.10";
    racers_who_write_two_streams_crosswise_do_not_block_each_other: "3.6", "3.10";
    racers_on_2_stores_who_write_two_streams_crosswise_do_not_block_each_other: "3.6", "3.10" if Durable;
    racers_who_guard_each_others_streams_do_not_both_win: "3.6";
    racers_on_2_stores_who_guard_each_others_streams_do_not_both_win: "3.6", "3.10" if Durable;
    requests_that_race_are_not_interleaved: "3.1";
    requests_that_race_on_4_stores_are_not_interleaved: "3.1", "3.10" if Durable;
    one_of_16_racers_with_the_same_event_id_lands: "4.4" if OneLane;
    one_of_16_racers_on_4_stores_with_the_same_event_id_lands: "4.4", "3.10" if Durable, OneLane;
];

/// Lets racers append to one version of a stream, round after round; `number` racers share the stores.
async fn race_for_a_version(stores: &[Store], ways: usize, rounds: i64) -> Verdict {
    let stream = Stream::new("thing", "raced")?;
    for round in 0..rounds {
        let answers = together(ways, |number| {
            let (store, stream) = (stores[number % stores.len()].clone(), stream.clone());
            async move { store.append(&stream, Expected::exact(round), [NewEvent::json("Won", &number)?]).await }
        })
        .await?;
        let version = Version::new(round + 1);
        let told = |error: &Error| {
            matches!(error, Error::Conflict { stream, expected, actual }
                if stream == "raced" && expected.holds(Version::new(round)) && *actual == version)
        };
        let (number, outcome) = one_winner(answers, told)?;
        ensure_eq!(outcome.version(), version, "version that the winner got");
        let events = stores[0].query(Query::stream("raced").from_version(version)).await?;
        ensure_eq!(events.len(), 1, "events of round {round}");
        ensure_eq!(events[0].payload.to::<usize>()?, number, "racer whose event is stored");
    }
    ensure_eq!(sound_log(&stores[0]).await?.len(), usize::try_from(rounds).unwrap_or_default(), "events of all rounds");
    Ok(())
}

async fn race_of_stores_for_a_version(f: &Fixture, count: usize, ways: usize, rounds: i64) -> Verdict {
    let stores = stores(f, count).await?;
    race_for_a_version(&stores, ways, rounds).await?;
    close(stores).await;
    Ok(())
}

async fn one_of_2_racers_for_a_version_wins(f: &Fixture) -> Verdict {
    race_for_a_version(std::slice::from_ref(&f.store), 2, 50).await
}

async fn one_of_16_racers_for_a_version_wins(f: &Fixture) -> Verdict {
    race_for_a_version(std::slice::from_ref(&f.store), 16, 20).await
}

async fn one_of_64_racers_for_a_version_wins(f: &Fixture) -> Verdict {
    race_for_a_version(std::slice::from_ref(&f.store), 64, 10).await
}

async fn one_of_2_stores_racing_for_a_version_wins(f: &Fixture) -> Verdict {
    race_of_stores_for_a_version(f, 2, 2, 30).await
}

async fn one_of_16_racers_on_4_stores_wins(f: &Fixture) -> Verdict {
    race_of_stores_for_a_version(f, 4, 16, 12).await
}

async fn one_of_64_racers_on_4_stores_wins(f: &Fixture) -> Verdict {
    race_of_stores_for_a_version(f, 4, 64, 8).await
}

/// Lets 16 racers create a stream, and then another, and so on.
async fn race_to_create(stores: &[Store]) -> Verdict {
    for round in 0..10 {
        let stream = Stream::new("thing", format!("created-{round}"))?;
        let answers = together(16, |number| {
            let (store, stream) = (stores[number % stores.len()].clone(), stream.clone());
            async move { store.append(&stream, Expected::NoStream, [NewEvent::json("Won", &number)?]).await }
        })
        .await?;
        let told = |error: &Error| matches!(error, Error::Conflict { expected: Expected::NoStream, actual, .. } if actual.get() == 1);
        let (number, _) = one_winner(answers, told)?;
        let events = stores[0].read_stream(&stream).await?;
        ensure_eq!(events.len(), 1, "events of the stream");
        ensure_eq!(events[0].payload.to::<usize>()?, number, "racer whose event is stored");
    }
    ensure_eq!(sound_log(&stores[0]).await?.len(), 10, "events of all rounds");
    Ok(())
}

async fn one_of_16_racers_creates_a_stream(f: &Fixture) -> Verdict {
    race_to_create(std::slice::from_ref(&f.store)).await
}

async fn one_of_16_racers_on_4_stores_creates_a_stream(f: &Fixture) -> Verdict {
    let stores = stores(f, 4).await?;
    race_to_create(&stores).await?;
    close(stores).await;
    Ok(())
}

/// Lets 64 racers append to one stream, whatever its version.
async fn race_for_any_version(stores: &[Store]) -> Verdict {
    let stream = Stream::new("thing", "hot")?;
    for round in 1..=4 {
        let answers = together(64, |number| {
            let (store, stream) = (stores[number % stores.len()].clone(), stream.clone());
            async move { store.append(&stream, Expected::Any, [NewEvent::json("Landed", &number)?]).await }
        })
        .await?;
        let outcomes = answers.into_iter().collect::<Result<Vec<_>>>()?;
        let log = sound_log(&stores[0]).await?;
        ensure_eq!(log.len(), 64 * round, "events after round {round}");
        for (number, outcome) in outcomes.iter().enumerate() {
            let [event] = events_of(&log, outcome) else {
                return Err(Failure(format!("racer {number} was told of {outcome:?}, which is not in the log")));
            };
            ensure_eq!(event.payload.to::<usize>()?, number, "racer whose event is at {}", event.position);
            ensure_eq!(event.aggregate_version, outcome.version(), "version that racer {number} was told");
        }
    }
    Ok(())
}

async fn racers_that_expect_any_version_all_land(f: &Fixture) -> Verdict {
    race_for_any_version(std::slice::from_ref(&f.store)).await
}

async fn racers_on_4_stores_that_expect_any_version_all_land(f: &Fixture) -> Verdict {
    let stores = stores(f, 4).await?;
    race_for_any_version(&stores).await?;
    close(stores).await;
    Ok(())
}

async fn racers_that_expect_a_stream_to_exist_land_once_it_does(f: &Fixture) -> Verdict {
    for round in 0..10 {
        let stream = f.stream(&format!("s{round}"))?;
        let answers = together(16, |number| {
            let (store, stream) = (f.store.clone(), stream.clone());
            let expected = if number == 7 { Expected::NoStream } else { Expected::Exists };
            async move { store.append(&stream, expected, [NewEvent::json("Landed", &number)?]).await }
        })
        .await?;
        let mut landed = 0;
        for (number, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok(outcome) if number == 7 => {
                    landed += 1;
                    ensure_eq!(outcome.version(), Version::new(1), "version of the creator's event");
                }
                Ok(outcome) => {
                    landed += 1;
                    ensure!(outcome.version() > Version::new(1), "an event landed before the stream was created");
                }
                Err(Error::Conflict { expected: Expected::Exists, actual: Version::ZERO, .. }) if number != 7 => {}
                Err(error) => return Err(error.into()),
            }
        }
        ensure_eq!(f.store.count(&stream).await?, landed, "events of round {round}");
    }
    sound_log(&f.store).await.map(drop)
}

async fn racers_who_create_a_stream_of_two_categories_leave_it_with_one(f: &Fixture) -> Verdict {
    for round in 0..10 {
        let id = format!("s{round}");
        let categories = ["cat", "dog"];
        let answers = together(16, |number| {
            let (store, stream) = (f.store.clone(), Stream::new(categories[number % 2], &id));
            async move { store.append(&stream?, Expected::Any, [NewEvent::json("Created", &number)?]).await }
        })
        .await?;
        let events = f.store.read_stream(&id).await?;
        ensure_eq!(events.len(), 8, "events of the stream");
        let category = events[0].aggregate_type.clone();
        ensure!(events.iter().all(|event| event.aggregate_type == category), "a stream of two categories");
        for (number, answer) in answers.into_iter().enumerate() {
            match answer {
                Ok(_) => ensure_eq!(categories[number % 2], category, "category of a racer that landed"),
                Err(Error::TypeMismatch { actual, .. }) => ensure_eq!(actual, category, "category that was told"),
                Err(error) => return Err(error.into()),
            }
        }
    }
    Ok(())
}

/// Lets racers write the same two streams, half of them naming one first and half the other.
async fn race_crosswise(stores: &[Store]) -> Verdict {
    let streams = [Stream::new("thing", "{x}a")?, Stream::new("thing", "{x}b")?];
    for round in 0..12 {
        let answers = together(8, |number| {
            let store = stores[number % stores.len()].clone();
            let (first, second) = (streams[number % 2].clone(), streams[1 - number % 2].clone());
            async move {
                let event = || NewEvent::json("Won", &number);
                let append = Append::new().to(first, Expected::exact(round), [event()?]).to(
                    second,
                    Expected::exact(round),
                    [event()?],
                );
                store.commit(append).await
            }
        })
        .await?;
        let told = |error: &Error| matches!(error, Error::Conflict { actual, .. } if actual.get() == round + 1);
        let (number, outcome) = one_winner(answers, told)?;
        ensure_eq!(outcome.versions.len(), 2, "streams that the winner wrote");
        for stream in &streams {
            let events = stores[0].query(Query::stream(stream.id()).from_version(Version::new(round + 1))).await?;
            ensure_eq!(events.len(), 1, "events of {stream} in round {round}");
            ensure_eq!(events[0].payload.to::<usize>()?, number, "racer whose event {stream} holds");
        }
    }
    ensure_eq!(sound_log(&stores[0]).await?.len(), 24, "events of all rounds");
    Ok(())
}

async fn racers_who_write_two_streams_crosswise_do_not_block_each_other(f: &Fixture) -> Verdict {
    race_crosswise(std::slice::from_ref(&f.store)).await
}

async fn racers_on_2_stores_who_write_two_streams_crosswise_do_not_block_each_other(f: &Fixture) -> Verdict {
    let stores = stores(f, 2).await?;
    race_crosswise(&stores).await?;
    close(stores).await;
    Ok(())
}

/// Lets two racers each write one stream and guard the other's.
async fn race_with_guards(stores: &[Store]) -> Verdict {
    for round in 0..20 {
        let streams = [Stream::new("thing", format!("{{{round}}}a"))?, Stream::new("thing", format!("{{{round}}}b"))?];
        let answers = together(2, |number| {
            let store = stores[number % stores.len()].clone();
            let (written, guarded) = (streams[number].clone(), streams[1 - number].clone());
            async move {
                let event = NewEvent::json("Won", &number)?;
                let append = Append::new().to(written, Expected::NoStream, [event]).guard(guarded, Expected::NoStream);
                store.commit(append).await
            }
        })
        .await?;
        let (number, _) =
            one_winner(answers, |error| matches!(error, Error::Conflict { actual, .. } if actual.get() == 1))?;
        ensure!(stores[0].exists(&streams[number]).await?, "the winner's stream is missing");
        ensure!(!stores[0].exists(&streams[1 - number]).await?, "the loser's stream was written");
    }
    ensure_eq!(sound_log(&stores[0]).await?.len(), 20, "events of all rounds");
    Ok(())
}

async fn racers_who_guard_each_others_streams_do_not_both_win(f: &Fixture) -> Verdict {
    race_with_guards(std::slice::from_ref(&f.store)).await
}

async fn racers_on_2_stores_who_guard_each_others_streams_do_not_both_win(f: &Fixture) -> Verdict {
    let stores = stores(f, 2).await?;
    race_with_guards(&stores).await?;
    close(stores).await;
    Ok(())
}

/// Lets 16 racers append requests of 7 events to streams of their own and to a common one.
async fn race_with_several_events(stores: &[Store]) -> Verdict {
    let answers = together(16, |number| {
        let store = stores[number % stores.len()].clone();
        async move {
            let own = Stream::new("thing", format!("{{x}}{number}"))?;
            let common = Stream::new("thing", "{x}common")?;
            let mut outcomes = Vec::new();
            for _ in 0..3 {
                let events = |count| (0..count).map(|_| NewEvent::json("Part", &number)).collect::<Result<Vec<_>>>();
                let append = Append::new().to(own.clone(), Expected::Any, events(4)?).to(
                    common.clone(),
                    Expected::Any,
                    events(3)?,
                );
                outcomes.push(store.commit(append).await?);
            }
            Ok::<_, Error>(outcomes)
        }
    })
    .await?;
    let log = sound_log(&stores[0]).await?;
    ensure_eq!(log.len(), 16 * 3 * 7, "events of all requests");
    for (number, outcomes) in answers.into_iter().enumerate() {
        for outcome in outcomes? {
            let events = events_of(&log, &outcome);
            ensure_eq!(events.len(), 7, "events between a request's first and last position");
            for event in events {
                ensure_eq!(event.payload.to::<usize>()?, number, "racer whose event is at {}", event.position);
            }
            let common: Vec<i64> = events[4..].iter().map(|event| event.aggregate_version.get()).collect();
            ensure!(common.windows(2).all(|pair| pair[1] == pair[0] + 1), "versions {common:?} have holes");
            ensure_eq!(outcome.version_of("{x}common"), Some(events[6].aggregate_version), "version that was told");
        }
    }
    Ok(())
}

async fn requests_that_race_are_not_interleaved(f: &Fixture) -> Verdict {
    race_with_several_events(std::slice::from_ref(&f.store)).await
}

async fn requests_that_race_on_4_stores_are_not_interleaved(f: &Fixture) -> Verdict {
    let stores = stores(f, 4).await?;
    race_with_several_events(&stores).await?;
    close(stores).await;
    Ok(())
}

/// Lets 16 racers append an event of one id, each to a stream of its own.
async fn race_with_an_event_id(stores: &[Store]) -> Verdict {
    for round in 1..=10 {
        let id = Uuid::new_v4();
        let answers = together(16, |number| {
            let store = stores[number % stores.len()].clone();
            let stream = Stream::new("thing", format!("s{number}"));
            async move { store.append(&stream?, Expected::Any, [NewEvent::json("Won", &number)?.with_id(id)]).await }
        })
        .await?;
        let told = |error: &Error| matches!(error, Error::DuplicateEvent { event_id, position } if *event_id == id && position.get() == round);
        let (number, _) = one_winner(answers, told)?;
        let event = stores[0].event(id).await?;
        let event = event.ok_or_else(|| Failure("the event of the id is missing".to_owned()))?;
        ensure_eq!(event.payload.to::<usize>()?, number, "racer whose event is stored");
    }
    ensure_eq!(sound_log(&stores[0]).await?.len(), 10, "events of all rounds");
    Ok(())
}

async fn one_of_16_racers_with_the_same_event_id_lands(f: &Fixture) -> Verdict {
    race_with_an_event_id(std::slice::from_ref(&f.store)).await
}

async fn one_of_16_racers_on_4_stores_with_the_same_event_id_lands(f: &Fixture) -> Verdict {
    let stores = stores(f, 4).await?;
    race_with_an_event_id(&stores).await?;
    close(stores).await;
    Ok(())
}
