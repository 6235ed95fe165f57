//! The faults of an order: what is stored and not shown yet.

use std::sync::Arc;
use std::time::Duration;

use annals::backend::Request;
use annals::{Appended, Direction, LaneId, Page, Position, Query, Result};
use tokio::sync::RwLock;

use super::backend::Saboteur;
use super::fault::Fault;

/// How long what is shown late stays hidden.
const LATE: Duration = Duration::from_millis(20);

/// Positions that are stored and not shown yet, each with the number of the store that stored it.
///
/// A read holds the lock while it looks, and a commit while it stores and hides, so that none sees what lies between.
pub type Hidden = Arc<RwLock<Vec<(i64, usize)>>>;

/// Takes positions for a batch and commits its first request last, as if each were a transaction of its own that had
/// taken its positions from a sequence. Each is acknowledged when it shows.
pub async fn commit_out_of_order(
    saboteur: &Saboteur,
    lane: LaneId,
    batch: &[Arc<Request>],
) -> Result<Vec<Result<Appended>>> {
    let (answers, unseen) = commit_hidden(saboteur, lane, batch, usize::from(batch.len() > 1)).await?;
    if !unseen.is_empty() {
        tokio::time::sleep(LATE).await;
        saboteur.hidden.write().await.retain(|(position, _)| !unseen.contains(position));
    }
    Ok(answers)
}

/// Acknowledges a batch, and shows it to other stores later, as a replica does that lags.
pub async fn show_late(saboteur: &Saboteur, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>> {
    let (answers, unseen) = commit_hidden(saboteur, lane, batch, batch.len()).await?;
    let hidden = Arc::clone(&saboteur.hidden);
    tokio::spawn(async move {
        tokio::time::sleep(LATE).await;
        hidden.write().await.retain(|(position, _)| !unseen.contains(position));
    });
    Ok(answers)
}

/// Commits a batch and hides what the first requests of it stored. Returns its answers and the hidden positions.
async fn commit_hidden(
    saboteur: &Saboteur,
    lane: LaneId,
    batch: &[Arc<Request>],
    first: usize,
) -> Result<(Vec<Result<Appended>>, Vec<i64>)> {
    let mut hidden = saboteur.hidden.write().await;
    let answers = saboteur.inner.commit(lane, batch).await?;
    let stored = answers.iter().take(first).flatten().filter(|outcome| !outcome.duplicate);
    let unseen: Vec<i64> =
        stored.filter_map(|outcome| outcome.positions).flat_map(|(first, last)| first.get()..=last.get()).collect();
    hidden.extend(unseen.iter().map(|position| (*position, saboteur.number)));
    Ok((answers, unseen))
}

/// Reads a page without what is hidden.
pub async fn read(saboteur: &Saboteur, lane: LaneId, query: &Query, rows: usize) -> Result<Page> {
    let hidden = saboteur.hidden.read().await;
    let mut page = saboteur.inner.read(lane, query, rows).await?;
    if saboteur.fault == Fault::NaiveSequence {
        page.events.retain(|event| hidden.iter().all(|(position, _)| *position != event.position.get()));
    }
    if saboteur.fault == Fault::ShowsLate {
        page.head = shown(&hidden, saboteur, page.head);
        page.events.retain(|event| event.position <= page.head);
        if query.direction == Direction::Forward {
            page.scanned = page.scanned.min(page.head);
        }
    }
    Ok(page)
}

/// Returns the head without what is hidden.
pub async fn head(saboteur: &Saboteur, lane: LaneId) -> Result<Position> {
    let hidden = saboteur.hidden.read().await;
    let head = saboteur.inner.head(lane).await?;
    Ok(if saboteur.fault == Fault::ShowsLate { shown(&hidden, saboteur, head) } else { head })
}

/// Returns the last position before those that other stores have not shown yet.
fn shown(hidden: &[(i64, usize)], saboteur: &Saboteur, head: Position) -> Position {
    let others = hidden.iter().filter(|(_, number)| *number != saboteur.number);
    others.map(|(position, _)| Position::new(position - 1)).min().map_or(head, |last| last.min(head))
}
