//! Contract section 3.9: what was acknowledged is there when the store is opened again.

use uuid::Uuid;

use super::case::{Case, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use super::together::sound_log;
use crate::append::Append;
use crate::command::Command;
use crate::error::Error;
use crate::event::NewEvent;
use crate::json::Json;
use crate::position::Version;
use crate::read::Query;
use crate::snapshot::{NewSnapshot, SnapshotQuery};
use crate::stream::Expected;

pub(super) const CASES: &[Case] = cases![
    events_are_there_after_closing_and_opening: "3.9" if Durable;
    versions_and_positions_go_on_after_opening: "1.5", "1.6", "3.9" if Durable;
    a_repeated_command_is_known_after_opening: "4.1", "4.3" if Durable;
    a_repeated_event_id_is_known_after_opening: "4.4" if Durable;
    snapshots_are_there_after_opening: "3.9", "7.1" if Durable;
    deleted_streams_stay_deleted_after_opening: "3.9", "8.2" if Durable;
    metadata_is_there_after_opening: "3.9", "8.4" if Durable;
    the_topic_keeps_its_incarnation_after_opening: "1.1", "1.8" if Durable, OneLane;
    what_is_acknowledged_without_closing_is_there: "3.9" if Durable;
    a_closed_store_takes_nothing: "10.1";
    closing_twice_is_harmless: "10.1";
    closing_answers_what_was_taken: "3.9", "3.13" if OneLane;
    opening_and_closing_many_times_loses_nothing: "3.9" if Durable;
];

async fn events_are_there_after_closing_and_opening(f: &Fixture) -> Verdict {
    let event = f.event("Tagged")?.with_tags(["a", "b"])?.with_metadata(Json::parse("{ }")?)?;
    f.store.append(&f.stream("a")?, Expected::NoStream, [event]).await?;
    f.store.append(&f.stream("b")?, Expected::NoStream, f.events(30)?).await?;
    let before = f.store.query(Query::new()).await?;
    f.store.close().await;
    let store = f.another().await?;
    ensure_eq!(store.query(Query::new()).await?, before, "the log");
    ensure_eq!(store.query(Query::new().tags(["b"])?).await?.len(), 1, "events that a tag finds");
    ensure_eq!(before.len(), 31, "events");
    store.close().await;
    Ok(())
}

async fn versions_and_positions_go_on_after_opening(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(3)?).await?;
    f.store.close().await;
    let store = f.another().await?;
    ensure_err!(store.append(&f.stream("a")?, Expected::exact(2), f.events(1)?).await, Error::Conflict { .. });
    let outcome = store.append(&f.stream("a")?, Expected::exact(3), f.events(1)?).await?;
    ensure_eq!((outcome.position().get(), outcome.version().get()), (4, 4), "position and version");
    sound_log(&store).await?;
    store.close().await;
    Ok(())
}

async fn a_repeated_command_is_known_after_opening(f: &Fixture) -> Verdict {
    let command = Command::new(Uuid::new_v4());
    let append = Append::new().to(f.stream("a")?, Expected::NoStream, f.events(3)?).command(command);
    let first = f.store.commit(append.clone()).await?;
    f.store.close().await;
    let store = f.another().await?;
    let second = store.commit(append).await?;
    ensure!(second.duplicate && !first.duplicate, "the repetition was carried out");
    ensure_eq!((second.positions, second.versions), (first.positions, first.versions), "outcome of the repetition");
    ensure_eq!(sound_log(&store).await?.len(), 3, "events");
    store.close().await;
    Ok(())
}

async fn a_repeated_event_id_is_known_after_opening(f: &Fixture) -> Verdict {
    let event = f.event("Named")?.with_id(Uuid::new_v4());
    f.store.append(&f.stream("a")?, Expected::NoStream, [event.clone()]).await?;
    f.store.close().await;
    let store = f.another().await?;
    let again = store.append(&f.stream("b")?, Expected::NoStream, [event]).await;
    ensure_err!(again, Error::DuplicateEvent { position, .. } if position.get() == 1);
    store.close().await;
    Ok(())
}

async fn snapshots_are_there_after_opening(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(3)?).await?;
    let snapshot = NewSnapshot::new(f.stream("a")?, Version::new(2), Json::parse("{\"sum\": 0.10}")?);
    ensure!(f.store.save_snapshot(&snapshot).await?, "the snapshot was not stored");
    let before = f.store.snapshot("a", SnapshotQuery::default()).await?;
    f.store.close().await;
    let store = f.another().await?;
    ensure_eq!(store.snapshot("a", SnapshotQuery::default()).await?, before, "snapshot");
    ensure!(before.is_some(), "there was no snapshot before");
    store.close().await;
    Ok(())
}

async fn deleted_streams_stay_deleted_after_opening(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(2)?).await?;
    f.store.delete(&f.stream("a")?, Expected::Any).await?;
    f.store.close().await;
    let store = f.another().await?;
    ensure!(!store.exists("a").await?, "the stream shows again");
    ensure_err!(store.append(&f.stream("a")?, Expected::Any, f.events(1)?).await, Error::StreamDeleted { .. });
    store.undelete(&f.stream("a")?, Expected::exact(3)).await?;
    ensure_eq!(store.count("a").await?, 4, "events once the stream is undeleted");
    store.close().await;
    Ok(())
}

async fn metadata_is_there_after_opening(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(1)?).await?;
    f.store.set_metadata("a", None, Json::parse("{\"owner\":  \"ann\"}")?).await?;
    let before = f.store.stream("a").await?;
    f.store.close().await;
    let store = f.another().await?;
    let after = store.stream("a").await?;
    ensure_eq!(after, before, "what is known of the stream");
    let metadata = after.and_then(|info| info.metadata);
    ensure_eq!(metadata.as_ref().map(Json::as_str), Some("{\"owner\":  \"ann\"}"), "metadata");
    store.close().await;
    Ok(())
}

async fn the_topic_keeps_its_incarnation_after_opening(f: &Fixture) -> Verdict {
    let before = f.store.topic().clone();
    f.store.close().await;
    let store = f.another().await?;
    ensure_eq!(*store.topic(), before, "topic");
    ensure_eq!(before.name, "default", "name of the topic");
    store.close().await;
    Ok(())
}

async fn what_is_acknowledged_without_closing_is_there(f: &Fixture) -> Verdict {
    let left_open = f.another().await?;
    for number in 0..10 {
        left_open.append(&f.stream("a")?, Expected::exact(number), f.events(1)?).await?;
    }
    let store = f.another().await?;
    ensure_eq!(sound_log(&store).await?.len(), 10, "events beside a store that was not closed");
    store.close().await;
    left_open.close().await;
    Ok(())
}

async fn a_closed_store_takes_nothing(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(1)?).await?;
    f.store.close().await;
    ensure_err!(f.store.append(&f.stream("a")?, Expected::Any, f.events(1)?).await, Error::Closed);
    ensure_err!(f.store.query(Query::new()).await, Error::Closed);
    ensure_err!(f.store.version("a").await, Error::Closed);
    ensure_err!(f.store.health().await, Error::Closed);
    Ok(())
}

async fn closing_twice_is_harmless(f: &Fixture) -> Verdict {
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(1)?).await?;
    let clone = f.store.clone();
    f.store.close().await;
    f.store.close().await;
    clone.close().await;
    ensure_err!(clone.append(&f.stream("a")?, Expected::Any, f.events(1)?).await, Error::Closed);
    Ok(())
}

async fn closing_answers_what_was_taken(f: &Fixture) -> Verdict {
    let mut appends = tokio::task::JoinSet::new();
    for number in 0..64 {
        let (store, stream) = (f.store.clone(), f.stream(&format!("s{number}"))?);
        appends.spawn(
            async move { store.append(&stream, Expected::NoStream, [NewEvent::json("Landed", &number)?]).await },
        );
    }
    tokio::task::yield_now().await;
    f.store.close().await;
    let mut landed = Vec::new();
    while let Some(answer) = appends.join_next().await {
        match answer? {
            Ok(outcome) => landed.push(outcome.position().get()),
            Err(Error::Closed) => {}
            Err(error) => return Err(error.into()),
        }
    }
    landed.sort_unstable();
    ensure!((1..).zip(&landed).all(|(expected, found)| expected == *found), "positions that were told: {landed:?}");
    if f.store.capabilities().durable {
        let store = f.another().await?;
        ensure_eq!(sound_log(&store).await?.len(), landed.len(), "events, and appends that were acknowledged");
        store.close().await;
    }
    Ok(())
}

async fn opening_and_closing_many_times_loses_nothing(f: &Fixture) -> Verdict {
    f.store.close().await;
    for round in 0..8 {
        let store = f.another().await?;
        store.append(&f.stream("a")?, Expected::exact(round), f.events(1)?).await?;
        store.close().await;
    }
    let store = f.another().await?;
    ensure_eq!(sound_log(&store).await?.len(), 8, "events");
    store.close().await;
    Ok(())
}
