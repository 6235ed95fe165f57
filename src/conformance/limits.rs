//! Contract section 9: each limit, at its edge and one beyond it; beyond it nothing is stored.

use super::case::{Case, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use crate::append::{Append, Condition};
use crate::error::{Error, Result};
use crate::event::NewEvent;
use crate::json::Json;
use crate::limits;
use crate::position::{Position, Version};
use crate::read::{Query, StreamFilter};
use crate::snapshot::{NewSnapshot, SnapshotQuery};
use crate::stream::Expected;

pub(super) const CASES: &[Case] = cases![
    an_event_of_64_tags_is_kept: "9.1";
    an_event_of_65_tags_is_refused: "9.1", "9.2";
    a_repeated_tag_counts_once: "9.1";
    an_event_of_4_mib_is_kept: "9.1";
    an_event_beyond_4_mib_is_refused: "9.1", "9.2";
    max_event_bytes_lowers_the_limit_of_an_event: "9.1", "11.2" if Durable;
    max_event_bytes_raises_the_limit_of_an_event: "9.1", "11.2" if Durable;
    data_metadata_and_tags_count_together: "9.1" if Durable;
    bytes_are_counted_before_they_are_encoded: "9.1" if Durable;
    a_request_of_10000_events_is_stored: "9.1";
    a_request_of_10001_events_is_refused: "9.1", "9.2";
    events_of_all_streams_of_a_request_count_together: "9.1", "9.2";
    a_request_beyond_64_mib_is_refused: "9.1", "9.2" if Durable;
    a_request_of_10000_streams_is_decided: "3.6", "9.1";
    a_request_of_10001_streams_is_refused: "9.1", "9.2";
    a_condition_of_256_alternatives_is_decided: "3.7", "9.1";
    a_condition_of_257_alternatives_is_refused: "9.1", "9.2";
    an_item_of_256_types_beside_a_tag_is_decided: "3.7", "9.1";
    an_item_of_257_types_beside_a_tag_is_refused: "9.1", "9.2";
    an_item_of_64_tags_is_decided: "3.7", "9.1";
    an_item_of_65_tags_is_refused: "9.1", "9.2";
    a_query_of_64_tags_is_answered: "6.3", "9.1";
    a_query_of_65_tags_is_refused: "9.1", "9.2";
    a_query_of_1000_types_is_answered: "6.3", "9.1";
    a_query_of_1001_types_is_refused: "9.1", "9.2";
    a_page_of_10000_rows_is_read: "9.1";
    a_page_of_10001_rows_is_refused: "9.1", "9.2";
    a_page_without_rows_is_refused: "9.1";
    a_list_of_10001_streams_is_refused: "9.1", "9.2";
    json_of_128_levels_is_kept: "2.5", "9.1";
    json_of_129_levels_is_refused: "9.1", "9.2";
    brackets_in_strings_are_no_levels: "9.1";
    a_refused_event_takes_its_request_with_it: "3.1", "9.2";
];

/// Makes an event whose data is a JSON string of a number of bytes, quotes included.
fn event_of(bytes: usize) -> Result<NewEvent> {
    NewEvent::new("Sized", Json::parse(format!("\"{}\"", "x".repeat(bytes.saturating_sub(2))))?.into())
}

/// Nests arrays a number of levels deep.
fn nested(levels: usize) -> String {
    "[".repeat(levels) + &"]".repeat(levels)
}

/// Checks that no event stands in the log.
async fn nothing_is_stored(f: &Fixture) -> Verdict {
    ensure_eq!(f.store.query(Query::new().limit(1)).await?.len(), 0, "events of the log");
    f.filled("after", 1).await?;
    ensure_eq!(f.store.count("after").await?, 1, "events of a stream that was written after the refusal");
    Ok(())
}

async fn an_event_of_64_tags_is_kept(f: &Fixture) -> Verdict {
    let tags: Vec<String> = (0..limits::TAGS_PER_EVENT).map(|number| format!("tag-{number:02}")).collect();
    f.store.append(&f.stream("a")?, Expected::Any, [f.event("Tagged")?.with_tags(tags.clone())?]).await?;
    let read: Vec<_> = f.store.read_stream("a").await?.into_iter().map(|event| event.tags).collect();
    ensure_eq!(read, [tags.clone()], "tags");
    ensure_eq!(f.store.query(Query::new().tags(tags)?).await?.len(), 1, "events that have them all");
    Ok(())
}

async fn an_event_of_65_tags_is_refused(f: &Fixture) -> Verdict {
    let tags = (0..65).map(|number| format!("tag-{number}"));
    ensure_err!(f.event("Tagged")?.with_tags(tags), Error::Limit { limit: 64, actual: 65, .. });
    nothing_is_stored(f).await
}

async fn a_repeated_tag_counts_once(f: &Fixture) -> Verdict {
    let tags = (0..100).map(|number| format!("tag-{}", number % 64));
    f.store.append(&f.stream("a")?, Expected::Any, [f.event("Tagged")?.with_tags(tags)?]).await?;
    let read: Vec<usize> = f.store.read_stream("a").await?.iter().map(|event| event.tags.len()).collect();
    ensure_eq!(read, [64], "tags");
    Ok(())
}

async fn an_event_of_4_mib_is_kept(f: &Fixture) -> Verdict {
    let event = event_of(limits::EVENT_BYTES)?;
    f.store.append(&f.stream("a")?, Expected::NoStream, [event]).await?;
    let read = f.store.read_stream("a").await?;
    let sizes: Vec<_> =
        read.iter().filter_map(|event| event.payload.as_json()).map(|json| json.as_str().len()).collect();
    ensure_eq!(sizes, [4 * 1024 * 1024], "bytes of data");
    Ok(())
}

async fn an_event_beyond_4_mib_is_refused(f: &Fixture) -> Verdict {
    let refused = f.store.append(&f.stream("a")?, Expected::Any, [event_of(limits::EVENT_BYTES + 1)?]).await;
    ensure_err!(refused, Error::Limit { limit: 4_194_304, actual: 4_194_305, .. });
    nothing_is_stored(f).await
}

async fn max_event_bytes_lowers_the_limit_of_an_event(f: &Fixture) -> Verdict {
    let store = f.database.open(&[("max_event_bytes", "100")]).await?;
    store.append(&f.stream("a")?, Expected::NoStream, [event_of(100)?]).await?;
    let refused = store.append(&f.stream("a")?, Expected::exact(1), [event_of(101)?]).await;
    ensure_err!(refused, Error::Limit { limit: 100, actual: 101, .. });
    ensure_eq!(store.count("a").await?, 1, "events of the stream");
    store.close().await;
    Ok(())
}

async fn max_event_bytes_raises_the_limit_of_an_event(f: &Fixture) -> Verdict {
    let beyond = limits::EVENT_BYTES + 1;
    let store = f.database.open(&[("max_event_bytes", &beyond.to_string())]).await?;
    store.append(&f.stream("a")?, Expected::NoStream, [event_of(beyond)?]).await?;
    ensure_eq!(store.count("a").await?, 1, "events of the stream");
    store.close().await;
    let most = (limits::EVENT_BYTES_MAX + 1).to_string();
    ensure_err!(f.database.open(&[("max_event_bytes", &most)]).await, Error::Url { .. });
    Ok(())
}

async fn data_metadata_and_tags_count_together(f: &Fixture) -> Verdict {
    let store = f.database.open(&[("max_event_bytes", "30")]).await?;
    let event = |bytes| event_of(bytes)?.with_metadata(Json::parse(r#"{"a":1}"#)?)?.with_tags(["abc"]);
    ensure_err!(
        store.append(&f.stream("a")?, Expected::Any, [event(21)?]).await,
        Error::Limit { limit: 30, actual: 31, .. }
    );
    store.append(&f.stream("a")?, Expected::NoStream, [event(20)?]).await?;
    ensure_eq!(store.count("a").await?, 1, "events of the stream");
    store.close().await;
    Ok(())
}

async fn bytes_are_counted_before_they_are_encoded(f: &Fixture) -> Verdict {
    let store = f.database.open(&[("max_event_bytes", "90")]).await?;
    let event = |bytes: usize| NewEvent::bytes("Sized", "application/octet-stream", vec![255; bytes]);
    store.append(&f.stream("a")?, Expected::NoStream, [event(90)?]).await?;
    ensure_err!(store.append(&f.stream("a")?, Expected::Any, [event(91)?]).await, Error::Limit { actual: 91, .. });
    ensure_eq!(store.count("a").await?, 1, "events of the stream");
    store.close().await;
    Ok(())
}

async fn a_request_of_10000_events_is_stored(f: &Fixture) -> Verdict {
    let appended = f.store.append(&f.stream("a")?, Expected::NoStream, f.events(10_000)?).await?;
    ensure_eq!(appended.version(), Version::new(10_000), "version");
    let last = f.store.query(Query::stream("a").backward().limit(1)).await?;
    ensure_eq!(last.first().map(|event| event.position.get()), Some(10_000), "position of the last event");
    ensure_eq!(f.store.query(Query::stream("a")).await?.len(), 10_000, "events of the stream");
    Ok(())
}

async fn a_request_of_10001_events_is_refused(f: &Fixture) -> Verdict {
    let refused = f.store.append(&f.stream("a")?, Expected::NoStream, f.events(10_001)?).await;
    ensure_err!(refused, Error::Limit { limit: 10_000, actual: 10_001, .. });
    nothing_is_stored(f).await
}

async fn events_of_all_streams_of_a_request_count_together(f: &Fixture) -> Verdict {
    let append = Append::new().to(f.stream("{x}a")?, Expected::Any, f.events(5_000)?).to(
        f.stream("{x}b")?,
        Expected::Any,
        f.events(5_001)?,
    );
    ensure_err!(f.store.commit(append).await, Error::Limit { limit: 10_000, actual: 10_001, .. });
    nothing_is_stored(f).await
}

async fn a_request_beyond_64_mib_is_refused(f: &Fixture) -> Verdict {
    let store = f.database.open(&[("max_event_bytes", &limits::EVENT_BYTES_MAX.to_string())]).await?;
    let event = |bytes: usize| NewEvent::bytes("Sized", "application/octet-stream", vec![0; bytes]);
    let events = [event(limits::REQUEST_BYTES - 1)?, event(2)?];
    let refused = store.append(&f.stream("a")?, Expected::Any, events).await;
    ensure_err!(refused, Error::Limit { limit: 67_108_864, actual: 67_108_865, .. });
    store.close().await;
    nothing_is_stored(f).await
}

/// Makes a request that writes a stream and guards others that do not exist, that many streams in all.
fn guards(f: &Fixture, streams: usize) -> Result<Append> {
    let append = Append::new().to(f.stream("{x}written")?, Expected::Any, f.events(1)?);
    (1..streams).try_fold(append, |append, number| {
        Ok(append.guard(f.stream(&format!("{{x}}absent-{number}"))?, Expected::NoStream))
    })
}

async fn a_request_of_10000_streams_is_decided(f: &Fixture) -> Verdict {
    f.store.commit(guards(f, 10_000)?).await?;
    let last = f.filled("{x}absent-9999", 1).await?;
    let refused = f.store.commit(guards(f, 10_000)?).await;
    ensure_err!(refused, Error::Conflict { stream, .. } if stream == last.id());
    ensure_eq!(f.store.count("{x}written").await?, 1, "events of the stream that was written");
    Ok(())
}

async fn a_request_of_10001_streams_is_refused(f: &Fixture) -> Verdict {
    ensure_err!(f.store.commit(guards(f, 10_001)?).await, Error::Limit { limit: 10_000, actual: 10_001, .. });
    let stream = f.stream("a")?;
    let one = (0..10_001).fold(Append::new(), |append, _| append.guard(stream.clone(), Expected::NoStream));
    ensure_err!(f.store.commit(one).await, Error::Limit { limit: 10_000, actual: 10_001, .. });
    nothing_is_stored(f).await
}

/// Makes a condition of items with one tag each, and one item of two types, that many alternatives in all.
fn condition_of(alternatives: usize) -> Result<Condition> {
    let tagged = (2..alternatives).try_fold(Condition::after(Position::ZERO), |condition, number| {
        condition.or([] as [&str; 0], [format!("n:{number}")])
    });
    tagged?.or(["One", "Two"], [] as [&str; 0])
}

async fn a_condition_of_256_alternatives_is_decided(f: &Fixture) -> Verdict {
    let append = |event_type| -> Result<Append> {
        let append = Append::new().to(f.stream("a")?, Expected::Any, [f.event(event_type)?]);
        Ok(append.condition(condition_of(limits::CONDITION_ALTERNATIVES)?))
    };
    f.store.commit(append("Two")?).await?;
    ensure_err!(f.store.commit(append("One")?).await, Error::ConditionFailed { .. });
    ensure_eq!(f.store.query(Query::new()).await?.len(), 1, "events");
    Ok(())
}

async fn a_condition_of_257_alternatives_is_refused(f: &Fixture) -> Verdict {
    let append = Append::new().to(f.stream("a")?, Expected::Any, f.events(1)?);
    let refused = f.store.commit(append.condition(condition_of(limits::CONDITION_ALTERNATIVES + 1)?)).await;
    ensure_err!(refused, Error::Limit { limit: 256, actual: 257, .. });
    nothing_is_stored(f).await
}

/// Returns that many names that differ.
fn names(count: usize) -> Vec<String> {
    (0..count).map(|number| format!("name-{number:04}")).collect()
}

/// Appends one event, if nothing matches an item of some types and tags.
async fn append_unless(f: &Fixture, event: NewEvent, types: Vec<String>, tags: Vec<String>) -> Result<(), Error> {
    let append = Append::new().to(f.stream("a")?, Expected::Any, [event]);
    f.store.commit(append.condition(Condition::after(Position::ZERO).or(types, tags)?)).await.map(drop)
}

async fn an_item_of_256_types_beside_a_tag_is_decided(f: &Fixture) -> Verdict {
    let attempt = async |event| append_unless(f, event, names(256), vec!["tag".to_owned()]).await;
    attempt(f.event("name-0255")?).await?;
    attempt(f.event("name-0255")?.with_tags(["tag"])?).await?;
    ensure_err!(attempt(f.event("Other")?).await, Error::ConditionFailed { .. });
    ensure_eq!(f.store.count("a").await?, 2, "events of the stream");
    Ok(())
}

async fn an_item_of_257_types_beside_a_tag_is_refused(f: &Fixture) -> Verdict {
    let refused = append_unless(f, f.event("Other")?, names(257), vec!["tag".to_owned()]).await;
    ensure_err!(refused, Error::Limit { limit: 256, actual: 257, .. });
    nothing_is_stored(f).await
}

async fn an_item_of_64_tags_is_decided(f: &Fixture) -> Verdict {
    let attempt = async |event| append_unless(f, event, Vec::new(), names(64)).await;
    attempt(f.event("Tagged")?.with_tags(names(63))?).await?;
    attempt(f.event("Tagged")?.with_tags(names(64))?).await?;
    ensure_err!(attempt(f.event("Other")?).await, Error::ConditionFailed { .. });
    ensure_eq!(f.store.count("a").await?, 2, "events of the stream");
    Ok(())
}

async fn an_item_of_65_tags_is_refused(f: &Fixture) -> Verdict {
    let refused = append_unless(f, f.event("Other")?, Vec::new(), names(65)).await;
    ensure_err!(refused, Error::Limit { limit: 64, actual: 65, .. });
    nothing_is_stored(f).await
}

async fn a_query_of_64_tags_is_answered(f: &Fixture) -> Verdict {
    let events = [f.event("Some")?.with_tags(names(63))?, f.event("All")?.with_tags(names(64))?];
    f.store.append(&f.stream("a")?, Expected::Any, events).await?;
    let found = f.store.query(Query::new().tags(names(64))?).await?;
    let types: Vec<_> = found.iter().map(|event| event.event_type.as_str()).collect();
    ensure_eq!(types, ["All"], "events that have all of the tags");
    Ok(())
}

async fn a_query_of_65_tags_is_refused(_: &Fixture) -> Verdict {
    ensure_err!(Query::new().tags(names(65)), Error::Limit { limit: 64, actual: 65, .. });
    ensure_err!(Query::new().tags(names(64))?.tags(["more"]), Error::Limit { limit: 64, actual: 65, .. });
    Ok(())
}

async fn a_query_of_1000_types_is_answered(f: &Fixture) -> Verdict {
    let events = [f.event("name-0000")?, f.event("name-0999")?, f.event("name-1000")?];
    f.store.append(&f.stream("a")?, Expected::Any, events).await?;
    let found = f.store.query(Query::new().event_types(names(1_000))?).await?;
    let types: Vec<_> = found.iter().map(|event| event.event_type.as_str()).collect();
    ensure_eq!(types, ["name-0000", "name-0999"], "events of any of the types");
    Ok(())
}

async fn a_query_of_1001_types_is_refused(_: &Fixture) -> Verdict {
    ensure_err!(Query::new().event_types(names(1_001)), Error::Limit { limit: 1_000, actual: 1_001, .. });
    let more = Query::new().event_types(names(1_000))?.event_types(["more"]);
    ensure_err!(more, Error::Limit { limit: 1_000, actual: 1_001, .. });
    Ok(())
}

async fn a_page_of_10000_rows_is_read(f: &Fixture) -> Verdict {
    f.filled("a", 3).await?;
    let page = f.store.page(f.store.lane("a"), &Query::new(), limits::PAGE_ROWS).await?;
    ensure_eq!((page.events.len(), page.more), (3, false), "events of the page, and whether there are more");
    ensure_eq!(f.store.recent(limits::PAGE_ROWS).await?.len(), 3, "newest events");
    Ok(())
}

async fn a_page_of_10001_rows_is_refused(f: &Fixture) -> Verdict {
    f.filled("a", 1).await?;
    let refused = f.store.page(f.store.lane("a"), &Query::new(), 10_001).await;
    ensure_err!(refused, Error::Limit { limit: 10_000, actual: 10_001, .. });
    ensure_err!(f.store.recent(10_001).await, Error::Limit { .. });
    Ok(())
}

async fn a_page_without_rows_is_refused(f: &Fixture) -> Verdict {
    f.filled("a", 1).await?;
    ensure_err!(f.store.page(f.store.lane("a"), &Query::new(), 0).await, Error::Invalid { .. });
    ensure_eq!(f.store.page(f.store.lane("a"), &Query::new(), 1).await?.events.len(), 1, "events of a page of one row");
    Ok(())
}

async fn a_list_of_10001_streams_is_refused(f: &Fixture) -> Verdict {
    f.filled("a", 1).await?;
    let list = |limit| StreamFilter { limit, ..StreamFilter::default() };
    ensure_err!(f.store.streams(&list(10_001)).await, Error::Limit { limit: 10_000, actual: 10_001, .. });
    ensure_err!(f.store.streams(&list(0)).await, Error::Invalid { .. });
    ensure_eq!(f.store.streams(&list(10_000)).await?.len(), 1, "streams");
    Ok(())
}

async fn json_of_128_levels_is_kept(f: &Fixture) -> Verdict {
    let deep = Json::parse(nested(128))?;
    let object = Json::parse(format!("{{\"a\":{}}}", nested(127)))?;
    let stream = f.stream("a")?;
    let event = NewEvent::new("Nested", deep.clone().into())?.with_metadata(object.clone())?;
    f.store.append(&stream, Expected::NoStream, [event]).await?;
    f.store.set_metadata("a", None, object.clone()).await?;
    f.store.save_snapshot(&NewSnapshot::new(stream, Version::new(1), deep.clone())).await?;
    let read: Vec<_> =
        f.store.read_stream("a").await?.into_iter().map(|event| (event.payload, event.metadata)).collect();
    ensure_eq!(read, [(deep.clone().into(), Some(object.clone()))], "data and metadata");
    ensure_eq!(f.store.stream("a").await?.and_then(|info| info.metadata), Some(object), "metadata of the stream");
    let snapshot = f.store.snapshot("a", SnapshotQuery::default()).await?;
    ensure_eq!(snapshot.map(|snapshot| snapshot.state), Some(deep), "state");
    Ok(())
}

async fn json_of_129_levels_is_refused(f: &Fixture) -> Verdict {
    ensure_err!(Json::parse(nested(129)), Error::Limit { limit: 128, actual: 129, .. });
    ensure_err!(Json::parse(format!("{{\"a\":{}}}", nested(128))), Error::Limit { actual: 129, .. });
    let mut value = serde_json::json!(0);
    for _ in 0..129 {
        value = serde_json::json!([value]);
    }
    ensure_err!(NewEvent::json("Nested", &value), Error::Limit { actual: 129, .. });
    nothing_is_stored(f).await
}

async fn brackets_in_strings_are_no_levels(f: &Fixture) -> Verdict {
    let text = format!(r#"{{"{0}":"{0}\"{0}\\"}}"#, "[{".repeat(200));
    f.store.append(&f.stream("a")?, Expected::Any, [NewEvent::new("Flat", Json::parse(text.clone())?.into())?]).await?;
    let read: Vec<_> = f.store.read_stream("a").await?.into_iter().map(|event| event.payload).collect();
    ensure_eq!(read, [Json::parse(text)?.into()], "data");
    Ok(())
}

async fn a_refused_event_takes_its_request_with_it(f: &Fixture) -> Verdict {
    let append = Append::new().to(f.stream("{x}a")?, Expected::Any, f.events(2)?).to(
        f.stream("{x}b")?,
        Expected::Any,
        [event_of(limits::EVENT_BYTES + 1)?],
    );
    ensure_err!(f.store.commit(append).await, Error::Limit { .. });
    ensure!(!f.store.exists("{x}a").await?, "the stream that holds to the limit was written");
    nothing_is_stored(f).await
}
