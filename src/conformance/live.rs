//! Contract section 14: subscriptions return what comes, in order, each event once.

use std::time::Duration;

use futures::future::try_join_all;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::follow::{PATIENCE, append, next, rest};
use super::harness::Fixture;
use super::prompt::put_event;
use crate::append::Append;
use crate::command::Command;
use crate::error::Error;
use crate::event::{ActorType, NewEvent, RecordedEvent, Source};
use crate::json::Json;
use crate::position::{Position, Version};
use crate::read::Query;
use crate::stream::{Expected, Stream};
use crate::subscription::Start;

pub(super) const CASES: &[Case] = cases![
    what_comes_is_what_is_stored: "14.1", "14.4";
    a_hole_is_told_and_nobody_passes_it: "14.1", "5.1" if Sql;
    the_boundary_of_catching_up_is_crossed_at_every_offset: "14.1";
    what_several_stores_append_is_returned_in_order: "14.1", "5.1" if Durable;
    what_another_store_appends_wakes_a_subscription: "14.4" if Durable;
    a_slow_subscription_misses_nothing: "14.4";
    a_dropped_wait_loses_nothing: "14.4";
    many_subscriptions_share_few_connections: "14.4" if Durable;
    closing_the_store_ends_a_wait: "14.4";
];

/// Returns requests whose events have all that an event can have, and little; of one stream and of several.
fn requests(f: &Fixture) -> crate::error::Result<Vec<Append>> {
    let id = uuid::Uuid::from_u128;
    let whole = NewEvent::new("Whole", Json::parse(r#"{"a":1,"a": 1e400,"z":"\u00e9 ✓"}"#)?.into())?
        .with_id(id(7))
        .with_version(3)?
        .with_metadata(Json::parse(r#"{ "b":0.10 }"#)?)?
        .with_tags(["z", "a", "ü"])?
        .with_actor("somebody", ActorType::User)?
        .with_source(Source::Api)
        .with_causation(id(8))
        .with_correlation(id(9));
    let bytes = NewEvent::bytes("Bytes", "image/png", [0, 255, 7])?;
    let (a, b) = (Stream::new("thing", "{x}a")?, Stream::new("other", "{x}b")?);
    let few = |count| f.events(count);
    Ok(vec![
        Append::new().to(a.clone(), Expected::NoStream, [whole.clone()]),
        Append::new().to(a.clone(), Expected::Any, few(3)?),
        Append::new()
            .to(b.clone(), Expected::NoStream, [bytes])
            .to(a.clone(), Expected::Exists, few(2)?)
            .to(b.clone(), Expected::NoStream, few(2)?)
            .command(Command::new(id(10))),
        // Refused, and nothing comes of it.
        Append::new().to(a.clone(), Expected::NoStream, few(1)?),
        Append::new().to(a, Expected::Any, [whole]),
        Append::new().guard(b.clone(), Expected::Exists),
        Append::new().to(b, Expected::Any, few(1)?),
    ])
}

async fn what_comes_is_what_is_stored(f: &Fixture) -> Verdict {
    let mut subscription = f.store.subscribe(Start::Now, Query::new()).await?;
    let waited = tokio::time::timeout(Duration::from_millis(20), subscription.next()).await;
    ensure!(waited.is_err(), "{waited:?} came before it was appended");
    let mut came = Vec::new();
    let mut take = async |count: usize, came: &mut Vec<RecordedEvent>| {
        for _ in 0..count {
            let event = tokio::time::timeout(PATIENCE, subscription.next()).await;
            let event = event.map_err(|_| Failure(format!("nothing came within {PATIENCE:?}")))??;
            came.push((*event).clone());
        }
        Ok::<_, Failure>(())
    };
    // One after the other, and then all at once.
    for append in requests(f)? {
        let stored = f.store.commit(append).await.ok().and_then(|appended| appended.positions);
        let events = stored.map_or(0, |(first, last)| last.get() - first.get() + 1);
        take(usize::try_from(events).unwrap_or_default(), &mut came).await?;
    }
    let again = requests(f)?.into_iter().map(|append| f.store.commit(append));
    futures::future::join_all(again).await;
    f.store.delete(&Stream::new("thing", "{x}a")?, Expected::Any).await?;
    let stored = f.store.query(Query::new()).await?;
    take(stored.len() - came.len(), &mut came).await?;
    ensure_eq!(came, stored, "events that came, and those that are stored");
    Ok(())
}

async fn a_hole_is_told_and_nobody_passes_it(f: &Fixture) -> Verdict {
    f.filled("a", 2).await?;
    let mut waiting = f.store.subscribe(Start::Now, Query::new()).await?;
    let waited = tokio::time::timeout(Duration::from_millis(20), waiting.next()).await;
    ensure!(waited.is_err(), "{waited:?} came before it was appended");
    let mut reading = f.store.subscribe(Start::Beginning, Query::new()).await?;
    for version in 1..=2 {
        ensure_eq!(next(&mut reading).await?.1, Version::new(version), "an event before the hole");
    }
    put_event(f, 4, 3, chrono::Utc::now()).await?;
    for (name, subscription) in [("waits", &mut waiting), ("reads", &mut reading)] {
        for _ in 0..2 {
            let told = tokio::time::timeout(PATIENCE, subscription.next()).await;
            let told = told.map_err(|_| Failure(format!("the one that {name} was told nothing")))?;
            ensure_err!(told.map(drop), Error::Gap { .. });
        }
    }
    Ok(())
}

async fn the_boundary_of_catching_up_is_crossed_at_every_offset(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 40).await?;
    let (mut subscriptions, mut total) = (Vec::new(), 40);
    for offset in 0..=40 {
        let mut subscription = f.store.subscribe(Start::Beginning, Query::stream("a")).await?;
        for version in 1..=offset {
            ensure_eq!(next(&mut subscription).await?.1, Version::new(version), "an event before the boundary");
        }
        // Some are appended while pages are read, some while the subscription waits.
        let size = usize::try_from(offset % 3).unwrap_or_default();
        append(&f.store, &stream, size).await?;
        total += offset % 3;
        subscriptions.push((offset, subscription));
    }
    let appended = async {
        for _ in 0..40 {
            append(&f.store, &stream, 1).await?;
        }
        Ok::<_, Failure>(())
    };
    total += 40;
    let followed = try_join_all(subscriptions.iter_mut().map(async |(offset, subscription)| {
        for version in *offset + 1..=total {
            ensure_eq!(
                next(subscription).await?.1,
                Version::new(version),
                "an event of the one that had read {offset}"
            );
        }
        Ok(())
    }));
    let (appended, followed) = tokio::join!(appended, followed);
    appended?;
    followed.map(drop)
}

async fn what_several_stores_append_is_returned_in_order(f: &Fixture) -> Verdict {
    const EACH: usize = 60;
    let stores = super::together::stores(f, 3).await?;
    let mut subscription = f.store.subscribe(Start::Beginning, Query::new()).await?;
    let writers = stores.iter().enumerate().map(async |(number, store)| {
        let stream = Stream::new("thing", format!("{{same}}writer-{number}"))?;
        for size in 0..EACH {
            append(store, &stream, 1 + size % 3).await?;
        }
        Ok::<_, Failure>(())
    });
    let total = stores.len() * (0..EACH).map(|size| 1 + size % 3).sum::<usize>();
    let follow = async {
        let mut last = Position::ZERO;
        for _ in 0..total {
            let event = tokio::time::timeout(PATIENCE, subscription.next()).await;
            let event = event.map_err(|_| Failure(format!("nothing came after position {last}")))??;
            ensure_eq!(event.position, last.next(), "the position after {last}");
            last = event.position;
        }
        Ok(())
    };
    let (written, followed) = tokio::join!(try_join_all(writers), follow);
    super::together::close(stores).await;
    written?;
    followed
}

async fn what_another_store_appends_wakes_a_subscription(f: &Fixture) -> Verdict {
    let (stream, other) = (f.filled("a", 1).await?, f.another().await?);
    let mut subscription = f.store.subscribe(Start::Now, Query::new()).await?;
    for version in 2..=6 {
        let waited = tokio::time::timeout(Duration::from_millis(20), subscription.next()).await;
        ensure!(waited.is_err(), "{waited:?} came before it was appended");
        append(&other, &stream, 1).await?;
        ensure_eq!(next(&mut subscription).await?.1, Version::new(version), "the version of the event that came");
    }
    other.close().await;
    Ok(())
}

/// More events than are kept for those who follow.
const MORE_THAN_ARE_KEPT: usize = 9_000;

async fn a_slow_subscription_misses_nothing(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 1).await?;
    let mut slow = f.store.subscribe(Start::Beginning, Query::new()).await?;
    let mut quick = f.store.subscribe(Start::Beginning, Query::new()).await?;
    for subscription in [&mut slow, &mut quick] {
        next(subscription).await?;
        let waited = tokio::time::timeout(Duration::from_millis(1), subscription.next()).await;
        ensure!(waited.is_err(), "{waited:?} came before it was appended");
    }
    let last = 1 + i64::try_from(MORE_THAN_ARE_KEPT).unwrap_or_default();
    for _ in 0..MORE_THAN_ARE_KEPT / 1_000 {
        append(&f.store, &stream, 1_000).await?;
    }
    for (name, subscription) in [("quick", &mut quick), ("slow", &mut slow)] {
        for version in 2..=last {
            ensure_eq!(next(subscription).await?.1, Version::new(version), "the next event of the {name} one");
        }
    }
    Ok(())
}

async fn a_dropped_wait_loses_nothing(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 1).await?;
    let mut subscription = f.store.subscribe(Start::Beginning, Query::new()).await?;
    let mut found = Vec::new();
    for round in 0..60u64 {
        if round % 2 == 0 {
            append(&f.store, &stream, 2).await?;
        }
        let patience = Duration::from_micros(round * 37);
        while let Ok(event) = tokio::time::timeout(patience, subscription.next()).await {
            found.push(event?.aggregate_version);
        }
    }
    found.extend(rest(&mut subscription).await?.into_iter().map(|(_, version)| version));
    ensure_eq!(found, (1..=61).map(Version::new).collect::<Vec<_>>(), "versions");
    Ok(())
}

async fn many_subscriptions_share_few_connections(f: &Fixture) -> Verdict {
    let store = f.database.open(&[("pool_max", "2")]).await?;
    let stream = f.filled("a", 10).await?;
    let mut subscriptions = Vec::new();
    for _ in 0..200 {
        subscriptions.push(store.subscribe(Start::Beginning, Query::new()).await?);
    }
    let follow = try_join_all(subscriptions.iter_mut().map(async |subscription| {
        for version in 1..=15 {
            ensure_eq!(next(subscription).await?.1, Version::new(version), "the next event");
        }
        Ok::<_, Failure>(())
    }));
    let appended = async {
        for _ in 0..5 {
            append(&store, &stream, 1).await?;
        }
        Ok::<_, Failure>(())
    };
    let (followed, appended) = tokio::join!(follow, appended);
    store.close().await;
    appended?;
    followed.map(drop)
}

async fn closing_the_store_ends_a_wait(f: &Fixture) -> Verdict {
    let mut subscription = f.store.subscribe(Start::Beginning, Query::new()).await?;
    let close = async {
        tokio::task::yield_now().await;
        f.store.close().await;
    };
    let (ended, ()) = tokio::join!(tokio::time::timeout(PATIENCE, subscription.next()), close);
    let ended = ended.map_err(|_| Failure("the wait went on after the store was closed".into()))?;
    ensure_err!(ended.map(drop), Error::Closed);
    Ok(())
}
