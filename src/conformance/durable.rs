//! Contract section 15: subscriptions whose checkpoint the store keeps, and whose lease one process at a time holds.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::future::join_all;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use super::prompt::{Argument, call, dialect, table};
use crate::error::{Error, Result};
use crate::event::RecordedEvent;
use crate::position::{Position, Version};
use crate::read::Query;
use crate::sql::Dialect;
use crate::store::Store;
use crate::stream::Expected;
use crate::subscription::{Durable, DurableSubscription, Handlers, Start, SubscriptionInfo};

pub(super) const CASES: &[Case] = cases![
    a_durable_subscription_goes_on_behind_what_was_acknowledged: "15.1", "15.2" if Sql;
    what_was_not_acknowledged_comes_again: "15.2" if Sql;
    an_acknowledgement_in_between_does_not_pass_what_is_unfinished: "15.3" if Sql;
    an_acknowledgement_up_to_an_event_counts_for_those_before_it: "15.3" if Sql;
    every_offset_of_an_end_between_effect_and_checkpoint_loses_nothing: "15.2" if Sql;
    a_checkpoint_is_saved_while_nothing_answers_the_filter: "15.4" if Sql;
    a_checkpoint_is_saved_after_its_time: "15.4" if Sql;
    a_saved_checkpoint_never_moves_backwards: "15.3" if Sql;
    another_filter_under_the_same_name_is_refused: "15.5" if Sql;
    a_name_that_exists_goes_on_whatever_its_start: "15.1" if Sql;
    a_new_name_begins_where_it_is_told: "15.1", "14.2" if Sql;
    two_do_not_run_under_one_name: "15.6" if Sql;
    a_closed_subscription_is_followed_at_once: "15.6" if Sql;
    a_dropped_subscription_is_followed: "15.6" if Sql;
    a_holder_that_is_gone_is_followed_after_its_lease: "15.6" if Sql, Durable;
    a_lease_is_renewed_while_its_holder_is_busy: "15.6" if Sql;
    a_holder_that_lost_its_lease_saves_nothing: "15.7" if Sql;
    a_lease_with_an_end_far_ahead_is_taken_over: "15.8" if Sql, Durable;
    of_those_who_open_a_name_at_once_one_runs: "15.6" if Sql;
    a_checkpoint_at_another_event_is_told: "15.9", "5.3" if Sql;
    a_list_shows_how_far_each_subscription_is: "15.10" if Sql;
    a_running_subscription_can_not_be_deleted: "15.10" if Sql;
    one_waits_until_a_subscription_has_seen_what_one_wrote: "15.11" if Sql;
    a_subscription_made_at_the_sql_prompt_is_gone_on_with: "1.8", "15.1" if Sql, Routines, OneLane;
    calls_that_are_dropped_lose_nothing: "15.2" if Sql;
    each_type_is_handled_by_its_handler: "15.12" if Sql;
    an_event_whose_handler_fails_comes_again: "15.2", "15.12" if Sql;
    names_of_subscriptions_are_names: "9.1" if Sql;
];

/// How long something may take that has to happen.
const PATIENCE: Duration = Duration::from_secs(30);
/// A lease that ends soon.
const SHORT: Duration = Duration::from_millis(400);

fn durable(store: &Store) -> Durable {
    // Every acknowledgement is saved.
    store.durable("s").save_after(1, Duration::from_mins(10))
}

async fn soon<T>(what: &str, work: impl Future<Output = Result<T>>) -> Result<T, Failure> {
    let done = tokio::time::timeout(PATIENCE, work).await;
    Ok(done.map_err(|_| Failure(format!("{what} did not happen within {PATIENCE:?}")))??)
}

async fn rest(subscription: &mut DurableSubscription) -> Result<Vec<i64>> {
    let mut found = Vec::new();
    while let Some(event) = subscription.try_next().await? {
        found.push(event.aggregate_version.get());
        subscription.ack(&event).await?;
    }
    Ok(found)
}

async fn take(subscription: &mut DurableSubscription, count: usize) -> Result<Vec<Arc<RecordedEvent>>> {
    let mut found = Vec::new();
    for _ in 0..count {
        found.push(subscription.next().await?);
    }
    Ok(found)
}

async fn info(f: &Fixture) -> Result<SubscriptionInfo, Failure> {
    let mut all = f.store.subscriptions().await?;
    ensure_eq!(all.len(), 1, "subscriptions in the list");
    Ok(all.remove(0))
}

/// Returns the position in the lane of stream `a`.
async fn position(f: &Fixture) -> Result<i64, Failure> {
    let lane = f.store.lane("a");
    let info = info(f).await?;
    let place = info.lanes.iter().find(|place| place.lane == lane);
    place.map(|place| place.position.get()).ok_or_else(|| Failure(format!("no row for lane {lane}")))
}

async fn a_durable_subscription_goes_on_behind_what_was_acknowledged(f: &Fixture) -> Verdict {
    f.filled("a", 6).await?;
    for version in 1..=6 {
        let mut subscription = durable(&f.store).open().await?;
        let event = subscription.next().await?;
        ensure_eq!(event.aggregate_version, Version::new(version), "the next event");
        subscription.ack(&event).await?;
        subscription.close().await?;
    }
    let mut subscription = durable(&f.store).open().await?;
    ensure!(subscription.try_next().await?.is_none(), "an event came after all were acknowledged");
    f.filled("a", 1).await?;
    ensure_eq!(rest(&mut subscription).await?, [7], "events that came later");
    Ok(())
}

async fn what_was_not_acknowledged_comes_again(f: &Fixture) -> Verdict {
    f.filled("a", 5).await?;
    let mut subscription = durable(&f.store).open().await?;
    let events = take(&mut subscription, 5).await?;
    subscription.ack(&events[0]).await?;
    subscription.ack(&events[1]).await?;
    subscription.close().await?;
    let mut subscription = durable(&f.store).open().await?;
    ensure_eq!(rest(&mut subscription).await?, [3, 4, 5], "events that were not acknowledged");
    Ok(())
}

async fn an_acknowledgement_in_between_does_not_pass_what_is_unfinished(f: &Fixture) -> Verdict {
    f.filled("a", 6).await?;
    let mut subscription = durable(&f.store).open().await?;
    let events = take(&mut subscription, 6).await?;
    for (index, expected) in [(1, 0), (3, 0), (0, 2), (5, 2), (2, 4), (4, 6)] {
        subscription.ack(&events[index]).await?;
        ensure_eq!(position(f).await?, expected, "the checkpoint after event {} was acknowledged", index + 1);
    }
    Ok(())
}

async fn an_acknowledgement_up_to_an_event_counts_for_those_before_it(f: &Fixture) -> Verdict {
    f.filled("a", 6).await?;
    let mut subscription = durable(&f.store).open().await?;
    let events = take(&mut subscription, 5).await?;
    subscription.ack_up_to(&events[2]).await?;
    ensure_eq!(position(f).await?, 3, "the checkpoint after three events of five were acknowledged");
    subscription.ack_up_to(&events[4]).await?;
    ensure_eq!(position(f).await?, 5, "the checkpoint after all were");
    Ok(())
}

async fn every_offset_of_an_end_between_effect_and_checkpoint_loses_nothing(f: &Fixture) -> Verdict {
    f.filled("a", 10).await?;
    let mut effects: Vec<i64> = Vec::new();
    // Each run ends after the effect of one more event, before that is acknowledged.
    for run in 1..=10 {
        let mut subscription = durable(&f.store).open().await?;
        while let Some(event) = subscription.try_next().await? {
            effects.push(event.aggregate_version.get());
            if event.aggregate_version.get() == run {
                break;
            }
            subscription.ack(&event).await?;
        }
        drop(subscription);
    }
    // Version 1 was done once and ended there, came again and was acknowledged, and so on: each twice but the last.
    let expected: Vec<i64> =
        (1..=10).flat_map(|version| if version == 1 { vec![1] } else { vec![version - 1, version] }).collect();
    ensure_eq!(effects, expected, "effects, in their order");
    Ok(())
}

async fn a_checkpoint_is_saved_while_nothing_answers_the_filter(f: &Fixture) -> Verdict {
    let rare = Query::new().event_types(["Rare"])?;
    let open = f.store.durable("s").query(rare).save_after(1, Duration::from_millis(30));
    let mut subscription = open.open().await?;
    let stream = f.filled("a", 700).await?;
    let waited = soon("saving a checkpoint", async {
        loop {
            // Nothing answers, so that each wait ends by its time.
            let next = tokio::time::timeout(Duration::from_millis(100), subscription.next()).await;
            if let Ok(event) = next {
                return event.map(|event| Some(event.event_type.clone()));
            }
            if f.store.subscriptions().await?.iter().all(|info| info.lag == 0) {
                return Ok(None);
            }
        }
    });
    ensure_eq!(waited.await?, None, "an event that does not answer");
    ensure_eq!(position(f).await?, 700, "the checkpoint after 700 events that do not answer");
    f.store.append(&stream, Version::new(700), [f.event("Rare")?]).await?;
    ensure_eq!(soon("the rare event", subscription.next()).await?.event_type, "Rare", "the type of the next event");
    Ok(())
}

async fn a_checkpoint_is_saved_after_its_time(f: &Fixture) -> Verdict {
    f.filled("a", 3).await?;
    let mut subscription = f.store.durable("s").save_after(1_000, Duration::from_millis(50)).open().await?;
    for event in take(&mut subscription, 3).await? {
        subscription.ack(&event).await?;
    }
    let start = Instant::now();
    while position(f).await? < 3 {
        ensure!(start.elapsed() < PATIENCE, "the checkpoint of three events was not saved within {PATIENCE:?}");
        let _ = tokio::time::timeout(Duration::from_millis(20), subscription.next()).await;
    }
    Ok(())
}

async fn a_saved_checkpoint_never_moves_backwards(f: &Fixture) -> Verdict {
    f.filled("a", 4).await?;
    let mut subscription = durable(&f.store).open().await?;
    let events = take(&mut subscription, 4).await?;
    subscription.ack_up_to(&events[3]).await?;
    for event in &events {
        subscription.ack(event).await?;
        subscription.save().await?;
        ensure_eq!(position(f).await?, 4, "the checkpoint after position {} was acknowledged again", event.position);
    }
    Ok(())
}

async fn another_filter_under_the_same_name_is_refused(f: &Fixture) -> Verdict {
    let query = |types: &[&str]| Query::new().event_types(types.iter().copied());
    durable(&f.store).query(query(&["A", "B"])?).open().await?.close().await?;
    for other in [Query::new(), query(&["A"])?, query(&["A", "B"])?.actor("ann")?, Query::stream("a")] {
        let refused = durable(&f.store).query(other).open().await.map(drop);
        ensure_err!(refused, Error::FilterChanged { ref name } if name == "s");
    }
    durable(&f.store).query(query(&["B", "A"])?).open().await?.close().await?;
    Ok(())
}

async fn a_name_that_exists_goes_on_whatever_its_start(f: &Fixture) -> Verdict {
    f.filled("a", 3).await?;
    let mut subscription = durable(&f.store).open().await?;
    let event = subscription.next().await?;
    subscription.ack(&event).await?;
    subscription.close().await?;
    let later = chrono::Utc::now() + chrono::TimeDelta::hours(1);
    for start in [Start::Now, Start::Beginning, Start::At(later)] {
        let mut subscription = durable(&f.store).start(start).open().await?;
        let next = subscription.try_next().await?.map(|event| event.aggregate_version.get());
        ensure_eq!(next, Some(2), "the next event");
        subscription.close().await?;
    }
    // And one that begins at a time to come does, whoever opens it.
    for start in [Start::At(later), Start::Beginning] {
        let mut subscription = f.store.durable("later").start(start).open().await?;
        ensure!(rest(&mut subscription).await?.is_empty(), "events before the time at which it begins");
        subscription.close().await?;
        f.filled("a", 1).await?;
    }
    Ok(())
}

async fn a_new_name_begins_where_it_is_told(f: &Fixture) -> Verdict {
    f.filled("a", 3).await?;
    let second = f.store.read_stream("a").await?.remove(1);
    let mut catching_up = f.store.subscribe(Start::Beginning, Query::new()).await?;
    catching_up.next().await?;
    let starts = [
        (Start::Beginning, vec![1, 2, 3]),
        (Start::Checkpoint(catching_up.checkpoint().await?), vec![2, 3]),
        (Start::At(second.event_timestamp), vec![]),
        (Start::Now, vec![]),
    ];
    for (number, (start, expected)) in starts.into_iter().enumerate() {
        let expected = match start {
            Start::At(time) => {
                let events = f.store.read_stream("a").await?;
                let due = events.iter().filter(|event| event.event_timestamp >= time);
                due.map(|event| event.aggregate_version.get()).collect()
            }
            _ => expected,
        };
        let mut subscription = f.store.durable(format!("s{number}")).start(start.clone()).open().await?;
        ensure_eq!(rest(&mut subscription).await?, expected, "events from {start:?}");
        subscription.close().await?;
    }
    Ok(())
}

async fn two_do_not_run_under_one_name(f: &Fixture) -> Verdict {
    let first = durable(&f.store).open().await?;
    ensure_err!(durable(&f.store).try_open().await.map(drop), Error::LeaseHeld { ref name, .. } if name == "s");
    let waiting = tokio::time::timeout(Duration::from_millis(300), durable(&f.store).open()).await;
    ensure!(waiting.is_err(), "a second one runs under the name: {waiting:?}");
    f.store.durable("t").try_open().await?.close().await?;
    first.close().await?;
    Ok(())
}

async fn a_closed_subscription_is_followed_at_once(f: &Fixture) -> Verdict {
    let first = durable(&f.store).lease(Duration::from_hours(1)).open().await?;
    first.close().await?;
    durable(&f.store).try_open().await?.close().await?;
    Ok(())
}

async fn a_dropped_subscription_is_followed(f: &Fixture) -> Verdict {
    f.filled("a", 2).await?;
    let mut first = durable(&f.store).lease(Duration::from_hours(1)).open().await?;
    let event = first.next().await?;
    first.ack(&event).await?;
    drop(first);
    let mut second = soon("following one that was dropped", durable(&f.store).open()).await?;
    ensure_eq!(rest(&mut second).await?, [2], "events that the first left");
    Ok(())
}

async fn a_holder_that_is_gone_is_followed_after_its_lease(f: &Fixture) -> Verdict {
    f.filled("a", 3).await?;
    let gone = f.another().await?;
    let mut first = durable(&gone).lease(SHORT).open().await?;
    let event = first.next().await?;
    first.ack(&event).await?;
    // Its connections are gone, so it can neither renew nor release.
    gone.close().await;
    let mut second = soon("taking the lease over", durable(&f.store).lease(SHORT).open()).await?;
    ensure_eq!(rest(&mut second).await?, [2, 3], "events that the first left");
    ensure!(first.next().await.is_err(), "the first one goes on");
    Ok(())
}

async fn a_lease_is_renewed_while_its_holder_is_busy(f: &Fixture) -> Verdict {
    /// Long enough that a busy machine renews it in time.
    const RENEWED: Duration = Duration::from_secs(2);
    f.filled("a", 1).await?;
    let mut first = durable(&f.store).lease(RENEWED).open().await?;
    let event = first.next().await?;
    let waiting = tokio::time::timeout(RENEWED * 3 / 2, durable(&f.store).lease(RENEWED).open()).await;
    ensure!(waiting.is_err(), "the lease of a busy holder was taken over");
    first.ack(&event).await?;
    ensure_eq!(position(f).await?, 1, "the checkpoint of the busy holder");
    Ok(())
}

/// Runs a statement over the rows of the subscriptions as somebody else would.
async fn meddle(f: &Fixture, set: &str) -> Result<()> {
    let sql = format!("UPDATE {} SET {set}", table(f, "subscriptions"));
    f.store.backend().session().await?.execute(&sql).await
}

async fn a_holder_that_lost_its_lease_saves_nothing(f: &Fixture) -> Verdict {
    f.filled("a", 3).await?;
    let mut first = durable(&f.store).open().await?;
    let events = take(&mut first, 2).await?;
    first.ack(&events[0]).await?;
    meddle(f, "lease_owner = 'somebody else'").await?;
    ensure_err!(first.ack(&events[1]).await, Error::LeaseLost { ref name } if name == "s");
    ensure_err!(first.next().await, Error::LeaseLost { .. });
    ensure_err!(first.save().await, Error::LeaseLost { .. });
    ensure_eq!(position(f).await?, 1, "the checkpoint");
    Ok(())
}

async fn a_lease_with_an_end_far_ahead_is_taken_over(f: &Fixture) -> Verdict {
    let gone = f.another().await?;
    let _first = durable(&gone).lease(SHORT).open().await?;
    gone.close().await;
    // As if the clock had stood a year ahead when the lease was taken.
    let end = match dialect(f) {
        Dialect::Sqlite => "lease_until + 31536000000000",
        Dialect::Postgres => "lease_until + interval '1 year'",
        Dialect::Mssql => "DATEADD(year, 1, lease_until)",
    };
    meddle(f, &format!("lease_until = {end}")).await?;
    soon("taking the lease over", durable(&f.store).lease(SHORT).open()).await?.close().await?;
    Ok(())
}

async fn of_those_who_open_a_name_at_once_one_runs(f: &Fixture) -> Verdict {
    let opened = join_all((0..8).map(|_| durable(&f.store).try_open())).await;
    let mut running = 0;
    for outcome in &opened {
        match outcome {
            Ok(_) => running += 1,
            Err(Error::LeaseHeld { .. }) => {}
            Err(error) if error.is_retryable() => {}
            Err(error) => return Err(Failure(format!("unexpected error: {}", error.report()))),
        }
    }
    ensure_eq!(running, 1, "those who run");
    ensure_eq!(info(f).await?.lanes.len(), f.store.topic().lanes.len(), "rows of the subscription");
    Ok(())
}

async fn a_checkpoint_at_another_event_is_told(f: &Fixture) -> Verdict {
    f.filled("a", 3).await?;
    let mut subscription = durable(&f.store).open().await?;
    rest(&mut subscription).await?;
    subscription.close().await?;
    let id = match dialect(f) {
        Dialect::Sqlite => "randomblob(16)",
        Dialect::Postgres => "gen_random_uuid()",
        Dialect::Mssql => "NEWID()",
    };
    meddle(f, &format!("event_id = {id} WHERE position > 0")).await?;
    let told = durable(&f.store).open().await.map(drop);
    ensure_err!(told, Error::LogDiverged { position, .. } if position == Position::new(3));
    Ok(())
}

async fn a_list_shows_how_far_each_subscription_is(f: &Fixture) -> Verdict {
    f.filled("a", 5).await?;
    let types = Query::new().event_types(["Happened"])?;
    let mut subscription = durable(&f.store).query(types).open().await?;
    for event in take(&mut subscription, 2).await? {
        subscription.ack(&event).await?;
    }
    let shown = info(f).await?;
    ensure_eq!((shown.name.as_str(), shown.lag, shown.is_running), ("s", 3, true), "name, lag, and whether it runs");
    let filter = shown.filter.as_ref().map(crate::json::Json::as_str);
    ensure_eq!(filter, Some(r#"{"event_types":["Happened"]}"#), "the filter");
    ensure!(shown.lease_owner.is_some() && shown.lease_until.is_some(), "no lease is shown: {shown:?}");
    subscription.close().await?;
    let shown = info(f).await?;
    ensure_eq!((shown.is_running, shown.lease_owner), (false, None), "whether it runs, and who");
    Ok(())
}

async fn a_running_subscription_can_not_be_deleted(f: &Fixture) -> Verdict {
    f.filled("a", 2).await?;
    let mut subscription = durable(&f.store).open().await?;
    rest(&mut subscription).await?;
    ensure_err!(f.store.delete_subscription("s").await, Error::LeaseHeld { .. });
    subscription.close().await?;
    ensure!(f.store.delete_subscription("s").await?, "there was nothing to delete");
    ensure!(!f.store.delete_subscription("s").await?, "it was deleted twice");
    let mut anew = durable(&f.store).open().await?;
    ensure_eq!(rest(&mut anew).await?, [1, 2], "events of a name that was deleted");
    Ok(())
}

async fn one_waits_until_a_subscription_has_seen_what_one_wrote(f: &Fixture) -> Verdict {
    let stream = f.stream("a")?;
    let absent = f.store.wait_for("s", (f.store.lane("a"), Position::new(1)), PATIENCE).await;
    ensure_err!(absent, Error::SubscriptionNotFound { ref name } if name == "s");
    let mut subscription = durable(&f.store).open().await?;
    let end = f.store.append(&stream, Version::ZERO, f.events(2)?).await?.end();
    let early = f.store.wait_for("s", end, Duration::from_millis(100)).await;
    ensure_err!(early, Error::Deadline { milliseconds: 100, .. });
    let (seen, waited) = tokio::join!(rest(&mut subscription), f.store.wait_for("s", end, PATIENCE));
    ensure_eq!(seen?, [1, 2], "events");
    waited?;
    Ok(())
}

async fn a_subscription_made_at_the_sql_prompt_is_gone_on_with(f: &Fixture) -> Verdict {
    f.filled("a", 4).await?;
    let mut session = f.store.backend().session().await?;
    session.execute(&call(f, "create_subscription", &[("name", Argument::Text("s"))])).await?;
    let arguments = [("name", Argument::Text("s")), ("new_position", Argument::Number(3))];
    session.query(&call(f, "checkpoint_subscription", &arguments)).await?;
    let mut subscription = durable(&f.store).open().await?;
    ensure_eq!(rest(&mut subscription).await?, [4], "events behind the checkpoint");
    Ok(())
}

async fn calls_that_are_dropped_lose_nothing(f: &Fixture) -> Verdict {
    f.filled("a", 20).await?;
    let mut found = Vec::new();
    let mut subscription = durable(&f.store).open().await?;
    let mut waits = (0..).map(|wait| Duration::from_micros(wait % 40 * 500 * (1 + wait / 100)));
    while found.len() < 20 {
        // Each is dropped wherever it has come to; later ones get more time, for slow servers.
        let Ok(event) = tokio::time::timeout(waits.next().unwrap_or_default(), subscription.next()).await else {
            continue;
        };
        let event = event?;
        let _ = tokio::time::timeout(waits.next().unwrap_or_default(), subscription.ack(&event)).await;
        found.push(event.aggregate_version.get());
    }
    ensure_eq!(found, (1..=20).collect::<Vec<_>>(), "events");
    subscription.save().await?;
    ensure_eq!(position(f).await?, 20, "the checkpoint");
    Ok(())
}

async fn each_type_is_handled_by_its_handler(f: &Fixture) -> Verdict {
    let stream = f.stream("a")?;
    for event_type in ["Placed", "Paid", "Placed", "Seen"] {
        f.store.append(&stream, Expected::Any, [f.event(event_type)?]).await?;
    }
    let (done, mut handled) = tokio::sync::mpsc::unbounded_channel();
    let by = |name: &'static str| {
        let done = done.clone();
        move |event: Arc<RecordedEvent>| std::future::ready(done.send((name, event.aggregate_version.get())))
    };
    let mut handlers = Handlers::new().on("Placed", by("placed")).on("Paid", by("paid"));
    let mut subscription = f.store.durable("some").query(handlers.query()?).open().await?;
    let expected = [("placed", 1), ("paid", 2), ("placed", 3)];
    run_until(&mut subscription, &mut handlers, &mut handled, &expected).await?;
    let mut handlers = handlers.otherwise(by("others"));
    let mut subscription = f.store.durable("all").query(handlers.query()?).open().await?;
    let expected = [("placed", 1), ("paid", 2), ("placed", 3), ("others", 4)];
    run_until(&mut subscription, &mut handlers, &mut handled, &expected).await?;
    ensure_err!(Handlers::new().query(), Error::Invalid { what: "handlers", .. });
    Ok(())
}

/// Runs handlers until as many events were handled as are expected, which must be these.
async fn run_until(
    subscription: &mut DurableSubscription,
    handlers: &mut Handlers<'_>,
    handled: &mut tokio::sync::mpsc::UnboundedReceiver<(&'static str, i64)>,
    expected: &[(&'static str, i64)],
) -> Verdict {
    let mut found = Vec::new();
    let collect = async {
        while found.len() < expected.len() {
            found.extend(handled.recv().await);
        }
    };
    tokio::select! {
        ended = subscription.run(handlers) => return Err(Failure(format!("the run ended: {ended:?}"))),
        () = collect => {}
        () = tokio::time::sleep(PATIENCE) => {}
    }
    ensure_eq!(found, expected, "what was handled, and by which handler");
    Ok(())
}

async fn an_event_whose_handler_fails_comes_again(f: &Fixture) -> Verdict {
    f.filled("a", 3).await?;
    let tries = std::sync::atomic::AtomicI64::new(0);
    let mut handlers = Handlers::new().on("Happened", async |event: Arc<RecordedEvent>| {
        let number = tries.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        if event.aggregate_version.get() == 2 && number < 3 { Err("not yet") } else { Ok(()) }
    });
    let mut subscription = durable(&f.store).open().await?;
    for _ in 0..2 {
        let failed = soon("the failure of a handler", subscription.run(&mut handlers)).await;
        ensure!(failed.is_err(), "the run went on: {failed:?}");
        ensure_eq!(position(f).await?, 1, "the checkpoint before the event that was not handled");
    }
    let ended = tokio::time::timeout(Duration::from_millis(300), subscription.run(&mut handlers)).await;
    ensure!(ended.is_err(), "the run ended: {ended:?}");
    ensure_eq!(position(f).await?, 3, "the checkpoint after all were handled");
    Ok(())
}

async fn names_of_subscriptions_are_names(f: &Fixture) -> Verdict {
    for name in ["", " s", "s\n", &"x".repeat(256)] {
        let refused = f.store.durable(name).open().await.map(drop);
        ensure!(matches!(refused, Err(Error::Invalid { .. } | Error::Limit { .. })), "{name:?}: {refused:?}");
    }
    for name in ["s", "S", "\u{e9}", "e\u{301}", "it's; DROP TABLE subscriptions --"] {
        f.store.durable(name).open().await?.close().await?;
    }
    ensure_eq!(f.store.subscriptions().await?.len(), 5, "subscriptions");
    Ok(())
}
