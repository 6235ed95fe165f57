//! `annals topic`: the logs of a database.

use clap::Subcommand;
use serde_json::json;

use super::table::{Column, Table};
use super::{Context, Failure, output::counted};
use crate::limits;

/// The arguments of `annals topic`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the topics of the database.
    List,
    /// Create a topic; where it exists with as many lanes, nothing changes.
    Create {
        /// Its name; open it with the option `topic` of the URL.
        name: String,
        /// Its lanes, whose number is fixed: each is one sequence with one writer at a time
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(limits::LANES)))]
        partitions: u16,
    },
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    match args.verb {
        Verb::List => list(context).await,
        Verb::Create { name, partitions } => create(&name, partitions, context).await,
    }
}

async fn create(name: &str, partitions: u16, context: &Context) -> Result<(), Failure> {
    let topic = context.store().await?.create_topic(name, partitions).await?;
    let text = format!("topic {:?} has {}", topic.name, counted(topic.lanes.len() as u64, "lane"));
    let printed = if context.json {
        let (name, lanes, incarnation) = (&topic.name, &topic.lanes, topic.incarnation);
        context.output().json(&json!({"topic": name, "lanes": lanes, "incarnation": incarnation}))
    } else {
        context.output().line(&text)
    };
    context.done(printed, &text)
}

async fn list(context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    let mut table = Table::new([
        Column::text("topic"),
        Column::number("lanes"),
        Column::number("events"),
        Column::text("incarnation"),
    ]);
    for topic in store.backend().topics().await? {
        let mut events = 0;
        for lane in &topic.lanes {
            events += store.backend().head(*lane).await?.get();
        }
        let mut out = context.output();
        if context.json {
            let (name, lanes, incarnation) = (&topic.name, &topic.lanes, topic.incarnation);
            out.json(&json!({"topic": name, "lanes": lanes, "events": events, "incarnation": incarnation}))?;
        } else {
            let lanes = topic.lanes.len().to_string();
            table.row([topic.name, lanes, events.to_string(), topic.incarnation.to_string()], &mut out)?;
        }
    }
    table.finish(&mut context.output())
}
