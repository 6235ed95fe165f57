//! Contract sections 3.9, 3.13 and 10: connections that are lost are replaced, and nothing that was acknowledged goes
//! with them.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use uuid::Uuid;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq};
use super::harness::Fixture;
use super::together::sound_log;
use crate::append::Append;
use crate::backend::Session;
use crate::command::Command;
use crate::error::{Error, ErrorClass, Result};
use crate::event::NewEvent;
use crate::position::Version;
use crate::read::Query;
use crate::sql::Dialect;
use crate::store::Store;
use crate::stream::{Expected, Stream};

pub(super) const CASES: &[Case] = cases![
    an_append_after_the_connections_were_lost_is_carried_out: "3.13" if Kill;
    a_read_after_the_connections_were_lost_is_carried_out: "3.13" if Kill;
    a_paged_read_goes_on_after_the_connections_were_lost: "3.13", "6.2" if Kill;
    every_verb_works_after_the_connections_were_lost: "3.13" if Kill, OneLane;
    what_was_acknowledged_while_connections_were_lost_is_there: "3.1", "3.9", "10.1" if Kill;
    a_command_that_is_repeated_over_lost_connections_is_carried_out_once: "3.13", "4.1" if Kill;
    reads_while_connections_are_lost_are_right_or_fail: "5.1", "10.1" if Kill;
];

/// A store whose connections another session can tell from others, and end.
struct Victim {
    store: Store,
    killer: Box<dyn Session>,
    name: String,
    dialect: Dialect,
}

impl Victim {
    async fn new(f: &Fixture) -> Result<Self> {
        let name = format!("annals_{}", Uuid::new_v4().simple());
        let store = f.database.open(&[("application_name", &name)]).await?;
        let dialect = f.store.capabilities().sql.unwrap_or(Dialect::Postgres);
        Ok(Self { store, killer: f.store.backend().session().await?, name, dialect })
    }

    /// Ends the store's connections, and waits until the server has none of them left.
    async fn kill(&mut self) -> Verdict {
        let listed = match self.dialect {
            Dialect::Mssql => {
                format!("SELECT session_id FROM sys.dm_exec_sessions WHERE program_name = N'{}'", self.name)
            }
            _ => format!("SELECT pid FROM pg_stat_activity WHERE application_name = '{}'", self.name),
        };
        let mut known: HashSet<String> = HashSet::new();
        for round in 0..10_000 {
            let found: HashSet<String> = self.killer.query(&listed).await?.concat().into_iter().flatten().collect();
            if round == 0 {
                known.clone_from(&found);
                for id in &found {
                    match self.dialect {
                        Dialect::Mssql => self.killer.execute(&format!("KILL {id}")).await?,
                        _ => self.killer.execute(&format!("SELECT pg_terminate_backend({id})")).await?,
                    }
                }
            } else if found.is_disjoint(&known) {
                return Ok(());
            }
        }
        Err(Failure("the server did not end the connections".to_owned()))
    }
}

async fn an_append_after_the_connections_were_lost_is_carried_out(f: &Fixture) -> Verdict {
    let mut victim = Victim::new(f).await?;
    for version in 0..5 {
        let outcome = victim.store.append(&f.stream("a")?, Expected::exact(version), f.events(1)?).await?;
        ensure_eq!(outcome.version(), Version::new(version + 1), "version");
        victim.kill().await?;
    }
    ensure_eq!(sound_log(&f.store).await?.len(), 5, "events");
    victim.store.close().await;
    Ok(())
}

async fn a_read_after_the_connections_were_lost_is_carried_out(f: &Fixture) -> Verdict {
    let mut victim = Victim::new(f).await?;
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(20)?).await?;
    for _ in 0..5 {
        ensure_eq!(victim.store.query(Query::new()).await?.len(), 20, "events");
        victim.kill().await?;
    }
    victim.store.close().await;
    Ok(())
}

async fn a_paged_read_goes_on_after_the_connections_were_lost(f: &Fixture) -> Verdict {
    use futures::TryStreamExt;

    let mut victim = Victim::new(f).await?;
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(2_500)?).await?;
    let mut read = std::pin::pin!(victim.store.clone().read(Query::new()));
    ensure!(read.try_next().await?.is_some(), "the read has no first event");
    victim.kill().await?;
    ensure_eq!(read.try_collect::<Vec<_>>().await?.len(), 2_499, "events that the read had left");
    victim.store.close().await;
    Ok(())
}

async fn every_verb_works_after_the_connections_were_lost(f: &Fixture) -> Verdict {
    let mut victim = Victim::new(f).await?;
    let stream = f.stream("a")?;
    victim.store.append(&stream, Expected::NoStream, f.events(1)?).await?;
    victim.kill().await?;
    victim.store.health().await?;
    victim.kill().await?;
    ensure_eq!(victim.store.version(&stream).await?, Version::new(1), "version");
    victim.kill().await?;
    ensure_eq!(
        victim.store.set_metadata(&stream, None, crate::json::Json::parse("{}")?).await?,
        1,
        "metadata's version"
    );
    victim.kill().await?;
    victim.store.delete(&stream, Expected::exact(1)).await?;
    victim.kill().await?;
    victim.store.undelete(&stream, Expected::exact(2)).await?;
    victim.kill().await?;
    ensure_eq!(victim.store.heads().await?.len(), 1, "heads");
    victim.store.close().await;
    Ok(())
}

/// Whether an error is one that a lost connection excuses.
fn excused(error: &Error) -> bool {
    matches!(
        error,
        Error::Ambiguous { .. }
            | Error::Backend { class: ErrorClass::Reconnect | ErrorClass::Ambiguous | ErrorClass::Retry, .. }
    )
}

async fn what_was_acknowledged_while_connections_were_lost_is_there(f: &Fixture) -> Verdict {
    let mut victim = Victim::new(f).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let writers: Vec<_> = (0..4)
        .map(|writer| {
            let (store, stop) = (victim.store.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let stream = Stream::new("thing", format!("s{writer}"))?;
                let mut acknowledged = Vec::new();
                for number in 0.. {
                    if stop.load(Ordering::Relaxed) {
                        break;
                    }
                    let events = [NewEvent::json("First", &number)?, NewEvent::json("Second", &number)?];
                    match store.append(&stream, Expected::Any, events).await {
                        Ok(outcome) => acknowledged.push((number, outcome.version().get())),
                        Err(error) if excused(&error) => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(acknowledged)
            })
        })
        .collect();
    for _ in 0..6 {
        let head = f.store.backend().head(f.store.lane("a")).await?;
        while f.store.backend().head(f.store.lane("a")).await? < head.plus(8) {
            tokio::task::yield_now().await;
        }
        victim.kill().await?;
    }
    stop.store(true, Ordering::Relaxed);
    let log = sound_log(&f.store).await?;
    ensure!(log.len() > 40, "only {} events were written: the case proves nothing", log.len());
    for (writer, acknowledged) in writers.into_iter().enumerate() {
        let acknowledged = acknowledged.await??;
        let events = f.store.read_stream(format!("s{writer}")).await?;
        let numbers = events.iter().map(|event| event.payload.to()).collect::<Result<Vec<i64>>>()?;
        let whole = numbers.chunks(2).all(|pair| pair.len() == 2 && pair[0] == pair[1]);
        ensure!(whole && numbers.is_sorted(), "a request was torn, or stored after a later one: {numbers:?}");
        let once: HashSet<i64> = numbers.iter().copied().collect();
        ensure_eq!(once.len() * 2, numbers.len(), "events of requests that are stored once");
        for (number, version) in acknowledged {
            let found = usize::try_from(version - 1).ok().and_then(|index| numbers.get(index)).copied();
            ensure_eq!(found, Some(number), "request whose event has the version {version} that was acknowledged");
        }
    }
    victim.store.close().await;
    Ok(())
}

async fn a_command_that_is_repeated_over_lost_connections_is_carried_out_once(f: &Fixture) -> Verdict {
    let mut victim = Victim::new(f).await?;
    for round in 0..8 {
        let append =
            Append::new().to(f.stream("a")?, Expected::Any, f.events(3)?).command(Command::new(Uuid::new_v4()));
        let (store, first) = (victim.store.clone(), append.clone());
        let begun = tokio::spawn(async move { store.commit(first).await });
        victim.kill().await?;
        match begun.await? {
            Err(error) if !excused(&error) => return Err(error.into()),
            _ => {}
        }
        let outcome = victim.store.commit(append).await?;
        ensure_eq!(outcome.version().get(), 3 * (round + 1), "version after round {round}");
    }
    ensure_eq!(sound_log(&f.store).await?.len(), 24, "events");
    victim.store.close().await;
    Ok(())
}

async fn reads_while_connections_are_lost_are_right_or_fail(f: &Fixture) -> Verdict {
    let mut victim = Victim::new(f).await?;
    f.store.append(&f.stream("a")?, Expected::NoStream, f.events(2_200)?).await?;
    let stop = Arc::new(AtomicBool::new(false));
    let readers: Vec<_> = (0..3)
        .map(|_| {
            let (store, stop) = (victim.store.clone(), Arc::clone(&stop));
            tokio::spawn(async move {
                let mut counts = Vec::new();
                while !stop.load(Ordering::Relaxed) {
                    match store.query(Query::new()).await {
                        Ok(events) => counts.push(events.len()),
                        Err(error) if excused(&error) => {}
                        Err(error) => return Err(error),
                    }
                }
                Ok(counts)
            })
        })
        .collect();
    for _ in 0..6 {
        victim.kill().await?;
    }
    stop.store(true, Ordering::Relaxed);
    for reader in readers {
        let counts = reader.await??;
        ensure!(counts.iter().all(|count| *count == 2_200), "a read returned a part without an error: {counts:?}");
    }
    ensure_eq!(victim.store.query(Query::new()).await?.len(), 2_200, "events once connections are not lost any more");
    victim.store.close().await;
    Ok(())
}
