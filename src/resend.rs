//! A batch that got no answer. Where the database rolled it back because of others, or the connection was lost, it is
//! sent again with the same ids, and what it had stored counts as its own.

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::append::Appended;
use crate::backend::{Backend, Request};
use crate::error::{Error, ErrorClass, Result};
use crate::limits;
use crate::position::{LaneId, Position};
use crate::writer::LaneWork;

/// Nobody can be asked what came of a request.
pub(crate) const AMBIGUOUS: Error = Error::Ambiguous { operation: "append" };

/// How often a batch is sent again that the database rolled back because of others.
const ROLLED_BACK: u32 = 4;
/// The pause before the third attempt, which doubles up to the longest; the second follows at once.
const FIRST_PAUSE: Duration = Duration::from_millis(20);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// The pause before something is written again to a lane that takes no events for a moment.
const HELD_PAUSE: Duration = Duration::from_millis(10);
/// The longest such pause: each try takes a connection.
const LONGEST_HELD_PAUSE: Duration = Duration::from_millis(100);

/// Requests that are sent together.
struct Part<'a> {
    requests: &'a [Arc<Request>],
    /// Whether an attempt that got no answer may have carried them out.
    in_doubt: bool,
}

/// Commits a batch, and answers each of its requests. Where the database rolled it back because of others, it is sent a
/// few times more; where the connection is lost, again and again for as long as the lane's patience lasts, or half as
/// long where nothing can have been carried out. Where one request's data may be the reason why all of it is refused, it
/// is halved until the culprit alone gets the error.
///
/// The answers are those of the backend; [`Error::Ambiguous`] where it stays out of reach after an attempt that may have
/// been carried out.
pub(crate) async fn commit(work: &LaneWork, batch: &[Arc<Request>]) -> Vec<Result<Appended>> {
    let begin = Instant::now();
    let mut answers = Vec::with_capacity(batch.len());
    let mut parts = vec![Part { requests: batch, in_doubt: false }];
    while let Some(mut part) = parts.pop() {
        let outcome = send(work, &mut part, begin).await;
        let Part { requests, in_doubt } = part;
        match outcome {
            Err(error) if requests.len() > 1 && is_the_data(&error) => {
                let (front, back) = requests.split_at(requests.len() / 2);
                parts.extend([back, front].map(|requests| Part { requests, in_doubt }));
            }
            Err(error) if in_doubt && !is_an_answer(&error) => answers.extend(requests.iter().map(|_| Err(AMBIGUOUS))),
            // This answer is beyond doubt, but it may be about what an earlier attempt has stored.
            outcome if in_doubt => {
                for (request, answer) in requests.iter().zip(each(outcome, requests.len())) {
                    answers.push(settle(work, begin, request, answer).await);
                }
            }
            outcome => answers.extend(each(outcome, requests.len())),
        }
    }
    answers
}

/// Sends requests until they are answered, or the patience is at its end. They are in doubt from the first attempt on
/// that may have been carried out.
async fn send(work: &LaneWork, part: &mut Part<'_>, begin: Instant) -> Result<Vec<Result<Appended>>> {
    let LaneWork { backend, lane, patience, counters, .. } = work;
    let batch = part.requests;
    let resent = || batch.iter().map(|request| Arc::new(look_up_ids(request))).collect::<Vec<_>>();
    let mut sent = if part.in_doubt { Cow::Owned(resent()) } else { Cow::Borrowed(batch) };
    let mut outcome = backend.commit(*lane, &sent).await;
    let (mut rolled_back, mut pause) = (0, Duration::ZERO);
    while let Err(error) = &outcome {
        if matches!(error, Error::Held { .. }) && begin.elapsed() < *patience {
            // It takes as long as the last events take to their new place.
            tokio::time::sleep(held_pause(begin.elapsed())).await;
            outcome = backend.commit(*lane, &sent).await;
            continue;
        }
        let Error::Backend { class, .. } = error else { break };
        if *class == ErrorClass::Ambiguous && !part.in_doubt {
            part.in_doubt = true;
            sent = Cow::Owned(resent());
        }
        let again = match class {
            ErrorClass::Reconnect | ErrorClass::Ambiguous => true,
            ErrorClass::Retry => part.in_doubt || rolled_back < ROLLED_BACK,
            _ => false,
        };
        let limit = if part.in_doubt { *patience } else { *patience / 2 };
        if !again || begin.elapsed() >= limit {
            break;
        }
        let in_doubt = part.in_doubt;
        tracing::warn!(error = error.report(), in_doubt, "nothing was answered: the batch is sent again");
        if *class == ErrorClass::Retry {
            rolled_back += 1;
            counters.rolled_back.fetch_add(1, Ordering::Relaxed);
        } else {
            counters.resent.fetch_add(1, Ordering::Relaxed);
        }
        tokio::time::sleep(pause.min(limit.saturating_sub(begin.elapsed()))).await;
        pause = longer(pause);
        outcome = backend.commit(*lane, &sent).await;
    }
    outcome
}

/// Whether the database says that a batch was not carried out just now: it is to be looked for among what is stored.
fn is_an_answer(error: &Error) -> bool {
    is_the_data(error) || matches!(error, Error::Moved { .. })
}

/// Whether one request's data may be the reason why a batch failed.
fn is_the_data(error: &Error) -> bool {
    matches!(error, Error::Backend { class: ErrorClass::Conflict | ErrorClass::Fatal, .. })
}

/// Returns an answer for each of some requests.
fn each(outcome: Result<Vec<Result<Appended>>>, requests: usize) -> Vec<Result<Appended>> {
    match outcome {
        Ok(mut answers) => {
            // Too few would give some requests the answers of others.
            answers.resize_with(requests, || Err(AMBIGUOUS));
            answers
        }
        Err(error) => {
            let mut answers: Vec<_> = (1..requests).map(|_| Err(copy(&error))).collect();
            answers.push(Err(error));
            answers
        }
    }
}

/// Copies an error that several requests failed for.
fn copy(error: &Error) -> Error {
    match error {
        Error::Backend { backend, operation, class, source } => {
            Error::backend(backend, operation, *class, source.to_string())
        }
        Error::Ambiguous { operation } => Error::Ambiguous { operation },
        Error::Deadline { operation, milliseconds } => Error::Deadline { operation, milliseconds: *milliseconds },
        Error::Schema { reason } => Error::Schema { reason: reason.clone() },
        Error::Closed => Error::Closed,
        Error::Held { until } => Error::Held { until: *until },
        Error::Moved { to } => Error::Moved { to: to.clone() },
        other => Error::backend("annals", "append", ErrorClass::Fatal, other.to_string()),
    }
}

/// Returns the pause before something is written again to a lane that takes no events, which was tried for some time.
pub(crate) fn held_pause(tried: Duration) -> Duration {
    HELD_PAUSE.max(tried / 8).min(LONGEST_HELD_PAUSE)
}

/// Returns the pause after another one.
fn longer(pause: Duration) -> Duration {
    (pause * 2).clamp(FIRST_PAUSE, LONGEST_PAUSE)
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
async fn settle(work: &LaneWork, begin: Instant, request: &Request, answer: Result<Appended>) -> Result<Appended> {
    let is_news = matches!(&answer, Ok(appended) if !appended.duplicate);
    // Ids that the caller gave may have been stored by an earlier request: the duplicate is one then.
    let is_repetition = answer.is_ok() && request.events.iter().all(|event| event.id_given);
    if request.events.is_empty() || is_news || is_repetition {
        return answer;
    }
    let mut pause = Duration::ZERO;
    loop {
        match stored(&*work.backend, work.lane, request).await {
            Ok(Some(appended)) => return Ok(appended),
            Ok(None) => return answer,
            Err(error) if begin.elapsed() >= work.patience || is_the_data(&error) => {
                tracing::warn!(error = error.report(), "what was sent again could not be looked up");
                return Err(AMBIGUOUS);
            }
            Err(_) => tokio::time::sleep(pause).await,
        }
        pause = longer(pause);
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
