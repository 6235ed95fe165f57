//! Contract section 22: whose a topic and its copy are, where several move them, or one of them was cut off.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::FutureExt as _;
use uuid::Uuid;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use super::many::{File, append, back, copy};
use crate::command::Command;
use crate::copy::{Copied, TopicCopy, mark};
use crate::error::{Error, Result};
use crate::json::Json;
use crate::read::Query;
use crate::store::Store;

pub(super) const CASES: &[Case] = cases![
    a_topic_is_moved_to_one_place_only: "22.6" if Url, Sql;
    a_lease_that_ended_closes_nothing: "22.6" if Url, Sql;
    a_lease_is_ended_by_its_owner: "22.6" if Url, Sql;
    a_copy_that_is_the_topic_is_left_alone: "22.6" if Url, Sql;
    an_earlier_copy_is_refused_once_a_later_one_has_begun: "22.6" if Url, Sql;
    a_follower_that_ends_leaves_a_later_copy_alone: "22.5", "22.6" if Url, Sql;
    what_became_the_topic_later_is_no_copy: "22.6" if Url, Sql;
    a_move_back_that_was_cut_off_is_completed: "22.6" if Url, Sql;
    a_cutover_whose_copy_another_one_has_taken_closes_nothing: "22.6" if Url, Sql;
    a_copy_that_was_lost_is_made_anew: "22.2" if Url, Sql;
    a_cutover_that_somebody_relies_on_is_not_undone: "21.11", "22.6" if Url, Sql;
    what_was_moved_away_takes_nothing_until_it_is_the_topic_again: "22.6" if Url, Sql;
];

async fn a_topic_is_moved_to_one_place_only(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    let copy = copy(f).await?;
    copy.cutover(|_| {}).await?;
    let file = File::new();
    let second = TopicCopy::begin(f.store.clone(), file.url().parse()?).await?;
    ensure_err!(second.cutover(|_| {}).await, Error::Moved { .. });
    ensure_err!(append(&f.store, "a").await, Error::Moved { .. });
    // To its own place it can be completed again.
    ensure!(copy.cutover(|_| {}).await?.already(), "the copy is said not to have been the topic");
    second.to().close().await;
    copy.to().close().await;
    Ok(())
}

/// Has the original take no events for a time that is over, and returns until when.
async fn lapsed(copy: &TopicCopy) -> Result<DateTime<Utc>> {
    let until = copy.hold(Duration::from_millis(1)).await?;
    tokio::time::sleep(Duration::from_millis(20)).await;
    Ok(until)
}

async fn a_lease_that_ended_closes_nothing(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    let copy = copy(f).await?;
    copy.run(|_| {}).await?;
    let until = lapsed(&copy).await?;
    // It moves no head, and the copy lacks it.
    f.store.record_command(Command::new(Uuid::from_u128(1))).await?;
    ensure!(copy.switch(until).await?.is_none(), "the topic was closed, and the copy lacks a command");
    append(&f.store, "a").await?;
    copy.to().close().await;
    Ok(())
}

async fn a_lease_is_ended_by_its_owner(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    let copy = copy(f).await?;
    copy.run(|_| {}).await?;
    let first = lapsed(&copy).await?;
    let second = copy.hold(Duration::from_secs(20)).await?;
    ensure_err!(copy.hold(Duration::from_secs(20)).await, Error::Held { until } if until == second);
    ensure!(copy.switch(first).await?.is_none(), "the topic was closed under a lease of somebody else");
    mark::end_lease(&f.store, first).await;
    ensure_err!(copy.hold(Duration::from_secs(20)).await, Error::Held { .. });
    ensure!(copy.switch(second).await?.is_some(), "the topic was not closed under its lease");
    mark::end_lease(&f.store, second).await;
    ensure_err!(append(&f.store, "a").await, Error::Moved { .. });
    copy.to().close().await;
    Ok(())
}

async fn what_was_moved_away_takes_nothing_until_it_is_the_topic_again(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    let copy = copy(f).await?;
    copy.cutover(|_| {}).await?;
    let back = back(f, &copy).await?;
    back.run(|_| {}).await?;
    let until = lapsed(&back).await?;
    copy.to().record_command(Command::new(Uuid::from_u128(1))).await?;
    ensure!(back.switch(until).await?.is_none(), "the topic was closed, and the copy lacks a command");
    ensure_err!(append(&f.store, "a").await, Error::Moved { .. });
    append(copy.to(), "a").await?;
    back.cutover(|_| {}).await?;
    ensure_err!(append(copy.to(), "a").await, Error::Moved { .. });
    append(&f.store, "a").await?;
    ensure_eq!(f.store.version("a").await?.get(), 3, "the version where the topic was at first");
    copy.to().close().await;
    Ok(())
}

/// Reads one event where the subscription `s` stands, and returns its version.
async fn read_one(store: &Store) -> Result<i64> {
    let mut subscription = store.durable("s").save_after(1, Duration::from_mins(10)).open().await?;
    let event = subscription.next().await?;
    subscription.ack(&event).await?;
    subscription.close().await?;
    Ok(event.aggregate_version.get())
}

async fn a_copy_that_is_the_topic_is_left_alone(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    append(&f.store, "a").await?;
    ensure_eq!(read_one(&f.store).await?, 1, "the event that is read first");
    let copy = copy(f).await?;
    copy.cutover(|_| {}).await?;
    ensure_eq!(read_one(copy.to()).await?, 2, "the event that is read after the move");
    ensure_eq!(copy.run(|_| {}).await?, Copied::default(), "what was copied onto the topic");
    // Somebody has looked whether it is the topic before it was.
    let late = TopicCopy::of(f.store.clone(), copy.to().clone());
    ensure!(!late.claim().await?, "somebody copies onto the topic");
    append(copy.to(), "a").await?;
    ensure_eq!(read_one(copy.to()).await?, 3, "the event that is read after a copy onto the topic");
    append(copy.to(), "new").await?;
    ensure_eq!(
        copy.follow(ready(()), |_| {}).await?,
        Copied::default(),
        "what was copied onto a topic that has gone on"
    );
    ensure!(copy.cutover(|_| {}).await?.already(), "the copy is said not to have been the topic");
    ensure!(!late.claim().await?, "somebody copies onto a topic that has gone on");
    let verified = copy.verify(|_| {}).await?;
    ensure!(verified.is_same() && verified.events == 2, "what was moved is said to differ: {verified:?}");
    copy.to().close().await;
    Ok(())
}

async fn an_earlier_copy_is_refused_once_a_later_one_has_begun(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    let earlier = copy(f).await?;
    earlier.run(|_| {}).await?;
    f.store.record_command(Command::new(Uuid::from_u128(1))).await?;
    f.store.set_metadata("a", None, Json::parse(r#"{"is":"old"}"#)?).await?;
    let later = TopicCopy::of(f.store.clone(), earlier.to().clone());
    later.run(|_| {}).await?;
    later.to().set_metadata("a", None, Json::parse(r#"{"is":"new"}"#)?).await?;
    let (mut copied, mut progress) = (Copied::default(), |_| {});
    let refused = earlier.more(None, &mut copied, &mut progress).await;
    ensure_err!(refused, Error::Invalid { what: "target", .. });
    let metadata = later.to().stream("a").await?.and_then(|stream| stream.metadata);
    ensure_eq!(metadata.as_ref().map(Json::as_str), Some(r#"{"is":"new"}"#), "metadata of the copy");
    later.cutover(|_| {}).await?;
    ensure_err!(earlier.more(None, &mut copied, &mut progress).await, Error::Invalid { what: "target", .. });
    earlier.to().close().await;
    Ok(())
}

async fn a_follower_that_ends_leaves_a_later_copy_alone(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    let earlier = Arc::new(copy(f).await?);
    let later = TopicCopy::of(f.store.clone(), earlier.to().clone());
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let following = tokio::spawn({
        let earlier = Arc::clone(&earlier);
        async move { earlier.follow(ended.map(drop), |_| {}).await }
    });
    for version in 1..=2 {
        while later.to().version("a").await?.get() < version {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        // It follows once it has copied the second one.
        if version == 1 {
            append(&f.store, "a").await?;
        }
    }
    later.run(|_| {}).await?;
    f.store.record_command(Command::new(Uuid::from_u128(1))).await?;
    drop(end);
    let followed = following.await.map_err(|error| Failure(error.to_string()))?;
    ensure_err!(followed, Error::Invalid { what: "target", .. });
    later.more(None, &mut Copied::default(), &mut |_| {}).await?;
    ensure!(later.to().command(Uuid::from_u128(1)).await?.is_some(), "a command is unknown to the copy");
    earlier.to().close().await;
    Ok(())
}

/// Moves a topic with an event to memory, and from there to a file.
async fn moved_twice(f: &Fixture, file: &File) -> Result<(TopicCopy, TopicCopy)> {
    append(&f.store, "a").await?;
    let first = copy(f).await?;
    first.cutover(|_| {}).await?;
    let second = TopicCopy::begin(first.to().clone(), file.url().parse()?).await?;
    second.cutover(|_| {}).await?;
    Ok((first, second))
}

async fn what_became_the_topic_later_is_no_copy(f: &Fixture) -> Verdict {
    let file = File::new();
    let (first, second) = moved_twice(f, &file).await?;
    second.to().record_command(Command::new(Uuid::from_u128(1))).await?;
    second.to().set_metadata("a", None, Json::parse("{}")?).await?;
    let again = TopicCopy::of(f.store.clone(), second.to().clone());
    ensure_err!(again.run(|_| {}).await, Error::Moved { .. });
    ensure_err!(again.cutover(|_| {}).await, Error::Moved { .. });
    ensure!(second.is_topic().await?, "the topic is said to be a copy");
    let there = second.to().stream("a").await?.is_some_and(|stream| stream.metadata_version == 1);
    ensure!(there, "the metadata of the topic went back");
    ensure_err!(first.cutover(|_| {}).await, Error::Moved { .. });
    // Somebody begins to copy the topic to where it was, and the first move is run again.
    TopicCopy::of(second.to().clone(), first.to().clone()).run(|_| {}).await?;
    ensure_err!(first.cutover(|_| {}).await, Error::Moved { .. });
    ensure_err!(append(first.to(), "a").await, Error::Moved { .. });
    append(second.to(), "a").await?;
    first.to().close().await;
    second.to().close().await;
    Ok(())
}

async fn a_move_back_that_was_cut_off_is_completed(f: &Fixture) -> Verdict {
    let file = File::new();
    let (first, second) = moved_twice(f, &file).await?;
    let back = back(f, &second).await?;
    back.run(|_| {}).await?;
    let until = back.hold(Duration::from_secs(20)).await?;
    let ends: Vec<_> = back.to().ends().await?.iter().map(|end| end.head).collect();
    let closed = mark::close(back.from(), until, &ends, back.to().place()).await?;
    ensure!(closed.is_some(), "the topic is not closed at its third place");
    let again = TopicCopy::of(back.from().clone(), back.to().clone());
    ensure!(again.cutover(|_| {}).await?.already(), "the third place is said to have been open");
    append(&f.store, "a").await?;
    first.to().close().await;
    second.to().close().await;
    Ok(())
}

async fn a_cutover_whose_copy_another_one_has_taken_closes_nothing(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    let copy = copy(f).await?;
    copy.run(|_| {}).await?;
    let until = copy.hold(Duration::from_secs(20)).await?;
    let other = TopicCopy::of(f.store.clone(), copy.to().clone());
    other.claim().await?;
    ensure_err!(copy.switch(until).await, Error::Invalid { what: "target", .. });
    append(&f.store, "a").await?;
    other.cutover(|_| {}).await?;
    append(copy.to(), "a").await?;
    copy.to().close().await;
    Ok(())
}

async fn a_copy_that_was_lost_is_made_anew(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    f.store.record_command(Command::new(Uuid::from_u128(1))).await?;
    let lost = copy(f).await?;
    lost.cutover(|_| {}).await?;
    lost.to().close().await;
    let copy = copy(f).await?;
    // Cut off behind the events.
    for (from, to) in f.store.topic().lanes.iter().zip(copy.to().topic().lanes.clone()) {
        let events = f.store.page(*from, &Query::new(), 9).await?.events;
        if !events.is_empty() {
            copy.to().backend().restore(to, &events).await?;
        }
    }
    ensure_eq!(copy.run(|_| {}).await?.rows, 1, "rows that were copied");
    ensure!(copy.to().command(Uuid::from_u128(1)).await?.is_some(), "a command is unknown to the copy");
    ensure!(copy.cutover(|_| {}).await?.already(), "the original is said to have been open");
    append(copy.to(), "a").await?;
    ensure_eq!(copy.run(|_| {}).await?, Copied::default(), "what was copied onto the topic");
    copy.to().close().await;
    Ok(())
}

async fn a_cutover_that_somebody_relies_on_is_not_undone(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    let copy = copy(f).await?;
    let done = copy.cutover(|_| {}).await?;
    copy.undo(&done).await?;
    append(&f.store, "a").await?;
    ensure_err!(append(copy.to(), "a").await, Error::Moved { .. });
    let done = copy.cutover(|_| {}).await?;
    ensure!(copy.cutover(|_| {}).await?.already(), "the copy is said not to have been the topic");
    copy.undo(&done).await?;
    ensure_err!(append(&f.store, "a").await, Error::Moved { .. });
    append(copy.to(), "a").await?;
    back(f, &copy).await?.cutover(|_| {}).await?;
    // What was written to the copy by then is not given up.
    let done = copy.cutover(|_| {}).await?;
    append(copy.to(), "a").await?;
    ensure_err!(copy.undo(&done).await, Error::Moved { .. });
    ensure_err!(append(&f.store, "a").await, Error::Moved { .. });
    append(copy.to(), "a").await?;
    back(f, &copy).await?.cutover(|_| {}).await?;
    let done = copy.cutover(|_| {}).await?;
    copy.to().record_command(Command::new(Uuid::from_u128(1))).await?;
    ensure_err!(copy.undo(&done).await, Error::Moved { .. });
    append(copy.to(), "a").await?;
    copy.to().close().await;
    Ok(())
}
