//! An event that the unit tests share.

use crate::event::{ActorType, Payload, RecordedEvent, Source};
use crate::json::Json;
use crate::position::{LaneId, Position, Version};

pub(super) fn event() -> RecordedEvent {
    let id = |last: &str| format!("0198c0de-0000-7000-8000-00000000000{last}").parse().unwrap();
    RecordedEvent {
        lane: LaneId::new(4),
        position: Position::new(17),
        event_id: id("1"),
        aggregate_id: "order-1".to_owned(),
        aggregate_type: "order".to_owned(),
        aggregate_version: Version::new(3),
        event_type: "OrderPlaced".to_owned(),
        event_version: 1,
        event_timestamp: "2026-01-31T09:30:00.000001Z".parse().unwrap(),
        actor: Some("ada \"L\"".to_owned()),
        actor_type: ActorType::User,
        source: Source::Api,
        causation_id: Some(id("3")),
        correlation_id: Some(id("2")),
        payload: Payload::Json(Json::parse(r#"{"b": 0.10, "a": 1e400, "a":"\ud800"}"#).unwrap()),
        metadata: Some(Json::parse(r#"{"host": "a"}"#).unwrap()),
        tags: vec!["customer:7".to_owned()],
        hash: None,
    }
}
