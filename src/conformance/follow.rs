//! Contract section 14: where subscriptions begin, what they return, and where they stand.

use std::collections::HashSet;
use std::time::Duration;

use chrono::TimeDelta;
use uuid::Uuid;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use crate::error::{Error, Result};
use crate::event::{ActorType, NewEvent};
use crate::position::{Position, Version};
use crate::read::{JsonFilter, Query};
use crate::store::Store;
use crate::stream::{Expected, Stream};
use crate::subscription::{Checkpoint, Start, Subscription};

pub(super) const CASES: &[Case] = cases![
    a_subscription_from_the_beginning_returns_every_event: "14.1";
    a_subscription_goes_on_with_what_is_appended_later: "14.1";
    a_subscription_of_an_empty_log_returns_the_first_event: "14.1";
    a_subscription_after_a_position_begins_behind_it: "14.2" if OneLane;
    a_subscription_after_a_position_of_several_lanes_is_refused: "14.2";
    a_subscription_from_now_returns_what_comes: "14.2";
    a_subscription_at_a_time_begins_with_its_first_event: "14.2";
    a_subscription_at_a_time_to_come_begins_then: "14.2";
    a_subscription_at_a_checkpoint_goes_on_behind_it: "14.2", "14.5";
    a_checkpoint_passes_what_does_not_answer: "14.5";
    a_checkpoint_does_not_pass_what_was_not_returned: "14.5";
    a_checkpoint_of_another_log_is_told: "14.6", "5.3";
    a_checkpoint_beyond_the_head_is_told: "14.6", "5.3" if OneLane;
    a_log_that_was_restored_is_told: "14.6", "5.3" if Sql;
    each_filter_answers_live_as_it_does_from_the_log: "14.3";
    values_in_json_answer_live_as_they_do_from_the_log: "14.3" if JsonFilters;
    a_subscription_of_a_stream_shows_its_deletion: "14.3", "8.1";
    a_query_with_an_end_can_not_be_followed: "14.3";
];

/// How long an event may take to come.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);

/// Returns the next event, or fails the case.
pub(super) async fn next(subscription: &mut Subscription) -> Result<(String, Version), Failure> {
    let event = tokio::time::timeout(PATIENCE, subscription.next()).await;
    let event = event.map_err(|_| Failure(format!("no event came within {PATIENCE:?}")))??;
    Ok((event.aggregate_id.clone(), event.aggregate_version))
}

/// Returns what is there, until the subscription has caught up.
pub(super) async fn rest(subscription: &mut Subscription) -> Result<Vec<(String, Version)>> {
    let mut found = Vec::new();
    while let Some(event) = subscription.try_next().await? {
        found.push((event.aggregate_id.clone(), event.aggregate_version));
    }
    Ok(found)
}

fn versions(stream: &str, versions: std::ops::RangeInclusive<i64>) -> Vec<(String, Version)> {
    versions.map(|version| (stream.to_owned(), Version::new(version))).collect()
}

pub(super) async fn append(store: &Store, stream: &Stream, events: usize) -> Result<()> {
    let events = (0..events).map(|number| NewEvent::json("Happened", &number)).collect::<Result<Vec<_>>>()?;
    store.append(stream, Expected::Any, events).await.map(drop)
}

async fn a_subscription_from_the_beginning_returns_every_event(f: &Fixture) -> Verdict {
    f.filled("a", 1_200).await?;
    let mut subscription = f.store.subscribe(Start::Beginning, Query::new()).await?;
    ensure_eq!(rest(&mut subscription).await?, versions("a", 1..=1_200), "events");
    Ok(())
}

async fn a_subscription_goes_on_with_what_is_appended_later(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 3).await?;
    let mut subscription = f.store.subscribe(Start::Beginning, Query::new()).await?;
    ensure_eq!(rest(&mut subscription).await?.len(), 3, "events that were there");
    for version in 4..=20 {
        let (appended, came) = tokio::join!(append(&f.store, &stream, 1), next(&mut subscription));
        appended?;
        ensure_eq!(came?, ("a".to_owned(), Version::new(version)), "the next event");
    }
    ensure_eq!(rest(&mut subscription).await?, [], "events after the last one");
    Ok(())
}

async fn a_subscription_of_an_empty_log_returns_the_first_event(f: &Fixture) -> Verdict {
    let mut subscription = f.store.subscribe(Start::Beginning, Query::new()).await?;
    ensure_eq!(rest(&mut subscription).await?, [], "events of an empty log");
    let checkpoint = subscription.checkpoint().await?;
    ensure!(
        checkpoint.positions().all(|position| position == Position::ZERO),
        "{checkpoint:?} is not at the beginning"
    );
    let stream = f.stream("a")?;
    let (appended, came) = tokio::join!(append(&f.store, &stream, 1), next(&mut subscription));
    appended?;
    ensure_eq!(came?, ("a".to_owned(), Version::new(1)), "the first event");
    Ok(())
}

async fn a_subscription_after_a_position_begins_behind_it(f: &Fixture) -> Verdict {
    f.filled("a", 5).await?;
    for after in 0..=5 {
        let mut subscription = f.store.subscribe(Start::After(Position::new(after)), Query::new()).await?;
        ensure_eq!(rest(&mut subscription).await?, versions("a", after + 1..=5), "events after position {after}");
    }
    Ok(())
}

async fn a_subscription_after_a_position_of_several_lanes_is_refused(f: &Fixture) -> Verdict {
    let topic = f.store.create_topic("wide", 2).await?;
    ensure_eq!(topic.lanes.len(), 2, "lanes");
    if !f.store.capabilities().durable {
        return Ok(());
    }
    let store = f.database.open(&[("topic", "wide")]).await?;
    let refused = store.subscribe(Start::After(Position::new(1)), Query::new()).await.map(drop);
    store.close().await;
    ensure_err!(refused, Error::Invalid { what: "start", .. });
    Ok(())
}

async fn a_subscription_from_now_returns_what_comes(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 5).await?;
    let mut subscription = f.store.subscribe(Start::Now, Query::new()).await?;
    ensure_eq!(rest(&mut subscription).await?, [], "events that were there");
    append(&f.store, &stream, 2).await?;
    ensure_eq!(next(&mut subscription).await?, ("a".to_owned(), Version::new(6)), "the next event");
    ensure_eq!(next(&mut subscription).await?, ("a".to_owned(), Version::new(7)), "the one after it");
    Ok(())
}

async fn a_subscription_at_a_time_begins_with_its_first_event(f: &Fixture) -> Verdict {
    let stream = f.stream("a")?;
    for _ in 0..6 {
        append(&f.store, &stream, 1).await?;
    }
    let events = f.store.read_stream(&stream).await?;
    for event in &events {
        let mut subscription = f.store.subscribe(Start::At(event.event_timestamp), Query::new()).await?;
        let expected = events.iter().filter(|other| other.event_timestamp >= event.event_timestamp).count();
        ensure_eq!(rest(&mut subscription).await?.len(), expected, "events at or after {}", event.event_timestamp);
    }
    Ok(())
}

async fn a_subscription_at_a_time_to_come_begins_then(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 1).await?;
    let last = f.store.read_stream(&stream).await?.remove(0).event_timestamp;
    let mut subscription = f.store.subscribe(Start::At(last + TimeDelta::milliseconds(300)), Query::new()).await?;
    append(&f.store, &stream, 1).await?;
    loop {
        append(&f.store, &stream, 1).await?;
        let events = f.store.read_stream(&stream).await?;
        let due = |time| time >= last + TimeDelta::milliseconds(300);
        if let Some(first) = events.iter().find(|event| due(event.event_timestamp)) {
            ensure_eq!(next(&mut subscription).await?.1, first.aggregate_version, "the version of the first event");
            return Ok(());
        }
    }
}

async fn a_subscription_at_a_checkpoint_goes_on_behind_it(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 6).await?;
    let mut first = f.store.subscribe(Start::Beginning, Query::new()).await?;
    for read in 0..=6 {
        let checkpoint: Checkpoint = first.checkpoint().await?.to_string().parse()?;
        let mut second = f.store.subscribe(Start::Checkpoint(checkpoint), Query::new()).await?;
        ensure_eq!(rest(&mut second).await?, versions("a", read + 1..=6), "events after {read} were read");
        first.try_next().await?;
    }
    let checkpoint = first.checkpoint().await?;
    append(&f.store, &stream, 1).await?;
    let mut second = f.store.subscribe(Start::Checkpoint(checkpoint), Query::new()).await?;
    ensure_eq!(rest(&mut second).await?, versions("a", 7..=7), "events after all were read");
    Ok(())
}

async fn a_checkpoint_passes_what_does_not_answer(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 1_500).await?;
    let rare = Query::new().event_types(["Rare"])?;
    let mut subscription = f.store.subscribe(Start::Beginning, rare.clone()).await?;
    ensure_eq!(rest(&mut subscription).await?, [], "events of a type that nothing has");
    let lane = f.store.topic().lanes.iter().position(|lane| *lane == f.store.lane("a")).unwrap_or_default();
    let stands = |checkpoint: &Checkpoint| checkpoint.positions().nth(lane).unwrap_or_default();
    let checkpoint = subscription.checkpoint().await?;
    ensure_eq!(stands(&checkpoint), Position::new(1_500), "the position after the log was looked through");
    f.store.append(&stream, Expected::Any, [f.event("Rare")?]).await?;
    append(&f.store, &stream, 10).await?;
    let mut second = f.store.subscribe(Start::Checkpoint(checkpoint), rare).await?;
    ensure_eq!(rest(&mut second).await?, versions("a", 1_501..=1_501), "events after the checkpoint");
    ensure_eq!(stands(&second.checkpoint().await?), Position::new(1_511), "the position behind the last event");
    Ok(())
}

async fn a_checkpoint_does_not_pass_what_was_not_returned(f: &Fixture) -> Verdict {
    f.filled("a", 10).await?;
    let mut subscription = f.store.subscribe(Start::Beginning, Query::new()).await?;
    for read in 1..=10 {
        subscription.next().await?;
        let positions: i64 = subscription.checkpoint().await?.positions().map(Position::get).sum();
        ensure_eq!(positions, read, "the position after {read} events");
    }
    Ok(())
}

async fn a_checkpoint_of_another_log_is_told(f: &Fixture) -> Verdict {
    f.filled("a", 3).await?;
    let mut subscription = f.store.subscribe(Start::Beginning, Query::new()).await?;
    rest(&mut subscription).await?;
    let checkpoint = subscription.checkpoint().await?;
    let mut other = checkpoint.clone();
    other.incarnation = Uuid::new_v4();
    ensure_err!(f.store.subscribe(Start::Checkpoint(other), Query::new()).await.map(drop), Error::LogDiverged { .. });
    let mut other = checkpoint.clone();
    for mark in other.marks.iter_mut().filter(|mark| mark.position > Position::ZERO) {
        mark.event_id = Uuid::new_v4();
    }
    let told = f.store.subscribe(Start::Checkpoint(other), Query::new()).await.map(drop);
    ensure_err!(told, Error::LogDiverged { position, .. } if position == Position::new(3));
    f.store.subscribe(Start::Checkpoint(checkpoint), Query::new()).await?;
    Ok(())
}

async fn a_checkpoint_beyond_the_head_is_told(f: &Fixture) -> Verdict {
    f.filled("a", 3).await?;
    let mut subscription = f.store.subscribe(Start::Beginning, Query::new()).await?;
    rest(&mut subscription).await?;
    let mut beyond = subscription.checkpoint().await?;
    beyond.marks[0].position = Position::new(4);
    let told = f.store.subscribe(Start::Checkpoint(beyond), Query::new()).await.map(drop);
    ensure_err!(told, Error::LogDiverged { position, .. } if position == Position::new(4));
    let mut ahead = f.store.subscribe(Start::After(Position::new(7)), Query::new()).await?;
    ensure_err!(ahead.try_next().await, Error::LogDiverged { .. });
    Ok(())
}

async fn a_log_that_was_restored_is_told(f: &Fixture) -> Verdict {
    f.filled("a", 2).await?;
    let mut subscription = f.store.subscribe(Start::Beginning, Query::new()).await?;
    rest(&mut subscription).await?;
    let checkpoint = subscription.checkpoint().await?;
    let before = f.store.topic().incarnation;
    let incarnation = f.store.reincarnate().await?;
    ensure!(incarnation != before, "the incarnation is the same");
    let told = f.store.subscribe(Start::Checkpoint(checkpoint), Query::new()).await.map(drop);
    ensure_err!(told, Error::LogDiverged { position, .. } if position == Position::ZERO);
    if f.store.capabilities().durable {
        let store = f.another().await?;
        let mut anew = store.subscribe(Start::Beginning, Query::new()).await?;
        ensure_eq!(rest(&mut anew).await?, versions("a", 1..=2), "events of the new incarnation");
        let checkpoint = anew.checkpoint().await?;
        store.subscribe(Start::Checkpoint(checkpoint), Query::new()).await?;
        store.close().await;
    }
    Ok(())
}

/// Appends events that differ in all that a filter can ask for.
async fn varied(f: &Fixture, round: usize) -> Result<()> {
    for number in 0..12 {
        let (category, id) = if number % 2 == 0 { ("thing", "a") } else { ("other", "{a}b") };
        let mut event = f.event(if number % 3 == 0 { "Rare" } else { "Happened" })?;
        if number % 4 == 0 {
            event = event.with_tags(["red", "round"])?;
        } else if number % 4 == 1 {
            event = event.with_tags(["red"])?;
        }
        if number % 5 == 0 {
            event = event.with_actor("ann", ActorType::User)?;
        }
        event = event.with_correlation(Uuid::from_u128(number as u128 % 3)).with_causation(Uuid::from_u128(7));
        if (number + round).is_multiple_of(4) {
            event = event.with_causation(Uuid::from_u128(8));
        }
        f.store.append(&Stream::new(category, id)?, Expected::Any, [event]).await?;
    }
    Ok(())
}

fn filters() -> Result<Vec<Query>> {
    Ok(vec![
        Query::new(),
        Query::new().event_types(["Rare"])?,
        Query::new().event_types(["Rare", "Happened", "Never"])?,
        Query::new().aggregate_type("other")?,
        Query::new().tags(["red"])?,
        Query::new().tags(["red", "round"])?,
        Query::new().actor("ann")?,
        Query::new().correlation(Uuid::from_u128(1)),
        Query::new().causation(Uuid::from_u128(8)),
        Query::new().stream_prefixes(["{a"])?,
        Query::new().stream_prefixes(["{b", "a"])?,
        Query::stream("a"),
        Query::stream("a").from_version(Version::new(8)),
        Query::stream("{a}b").event_types(["Rare"])?,
        Query::new().event_types(["Rare"])?.tags(["red"])?.aggregate_type("thing")?,
    ])
}

async fn each_filter_answers_live_as_it_does_from_the_log(f: &Fixture) -> Verdict {
    answer_live_as_from_the_log(f, filters()?).await
}

async fn values_in_json_answer_live_as_they_do_from_the_log(f: &Fixture) -> Verdict {
    let rare = JsonFilter::new("data.of", serde_json::Value::from("Rare"))?;
    answer_live_as_from_the_log(f, vec![Query::new().json(rare.clone()), Query::stream("a").json(rare)]).await
}

async fn answer_live_as_from_the_log(f: &Fixture, queries: Vec<Query>) -> Verdict {
    varied(f, 0).await?;
    let mut live = Vec::new();
    for query in queries {
        let before = ids(&f.store, &query).await?;
        let mut subscription = f.store.subscribe(Start::Now, query.clone()).await?;
        // One that has waited is served from what all of them share.
        let waited = tokio::time::timeout(Duration::from_millis(1), subscription.next()).await;
        ensure!(waited.is_err(), "{waited:?} came before anything was appended");
        live.push((query, before, subscription));
    }
    for round in 1..=3 {
        varied(f, round).await?;
    }
    for (query, before, mut subscription) in live {
        let all = ids(&f.store, &query).await?;
        let expected: HashSet<Uuid> = all.difference(&before).copied().collect();
        let mut found = HashSet::new();
        while found.len() < expected.len() {
            let Ok(event) = tokio::time::timeout(PATIENCE, subscription.next()).await else {
                return Err(Failure(format!("{query:?} returned {} events live", found.len())));
            };
            let event = event?;
            ensure!(found.insert(event.event_id), "{query:?} returned position {} twice", event.position);
        }
        ensure_eq!(found, expected, "events of {query:?} live");
        ensure_eq!(rest(&mut subscription).await?, [], "further events of {query:?}");
        let mut late = f.store.subscribe(Start::Beginning, query.clone()).await?;
        ensure_eq!(rest(&mut late).await?.len(), all.len(), "events of {query:?} from the log");
    }
    Ok(())
}

async fn ids(store: &Store, query: &Query) -> Result<HashSet<Uuid>> {
    Ok(store.query(query.clone()).await?.iter().map(|event| event.event_id).collect())
}

async fn a_subscription_of_a_stream_shows_its_deletion(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 2).await?;
    let mut subscription = f.store.subscribe(Start::Beginning, Query::stream("a")).await?;
    ensure_eq!(rest(&mut subscription).await?.len(), 2, "events");
    f.store.delete(&stream, Expected::Any).await?;
    let event = tokio::time::timeout(PATIENCE, subscription.next()).await;
    let event = event.map_err(|_| Failure("the marker did not come".into()))??;
    ensure_eq!(event.event_type, crate::marker::DELETED, "the type of the last event");
    let mut late = f.store.subscribe(Start::Beginning, Query::stream("a")).await?;
    ensure_eq!(rest(&mut late).await?, versions("a", 1..=3), "events for one who comes later");
    Ok(())
}

async fn a_query_with_an_end_can_not_be_followed(f: &Fixture) -> Verdict {
    let now = chrono::Utc::now();
    for query in [
        Query::new().backward(),
        Query::new().limit(3),
        Query::new().after(Position::new(1)),
        Query::new().until(Position::new(9)),
        Query::new().between(None, Some(now)),
        Query::new().between(Some(now), None),
        Query::stream("a").to_version(Version::new(3)),
    ] {
        let refused = f.store.subscribe(Start::Beginning, query).await.map(drop);
        ensure_err!(refused, Error::Invalid { what: "query of a subscription", .. });
    }
    Ok(())
}
