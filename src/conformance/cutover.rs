//! Contract section 22: a copy that goes on beside writers, and becomes the topic while they wait.

use std::future::ready;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use tokio::task::JoinSet;
use uuid::Uuid;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use super::ledger::{Ledger, prepare, versions};
use super::many::{File, append, copy, event, read_shared, url};
use super::prompt::{Argument, call};
use super::together::sound_log;
use crate::append::Append;
use crate::backend::Backend;
use crate::command::Command;
use crate::config::Config;
use crate::copy::{Copied, TopicCopy, mark};
use crate::error::{Error, Result};
use crate::json::Json;
use crate::position::Version;
use crate::projection::Projection;
use crate::read::Query;
use crate::store::Store;
use crate::stream::{Expected, Stream};

pub(super) const CASES: &[Case] = cases![
    a_copy_follows_what_is_written: "22.5" if Url, Sql;
    what_readers_share_is_copied: "22.1" if Url, Sql;
    what_the_original_has_since_is_counted_and_is_no_difference: "22.4" if Url, Sql;
    writers_wait_while_a_topic_is_moved: "22.6" if Url, Sql;
    a_writer_whose_own_deadline_is_shorter_is_told_of_the_move: "22.6" if Url, Sql;
    a_topic_that_was_moved_takes_nothing_at_its_old_place: "22.6" if Url, Sql;
    a_move_that_was_given_up_lets_writers_go_on: "22.6" if Url, Sql;
    a_topic_is_moved_to_one_place_only: "22.6" if Url, Sql;
    a_lease_that_ended_closes_nothing: "22.6" if Url, Sql;
    a_lease_is_ended_by_its_owner: "22.6" if Url, Sql;
    a_copy_that_is_the_topic_is_left_alone: "22.6" if Url, Sql;
    an_earlier_copy_is_refused_once_a_later_one_has_begun: "22.6" if Url, Sql;
    what_became_the_topic_later_is_no_copy: "22.6" if Url, Sql;
    a_move_back_that_was_cut_off_is_completed: "22.6" if Url, Sql;
    a_cutover_whose_copy_another_one_has_taken_closes_nothing: "22.6" if Url, Sql;
    a_copy_that_was_lost_is_made_anew: "22.2" if Url, Sql;
    a_cutover_that_somebody_relies_on_is_not_undone: "21.11", "22.6" if Url, Sql;
    whoever_follows_is_told_that_the_original_was_moved: "22.5" if Url, Sql;
    what_was_moved_away_takes_nothing_until_it_is_the_topic_again: "22.6" if Url, Sql;
    a_projection_goes_on_after_its_topic_comes_back: "17.1", "22.1" if Url, Sql;
    what_comes_under_a_clock_that_went_back_goes_along: "22.6" if Url, Sql;
    the_prompt_heeds_a_move: "22.6" if Routines, OneLane;
];

async fn a_copy_follows_what_is_written(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    let copy = Arc::new(copy(f).await?);
    let (end, ended) = tokio::sync::oneshot::channel::<()>();
    let following = tokio::spawn({
        let copy = Arc::clone(&copy);
        async move { copy.follow(async { drop(ended.await) }, |_| {}).await }
    });
    for count in 2..=5_i64 {
        append(&f.store, "a").await?;
        let mut version = Version::ZERO;
        for _ in 0..4_000 {
            version = copy.to().version("a").await?;
            if version.get() == count {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        ensure_eq!(version.get(), count, "the version in the copy");
    }
    f.store.record_command(Command::new(Uuid::from_u128(1))).await?;
    append(&f.store, "b").await?;
    drop(end);
    let copied = following.await.map_err(|error| Failure(error.to_string()))??;
    ensure_eq!((copied.events, copied.rows), (6, 1), "events and other rows that were copied");
    ensure!(copy.verify(|_| {}).await?.is_same(), "the copy is not the same");
    copy.to().close().await;
    Ok(())
}

async fn what_readers_share_is_copied(f: &Fixture) -> Verdict {
    for stream in ["a", "b", "a", "c"] {
        append(&f.store, stream).await?;
    }
    read_shared(&f.store).await?;
    let copy = copy(f).await?;
    copy.run(|_| {}).await?;
    ensure_eq!(copy.verify(|_| {}).await?.rows, 0, "rows that differ");
    for store in [&f.store, copy.to()] {
        let letter = store.dead_letters("group", None, 1).await?.pop().and_then(|letter| letter.reason);
        ensure_eq!(letter.as_deref(), Some("broken"), "why an event failed for good");
    }
    copy.to().close().await;
    Ok(())
}

async fn what_the_original_has_since_is_counted_and_is_no_difference(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    let copy = copy(f).await?;
    copy.run(|_| {}).await?;
    append(&f.store, "a").await?;
    let verified = copy.verify(|_| {}).await?;
    ensure_eq!((verified.events, verified.missing, verified.difference.clone()), (1, 1, None), "what was compared");
    ensure_eq!(verified.from_hash, verified.to_hash, "hashes up to the copy's end");
    ensure!(!verified.is_same(), "a copy that lacks an event is said to be the same");
    copy.to().close().await;
    Ok(())
}

async fn writers_wait_while_a_topic_is_moved(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    append(&f.store, "b").await?;
    prepare(f).await?;
    let projecting = f.store.inline([Box::new(Ledger::new(f)) as Box<dyn Projection>]).await?;
    let copy = copy(f).await?;
    let until = copy.hold(Duration::from_secs(10)).await?;
    let mut transaction = f.store.begin().await?;
    let request = Append::new().to(Stream::new("thing", "a")?, Expected::Any, [event()?]);
    ensure_err!(transaction.append(request).await, Error::Held { .. });
    drop(transaction);
    let store = f.store.clone();
    let mut writers = JoinSet::new();
    writers.spawn(async move {
        let stream = Stream::new("thing", "c")?;
        projecting.append(&stream, Expected::NoStream, [event()?]).await.map(drop)
    });
    writers.spawn({
        let store = store.clone();
        async move { append(&store, "a").await }
    });
    writers.spawn({
        let store = store.clone();
        async move { store.delete(&Stream::new("thing", "b")?, Expected::Any).await.map(drop) }
    });
    writers.spawn({
        let store = store.clone();
        async move { store.record_command(Command::new(Uuid::from_u128(1))).await.map(drop) }
    });
    writers.spawn(async move { store.set_metadata("a", None, Json::parse("{}")?).await.map(drop) });
    let early = tokio::time::timeout(Duration::from_millis(300), writers.join_next()).await;
    ensure!(early.is_err(), "a writer was answered while the topic is moved: {early:?}");
    ensure_eq!(f.store.version("a").await?.get(), 1, "the version while the topic is moved");
    mark::end_lease(&f.store, until).await;
    for outcome in writers.join_all().await {
        outcome?;
    }
    ensure_eq!(f.store.version("a").await?.get(), 2, "the version after the move was given up");
    ensure_eq!(f.store.version("c").await?.get(), 1, "the version of a stream whose writer has projections");
    ensure!(!f.store.exists("b").await?, "the deletion that waited is lost");
    ensure!(f.store.command(Uuid::from_u128(1)).await?.is_some(), "the command that waited is lost");
    copy.to().close().await;
    Ok(())
}

async fn a_writer_whose_own_deadline_is_shorter_is_told_of_the_move(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    let config = "sqlite::memory:?statement_timeout=6s".parse::<Config>()?.with_topic(&f.store.topic().name)?;
    let hurried = Store::shared(Arc::clone(f.store.backend()), &config).await?;
    let copy = copy(f).await?;
    let until = copy.hold(Duration::from_mins(1)).await?;
    let described = hurried.set_metadata("a", None, Json::parse("{}")?);
    let (appended, described) = tokio::join!(append(&hurried, "a"), described);
    ensure_err!(appended, Error::Held { until: end } if end == until);
    ensure_err!(described, Error::Held { until: end } if end == until);
    mark::end_lease(&f.store, until).await;
    append(&hurried, "a").await?;
    ensure_eq!(f.store.version("a").await?.get(), 2, "the version after a request that was refused");
    hurried.close().await;
    copy.to().close().await;
    Ok(())
}

async fn a_topic_that_was_moved_takes_nothing_at_its_old_place(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    let copy = copy(f).await?;
    let done = copy.cutover(|_| {}).await?;
    ensure_eq!((done.copied.events, done.last_events), (1, 0), "events copied, and while writers waited");
    let (store, stream) = (&f.store, Stream::new("thing", "a")?);
    ensure_err!(append(store, "a").await, Error::Moved { .. });
    ensure_err!(append(store, "new").await, Error::Moved { .. });
    let several =
        Append::new().to(stream.clone(), Expected::Any, [event()?, event()?]).guard(stream.clone(), Expected::Any);
    ensure_err!(store.commit(several).await, Error::Moved { .. });
    ensure_err!(store.record_command(Command::new(Uuid::from_u128(1))).await, Error::Moved { .. });
    ensure_err!(store.delete(&stream, Expected::Any).await, Error::Moved { .. });
    ensure_err!(store.set_metadata("a", None, Json::parse("{}")?).await, Error::Moved { .. });
    let mut transaction = store.begin().await?;
    ensure_err!(transaction.append(Append::new().to(stream, Expected::Any, [event()?])).await, Error::Moved { .. });
    drop(transaction);
    ensure_eq!(sound_log(store).await?.len(), 1, "events at the old place");
    append(copy.to(), "a").await?;
    ensure_eq!(copy.to().version("a").await?.get(), 2, "the version at the new place");
    copy.to().close().await;
    Ok(())
}

async fn a_move_that_was_given_up_lets_writers_go_on(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    let copy = copy(f).await?;
    copy.cutover(|_| {}).await?;
    ensure_err!(append(&f.store, "a").await, Error::Moved { .. });
    copy.reopen().await?;
    append(&f.store, "a").await?;
    let done = copy.cutover(|_| {}).await?;
    ensure_eq!(done.copied.events, 1, "events that were copied afterwards");
    copy.to().close().await;
    Ok(())
}

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

/// Returns the copy's way back to the case's database.
async fn back(f: &Fixture, copy: &TopicCopy) -> Result<TopicCopy> {
    let config = url(f).parse::<Config>()?.with_topic(&f.store.topic().name)?;
    TopicCopy::between(copy.to().clone(), Arc::clone(f.store.backend()) as Arc<dyn Backend>, &config).await
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

async fn what_became_the_topic_later_is_no_copy(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    let first = copy(f).await?;
    first.cutover(|_| {}).await?;
    let file = File::new();
    let second = TopicCopy::begin(first.to().clone(), file.url().parse()?).await?;
    second.cutover(|_| {}).await?;
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
    append(&f.store, "a").await?;
    let first = copy(f).await?;
    first.cutover(|_| {}).await?;
    let file = File::new();
    let second = TopicCopy::begin(first.to().clone(), file.url().parse()?).await?;
    second.cutover(|_| {}).await?;
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

async fn whoever_follows_is_told_that_the_original_was_moved(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    let copy = copy(f).await?;
    let file = File::new();
    let other = TopicCopy::begin(f.store.clone(), file.url().parse()?).await?;
    let moving = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        other.cutover(|_| {}).await
    };
    let following = tokio::time::timeout(Duration::from_secs(30), copy.follow(std::future::pending(), |_| {}));
    let (followed, moved) = tokio::join!(following, moving);
    moved?;
    let followed = followed.map_err(|_| Failure("it follows a topic for ever that was moved".to_owned()))?;
    ensure_err!(followed, Error::Moved { .. });
    ensure_eq!(copy.to().version("a").await?.get(), 1, "the version in the copy");
    other.to().close().await;
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

async fn a_projection_goes_on_after_its_topic_comes_back(f: &Fixture) -> Verdict {
    prepare(f).await?;
    let stream = f.filled("a", 3).await?;
    let ledger = Ledger::new(f);
    f.store.project(ledger.clone()).catch_up().await?;
    let copy = copy(f).await?;
    copy.cutover(|_| {}).await?;
    copy.to().append(&stream, Expected::Any, [event()?]).await?;
    back(f, &copy).await?.cutover(|_| {}).await?;
    f.store.project(ledger.clone()).catch_up().await?;
    ensure_eq!(ledger.rows(&f.store).await?, versions("a", 1..=4), "effects of four events");
    copy.to().close().await;
    Ok(())
}

async fn what_comes_under_a_clock_that_went_back_goes_along(f: &Fixture) -> Verdict {
    append(&f.store, "a").await?;
    f.store.record_command(Command::new(Uuid::from_u128(1))).await?;
    let copy = copy(f).await?;
    let since = Some(Utc::now() + TimeDelta::days(9));
    let (mut copied, mut progress) = (Copied::default(), |_| {});
    copy.claim().await?;
    copy.more(since, &mut copied, &mut progress).await?;
    ensure_eq!(copied.rows, 0, "rows copied that were written since a later time");
    copy.rest(since, &mut copied, &mut progress).await?;
    ensure!(copy.to().command(Uuid::from_u128(1)).await?.is_some(), "the command is unknown to the copy");
    f.store.set_metadata("a", None, Json::parse("{}")?).await?;
    copy.rest(since, &mut copied, &mut progress).await?;
    ensure!(copy.to().stream("a").await?.is_some_and(|a| a.metadata_version == 1), "the copy lacks metadata");
    copy.to().close().await;
    Ok(())
}

async fn the_prompt_heeds_a_move(f: &Fixture) -> Verdict {
    let arguments = [
        ("stream", Argument::Text("a")),
        ("stream_type", Argument::Text("thing")),
        ("expected_version", Argument::Null),
        ("event_type", Argument::Text("Happened")),
        ("data", Argument::Text("1")),
    ];
    let call = call(f, "append_to_stream", &arguments);
    f.store.backend().session().await?.query(&call).await?;
    let copy = copy(f).await?;
    copy.cutover(|_| {}).await?;
    match f.store.backend().session().await?.query(&call).await {
        Ok(rows) => return Err(Failure(format!("a topic that was moved took an event: {rows:?}"))),
        Err(error) => ensure!(error.report().contains("moved"), "{} does not say why", error.report()),
    }
    ensure_eq!(sound_log(&f.store).await?.len(), 1, "events at the old place");
    copy.reopen().await?;
    f.store.backend().session().await?.query(&call).await?;
    copy.to().close().await;
    Ok(())
}
