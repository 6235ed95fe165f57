//! The faults of a request: what a saboteur makes of it before it is committed.

use annals::backend::Request;
use annals::{Error, Expected, Json, LaneId, Position, Result, Version};
use uuid::Uuid;

use super::backend::Saboteur;
use super::fault::Fault;

/// Changes a request before it is committed.
pub async fn spoil(saboteur: &Saboteur, lane: LaneId, request: &mut Request) -> Result<()> {
    spoil_expectations(saboteur, lane, request).await?;
    spoil_names(saboteur, lane, request).await?;
    spoil_condition(saboteur.fault, request);
    spoil_command(saboteur.fault, request);
    spoil_events(saboteur, lane, request).await
}

async fn spoil_expectations(saboteur: &Saboteur, lane: LaneId, request: &mut Request) -> Result<()> {
    let written: Vec<usize> = request.events.iter().map(|event| event.stream).collect();
    for (index, rule) in request.streams.iter_mut().enumerate() {
        let ignored = match saboteur.fault {
            Fault::IgnoresExpectedVersion => true,
            Fault::IgnoresGuards => !written.is_empty() && !written.contains(&index),
            Fault::IgnoresAssertions => written.is_empty(),
            Fault::ChecksTheSlot => {
                let current = saboteur.inner.stream(lane, &rule.aggregate_id).await?;
                let current = current.map_or(Version::ZERO, |stream| stream.version);
                matches!(rule.expected, Expected::Exact(version) if version > current)
            }
            _ => false,
        };
        if ignored {
            rule.expected = Expected::Any;
        }
    }
    Ok(())
}

async fn spoil_names(saboteur: &Saboteur, lane: LaneId, request: &mut Request) -> Result<()> {
    if saboteur.fault == Fault::LetsTypesChange {
        for rule in &mut request.streams {
            if let Some(stream) = saboteur.inner.stream(lane, &rule.aggregate_id).await? {
                rule.aggregate_type = stream.aggregate_type;
            }
        }
    }
    let mut names: Vec<String> = Vec::new();
    for rule in &mut request.streams {
        rule.aggregate_id = saboteur.fold(&rule.aggregate_id);
        if names.contains(&rule.aggregate_id) {
            return Err(Error::invalid("stream", "two names are the same without their case"));
        }
        names.push(rule.aggregate_id.clone());
    }
    Ok(())
}

fn spoil_condition(fault: Fault, request: &mut Request) {
    if fault == Fault::IgnoresConditions {
        request.condition = None;
    }
    if fault == Fault::TrustsTheExamination && request.examined.until > Position::ZERO {
        request.condition = None;
    }
    for item in request.condition.iter_mut().flat_map(|condition| &mut condition.items) {
        if item.types.is_empty() || item.tags.is_empty() {
            continue;
        }
        match fault {
            Fault::IgnoresConditionTags => item.tags.clear(),
            Fault::IgnoresConditionTypes => item.types.clear(),
            _ => {}
        }
    }
}

fn spoil_command(fault: Fault, request: &mut Request) {
    if fault == Fault::ForgetsCommands && !request.events.is_empty() {
        request.command = None;
    }
    if let Some(command) = request.command.as_mut().filter(|_| fault == Fault::IgnoresRequestHash) {
        command.request_hash = [7; 32];
    }
}

async fn spoil_events(saboteur: &Saboteur, lane: LaneId, request: &mut Request) -> Result<()> {
    for event in &mut request.events {
        match saboteur.fault {
            Fault::RenamesDuplicateEvents if saboteur.inner.event(lane, event.event_id).await?.is_some() => {
                event.event_id = Uuid::now_v7();
            }
            Fault::ReformatsData if event.content_type.is_none() => event.data = reformat(&event.data),
            Fault::ReformatsMetadata => event.metadata = event.metadata.as_ref().map(reformat),
            Fault::InventsMetadata => {
                event.metadata.get_or_insert(Json::parse("{}")?);
            }
            Fault::ForgetsContentType => event.content_type = None,
            _ => {}
        }
    }
    Ok(())
}

/// Parses a document into numbers and maps, and writes it anew, where it can be.
fn reformat(json: &Json) -> Json {
    let value = json.to::<serde_json::Value>();
    value.and_then(|value| Json::from_value(&value)).unwrap_or_else(|_| json.clone())
}
