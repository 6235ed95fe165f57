//! Contract sections 4.1 and 4.3: deciding a command twice has the effect of deciding it once.

use uuid::Uuid;

use super::case::{Case, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use crate::append::{Append, Appended, Condition};
use crate::command::Command;
use crate::error::{Error, Result};
use crate::event::NewEvent;
use crate::position::{Position, Version};
use crate::read::Query;
use crate::stream::{Expected, Stream};

pub(super) const CASES: &[Case] = cases![
    a_repeated_command_gets_the_first_outcome: "1.7", "4.1";
    a_repeated_command_stores_nothing: "1.7", "4.1";
    the_first_decision_is_not_flagged_as_a_duplicate: "4.1";
    a_repetition_gets_the_versions_of_every_stream: "3.6", "4.1";
    a_repetition_lists_the_streams_as_the_first_outcome_did: "3.6", "4.1";
    a_repetition_is_answered_when_the_version_moved_on: "4.1";
    a_repetition_is_answered_after_the_stream_was_deleted: "4.1", "8.1";
    a_repetition_is_answered_after_its_condition_would_fail: "3.7", "4.1";
    a_repetition_with_its_event_ids_is_no_duplicate_event: "4.1", "4.4";
    a_repetition_through_another_store_is_recognised: "4.1" if Durable;
    a_repetition_after_closing_and_opening_is_recognised: "4.1", "4.3" if Durable;
    ids_that_the_store_makes_do_not_tell_requests_apart: "4.2";
    the_order_of_tags_does_not_tell_requests_apart: "4.2";
    exact_0_and_no_stream_are_one_expectation: "3.2", "4.2";
    a_command_refused_for_its_version_can_be_given_again: "4.3";
    a_command_refused_for_a_deleted_stream_can_be_given_again: "4.3";
    a_refused_command_is_not_recorded: "4.3";
    a_command_is_recorded_without_events: "4.3";
    a_command_without_events_is_a_duplicate_when_repeated: "4.1", "4.3";
    another_command_of_the_same_content_is_decided_anew: "4.1";
];

/// Makes a request of a command: events of one stream.
fn request(id: Uuid, stream: &Stream, expected: Expected, events: impl IntoIterator<Item = NewEvent>) -> Append {
    Append::new().to(stream.clone(), expected, events).command(Command::new(id))
}

/// Decides a command that appends two events to a new stream `a`.
async fn first(f: &Fixture, id: Uuid) -> Result<Appended> {
    f.store.commit(request(id, &f.stream("a")?, Expected::NoStream, f.events(2)?)).await
}

async fn a_repeated_command_gets_the_first_outcome(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    let original = first(f, id).await?;
    let again = first(f, id).await?;
    ensure!(again.duplicate, "the repetition is not flagged as a duplicate");
    ensure_eq!(again.positions, Some((Position::new(1), Position::new(2))), "positions");
    ensure_eq!((again.lane, again.versions), (original.lane, original.versions), "lane and versions");
    Ok(())
}

async fn a_repetition_lists_the_streams_as_the_first_outcome_did(f: &Fixture) -> Verdict {
    f.filled("a", 1).await?;
    let id = Uuid::new_v4();
    let request = || -> Result<Append> {
        let append =
            Append::new().guard(f.stream("a")?, Expected::exact(1)).to(f.stream("b")?, Expected::Any, f.events(1)?);
        Ok(append.to(f.stream("a")?, Expected::exact(1), f.events(1)?).command(Command::new(id)))
    };
    let original = f.store.commit(request()?).await?;
    ensure_eq!(f.store.commit(request()?).await?.versions, original.versions, "streams and versions");
    Ok(())
}

async fn a_repeated_command_stores_nothing(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    for _ in 0..4 {
        first(f, id).await?;
    }
    ensure_eq!(f.store.query(Query::new()).await?.len(), 2, "events of the log");
    Ok(())
}

async fn the_first_decision_is_not_flagged_as_a_duplicate(f: &Fixture) -> Verdict {
    ensure!(!first(f, Uuid::new_v4()).await?.duplicate, "the first decision is flagged as a duplicate");
    ensure_eq!(f.store.count("a").await?, 2, "events of the stream");
    Ok(())
}

async fn a_repetition_gets_the_versions_of_every_stream(f: &Fixture) -> Verdict {
    f.filled("{x}b", 4).await?;
    f.filled("{x}guarded", 1).await?;
    let id = Uuid::new_v4();
    let append = || -> Result<Append> {
        Ok(Append::new()
            .to(f.stream("{x}b")?, Expected::exact(4), f.events(2)?)
            .guard(f.stream("{x}guarded")?, Expected::Exists)
            .to(f.stream("{x}a")?, Expected::NoStream, f.events(1)?)
            .command(Command::new(id)))
    };
    let original = f.store.commit(append()?).await?;
    f.filled("{x}a", 3).await?;
    let again = f.store.commit(append()?).await?;
    let expected = [("{x}b".to_owned(), Version::new(6)), ("{x}a".to_owned(), Version::new(1))];
    ensure_eq!(original.versions, expected, "versions of the first decision");
    ensure_eq!(again.versions, expected, "versions of the repetition");
    Ok(())
}

async fn a_repetition_is_answered_when_the_version_moved_on(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    let original = first(f, id).await?;
    f.filled("a", 3).await?;
    let again = first(f, id).await?;
    ensure!(again.duplicate, "the repetition is not flagged as a duplicate");
    ensure_eq!((again.positions, again.versions), (original.positions, original.versions), "outcome");
    Ok(())
}

async fn a_repetition_is_answered_after_the_stream_was_deleted(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    let original = first(f, id).await?;
    f.store.delete(&f.stream("a")?, Expected::Any).await?;
    let again = first(f, id).await?;
    ensure!(again.duplicate, "the repetition is not flagged as a duplicate");
    ensure_eq!((again.positions, again.versions), (original.positions, original.versions), "outcome");
    Ok(())
}

async fn a_repetition_is_answered_after_its_condition_would_fail(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    let append = || -> Result<Append> {
        let condition = Condition::after(Position::ZERO).or(["Happened"], [""; 0])?;
        Ok(request(id, &f.stream("a")?, Expected::NoStream, f.events(1)?).condition(condition))
    };
    f.store.commit(append()?).await?;
    ensure!(f.store.commit(append()?).await?.duplicate, "the repetition is not flagged as a duplicate");
    Ok(())
}

async fn a_repetition_with_its_event_ids_is_no_duplicate_event(f: &Fixture) -> Verdict {
    let (id, event_id) = (Uuid::new_v4(), Uuid::new_v4());
    let append = || -> Result<Append> {
        Ok(request(id, &f.stream("a")?, Expected::Any, [f.event("Happened")?.with_id(event_id)]))
    };
    f.store.commit(append()?).await?;
    ensure!(f.store.commit(append()?).await?.duplicate, "the repetition is not flagged as a duplicate");
    ensure_eq!(f.store.count("a").await?, 1, "events of the stream");
    Ok(())
}

async fn a_repetition_through_another_store_is_recognised(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    let original = first(f, id).await?;
    let other = f.another().await?;
    let again = other.commit(request(id, &f.stream("a")?, Expected::NoStream, f.events(2)?)).await?;
    ensure!(again.duplicate, "the repetition is not flagged as a duplicate");
    ensure_eq!((again.positions, again.versions), (original.positions, original.versions), "outcome");
    other.close().await;
    Ok(())
}

async fn a_repetition_after_closing_and_opening_is_recognised(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    let original = first(f, id).await?;
    f.store.close().await;
    let reopened = f.another().await?;
    let again = reopened.commit(request(id, &f.stream("a")?, Expected::NoStream, f.events(2)?)).await?;
    ensure!(again.duplicate, "the repetition is not flagged as a duplicate");
    ensure_eq!((again.positions, again.versions), (original.positions, original.versions), "outcome");
    reopened.close().await;
    Ok(())
}

async fn ids_that_the_store_makes_do_not_tell_requests_apart(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    first(f, id).await?;
    let ids = |events: Vec<crate::event::RecordedEvent>| events.iter().map(|event| event.event_id).collect::<Vec<_>>();
    let before = ids(f.store.read_stream("a").await?);
    ensure!(first(f, id).await?.duplicate, "the repetition is not flagged as a duplicate");
    ensure_eq!(ids(f.store.read_stream("a").await?), before, "ids of the events");
    Ok(())
}

async fn the_order_of_tags_does_not_tell_requests_apart(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    let stream = f.stream("a")?;
    let append = |tags: [&str; 3]| -> Result<Append> {
        Ok(request(id, &stream, Expected::Any, [f.event("Happened")?.with_tags(tags)?]))
    };
    f.store.commit(append(["x", "y", "y"])?).await?;
    ensure!(f.store.commit(append(["y", "x", "x"])?).await?.duplicate, "the repetition is not flagged as a duplicate");
    Ok(())
}

async fn exact_0_and_no_stream_are_one_expectation(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    first(f, id).await?;
    let again = f.store.commit(request(id, &f.stream("a")?, Expected::exact(0), f.events(2)?)).await?;
    ensure!(again.duplicate, "the repetition is not flagged as a duplicate");
    Ok(())
}

async fn a_command_refused_for_its_version_can_be_given_again(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 2).await?;
    let id = Uuid::new_v4();
    ensure_err!(first(f, id).await, Error::Conflict { .. });
    let appended = f.store.commit(request(id, &stream, Expected::exact(2), f.events(1)?)).await?;
    ensure!(!appended.duplicate, "the command counts as decided");
    ensure_eq!(f.store.version("a").await?, Version::new(3), "version of the stream");
    Ok(())
}

async fn a_command_refused_for_a_deleted_stream_can_be_given_again(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 1).await?;
    f.store.delete(&stream, Expected::Any).await?;
    let id = Uuid::new_v4();
    let append = || -> Result<Append> { Ok(request(id, &stream, Expected::Any, f.events(1)?)) };
    ensure_err!(f.store.commit(append()?).await, Error::StreamDeleted { .. });
    f.store.undelete(&stream, Expected::Any).await?;
    ensure!(!f.store.commit(append()?).await?.duplicate, "the command counts as decided");
    ensure_eq!(f.store.version("a").await?, Version::new(4), "version of the stream");
    Ok(())
}

async fn a_refused_command_is_not_recorded(f: &Fixture) -> Verdict {
    f.filled("a", 2).await?;
    let id = Uuid::new_v4();
    ensure_err!(first(f, id).await, Error::Conflict { .. });
    ensure!(f.store.command(id).await?.is_none(), "the refused command was recorded");
    f.store.record_command(Command::new(id)).await?;
    ensure!(f.store.command(id).await?.is_some(), "the command was not recorded");
    Ok(())
}

async fn a_command_is_recorded_without_events(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    let outcome = f.store.record_command(Command::new(id)).await?;
    ensure_eq!((outcome.positions, outcome.duplicate), (None, false), "outcome");
    let recorded = f.store.command(id).await?;
    let recorded = recorded.map(|command| (command.command_id, command.first_position, command.last_position));
    ensure_eq!(recorded, Some((id, None, None)), "the recorded command");
    Ok(())
}

async fn a_command_without_events_is_a_duplicate_when_repeated(f: &Fixture) -> Verdict {
    let command = || Command::new(Uuid::from_u128(7)).with_type("Ping");
    ensure!(!f.store.record_command(command()?).await?.duplicate, "the first decision is flagged as a duplicate");
    let again = f.store.record_command(command()?).await?;
    ensure_eq!((again.positions, again.duplicate), (None, true), "outcome of the repetition");
    let other = f.store.record_command(command()?.with_type("Pong")?).await;
    ensure_err!(other, Error::CommandReused { .. });
    Ok(())
}

async fn another_command_of_the_same_content_is_decided_anew(f: &Fixture) -> Verdict {
    let stream = f.stream("a")?;
    for _ in 0..3 {
        let appended = f.store.commit(request(Uuid::new_v4(), &stream, Expected::Any, f.events(1)?)).await?;
        ensure!(!appended.duplicate, "another command counts as decided");
    }
    ensure_eq!(f.store.count("a").await?, 3, "events of the stream");
    Ok(())
}
