//! Contract section 2: what comes back is what was sent, byte for byte.

use uuid::Uuid;

use super::case::{Case, Failure, Verdict, cases, ensure_eq, ensure_err};
use super::harness::Fixture;
use crate::error::{Error, Result};
use crate::event::{ActorType, NewEvent, Payload, RecordedEvent, Source};
use crate::hash;
use crate::json::Json;
use crate::limits;
use crate::stream::{Expected, Stream};

pub(super) const CASES: &[Case] = cases![
    numbers_keep_their_digits: "2.5";
    keys_keep_their_order_and_repetition: "2.5";
    white_space_is_kept: "2.5";
    escapes_are_kept: "2.5";
    the_escapes_of_nul_and_of_lone_surrogates_are_kept: "2.5";
    scalars_and_null_are_documents: "2.5";
    the_deepest_document_is_kept: "2.5", "9.1";
    a_document_of_a_mebibyte_is_kept: "2.5", "9.1";
    text_that_means_something_to_sql_is_kept: "2.5", "9.4";
    unicode_in_the_data_is_kept: "2.5", "9.4";
    metadata_is_kept_byte_for_byte: "2.5";
    metadata_of_an_event_is_an_object: "2.5";
    no_metadata_is_not_an_empty_object: "2.5", "2.7";
    bytes_are_kept_with_their_content_type: "2.6";
    every_byte_is_kept: "2.6";
    no_bytes_are_kept_as_no_bytes: "2.6";
    a_megabyte_of_bytes_is_kept: "2.6", "9.1";
    bytes_called_json_are_bytes: "2.6";
    unicode_in_every_name_is_kept: "1.4", "9.4";
    names_of_255_bytes_are_kept: "1.4", "9.1";
    the_normal_forms_of_a_name_are_different_names: "1.4";
    every_optional_field_is_kept: "2.1";
    no_optional_field_is_invented: "2.1", "4.4";
    every_kind_of_actor_and_source_is_kept: "2.1";
    event_versions_are_kept_at_their_extremes: "2.1";
    ids_are_kept_at_their_extremes: "2.1", "6.1";
    tags_come_back_sorted_and_once: "2.1";
    tags_keep_odd_characters: "9.4";
    the_hash_is_that_of_the_event_that_is_read: "2.7";
    events_that_differ_in_any_field_differ_in_hash: "2.7";
    the_hash_does_not_cover_what_the_store_decides: "2.7";
];

/// Appends an event and returns it as the stream's read shows it.
async fn through(f: &Fixture, event: NewEvent) -> Result<RecordedEvent, Failure> {
    let stream = Stream::new("thing", "through")?;
    let outcome = f.store.append(&stream, Expected::Any, [event]).await?;
    let mut events = f.store.read_stream(&stream).await?;
    let last = events.pop().filter(|event| event.position == outcome.position());
    last.ok_or_else(|| Failure("the event that was appended is not the stream's last".to_owned()))
}

fn with_data(text: &str) -> Result<NewEvent> {
    NewEvent::new("Written", Payload::Json(Json::parse(text)?))
}

/// Checks that documents come back byte for byte, as data and inside of metadata.
async fn keeps(f: &Fixture, documents: &[&str]) -> Verdict {
    for document in documents {
        let event = through(f, with_data(document)?).await?;
        let data = event.payload.as_json().map(Json::as_str);
        ensure_eq!(data, Some(*document), "data");
        ensure_eq!(event.hash, Some(hash::of(&event)), "hash of the event that was read");
    }
    Ok(())
}

async fn numbers_keep_their_digits(f: &Fixture) -> Verdict {
    keeps(
        f,
        &[
            r#"{"n":0.10}"#,
            r#"{"n":1e400}"#,
            r#"{"n":-0}"#,
            r#"{"n":-0.0}"#,
            r#"{"n":1E+2}"#,
            r#"{"n":100000000000000000000000000000000000001}"#,
            r#"{"n":9007199254740993}"#,
            r#"{"n":0.1000000000000000055511151231257827}"#,
            "[18446744073709551616, -9223372036854775809, 5e-324]",
        ],
    )
    .await
}

async fn keys_keep_their_order_and_repetition(f: &Fixture) -> Verdict {
    keeps(f, &[r#"{"z":1,"a":2,"m":3}"#, r#"{"a":1,"a":2,"a":1}"#, r#"{"":0,"bb":1,"a":{"y":1,"x":2}}"#]).await
}

async fn white_space_is_kept(f: &Fixture) -> Verdict {
    keeps(f, &[" {\t\"a\" :\r\n 1 ,\n\"b\":[ ] } ", "\n\n[1,  2]\n", "  null  "]).await
}

async fn escapes_are_kept(f: &Fixture) -> Verdict {
    keeps(f, &[r#"{"t":"\u0041\/\"\\\b\f\n\r\t"}"#, r#"{"\u006bey":"\ud83d\ude42"}"#, r#"["\u00E9","\u00e9","é"]"#])
        .await
}

async fn the_escapes_of_nul_and_of_lone_surrogates_are_kept(f: &Fixture) -> Verdict {
    keeps(f, &[r#"{"t":"\u0000"}"#, r#"{"\u0000":1}"#, r#"{"t":"\ud800"}"#, r#"["\udfff\ud800"]"#]).await
}

async fn scalars_and_null_are_documents(f: &Fixture) -> Verdict {
    keeps(f, &["null", "true", "false", "0", "-1.5e3", "\"\"", "\"text\"", "[]", "{}"]).await
}

async fn the_deepest_document_is_kept(f: &Fixture) -> Verdict {
    let arrays = format!("{}{}", "[".repeat(limits::JSON_DEPTH), "]".repeat(limits::JSON_DEPTH));
    let objects = format!("{}1{}", "{\"a\":".repeat(limits::JSON_DEPTH), "}".repeat(limits::JSON_DEPTH));
    keeps(f, &[&arrays, &objects]).await
}

async fn a_document_of_a_mebibyte_is_kept(f: &Fixture) -> Verdict {
    let text: String = "The quick brown fox, jumps über den 🐕. ".chars().cycle().take(1_000_000).collect();
    let document = format!("{{\"text\":\"{text}\"}}");
    let event = through(f, with_data(&document)?).await?;
    let same = event.payload.as_json().map(Json::as_str) == Some(&*document);
    ensure_eq!(same, true, "whether {} bytes of data came back", document.len());
    Ok(())
}

const ODD: [&str; 12] = [
    "{s}",
    "?",
    "$1",
    "@P1",
    ":a",
    "'; DROP TABLE events; --",
    "''",
    "\\'",
    "%s%n",
    "${x}",
    "a\u{feff}b",
    "--\u{2028}x",
];

async fn text_that_means_something_to_sql_is_kept(f: &Fixture) -> Verdict {
    for text in ODD {
        let document = serde_json::json!({text: [text], "t": text}).to_string();
        keeps(f, &[&document]).await?;
    }
    Ok(())
}

const SCRIPTS: [&str; 9] =
    ["Größe", "日本語", "العربية", "עִבְרִית", "🙂👨‍👩‍👧‍👦🏴", "𝔘𝔫𝔦", "e\u{301}", "\u{10ffff}", "ÅÅ\u{fffd}"];

async fn unicode_in_the_data_is_kept(f: &Fixture) -> Verdict {
    for text in SCRIPTS {
        keeps(f, &[&format!("{{\"{text}\":\"{text}\"}}"), &format!("\"{text}\"")]).await?;
    }
    Ok(())
}

async fn metadata_is_kept_byte_for_byte(f: &Fixture) -> Verdict {
    let documents = [
        "{}",
        r#"{ "b": 0.10, "a": 1 }"#,
        r#"{ "z":0.10, "a":1e400 , "a":"\u0000" }"#,
        r#"{"t":"\ud800","deep":{"b":[],"a":{}}}"#,
        "{\"?\":\"{s}\",\"日\":\"🙂\"}",
    ];
    for document in documents {
        let event = through(f, f.event("Written")?.with_metadata(Json::parse(document)?)?).await?;
        ensure_eq!(event.metadata.as_ref().map(Json::as_str), Some(document), "metadata");
    }
    Ok(())
}

async fn metadata_of_an_event_is_an_object(f: &Fixture) -> Verdict {
    for document in ["[]", "1", "null", "\"{}\"", " [{}]"] {
        ensure_err!(f.event("Written")?.with_metadata(Json::parse(document)?), Error::Invalid { what: "metadata", .. });
    }
    through(f, f.event("Written")?.with_metadata(Json::parse(" {} ")?)?).await.map(drop)
}

async fn no_metadata_is_not_an_empty_object(f: &Fixture) -> Verdict {
    let without = through(f, f.event("Written")?).await?;
    let empty = through(f, f.event("Written")?.with_metadata(Json::parse("{}")?)?).await?;
    ensure_eq!(without.metadata, None, "metadata of an event without");
    ensure_eq!(empty.metadata.as_ref().map(Json::as_str), Some("{}"), "metadata that is an empty object");
    ensure_eq!(without.hash == empty.hash, false, "whether the hashes are the same");
    Ok(())
}

/// Checks that bytes come back with their content type.
async fn keeps_bytes(f: &Fixture, content_type: &str, bytes: Vec<u8>) -> Verdict {
    let event = through(f, NewEvent::bytes("Written", content_type, bytes.clone())?).await?;
    let Payload::Bytes { content_type: found, bytes: kept } = &event.payload else {
        return Err(Failure(format!("bytes came back as {:?}", event.payload)));
    };
    ensure_eq!(found, content_type, "content type");
    ensure_eq!(*kept == bytes, true, "whether {} bytes came back", bytes.len());
    ensure_eq!(event.hash, Some(hash::of(&event)), "hash of the event that was read");
    Ok(())
}

async fn bytes_are_kept_with_their_content_type(f: &Fixture) -> Verdict {
    keeps_bytes(f, "application/protobuf", vec![8, 150, 1]).await?;
    keeps_bytes(f, "application/vnd.x+avro; version=\"1\"", b"Obj\x01".to_vec()).await
}

async fn every_byte_is_kept(f: &Fixture) -> Verdict {
    keeps_bytes(f, "application/octet-stream", (0..=255).collect()).await?;
    keeps_bytes(f, "application/octet-stream", (0..=255).rev().chain([0]).collect()).await
}

async fn no_bytes_are_kept_as_no_bytes(f: &Fixture) -> Verdict {
    keeps_bytes(f, "application/octet-stream", Vec::new()).await
}

async fn a_megabyte_of_bytes_is_kept(f: &Fixture) -> Verdict {
    keeps_bytes(f, "application/octet-stream", (0..1_000_003u32).map(|n| n.to_le_bytes()[n as usize % 3]).collect())
        .await
}

async fn bytes_called_json_are_bytes(f: &Fixture) -> Verdict {
    keeps_bytes(f, "application/json", b"{\"a\": 1}".to_vec()).await
}

async fn unicode_in_every_name_is_kept(f: &Fixture) -> Verdict {
    for text in SCRIPTS.into_iter().chain(ODD) {
        let stream = Stream::new(text, format!("of {text}"))?;
        let event = NewEvent::json(text, &1)?.with_actor(text, ActorType::User)?.with_tags([text])?;
        f.store.append(&stream, Expected::NoStream, [event]).await?;
        let events = f.store.read_stream(&stream).await?;
        ensure_eq!(events.len(), 1, "events of stream {:?}", stream.id());
        let read = &events[0];
        ensure_eq!(read.aggregate_id, stream.id(), "id");
        ensure_eq!([&*read.aggregate_type, &*read.event_type, &*read.tags[0]], [text; 3], "category, type and tag");
        ensure_eq!(read.actor.as_deref(), Some(text), "actor");
    }
    Ok(())
}

async fn names_of_255_bytes_are_kept(f: &Fixture) -> Verdict {
    for text in ["x".repeat(255), "é".repeat(127), "🙂".repeat(63), "日".repeat(85)] {
        let event = NewEvent::json(&text, &1)?.with_actor(&text, ActorType::User)?.with_tags([&text])?;
        f.store.append(&Stream::new(&text, &text)?, Expected::NoStream, [event]).await?;
        let events = f.store.read_stream(&text).await?;
        ensure_eq!(events.len(), 1, "events of a stream whose name has {} bytes", text.len());
        let read = &events[0];
        let names = [&read.aggregate_id, &read.aggregate_type, &read.event_type, &read.tags[0]];
        ensure_eq!(names, [&text; 4], "names");
        ensure_eq!(read.actor.as_ref(), Some(&text), "actor");
    }
    Ok(())
}

async fn the_normal_forms_of_a_name_are_different_names(f: &Fixture) -> Verdict {
    let names = ["é", "e\u{301}", "E\u{301}", "É", "e", "\u{212b}", "Å", "A\u{30a}", "ß", "ss", "ﬁ", "fi"];
    for name in names {
        f.store.append(&f.stream(name)?, Expected::NoStream, [NewEvent::json("Named", &name)?]).await?;
    }
    for name in names {
        let events = f.store.read_stream(name).await?;
        ensure_eq!(events.len(), 1, "events of stream {name:?}");
        ensure_eq!(events[0].payload.to::<String>()?, name, "name that the event was stored under");
    }
    Ok(())
}

/// An event with everything that a caller can give.
fn complete() -> Result<NewEvent> {
    NewEvent::json("Completed", &1)?
        .with_id(Uuid::from_u128(1))
        .with_version(7)?
        .with_metadata(Json::parse("{\"a\": 1}")?)?
        .with_tags(["one", "two"])?
        .with_actor("ann", ActorType::User)
        .map(|event| event.with_source(Source::Webhook).with_causation(Uuid::from_u128(2)))
        .map(|event| event.with_correlation(Uuid::from_u128(3)))
}

async fn every_optional_field_is_kept(f: &Fixture) -> Verdict {
    let event = through(f, complete()?).await?;
    ensure_eq!(event.event_id, Uuid::from_u128(1), "event_id");
    ensure_eq!(event.event_version, 7, "event_version");
    ensure_eq!(event.metadata.as_ref().map(Json::as_str), Some("{\"a\": 1}"), "metadata");
    ensure_eq!(event.tags, ["one", "two"], "tags");
    ensure_eq!((event.actor.as_deref(), event.actor_type), (Some("ann"), ActorType::User), "actor and its type");
    ensure_eq!(event.source, Source::Webhook, "source");
    ensure_eq!(event.causation_id, Some(Uuid::from_u128(2)), "causation_id");
    ensure_eq!(event.correlation_id, Some(Uuid::from_u128(3)), "correlation_id");
    Ok(())
}

async fn no_optional_field_is_invented(f: &Fixture) -> Verdict {
    let event = through(f, NewEvent::json("Bare", &1)?).await?;
    ensure_eq!(event.event_version, 1, "event_version");
    ensure_eq!((event.metadata.as_ref(), event.tags.len()), (None, 0), "metadata and tags");
    ensure_eq!((event.actor.as_deref(), event.actor_type), (None, ActorType::System), "actor and its type");
    ensure_eq!(event.source, Source::System, "source");
    ensure_eq!((event.causation_id, event.correlation_id), (None, None), "causation_id and correlation_id");
    ensure_eq!(event.event_id.get_version_num(), 7, "version of the id that the store made");
    Ok(())
}

async fn every_kind_of_actor_and_source_is_kept(f: &Fixture) -> Verdict {
    for kind in [ActorType::User, ActorType::Service, ActorType::System] {
        for source in [Source::Ui, Source::Api, Source::Import, Source::Webhook, Source::System] {
            let event = through(f, f.event("Written")?.with_actor_type(kind).with_source(source)).await?;
            ensure_eq!((event.actor_type, event.source), (kind, source), "kind of actor, and source");
        }
    }
    Ok(())
}

async fn event_versions_are_kept_at_their_extremes(f: &Fixture) -> Verdict {
    for version in [1, 2, 32_768, i32::MAX] {
        let event = through(f, f.event("Written")?.with_version(version)?).await?;
        ensure_eq!(event.event_version, version, "event_version");
    }
    Ok(())
}

async fn ids_are_kept_at_their_extremes(f: &Fixture) -> Verdict {
    for id in [Uuid::nil(), Uuid::max(), Uuid::from_u128(0x0102_0304_0506_0708_090a_0b0c_0d0e_0f10), Uuid::now_v7()] {
        let event = through(f, f.event("Written")?.with_id(id).with_causation(id).with_correlation(id)).await?;
        let ids = (event.event_id, event.causation_id, event.correlation_id);
        ensure_eq!(ids, (id, Some(id), Some(id)), "event_id, causation_id and correlation_id");
        ensure_eq!(f.store.event(id).await?, Some(event), "event that the id finds");
    }
    Ok(())
}

async fn tags_come_back_sorted_and_once(f: &Fixture) -> Verdict {
    let event = through(f, f.event("Tagged")?.with_tags(["b", "a", "é", "b", "Z", "a:2", "a:10", "🙂", "￿"])?).await?;
    ensure_eq!(event.tags, ["Z", "a", "a:10", "a:2", "b", "é", "￿", "🙂"], "tags, in byte order");
    Ok(())
}

async fn tags_keep_odd_characters(f: &Fixture) -> Verdict {
    let mut tags: Vec<&str> = ODD.into_iter().chain(SCRIPTS).chain(["\"", "\\", "a,b", "[", "]"]).collect();
    tags.sort_unstable();
    let event = through(f, f.event("Tagged")?.with_tags(tags.clone())?).await?;
    ensure_eq!(event.tags, tags, "tags");
    Ok(())
}

async fn the_hash_is_that_of_the_event_that_is_read(f: &Fixture) -> Verdict {
    for event in [complete()?, f.event("Bare")?, with_data(" [0.10, 1e400] ")?] {
        let read = through(f, event).await?;
        ensure_eq!(read.hash, Some(hash::of(&read)), "hash");
    }
    Ok(())
}

async fn events_that_differ_in_any_field_differ_in_hash(f: &Fixture) -> Verdict {
    let changes: [fn(NewEvent) -> Result<NewEvent>; 8] = [
        Ok,
        |event| event.with_version(8),
        |event| event.with_metadata(Json::parse("{\"a\":1}")?),
        |event| event.with_tags(["one,two"]),
        |event| event.with_actor("ann ".trim().to_uppercase(), ActorType::User),
        |event| Ok(event.with_source(Source::Api)),
        |event| Ok(event.with_causation(Uuid::from_u128(3))),
        |event| Ok(event.with_correlation(Uuid::from_u128(2))),
    ];
    let mut hashes = std::collections::HashSet::new();
    for (number, change) in (100..).zip(changes) {
        let event = change(complete()?)?.with_id(Uuid::from_u128(number));
        hashes.extend(through(f, event).await?.hash);
    }
    ensure_eq!(hashes.len(), changes.len(), "different hashes");
    Ok(())
}

async fn the_hash_does_not_cover_what_the_store_decides(f: &Fixture) -> Verdict {
    let first = through(f, complete()?).await?;
    let second = through(f, complete()?.with_id(Uuid::from_u128(9))).await?;
    ensure_eq!(first.hash, second.hash, "hash of the same event at another place");
    ensure_eq!(first.hash.is_some(), true, "whether there is a hash");
    Ok(())
}
