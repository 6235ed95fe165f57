//! A projection that a JSON file describes.

use std::collections::BTreeMap;

use async_trait::async_trait;
use serde::Deserialize;

use super::statement::{Statement, shortened};
use crate::error::Error;
use crate::event::RecordedEvent;
use crate::projection::{Projection, ProjectionResult};
use crate::read::Query;
use crate::transaction::Transaction;

/// What stands for the types that have no statements of their own.
const ANY: &str = "*";

/// The file. An unknown field is refused: what is misspelt would be lost.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    name: String,
    #[serde(default = "first")]
    version: u32,
    #[serde(default)]
    filter: Filter,
    create: Vec<String>,
    clear: Vec<String>,
    #[serde(default)]
    activate: Vec<String>,
    on: BTreeMap<String, Vec<String>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Filter {
    event_types: Vec<String>,
    aggregate_type: Option<String>,
    stream_prefixes: Vec<String>,
    tags: Vec<String>,
}

const fn first() -> u32 {
    1
}

/// A projection whose statements come from a file.
#[derive(Debug)]
pub(super) struct Described {
    name: String,
    version: u32,
    query: Query,
    create: Steps,
    clear: Steps,
    activate: Steps,
    on: BTreeMap<String, Steps>,
}

impl Described {
    /// Reads a file, and checks all that can be known without a database.
    ///
    /// # Errors
    /// A reason, which names the place.
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        // An array would be taken as the fields in their order.
        if !text.trim_start().starts_with('{') {
            return Err("it is not a json object".to_owned());
        }
        let file: File = serde_json::from_str(text).map_err(|error| error.to_string())?;
        let query = query(&file).map_err(|error| format!("filter: {}", error.report()))?;
        if file.on.is_empty() {
            return Err("on: it names no event type".to_owned());
        }
        let types = &file.filter.event_types;
        if let Some(never) = file.on.keys().find(|on| *on != ANY && !types.is_empty() && !types.contains(on)) {
            return Err(format!("on.{never}: the filter lets no event of this type through"));
        }
        if file.clear.is_empty() {
            return Err("clear: say how the tables are emptied, such as with \"DELETE FROM …\"".to_owned());
        }
        let on = file.on.into_iter().map(|(event_type, statements)| {
            let steps = Steps::parse(format!("on.{event_type}"), &statements)?;
            Ok::<_, String>((event_type, steps))
        });
        Ok(Self {
            on: on.collect::<Result<_, _>>()?,
            create: Steps::without_event("create", &file.create)?,
            clear: Steps::without_event("clear", &file.clear)?,
            activate: Steps::without_event("activate", &file.activate)?,
            name: file.name,
            version: file.version,
            query,
        })
    }
}

/// Returns which events are applied: where the filter names no types, those that have statements.
fn query(file: &File) -> crate::error::Result<Query> {
    let Filter { event_types, aggregate_type, stream_prefixes, tags } = &file.filter;
    let types = if event_types.is_empty() && !file.on.contains_key(ANY) {
        file.on.keys().cloned().collect()
    } else {
        event_types.clone()
    };
    let query = Query::new().event_types(types)?.stream_prefixes(stream_prefixes.clone())?.tags(tags.clone())?;
    match aggregate_type {
        Some(aggregate_type) => query.aggregate_type(aggregate_type.clone()),
        None => Ok(query),
    }
}

/// Statements that run one after the other, and where they stand in the file.
#[derive(Debug)]
struct Steps {
    place: String,
    statements: Vec<(Statement, String)>,
}

impl Steps {
    fn parse(place: impl Into<String>, texts: &[String]) -> Result<Self, String> {
        let place = place.into();
        let parse = |(number, text): (usize, &String)| {
            let statement = Statement::parse(text).map_err(|reason| format!("{}: {reason}", nth(&place, number)))?;
            Ok::<_, String>((statement, shortened(text)))
        };
        let statements = texts.iter().enumerate().map(parse).collect::<Result<_, _>>()?;
        Ok(Self { place, statements })
    }

    /// Parses statements that run when no event is at hand.
    fn without_event(place: &str, texts: &[String]) -> Result<Self, String> {
        let steps = Self::parse(place, texts)?;
        match steps.statements.iter().position(|(statement, _)| statement.asks_for_an_event()) {
            Some(number) => Err(format!("{}: it has a parameter, and no event to take it from", nth(place, number))),
            None => Ok(steps),
        }
    }

    async fn run(&self, transaction: &mut Transaction, event: Option<&RecordedEvent>) -> ProjectionResult {
        for (number, (statement, text)) in self.statements.iter().enumerate() {
            let place = || format!("{}, {text}", nth(&self.place, number));
            let (sql, values) =
                statement.bind(transaction.dialect(), event).map_err(|reason| format!("{}: {reason}", place()))?;
            transaction.execute(&sql, &values).await.map_err(|error| located(error, place))?;
        }
        Ok(())
    }
}

fn nth(place: &str, number: usize) -> String {
    format!("{place}, statement {}", number + 1)
}

/// Says which statement failed, unless the database says that it may go well the next time, which the runner is to see.
fn located(error: Error, place: impl FnOnce() -> String) -> Box<dyn std::error::Error + Send + Sync> {
    if error.is_retryable() { Box::new(error) } else { format!("{}: {}", place(), error.report()).into() }
}

#[async_trait]
impl Projection for Described {
    fn name(&self) -> &str {
        &self.name
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn query(&self) -> Query {
        self.query.clone()
    }

    async fn create(&mut self, transaction: &mut Transaction) -> ProjectionResult {
        self.create.run(transaction, None).await
    }

    async fn apply(&mut self, transaction: &mut Transaction, event: &RecordedEvent) -> ProjectionResult {
        match self.on.get(&event.event_type).or_else(|| self.on.get(ANY)) {
            Some(steps) => steps.run(transaction, Some(event)).await,
            None => Ok(()),
        }
    }

    async fn clear(&mut self, transaction: &mut Transaction) -> ProjectionResult {
        self.clear.run(transaction, None).await
    }

    async fn activate(&mut self, transaction: &mut Transaction) -> ProjectionResult {
        self.activate.run(transaction, None).await
    }
}
