//! `annals subscriptions`: the readers that have a name, and the dead letters of consumer groups.

use clap::Subcommand;
use serde_json::json;

use super::output::counted;
use super::table::{Column, Table};
use super::{Context, Failure, events};
use crate::position::{LaneId, Position};
use crate::store::Store;
use crate::subscription::{DeadLetter, SubscriptionInfo};

/// Dead letters of one page.
const PAGE: usize = 1_000;

/// The arguments of `annals subscriptions`; without a verb, it lists them.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Option<Verb>,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the subscriptions: how far behind, who runs them, the members and dead letters of groups.
    List,
    /// Delete a subscription that nobody runs, with its dead letters.
    Delete {
        /// Its name.
        name: String,
    },
    /// List the events that a group could not deal with, and those that wait behind them.
    DeadLetters {
        /// The group's name.
        name: String,
        /// At most so many.
        #[arg(long, value_name = "N")]
        limit: Option<usize>,
    },
    /// Let a group try its dead letters again, in order.
    Retry {
        /// The group's name.
        name: String,
        /// Only those of this stream.
        #[arg(long, value_name = "AGGREGATE_ID")]
        stream: Option<String>,
    },
    /// Drop a dead letter, which the group then never deals with.
    Skip {
        /// The group's name.
        name: String,
        /// The position of the event.
        #[arg(long, value_name = "N")]
        position: i64,
        /// Its lane, where the topic has several.
        #[arg(long, value_name = "N")]
        lane: Option<i64>,
    },
}

impl Args {
    /// Returns whether it may store something.
    pub(super) const fn writes(&self) -> bool {
        matches!(self.verb, Some(Verb::Delete { .. } | Verb::Retry { .. } | Verb::Skip { .. }))
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    let store = context.store().await?;
    match args.verb {
        None | Some(Verb::List) => list(&store, context).await,
        Some(Verb::Delete { name }) => {
            if !store.delete_subscription(&name).await? {
                return Err(Failure::not_found(format!("there is no subscription {name:?}")));
            }
            context.say(&json!({"deleted": name}), &format!("deleted {name}"))
        }
        Some(Verb::DeadLetters { name, limit }) => dead_letters(&store, &name, limit, context).await,
        Some(Verb::Retry { name, stream }) => {
            let streams = store.retry_dead_letters(&name, stream.as_deref()).await?;
            context.say(&json!({"streams": streams}), &format!("{} will be retried", counted(streams, "stream")))
        }
        Some(Verb::Skip { name, position, lane }) => {
            let lane = lane_of(&store, lane)?;
            if !store.skip_dead_letter(&name, lane, Position::new(position)).await? {
                let message = format!("{name:?} has no dead letter at position {position} of lane {lane}");
                return Err(Failure::not_found(message));
            }
            context.say(&json!({"skipped": position, "lane": lane}), &format!("skipped position {position}"))
        }
    }
}

/// Returns the lane that is meant, which is to be named where there are several.
fn lane_of(store: &Store, lane: Option<i64>) -> Result<LaneId, Failure> {
    match (lane, &store.topic().lanes[..]) {
        (Some(lane), lanes) if lanes.contains(&LaneId::new(lane)) => Ok(LaneId::new(lane)),
        (None, [only]) => Ok(*only),
        (_, lanes) => {
            let lanes: Vec<String> = lanes.iter().map(LaneId::to_string).collect();
            Err(Failure::usage(format!("name a lane of the topic with --lane: {}", lanes.join(", "))))
        }
    }
}

async fn list(store: &Store, context: &Context) -> Result<(), Failure> {
    let mut table = Table::new([
        Column::text("name"),
        Column::number("lag"),
        Column::text("run by"),
        Column::text("until"),
        Column::number("members"),
        Column::number("shares"),
        Column::number("dead letters"),
        Column::text("saved"),
    ]);
    let subscriptions = store.subscriptions().await?;
    let mut out = context.output();
    for info in &subscriptions {
        if context.json { out.json(info)? } else { table.row(cells(info), &mut out)? }
    }
    table.finish(&mut out)
}

fn cells(info: &SubscriptionInfo) -> [String; 8] {
    let group = info.group.as_ref();
    let alive = group.map(|group| group.members.iter().filter(|member| member.is_alive));
    let ends = alive.clone().into_iter().flatten().map(|member| member.seen_until);
    let until = info.lease_until.filter(|_| info.is_running).or_else(|| ends.max());
    let owner = info.lease_owner.clone().filter(|_| info.is_running).unwrap_or_default();
    [
        info.name.clone(),
        info.lag.to_string(),
        if alive.is_some() && info.is_running { "its members".to_owned() } else { owner },
        until.map(events::time).unwrap_or_default(),
        alive.map(|alive| alive.count().to_string()).unwrap_or_default(),
        group.map(|group| group.shares.to_string()).unwrap_or_default(),
        group.map(|group| group.dead_letters.to_string()).unwrap_or_default(),
        events::time(info.updated_at),
    ]
}

async fn dead_letters(store: &Store, name: &str, limit: Option<usize>, context: &Context) -> Result<(), Failure> {
    let mut table = Table::new([
        Column::number("lane").shown_if(store.topic().lanes.len() > 1),
        Column::number("position"),
        Column::text("stream"),
        Column::number("version"),
        Column::text("type"),
        Column::number("attempts"),
        Column::text("state"),
        Column::text("last failed"),
        Column::text("reason"),
    ]);
    let (mut left, mut after) = (limit.unwrap_or(usize::MAX), None);
    while left > 0 {
        let rows = left.min(PAGE);
        let page = store.dead_letters(name, after, rows).await?;
        let mut out = context.output();
        for letter in &page {
            if context.json { out.json(letter)? } else { table.row(letter_cells(letter), &mut out)? }
        }
        left -= page.len();
        match page.last() {
            Some(last) if page.len() == rows => after = Some((last.lane, last.position)),
            _ => break,
        }
    }
    table.finish(&mut context.output())
}

fn letter_cells(letter: &DeadLetter) -> [String; 9] {
    let state = if letter.due_at.is_some() {
        "due"
    } else if letter.attempts > 0 {
        "failed"
    } else {
        "waits"
    };
    [
        letter.lane.to_string(),
        letter.position.to_string(),
        letter.aggregate_id.clone(),
        letter.aggregate_version.to_string(),
        letter.event_type.clone(),
        letter.attempts.to_string(),
        state.to_owned(),
        letter.last_failed_at.map(events::time).unwrap_or_default(),
        letter.reason.clone().unwrap_or_default(),
    ]
}
