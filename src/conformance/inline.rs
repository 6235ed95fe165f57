//! Contract section 17.7: projections that are moved on in the transaction of an append.

use std::time::Duration;

use futures::future::try_join_all;
use uuid::Uuid;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use super::ledger::{Ledger, dropped_after, next_times, prepare, versions};
use crate::append::Append;
use crate::command::Command;
use crate::error::{Error, Result};
use crate::projection::{InlineProjections, Projection};
use crate::store::Store;
use crate::stream::Expected;

pub(super) const CASES: &[Case] = cases![
    an_acknowledged_append_shows_in_the_read_model: "17.7" if Sql;
    an_append_that_a_projection_can_not_apply_is_refused: "17.7" if Sql;
    a_refused_append_applies_nothing: "17.7" if Sql;
    a_repeated_command_applies_nothing: "17.7", "4.1" if Sql;
    an_append_dropped_at_any_point_takes_effect_whole: "17.7", "17.1" if Sql;
    what_others_appended_is_applied_first: "17.7" if Sql;
    what_was_there_before_is_applied_when_it_begins: "17.7" if Sql;
    a_reader_that_waits_for_an_inline_append_does_not_wait: "17.7", "17.8" if Sql;
    a_runner_beside_applies_nothing_twice: "17.7", "17.1" if Sql;
    an_inline_projection_is_rebuilt_as_any_other: "17.7", "17.5" if Sql;
    an_inline_projection_of_a_replaced_version_refuses: "17.7", "17.6" if Sql;
    appends_of_several_stores_apply_each_event_once: "17.7", "17.1" if Sql, Durable;
    an_append_is_refused_where_its_projection_is_far_behind: "17.7" if Sql;
];

async fn inline(store: &Store, ledger: &Ledger) -> Result<InlineProjections> {
    store.inline([Box::new(ledger.clone()) as Box<dyn Projection>]).await
}

async fn an_acknowledged_append_shows_in_the_read_model(f: &Fixture) -> Verdict {
    prepare(f).await?;
    let (ledger, stream) = (Ledger::new(f), f.stream("a")?);
    let store = inline(&f.store, &ledger).await?;
    for version in 1..=5 {
        store.append(&stream, Expected::exact(version - 1), f.events(1)?).await?;
        ensure_eq!(ledger.rows(&f.store).await?, versions("a", 1..=version), "effects of {version} appends");
    }
    let info = f.store.projections().await?.remove(0).subscription;
    ensure_eq!(info.lag, 0, "events that the projection is behind");
    Ok(())
}

async fn an_append_that_a_projection_can_not_apply_is_refused(f: &Fixture) -> Verdict {
    prepare(f).await?;
    let (ledger, stream) = (Ledger::new(f), f.stream("a")?);
    let store = inline(&f.store, &ledger.clone().refusing("a", 3)).await?;
    store.append(&stream, Expected::NoStream, f.events(2)?).await?;
    ensure_err!(store.append(&stream, Expected::Any, f.events(2)?).await, Error::Projection { .. });
    ensure_eq!(ledger.rows(&f.store).await?, versions("a", 1..=2), "effects");
    ensure_eq!(f.store.version("a").await?.get(), 2, "the version of the stream");
    let next = store.append(&f.stream("b")?, Expected::NoStream, f.events(1)?).await?;
    ensure_eq!(ledger.rows(&f.store).await?.len(), 3, "effects after the next append");
    if next.lane == f.store.lane("a") {
        ensure_eq!(next.position().get(), 3, "the position of the next append");
    }
    Ok(())
}

async fn a_refused_append_applies_nothing(f: &Fixture) -> Verdict {
    prepare(f).await?;
    let (ledger, stream) = (Ledger::new(f), f.stream("a")?);
    let store = inline(&f.store, &ledger).await?;
    store.append(&stream, Expected::NoStream, f.events(2)?).await?;
    ensure_err!(store.append(&stream, Expected::NoStream, f.events(1)?).await, Error::Conflict { .. });
    ensure_eq!(ledger.rows(&f.store).await?, versions("a", 1..=2), "effects");
    store.append(&stream, Expected::exact(2), f.events(1)?).await?;
    ensure_eq!(ledger.rows(&f.store).await?, versions("a", 1..=3), "effects after the next append");
    Ok(())
}

async fn a_repeated_command_applies_nothing(f: &Fixture) -> Verdict {
    prepare(f).await?;
    let (ledger, stream) = (Ledger::new(f), f.stream("a")?);
    let store = inline(&f.store, &ledger).await?;
    let append = Append::new().to(stream, Expected::Any, f.events(2)?).command(Command::new(Uuid::new_v4()));
    let first = store.commit(append.clone()).await?;
    let again = store.commit(append).await?;
    ensure!(again.duplicate, "a repeated command was carried out again");
    ensure_eq!(again.positions, first.positions, "positions");
    ensure_eq!(ledger.rows(&f.store).await?, versions("a", 1..=2), "effects");
    Ok(())
}

async fn an_append_dropped_at_any_point_takes_effect_whole(f: &Fixture) -> Verdict {
    prepare(f).await?;
    let (ledger, stream) = (Ledger::new(f), f.stream("a")?);
    let store = inline(&f.store, &ledger).await?;
    let mut times = 1;
    loop {
        let done =
            dropped_after(times, store.append(&stream, Expected::Any, f.events(1)?)).await.transpose()?.is_some();
        // What was sent already is carried out before this one.
        let version = store.append(&stream, Expected::Any, f.events(1)?).await?.version();
        ensure_eq!(ledger.rows(&f.store).await?, versions("a", 1..=version.get()), "effects after {times} polls");
        if done {
            break;
        }
        times = next_times(f, times);
    }
    Ok(())
}

async fn what_others_appended_is_applied_first(f: &Fixture) -> Verdict {
    prepare(f).await?;
    let (ledger, stream) = (Ledger::new(f), f.stream("a")?);
    let store = inline(&f.store, &ledger).await?;
    f.filled("a", 600).await?;
    ensure_eq!(ledger.rows(&f.store).await?, [], "effects of an ordinary append");
    store.append(&stream, Expected::exact(600), f.events(2)?).await?;
    ensure_eq!(ledger.rows(&f.store).await?, versions("a", 1..=602), "effects");
    Ok(())
}

async fn what_was_there_before_is_applied_when_it_begins(f: &Fixture) -> Verdict {
    prepare(f).await?;
    f.filled("a", 4).await?;
    let ledger = Ledger::new(f);
    inline(&f.store, &ledger).await?;
    ensure_eq!(ledger.rows(&f.store).await?, versions("a", 1..=4), "effects");
    ensure_eq!(f.store.active_projection("ledger").await?, Some(1), "active version");
    Ok(())
}

async fn a_reader_that_waits_for_an_inline_append_does_not_wait(f: &Fixture) -> Verdict {
    prepare(f).await?;
    let store = inline(&f.store, &Ledger::new(f)).await?;
    let appended = store.append(&f.stream("a")?, Expected::Any, f.events(1)?).await?;
    Ok(f.store.wait_for("ledger@1", appended.end(), Duration::ZERO).await?)
}

async fn a_runner_beside_applies_nothing_twice(f: &Fixture) -> Verdict {
    prepare(f).await?;
    let (ledger, stream) = (Ledger::new(f), f.stream("a")?);
    let store = inline(&f.store, &ledger).await?;
    let mut runner = f.store.project(ledger.clone());
    runner.catch_up().await?;
    store.append(&stream, Expected::Any, f.events(2)?).await?;
    runner.catch_up().await?;
    ensure_eq!(ledger.rows(&f.store).await?, versions("a", 1..=2), "effects of one after the other");

    let appends = async {
        for _ in 0..30 {
            store.append(&stream, Expected::Any, f.events(1)?).await?;
        }
        Ok::<_, Error>(())
    };
    tokio::select! {
        appended = appends => appended?,
        ended = runner.run() => return Err(Failure(format!("the runner ended: {ended:?}"))),
    }
    ensure_eq!(ledger.rows(&f.store).await?, versions("a", 1..=32), "effects of both at once");
    Ok(())
}

async fn an_inline_projection_is_rebuilt_as_any_other(f: &Fixture) -> Verdict {
    prepare(f).await?;
    let (ledger, stream) = (Ledger::new(f), f.stream("a")?);
    let store = inline(&f.store, &ledger).await?;
    store.append(&stream, Expected::Any, f.events(20)?).await?;
    ledger.forge(&f.store).await?;
    let mut runner = f.store.project(ledger.clone()).batch(3);
    let (rebuilt, appended) = tokio::join!(runner.rebuild(), store.append(&stream, Expected::Any, f.events(2)?));
    rebuilt?;
    appended?;
    store.append(&stream, Expected::Any, f.events(1)?).await?;
    let mut rows = ledger.rows(&f.store).await?;
    // Where the append came first, the forged row was counted among those before it.
    rows.retain(|(stream, _)| stream == "a");
    ensure_eq!(rows, versions("a", 1..=23), "effects");
    ensure_eq!(ledger.versions_of(&f.store, "forged").await?.len(), 0, "rows that no event has");
    Ok(())
}

async fn an_inline_projection_of_a_replaced_version_refuses(f: &Fixture) -> Verdict {
    prepare(f).await?;
    let (old, new, stream) = (Ledger::new(f), Ledger::version(f, 2), f.stream("a")?);
    let before = inline(&f.store, &old).await?;
    before.append(&stream, Expected::Any, f.events(2)?).await?;
    let after = inline(&f.store, &new).await?;
    let refused = before.append(&stream, Expected::Any, f.events(1)?).await;
    ensure_err!(refused, Error::ProjectionSuperseded { active: 2, .. });
    after.append(&stream, Expected::exact(2), f.events(1)?).await?;
    ensure_eq!(old.rows(&f.store).await?, versions("a", 1..=2), "effects of the old version");
    ensure_eq!(new.rows(&f.store).await?, versions("a", 1..=3), "effects of the new version");
    Ok(())
}

async fn appends_of_several_stores_apply_each_event_once(f: &Fixture) -> Verdict {
    prepare(f).await?;
    let ledger = Ledger::new(f);
    inline(&f.store, &ledger).await?;
    let stores = try_join_all((0..3).map(|_| f.another())).await?;
    try_join_all(stores.iter().enumerate().map(|(number, store)| {
        let (ledger, stream) = (ledger.clone(), f.stream(&format!("s{number}")));
        async move {
            let (inline, stream) = (inline(store, &ledger).await?, stream?);
            for _ in 0..8 {
                inline.append(&stream, Expected::Any, f.events(1)?).await?;
                f.store.append(&f.stream("between")?, Expected::Any, f.events(1)?).await?;
            }
            Ok::<_, Error>(())
        }
    }))
    .await?;
    for store in stores {
        store.close().await;
    }
    f.store.project(ledger.clone()).catch_up().await?;
    for number in 0..3 {
        let stream = format!("s{number}");
        ensure_eq!(ledger.versions_of(&f.store, &stream).await?, (1..=8).collect::<Vec<_>>(), "effects of {stream}");
    }
    let between = ledger.versions_of(&f.store, "between").await?;
    ensure_eq!(between, (1..=24).collect::<Vec<_>>(), "effects of ordinary appends");
    Ok(())
}

async fn an_append_is_refused_where_its_projection_is_far_behind(f: &Fixture) -> Verdict {
    prepare(f).await?;
    let (ledger, stream) = (Ledger::new(f), f.stream("a")?);
    let store = inline(&f.store, &ledger).await?;
    for _ in 0..10 {
        f.filled("a", 1_000).await?;
    }
    let refused = store.append(&stream, Expected::Any, f.events(1)?).await;
    ensure_err!(refused, Error::Limit { limit: 10_000, actual: 10_001, .. });
    ensure_eq!(f.store.version("a").await?.get(), 10_000, "the version of the stream");
    ensure_eq!(ledger.rows(&f.store).await?.len(), 0, "effects");
    Ok(())
}
