//! Contract section 19: commands that aggregates decide.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use uuid::Uuid;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::counter::{Command, Counter, Event, Full, Intruder};
use super::harness::Fixture;
use super::together::{close, sound_log, stores, together};
use crate::aggregate::{ExecuteError, Executed, TypedEvent};
use crate::error::{Error, Result};
use crate::event::{ActorType, Source};
use crate::json::Json;
use crate::position::Version;
use crate::store::Store;
use crate::stream::Expected;

pub(super) const CASES: &[Case] = cases![
    a_command_is_decided_over_what_happened_before: "19.1";
    a_command_is_decided_over_what_another_store_appended: "19.1" if Durable;
    the_events_of_a_command_are_stored_together: "19.1";
    where_others_append_in_between_a_command_is_decided_anew: "19.1";
    after_as_many_tries_as_were_asked_for_the_conflict_is_the_answer: "19.1";
    racing_commands_all_count: "19.1";
    racing_commands_on_4_stores_all_count: "19.1" if Durable;
    racers_for_the_last_places_take_no_more_than_there_are: "19.1", "19.3";
    a_rejected_command_stores_nothing_and_can_be_given_again: "19.3";
    a_command_that_decides_on_nothing_stores_nothing: "19.1";
    a_repeated_command_gets_the_first_outcome: "19.2";
    a_repeated_command_that_is_no_longer_possible_gets_the_first_outcome: "19.2";
    a_repeated_command_that_decided_on_nothing_is_not_decided_anew: "19.2";
    a_repetition_through_another_store_gets_the_first_outcome: "19.2" if Durable;
    racers_with_one_command_execute_it_once: "19.2";
    a_command_id_of_another_aggregate_is_refused: "19.2";
    a_command_id_of_another_type_or_of_other_data_is_refused: "19.2";
    what_comes_with_a_command_stands_on_each_event: "19.9";
    metadata_that_is_no_object_is_refused: "19.9";
    a_command_to_a_stream_of_another_category_is_refused: "1.3", "19.1";
    a_command_to_a_deleted_stream_is_refused: "19.8";
];

type Outcome = Result<Executed<Counter>, ExecuteError<Full>>;

/// Executes a command about counter `a`.
async fn execute(store: &Store, command: Command) -> Outcome {
    store.execute::<Counter>("a", command).await
}

async fn execute_as(store: &Store, id: Uuid, command: Command) -> Outcome {
    store.execute::<Counter>("a", command).command(id).await
}

impl From<ExecuteError<Full>> for Failure {
    fn from(error: ExecuteError<Full>) -> Self {
        match error {
            ExecuteError::Store(error) => error.into(),
            ExecuteError::Rejected(full) => Self(format!("unexpectedly rejected: {full}")),
        }
    }
}

async fn a_command_is_decided_over_what_happened_before(f: &Fixture) -> Verdict {
    let first = execute(&f.store, Command::Add(2)).await?;
    ensure_eq!((first.state.count, first.version.get()), (2, 1), "count and version after the first command");
    let second = execute(&f.store, Command::Triple).await?;
    ensure_eq!((second.state.count, second.version.get()), (6, 2), "count and version after the second command");
    ensure_eq!(second.appended.version(), second.version, "version that was appended");
    let log = sound_log(&f.store).await?;
    let events = log.iter().map(Event::decode).collect::<Result<Vec<_>>>()?;
    ensure_eq!(events, [Some(Event::Added { n: 2 }), Some(Event::Added { n: 4 })], "events");
    Ok(())
}

async fn a_command_is_decided_over_what_another_store_appended(f: &Fixture) -> Verdict {
    let other = f.another().await?;
    for round in 1..=10 {
        execute(&f.store, Command::Add(1)).await?;
        let done = execute(&other, Command::Add(1)).await?;
        ensure_eq!(done.state.count, 2 * round, "count in round {round}");
    }
    close(vec![other]).await;
    Ok(())
}

async fn the_events_of_a_command_are_stored_together(f: &Fixture) -> Verdict {
    let done = execute(&f.store, Command::AddOnes(3)).await?;
    ensure_eq!((done.state.count, done.version.get()), (3, 3), "count and version");
    let (first, last) = done.appended.positions.unwrap_or_default();
    ensure_eq!(last.get() - first.get(), 2, "distance of the positions");
    Ok(())
}

async fn where_others_append_in_between_a_command_is_decided_anew(f: &Fixture) -> Verdict {
    let intruder = Intruder::new(f, "a", 3);
    let command = Arc::new(Command::AddAfter(intruder));
    let done = f.store.execute::<Shared>("a", Arc::clone(&command)).await?;
    ensure_eq!((done.state.0.count, done.version.get()), (301, 4), "count and version after three intrusions");
    ensure_eq!(decided(&command), 4, "times that the command was decided");
    ensure_eq!(sound_log(&f.store).await?.len(), 4, "events");
    Ok(())
}

async fn after_as_many_tries_as_were_asked_for_the_conflict_is_the_answer(f: &Fixture) -> Verdict {
    for tries in 1..=3 {
        let command = Arc::new(Command::AddAfter(Intruder::new(f, "a", 3)));
        let answer = f.store.execute::<Shared>("a", Arc::clone(&command)).tries(tries).await;
        ensure_err!(answer, ExecuteError::Store(Error::Conflict { .. }));
        ensure_eq!(decided(&command), tries, "times that the command was decided");
    }
    ensure_eq!(f.store.version("a").await?.get(), 6, "version, all of it by others");
    Ok(())
}

/// A counter whose commands are still at hand after they were executed.
#[derive(Debug, Default)]
struct Shared(Counter);

impl crate::aggregate::Aggregate for Shared {
    const TYPE: &'static str = "thing";
    type Command = Arc<Command>;
    type Event = Event;
    type Error = Full;

    fn decide(&self, command: &Arc<Command>) -> Result<Vec<Event>, Full> {
        self.0.decide(command)
    }

    fn evolve(&mut self, event: Event) {
        self.0.evolve(event);
    }
}

fn decided(command: &Command) -> u32 {
    match command {
        Command::AddAfter(intruder) => intruder.decided.load(Ordering::Relaxed),
        _ => 0,
    }
}

/// Lets 16 racers execute a command 4 times each, and checks that each time counts.
async fn race(f: &Fixture, stores: &[Store]) -> Verdict {
    let answers = together(16, |number| {
        let store = stores[number % stores.len()].clone();
        async move {
            for _ in 0..4 {
                // More tries than there are commands, so that nobody can be unlucky each time.
                store.execute::<Counter>("a", Command::Add(1)).tries(100).await?;
            }
            Ok::<_, ExecuteError<Full>>(())
        }
    })
    .await?;
    answers.into_iter().collect::<Result<Vec<_>, _>>()?;
    let loaded = f.store.load::<Counter>("a").await?;
    ensure_eq!((loaded.state.count, loaded.version.get()), (64, 64), "count and version after 64 commands");
    ensure_eq!(sound_log(&f.store).await?.len(), 64, "events");
    Ok(())
}

async fn racing_commands_all_count(f: &Fixture) -> Verdict {
    race(f, std::slice::from_ref(&f.store)).await
}

async fn racing_commands_on_4_stores_all_count(f: &Fixture) -> Verdict {
    let stores = stores(f, 4).await?;
    race(f, &stores).await?;
    close(stores).await;
    Ok(())
}

async fn racers_for_the_last_places_take_no_more_than_there_are(f: &Fixture) -> Verdict {
    execute(&f.store, Command::Add(7)).await?;
    let answers = together(16, |_| {
        let store = f.store.clone();
        async move { store.execute::<Counter>("a", Command::AddBelow(10)).tries(100).await }
    })
    .await?;
    let (mut taken, mut refused) = (0, 0);
    for answer in answers {
        match answer {
            Ok(_) => taken += 1,
            Err(ExecuteError::Rejected(Full(10))) => refused += 1,
            Err(error) => return Err(error.into()),
        }
    }
    ensure_eq!((taken, refused), (3, 13), "racers who got a place, and who did not");
    ensure_eq!(f.store.load::<Counter>("a").await?.state.count, 10, "count");
    Ok(())
}

async fn a_rejected_command_stores_nothing_and_can_be_given_again(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    execute(&f.store, Command::Add(5)).await?;
    ensure_err!(execute_as(&f.store, id, Command::AddBelow(5)).await, ExecuteError::Rejected(Full(5)));
    ensure_eq!(sound_log(&f.store).await?.len(), 1, "events after a rejected command");
    ensure!(f.store.command(id).await?.is_none(), "the rejected command was recorded");
    execute(&f.store, Command::Clear).await?;
    let done = execute_as(&f.store, id, Command::AddBelow(5)).await?;
    ensure!(!done.appended.duplicate, "the command counts as executed, and was rejected");
    ensure_eq!(done.state.count, 1, "count");
    Ok(())
}

async fn a_command_that_decides_on_nothing_stores_nothing(f: &Fixture) -> Verdict {
    let done = execute(&f.store, Command::Clear).await?;
    ensure_eq!((done.version, done.appended.positions), (Version::ZERO, None), "version and positions");
    ensure!(!f.store.exists("a").await?, "the stream was created");
    execute(&f.store, Command::Add(0)).await?;
    let done = execute(&f.store, Command::Clear).await?;
    ensure_eq!((done.version.get(), done.appended.positions), (1, None), "version and positions of the second");
    ensure_eq!(sound_log(&f.store).await?.len(), 1, "events");
    Ok(())
}

async fn a_repeated_command_gets_the_first_outcome(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    let first = execute_as(&f.store, id, Command::AddOnes(2)).await?;
    let at_once = execute_as(&f.store, id, Command::AddOnes(2)).await?;
    execute(&f.store, Command::Add(40)).await?;
    let later = execute_as(&f.store, id, Command::AddOnes(2)).await?;
    ensure!(!first.appended.duplicate, "the first one counts as a repetition");
    for again in [at_once, later] {
        ensure!(again.appended.duplicate, "a repetition does not say so");
        ensure_eq!((&again.state, again.version), (&first.state, first.version), "state and version");
        ensure_eq!(again.appended.positions, first.appended.positions, "positions");
        ensure_eq!(again.appended.versions, first.appended.versions, "versions");
    }
    ensure_eq!(sound_log(&f.store).await?.len(), 3, "events");
    Ok(())
}

async fn a_repeated_command_that_is_no_longer_possible_gets_the_first_outcome(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    execute_as(&f.store, id, Command::AddBelow(1)).await?;
    let again = execute_as(&f.store, id, Command::AddBelow(1)).await?;
    ensure!(again.appended.duplicate, "a repetition does not say so");
    ensure_eq!((again.state.count, again.version.get()), (1, 1), "count and version");
    Ok(())
}

async fn a_repeated_command_that_decided_on_nothing_is_not_decided_anew(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    execute_as(&f.store, id, Command::Clear).await?;
    execute(&f.store, Command::Add(3)).await?;
    let again = execute_as(&f.store, id, Command::Clear).await?;
    ensure_eq!((again.appended.duplicate, again.appended.positions), (true, None), "outcome of the repetition");
    ensure_eq!(again.state.count, 3, "count, which the repetition must leave");
    Ok(())
}

async fn a_repetition_through_another_store_gets_the_first_outcome(f: &Fixture) -> Verdict {
    let (id, other) = (Uuid::new_v4(), f.another().await?);
    let first = execute_as(&f.store, id, Command::Add(1)).await?;
    execute(&f.store, Command::Add(1)).await?;
    let again = execute_as(&other, id, Command::Add(1)).await?;
    ensure_eq!((again.appended.duplicate, again.version), (true, first.version), "outcome of the repetition");
    close(vec![other]).await;
    Ok(())
}

async fn racers_with_one_command_execute_it_once(f: &Fixture) -> Verdict {
    for round in 1..=8 {
        let id = Uuid::new_v4();
        let answers = together(8, |_| {
            let store = f.store.clone();
            async move { execute_as(&store, id, Command::Add(1)).await }
        })
        .await?;
        let outcomes = answers.into_iter().collect::<Result<Vec<_>, _>>()?;
        ensure_eq!(outcomes.iter().filter(|done| !done.appended.duplicate).count(), 1, "racers who executed it");
        for done in outcomes {
            ensure_eq!((done.state.count, done.version.get()), (round, round), "count and version that a racer got");
        }
    }
    Ok(())
}

async fn a_command_id_of_another_aggregate_is_refused(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    f.store.execute::<Counter>("{one lane} a", Command::Add(1)).command(id).await?;
    for command in [Command::Add(1), Command::AddBelow(0)] {
        let other = f.store.execute::<Counter>("{one lane} b", command).command(id).await;
        ensure_err!(other, ExecuteError::Store(Error::CommandReused { command_id }) if command_id == id);
    }
    ensure_eq!(sound_log(&f.store).await?.len(), 1, "events");
    Ok(())
}

async fn a_command_id_of_another_type_or_of_other_data_is_refused(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    let command = |command_type: &str, data: &str| {
        Ok::<_, Error>(crate::Command::new(id).with_type(command_type)?.with_data(Json::parse(data)?))
    };
    let first = f.store.execute::<Counter>("a", Command::Add(1)).command(command("Add", "1")?).await?;
    for (command_type, data) in [("Add", "2"), ("Subtract", "1")] {
        let other = f.store.execute::<Counter>("a", Command::Add(2)).command(command(command_type, data)?).await;
        ensure_err!(other, ExecuteError::Store(Error::CommandReused { .. }));
    }
    let again = f.store.execute::<Counter>("a", Command::Add(1)).command(command("Add", "1")?).await?;
    ensure_eq!((again.appended.duplicate, again.version), (true, first.version), "outcome of the repetition");
    Ok(())
}

async fn what_comes_with_a_command_stands_on_each_event(f: &Fixture) -> Verdict {
    let (id, correlation) = (Uuid::new_v4(), Uuid::new_v4());
    let metadata = Json::parse(r#"{"ip": "::1"}"#)?;
    let execute = || {
        let execute = f.store.execute::<Counter>("a", Command::AddOnes(2)).actor("ada", ActorType::User);
        execute.source(Source::Ui).metadata(metadata.clone()).correlation(correlation)
    };
    execute().command(id).await?;
    execute().causation(correlation).await?;
    let log = sound_log(&f.store).await?;
    ensure_eq!(log.len(), 4, "events");
    for (event, causation) in log.iter().zip([id, id, correlation, correlation]) {
        ensure_eq!((event.actor.as_deref(), event.actor_type), (Some("ada"), ActorType::User), "actor");
        ensure_eq!((event.source, event.metadata.as_ref()), (Source::Ui, Some(&metadata)), "source and metadata");
        ensure_eq!((event.causation_id, event.correlation_id), (Some(causation), Some(correlation)), "causes");
    }
    let recorded = f.store.command(id).await?.ok_or_else(|| Failure("the command was not recorded".to_owned()))?;
    ensure_eq!((recorded.actor.as_deref(), recorded.source), (Some("ada"), Some(Source::Ui)), "who gave the command");
    Ok(())
}

async fn metadata_that_is_no_object_is_refused(f: &Fixture) -> Verdict {
    let answer = f.store.execute::<Counter>("a", Command::Add(1)).metadata(Json::parse("1")?).await;
    ensure_err!(answer, ExecuteError::Store(Error::Invalid { what: "metadata", .. }));
    ensure!(!f.store.exists("a").await?, "something was stored");
    Ok(())
}

async fn a_command_to_a_stream_of_another_category_is_refused(f: &Fixture) -> Verdict {
    let stream = crate::Stream::new("other", "a")?;
    f.store.append(&stream, Expected::NoStream, [Event::Cleared.encode()?]).await?;
    let answer = execute(&f.store, Command::Add(1)).await;
    ensure_err!(answer, ExecuteError::Store(Error::TypeMismatch { actual, .. }) if actual == "other");
    ensure_err!(f.store.load::<Counter>("a").await, Error::TypeMismatch { .. });
    Ok(())
}

async fn a_command_to_a_deleted_stream_is_refused(f: &Fixture) -> Verdict {
    execute(&f.store, Command::Add(1)).await?;
    f.store.delete(&f.stream("a")?, Expected::Any).await?;
    let answer = execute(&f.store, Command::Add(1)).await;
    ensure_err!(answer, ExecuteError::Store(Error::StreamDeleted { .. }));
    ensure_eq!(f.store.load::<Counter>("a").await?.version, Version::ZERO, "version of the hidden stream");
    f.store.undelete(&f.stream("a")?, Expected::Any).await?;
    let done = execute(&f.store, Command::Add(1)).await?;
    ensure_eq!((done.state.count, done.version.get()), (2, 4), "count and version, two markers included");
    Ok(())
}
