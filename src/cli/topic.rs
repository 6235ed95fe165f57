//! `annals topic`: the logs of a database.

use clap::Subcommand;
use serde_json::json;

use super::table::{Column, Table};
use super::{Context, Failure};

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
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let Verb::List = args.verb;
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
