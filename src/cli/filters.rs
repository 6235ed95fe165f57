//! Which events are read or followed.

use super::{Failure, parse};
use crate::read::{JsonFilter, Query};

/// The filters of the verbs that read or follow the log. All of them must hold.
#[derive(Debug, clap::Args)]
pub(crate) struct Filters {
    /// Only events of this type; of any of them, where it is given several times.
    #[arg(long = "type", value_name = "EVENT_TYPE")]
    types: Vec<String>,
    /// Only events of this stream.
    #[arg(long, value_name = "AGGREGATE_ID")]
    stream: Option<String>,
    /// Only events of streams whose ids begin so; in any of these ways, where it is given several times.
    #[arg(long = "prefix", value_name = "TEXT")]
    prefixes: Vec<String>,
    /// Only events of streams of this category.
    #[arg(long)]
    aggregate_type: Option<String>,
    /// Only events with this tag; with all of them, where it is given several times.
    #[arg(long = "tag", value_name = "TAG")]
    tags: Vec<String>,
    /// Only events of this actor.
    #[arg(long)]
    actor: Option<String>,
    /// Only events with this value, as in data.customer.id=7 or metadata.host='"7"'; what is not JSON is a string.
    #[arg(long = "where", value_name = "PATH=VALUE", value_parser = parse::json_filter)]
    values: Vec<JsonFilter>,
}

impl Filters {
    pub(crate) fn query(self) -> Result<Query, Failure> {
        let mut query = self.stream.map_or_else(Query::new, Query::stream);
        query = query.event_types(self.types)?.tags(self.tags)?.stream_prefixes(self.prefixes)?;
        if let Some(aggregate_type) = self.aggregate_type {
            query = query.aggregate_type(aggregate_type)?;
        }
        if let Some(actor) = self.actor {
            query = query.actor(actor)?;
        }
        query.json = self.values;
        Ok(query)
    }
}
