//! Contract section 4.2: a command id that comes with another request is refused, whatever the difference.

use uuid::Uuid;

use super::case::{Case, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use crate::append::{Append, Condition};
use crate::command::Command;
use crate::error::Error;
use crate::event::{ActorType, NewEvent, Source};
use crate::json::Json;
use crate::position::Position;
use crate::read::Query;
use crate::stream::{Expected, Stream};

pub(super) const CASES: &[Case] = cases![
    other_data_is_a_reuse: "4.1", "4.2";
    data_of_another_spelling_is_a_reuse: "4.2";
    any_changed_field_of_an_event_is_a_reuse: "4.2";
    another_expectation_is_a_reuse: "4.2";
    another_stream_is_a_reuse: "4.2";
    another_category_is_a_reuse: "4.2";
    a_guard_more_is_a_reuse: "4.2";
    another_condition_is_a_reuse: "4.2";
    another_event_id_is_a_reuse: "4.2";
    an_event_more_is_a_reuse: "4.2";
    another_order_of_events_is_a_reuse: "4.2";
    a_reuse_stores_nothing: "4.1";
];

/// Decides one request and then another of the same command, which must be told apart, and stores nothing.
async fn reused(f: &Fixture, one: impl FnOnce(Append) -> Append, other: impl FnOnce(Append) -> Append) -> Verdict {
    let id = Uuid::new_v4();
    f.store.commit(one(Append::new()).command(Command::new(id))).await?;
    let before = f.store.query(Query::new()).await?;
    ensure!(!before.is_empty(), "the first request was not stored");
    let again = f.store.commit(other(Append::new()).command(Command::new(id))).await;
    ensure_err!(again, Error::CommandReused { command_id } if command_id == id);
    ensure_eq!(f.store.query(Query::new()).await?, before, "the log after the refusal");
    Ok(())
}

async fn other_data_is_a_reuse(f: &Fixture) -> Verdict {
    let stream = f.stream("a")?;
    let (one, other) = (NewEvent::json("Paid", &10)?, NewEvent::json("Paid", &11)?);
    reused(
        f,
        |append| append.to(stream.clone(), Expected::Any, [one]),
        |append| append.to(stream.clone(), Expected::Any, [other]),
    )
    .await
}

async fn data_of_another_spelling_is_a_reuse(f: &Fixture) -> Verdict {
    let stream = f.stream("a")?;
    let paid = |text: &str| NewEvent::new("Paid", Json::parse(text)?.into());
    let (one, other) = (paid(r#"{"sum":0.1}"#)?, paid(r#"{"sum":0.10}"#)?);
    reused(
        f,
        |append| append.to(stream.clone(), Expected::Any, [one]),
        |append| append.to(stream.clone(), Expected::Any, [other]),
    )
    .await
}

async fn any_changed_field_of_an_event_is_a_reuse(f: &Fixture) -> Verdict {
    let event = || NewEvent::json("Paid", &10);
    let object = |text: &str| Json::parse(text);
    let changed = [
        NewEvent::json("Payed", &10)?,
        event()?.with_version(2)?,
        event()?.with_metadata(object(r#"{"a":1}"#)?)?,
        event()?.with_metadata(object("{}")?)?,
        event()?.with_tags(["x"])?,
        event()?.with_actor("ann", ActorType::System)?,
        event()?.with_actor_type(ActorType::User),
        event()?.with_source(Source::Api),
        event()?.with_causation(Uuid::new_v4()),
        event()?.with_correlation(Uuid::new_v4()),
        NewEvent::bytes("Paid", "text/plain", *b"10")?,
    ];
    let stream = f.stream("a")?;
    for (index, other) in changed.into_iter().enumerate() {
        let id = Uuid::new_v4();
        let request = |event| Append::new().to(stream.clone(), Expected::Any, [event]).command(Command::new(id));
        f.store.commit(request(event()?)).await?;
        let again = f.store.commit(request(other)).await;
        ensure!(matches!(again, Err(Error::CommandReused { .. })), "change {index} was answered by {again:?}");
    }
    ensure_eq!(f.store.count("a").await?, 11, "events of the stream");
    Ok(())
}

async fn another_expectation_is_a_reuse(f: &Fixture) -> Verdict {
    let (stream, events) = (f.stream("a")?, f.events(1)?);
    reused(
        f,
        |append| append.to(stream.clone(), Expected::NoStream, events.clone()),
        |append| append.to(stream.clone(), Expected::Any, events.clone()),
    )
    .await
}

async fn another_stream_is_a_reuse(f: &Fixture) -> Verdict {
    let (stream, other, events) = (f.stream("{x}a")?, f.stream("{x}b")?, f.events(1)?);
    reused(
        f,
        |append| append.to(stream, Expected::Any, events.clone()),
        |append| append.to(other, Expected::Any, events.clone()),
    )
    .await
}

async fn another_category_is_a_reuse(f: &Fixture) -> Verdict {
    let (stream, other, events) = (f.stream("a")?, Stream::new("other", "a")?, f.events(1)?);
    reused(
        f,
        |append| append.to(stream, Expected::Any, events.clone()),
        |append| append.to(other, Expected::Any, events.clone()),
    )
    .await
}

async fn a_guard_more_is_a_reuse(f: &Fixture) -> Verdict {
    let (stream, guarded, events) = (f.stream("{x}a")?, f.stream("{x}b")?, f.events(1)?);
    reused(
        f,
        |append| append.to(stream.clone(), Expected::Any, events.clone()),
        |append| append.to(stream.clone(), Expected::Any, events.clone()).guard(guarded, Expected::Any),
    )
    .await
}

async fn another_condition_is_a_reuse(f: &Fixture) -> Verdict {
    let (stream, events) = (f.stream("a")?, f.events(1)?);
    let conditions = [
        Condition::after(Position::ZERO).or(["Never"], ["x"])?,
        Condition::after(Position::new(1)).or(["Never"], ["x"])?,
        Condition::after(Position::ZERO).or(["Never"], ["y"])?,
        Condition::after(Position::ZERO).or(["Seldom"], ["x"])?,
        Condition::after(Position::ZERO).or(["Never", "x"], [""; 0])?,
    ];
    let append = |condition: &Condition, append: Append| {
        append.to(stream.clone(), Expected::Any, events.clone()).condition(condition.clone())
    };
    for pair in conditions.windows(2) {
        reused(f, |request| append(&pair[0], request), |request| append(&pair[1], request)).await?;
    }
    reused(
        f,
        |request| append(&conditions[0], request),
        |request| request.to(stream.clone(), Expected::Any, events.clone()),
    )
    .await
}

async fn another_event_id_is_a_reuse(f: &Fixture) -> Verdict {
    let stream = f.stream("a")?;
    let (one, other) = (f.event("Paid")?.with_id(Uuid::new_v4()), f.event("Paid")?.with_id(Uuid::new_v4()));
    reused(
        f,
        |append| append.to(stream.clone(), Expected::Any, [one]),
        |append| append.to(stream.clone(), Expected::Any, [other]),
    )
    .await
}

async fn an_event_more_is_a_reuse(f: &Fixture) -> Verdict {
    let (stream, one, two) = (f.stream("a")?, f.events(1)?, f.events(2)?);
    reused(
        f,
        |append| append.to(stream.clone(), Expected::Any, one),
        |append| append.to(stream.clone(), Expected::Any, two),
    )
    .await
}

async fn another_order_of_events_is_a_reuse(f: &Fixture) -> Verdict {
    let stream = f.stream("a")?;
    let events = f.events(2)?;
    let reversed: Vec<NewEvent> = events.iter().rev().cloned().collect();
    reused(
        f,
        |append| append.to(stream.clone(), Expected::Any, events),
        |append| append.to(stream.clone(), Expected::Any, reversed),
    )
    .await
}

async fn a_reuse_stores_nothing(f: &Fixture) -> Verdict {
    let id = Uuid::new_v4();
    let request = |stream| -> Result<Append, Error> {
        Ok(Append::new().to(f.stream(stream)?, Expected::NoStream, f.events(1)?).command(Command::new(id)))
    };
    f.store.commit(request("a")?).await?;
    ensure_err!(f.store.commit(request("b")?).await, Error::CommandReused { command_id } if command_id == id);
    ensure!(f.store.stream("b").await?.is_none(), "the other stream exists");
    ensure!(f.store.commit(request("a")?).await?.duplicate, "the first request is not known any more");
    Ok(())
}
