//! The faults of an append.

use std::sync::Arc;

use annals::backend::Request;
use annals::backend::request::Life;
use annals::{Appended, Error, Expected, LaneId, Result, Version};

use super::backend::Saboteur;
use super::fault::Fault;
use super::{hide, moved, request};

/// Commits a batch with the saboteur's fault.
pub async fn commit(saboteur: &Saboteur, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>> {
    match saboteur.fault {
        Fault::DecidesBeforeTheLock => decide_early(saboteur, lane, batch).await,
        Fault::AnyConflicts => any_conflicts(saboteur, lane, batch).await,
        Fault::StoresStreamByStream => one_by_one(saboteur, lane, batch).await,
        Fault::RemembersCommandsInMemory => remember(saboteur, lane, batch).await,
        Fault::RecordsFailedCommands => record_failed(saboteur, lane, batch).await,
        Fault::NaiveSequence => hide::commit_out_of_order(saboteur, lane, batch).await,
        Fault::ShowsLate => hide::show_late(saboteur, lane, batch).await,
        Fault::LosesTheLastOfABatch => lose_the_last(saboteur, lane, batch).await,
        Fault::IgnoresHolds | Fault::RemembersHolds | Fault::ChecksHoldsEarly => {
            moved::commit(saboteur, lane, batch).await
        }
        _ => {
            let mut spoiled = Vec::with_capacity(batch.len());
            for request in batch {
                let mut request = Request::clone(request);
                request::spoil(saboteur, lane, &mut request).await?;
                spoiled.push(Arc::new(request));
            }
            let mut answers = saboteur.inner.commit(lane, &spoiled).await?;
            spoil_answers(saboteur.fault, &mut answers);
            Ok(answers)
        }
    }
}

/// Changes the answers of a batch.
fn spoil_answers(fault: Fault, answers: &mut [Result<Appended>]) {
    match fault {
        Fault::SwapsAnswers => answers.rotate_left(usize::from(answers.len() > 1)),
        Fault::FailsTheWholeBatch if answers.len() > 1 && answers.iter().any(Result::is_err) => {
            answers.fill_with(|| Err(Error::invalid("batch", "another request of it failed")));
        }
        Fault::NamesTheWrongVersion => {
            for answer in answers {
                if let Err(Error::Conflict { expected: Expected::Exact(version), actual, .. }) = answer {
                    *actual = *version;
                }
            }
        }
        Fault::HidesRepetition => answers.iter_mut().flatten().for_each(|outcome| outcome.duplicate = false),
        _ => {}
    }
}

/// Stores all of a large batch but its last request, and acknowledges that one as it does the first.
async fn lose_the_last(saboteur: &Saboteur, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>> {
    let kept = if batch.len() > 4 { batch.len() - 1 } else { batch.len() };
    let mut answers = saboteur.inner.commit(lane, &batch[..kept]).await?;
    if let Some(first) = answers.iter().flatten().next().cloned().filter(|_| kept < batch.len()) {
        answers.push(Ok(first));
    }
    Ok(answers)
}

/// Decides the expected versions over what is stored now, and commits later as if nothing had been expected.
async fn decide_early(saboteur: &Saboteur, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>> {
    let mut decided = Vec::with_capacity(batch.len());
    for request in batch {
        let mut request = Request::clone(request);
        for rule in request.streams.iter_mut().filter(|rule| rule.life == Life::Keep) {
            let current = saboteur.inner.stream(lane, &rule.aggregate_id).await?;
            let version = current.as_ref().map_or(Version::ZERO, |stream| stream.version);
            if rule.expected.holds(version) && current.is_none_or(|stream| stream.deleted_at.is_none()) {
                rule.expected = Expected::Any;
            }
        }
        decided.push(Arc::new(request));
    }
    tokio::time::sleep(std::time::Duration::from_millis(5)).await;
    saboteur.inner.commit(lane, &decided).await
}

/// Expects of a stream that may be at any version that it is where it was a moment ago.
async fn any_conflicts(saboteur: &Saboteur, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>> {
    let mut decided = Vec::with_capacity(batch.len());
    for request in batch {
        let mut request = Request::clone(request);
        for rule in request.streams.iter_mut().filter(|rule| rule.expected == Expected::Any && rule.life == Life::Keep)
        {
            let current = saboteur.inner.stream(lane, &rule.aggregate_id).await?;
            rule.expected = Expected::Exact(current.map_or(Version::ZERO, |stream| stream.version));
        }
        decided.push(Arc::new(request));
    }
    saboteur.inner.commit(lane, &decided).await
}

/// Stores the streams of each request in requests of their own, up to the first that is refused.
async fn one_by_one(saboteur: &Saboteur, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>> {
    let mut answers = Vec::with_capacity(batch.len());
    for request in batch {
        if request.streams.len() < 2 {
            answers.extend(saboteur.inner.commit(lane, std::slice::from_ref(request)).await?);
            continue;
        }
        let mut total: Option<Appended> = None;
        let mut refused = None;
        for (index, rule) in request.streams.iter().enumerate() {
            let mut part = Request { streams: vec![rule.clone()], events: Vec::new(), ..Request::clone(request) };
            part.command = request.command.clone().filter(|_| index == 0);
            part.events = request.events.iter().filter(|event| event.stream == index).cloned().collect();
            part.events.iter_mut().for_each(|event| event.stream = 0);
            match saboteur.inner.commit(lane, &[Arc::new(part)]).await?.remove(0) {
                Err(error) => {
                    refused = Some(error);
                    break;
                }
                Ok(outcome) => match &mut total {
                    None => total = Some(outcome),
                    Some(total) => {
                        total.versions.extend(outcome.versions);
                        total.positions = match (total.positions, outcome.positions) {
                            (Some((first, _)), Some((_, last))) => Some((first, last)),
                            (one, other) => one.or(other),
                        };
                    }
                },
            }
        }
        answers.push(refused.map_or_else(|| total.ok_or(Error::Closed), Err));
    }
    Ok(answers)
}

/// Keeps commands in memory instead of in the database.
async fn remember(saboteur: &Saboteur, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>> {
    let mut answers = Vec::with_capacity(batch.len());
    for request in batch {
        let Some(id) = request.command.as_ref().map(|command| command.command_id) else {
            answers.extend(saboteur.inner.commit(lane, std::slice::from_ref(request)).await?);
            continue;
        };
        let known = saboteur.commands.lock().unwrap().contains_key(&id);
        let fresh = saboteur.inner.command(lane, id).await?.is_some() && !known;
        let mut again = Request::clone(request);
        if fresh {
            again.command = None;
        }
        let answer = saboteur.inner.commit(lane, &[Arc::new(again)]).await?.remove(0);
        if let Ok(outcome) = &answer {
            saboteur.commands.lock().unwrap().insert(id, outcome.clone());
        }
        answers.push(answer);
    }
    Ok(answers)
}

/// Records the command of a request that was refused.
async fn record_failed(saboteur: &Saboteur, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>> {
    let answers = saboteur.inner.commit(lane, batch).await?;
    for (request, answer) in batch.iter().zip(&answers) {
        if answer.is_err() && request.command.is_some() && !matches!(answer, Err(Error::CommandReused { .. })) {
            let mut empty = Request::clone(request);
            empty.streams.clear();
            empty.events.clear();
            empty.condition = None;
            saboteur.inner.commit(lane, &[Arc::new(empty)]).await?;
        }
    }
    Ok(answers)
}
