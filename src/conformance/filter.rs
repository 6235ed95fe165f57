//! Contract section 6: filters, alone and together, and what a filtered page says of its scan.

use uuid::Uuid;

use super::case::{Case, Verdict, cases, ensure_eq, ensure_err};
use super::harness::Fixture;
use crate::error::{Error, Result};
use crate::event::{ActorType, NewEvent};
use crate::position::Position;
use crate::read::Query;
use crate::stream::{Expected, Stream};

pub(super) const CASES: &[Case] = cases![
    events_are_found_by_type: "6.1" if OneLane;
    events_are_found_by_any_of_several_types: "6.1", "6.2" if OneLane;
    types_differ_by_case_and_accent: "1.4", "6.1";
    events_are_found_by_category: "6.1";
    events_are_found_by_the_beginning_of_their_streams_id: "6.1", "6.2";
    a_prefix_is_compared_byte_for_byte: "1.4", "6.1", "9.4";
    events_are_found_by_tag: "6.1";
    events_are_found_by_all_of_several_tags: "6.1", "6.2";
    tags_are_compared_whole: "1.4", "6.1";
    events_are_found_by_actor: "6.1" if OneLane;
    events_are_found_by_correlation: "6.1" if OneLane;
    events_are_found_by_causation: "6.1" if OneLane;
    a_commands_events_are_found_by_its_id: "2.1", "6.1";
    filters_combine: "6.2";
    filters_combine_with_a_stream: "6.2";
    tags_combine_with_a_stream: "6.2";
    filters_combine_with_positions: "6.1", "6.2" if OneLane;
    a_filter_that_nothing_matches_finds_nothing: "6.1";
    a_filtered_read_goes_backward: "6.1", "6.2" if OneLane;
    a_read_by_tags_goes_backward: "6.1" if OneLane;
    the_limit_applies_after_the_filter: "6.2" if OneLane;
    a_filtered_page_says_how_far_it_looked: "6.2" if OneLane;
    a_filtered_page_without_a_match_looked_to_the_head: "6.2" if OneLane;
    a_filtered_page_without_a_match_looked_until_its_end: "6.2" if OneLane;
    text_that_means_something_to_sql_is_ordinary_in_filters: "6.1", "9.4";
    a_filter_that_is_not_a_name_is_refused: "9.2", "9.3";
];

const CORRELATION: Uuid = Uuid::from_u128(0xc0);
const CAUSE: Uuid = Uuid::from_u128(0xca);

/// Fills the log with twelve events whose fields are told from their numbers, 0 to 11: category `even` or `odd` by the
/// remainder of 2, type `T0` to `T2` by that of 3, tags `n:0` to `n:3` by that of 4 and `all`, actor `alice` from 6 on,
/// correlation below 3, causation at 4 and 5.
async fn fill(f: &Fixture) -> Verdict {
    for number in 0..12u32 {
        let category = if number % 2 == 0 { "even" } else { "odd" };
        let mut event = NewEvent::json(format!("T{}", number % 3), &number)?
            .with_tags([format!("n:{}", number % 4), "all".to_owned()])?;
        if number >= 6 {
            event = event.with_actor("alice", ActorType::User)?;
        }
        if number < 3 {
            event = event.with_correlation(CORRELATION);
        }
        if (4..6).contains(&number) {
            event = event.with_causation(CAUSE);
        }
        f.store.append(&Stream::new(category, category)?, Expected::Any, [event]).await?;
    }
    Ok(())
}

/// Fills the log and checks which events a query finds, in its order.
async fn finds(f: &Fixture, query: Result<Query>, expected: impl IntoIterator<Item = u32>) -> Verdict {
    fill(f).await?;
    let events = f.store.query(query?).await?;
    let numbers = events.iter().map(|event| event.payload.to()).collect::<Result<Vec<u32>>>()?;
    ensure_eq!(numbers, expected.into_iter().collect::<Vec<_>>(), "events that were found");
    Ok(())
}

async fn events_are_found_by_type(f: &Fixture) -> Verdict {
    finds(f, Query::new().event_types(["T1"]), [1, 4, 7, 10]).await
}

async fn events_are_found_by_any_of_several_types(f: &Fixture) -> Verdict {
    finds(f, Query::new().event_types(["T0", "T2", "T9"]), [0, 2, 3, 5, 6, 8, 9, 11]).await
}

async fn types_differ_by_case_and_accent(f: &Fixture) -> Verdict {
    let types = ["Resume", "resume", "Résumé", "Re\u{301}sume\u{301}"];
    for event_type in types {
        f.store.append(&f.stream("a")?, Expected::Any, [f.event(event_type)?]).await?;
    }
    for event_type in types {
        let found = f.store.query(Query::new().event_types([event_type])?).await?;
        ensure_eq!(found.len(), 1, "events of type {event_type:?}");
        ensure_eq!(found[0].event_type, event_type, "type of the event");
    }
    Ok(())
}

async fn events_are_found_by_category(f: &Fixture) -> Verdict {
    finds(f, Query::new().aggregate_type("odd"), [1, 3, 5, 7, 9, 11]).await
}

/// Appends an event to each of some streams, and returns the streams of the events that answer a query, sorted.
async fn answering(f: &Fixture, query: Query) -> Result<Vec<String>> {
    let mut found: Vec<String> = f.store.query(query).await?.into_iter().map(|event| event.aggregate_id).collect();
    found.sort_unstable();
    Ok(found)
}

async fn events_are_found_by_the_beginning_of_their_streams_id(f: &Fixture) -> Verdict {
    for id in ["order-1", "order-10", "order", "orders-1", "invoice-1", "an order-1"] {
        f.filled(id, 1).await?;
    }
    let with = |prefixes: &[&str]| Query::new().stream_prefixes(prefixes.iter().copied());
    ensure_eq!(answering(f, with(&["order-"])?).await?, ["order-1", "order-10"], "streams of order-");
    ensure_eq!(
        answering(f, with(&["order"])?).await?,
        ["order", "order-1", "order-10", "orders-1"],
        "streams of order"
    );
    ensure_eq!(
        answering(f, with(&["order-1", "inv"])?).await?,
        ["invoice-1", "order-1", "order-10"],
        "of two prefixes"
    );
    ensure_eq!(answering(f, with(&["none"])?).await?.len(), 0, "streams of none");
    let typed = with(&["order-"])?.event_types(["Happened"])?;
    ensure_eq!(answering(f, typed).await?.len(), 2, "events of a prefix and a type");
    let other = with(&["order-"])?.event_types(["Other"])?;
    ensure_eq!(answering(f, other).await?.len(), 0, "events of a prefix and another type");
    Ok(())
}

async fn a_prefix_is_compared_byte_for_byte(f: &Fixture) -> Verdict {
    for id in ["a%b", "aXb", "a_b", "A%b", "e\u{301}a", "\u{e9}a", "a'b"] {
        f.filled(id, 1).await?;
    }
    for (prefix, expected) in
        [("a%", "a%b"), ("a_", "a_b"), ("A", "A%b"), ("\u{e9}", "\u{e9}a"), ("e", "e\u{301}a"), ("a'", "a'b")]
    {
        let found = answering(f, Query::new().stream_prefixes([prefix])?).await?;
        ensure_eq!(found, [expected], "streams of {prefix}");
    }
    Ok(())
}

async fn events_are_found_by_tag(f: &Fixture) -> Verdict {
    finds(f, Query::new().tags(["n:3"]), [3, 7, 11]).await
}

async fn events_are_found_by_all_of_several_tags(f: &Fixture) -> Verdict {
    finds(f, Query::new().tags(["all", "n:1"]), [1, 5, 9]).await?;
    ensure_eq!(f.store.query(Query::new().tags(["n:1", "n:2"])?).await?, [], "events with two tags that no event has");
    Ok(())
}

async fn tags_are_compared_whole(f: &Fixture) -> Verdict {
    let tagged = f.event("Tagged")?.with_tags(["a", "ab", "A", "a:b,c", "[\"a\"]"])?;
    f.store.append(&f.stream("s")?, Expected::Any, [tagged]).await?;
    f.store.append(&f.stream("s")?, Expected::Any, [f.event("Tagged")?.with_tags(["abc", "b", "a%"])?]).await?;
    for (tag, expected) in [("a", 1), ("A", 1), ("a:b,c", 1), ("[\"a\"]", 1), ("b", 1), ("a%", 1), ("c", 0), ("B", 0)] {
        ensure_eq!(f.store.query(Query::new().tags([tag])?).await?.len(), expected, "events with the tag {tag:?}");
    }
    Ok(())
}

async fn events_are_found_by_actor(f: &Fixture) -> Verdict {
    finds(f, Query::new().actor("alice"), 6..12).await
}

async fn events_are_found_by_correlation(f: &Fixture) -> Verdict {
    finds(f, Ok(Query::new().correlation(CORRELATION)), 0..3).await
}

async fn events_are_found_by_causation(f: &Fixture) -> Verdict {
    finds(f, Ok(Query::new().causation(CAUSE)), [4, 5]).await
}

async fn a_commands_events_are_found_by_its_id(f: &Fixture) -> Verdict {
    fill(f).await?;
    let id = Uuid::new_v4();
    let append = crate::append::Append::new()
        .to(f.stream("a")?, Expected::Any, f.events(2)?)
        .command(crate::command::Command::new(id));
    let outcome = f.store.commit(append).await?;
    let events = f.store.query(Query::new().causation(id)).await?;
    let found = events.first().zip(events.last()).map(|(first, last)| (first.position, last.position));
    ensure_eq!(found, outcome.positions, "positions of the events that the command caused");
    Ok(())
}

async fn filters_combine(f: &Fixture) -> Verdict {
    let query = Query::new().event_types(["T0", "T1"])?.aggregate_type("even")?.tags(["n:2", "all"])?.actor("alice");
    finds(f, query, [6, 10]).await
}

async fn filters_combine_with_a_stream(f: &Fixture) -> Verdict {
    finds(f, Query::stream("odd").event_types(["T0"])?.actor("alice"), [9]).await
}

async fn tags_combine_with_a_stream(f: &Fixture) -> Verdict {
    finds(f, Query::stream("odd").tags(["all", "n:3"]), [3, 7, 11]).await
}

async fn filters_combine_with_positions(f: &Fixture) -> Verdict {
    finds(f, Query::new().after(Position::new(2)).until(Position::new(8)).event_types(["T1"]), [4, 7]).await?;
    let tagged = Query::new().after(Position::new(2)).until(Position::new(8)).tags(["n:3"])?;
    let found: Vec<i64> = f.store.query(tagged).await?.iter().map(|event| event.position.get()).collect();
    ensure_eq!(found, [4, 8], "positions with a tag between two others, the last inclusive");
    Ok(())
}

async fn a_filter_that_nothing_matches_finds_nothing(f: &Fixture) -> Verdict {
    finds(f, Query::new().event_types(["T3"]), []).await?;
    let others = [
        Query::new().aggregate_type("neither")?,
        Query::new().tags(["n:4"])?,
        Query::new().actor("bob")?,
        Query::new().correlation(CAUSE),
        Query::new().causation(CORRELATION),
    ];
    for query in others {
        ensure_eq!(f.store.query(query.clone()).await?, [], "events that answer {query:?}");
    }
    Ok(())
}

async fn a_filtered_read_goes_backward(f: &Fixture) -> Verdict {
    finds(f, Query::new().event_types(["T1", "T2"])?.actor("alice").map(Query::backward), [11, 10, 8, 7]).await
}

async fn a_read_by_tags_goes_backward(f: &Fixture) -> Verdict {
    finds(f, Query::new().backward().after(Position::new(12)).tags(["n:3", "all"]), [7, 3]).await
}

async fn the_limit_applies_after_the_filter(f: &Fixture) -> Verdict {
    finds(f, Query::new().limit(3).event_types(["T2"]), [2, 5, 8]).await
}

async fn a_filtered_page_says_how_far_it_looked(f: &Fixture) -> Verdict {
    fill(f).await?;
    let page = f.store.page(f.store.lane("a"), &Query::new().event_types(["T1"])?, 2).await?;
    ensure_eq!(page.events.len(), 2, "events of the page");
    ensure_eq!((page.scanned.get(), page.head.get(), page.more), (5, 12, true), "scanned, head and more");
    Ok(())
}

async fn a_filtered_page_without_a_match_looked_to_the_head(f: &Fixture) -> Verdict {
    fill(f).await?;
    for query in [Query::new().event_types(["T9"])?, Query::new().tags(["n:9"])?, Query::new().actor("bob")?] {
        let page = f.store.page(f.store.lane("a"), &query.after(Position::new(3)), 2).await?;
        ensure_eq!(page.events, [], "events of the page");
        ensure_eq!((page.scanned.get(), page.head.get(), page.more), (12, 12, false), "scanned, head and more");
    }
    Ok(())
}

async fn a_filtered_page_without_a_match_looked_until_its_end(f: &Fixture) -> Verdict {
    fill(f).await?;
    let query = Query::new().event_types(["T1"])?.after(Position::new(2)).until(Position::new(4));
    let page = f.store.page(f.store.lane("a"), &query, 2).await?;
    ensure_eq!(page.events, [], "events of the page");
    ensure_eq!((page.scanned.get(), page.more), (4, false), "scanned and more");
    Ok(())
}

async fn text_that_means_something_to_sql_is_ordinary_in_filters(f: &Fixture) -> Verdict {
    let odd = ["'; DROP TABLE events; --", "a' OR 'a'='a", "?", "$1", "@P1", "{s}", "%", "_", "a\\b", "\"q\"", "[x]"];
    for text in odd {
        let event = NewEvent::json(text, &text)?.with_tags([text])?.with_actor(text, ActorType::User)?;
        f.store.append(&Stream::new(text, text)?, Expected::NoStream, [event]).await?;
    }
    for text in odd {
        let queries = [
            Query::stream(text),
            Query::new().event_types([text])?,
            Query::new().event_types([text, "other"])?,
            Query::new().aggregate_type(text)?,
            Query::new().tags([text])?,
            Query::new().actor(text)?,
        ];
        for query in queries {
            let found = f.store.query(query.clone()).await?;
            let texts = found.iter().map(|event| event.payload.to()).collect::<Result<Vec<String>>>()?;
            ensure_eq!(texts, [text], "events that answer {query:?}");
        }
    }
    Ok(())
}

async fn a_filter_that_is_not_a_name_is_refused(f: &Fixture) -> Verdict {
    fill(f).await?;
    ensure_err!(Query::new().event_types(["T1", ""]), Error::Invalid { .. });
    ensure_err!(Query::new().tags([" n:1"]), Error::Invalid { .. });
    ensure_err!(Query::new().actor("a\0"), Error::Invalid { .. });
    ensure_err!(Query::new().aggregate_type("x".repeat(256)), Error::Limit { limit: 255, actual: 256, .. });
    Ok(())
}
