//! Contract section 3.7 under races: a condition holds over what was committed before, during and after the read that
//! it rests on.

use super::case::{Case, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use super::together::{close, one_winner, sound_log, stores, together};
use crate::append::{Append, Appended, Condition};
use crate::error::{Error, Result};
use crate::event::{NewEvent, RecordedEvent};
use crate::position::Position;
use crate::read::Query;
use crate::store::Store;
use crate::stream::{Expected, Stream};

pub(super) const CASES: &[Case] = cases![
    one_of_2_racers_on_a_condition_wins: "3.7";
    one_of_16_racers_on_a_condition_wins: "3.7" if OneLane;
    one_of_64_racers_on_a_condition_wins: "3.7" if OneLane;
    one_of_16_racers_on_4_stores_on_a_condition_wins: "3.7", "3.10" if Durable, OneLane;
    one_of_64_racers_on_4_stores_on_a_condition_wins: "3.7", "3.10" if Durable, OneLane;
    one_of_16_racers_on_a_long_condition_wins: "3.7" if OneLane;
    one_of_16_racers_on_4_stores_on_a_long_condition_wins: "3.7", "3.10" if Durable, OneLane;
    a_commit_before_the_read_is_covered_by_its_head: "3.7";
    a_commit_between_the_read_and_the_append_fails_the_condition: "3.7" if OneLane;
    a_commit_of_another_store_after_the_read_fails_the_condition: "3.7" if Durable, OneLane;
    no_commit_during_a_read_slips_past_its_condition: "3.7" if OneLane;
    no_commit_of_another_store_during_a_read_slips_past_its_condition: "3.7", "3.10" if Durable, OneLane;
];

const TAG: &str = "seat:1";

fn seat(number: usize) -> Result<NewEvent> {
    NewEvent::json("Taken", &number)?.with_tags([TAG])
}

/// Appends to a stream of the racer's own, if the tag is still free after a position.
async fn take(store: &Store, number: usize, after: Position) -> Result<Appended> {
    let stream = Stream::new("racer", format!("racer-{number}"))?;
    let condition = Condition::after(after).or(["Taken"], [TAG])?;
    store.commit(Append::new().to(stream, Expected::Any, [seat(number)?]).condition(condition)).await
}

/// Reads the tag's events in one page, and returns them with the head that came with them.
async fn look(store: &Store) -> Result<(Vec<RecordedEvent>, Position)> {
    let page = store.page(store.lane("racer-0"), &Query::new().tags([TAG])?, 1_000).await?;
    Ok((page.events, page.head))
}

/// Lets racers decide on one read, round after round.
async fn race_on_a_condition(stores: &[Store], ways: usize, rounds: usize) -> Verdict {
    for round in 0..rounds {
        let (events, head) = look(&stores[0]).await?;
        ensure_eq!(events.len(), round, "events of the tag before round {round}");
        let answers = together(ways, |number| {
            let store = stores[number % stores.len()].clone();
            async move { take(&store, number, head).await }
        })
        .await?;
        let told = |error: &Error| matches!(error, Error::ConditionFailed { after, position } if *after == head && *position == head.next());
        let (number, outcome) = one_winner(answers, told)?;
        let log = sound_log(&stores[0]).await?;
        ensure_eq!(log.len(), round + 1, "events after round {round}");
        ensure_eq!(log[round].payload.to::<usize>()?, number, "racer whose event is stored");
        ensure_eq!(log[round].position, outcome.position(), "position that the winner was told");
    }
    Ok(())
}

async fn race_of_stores_on_a_condition(f: &Fixture, ways: usize, rounds: usize) -> Verdict {
    let stores = stores(f, 4).await?;
    race_on_a_condition(&stores, ways, rounds).await?;
    close(stores).await;
    Ok(())
}

async fn one_of_2_racers_on_a_condition_wins(f: &Fixture) -> Verdict {
    race_on_a_condition(std::slice::from_ref(&f.store), 2, 30).await
}

async fn one_of_16_racers_on_a_condition_wins(f: &Fixture) -> Verdict {
    race_on_a_condition(std::slice::from_ref(&f.store), 16, 12).await
}

async fn one_of_64_racers_on_a_condition_wins(f: &Fixture) -> Verdict {
    race_on_a_condition(std::slice::from_ref(&f.store), 64, 5).await
}

async fn one_of_16_racers_on_4_stores_on_a_condition_wins(f: &Fixture) -> Verdict {
    race_of_stores_on_a_condition(f, 16, 10).await
}

async fn one_of_64_racers_on_4_stores_on_a_condition_wins(f: &Fixture) -> Verdict {
    race_of_stores_on_a_condition(f, 64, 5).await
}

/// Lets racers decide from the beginning of a log that is too long to be looked at under the lane's lock alone, each
/// round on a tag of its own.
async fn race_on_a_long_condition(f: &Fixture, stores: &[Store]) -> Verdict {
    f.filled("racer-many", 2_500).await?;
    for round in 0..8 {
        let answers = together(16, |number| {
            let store = stores[number % stores.len()].clone();
            async move {
                let tag = format!("round:{round}");
                let event = NewEvent::json("Taken", &number)?.with_tags([&tag])?;
                let condition = Condition::after(Position::ZERO).or(["Taken"], [&tag])?;
                let stream = Stream::new("racer", format!("racer-{number}"))?;
                store.commit(Append::new().to(stream, Expected::Any, [event]).condition(condition)).await
            }
        })
        .await?;
        one_winner(answers, |error| matches!(error, Error::ConditionFailed { after: Position::ZERO, .. }))?;
    }
    Ok(())
}

async fn one_of_16_racers_on_a_long_condition_wins(f: &Fixture) -> Verdict {
    race_on_a_long_condition(f, std::slice::from_ref(&f.store)).await
}

async fn one_of_16_racers_on_4_stores_on_a_long_condition_wins(f: &Fixture) -> Verdict {
    let stores = stores(f, 4).await?;
    race_on_a_long_condition(f, &stores).await?;
    close(stores).await;
    Ok(())
}

async fn a_commit_before_the_read_is_covered_by_its_head(f: &Fixture) -> Verdict {
    take(&f.store, 1, Position::ZERO).await?;
    let (events, head) = look(&f.store).await?;
    ensure_eq!((events.len(), head), (1, Position::new(1)), "events of the tag, and the head that came with them");
    take(&f.store, 2, head).await?;
    Ok(())
}

/// Reads, lets another store commit, and appends on what was read.
async fn commit_after_the_read(reader: &Store, other: &Store) -> Verdict {
    let (_, head) = look(reader).await?;
    take(other, 1, head).await?;
    ensure_err!(take(reader, 2, head).await, Error::ConditionFailed { position, .. } if position == head.next());
    ensure_eq!(sound_log(reader).await?.len(), 1, "events of the log");
    Ok(())
}

async fn a_commit_between_the_read_and_the_append_fails_the_condition(f: &Fixture) -> Verdict {
    commit_after_the_read(&f.store, &f.store).await
}

async fn a_commit_of_another_store_after_the_read_fails_the_condition(f: &Fixture) -> Verdict {
    let other = f.another().await?;
    commit_after_the_read(&f.store, &other).await?;
    other.close().await;
    Ok(())
}

/// Lets racers each read and append a few times over, while they commit into each other's reads. What is accepted must
/// have seen every event of the tag below its own.
async fn commit_during_reads(stores: &[Store]) -> Verdict {
    let answers = together(8, |number| {
        let store = stores[number % stores.len()].clone();
        async move {
            let mut taken = Vec::new();
            for _ in 0..12 {
                let (events, head) = look(&store).await?;
                match take(&store, number, head).await {
                    Ok(outcome) => taken.push((events.len(), outcome.position())),
                    Err(Error::ConditionFailed { .. }) => {}
                    Err(error) => return Err(error),
                }
            }
            Ok(taken)
        }
    })
    .await?;
    let mut accepted = 0;
    for taken in answers {
        for (seen, position) in taken? {
            accepted += 1;
            let below = usize::try_from(position.get() - 1).unwrap_or_default();
            ensure_eq!(seen, below, "events that the racer had seen when it took position {position}");
        }
    }
    ensure!(accepted > 0, "no racer was accepted");
    ensure_eq!(sound_log(&stores[0]).await?.len(), accepted, "events of the log");
    Ok(())
}

async fn no_commit_during_a_read_slips_past_its_condition(f: &Fixture) -> Verdict {
    commit_during_reads(std::slice::from_ref(&f.store)).await
}

async fn no_commit_of_another_store_during_a_read_slips_past_its_condition(f: &Fixture) -> Verdict {
    let stores = stores(f, 4).await?;
    commit_during_reads(&stores).await?;
    close(stores).await;
    Ok(())
}
