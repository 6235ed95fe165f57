//! Contract section 17: what a projection writes, and its checkpoint, are committed together.

use std::sync::atomic::Ordering;
use std::time::Duration;

use async_trait::async_trait;
use futures::future::try_join_all;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use super::ledger::{BRIEF, Ledger, Together, dropped_after, next_times, prepare, versions};
use super::prompt;
use crate::append::Append;
use crate::error::Error;
use crate::event::{NewEvent, RecordedEvent};
use crate::position::Position;
use crate::projection::{Projection, ProjectionResult, ProjectionState};
use crate::read::Query;
use crate::store::Store;
use crate::stream::{Expected, Stream};
use crate::transaction::Transaction;

pub(super) const CASES: &[Case] = cases![
    every_event_takes_effect_once: "17.1" if Sql;
    a_runner_dropped_at_any_point_applies_each_event_once: "17.1" if Sql;
    a_runner_whose_lease_was_taken_applies_nothing: "17.1", "17.2" if Sql;
    a_runner_goes_on_where_one_stood_that_was_killed: "17.1", "17.2" if Sql;
    a_second_runner_waits_for_the_lease: "17.2" if Sql, Durable;
    runners_that_begin_at_once_create_the_tables_once: "17.1", "17.2" if Sql, Durable;
    an_event_that_a_projection_appends_is_appended_once: "17.1", "20.1" if Sql;
    a_batch_takes_effect_whole: "17.3" if Sql;
    events_of_a_transaction_can_be_applied_together: "17.3" if Sql;
    events_of_a_stream_are_applied_in_their_order: "17.3" if Sql;
    a_filter_chooses_and_the_checkpoint_passes_the_rest: "17.3" if Sql;
    a_live_projection_applies_what_comes: "17.3" if Sql;
    a_live_projection_applies_what_another_store_appends: "17.3" if Sql, Durable;
    an_error_names_the_event_and_its_cause: "17.4" if Sql;
    a_mended_projection_goes_on: "17.4" if Sql;
    what_may_succeed_another_time_is_tried_again: "17.4" if Sql;
    a_version_keeps_its_query: "17.6" if Sql;
    names_and_versions_that_can_not_be_used_are_refused: "17.6" if Sql;
    a_projection_is_no_other_subscription: "17.1" if Sql;
    a_writer_that_waits_reads_its_own_writes: "17.8" if Sql;
    projections_are_listed: "17.9" if Sql;
];

/// How long an event may take to take effect.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns how far the projection has come, in all lanes together.
async fn reached(store: &Store) -> Result<i64, Failure> {
    let infos = store.projections().await?;
    let info = infos.first().ok_or_else(|| Failure("the projection is not listed".to_owned()))?;
    Ok(info.subscription.lanes.iter().map(|lane| lane.position.get()).sum())
}

async fn every_event_takes_effect_once(f: &Fixture) -> Verdict {
    prepare(f).await?;
    f.filled("a", 1_200).await?;
    let ledger = Ledger::new(f);
    for _ in 0..2 {
        f.store.project(ledger.clone()).catch_up().await?;
        ensure_eq!(ledger.rows(&f.store).await?, versions("a", 1..=1_200), "effects");
    }
    ensure_eq!(reached(&f.store).await?, 1_200, "the checkpoint");
    Ok(())
}

async fn a_runner_dropped_at_any_point_applies_each_event_once(f: &Fixture) -> Verdict {
    prepare(f).await?;
    let ledger = Ledger::new(f);
    let (mut done, mut times, mut events) = (false, 1, 0);
    while !done {
        f.filled("a", 3).await?;
        events += 3;
        let mut runner = f.store.project(ledger.clone()).batch(2).lease(BRIEF);
        done = dropped_after(times, runner.catch_up()).await.transpose()?.is_some();
        runner.close().await?;
        times = next_times(f, times);
    }
    ensure_eq!(ledger.rows(&f.store).await?, versions("a", 1..=events), "effects of {events} events");
    Ok(())
}

/// Leaves the projection to whoever comes first, as if its runner had been paused until its lease ended.
async fn steal(f: &Fixture) -> Verdict {
    let mut transaction = f.store.begin().await?;
    let sql = format!("UPDATE {} SET lease_owner = NULL, lease_until = NULL", prompt::table(f, "subscriptions"));
    transaction.execute(&sql, &[]).await?;
    Ok(transaction.commit().await?)
}

async fn a_runner_whose_lease_was_taken_applies_nothing(f: &Fixture) -> Verdict {
    prepare(f).await?;
    f.filled("a", 3).await?;
    let ledger = Ledger::new(f);
    let mut paused = f.store.project(ledger.clone());
    paused.catch_up().await?;
    steal(f).await?;
    f.filled("a", 2).await?;
    ensure_err!(paused.catch_up().await, Error::LeaseLost { .. });
    ensure_eq!(ledger.rows(&f.store).await?, versions("a", 1..=3), "effects of one without a lease");

    let mut paused = f.store.project(ledger.clone());
    paused.catch_up().await?;
    steal(f).await?;
    f.filled("a", 2).await?;
    f.store.project(ledger.clone()).catch_up().await?;
    f.filled("a", 1).await?;
    ensure_err!(paused.catch_up().await, Error::LeaseLost { .. });
    ensure_eq!(ledger.rows(&f.store).await?, versions("a", 1..=7), "effects of two");
    Ok(())
}

async fn a_runner_goes_on_where_one_stood_that_was_killed(f: &Fixture) -> Verdict {
    prepare(f).await?;
    f.filled("a", 4).await?;
    let ledger = Ledger::new(f);
    let mut killed = f.store.project(ledger.clone()).lease(BRIEF);
    killed.catch_up().await?;
    // Nobody renews what nobody holds.
    let mut transaction = f.store.begin().await?;
    let sql = format!("UPDATE {} SET lease_owner = 'gone'", prompt::table(f, "subscriptions"));
    transaction.execute(&sql, &[]).await?;
    transaction.commit().await?;
    drop(killed);
    f.filled("a", 4).await?;
    let mut next = f.store.project(ledger.clone()).lease(BRIEF);
    let outcome = tokio::time::timeout(PATIENCE, next.catch_up()).await;
    outcome.map_err(|_| Failure(format!("the lease was not taken over within {PATIENCE:?}")))??;
    ensure_eq!(ledger.rows(&f.store).await?, versions("a", 1..=8), "effects");
    Ok(())
}

async fn a_second_runner_waits_for_the_lease(f: &Fixture) -> Verdict {
    prepare(f).await?;
    f.filled("a", 4).await?;
    let (ledger, other) = (Ledger::new(f), f.another().await?);
    let mut first = f.store.project(ledger.clone()).lease(BRIEF);
    first.catch_up().await?;
    f.filled("a", 4).await?;
    let mut second = other.project(ledger.clone()).lease(BRIEF);
    let waited = tokio::time::timeout(BRIEF * 4, second.catch_up()).await;
    ensure!(waited.is_err(), "a second runner did not wait: {waited:?}");
    ensure_eq!(ledger.rows(&f.store).await?, versions("a", 1..=4), "effects while it waits");
    first.close().await?;
    second.catch_up().await?;
    ensure_eq!(ledger.rows(&f.store).await?, versions("a", 1..=8), "effects");
    other.close().await;
    Ok(())
}

async fn runners_that_begin_at_once_create_the_tables_once(f: &Fixture) -> Verdict {
    prepare(f).await?;
    f.filled("a", 20).await?;
    let ledger = Ledger::new(f);
    let stores = try_join_all((0..4).map(|_| f.another())).await?;
    try_join_all(stores.iter().map(|store| async {
        let mut runner = store.project(ledger.clone()).batch(3).lease(BRIEF);
        runner.catch_up().await?;
        runner.close().await
    }))
    .await?;
    for store in stores {
        store.close().await;
    }
    ensure_eq!(ledger.rows(&f.store).await?, versions("a", 1..=20), "effects");
    Ok(())
}

/// Appends an event for each that it sees.
#[derive(Debug)]
struct Echo;

#[async_trait]
impl Projection for Echo {
    fn name(&self) -> &'static str {
        "echo"
    }

    fn query(&self) -> Query {
        Query::stream("a")
    }

    async fn create(&mut self, _: &mut Transaction) -> ProjectionResult {
        Ok(())
    }

    async fn apply(&mut self, transaction: &mut Transaction, event: &RecordedEvent) -> ProjectionResult {
        let echo = NewEvent::json("Echoed", &event.aggregate_version)?;
        transaction.append(Append::new().to(Stream::new("echo", "echo")?, Expected::Any, [echo])).await?;
        Ok(())
    }

    async fn clear(&mut self, _: &mut Transaction) -> ProjectionResult {
        Ok(())
    }
}

async fn an_event_that_a_projection_appends_is_appended_once(f: &Fixture) -> Verdict {
    f.filled("a", 6).await?;
    let mut times = 1;
    loop {
        let mut runner = f.store.project(Echo).batch(2).lease(BRIEF);
        let outcome = dropped_after(times, runner.catch_up()).await.transpose()?;
        runner.close().await?;
        if outcome.is_some() {
            break;
        }
        times = next_times(f, times);
    }
    let echoes = f.store.read_stream("echo").await?;
    let heard = echoes.iter().map(|event| event.payload.to::<i64>()).collect::<Result<Vec<_>, _>>()?;
    ensure_eq!(heard, (1..=6).collect::<Vec<_>>(), "events that were appended");
    Ok(())
}

async fn a_batch_takes_effect_whole(f: &Fixture) -> Verdict {
    prepare(f).await?;
    f.filled("a", 7).await?;
    let ledger = Ledger::new(f).refusing("a", 6);
    ensure_err!(f.store.project(ledger.clone()).batch(3).catch_up().await, Error::Projection { .. });
    ensure_eq!(ledger.rows(&f.store).await?, versions("a", 1..=3), "effects of the batches before the error");
    ensure_eq!(reached(&f.store).await?, 3, "the checkpoint");
    Ok(())
}

async fn events_of_a_transaction_can_be_applied_together(f: &Fixture) -> Verdict {
    prepare(f).await?;
    f.filled("a", 7).await?;
    let mut together = Together { ledger: Ledger::new(f).refusing("a", 9), sizes: Vec::new() };
    f.store.project(&mut together).batch(3).catch_up().await?;
    ensure_eq!(together.sizes, [3, 3, 1], "events of each transaction");
    f.filled("a", 5).await?;
    let failed = f.store.project(&mut together).batch(3).catch_up().await;
    ensure_err!(failed, Error::Projection { position, .. } if position.get() == 8);
    ensure_eq!(together.ledger.rows(&f.store).await?, versions("a", 1..=7), "effects");
    Ok(())
}

async fn events_of_a_stream_are_applied_in_their_order(f: &Fixture) -> Verdict {
    prepare(f).await?;
    for _ in 0..3 {
        for stream in ["a", "b", "c", "d"] {
            f.filled(stream, 2).await?;
        }
    }
    let ledger = Ledger::new(f);
    f.store.project(ledger.clone()).batch(5).catch_up().await?;
    for stream in ["a", "b", "c", "d"] {
        ensure_eq!(ledger.versions_of(&f.store, stream).await?, (1..=6).collect::<Vec<_>>(), "effects of {stream}");
    }
    ensure_eq!(ledger.rows(&f.store).await?.len(), 24, "effects");
    ensure_eq!(reached(&f.store).await?, 24, "the checkpoints of all lanes");
    Ok(())
}

async fn a_filter_chooses_and_the_checkpoint_passes_the_rest(f: &Fixture) -> Verdict {
    prepare(f).await?;
    let stream = f.filled("a", 3).await?;
    f.store.append(&stream, Expected::Any, [f.event("Wanted")?]).await?;
    f.filled("a", 600).await?;
    let ledger = Ledger::new(f).of(Query::new().event_types(["Wanted"])?);
    let mut runner = f.store.project(ledger.clone());
    runner.catch_up().await?;
    ensure_eq!(reached(&f.store).await?, 604, "the checkpoint");
    f.filled("a", 6).await?;
    runner.catch_up().await?;
    ensure_eq!(reached(&f.store).await?, 610, "the checkpoint where nothing answers");
    ensure_eq!(ledger.rows(&f.store).await?, versions("a", 4..=4), "effects");
    Ok(())
}

/// Runs a projection while `store` appends events one by one.
async fn live(f: &Fixture, store: &Store) -> Verdict {
    prepare(f).await?;
    let (ledger, stream) = (Ledger::new(f), f.stream("a")?);
    let mut runner = f.store.project(ledger.clone());
    runner.catch_up().await?;
    let writes = async {
        for number in 1..=20 {
            let appended = store.append(&stream, Expected::Any, f.events(1)?).await?;
            f.store.wait_for("ledger@1", appended.end(), PATIENCE).await?;
            ensure_eq!(ledger.rows(&f.store).await?, versions("a", 1..=number), "effects of what came");
        }
        Ok(())
    };
    tokio::select! {
        verdict = writes => verdict,
        ended = runner.run() => Err(Failure(format!("the runner ended: {ended:?}"))),
    }
}

async fn a_live_projection_applies_what_comes(f: &Fixture) -> Verdict {
    live(f, &f.store).await
}

async fn a_live_projection_applies_what_another_store_appends(f: &Fixture) -> Verdict {
    let other = f.another().await?;
    let verdict = live(f, &other).await;
    other.close().await;
    verdict
}

async fn an_error_names_the_event_and_its_cause(f: &Fixture) -> Verdict {
    prepare(f).await?;
    f.filled("a", 5).await?;
    let failed = f.store.project(Ledger::new(f).refusing("a", 4)).catch_up().await;
    let Err(error @ Error::Projection { .. }) = failed else {
        return Err(Failure(format!("expected an error of the projection, got {failed:?}")));
    };
    ensure!(error.report().ends_with(": it can't be applied"), "the cause is missing: {}", error.report());
    let lane = f.store.lane("a");
    ensure_err!(
        Err::<(), _>(error),
        Error::Projection { ref name, step: "apply", lane: found, position, .. }
            if name == "ledger@1" && found == lane.get() && position == Position::new(4)
    );
    Ok(())
}

async fn a_mended_projection_goes_on(f: &Fixture) -> Verdict {
    prepare(f).await?;
    f.filled("a", 5).await?;
    let ledger = Ledger::new(f);
    let mut runner = f.store.project(ledger.clone().refusing("a", 4)).lease(BRIEF);
    for _ in 0..2 {
        ensure_err!(runner.catch_up().await, Error::Projection { .. });
    }
    drop(runner);
    f.store.project(ledger.clone()).catch_up().await?;
    ensure_eq!(ledger.rows(&f.store).await?, versions("a", 1..=5), "effects");
    Ok(())
}

async fn what_may_succeed_another_time_is_tried_again(f: &Fixture) -> Verdict {
    prepare(f).await?;
    f.filled("a", 5).await?;
    let ledger = Ledger::new(f);
    ledger.stumbles.store(true, Ordering::Relaxed);
    f.store.project(ledger.clone()).catch_up().await?;
    ensure!(!ledger.stumbles.load(Ordering::Relaxed), "the projection did not stumble");
    ensure_eq!(ledger.rows(&f.store).await?, versions("a", 1..=5), "effects");
    Ok(())
}

async fn a_version_keeps_its_query(f: &Fixture) -> Verdict {
    prepare(f).await?;
    f.store.project(Ledger::new(f)).catch_up().await?;
    let other = Ledger::new(f).of(Query::new().event_types(["Wanted"])?);
    ensure_err!(f.store.project(other).catch_up().await, Error::FilterChanged { .. });
    Ok(())
}

/// A projection that differs in its name.
#[derive(Debug)]
struct Named(&'static str, u32);

#[async_trait]
impl Projection for Named {
    fn name(&self) -> &'static str {
        self.0
    }

    fn version(&self) -> u32 {
        self.1
    }

    async fn create(&mut self, _: &mut Transaction) -> ProjectionResult {
        Ok(())
    }

    async fn apply(&mut self, _: &mut Transaction, _: &RecordedEvent) -> ProjectionResult {
        Ok(())
    }

    async fn clear(&mut self, _: &mut Transaction) -> ProjectionResult {
        Ok(())
    }
}

async fn names_and_versions_that_can_not_be_used_are_refused(f: &Fixture) -> Verdict {
    for (name, version) in [("", 1), ("a@b", 1), (" a", 1), ("a", 0)] {
        ensure_err!(f.store.project(Named(name, version)).catch_up().await, Error::Invalid { what: "projection", .. });
    }
    for lease in [Duration::ZERO, Duration::from_secs(3_601)] {
        let mut runner = f.store.project(Named("a", 1)).lease(lease);
        ensure_err!(runner.catch_up().await, Error::Invalid { what: "lease", .. });
    }
    ensure_eq!(f.store.projections().await?.len(), 0, "projections");
    Ok(())
}

async fn a_projection_is_no_other_subscription(f: &Fixture) -> Verdict {
    f.store.project(Named("a", 1)).catch_up().await?;
    ensure_err!(f.store.durable("a@1").open().await, Error::Invalid { what: "subscription", .. });
    f.store.durable("b@1").open().await?.close().await?;
    ensure_err!(f.store.project(Named("b", 1)).catch_up().await, Error::Invalid { what: "projection", .. });
    Ok(())
}

async fn a_writer_that_waits_reads_its_own_writes(f: &Fixture) -> Verdict {
    prepare(f).await?;
    let (ledger, stream) = (Ledger::new(f), f.stream("a")?);
    let missing = f.store.wait_for("ledger@1", (f.store.lane("a"), Position::new(1)), PATIENCE).await;
    ensure_err!(missing, Error::SubscriptionNotFound { .. });
    let mut runner = f.store.project(ledger.clone());
    runner.catch_up().await?;
    let appended = f.store.append(&stream, Expected::Any, f.events(2)?).await?;
    let early = f.store.wait_for("ledger@1", appended.end(), Duration::ZERO).await;
    ensure_err!(early, Error::Deadline { .. });
    let waiting = async {
        f.store.wait_for("ledger@1", appended.end(), PATIENCE).await?;
        ledger.rows(&f.store).await
    };
    let (seen, caught_up) = tokio::join!(waiting, runner.catch_up());
    caught_up?;
    ensure_eq!(seen?, versions("a", 1..=2), "what the writer reads");
    Ok(())
}

async fn projections_are_listed(f: &Fixture) -> Verdict {
    f.filled("a", 3).await?;
    f.store.durable("other").open().await?.close().await?;
    for version in [10, 9] {
        f.store.project(Named("b", version)).catch_up().await.or_else(|error| match error {
            Error::ProjectionSuperseded { .. } => Ok(()),
            error => Err(error),
        })?;
    }
    let mut runner = f.store.project(Named("a", 1));
    runner.catch_up().await?;
    f.filled("a", 2).await?;
    let infos = f.store.projections().await?;
    let listed: Vec<_> = infos.iter().map(|info| (info.name.as_str(), info.version, info.state)).collect();
    let expected = [("a", 1, ProjectionState::Active), ("b", 10, ProjectionState::Active)];
    ensure_eq!(listed, expected, "projections");
    ensure!(infos[0].subscription.is_running, "a projection that runs is not listed as running");
    ensure_eq!(infos[0].subscription.lag, 2, "events that the projection is behind");
    Ok(())
}
