//! The faults of topics, and of logs that come from elsewhere.

use annals::backend::Topic;
use annals::{Error, LaneId, Position, RecordedEvent, Result, StreamInfo};
use chrono::{DurationRound, TimeDelta};

use super::backend::Saboteur;
use super::fault::Fault;

/// Returns the topics that the saboteur knows.
pub async fn topics(saboteur: &Saboteur) -> Result<Vec<Topic>> {
    let mut topics = saboteur.inner.topics().await?;
    if saboteur.fault == Fault::IsBlindToNewTopics {
        let mut known = saboteur.topics.lock().unwrap();
        let known = known.get_or_insert_with(|| topics.iter().map(|topic| topic.name.clone()).collect());
        topics.retain(|topic| known.contains(&topic.name));
    }
    Ok(topics)
}

/// Creates a topic with the saboteur's fault.
pub async fn create(saboteur: &Saboteur, name: &str, partitions: u16) -> Result<Topic> {
    let existing = saboteur.inner.topics().await?.into_iter().find(|topic| topic.name == name);
    match (saboteur.fault, existing) {
        (Fault::IgnoresNumberOfLanes, Some(existing)) => return Ok(existing),
        (Fault::RenewsTopics, Some(_)) => {
            let mut open = saboteur.inner.begin().await?;
            let sql = "UPDATE lanes SET incarnation = (SELECT randomblob(16)) WHERE topic = ?1";
            open.execute(sql, &[name.into()]).await?;
            open.commit().await?;
        }
        _ => {}
    }
    let topic = saboteur.inner.create_topic(name, partitions).await?;
    if let Some(known) = &mut *saboteur.topics.lock().unwrap() {
        known.push(topic.name.clone());
    }
    Ok(topic)
}

/// Returns a stream that another topic has.
pub async fn stream_elsewhere(saboteur: &Saboteur, lane: LaneId, id: &str) -> Result<Option<StreamInfo>> {
    let others = saboteur.inner.topics().await?.into_iter().filter(|topic| !topic.lanes.contains(&lane));
    for other in others.flat_map(|topic| topic.lanes) {
        if let Some(stream) = saboteur.inner.stream(other, id).await? {
            return Ok(Some(stream));
        }
    }
    Ok(None)
}

/// Stores events of another database with the saboteur's fault.
pub async fn restore(saboteur: &Saboteur, lane: LaneId, events: &[RecordedEvent]) -> Result<Position> {
    let mut events = events.to_vec();
    match saboteur.fault {
        Fault::RestoresCoarseTimes => {
            for event in &mut events {
                let time = event.event_timestamp.duration_trunc(TimeDelta::milliseconds(1));
                event.event_timestamp = time.map_err(|error| Error::invalid("time", error.to_string()))?;
            }
        }
        Fault::RestoresWithoutHashes => events.iter_mut().for_each(|event| event.hash = None),
        Fault::RestoresWhatFits => {
            let head = saboteur.inner.head(lane).await?;
            events.retain(|event| event.position > head);
            if events.is_empty() {
                return Ok(head);
            }
        }
        _ => {}
    }
    saboteur.inner.restore(lane, &events).await
}
