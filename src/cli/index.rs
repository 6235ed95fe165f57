//! `annals index`: indexes over values inside events.

use clap::Subcommand;
use serde_json::json;

use super::table::{Column, Table};
use super::{Context, Failure};

/// The arguments of `annals index`.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Add an index over the values at a path.
    Add {
        /// The path, such as data.customer.id; data alone is the whole document, on Postgres.
        path: String,
    },
    /// List the indexes.
    List,
    /// Drop the index over a path.
    Drop {
        /// The path.
        path: String,
    },
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    match args.verb {
        Verb::Add { path } => {
            let index = store.add_index(&path).await?;
            let mut out = context.output();
            if context.json { out.json(&index) } else { out.line(format_args!("indexed {path} as {}", index.name)) }
        }
        Verb::List => {
            let mut table = Table::new([Column::text("path"), Column::text("name")]);
            let indexes = store.indexes().await?;
            let mut out = context.output();
            for index in indexes {
                if context.json { out.json(&index)? } else { table.row([index.path, index.name], &mut out)? }
            }
            table.finish(&mut out)
        }
        Verb::Drop { path } => {
            if !store.drop_index(&path).await? {
                return Err(Failure::not_found(format!("there is no index over {path}")));
            }
            let mut out = context.output();
            if context.json { out.json(&json!({"dropped": path})) } else { out.line(format_args!("dropped {path}")) }
        }
    }
}
