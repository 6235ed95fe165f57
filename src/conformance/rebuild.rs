//! Contract section 17: projections are built again, and newer versions take over from older ones.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use super::case::{Case, Failure, Verdict, cases, ensure_eq, ensure_err};
use super::harness::{Database, Fixture};
use super::ledger::{BRIEF, Ledger, activations, dropped_after, next_times, prepare, versions};
use crate::error::Error;
use crate::event::NewEvent;
use crate::projection::{ProjectionProgress, ProjectionState};
use crate::stream::{Expected, Stream};

pub(super) const CASES: &[Case] = cases![
    a_rebuilt_read_model_equals_the_first: "17.5" if Sql;
    a_rebuild_that_is_abandoned_at_any_point_can_be_finished: "17.5" if Sql;
    a_rebuild_tells_how_far_it_has_come: "17.5" if Sql;
    a_rebuild_leaves_the_version_active: "17.5" if Sql;
    the_first_version_is_active_once_it_has_caught_up: "17.6" if Sql;
    a_new_version_takes_over_once_it_has_caught_up: "17.6" if Sql;
    a_takeover_that_is_abandoned_at_any_point_activates_once: "17.6" if Sql;
    a_new_version_shows_what_the_one_before_had_shown: "17.6" if Sql, Durable;
    the_runner_of_a_replaced_version_ends: "17.6" if Sql;
    a_replaced_version_is_not_started_again: "17.6" if Sql;
];

const PATIENCE: Duration = Duration::from_secs(30);

async fn a_rebuilt_read_model_equals_the_first(f: &Fixture) -> Verdict {
    prepare(f).await?;
    f.filled("a", 30).await?;
    let ledger = Ledger::new(f);
    let mut runner = f.store.project(ledger.clone()).batch(7);
    runner.catch_up().await?;
    ledger.forge(&f.store).await?;
    f.filled("a", 5).await?;
    runner.rebuild().await?;
    ensure_eq!(ledger.rows(&f.store).await?, versions("a", 1..=35), "effects after the rebuild");
    f.filled("a", 1).await?;
    runner.catch_up().await?;
    ensure_eq!(ledger.rows(&f.store).await?, versions("a", 1..=36), "effects of what came then");
    Ok(())
}

async fn a_rebuild_that_is_abandoned_at_any_point_can_be_finished(f: &Fixture) -> Verdict {
    prepare(f).await?;
    f.filled("a", 6).await?;
    let ledger = Ledger::new(f);
    f.store.project(ledger.clone()).lease(BRIEF).catch_up().await?;
    let mut times = 1;
    loop {
        let mut runner = f.store.project(ledger.clone()).batch(4).lease(BRIEF);
        let done = dropped_after(times, runner.rebuild()).await.transpose()?.is_some();
        runner.close().await?;
        let mut next = f.store.project(ledger.clone()).batch(4).lease(BRIEF);
        next.catch_up().await?;
        next.close().await?;
        ensure_eq!(ledger.rows(&f.store).await?, versions("a", 1..=6), "effects after {times} polls");
        if done {
            break;
        }
        times = next_times(f, times);
    }
    Ok(())
}

async fn a_rebuild_tells_how_far_it_has_come(f: &Fixture) -> Verdict {
    prepare(f).await?;
    f.filled("a", 10).await?;
    let told = Arc::new(Mutex::new(Vec::new()));
    let listener = Arc::clone(&told);
    let listen = move |progress: &ProjectionProgress| {
        let mut told = listener.lock().unwrap_or_else(PoisonError::into_inner);
        told.push((progress.events, progress.position, progress.head, progress.rate() >= 0.0));
    };
    let mut runner = f.store.project(Ledger::new(f)).batch(4);
    runner.catch_up().await?;
    drop(runner);
    f.store.project(Ledger::new(f)).batch(4).on_progress(listen).rebuild().await?;
    let told = told.lock().unwrap_or_else(PoisonError::into_inner).clone();
    ensure_eq!(told, [(4, 4, 10, true), (8, 8, 10, true), (10, 10, 10, true)], "events, position, head, rate");
    Ok(())
}

async fn a_rebuild_leaves_the_version_active(f: &Fixture) -> Verdict {
    prepare(f).await?;
    f.filled("a", 3).await?;
    let mut runner = f.store.project(Ledger::new(f));
    runner.catch_up().await?;
    runner.rebuild().await?;
    ensure_eq!(f.store.active_projection("ledger").await?, Some(1), "active version");
    ensure_eq!(activations(f).await?, [1], "activations");
    Ok(())
}

async fn the_first_version_is_active_once_it_has_caught_up(f: &Fixture) -> Verdict {
    prepare(f).await?;
    f.filled("a", 3).await?;
    ensure_eq!(f.store.active_projection("ledger").await?, None, "active version before the first run");
    let broken = f.store.project(Ledger::new(f).refusing("a", 3)).catch_up().await;
    ensure_err!(broken, Error::Projection { .. });
    ensure_eq!(f.store.active_projection("ledger").await?, None, "active version before the end");
    ensure_eq!(activations(f).await?.len(), 0, "activations");
    f.store.project(Ledger::new(f)).catch_up().await?;
    ensure_eq!(f.store.active_projection("ledger").await?, Some(1), "active version");
    ensure_eq!(activations(f).await?, [1], "activations");
    Ok(())
}

async fn a_new_version_takes_over_once_it_has_caught_up(f: &Fixture) -> Verdict {
    prepare(f).await?;
    f.filled("a", 5).await?;
    let (old, new) = (Ledger::new(f), Ledger::version(f, 2));
    let mut runner = f.store.project(old.clone());
    runner.catch_up().await?;
    ensure_err!(f.store.project(new.clone().refusing("a", 4)).batch(2).catch_up().await, Error::Projection { .. });
    ensure_eq!(f.store.active_projection("ledger").await?, Some(1), "active version while the new one is built");
    f.filled("a", 2).await?;
    runner.catch_up().await?;
    ensure_eq!(old.rows(&f.store).await?, versions("a", 1..=7), "effects of the old version meanwhile");

    f.store.project(new.clone()).catch_up().await?;
    ensure_eq!(f.store.active_projection("ledger").await?, Some(2), "active version");
    ensure_eq!(activations(f).await?, [1, 2], "activations");
    ensure_eq!(new.rows(&f.store).await?, versions("a", 1..=7), "effects of the new version");
    let states: Vec<_> = f.store.projections().await?.iter().map(|info| (info.version, info.state)).collect();
    ensure_eq!(states, [(1, ProjectionState::Retired), (2, ProjectionState::Active)], "states");
    Ok(())
}

async fn a_takeover_that_is_abandoned_at_any_point_activates_once(f: &Fixture) -> Verdict {
    prepare(f).await?;
    f.filled("a", 2).await?;
    f.store.project(Ledger::new(f)).catch_up().await?;
    let mut times = 1;
    loop {
        let mut runner = f.store.project(Ledger::version(f, 2)).lease(BRIEF);
        let done = dropped_after(times, runner.catch_up()).await.transpose()?.is_some();
        runner.close().await?;
        let expected: &[i64] = if f.store.active_projection("ledger").await? == Some(2) { &[1, 2] } else { &[1] };
        ensure_eq!(activations(f).await?, expected, "activations after {times} polls");
        if done {
            break;
        }
        times = next_times(f, times);
    }
    ensure_eq!(activations(f).await?, [1, 2], "activations");
    Ok(())
}

/// Appends events and has the first version apply them, with a store and a thread of its own, whoever waits meanwhile.
fn go_on(database: Arc<dyn Database>, mut ledger: Ledger) -> Verdict {
    let work = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        runtime.block_on(async {
            let store = database.open(&[]).await?;
            let events = (0..3).map(|number| NewEvent::json("Happened", &number)).collect::<Result<Vec<_>, _>>()?;
            store.append(&Stream::new("thing", "a")?, Expected::Any, events).await?;
            let outcome = store.project(&mut ledger).catch_up().await;
            store.close().await;
            Ok(outcome?)
        })
    };
    std::thread::spawn(work)
        .join()
        .unwrap_or_else(|_| Err(Failure("the thread of the first version panicked".to_owned())))
}

async fn a_new_version_shows_what_the_one_before_had_shown(f: &Fixture) -> Verdict {
    prepare(f).await?;
    f.filled("a", 5).await?;
    let (old, new) = (Ledger::new(f), Ledger::version(f, 2));
    let mut runner = f.store.project(old.clone());
    runner.catch_up().await?;
    runner.close().await?;
    // When the new one has come to where the log ended, and has not taken over yet, the old one goes on.
    let gone_on = Arc::new(Mutex::new(None));
    let (listener, database, ledger) = (Arc::clone(&gone_on), Arc::clone(&f.database), old.clone());
    let listen = move |_: &ProjectionProgress| {
        let mut gone_on = listener.lock().unwrap_or_else(PoisonError::into_inner);
        gone_on.get_or_insert_with(|| go_on(Arc::clone(&database), ledger.clone()));
    };
    f.store.project(new.clone()).on_progress(listen).catch_up().await?;
    let gone_on = gone_on.lock().unwrap_or_else(PoisonError::into_inner).take();
    gone_on.ok_or_else(|| Failure("nothing was told of the progress".to_owned()))??;
    ensure_eq!(old.rows(&f.store).await?, versions("a", 1..=8), "effects of the old version");
    ensure_eq!(f.store.active_projection("ledger").await?, Some(2), "active version");
    ensure_eq!(new.rows(&f.store).await?, versions("a", 1..=8), "effects of the new version when it took over");
    Ok(())
}

async fn the_runner_of_a_replaced_version_ends(f: &Fixture) -> Verdict {
    prepare(f).await?;
    f.filled("a", 5).await?;
    let mut old = f.store.project(Ledger::new(f)).lease(BRIEF);
    old.catch_up().await?;
    let replace = async {
        f.store.project(Ledger::version(f, 2)).catch_up().await?;
        f.filled("a", 1).await.map(drop)
    };
    let ended = tokio::time::timeout(PATIENCE, async { tokio::join!(old.run(), replace) }).await;
    let (ended, replaced) = ended.map_err(|_| Failure("the old runner did not end".to_owned()))?;
    replaced?;
    ensure_err!(ended, Error::ProjectionSuperseded { active: 2, .. });
    Ok(())
}

async fn a_replaced_version_is_not_started_again(f: &Fixture) -> Verdict {
    prepare(f).await?;
    f.filled("a", 5).await?;
    let old = Ledger::new(f);
    f.store.project(old.clone()).catch_up().await?;
    f.store.project(Ledger::version(f, 3)).catch_up().await?;
    f.filled("a", 1).await?;
    ensure_err!(f.store.project(old.clone()).catch_up().await, Error::ProjectionSuperseded { active: 3, .. });
    ensure_err!(f.store.project(old.clone()).rebuild().await, Error::ProjectionSuperseded { active: 3, .. });
    let unknown = f.store.project(Ledger::version(f, 2)).catch_up().await;
    ensure_err!(unknown, Error::ProjectionSuperseded { active: 3, .. });
    ensure_eq!(old.rows(&f.store).await?, versions("a", 1..=5), "effects of the old version");
    ensure_eq!(f.store.active_projection("ledger").await?, Some(3), "active version");
    Ok(())
}
