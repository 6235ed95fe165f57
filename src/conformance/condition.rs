//! Contract section 3.7, for one caller after the other: an append fails where an event that matches its condition
//! exists after a position.

use super::case::{Case, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use crate::append::{Append, Condition};
use crate::error::Error;
use crate::event::NewEvent;
use crate::position::Position;
use crate::read::Query;
use crate::stream::Expected;

pub(super) const CASES: &[Case] = cases![
    a_condition_that_nothing_matches_lets_the_request_pass: "3.7";
    an_event_of_the_type_refuses_the_request: "3.7" if OneLane;
    any_of_an_items_types_matches: "3.7" if OneLane;
    an_event_with_the_tag_refuses_the_request: "3.7" if OneLane;
    an_item_asks_for_all_of_its_tags: "3.7" if OneLane;
    an_item_asks_for_type_and_tags_together: "3.7" if OneLane;
    the_items_of_a_condition_are_alternatives: "3.7" if OneLane;
    an_event_at_the_named_position_does_not_match: "3.7";
    an_event_after_the_named_position_matches: "3.7" if OneLane;
    the_head_of_a_page_serves_as_the_position: "3.7" if OneLane;
    the_first_matching_event_is_named: "3.7" if OneLane;
    a_long_condition_finds_what_stands_far_back: "3.7" if OneLane;
    a_long_condition_that_nothing_matches_lets_the_request_pass: "3.7" if OneLane;
    a_condition_looks_at_the_streams_of_all_categories: "3.7" if OneLane;
    a_request_does_not_match_its_own_condition: "3.7" if OneLane;
    a_condition_goes_with_a_guard: "3.6", "3.7";
    a_condition_without_events_is_an_assertion: "3.5", "3.7";
    a_failed_condition_stores_nothing: "3.1", "3.7" if OneLane;
    the_version_is_checked_before_the_condition: "3.3", "3.7";
    a_condition_without_items_matches_nothing: "3.7";
    an_item_without_types_and_tags_is_refused: "3.7" if OneLane;
    types_and_tags_of_a_condition_are_compared_byte_for_byte: "1.4", "3.7";
];

/// Appends an event of a type with some tags to a stream.
async fn happened(f: &Fixture, stream: &str, event_type: &str, tags: &[&str]) -> Result<Position, Error> {
    let event = f.event(event_type)?.with_tags(tags.iter().copied())?;
    Ok(f.store.append(&f.stream(stream)?, Expected::Any, [event]).await?.position())
}

/// Tries to append an event to a new stream under a condition.
async fn attempt(f: &Fixture, stream: &str, condition: Condition) -> Result<(), Error> {
    let append = Append::new().to(f.stream(stream)?, Expected::NoStream, f.events(1)?).condition(condition);
    f.store.commit(append).await.map(drop)
}

const NONE: [&str; 0] = [];

async fn a_condition_that_nothing_matches_lets_the_request_pass(f: &Fixture) -> Verdict {
    happened(f, "a", "Opened", &["user:1"]).await?;
    attempt(f, "new", Condition::after(Position::ZERO).or(["Closed"], ["user:1"])?).await?;
    ensure_eq!(f.store.count("new").await?, 1, "events of the stream");
    Ok(())
}

async fn an_event_of_the_type_refuses_the_request(f: &Fixture) -> Verdict {
    happened(f, "a", "Opened", &[]).await?;
    let condition = Condition::after(Position::ZERO).or(["Opened"], NONE)?;
    ensure_err!(attempt(f, "new", condition).await, Error::ConditionFailed { after: Position::ZERO, .. });
    Ok(())
}

async fn any_of_an_items_types_matches(f: &Fixture) -> Verdict {
    happened(f, "a", "Closed", &[]).await?;
    let condition = Condition::after(Position::ZERO).or(["Opened", "Closed"], NONE)?;
    ensure_err!(attempt(f, "new", condition).await, Error::ConditionFailed { .. });
    Ok(())
}

async fn an_event_with_the_tag_refuses_the_request(f: &Fixture) -> Verdict {
    happened(f, "a", "Opened", &["name:ann", "user:1"]).await?;
    let condition = Condition::after(Position::ZERO).or(NONE, ["user:1"])?;
    ensure_err!(attempt(f, "new", condition).await, Error::ConditionFailed { .. });
    Ok(())
}

async fn an_item_asks_for_all_of_its_tags(f: &Fixture) -> Verdict {
    happened(f, "a", "Opened", &["user:1"]).await?;
    happened(f, "a", "Opened", &["course:2"]).await?;
    let both = || Condition::after(Position::ZERO).or(NONE, ["user:1", "course:2"]);
    attempt(f, "first", both()?).await?;
    happened(f, "a", "Opened", &["user:1", "course:2", "seat:3"]).await?;
    ensure_err!(attempt(f, "second", both()?).await, Error::ConditionFailed { position, .. } if position.get() == 4);
    Ok(())
}

async fn an_item_asks_for_type_and_tags_together(f: &Fixture) -> Verdict {
    happened(f, "a", "Opened", &["user:1"]).await?;
    happened(f, "a", "Closed", &["user:2"]).await?;
    let condition = || Condition::after(Position::ZERO).or(["Closed"], ["user:1"]);
    attempt(f, "first", condition()?).await?;
    happened(f, "a", "Closed", &["user:1"]).await?;
    ensure_err!(attempt(f, "second", condition()?).await, Error::ConditionFailed { .. });
    Ok(())
}

async fn the_items_of_a_condition_are_alternatives(f: &Fixture) -> Verdict {
    happened(f, "a", "Opened", &["user:1"]).await?;
    let condition = Condition::after(Position::ZERO).or(["Closed"], NONE)?.or(NONE, ["user:1"])?;
    ensure_err!(attempt(f, "new", condition).await, Error::ConditionFailed { .. });
    let neither = Condition::after(Position::ZERO).or(["Closed"], NONE)?.or(NONE, ["user:2"])?;
    attempt(f, "new", neither).await?;
    ensure!(f.store.exists("new").await?, "the request that nothing matched was not stored");
    Ok(())
}

async fn an_event_at_the_named_position_does_not_match(f: &Fixture) -> Verdict {
    let position = happened(f, "a", "Opened", &["user:1"]).await?;
    attempt(f, "new", Condition::after(position).or(["Opened"], ["user:1"])?).await?;
    ensure!(f.store.exists("new").await?, "the request was not stored");
    Ok(())
}

async fn an_event_after_the_named_position_matches(f: &Fixture) -> Verdict {
    let position = happened(f, "a", "Opened", &["user:1"]).await?;
    let later = happened(f, "a", "Opened", &["user:1"]).await?;
    let refused = attempt(f, "new", Condition::after(position).or(["Opened"], ["user:1"])?).await;
    ensure_err!(refused, Error::ConditionFailed { after, position: found } if after == position && found == later);
    Ok(())
}

async fn the_head_of_a_page_serves_as_the_position(f: &Fixture) -> Verdict {
    happened(f, "a", "Opened", &["user:1"]).await?;
    happened(f, "b", "Closed", &[]).await?;
    let query = Query::new().event_types(["Opened"])?;
    let head = f.store.page(f.store.lane("a"), &query, 10).await?.head;
    ensure_eq!(head, Position::new(2), "head of the page");
    attempt(f, "first", Condition::after(head).or(["Opened"], NONE)?).await?;
    happened(f, "a", "Opened", &["user:1"]).await?;
    let refused = attempt(f, "second", Condition::after(head).or(["Opened"], NONE)?).await;
    ensure_err!(refused, Error::ConditionFailed { .. });
    Ok(())
}

async fn the_first_matching_event_is_named(f: &Fixture) -> Verdict {
    for event_type in ["Other", "Closed", "Opened", "Closed"] {
        happened(f, "a", event_type, &[]).await?;
    }
    let condition = Condition::after(Position::new(1)).or(["Opened"], NONE)?.or(["Closed"], NONE)?;
    ensure_err!(attempt(f, "new", condition).await, Error::ConditionFailed { position, .. } if position.get() == 2);
    Ok(())
}

async fn a_condition_looks_at_the_streams_of_all_categories(f: &Fixture) -> Verdict {
    let elsewhere = crate::stream::Stream::new("another category", "elsewhere")?;
    let event = NewEvent::json("Opened", &1)?.with_tags(["user:1"])?;
    f.store.append(&elsewhere, Expected::NoStream, [event]).await?;
    let refused = attempt(f, "new", Condition::after(Position::ZERO).or(NONE, ["user:1"])?).await;
    ensure_err!(refused, Error::ConditionFailed { .. });
    Ok(())
}

async fn a_request_does_not_match_its_own_condition(f: &Fixture) -> Verdict {
    let events = [f.event("Opened")?, f.event("Opened")?];
    let condition = || Condition::after(Position::ZERO).or(["Opened"], NONE);
    let append = Append::new().to(f.stream("a")?, Expected::NoStream, events).condition(condition()?);
    f.store.commit(append).await?;
    ensure_eq!(f.store.count("a").await?, 2, "events of the stream");
    ensure_err!(attempt(f, "new", condition()?).await, Error::ConditionFailed { .. });
    Ok(())
}

async fn a_condition_goes_with_a_guard(f: &Fixture) -> Verdict {
    let guarded = f.filled("{x}guarded", 1).await?;
    let append = |after: i64| -> Result<Append, Error> {
        Ok(Append::new()
            .to(f.stream("{x}a")?, Expected::Any, f.events(1)?)
            .guard(guarded.clone(), Expected::exact(1))
            .condition(Condition::after(Position::new(after)).or(["Happened"], NONE)?))
    };
    ensure_err!(f.store.commit(append(0)?).await, Error::ConditionFailed { .. });
    f.store.commit(append(1)?).await?;
    ensure_eq!(f.store.count("{x}a").await?, 1, "events of the stream");
    Ok(())
}

async fn a_condition_without_events_is_an_assertion(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 1).await?;
    let assert = |after: i64| -> Result<Append, Error> {
        let condition = Condition::after(Position::new(after)).or(["Happened"], NONE)?;
        Ok(Append::new().guard(stream.clone(), Expected::exact(1)).condition(condition))
    };
    f.store.commit(assert(1)?).await?;
    ensure_err!(f.store.commit(assert(0)?).await, Error::ConditionFailed { .. });
    Ok(())
}

async fn a_failed_condition_stores_nothing(f: &Fixture) -> Verdict {
    happened(f, "a", "Opened", &[]).await?;
    let condition = Condition::after(Position::ZERO).or(["Opened"], NONE)?;
    ensure_err!(attempt(f, "new", condition).await, Error::ConditionFailed { .. });
    ensure!(f.store.stream("new").await?.is_none(), "the stream exists");
    ensure_eq!(f.store.query(Query::new()).await?.len(), 1, "events of the log");
    Ok(())
}

async fn the_version_is_checked_before_the_condition(f: &Fixture) -> Verdict {
    happened(f, "a", "Opened", &[]).await?;
    let condition = Condition::after(Position::ZERO).or(["Opened"], NONE)?;
    ensure_err!(attempt(f, "a", condition).await, Error::Conflict { .. });
    Ok(())
}

async fn a_condition_without_items_matches_nothing(f: &Fixture) -> Verdict {
    happened(f, "a", "Opened", &[]).await?;
    attempt(f, "new", Condition::after(Position::ZERO)).await?;
    ensure!(f.store.exists("new").await?, "the request was not stored");
    Ok(())
}

async fn an_item_without_types_and_tags_is_refused(f: &Fixture) -> Verdict {
    happened(f, "a", "Opened", &["user:1"]).await?;
    ensure_err!(Condition::after(Position::ZERO).or(NONE, NONE), Error::Invalid { what: "condition", .. });
    ensure_err!(
        attempt(f, "new", Condition::after(Position::ZERO).or(NONE, ["user:1"])?).await,
        Error::ConditionFailed { .. }
    );
    Ok(())
}

async fn types_and_tags_of_a_condition_are_compared_byte_for_byte(f: &Fixture) -> Verdict {
    happened(f, "a", "Opened", &["user:ann"]).await?;
    let others = Condition::after(Position::ZERO)
        .or(["opened"], NONE)?
        .or(["Öpened"], NONE)?
        .or(NONE, ["user:Ann"])?
        .or(NONE, ["user:ánn"])?
        .or(NONE, ["user:an_"])?
        .or(NONE, ["user:%"])?;
    attempt(f, "new", others).await?;
    ensure!(f.store.exists("new").await?, "the request was not stored");
    Ok(())
}

/// Events that are too many for a condition to be looked at under the lane's lock alone.
const MANY: usize = 2_500;

async fn a_long_condition_finds_what_stands_far_back(f: &Fixture) -> Verdict {
    happened(f, "a", "Opened", &["user:1"]).await?;
    happened(f, "a", "Opened", &["user:1"]).await?;
    f.filled("many", MANY).await?;
    happened(f, "a", "Opened", &["user:1"]).await?;
    let condition = |after| Condition::after(Position::new(after)).or(["Opened"], ["user:1"]);
    for (after, found) in [(0, 1), (1, 2), (2, 3 + i64::try_from(MANY).unwrap_or_default())] {
        let refused = attempt(f, "new", condition(after)?).await;
        ensure_err!(refused, Error::ConditionFailed { position, .. } if position == Position::new(found));
    }
    ensure!(!f.store.exists("new").await?, "a refused request was stored");
    Ok(())
}

async fn a_long_condition_that_nothing_matches_lets_the_request_pass(f: &Fixture) -> Verdict {
    happened(f, "a", "Opened", &["user:1"]).await?;
    f.filled("many", MANY).await?;
    let condition = Condition::after(Position::new(1)).or(["Opened"], ["user:1"])?;
    attempt(f, "new", condition.clone()).await?;
    happened(f, "a", "Opened", &["user:1"]).await?;
    ensure_err!(attempt(f, "newer", condition).await, Error::ConditionFailed { .. });
    Ok(())
}
