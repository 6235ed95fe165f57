//! Contract section 6: what is known of a stream, and lists of streams.

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq};
use super::harness::Fixture;
use crate::error::Result;
use crate::position::{Position, Version};
use crate::read::StreamFilter;
use crate::stream::{Expected, Stream, StreamInfo};

pub(super) const CASES: &[Case] = cases![
    what_does_not_exist_has_no_row_no_version_and_no_events: "6.3";
    a_streams_row_tells_its_category_and_versions: "6.3";
    a_streams_row_tells_when_it_was_made_and_last_written: "2.4", "6.3";
    a_streams_row_tells_where_a_reused_stream_begins: "6.3", "8.3";
    appending_does_not_change_when_the_row_changed: "2.1";
    setting_metadata_changes_when_the_row_changed: "2.1", "8.4";
    a_list_holds_every_stream_once: "6.3";
    a_list_tells_of_each_stream_what_its_row_tells: "6.3";
    a_list_is_in_byte_order: "6.3";
    a_list_is_in_byte_order_beyond_the_basic_plane: "6.3" if ByteOrder;
    a_list_keeps_to_its_limit: "6.3";
    a_list_continues_after_an_id: "6.3";
    the_id_that_a_list_continues_after_need_not_exist: "6.3";
    pages_of_a_list_join_without_gap_or_repetition: "6.3";
    a_prefix_is_a_range_of_ids: "6.3";
    a_prefix_ends_where_its_last_character_ends: "6.3";
    a_prefix_beyond_the_basic_plane_is_a_range_too: "6.3" if ByteOrder;
    an_empty_prefix_is_no_filter: "6.3";
    a_list_keeps_to_a_category: "6.3";
    prefix_category_and_start_of_a_list_combine: "6.2", "6.3";
    heads_tell_the_last_position_of_each_lane: "1.2", "6.3";
];

fn all() -> StreamFilter {
    StreamFilter { limit: 100, ..StreamFilter::default() }
}

fn with_prefix(prefix: &str) -> StreamFilter {
    StreamFilter { prefix: Some(prefix.to_owned()), ..all() }
}

fn after(id: &str) -> StreamFilter {
    StreamFilter { after: Some(id.to_owned()), ..all() }
}

/// Returns the ids of a list.
async fn listed(f: &Fixture, filter: &StreamFilter) -> Result<Vec<String>> {
    Ok(f.store.streams(filter).await?.into_iter().map(|stream| stream.aggregate_id).collect())
}

/// Makes streams of one event each.
async fn streams(f: &Fixture, ids: &[&str]) -> Result<()> {
    for id in ids {
        f.filled(id, 1).await?;
    }
    Ok(())
}

async fn info(f: &Fixture, id: &str) -> Result<StreamInfo, Failure> {
    f.store.stream(id).await?.ok_or_else(|| Failure(format!("stream {id} has no row")))
}

async fn what_does_not_exist_has_no_row_no_version_and_no_events(f: &Fixture) -> Verdict {
    f.filled("a", 2).await?;
    for id in ["b", "A", "a1", "thing"] {
        ensure_eq!(f.store.stream(id).await?, None, "row of {id:?}");
        ensure_eq!(f.store.version(id).await?, Version::ZERO, "version of {id:?}");
        ensure_eq!((f.store.exists(id).await?, f.store.count(id).await?), (false, 0), "existence of {id:?}");
        ensure_eq!(f.store.read_stream(id).await?, [], "events of {id:?}");
    }
    ensure_eq!((f.store.exists("a").await?, f.store.count("a").await?), (true, 2), "existence of the stream");
    Ok(())
}

async fn a_streams_row_tells_its_category_and_versions(f: &Fixture) -> Verdict {
    let stream = Stream::new("order", "order-1")?;
    f.store.append(&stream, Expected::NoStream, f.events(3)?).await?;
    let info = info(f, "order-1").await?;
    ensure_eq!((info.aggregate_id.as_str(), info.aggregate_type.as_str()), ("order-1", "order"), "id and category");
    ensure_eq!((info.first_version, info.version), (Version::new(1), Version::new(3)), "first and last version");
    Ok(())
}

async fn a_streams_row_tells_when_it_was_made_and_last_written(f: &Fixture) -> Verdict {
    f.filled("a", 1).await?;
    f.filled("a", 2).await?;
    let times: Vec<_> = f.store.read_stream("a").await?.iter().map(|event| event.event_timestamp).collect();
    let info = info(f, "a").await?;
    ensure_eq!(Some(&info.created_at), times.first(), "when it was made, and its first event's time");
    ensure_eq!(Some(&info.last_event_at), times.last(), "when it was last written, and its last event's time");
    ensure_eq!(info.deleted_at, None, "when it was deleted");
    Ok(())
}

async fn a_streams_row_tells_where_a_reused_stream_begins(f: &Fixture) -> Verdict {
    let stream = f.filled("a", 2).await?;
    f.store.delete(&stream, Expected::Any).await?;
    f.store.reuse(&stream, Expected::Any).await?;
    f.filled("a", 1).await?;
    let info = info(f, "a").await?;
    ensure_eq!((info.first_version, info.version), (Version::new(4), Version::new(5)), "first and last version");
    Ok(())
}

async fn appending_does_not_change_when_the_row_changed(f: &Fixture) -> Verdict {
    f.filled("a", 1).await?;
    let before = info(f, "a").await?.updated_at;
    f.filled("a", 1).await?;
    let after = info(f, "a").await?;
    ensure_eq!((after.version, after.updated_at), (Version::new(2), before), "version, and when the row changed");
    Ok(())
}

async fn setting_metadata_changes_when_the_row_changed(f: &Fixture) -> Verdict {
    f.filled("a", 1).await?;
    let before = info(f, "a").await?;
    // A clock that stands still shows no change, so this waits until it has moved.
    loop {
        f.store.set_metadata("a", None, crate::json::Json::parse("{}")?).await?;
        let after = info(f, "a").await?;
        ensure_eq!(after.created_at, before.created_at, "when it was made");
        ensure!(after.updated_at >= before.updated_at, "the row changed earlier than before");
        if after.updated_at > before.updated_at {
            return Ok(());
        }
    }
}

async fn a_list_holds_every_stream_once(f: &Fixture) -> Verdict {
    ensure_eq!(listed(f, &all()).await?.len(), 0, "streams of an empty store");
    for id in ["b", "a", "b", "c", "a"] {
        f.filled(id, 2).await?;
    }
    ensure_eq!(listed(f, &all()).await?, ["a", "b", "c"], "streams");
    Ok(())
}

async fn a_list_tells_of_each_stream_what_its_row_tells(f: &Fixture) -> Verdict {
    streams(f, &["a", "b"]).await?;
    f.filled("b", 4).await?;
    f.store.set_metadata("b", None, crate::json::Json::parse(r#"{"a":1}"#)?).await?;
    let rows = [info(f, "a").await?, info(f, "b").await?];
    ensure_eq!(f.store.streams(&all()).await?, rows, "streams");
    Ok(())
}

async fn a_list_is_in_byte_order(f: &Fixture) -> Verdict {
    streams(f, &["b", "a-10", "Z", "a-9", "é", "a", "zebra", "_", "0", "~", "ß", "\u{e000}", "日"]).await?;
    let sorted = ["0", "Z", "_", "a", "a-10", "a-9", "b", "zebra", "~", "ß", "é", "日", "\u{e000}"];
    ensure_eq!(listed(f, &all()).await?, sorted, "streams");
    Ok(())
}

async fn a_list_is_in_byte_order_beyond_the_basic_plane(f: &Fixture) -> Verdict {
    streams(f, &["🦀", "\u{ffff}", "\u{10ffff}", "\u{e000}", "a"]).await?;
    ensure_eq!(listed(f, &all()).await?, ["a", "\u{e000}", "\u{ffff}", "🦀", "\u{10ffff}"], "streams");
    ensure_eq!(listed(f, &after("\u{ffff}")).await?, ["🦀", "\u{10ffff}"], "streams after one of the basic plane");
    Ok(())
}

async fn a_list_keeps_to_its_limit(f: &Fixture) -> Verdict {
    streams(f, &["a", "b", "c", "d"]).await?;
    for (limit, expected) in
        [(1, &["a"][..]), (3, &["a", "b", "c"]), (4, &["a", "b", "c", "d"]), (9, &["a", "b", "c", "d"])]
    {
        ensure_eq!(listed(f, &StreamFilter { limit, ..all() }).await?, expected, "the first {limit} streams");
    }
    Ok(())
}

async fn a_list_continues_after_an_id(f: &Fixture) -> Verdict {
    streams(f, &["a", "b", "ba", "c"]).await?;
    ensure_eq!(listed(f, &after("b")).await?, ["ba", "c"], "streams after b");
    ensure_eq!(listed(f, &after("c")).await?.len(), 0, "streams after the last");
    Ok(())
}

async fn the_id_that_a_list_continues_after_need_not_exist(f: &Fixture) -> Verdict {
    streams(f, &["a", "c"]).await?;
    ensure_eq!(listed(f, &after("b")).await?, ["c"], "streams after an id that does not exist");
    Ok(())
}

async fn pages_of_a_list_join_without_gap_or_repetition(f: &Fixture) -> Verdict {
    let ids: Vec<String> = (0..23).map(|number| format!("stream-{number:02}")).collect();
    for id in ids.iter().rev() {
        f.filled(id, 1).await?;
    }
    for limit in [1, 7, 22, 23] {
        let (mut joined, mut filter) = (Vec::new(), StreamFilter { limit, ..all() });
        loop {
            let page = listed(f, &filter).await?;
            let Some(last) = page.last() else { break };
            filter.after = Some(last.clone());
            joined.extend(page);
        }
        ensure_eq!(joined, ids, "pages of {limit}");
    }
    Ok(())
}

async fn a_prefix_is_a_range_of_ids(f: &Fixture) -> Verdict {
    streams(f, &["order", "order-1", "order-10", "order-2", "Order-3", "border-4", "ordes", "orde"]).await?;
    ensure_eq!(listed(f, &with_prefix("order-")).await?, ["order-1", "order-10", "order-2"], "streams of order-");
    ensure_eq!(
        listed(f, &with_prefix("order")).await?,
        ["order", "order-1", "order-10", "order-2"],
        "streams of order"
    );
    ensure_eq!(listed(f, &with_prefix("none")).await?.len(), 0, "streams of none");
    Ok(())
}

async fn a_prefix_ends_where_its_last_character_ends(f: &Fixture) -> Verdict {
    streams(f, &["a~", "a\u{7ff}x", "a\u{800}", "a\u{d7ff}x", "a\u{e000}", "b"]).await?;
    ensure_eq!(listed(f, &with_prefix("a~")).await?, ["a~"], "streams of a~");
    ensure_eq!(listed(f, &with_prefix("a\u{7ff}")).await?, ["a\u{7ff}x"], "streams of a and the last of two bytes");
    ensure_eq!(
        listed(f, &with_prefix("a\u{d7ff}")).await?,
        ["a\u{d7ff}x"],
        "streams of a and the last before surrogates"
    );
    Ok(())
}

async fn a_prefix_beyond_the_basic_plane_is_a_range_too(f: &Fixture) -> Verdict {
    streams(f, &["🦀", "🦀-1", "🦁", "\u{ffff}a", "\u{10ffff}", "\u{10ffff}\u{10ffff}b", "z"]).await?;
    ensure_eq!(listed(f, &with_prefix("🦀")).await?, ["🦀", "🦀-1"], "streams of a crab");
    ensure_eq!(listed(f, &with_prefix("\u{ffff}")).await?, ["\u{ffff}a"], "streams of the plane's last character");
    let last = ["\u{10ffff}", "\u{10ffff}\u{10ffff}b"];
    ensure_eq!(listed(f, &with_prefix("\u{10ffff}")).await?, last, "streams of the last character");
    Ok(())
}

async fn an_empty_prefix_is_no_filter(f: &Fixture) -> Verdict {
    streams(f, &["a", "\u{10ffff}"]).await?;
    ensure_eq!(listed(f, &with_prefix("")).await?, ["a", "\u{10ffff}"], "streams of the empty prefix");
    Ok(())
}

async fn a_list_keeps_to_a_category(f: &Fixture) -> Verdict {
    for (category, id) in [("order", "1"), ("orders", "2"), ("Order", "3"), ("order", "4")] {
        f.store.append(&Stream::new(category, id)?, Expected::NoStream, f.events(1)?).await?;
    }
    let of = |category: &str| StreamFilter { aggregate_type: Some(category.to_owned()), ..all() };
    ensure_eq!(listed(f, &of("order")).await?, ["1", "4"], "streams of the category");
    ensure_eq!(listed(f, &of("none")).await?.len(), 0, "streams of a category that does not exist");
    Ok(())
}

async fn prefix_category_and_start_of_a_list_combine(f: &Fixture) -> Verdict {
    for id in ["a-1", "a-2", "a-3", "a-4", "b-5"] {
        f.store.append(&Stream::new("order", id)?, Expected::NoStream, f.events(1)?).await?;
    }
    f.filled("a-25", 1).await?;
    let filter = StreamFilter {
        prefix: Some("a-".to_owned()),
        aggregate_type: Some("order".to_owned()),
        after: Some("a-1".to_owned()),
        limit: 2,
        ..StreamFilter::default()
    };
    ensure_eq!(listed(f, &filter).await?, ["a-2", "a-3"], "streams");
    Ok(())
}

async fn heads_tell_the_last_position_of_each_lane(f: &Fixture) -> Verdict {
    let lane = f.store.lane("a");
    let head = |heads: Vec<_>| heads.into_iter().find(|(id, _)| *id == lane).map(|(_, head)| head);
    ensure_eq!(head(f.store.heads().await?), Some(Position::ZERO), "head of an empty lane");
    let appended = f.store.append(&f.stream("a")?, Expected::Any, f.events(3)?).await?;
    ensure_eq!(head(f.store.heads().await?), Some(appended.position()), "head of the lane");
    Ok(())
}
