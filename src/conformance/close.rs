//! Closing a store: what was taken is answered, and nothing is taken any more.

use uuid::Uuid;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use crate::append::Append;
use crate::command::Command;
use crate::error::{Error, Result};
use crate::json::Json;
use crate::position::Version;
use crate::read::{Query, StreamFilter};
use crate::snapshot::{NewSnapshot, SnapshotQuery};
use crate::stream::{Expected, Stream};

pub(super) const CASES: &[Case] = cases![
    every_writing_verb_of_a_closed_store_says_so: "10.1";
    every_reading_verb_of_a_closed_store_says_so: "10.1";
    closing_twice_is_harmless: "10.1";
    the_clones_of_a_closed_store_are_closed: "10.1";
    closing_one_store_leaves_another_open: "10.1" if Durable;
    what_was_taken_before_closing_is_answered: "3.9", "3.13" if Durable;
    a_refused_append_to_a_closed_store_stores_nothing: "3.1" if Durable;
];

/// Checks that an outcome is that of a closed store.
fn closed<T: std::fmt::Debug>(verb: &str, outcome: Result<T>) -> Verdict {
    match outcome {
        Err(Error::Closed) => Ok(()),
        other => Err(Failure(format!("{verb} of a closed store was answered by {other:?}"))),
    }
}

async fn every_writing_verb_of_a_closed_store_says_so(f: &Fixture) -> Verdict {
    let (store, stream) = (&f.store, f.filled("a", 1).await?);
    store.close().await;
    closed("append", store.append(&stream, Expected::Any, f.events(1)?).await)?;
    closed("commit", store.commit(Append::new().guard(stream.clone(), Expected::Any)).await)?;
    closed("record_command", store.record_command(Command::new(Uuid::new_v4())).await)?;
    closed("delete", store.delete(&stream, Expected::Any).await)?;
    closed("undelete", store.undelete(&stream, Expected::Any).await)?;
    closed("reuse", store.reuse(&stream, Expected::Any).await)?;
    closed("set_metadata", store.set_metadata("a", None, Json::parse("{}")?).await)?;
    let snapshot = NewSnapshot::new(stream, Version::new(1), Json::parse("{}")?);
    closed("save_snapshot", store.save_snapshot(&snapshot).await)?;
    closed("prune_snapshots", store.prune_snapshots("a", Version::MAX).await)
}

async fn every_reading_verb_of_a_closed_store_says_so(f: &Fixture) -> Verdict {
    f.filled("a", 1).await?;
    let store = &f.store;
    store.close().await;
    closed("read_stream", store.read_stream("a").await)?;
    closed("query", store.query(Query::new()).await)?;
    closed("page", store.page(store.lane("a"), &Query::new(), 1).await)?;
    closed("event", store.event(Uuid::new_v4()).await)?;
    closed("recent", store.recent(1).await)?;
    closed("version", store.version("a").await)?;
    closed("exists", store.exists("a").await)?;
    closed("count", store.count("a").await)?;
    closed("stream", store.stream("a").await)?;
    closed("streams", store.streams(&StreamFilter { limit: 1, ..StreamFilter::default() }).await)?;
    closed("heads", store.heads().await)?;
    closed("command", store.command(Uuid::new_v4()).await)?;
    closed("snapshot", store.snapshot("a", SnapshotQuery::default()).await)?;
    closed("statistics", store.statistics().await)?;
    closed("health", store.health().await)
}

async fn closing_twice_is_harmless(f: &Fixture) -> Verdict {
    f.filled("a", 1).await?;
    f.store.close().await;
    f.store.close().await;
    futures::join!(f.store.close(), f.store.close());
    closed("version", f.store.version("a").await)
}

async fn the_clones_of_a_closed_store_are_closed(f: &Fixture) -> Verdict {
    let clone = f.store.clone();
    f.filled("a", 1).await?;
    f.store.close().await;
    closed("version", clone.version("a").await)?;
    closed("append", clone.append(&f.stream("a")?, Expected::Any, f.events(1)?).await)
}

async fn closing_one_store_leaves_another_open(f: &Fixture) -> Verdict {
    let other = f.another().await?;
    f.filled("a", 1).await?;
    f.store.close().await;
    other.append(&f.stream("a")?, Expected::exact(1), f.events(1)?).await?;
    ensure_eq!(other.count("a").await?, 2, "events of the stream");
    other.close().await;
    Ok(())
}

/// Appends are under way while the store closes: each is either stored and acknowledged, or refused as closed.
async fn what_was_taken_before_closing_is_answered(f: &Fixture) -> Verdict {
    let appends: Vec<_> = (0..32)
        .map(|number| {
            let (store, events) = (f.store.clone(), f.events(1));
            let stream = Stream::new("thing", format!("stream-{number}"));
            tokio::spawn(async move { store.append(&stream?, Expected::NoStream, events?).await })
        })
        .collect();
    f.filled("a", 1).await?;
    f.store.close().await;
    let reopened = f.another().await?;
    for (number, append) in appends.into_iter().enumerate() {
        let stored = match append.await? {
            Ok(_) => true,
            Err(Error::Closed) => false,
            Err(other) => return Err(other.into()),
        };
        let exists = reopened.exists(format!("stream-{number}")).await?;
        ensure!(exists == stored, "append {number}: acknowledged {stored}, stored {exists}");
    }
    ensure!(reopened.exists("a").await?, "what was acknowledged before closing is not there");
    reopened.close().await;
    Ok(())
}

async fn a_refused_append_to_a_closed_store_stores_nothing(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 1).await?;
    f.store.close().await;
    ensure_err!(f.store.append(&stream, Expected::Any, f.events(1)?).await, Error::Closed);
    let reopened = f.another().await?;
    ensure_eq!(reopened.query(Query::new()).await?.len(), 1, "events of the log");
    reopened.close().await;
    Ok(())
}
