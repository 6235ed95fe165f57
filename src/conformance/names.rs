//! Contract sections 1 and 9: what a name may be, and that names are compared byte for byte.

use super::case::{Case, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use crate::command::Command;
use crate::error::{Error, Result};
use crate::event::{ActorType, NewEvent};
use crate::read::{Query, StreamFilter};
use crate::stream::{Expected, Stream};

pub(super) const CASES: &[Case] = cases![
    names_of_255_bytes_are_kept: "1.4", "9.1";
    names_of_256_bytes_are_refused: "1.4", "9.1", "9.2";
    names_are_measured_in_bytes: "1.4", "9.1";
    empty_names_are_refused: "1.4", "9.3";
    nul_in_a_name_is_refused: "1.4", "9.3";
    control_characters_in_a_name_are_refused: "1.4", "9.3";
    white_space_around_a_name_is_refused: "1.4", "9.3";
    unicode_white_space_around_a_name_is_refused: "1.4", "9.3";
    white_space_inside_a_name_is_kept: "1.4", "9.4";
    any_characters_are_data_in_the_ids_of_streams: "9.4";
    any_characters_are_data_in_categories: "9.4";
    any_characters_are_data_in_event_types: "9.4";
    any_characters_are_data_in_tags: "9.4";
    any_characters_are_data_in_actors: "9.4";
    any_characters_are_data_in_json: "9.4";
    any_characters_are_data_in_prefixes: "9.4";
    percent_and_underscore_are_no_wildcards_of_a_prefix: "6.3", "9.4";
    names_that_look_alike_are_different_streams: "1.4";
    names_that_look_alike_are_different_categories: "1.4";
    names_that_look_alike_are_different_event_types: "1.4";
    names_that_look_alike_are_different_tags: "1.4";
    names_that_look_alike_are_different_actors: "1.4";
];

/// Names that mean something to SQL, to a driver, to a shell, or to a careless programmer.
const ODD: [&str; 34] = [
    "'; DROP TABLE events; --",
    "' OR '1'='1",
    "\"quoted\"",
    "`ticks`",
    "[brackets]",
    "it''s",
    "%",
    "_",
    "100%_sure",
    "\\",
    "\\\\server\\share",
    "a/b/../c",
    "/",
    "?",
    "?1",
    "$1",
    "@P1",
    "@head",
    ":name",
    "{s}",
    "{s}events",
    "{}",
    "{",
    "}",
    "NULL",
    "N'x'",
    "/* comment",
    "--",
    "a,b;c",
    "🦀👩‍👩‍👧",
    "שלום עולם",
    "\u{202e}reversed",
    "\u{e000}\u{ffff}",
    "\u{10ffff}",
];

/// Names that some collation, normal form or padding takes for one another.
const ALIKE: [&str; 18] =
    ["a", "A", "á", "a\u{301}", "à", "ａ", "ª", "а", "a\u{200b}", "a\u{ad}", "ss", "ß", "SS", "i", "ı", "İ", "I", "ﬁ"];

/// Tries a name in every place where one is given.
fn in_every_place(f: &Fixture, name: &str) -> [(&'static str, Result<()>); 8] {
    let event = || f.event("Happened");
    [
        ("aggregate_id", Stream::new("thing", name).map(drop)),
        ("aggregate_type", Stream::new(name, "a").map(drop)),
        ("event_type", NewEvent::json(name, &1).map(drop)),
        ("tag", event().and_then(|event| event.with_tags([name])).map(drop)),
        ("actor", event().and_then(|event| event.with_actor(name, ActorType::User)).map(drop)),
        ("content_type", NewEvent::bytes("Happened", name, *b"x").map(drop)),
        ("command_type", Command::new(uuid::Uuid::nil()).with_type(name).map(drop)),
        ("event_type of a query", Query::new().event_types([name]).map(drop)),
    ]
}

/// Checks that none of some names is accepted anywhere, and that nothing was stored.
async fn refused(f: &Fixture, names: &[String]) -> Verdict {
    for name in names {
        for (place, outcome) in in_every_place(f, name) {
            ensure!(matches!(outcome, Err(Error::Invalid { .. })), "{name:?} as {place} was answered by {outcome:?}");
        }
    }
    f.filled("a", 1).await?;
    ensure_eq!(f.store.query(Query::new()).await?.len(), 1, "events of the log");
    Ok(())
}

/// Appends an event whose names are all of one text, and checks that it comes back.
async fn kept(f: &Fixture, name: &str) -> Verdict {
    let stream = Stream::new(name, name)?;
    let event = NewEvent::json(name, &name)?.with_tags([name])?.with_actor(name, ActorType::User)?;
    f.store.append(&stream, Expected::NoStream, [event]).await?;
    let events = f.store.read_stream(name).await?;
    ensure_eq!(events.len(), 1, "events of stream {name:?}");
    for event in &events {
        let names = [&event.aggregate_id, &event.aggregate_type, &event.event_type];
        ensure!(names.iter().all(|read| *read == name), "{name:?} came back as {names:?}");
        ensure_eq!((event.tags.as_slice(), event.actor.as_deref()), (&[name.to_owned()][..], Some(name)), "{name:?}");
    }
    Ok(())
}

async fn names_of_255_bytes_are_kept(f: &Fixture) -> Verdict {
    kept(f, &"x".repeat(255)).await
}

async fn names_of_256_bytes_are_refused(f: &Fixture) -> Verdict {
    let name = "x".repeat(256);
    for (place, outcome) in in_every_place(f, &name) {
        let refused = matches!(outcome, Err(Error::Limit { limit: 255, actual: 256, .. }));
        ensure!(refused, "256 bytes as {place} were answered by {outcome:?}");
    }
    kept(f, &name[1..]).await
}

async fn names_are_measured_in_bytes(f: &Fixture) -> Verdict {
    for (edge, beyond) in [("é".repeat(127) + "x", "é".repeat(128)), ("🦀".repeat(63) + "xyz", "🦀".repeat(64))] {
        kept(f, &edge).await?;
        ensure_err!(f.stream(&beyond), Error::Limit { limit: 255, actual: 256, .. });
    }
    Ok(())
}

async fn empty_names_are_refused(f: &Fixture) -> Verdict {
    refused(f, &[String::new()]).await
}

async fn nul_in_a_name_is_refused(f: &Fixture) -> Verdict {
    refused(f, &["\0", "a\0", "\0a", "a\0b"].map(String::from)).await
}

async fn control_characters_in_a_name_are_refused(f: &Fixture) -> Verdict {
    let controls = (1..=0x1f).chain(0x7f..=0x9f).filter_map(char::from_u32);
    let names: Vec<String> = controls.map(|control| format!("a{control}b")).collect();
    ensure_eq!(names.len(), 64, "control characters");
    refused(f, &names).await
}

async fn white_space_around_a_name_is_refused(f: &Fixture) -> Verdict {
    refused(f, &[" ", " a", "a ", "  a  "].map(String::from)).await
}

async fn unicode_white_space_around_a_name_is_refused(f: &Fixture) -> Verdict {
    let spaces = "\u{a0}\u{1680}\u{2000}\u{2003}\u{200a}\u{2028}\u{2029}\u{202f}\u{205f}\u{3000}";
    let names: Vec<String> = spaces.chars().flat_map(|space| [format!("{space}a"), format!("a{space}")]).collect();
    refused(f, &names).await
}

async fn white_space_inside_a_name_is_kept(f: &Fixture) -> Verdict {
    for name in ["a b", "a  b", "a\u{a0}b", "a\u{3000}b"] {
        kept(f, name).await?;
    }
    ensure_eq!(f.store.query(Query::new()).await?.len(), 4, "events of the log");
    Ok(())
}

/// Returns the names that a condition on events selects out of some, each by itself.
async fn select_each(f: &Fixture, names: &[&str], query: impl Fn(&str) -> Result<Query>) -> Verdict {
    for name in names {
        let found = f.store.query(query(name)?).await?;
        let data: Vec<String> = found.iter().map(|event| event.payload.to()).collect::<Result<_>>()?;
        ensure_eq!(data, [(*name).to_owned()], "what {name:?} selects");
    }
    Ok(())
}

/// Appends an event for each of some names, whose data is the name.
async fn append_each(f: &Fixture, names: &[&str], event: impl Fn(NewEvent, &str) -> Result<NewEvent>) -> Verdict {
    let events = names.iter().map(|name| event(NewEvent::json("Happened", name)?, name));
    f.store.append(&f.stream("a")?, Expected::NoStream, events.collect::<Result<Vec<_>>>()?).await?;
    Ok(())
}

async fn append_as_streams(f: &Fixture, names: &[&str]) -> Verdict {
    for name in names {
        let appended =
            f.store.append(&f.stream(name)?, Expected::NoStream, [NewEvent::json("Happened", name)?]).await?;
        ensure_eq!(appended.version().get(), 1, "version of stream {name:?}");
    }
    Ok(())
}

async fn append_as_categories(f: &Fixture, names: &[&str]) -> Verdict {
    for (number, name) in names.iter().enumerate() {
        let stream = Stream::new(*name, format!("stream-{number}"))?;
        f.store.append(&stream, Expected::NoStream, [NewEvent::json("Happened", name)?]).await?;
    }
    Ok(())
}

/// Checks that the list of a category holds the one stream of it.
async fn list_each_category(f: &Fixture, names: &[&str]) -> Verdict {
    for (number, name) in names.iter().enumerate() {
        let filter = StreamFilter { aggregate_type: Some((*name).to_owned()), limit: 100, ..StreamFilter::default() };
        let listed: Vec<_> = f.store.streams(&filter).await?.into_iter().map(|stream| stream.aggregate_id).collect();
        ensure_eq!(listed, [format!("stream-{number}")], "streams of category {name:?}");
    }
    Ok(())
}

async fn any_characters_are_data_in_the_ids_of_streams(f: &Fixture) -> Verdict {
    append_as_streams(f, &ODD).await?;
    select_each(f, &ODD, |name| Ok(Query::stream(name))).await
}

async fn any_characters_are_data_in_categories(f: &Fixture) -> Verdict {
    append_as_categories(f, &ODD).await?;
    select_each(f, &ODD, |name| Query::new().aggregate_type(name)).await?;
    list_each_category(f, &ODD).await
}

async fn any_characters_are_data_in_event_types(f: &Fixture) -> Verdict {
    append_each(f, &ODD, |_, name| NewEvent::json(name, &name)).await?;
    select_each(f, &ODD, |name| Query::new().event_types([name])).await?;
    let mut counted: Vec<String> = f.store.statistics().await?.into_iter().map(|counts| counts.event_type).collect();
    let mut types = ODD.map(String::from);
    counted.sort_unstable();
    types.sort_unstable();
    ensure_eq!(counted, types, "types that are counted");
    Ok(())
}

async fn any_characters_are_data_in_tags(f: &Fixture) -> Verdict {
    append_each(f, &ODD, |event, name| event.with_tags([name])).await?;
    select_each(f, &ODD, |name| Query::new().tags([name])).await
}

async fn any_characters_are_data_in_actors(f: &Fixture) -> Verdict {
    append_each(f, &ODD, |event, name| event.with_actor(name, ActorType::User)).await?;
    select_each(f, &ODD, |name| Query::new().actor(name)).await
}

async fn any_characters_are_data_in_json(f: &Fixture) -> Verdict {
    append_each(f, &ODD, |event, _| Ok(event)).await?;
    let events = f.store.read_stream("a").await?;
    let data: Vec<String> = events.iter().map(|event| event.payload.to()).collect::<Result<_>>()?;
    ensure_eq!(data, ODD, "data");
    Ok(())
}

async fn any_characters_are_data_in_prefixes(f: &Fixture) -> Verdict {
    for name in ODD {
        f.filled(&format!("{name}-tail"), 1).await?;
    }
    for name in ODD {
        let filter = StreamFilter { prefix: Some(format!("{name}-")), limit: 100, ..StreamFilter::default() };
        let listed: Vec<_> = f.store.streams(&filter).await?.into_iter().map(|stream| stream.aggregate_id).collect();
        ensure_eq!(listed, [format!("{name}-tail")], "streams with the prefix {name:?}");
    }
    Ok(())
}

async fn percent_and_underscore_are_no_wildcards_of_a_prefix(f: &Fixture) -> Verdict {
    for id in ["a%b", "a_b", "axb", "a%", "a_", "b"] {
        f.filled(id, 1).await?;
    }
    for (prefix, expected) in [("a%", vec!["a%", "a%b"]), ("a_", vec!["a_", "a_b"]), ("%", vec![]), ("_", vec![])] {
        let filter = StreamFilter { prefix: Some(prefix.to_owned()), limit: 100, ..StreamFilter::default() };
        let listed: Vec<_> = f.store.streams(&filter).await?.into_iter().map(|stream| stream.aggregate_id).collect();
        ensure_eq!(listed, expected, "streams with the prefix {prefix:?}");
    }
    Ok(())
}

async fn names_that_look_alike_are_different_streams(f: &Fixture) -> Verdict {
    append_as_streams(f, &ALIKE).await?;
    select_each(f, &ALIKE, |name| Ok(Query::stream(name))).await
}

async fn names_that_look_alike_are_different_categories(f: &Fixture) -> Verdict {
    append_as_categories(f, &ALIKE).await?;
    select_each(f, &ALIKE, |name| Query::new().aggregate_type(name)).await?;
    list_each_category(f, &ALIKE).await
}

async fn names_that_look_alike_are_different_event_types(f: &Fixture) -> Verdict {
    append_each(f, &ALIKE, |_, name| NewEvent::json(name, &name)).await?;
    select_each(f, &ALIKE, |name| Query::new().event_types([name])).await?;
    ensure_eq!(f.store.statistics().await?.len(), ALIKE.len(), "types that are counted");
    Ok(())
}

async fn names_that_look_alike_are_different_tags(f: &Fixture) -> Verdict {
    append_each(f, &ALIKE, |event, name| event.with_tags([name])).await?;
    select_each(f, &ALIKE, |name| Query::new().tags([name])).await?;
    f.store.append(&f.stream("all")?, Expected::Any, [f.event("Tagged")?.with_tags(ALIKE)?]).await?;
    let tags: Vec<usize> = f.store.read_stream("all").await?.iter().map(|event| event.tags.len()).collect();
    ensure_eq!(tags, [ALIKE.len()], "tags of one event");
    Ok(())
}

async fn names_that_look_alike_are_different_actors(f: &Fixture) -> Verdict {
    append_each(f, &ALIKE, |event, name| event.with_actor(name, ActorType::User)).await?;
    select_each(f, &ALIKE, |name| Query::new().actor(name)).await
}
