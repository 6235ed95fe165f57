//! Contract sections 3.10 to 3.13: requests that wait, for one another and for a lock that somebody else holds.

mod held;

use futures::future::join_all;
use tokio::task::unconstrained;
use uuid::Uuid;

use self::held::{
    a_request_beyond_a_limit_is_refused_while_others_wait, a_request_that_waits_can_be_taken_back,
    a_taken_request_is_stored_though_its_caller_left, a_writer_that_waits_for_the_lock_is_answered_at_its_deadline,
    beyond_the_number_of_waiting_requests_the_answer_is_overloaded, closing_with_an_append_that_nobody_polls_ends,
    requests_beyond_the_bytes_wait_and_then_land, the_lock_of_a_session_that_vanished_is_free,
};
use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use super::prompt::table;
use super::together::sound_log;
use crate::append::{Append, Appended, Condition};
use crate::command::Command;
use crate::error::{Error, Result};
use crate::position::{Position, Version};
use crate::sql::Dialect;
use crate::stream::Expected;

pub(super) const CASES: &[Case] = cases![
    requests_sent_at_once_are_answered_as_if_one_after_the_other: "3.11";
    requests_sent_at_once_see_each_others_events_and_commands: "3.11", "4.1";
    a_refused_request_leaves_alone_those_sent_with_it: "3.1", "3.11";
    repetitions_that_are_sent_at_once_get_the_first_outcome: "3.11", "4.1";
    what_a_writer_has_done_is_counted: "3.11";
    a_request_whose_data_the_database_refuses_fails_alone: "3.11", "10.1" if Sql;
    a_request_that_waits_can_be_taken_back: "3.13" if Durable, Sql;
    a_taken_request_is_stored_though_its_caller_left: "3.13" if Durable, Sql;
    closing_with_an_append_that_nobody_polls_ends: "3.13" if Durable, Sql;
    a_request_beyond_a_limit_is_refused_while_others_wait: "3.12", "9.2" if Durable, Sql;
    requests_beyond_the_bytes_wait_and_then_land: "3.12" if Durable, Sql;
    beyond_the_number_of_waiting_requests_the_answer_is_overloaded: "3.12", "10.2" if Durable, Sql;
    a_writer_that_waits_for_the_lock_is_answered_at_its_deadline: "3.10", "10.2" if Durable, Sql;
    the_lock_of_a_session_that_vanished_is_free: "3.10" if Durable, Sql;
];

async fn repetitions_that_are_sent_at_once_get_the_first_outcome(f: &Fixture) -> Verdict {
    let command = Uuid::new_v4();
    let request = || -> Result<Append> {
        let append = Append::new().to(f.stream("{a}1")?, Expected::NoStream, f.events(2)?);
        Ok(append.to(f.stream("{a}2")?, Expected::Any, f.events(1)?).command(Command::new(command)))
    };
    let first = f.store.commit(request()?).await?;
    let again = at_once(f, (0..8).map(|_| request()).collect::<Result<_>>()?).await;
    for answer in again {
        let answer = answer?;
        ensure_eq!((answer.duplicate, answer.positions), (true, first.positions), "a repetition, its positions");
        ensure_eq!(answer.versions, first.versions, "versions that a repetition tells");
    }
    ensure_eq!(sound_log(&f.store).await?.len(), 3, "events of the log");
    Ok(())
}

async fn what_a_writer_has_done_is_counted(f: &Fixture) -> Verdict {
    let stream = f.stream("a")?;
    let lane = f.store.lane(stream.id());
    let metrics = || f.store.metrics().into_iter().find(|metrics| metrics.lane == lane);
    ensure!(metrics().is_some_and(|new| (new.requests, new.batches) == (0, 0)), "a new writer has done something");
    let one = |expected| Ok::<_, Error>(Append::new().to(stream.clone(), expected, f.events(1)?));
    let mut requests = (0..40).map(|_| one(Expected::Any)).collect::<Result<Vec<_>>>()?;
    requests.push(one(Expected::exact(1_000))?);
    at_once(f, requests).await;
    let Some(done) = metrics() else { return Err(Failure("the writer is gone".to_owned())) };
    ensure_eq!(
        (done.requests, done.refused, done.waiting, done.resent),
        (41, 1, 0, 0),
        "requests, refused, waiting, resent"
    );
    // The first was taken alone, perhaps; the others came while it was committed.
    ensure!(done.batches >= 1 && done.batches < 41, "{} batches of 41 requests that were sent at once", done.batches);
    ensure!(done.largest_batch > 1 && done.largest_batch <= 41, "the largest batch has {}", done.largest_batch);
    ensure!(!done.longest_commit.is_zero() && done.longest_commit <= done.commit_time, "times {done:?}");
    Ok(())
}

/// Sends requests at once, in this order, and returns what each was answered.
async fn at_once(f: &Fixture, requests: Vec<Append>) -> Vec<Result<Appended>> {
    // The scheduler would put off some of them, and so change their order.
    join_all(requests.into_iter().map(|request| unconstrained(f.store.commit(request)))).await
}

async fn requests_sent_at_once_are_answered_as_if_one_after_the_other(f: &Fixture) -> Verdict {
    let request =
        |version| -> Result<Append> { Ok(Append::new().to(f.stream("a")?, Expected::exact(version), f.events(2)?)) };
    let requests = (0..60).map(|number| request(2 * number)).collect::<Result<Vec<_>>>()?;
    for (number, answer) in (1..).zip(at_once(f, requests).await) {
        ensure_eq!(answer?.version(), Version::new(2 * number), "version that request {number} was told");
    }
    ensure_eq!(sound_log(&f.store).await?.len(), 120, "events");
    Ok(())
}

async fn requests_sent_at_once_see_each_others_events_and_commands(f: &Fixture) -> Verdict {
    let command = Command::new(Uuid::new_v4());
    let id = Uuid::new_v4();
    let to =
        |stream: &str, expected| -> Result<Append> { Ok(Append::new().to(f.stream(stream)?, expected, f.events(1)?)) };
    let named = || -> Result<Append> {
        Ok(Append::new().to(f.stream("named")?, Expected::Any, [f.event("Named")?.with_id(id)]))
    };
    let condition = Condition::after(Position::ZERO).or(["Happened"], [""; 0])?;
    let requests = vec![
        to("a", Expected::NoStream)?.command(command.clone()),
        to("a", Expected::NoStream)?.command(command),
        to("b", Expected::Any)?.condition(condition),
        to("a", Expected::Exists)?,
        named()?,
        named()?,
    ];
    let answers: [Result<Appended>; 6] = at_once(f, requests)
        .await
        .try_into()
        .map_err(|answers| Failure(format!("6 requests were answered by {answers:?}")))?;
    let [first, repeated, conditional, later, named, again] = answers;
    ensure!(!first?.duplicate, "the first request of the command is flagged as a duplicate");
    ensure!(repeated?.duplicate, "the repetition of the command was carried out");
    ensure_err!(conditional, Error::ConditionFailed { position, .. } if position == Position::new(1));
    ensure_eq!(later?.version(), Version::new(2), "version of the request that expects the stream to exist");
    let position = named?.position();
    ensure_err!(again, Error::DuplicateEvent { position: found, .. } if found == position);
    ensure_eq!(sound_log(&f.store).await?.len(), 3, "events");
    Ok(())
}

async fn a_refused_request_leaves_alone_those_sent_with_it(f: &Fixture) -> Verdict {
    f.filled("old", 1).await?;
    let mut requests = Vec::new();
    for number in 0..20 {
        let (stream, expected) = if number % 3 == 1 {
            ("old".to_owned(), Expected::NoStream)
        } else {
            (format!("s{number}"), Expected::NoStream)
        };
        requests.push(Append::new().to(f.stream(&stream)?, expected, f.events(2)?));
    }
    for (number, answer) in at_once(f, requests).await.into_iter().enumerate() {
        let refused = matches!(answer, Err(Error::Conflict { .. }));
        ensure!(refused == (number % 3 == 1), "request {number} was answered by {answer:?}");
        ensure!(refused || answer.is_ok(), "request {number} was answered by {answer:?}");
    }
    ensure_eq!(sound_log(&f.store).await?.len(), 1 + 2 * 13, "events");
    Ok(())
}

/// Makes the database refuse events of the type `Poison`, which the library knows nothing of.
async fn poison(f: &Fixture) -> Result<()> {
    let events = table(f, "events");
    let rule = match f.store.capabilities().sql {
        Some(Dialect::Sqlite) | None => format!(
            "CREATE TRIGGER poisoned BEFORE INSERT ON {events} WHEN NEW.event_type = 'Poison' \
             BEGIN SELECT RAISE(ABORT, 'poisoned'); END"
        ),
        Some(_) => format!("ALTER TABLE {events} ADD CONSTRAINT poisoned CHECK (event_type <> 'Poison')"),
    };
    f.store.backend().session().await?.execute(&rule).await
}

async fn a_request_whose_data_the_database_refuses_fails_alone(f: &Fixture) -> Verdict {
    poison(f).await?;
    let mut requests = Vec::new();
    for number in 0..12 {
        let event = f.event(if number == 5 { "Poison" } else { "Happened" })?;
        requests.push(Append::new().to(f.stream("a")?, Expected::Any, [f.event("Before")?, event]));
    }
    let name = f.store.backend().name();
    for (number, answer) in at_once(f, requests).await.into_iter().enumerate() {
        if number == 5 {
            ensure_err!(answer, Error::Backend { backend, .. } if backend == name);
        } else {
            answer?;
        }
    }
    let log = sound_log(&f.store).await?;
    ensure_eq!(log.len(), 22, "events of the eleven other requests");
    ensure!(log.iter().all(|event| event.event_type != "Poison"), "the refused event is stored");
    Ok(())
}
