//! A batch that got no answer. Where the database rolled it back because of others, or the connection was lost, it is
//! sent again with the same ids, and what it had stored counts as its own.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::append::Appended;
use crate::backend::{Backend, Request};
use crate::error::{Error, ErrorClass, Result};
use crate::limits;
use crate::position::{LaneId, Position};
use crate::writer::Lane;

/// How often a batch is sent again that the database rolled back because of others.
const ROLLED_BACK: u32 = 4;
/// The pause before the third attempt, which doubles up to the longest; the second follows at once.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Commits a batch; where the database rolled it back because of others, a few times more; where the connection is lost,
/// again and again for as long as the lane's patience lasts.
///
/// # Errors
/// What the backend answers; [`Error::Ambiguous`] where it stays out of reach after an attempt that may have been
/// carried out.
pub(crate) async fn commit(
    Lane { backend, lane, patience, counters }: &Lane,
    batch: &[Arc<Request>],
) -> Result<Vec<Result<Appended>>> {
    let (backend, lane, patience) = (&**backend, *lane, *patience);
    let begin = Instant::now();
    let mut outcome = backend.commit(lane, batch).await;
    let (mut resent, mut in_doubt, mut rolled_back, mut pause) = (Vec::new(), false, 0, Duration::ZERO);
    while let Err(error) = &outcome {
        let Error::Backend { class, .. } = error else { break };
        in_doubt |= *class == ErrorClass::Ambiguous;
        let again = match class {
            ErrorClass::Reconnect | ErrorClass::Ambiguous => true,
            ErrorClass::Retry => in_doubt || rolled_back < ROLLED_BACK,
            _ => false,
        };
        if !again || begin.elapsed() >= patience {
            break;
        }
        tracing::warn!(error = error.report(), in_doubt, "nothing was answered: the batch is sent again");
        if *class == ErrorClass::Retry {
            rolled_back += 1;
            counters.rolled_back.fetch_add(1, Ordering::Relaxed);
        } else {
            counters.resent.fetch_add(1, Ordering::Relaxed);
        }
        if in_doubt && resent.is_empty() {
            resent = batch.iter().map(|request| Arc::new(look_up_ids(request))).collect();
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE);
        outcome = backend.commit(lane, if resent.is_empty() { batch } else { &resent }).await;
    }
    let answered = match outcome {
        Err(_) if in_doubt => return Err(Error::Ambiguous { operation: "append" }),
        Ok(answered) if in_doubt => answered,
        outcome => return outcome,
    };
    let mut answers = Vec::with_capacity(batch.len());
    for (request, answer) in batch.iter().zip(answered) {
        answers.push(settle(backend, lane, request, answer).await);
    }
    Ok(answers)
}

/// Returns the request as it is sent again: its events may be stored already, so that their ids are to be looked up.
fn look_up_ids(request: &Request) -> Request {
    let mut request = request.clone();
    for event in &mut request.events {
        event.id_given = true;
    }
    request
}

/// Returns the answer of an attempt that went before, if that one stored the request's events.
async fn settle(backend: &dyn Backend, lane: LaneId, request: &Request, answer: Result<Appended>) -> Result<Appended> {
    let is_news = matches!(&answer, Ok(appended) if !appended.duplicate);
    // Ids that the caller gave may have been stored by an earlier request: the duplicate is one then.
    let is_repetition = answer.is_ok() && request.events.iter().all(|event| event.id_given);
    if request.events.is_empty() || is_news || is_repetition {
        return answer;
    }
    match stored(backend, lane, request).await {
        Ok(Some(appended)) => Ok(appended),
        Ok(None) => answer,
        Err(error) => {
            tracing::warn!(error = error.report(), "what was sent again could not be looked up");
            Err(Error::Ambiguous { operation: "append" })
        }
    }
}

/// Returns where a request's events stand, if all of them do, one after the other, as one request stores them.
async fn stored(backend: &dyn Backend, lane: LaneId, request: &Request) -> Result<Option<Appended>> {
    let ids: Vec<_> = request.events.iter().map(|event| event.event_id).collect();
    let mut places = HashMap::with_capacity(ids.len());
    for ids in ids.chunks(limits::PAGE_ROWS) {
        places.extend(backend.find_events(lane, ids).await?.into_iter().map(|place| (place.event_id, place)));
    }
    let mut positions: Option<(Position, Position)> = None;
    for event in &request.events {
        let place = places.get(&event.event_id).filter(|place| place.hash == Some(event.hash));
        positions = match (place.map(|place| place.position), positions) {
            (Some(position), None) => Some((position, position)),
            (Some(position), Some((first, last))) if position == last.next() => Some((first, position)),
            _ => return Ok(None),
        };
    }
    let mut versions = Vec::new();
    for (index, stream) in request.streams.iter().enumerate() {
        if let Some(event) = request.events.iter().rfind(|event| event.stream == index)
            && let Some(event) = backend.event(lane, event.event_id).await?
        {
            versions.push((stream.aggregate_id.clone(), event.aggregate_version));
        }
    }
    Ok(Some(Appended::new(lane, positions, versions, false)))
}
