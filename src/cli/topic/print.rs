//! What `annals topic` prints.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::cli::table::{Column, Table};
use crate::cli::{Context, Exit, Failure, events};
use crate::hash;
use crate::topics::{
    CONFIG_TOPIC, ConfiguredTopic, HealthState, TopicChange, TopicConfig, TopicDifference, TopicHealth,
};

/// Prints a topic after a change.
pub(super) fn changed(context: &Context, topic: &ConfiguredTopic, text: &str) -> Result<(), Failure> {
    context.say(&object(topic), text)
}

pub(super) fn object(topic: &ConfiguredTopic) -> Value {
    let ConfiguredTopic { config, version, created_at, updated_at, .. } = topic;
    json!({
        "topic": config.name(),
        "adapter": config.adapter(),
        "connection": config.connection(),
        "partitions": config.partitions(),
        "durability": config.durability(),
        "schema": config.schema(),
        "retention_days": config.retention_days(),
        "replica": config.replica(),
        "version": version,
        "created_at": created_at,
        "updated_at": updated_at,
    })
}

/// Prints a topic and its configuration.
pub(super) fn topic(context: &Context, topic: &ConfiguredTopic) -> Result<(), Failure> {
    let mut out = context.output();
    if context.json {
        return out.json(&object(topic));
    }
    out.line(format_args!("topic           {}", topic.config.name()))?;
    for (field, value) in topic.config.fields() {
        out.line(format_args!("{field:<15} {value}"))?;
    }
    out.line(format_args!("version         {}", topic.version))?;
    out.line(format_args!("created         {}", events::time(topic.created_at)))?;
    out.line(format_args!("updated         {}", events::time(topic.updated_at)))
}

/// Prints the topics that are configured, and those that the database holds beside them.
pub(super) async fn list(context: &Context) -> Result<(), Failure> {
    let store = context.any().await?;
    let mut known = store.backend().topics().await?;
    let configured = match context.topics_of(&known).await? {
        Some(topics) => topics.list()?,
        None => Vec::new(),
    };
    known.retain(|topic| configured.iter().all(|configured| configured.config.name() != topic.name));
    let mut table = Table::new([
        Column::text("topic"),
        Column::text("adapter"),
        Column::text("connection"),
        Column::number("lanes"),
        Column::number("version"),
        Column::number("events"),
    ]);
    for topic in &configured {
        let mut out = context.output();
        let config = &topic.config;
        let lanes = config.partitions().to_string();
        let cells = [config.name(), config.adapter(), &config.connection(), &lanes, &topic.version.to_string(), ""];
        if context.json { out.json(&object(topic))? } else { table.row(cells.map(str::to_owned), &mut out)? }
    }
    for topic in known {
        let mut events = 0;
        for lane in &topic.lanes {
            events += store.backend().head(*lane).await?.get();
        }
        let mut out = context.output();
        let (adapter, lanes) = (store.backend().name(), topic.lanes.len().to_string());
        if context.json {
            let (name, lanes, incarnation) = (&topic.name, &topic.lanes, topic.incarnation);
            out.json(&json!({
                "topic": name, "adapter": adapter, "lanes": lanes, "events": events, "incarnation": incarnation,
            }))?;
        } else {
            let place = if topic.name == CONFIG_TOPIC { "the configuration" } else { "not configured" };
            let cells = [&topic.name, adapter, place, &lanes, "", &events.to_string()];
            table.row(cells.map(str::to_owned), &mut out)?;
        }
    }
    table.finish(&mut context.output())
}

/// Prints the changes of a topic, each with the fields that it changed.
pub(super) fn history(context: &Context, changes: &[TopicChange]) -> Result<(), Failure> {
    let mut table =
        Table::new([Column::number("version"), Column::text("time"), Column::text("change"), Column::text("fields")]);
    let mut out = context.output();
    let mut last = Vec::new();
    for change in changes {
        let fields = change.config.as_ref().map(TopicConfig::fields).unwrap_or_default();
        let new = fields.iter().filter(|field| !last.contains(*field));
        if context.json {
            out.json(&json!({
                "topic": change.topic, "version": change.version, "position": change.position, "change": change.kind,
                "at": change.at, "actor": change.actor,
                "fields": fields.iter().cloned().collect::<BTreeMap<_, _>>(), "purged": change.purged,
            }))?;
        } else {
            let unset = last.iter().filter(|(name, _)| fields.iter().all(|(field, _)| field != name));
            let unset = unset.filter(|_| change.config.is_some()).map(|(name, _)| format!("{name} unset"));
            let purged = change.purged.map(|log| format!("events={} hash={}", log.events, hash::hex(&log.hash)));
            let fields = new.map(|(name, value)| format!("{name}={value}")).chain(unset).chain(purged);
            let text: Vec<String> = fields.collect();
            let (version, at) = (change.version.to_string(), events::time(change.at));
            let kind = json!(change.kind).as_str().unwrap_or_default().to_owned();
            table.row([version, at, kind, text.join(" ")], &mut out)?;
        }
        last = fields;
    }
    table.finish(&mut out)
}

/// Prints what forbids purging a topic.
#[cfg(feature = "_sql")]
pub(super) fn holds(context: &Context, holds: &[crate::topics::TopicHold]) -> Result<(), Failure> {
    let mut table = Table::new([Column::text("hold"), Column::text("since"), Column::text("reason")]);
    let mut out = context.output();
    for hold in holds {
        if context.json {
            out.json(&json!({"hold": hold.name, "since": hold.created_at, "reason": hold.reason}))?;
        } else {
            table.row([hold.name.clone(), events::time(hold.created_at), hold.reason.clone()], &mut out)?;
        }
    }
    table.finish(&mut out)
}

/// Prints differences, a line each.
pub(super) fn diff(context: &Context, differences: Vec<TopicDifference>) -> Result<(), Failure> {
    let mut table =
        Table::new([Column::text("topic"), Column::text("field"), Column::text("before"), Column::text("after")]);
    let mut out = context.output();
    for difference in differences {
        if context.json {
            out.json(&difference)?;
        } else {
            let TopicDifference { topic, field, before, after } = difference;
            table.row([topic, field.to_owned(), before.unwrap_or_default(), after.unwrap_or_default()], &mut out)?;
        }
    }
    table.finish(&mut out)
}

/// Prints how well each database is.
pub(super) fn health(context: &Context, health: &TopicHealth) -> Result<(), Failure> {
    let mut table = Table::new([
        Column::text("adapter"),
        Column::text("connection"),
        Column::text("state"),
        Column::number("ms"),
        Column::number("lag"),
        Column::text("topics"),
        Column::text("reason"),
    ]);
    let mut out = context.output();
    for backend in &health.backends {
        let ms = backend.latency.map(|latency| latency.as_secs_f64() * 1_000.0);
        if context.json {
            out.json(&json!({
                "adapter": backend.adapter, "connection": backend.connection, "state": backend.state, "ms": ms,
                "lag": backend.lag, "topics": backend.topics, "reason": backend.reason,
            }))?;
            continue;
        }
        let cells = [
            backend.adapter.clone(),
            backend.connection.clone(),
            backend.state.to_string(),
            ms.map(|ms| format!("{ms:.2}")).unwrap_or_default(),
            backend.lag.map(|lag| lag.to_string()).unwrap_or_default(),
            backend.topics.join(", "),
            backend.reason.clone().unwrap_or_default(),
        ];
        table.row(cells, &mut out)?;
    }
    table.finish(&mut out)?;
    if !context.json {
        out.line(format_args!("all together: {}", health.state))?;
    }
    let is_down = health.backends.iter().any(|backend| backend.state == HealthState::Down);
    if is_down { Err(Failure::silent(Exit::Unavailable)) } else { Ok(()) }
}
