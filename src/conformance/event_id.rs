//! Contract section 4.4: an event id is unique; and what events say of the command that caused them.

use uuid::Uuid;

use super::case::{Case, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use crate::append::Append;
use crate::command::Command;
use crate::error::Error;
use crate::position::{Position, Version};
use crate::read::Query;
use crate::stream::Expected;

pub(super) const CASES: &[Case] = cases![
    an_event_id_that_exists_is_refused_with_its_position: "4.4";
    an_event_id_of_another_stream_is_refused: "4.4";
    an_event_id_that_the_store_made_is_refused_too: "4.4";
    a_refused_event_id_stores_nothing: "3.1", "4.4";
    events_are_caused_by_their_command: "2.1";
    a_given_cause_is_kept: "2.1";
    events_without_a_command_have_no_cause: "2.1";
];

async fn an_event_id_that_exists_is_refused_with_its_position(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    f.filled("before", 2).await?;
    let stream = f.stream("a")?;
    f.store.append(&stream, Expected::Any, [f.event("Happened")?.with_id(id)]).await?;
    f.filled("after", 1).await?;
    let again = f.store.append(&stream, Expected::Any, [f.event("Happened")?.with_id(id)]).await;
    ensure_err!(again, Error::DuplicateEvent { event_id, position } if event_id == id && position == Position::new(3));
    Ok(())
}

async fn an_event_id_of_another_stream_is_refused(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    f.store.append(&f.stream("{x}a")?, Expected::Any, [f.event("Happened")?.with_id(id)]).await?;
    let again = f.store.append(&f.stream("{x}b")?, Expected::NoStream, [f.event("Other")?.with_id(id)]).await;
    ensure_err!(again, Error::DuplicateEvent { position, .. } if position == Position::new(1));
    ensure!(f.store.stream("{x}b").await?.is_none(), "the other stream exists");
    Ok(())
}

async fn an_event_id_that_the_store_made_is_refused_too(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 1).await?;
    let events = f.store.read_stream("a").await?;
    ensure_eq!(events.len(), 1, "events of the stream");
    for event in events {
        let again = f.store.append(&stream, Expected::Any, [f.event("Happened")?.with_id(event.event_id)]).await;
        ensure_err!(again, Error::DuplicateEvent { position, .. } if position == Position::new(1));
    }
    Ok(())
}

async fn a_refused_event_id_stores_nothing(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    let stream = f.stream("a")?;
    f.store.append(&stream, Expected::Any, [f.event("Happened")?.with_id(id)]).await?;
    let events = [f.event("One")?, f.event("Two")?.with_id(id), f.event("Three")?];
    ensure_err!(f.store.append(&stream, Expected::Any, events).await, Error::DuplicateEvent { .. });
    ensure_eq!(f.store.query(Query::new()).await?.len(), 1, "events of the log");
    ensure_eq!(f.store.version("a").await?, Version::new(1), "version of the stream");
    Ok(())
}

async fn events_are_caused_by_their_command(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    f.store.commit(Append::new().to(f.stream("a")?, Expected::Any, f.events(2)?).command(Command::new(id))).await?;
    let causes: Vec<_> = f.store.read_stream("a").await?.iter().map(|event| event.causation_id).collect();
    ensure_eq!(causes, [Some(id), Some(id)], "causes");
    Ok(())
}

async fn a_given_cause_is_kept(f: &Fixture) -> Verdict {
    let cause = Uuid::new_v4();
    let append = Append::new().to(f.stream("a")?, Expected::Any, [f.event("Happened")?.with_causation(cause)]);
    f.store.commit(append.command(Command::new(Uuid::new_v4()))).await?;
    let causes: Vec<_> = f.store.read_stream("a").await?.iter().map(|event| event.causation_id).collect();
    ensure_eq!(causes, [Some(cause)], "causes");
    Ok(())
}

async fn events_without_a_command_have_no_cause(f: &Fixture) -> Verdict {
    f.filled("a", 1).await?;
    let causes: Vec<_> = f.store.read_stream("a").await?.iter().map(|event| event.causation_id).collect();
    ensure_eq!(causes, [None], "causes");
    Ok(())
}
