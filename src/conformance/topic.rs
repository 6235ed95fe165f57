//! Contract sections 1.1, 1.2 and 3.8: topics of one database are logs of their own, and lanes keep streams together.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use futures::TryStreamExt;
use uuid::Uuid;

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq, ensure_err};
use super::harness::Fixture;
use super::together::{Follower, close, sound_log, together};
use crate::append::{Append, Condition};
use crate::command::Command;
use crate::error::{Error, Result};
use crate::event::NewEvent;
use crate::json::Json;
use crate::limits;
use crate::position::{LaneId, Position, Version};
use crate::read::{Query, StreamFilter};
use crate::snapshot::{NewSnapshot, SnapshotQuery};
use crate::store::Store;
use crate::stream::{Expected, Stream};

pub(super) const CASES: &[Case] = cases![
    a_topic_keeps_its_number_of_lanes: "1.2" if OneLane;
    positions_and_versions_of_topics_are_their_own: "1.1", "1.5", "1.6" if Durable;
    what_one_topic_holds_no_other_shows: "1.1" if Durable;
    the_same_stream_has_a_category_in_each_topic: "1.1", "1.3" if Durable;
    ids_of_commands_and_events_count_within_a_topic: "4.1", "4.4" if Durable;
    a_condition_looks_at_its_own_topic_only: "3.7" if Durable;
    streams_of_two_lanes_in_one_request_are_refused: "3.8" if Durable;
    text_in_braces_keeps_streams_in_one_lane: "3.8" if Durable;
    a_number_of_lanes_out_of_range_is_refused: "1.2";
    a_command_counts_within_its_lane: "3.8", "4.1" if Durable;
    a_condition_looks_at_its_own_lane_only: "3.7", "3.8" if Durable;
    one_racer_wins_in_each_lane: "3.2", "3.10" if Durable;
    a_reader_of_each_lane_sees_contiguous_positions: "5.1", "5.2" if Durable;
    each_lane_of_a_topic_has_positions_of_its_own: "1.6", "5.2", "6.1" if Durable;
    a_flooded_lane_starves_no_other: "3.11", "5.2" if Durable;
];

/// Creates a topic with some lanes and opens it.
async fn topic(f: &Fixture, name: &str, lanes: u16) -> Result<Store> {
    f.store.backend().create_topic(name, lanes).await?;
    f.database.open(&[("topic", name)]).await
}

async fn a_topic_keeps_its_number_of_lanes(f: &Fixture) -> Verdict {
    let made = f.store.backend().create_topic("orders", 3).await?;
    ensure_eq!((made.name.as_str(), made.lanes.len()), ("orders", 3), "name and lanes");
    ensure_eq!(f.store.backend().create_topic("orders", 3).await?, made, "the topic, asked for again");
    ensure_err!(f.store.backend().create_topic("orders", 4).await, Error::Invalid { .. });
    let known = f.store.backend().topics().await?;
    let names: Vec<&str> = known.iter().map(|topic| topic.name.as_str()).collect();
    ensure_eq!(names, ["default", "orders"], "topics");
    ensure!(known[0].incarnation != known[1].incarnation, "two topics have one incarnation");
    Ok(())
}

async fn positions_and_versions_of_topics_are_their_own(f: &Fixture) -> Verdict {
    let other = topic(f, "other", 1).await?;
    f.filled("a", 3).await?;
    let outcome = other.append(&f.stream("a")?, Expected::NoStream, f.events(2)?).await?;
    ensure_eq!(outcome.positions, Some((Position::new(1), Position::new(2))), "positions in the other topic");
    ensure_eq!(outcome.version(), Version::new(2), "version in the other topic");
    f.store.append(&f.stream("a")?, Expected::exact(3), f.events(1)?).await?;
    ensure_eq!((sound_log(&f.store).await?.len(), sound_log(&other).await?.len()), (4, 2), "events of the two logs");
    other.close().await;
    Ok(())
}

async fn what_one_topic_holds_no_other_shows(f: &Fixture) -> Verdict {
    let other = topic(f, "other", 1).await?;
    let (id, command) = (Uuid::new_v4(), Uuid::new_v4());
    let event = f.event("Happened")?.with_id(id).with_tags(["t"])?;
    f.store.commit(Append::new().to(f.stream("a")?, Expected::Any, [event]).command(Command::new(command))).await?;
    f.store.save_snapshot(&NewSnapshot::new(f.stream("a")?, Version::new(1), Json::parse("1")?)).await?;
    other.append(&f.stream("b")?, Expected::Any, f.events(1)?).await?;
    for query in [Query::stream("a"), Query::new().tags(["t"])?, Query::new().causation(command)] {
        ensure_eq!(other.query(query.clone()).await?, [], "events of the other topic that answer {query:?}");
        ensure_eq!(f.store.query(query).await?.len(), 1, "events of the topic that wrote them");
    }
    ensure_eq!(other.query(Query::new()).await?.len(), 1, "events of the other log");
    ensure_eq!((other.event(id).await?, other.stream("a").await?), (None, None), "event and stream");
    ensure!(other.command(command).await?.is_none(), "the command is known");
    ensure!(other.snapshot("a", SnapshotQuery::default()).await?.is_none(), "the snapshot is found");
    let listed = other.streams(&StreamFilter { limit: 10, ..StreamFilter::default() }).await?;
    ensure_eq!(listed.iter().map(|stream| stream.aggregate_id.as_str()).collect::<Vec<_>>(), ["b"], "streams");
    ensure_eq!(other.statistics().await?.iter().map(|counts| counts.events).sum::<i64>(), 1, "events counted");
    other.close().await;
    Ok(())
}

async fn the_same_stream_has_a_category_in_each_topic(f: &Fixture) -> Verdict {
    let other = topic(f, "other", 1).await?;
    f.filled("a", 1).await?;
    other.append(&Stream::new("person", "a")?, Expected::NoStream, f.events(1)?).await?;
    ensure_err!(other.append(&f.stream("a")?, Expected::Any, f.events(1)?).await, Error::TypeMismatch { .. });
    other.delete(&Stream::new("person", "a")?, Expected::Any).await?;
    ensure!(f.store.exists("a").await?, "the deletion in the other topic hides the stream in this one");
    other.close().await;
    Ok(())
}

async fn ids_of_commands_and_events_count_within_a_topic(f: &Fixture) -> Verdict {
    let other = topic(f, "other", 1).await?;
    let (id, command) = (Uuid::new_v4(), Uuid::new_v4());
    let request = |stream: &str| -> Result<Append> {
        let event = f.event("Happened")?.with_id(id);
        Ok(Append::new().to(f.stream(stream)?, Expected::NoStream, [event]).command(Command::new(command)))
    };
    f.store.commit(request("a")?).await?;
    // Within the topic, another stream under these ids is refused.
    ensure_err!(f.store.commit(request("b")?).await, Error::CommandReused { .. });
    ensure!(!other.commit(request("b")?).await?.duplicate, "the command counts as decided in the other topic");
    ensure_eq!(other.event(id).await?.map(|event| event.aggregate_id), Some("b".to_owned()), "stream of the event");
    other.close().await;
    Ok(())
}

async fn a_condition_looks_at_its_own_topic_only(f: &Fixture) -> Verdict {
    let other = topic(f, "other", 1).await?;
    f.store.append(&f.stream("a")?, Expected::Any, [f.event("Opened")?.with_tags(["user:1"])?]).await?;
    let request = || -> Result<Append> {
        let condition = Condition::after(Position::ZERO).or(["Opened"], ["user:1"])?;
        Ok(Append::new().to(f.stream("b")?, Expected::Any, f.events(1)?).condition(condition))
    };
    ensure_err!(f.store.commit(request()?).await, Error::ConditionFailed { .. });
    other.commit(request()?).await?;
    other.close().await;
    Ok(())
}

/// Returns the ids of two streams that lie in different lanes.
fn apart(store: &Store) -> Result<(String, String)> {
    let ids: Vec<String> = (0..64).map(|number| format!("s{number}")).collect();
    let second = ids.iter().find(|id| store.lane(id) != store.lane(&ids[0]));
    second.map(|second| (ids[0].clone(), second.clone())).ok_or_else(|| Error::invalid("lane", "64 streams lie in one"))
}

async fn streams_of_two_lanes_in_one_request_are_refused(f: &Fixture) -> Verdict {
    let store = topic(f, "wide", 4).await?;
    let (first, second) = apart(&store)?;
    let written = Append::new().to(f.stream(&first)?, Expected::Any, f.events(1)?);
    let both = written.clone().to(f.stream(&second)?, Expected::Any, f.events(1)?);
    ensure_err!(store.commit(both).await, Error::CrossLane { first: ref one, second: ref two }
        if (one, two) == (&first, &second));
    let guarded = written.clone().guard(f.stream(&second)?, Expected::NoStream);
    ensure_err!(store.commit(guarded).await, Error::CrossLane { .. });
    ensure!(!store.exists(&first).await?, "a refused request was stored");
    store.commit(written).await?;
    store.close().await;
    Ok(())
}

async fn text_in_braces_keeps_streams_in_one_lane(f: &Fixture) -> Verdict {
    let store = topic(f, "wide", 4).await?;
    for number in 0..8 {
        let [one, other] = ["order", "stock"].map(|kind| format!("{kind}-{{{number}}}"));
        let append = Append::new().to(f.stream(&one)?, Expected::NoStream, f.events(1)?).to(
            f.stream(&other)?,
            Expected::NoStream,
            f.events(1)?,
        );
        let outcome = store.commit(append).await?;
        ensure_eq!(outcome.lane, store.lane(&one), "lane of the outcome");
        ensure_eq!(store.lane(&other), store.lane(&one), "lanes of the two streams");
    }
    store.close().await;
    Ok(())
}

async fn each_lane_of_a_topic_has_positions_of_its_own(f: &Fixture) -> Verdict {
    let store = topic(f, "wide", 4).await?;
    for number in 0..32 {
        let stream = f.stream(&format!("s{}", number % 16))?;
        store.append(&stream, Expected::Any, [NewEvent::json("Happened", &number)?]).await?;
    }
    let events: Vec<_> = store.read(Query::new()).try_collect().await?;
    ensure_eq!(events.len(), 32, "events of all lanes");
    for event in &events {
        ensure_eq!(store.event(event.event_id).await?.as_ref(), Some(event), "event that its id finds");
    }
    let heads = store.heads().await?;
    ensure_eq!(heads.len(), 4, "heads");
    for (lane, head) in heads {
        let positions: Vec<i64> =
            events.iter().filter(|event| event.lane == lane).map(|event| event.position.get()).collect();
        ensure_eq!(positions, (1..=head.get()).collect::<Vec<i64>>(), "positions of lane {lane}");
    }
    store.close().await;
    Ok(())
}

async fn a_number_of_lanes_out_of_range_is_refused(f: &Fixture) -> Verdict {
    for partitions in [0, limits::LANES + 1] {
        ensure_err!(f.store.create_topic("odd", partitions).await, Error::Invalid { what: "partitions", .. });
    }
    ensure_err!(f.store.create_topic(" odd", 2).await, Error::Invalid { what: "topic", .. });
    ensure!(f.store.backend().topics().await?.iter().all(|topic| !topic.name.contains("odd")), "a topic was created");
    let widest = f.store.create_topic("widest", limits::LANES).await?;
    ensure_eq!(widest.lanes.len(), usize::from(limits::LANES), "lanes of the widest topic");
    Ok(())
}

async fn a_command_counts_within_its_lane(f: &Fixture) -> Verdict {
    let store = topic(f, "wide", 4).await?;
    let (first, second) = apart(&store)?;
    let command = Uuid::new_v4();
    let request = |id: &str| -> Result<Append> {
        Ok(Append::new().to(f.stream(id)?, Expected::Any, f.events(1)?).command(Command::new(command)))
    };
    let outcome = store.commit(request(&first)?).await?;
    ensure!(!store.commit(request(&second)?).await?.duplicate, "the command counts as decided in another lane");
    let again = store.commit(request(&first)?).await?;
    ensure_eq!((again.duplicate, again.positions), (true, outcome.positions), "the repetition in its own lane");
    ensure_eq!(sound_log(&store).await?.len(), 2, "events of the log");
    store.close().await;
    Ok(())
}

async fn a_condition_looks_at_its_own_lane_only(f: &Fixture) -> Verdict {
    let store = topic(f, "wide", 4).await?;
    let (first, second) = apart(&store)?;
    store.append(&f.stream(&first)?, Expected::Any, [f.event("Opened")?.with_tags(["user:1"])?]).await?;
    let request = |id: &str| -> Result<Append> {
        let condition = Condition::after(Position::ZERO).or(["Opened"], ["user:1"])?;
        Ok(Append::new().to(f.stream(id)?, Expected::Any, f.events(1)?).condition(condition))
    };
    ensure_err!(store.commit(request(&first)?).await, Error::ConditionFailed { .. });
    store.commit(request(&second)?).await?;
    store.close().await;
    Ok(())
}

/// Opens a topic of 4 lanes through some stores, with the id of a stream in each lane.
async fn wide(f: &Fixture, count: usize) -> Result<(Vec<Store>, Vec<String>)> {
    let mut stores = vec![topic(f, "wide", 4).await?];
    for _ in 1..count {
        stores.push(f.database.open(&[("topic", "wide")]).await?);
    }
    let ids = (0..256).map(|number| format!("s{number}"));
    let mut found: Vec<(LaneId, String)> = ids.map(|id| (stores[0].lane(&id), id)).collect();
    found.sort();
    found.dedup_by_key(|(lane, _)| *lane);
    Ok((stores, found.into_iter().map(|(_, id)| id).collect()))
}

async fn one_racer_wins_in_each_lane(f: &Fixture) -> Verdict {
    let (stores, ids) = wide(f, 4).await?;
    ensure_eq!(ids.len(), 4, "lanes that 256 streams reach");
    for version in 0..6 {
        let answers = together(32, |number| {
            let (store, id) = (stores[number % 4].clone(), ids[number / 8].clone());
            async move {
                let stream = Stream::new("thing", id)?;
                store.append(&stream, Expected::exact(version), [NewEvent::json("Happened", &number)?]).await
            }
        })
        .await?;
        for lane in answers.chunks(8) {
            let won = lane.iter().filter(|answer| answer.is_ok()).count();
            ensure_eq!(won, 1, "racers who won in a lane");
            let rest = lane.iter().filter_map(|answer| answer.as_ref().err());
            let odd = rest.filter(|error| !error.is_conflict()).count();
            ensure_eq!(odd, 0, "racers who got another error than a conflict");
        }
    }
    ensure_eq!(sound_log(&stores[0]).await?.len(), 24, "events of the log");
    close(stores).await;
    Ok(())
}

async fn a_reader_of_each_lane_sees_contiguous_positions(f: &Fixture) -> Verdict {
    let (stores, ids) = wide(f, 4).await?;
    let writers = together(16, |number| {
        let (store, ids) = (stores[number % 4].clone(), ids.clone());
        async move {
            for turn in 0..25 {
                let stream = Stream::new("thing", ids[(number + turn) % ids.len()].as_str())?;
                store.append(&stream, Expected::Any, [NewEvent::json("Happened", &turn)?]).await?;
            }
            Ok::<_, Error>(())
        }
    });
    let reader = f.database.open(&[("topic", "wide")]).await?;
    let follow = async {
        let mut followers: Vec<(LaneId, Follower)> =
            reader.topic().lanes.iter().map(|lane| (*lane, Follower::default())).collect();
        let mut seen = 0;
        while seen < 16 * 25 {
            for (lane, follower) in &mut followers {
                let page = reader.page(*lane, &Query::new().after(follower.last), 100).await?;
                seen += page.events.len();
                follower.saw(page.events.iter().map(|event| event.position))?;
            }
        }
        Ok::<_, Failure>(())
    };
    let (written, followed) = futures::join!(writers, follow);
    for answer in written? {
        answer?;
    }
    followed?;
    reader.close().await;
    close(stores).await;
    Ok(())
}

/// Appends to a stream, one event after the other, until told to stop, and returns how many.
async fn append_until(store: Store, stream: Stream, stop: Arc<AtomicBool>) -> Result<u64> {
    let mut appended = 0;
    while !stop.load(Ordering::Relaxed) {
        store.append(&stream, Expected::Any, [NewEvent::json("Happened", &appended)?]).await?;
        appended += 1;
    }
    Ok(appended)
}

async fn a_flooded_lane_starves_no_other(f: &Fixture) -> Verdict {
    let store = topic(f, "wide", 4).await?;
    let mut streams = Vec::new();
    for lane in &store.topic().lanes {
        let id = (0..10_000).map(|number| format!("s{number}")).find(|id| store.lane(id) == *lane);
        streams.push(f.stream(&id.unwrap_or_default())?);
    }
    for (number, flooded) in streams.iter().enumerate() {
        let stop = Arc::new(AtomicBool::new(false));
        let (before, mut appended) = (store.metrics()[number].requests, store.count(flooded).await?);
        let writers: Vec<_> =
            (0..300).map(|_| tokio::spawn(append_until(store.clone(), flooded.clone(), Arc::clone(&stop)))).collect();
        while store.metrics()[number].requests < before + 300 {
            tokio::task::yield_now().await;
        }
        for other in streams.iter().filter(|other| *other != flooded) {
            let batches = || store.metrics()[number].batches;
            let mut turns = Vec::new();
            // A busy machine lets this task wait too, though not each time.
            while turns.last().is_none_or(|turns| *turns >= 30) && turns.len() < 10 {
                let before = batches();
                store.append(other, Expected::Any, f.events(1)?).await?;
                turns.push(batches() - before);
            }
            let is_fair = turns.last().is_some_and(|turns| *turns < 30);
            ensure!(is_fair, "appends waited for {turns:?} batches of the flooded lane {number}");
        }
        stop.store(true, Ordering::Relaxed);
        for writer in writers {
            appended += writer.await??;
        }
        ensure_eq!(store.count(flooded).await?, appended, "events of the flooded lane {number}");
    }
    store.close().await;
    Ok(())
}
