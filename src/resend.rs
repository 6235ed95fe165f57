//! A batch whose connection is lost: it is sent again with the same ids, and what it had stored counts as its own.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::append::Appended;
use crate::backend::{Backend, Request};
use crate::error::{Error, ErrorClass, Result};
use crate::position::LaneId;

/// The first pause between two attempts, which doubles up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Commits a batch; where the connection is lost, again and again for as long as `patience` lasts.
///
/// # Errors
/// What the backend answers; [`Error::Ambiguous`] where it stays out of reach after an attempt that may have been
/// carried out.
pub(crate) async fn commit(
    backend: &dyn Backend,
    lane: LaneId,
    batch: &[Arc<Request>],
    patience: Duration,
) -> Result<Vec<Result<Appended>>> {
    let begin = Instant::now();
    let mut outcome = backend.commit(lane, batch).await;
    let (mut resent, mut in_doubt, mut pause) = (Vec::new(), false, FIRST_PAUSE);
    while let Err(Error::Backend { class: class @ (ErrorClass::Reconnect | ErrorClass::Ambiguous), source, .. }) =
        &outcome
    {
        in_doubt |= *class == ErrorClass::Ambiguous;
        if begin.elapsed() >= patience {
            return if in_doubt { Err(Error::Ambiguous { operation: "append" }) } else { outcome };
        }
        tracing::warn!(%source, in_doubt, "the connection was lost: the batch is sent again");
        if resent.is_empty() {
            resent = batch.iter().map(|request| Arc::new(again(request))).collect();
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
fn again(request: &Request) -> Request {
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
    let (Some(first), false, false) = (request.events.first(), is_news, is_repetition) else { return answer };
    let Some(stored) = backend.event(lane, first.event_id).await?.filter(|event| event.hash == Some(first.hash)) else {
        return answer;
    };
    let last = stored.position.plus(i64::try_from(request.events.len()).unwrap_or(i64::MAX) - 1);
    let mut versions = Vec::new();
    for (index, stream) in request.streams.iter().enumerate() {
        if let Some(event) = request.events.iter().rfind(|event| event.stream == index)
            && let Some(event) = backend.event(lane, event.event_id).await?
        {
            versions.push((stream.aggregate_id.clone(), event.aggregate_version));
        }
    }
    Ok(Appended::new(lane, Some((stored.position, last)), versions, false))
}
