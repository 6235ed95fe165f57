//! A batch whose connection is lost: it is sent again with the same ids, and what it had stored counts as its own.

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

/// The first pause between two attempts, which doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Commits a batch; where the connection is lost, again and again for as long as the lane's patience lasts.
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
    let (mut resent, mut in_doubt, mut pause) = (Vec::new(), false, FIRST_PAUSE);
    while let Err(error) = &outcome {
        in_doubt |= matches!(error, Error::Backend { class: ErrorClass::Ambiguous, .. });
        let again = match error {
            Error::Backend { class: ErrorClass::Reconnect | ErrorClass::Ambiguous, .. } => true,
            Error::Backend { class: ErrorClass::Retry, .. } => in_doubt,
            _ => false,
        };
        if !again || begin.elapsed() >= patience {
            return if in_doubt { Err(Error::Ambiguous { operation: "append" }) } else { outcome };
        }
        counters.resent.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(error = error.report(), in_doubt, "the connection was lost: the batch is sent again");
        if resent.is_empty() {
            resent = batch.iter().map(|request| Arc::new(look_up_ids(request))).collect();
        } else {
            tokio::time::sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
        outcome = backend.commit(lane, &resent).await;
    }
    if !in_doubt {
        return outcome;
    }
    let mut answers = Vec::with_capacity(batch.len());
    for (request, answer) in batch.iter().zip(outcome?) {
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
