//! What the families about consumer groups share.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use futures::future::select_all;

use super::case::{Failure, Verdict, ensure, ensure_eq};
use super::harness::Fixture;
use crate::error::Result;
use crate::subscription::{Delivery, Group, GroupInfo, Member};

/// How long a member may be silent where the others are to notice soon.
pub(super) const LEASE: Duration = Duration::from_secs(3);
/// How long a member may be silent otherwise, so that no busy machine makes it seem gone.
pub(super) const CALM: Duration = Duration::from_mins(10);
/// How long an event may take to come.
pub(super) const PATIENCE: Duration = Duration::from_secs(30);
/// How long is waited for what should not come.
const A_WHILE: Duration = Duration::from_millis(150);

/// An event that a member dealt with.
#[derive(Debug)]
pub(super) struct Handled {
    pub member: usize,
    pub stream: String,
    pub version: i64,
}

/// Describes the group `g`, with short pauses.
pub(super) fn group(f: &Fixture) -> Group {
    let pauses = (Duration::from_millis(5), Duration::from_millis(20));
    f.store.group("g").lease(CALM).save_after(500, Duration::from_millis(100)).backoff(pauses.0, pauses.1)
}

/// Appends a number of events to each of a number of streams, one stream after the other in each round.
pub(super) async fn streams(f: &Fixture, streams: usize, events: usize) -> Result<()> {
    for _ in 0..events {
        for stream in 0..streams {
            f.filled(&format!("s-{stream}"), 1).await?;
        }
    }
    Ok(())
}

/// Returns the next delivery.
pub(super) async fn takes(member: &Member) -> Result<Delivery, Failure> {
    let delivery = tokio::time::timeout(PATIENCE, member.next()).await;
    Ok(delivery.map_err(|_| Failure(format!("no event came within {PATIENCE:?}")))??)
}

/// Fails where an event comes.
pub(super) async fn nothing_comes(member: &Member) -> Verdict {
    match tokio::time::timeout(A_WHILE, member.next()).await {
        Err(_) => Ok(()),
        Ok(delivery) => Err(Failure(format!("an event came that should not: {:?}", delivery?))),
    }
}

/// Lets members deal with a number of events.
pub(super) async fn work(members: &[Member], events: usize) -> Result<Vec<Handled>, Failure> {
    let mut handled = Vec::new();
    while handled.len() < events {
        let next = select_all(members.iter().map(|member| Box::pin(member.next())));
        let next = tokio::time::timeout(PATIENCE, next).await;
        let (delivery, member, _) =
            next.map_err(|_| Failure(format!("no event came within {PATIENCE:?}, after {handled:?}")))?;
        let delivery = delivery?;
        let event = delivery.event();
        handled.push(Handled { member, stream: event.aggregate_id.clone(), version: event.aggregate_version.get() });
        members[member].ack(delivery)?;
    }
    Ok(handled)
}

/// Checks that no event came twice.
pub(super) fn once(handled: &[Handled]) -> Verdict {
    let mut seen = HashSet::new();
    for event in handled {
        ensure!(seen.insert((&event.stream, event.version)), "{event:?} came twice");
    }
    Ok(())
}

/// Checks that the events of each stream came one after the other, from the first one seen.
pub(super) fn in_order(handled: &[Handled]) -> Verdict {
    let mut last: HashMap<&str, i64> = HashMap::new();
    for event in handled {
        let version = last.entry(&event.stream).or_default();
        ensure_eq!(event.version, *version + 1, "version of the next event of {}", event.stream);
        *version = event.version;
    }
    Ok(())
}

/// Returns what is known of the group.
pub(super) async fn info(f: &Fixture) -> Result<GroupInfo, Failure> {
    let all = f.store.subscriptions().await?;
    let info = all.into_iter().find(|info| info.name == "g").and_then(|info| info.group);
    info.ok_or_else(|| Failure("there is no group g".into()))
}

/// Returns how many shares each member has.
pub(super) fn count_shares(info: &GroupInfo) -> Vec<usize> {
    info.members.iter().map(|member| member.shares).collect()
}

/// Waits until the members have so many shares each, which they know, scaled to the shares that the lanes make.
pub(super) async fn settled(members: &[Member], shares: &[usize], f: &Fixture) -> Verdict {
    let start = Instant::now();
    loop {
        let info = info(f).await?;
        let (found, known) = (count_shares(&info), members.iter().map(Member::shares).collect::<Vec<_>>());
        let even = info.shares == shares.iter().sum::<usize>() && found == shares;
        let spread = found.iter().max().unwrap_or(&0) - found.iter().min().unwrap_or(&0) <= 1;
        let complete = found.len() == shares.len() && found.iter().sum::<usize>() == info.shares;
        if known == found && complete && spread && (even || f.store.topic().lanes.len() > 1) {
            return Ok(());
        }
        ensure!(start.elapsed() < PATIENCE, "after {PATIENCE:?} the members have {found:?}, and not {shares:?}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Returns the checkpoint of the group in each lane.
pub(super) async fn checkpoint(f: &Fixture) -> Result<Vec<i64>, Failure> {
    let all = f.store.subscriptions().await?;
    let info = all.into_iter().find(|info| info.name == "g");
    let info = info.ok_or_else(|| Failure("there is no group g".into()))?;
    Ok(info.lanes.iter().map(|lane| lane.position.get()).collect())
}

/// Waits until the checkpoint of the group stands at the end of each lane, while nothing more comes.
pub(super) async fn everything(f: &Fixture, member: &Member) -> Verdict {
    let start = Instant::now();
    loop {
        let heads: Vec<i64> = f.store.heads().await?.iter().map(|(_, head)| head.get()).collect();
        let found = checkpoint(f).await?;
        if found == heads {
            return Ok(());
        }
        ensure!(start.elapsed() < PATIENCE, "the checkpoint stays at {found:?}, and the lanes end at {heads:?}");
        nothing_comes(member).await?;
    }
}
