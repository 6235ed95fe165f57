//! Contract section 6: statistics, the newest events, and whether the database answers.

use super::case::{Case, Verdict, cases, ensure, ensure_eq};
use super::harness::Fixture;
use crate::error::Result;
use crate::limits;
use crate::stream::Expected;

pub(super) const CASES: &[Case] = cases![
    statistics_of_an_empty_store_are_empty: "6.3";
    statistics_count_events_and_streams_of_each_type: "6.3";
    statistics_are_in_the_order_of_types: "6.3";
    statistics_tell_the_first_and_last_time_of_a_type: "6.3";
    statistics_count_what_deleted_streams_held: "6.3", "8.2";
    the_newest_events_come_first: "6.1";
    the_newest_events_keep_to_their_number: "6.1";
    the_newest_events_of_an_empty_store_are_none: "6.1";
    a_healthy_database_answers: "10.1";
    a_store_knows_its_topic: "1.1" if OneLane;
    clones_of_a_store_are_one_store: "3.2";
];

async fn append(f: &Fixture, stream: &str, types: &[&str]) -> Result<()> {
    let events = types.iter().map(|name| f.event(name)).collect::<Result<Vec<_>>>()?;
    f.store.append(&f.stream(stream)?, Expected::Any, events).await.map(drop)
}

async fn statistics_of_an_empty_store_are_empty(f: &Fixture) -> Verdict {
    ensure_eq!(f.store.statistics().await?, [], "statistics");
    append(f, "a", &["One"]).await?;
    ensure_eq!(f.store.statistics().await?.len(), 1, "types after an append");
    Ok(())
}

async fn statistics_count_events_and_streams_of_each_type(f: &Fixture) -> Verdict {
    append(f, "a", &["One", "Two", "Two"]).await?;
    append(f, "b", &["Two", "Two", "Three"]).await?;
    append(f, "c", &["Two"]).await?;
    let counted = f.store.statistics().await?;
    let counted: Vec<_> = counted.iter().map(|one| (one.event_type.as_str(), one.events, one.streams)).collect();
    ensure_eq!(counted, [("One", 1, 1), ("Three", 1, 1), ("Two", 5, 3)], "events and streams");
    Ok(())
}

async fn statistics_are_in_the_order_of_types(f: &Fixture) -> Verdict {
    append(f, "a", &["b", "a", "B", "é", "_", "a1"]).await?;
    let types: Vec<_> = f.store.statistics().await?.into_iter().map(|counts| counts.event_type).collect();
    ensure_eq!(types, ["B", "_", "a", "a1", "b", "é"], "types");
    Ok(())
}

async fn statistics_tell_the_first_and_last_time_of_a_type(f: &Fixture) -> Verdict {
    for types in [&["One"][..], &["Other"], &["One", "One"], &["Other"]] {
        append(f, "a", types).await?;
    }
    let times: Vec<_> = f.store.read_stream("a").await?.iter().map(|event| event.event_timestamp).collect();
    let counted = f.store.statistics().await?;
    let counted: Vec<_> = counted.iter().map(|counts| (counts.first_at, counts.last_at)).collect();
    ensure_eq!(times.len(), 5, "events of the stream");
    ensure_eq!(counted, [(times[0], times[3]), (times[1], times[4])], "first and last times");
    Ok(())
}

async fn statistics_count_what_deleted_streams_held(f: &Fixture) -> Verdict {
    append(f, "a", &["One", "One"]).await?;
    f.store.delete(&f.stream("a")?, Expected::Any).await?;
    let counted = f.store.statistics().await?;
    let one = counted.iter().find(|counts| counts.event_type == "One").map(|counts| (counts.events, counts.streams));
    ensure_eq!(one, Some((2, 1)), "events and streams of the type");
    Ok(())
}

async fn the_newest_events_come_first(f: &Fixture) -> Verdict {
    append(f, "a", &["One", "Two"]).await?;
    append(f, "b", &["Three"]).await?;
    append(f, "a", &["Four"]).await?;
    let types: Vec<_> = f.store.recent(10).await?.into_iter().map(|event| event.event_type).collect();
    ensure_eq!(types, ["Four", "Three", "Two", "One"], "types of the newest events");
    Ok(())
}

async fn the_newest_events_keep_to_their_number(f: &Fixture) -> Verdict {
    append(f, "a", &["One", "Two", "Three"]).await?;
    for (rows, expected) in [(1, &["Three"][..]), (2, &["Three", "Two"]), (3, &["Three", "Two", "One"])] {
        let types: Vec<_> = f.store.recent(rows).await?.into_iter().map(|event| event.event_type).collect();
        ensure_eq!(types, expected, "types of the {rows} newest events");
    }
    Ok(())
}

async fn the_newest_events_of_an_empty_store_are_none(f: &Fixture) -> Verdict {
    ensure_eq!(f.store.recent(limits::PAGE_ROWS).await?, [], "newest events");
    append(f, "a", &["One"]).await?;
    ensure_eq!(f.store.recent(limits::PAGE_ROWS).await?.len(), 1, "newest events after an append");
    Ok(())
}

async fn a_healthy_database_answers(f: &Fixture) -> Verdict {
    f.store.health().await?;
    f.store.close().await;
    ensure!(f.store.health().await.is_err(), "a closed store is healthy");
    Ok(())
}

async fn a_store_knows_its_topic(f: &Fixture) -> Verdict {
    ensure_eq!(f.store.topic().name, "default", "name of the topic");
    ensure!(f.store.topic().lanes.contains(&f.store.lane("a")), "the topic does not have the lane of a stream");
    ensure!(!f.store.topic().incarnation.is_nil(), "the topic has no incarnation");
    Ok(())
}

async fn clones_of_a_store_are_one_store(f: &Fixture) -> Verdict {
    let clone = f.store.clone();
    clone.append(&f.stream("a")?, Expected::NoStream, f.events(1)?).await?;
    f.store.append(&f.stream("a")?, Expected::exact(1), f.events(1)?).await?;
    ensure_eq!(clone.count("a").await?, 2, "events of the stream");
    Ok(())
}
