//! `annals topic`: the topics that are configured in a database, and the logs that it holds.

mod print;

use chrono::{DateTime, Utc};
use clap::Subcommand;
use serde_json::json;

use super::context::check_file;
use super::{Context, Failure, events, output::counted, parse};
#[cfg(feature = "_sql")]
use super::{copy, progress};
use crate::config::Config;
use crate::error::Error;
use crate::hash;
use crate::limits;
use crate::position::Version;
use crate::topics::{ConfiguredTopic, TopicConfig, TopicConfigBuilder, Topics, adapter};

/// The arguments of `annals topic`.
#[derive(Debug, clap::Args)]
#[command(
    after_help = "The configuration of topics is kept, as events, in the database of --url. A topic itself can be in \
    any database; --topic NAME opens it with any verb."
)]
pub(crate) struct Args {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// List the topics that are configured, and those that the database holds beside them.
    List,
    /// Create a topic, in the database of --url unless another is named.
    Create {
        /// Its name.
        name: String,
        /// Its lanes, whose number is fixed: each is one sequence with one writer at a time
        #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=i64::from(limits::LANES)))]
        partitions: u16,
        #[command(flatten)]
        options: Options,
    },
    /// Change a topic's configuration; its place, only to where its log is.
    Update {
        /// The topic's name.
        name: String,
        #[command(flatten)]
        change: Change,
    },
    /// Move a topic with its log to another database, while it is used; the log stays at the old place, too.
    #[cfg(feature = "_sql")]
    Move {
        /// The topic's name.
        name: String,
        #[command(flatten)]
        change: Change,
    },
    /// Hide a topic; its log stays where it is, and creating it again shows it.
    Delete {
        /// The topic's name.
        name: String,
        /// The version that the configuration must have; that of now, without.
        #[arg(long, value_name = "VERSION")]
        expect: Option<i64>,
    },
    /// Remove the log of a deleted topic for good, once its retention is over; there is no way back but its export.
    #[cfg(feature = "_sql")]
    Purge {
        /// The topic's name.
        name: String,
        /// The hash of the log, as the manifest of the export shows it.
        #[arg(long, value_name = "HASH")]
        log_hash: String,
        /// The version that the configuration must have, as history shows it.
        #[arg(long, value_name = "VERSION")]
        expect: i64,
    },
    /// Forbid purging a topic.
    #[cfg(feature = "_sql")]
    Hold {
        /// The topic's name.
        topic: String,
        /// The hold's name, by which it is released.
        hold: String,
        /// Why the topic has to be kept.
        #[arg(long)]
        reason: String,
    },
    /// End a hold.
    #[cfg(feature = "_sql")]
    Release {
        /// The topic's name.
        topic: String,
        /// The hold's name.
        hold: String,
    },
    /// List what forbids purging a topic.
    #[cfg(feature = "_sql")]
    Holds {
        /// The topic's name.
        topic: String,
    },
    /// Show a topic's configuration, now or as it was.
    Get {
        /// The topic's name.
        name: String,
        /// As it was at this time.
        #[arg(long, value_name = "TIME", value_parser = parse::time)]
        as_of: Option<DateTime<Utc>>,
    },
    /// Show every change of a topic's configuration.
    History {
        /// The topic's name.
        name: String,
    },
    /// Show what changed in the configuration between two times.
    Diff {
        /// The earlier time.
        #[arg(long, value_name = "TIME", value_parser = parse::time)]
        from: DateTime<Utc>,
        /// The later time; now, without.
        #[arg(long, value_name = "TIME", value_parser = parse::time)]
        to: Option<DateTime<Utc>>,
        /// Only this topic.
        name: Option<String>,
    },
    /// Ask each topic's database for a sign of life.
    Health,
}

/// What becomes of a topic's configuration.
#[derive(Debug, clap::Args)]
struct Change {
    #[command(flatten)]
    options: Options,
    /// Forget these: durability, schema, retention-days, replica.
    #[arg(long, value_name = "FIELD", value_parser = ["durability", "schema", "retention-days", "replica"])]
    unset: Vec<String>,
    /// The version that the configuration must have; that of now, without.
    #[arg(long, value_name = "VERSION")]
    expect: Option<i64>,
}

impl Change {
    /// Returns the configuration that a topic is to have, and the version that it must have.
    fn of(self, current: &ConfiguredTopic) -> Result<(TopicConfig, Version), Failure> {
        let mut builder = self.options.apply(current.config.change())?;
        for field in self.unset {
            builder = builder.unset(&field.replace('-', "_"))?;
        }
        Ok((lasting(builder.build()?)?, self.expect.map_or(current.version, Version::new)))
    }
}

/// Checks that a topic outlives this command.
fn lasting(config: TopicConfig) -> Result<TopicConfig, Failure> {
    if config.adapter() == "memory" || config.connection().parse().is_ok_and(|config: Config| config.is_memory()) {
        let reason =
            "a topic in memory ends with the program that has it, which is this command: name a file or a server";
        return Err(Failure::usage(reason));
    }
    Ok(config)
}

#[derive(Debug, clap::Args)]
struct Options {
    /// The kind of database: memory, file, sqlite, postgres, mssql; the connection says it, without
    #[arg(long, requires = "connection")]
    adapter: Option<String>,
    /// Where it is: a URL, or for the adapter file a path
    #[arg(long, value_name = "URL")]
    connection: Option<String>,
    /// How surely a commit lasts, as the URL option of that name.
    #[arg(long)]
    durability: Option<String>,
    /// The schema of a server's database.
    #[arg(long)]
    schema: Option<String>,
    /// For how many days events are kept at least; for ever, without
    #[arg(long, value_name = "DAYS")]
    retention_days: Option<u32>,
    /// The URL of a replica that serves reads.
    #[arg(long, value_name = "URL")]
    replica: Option<String>,
}

impl Options {
    fn apply(self, mut builder: TopicConfigBuilder) -> Result<TopicConfigBuilder, Failure> {
        let Self { adapter, connection, durability, schema, retention_days, replica } = self;
        if let Some(connection) = connection {
            let adapter = match adapter {
                Some(adapter) => adapter,
                None => adapter::of_connection(&connection)?.to_owned(),
            };
            if adapter == "sqlite" {
                check_file(&connection.parse()?)?;
            }
            builder = builder.adapter(adapter).connection(connection);
        }
        if let Some(durability) = durability {
            builder = builder.durability(durability);
        }
        if let Some(schema) = schema {
            builder = builder.schema(schema);
        }
        if let Some(days) = retention_days {
            builder = builder.retention_days(days);
        }
        if let Some(url) = replica {
            builder = builder.replica(url);
        }
        Ok(builder)
    }
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    if let Verb::List = args.verb {
        return print::list(context).await;
    }
    let topics = context.topics().await?;
    match args.verb {
        Verb::List => Ok(()),
        Verb::Create { name, partitions, options } => {
            let builder = TopicConfig::builder(name).connection(context.url.as_str()).partitions(partitions);
            let made = topics.create(lasting(options.apply(builder)?.build()?)?).await?;
            let lanes = counted(u64::from(partitions), "lane");
            print::changed(context, &made, &format!("topic {:?} has {lanes}", made.config.name()))
        }
        Verb::Update { name, change } => {
            let (config, expected) = change.of(&topics.get(&name)?)?;
            let made = topics.update(config, expected).await?;
            print::changed(context, &made, &format!("topic {name:?} is at configuration version {}", made.version))
        }
        #[cfg(feature = "_sql")]
        Verb::Move { name, change } => relocate(context, &topics, &name, change).await,
        Verb::Delete { name, expect } => {
            let expected = expect.map_or(topics.get(&name)?.version, Version::new);
            topics.delete(&name, expected).await?;
            context.say(&json!({"deleted": name}), &format!("topic {name:?} is deleted; its log is kept"))
        }
        #[cfg(feature = "_sql")]
        Verb::Purge { name, log_hash, expect } => {
            let purged = topics.purge(&name, Version::new(expect), &hash::from_hex(&log_hash)?).await?;
            let text = format!("topic {name:?} is purged: {} removed", counted(purged.events, "event"));
            context.say(&json!({"purged": name, "events": purged.events, "hash": hash::hex(&purged.hash)}), &text)
        }
        #[cfg(feature = "_sql")]
        Verb::Hold { topic, hold, reason } => {
            topics.hold(&topic, &hold, &reason).await?;
            context.say(&json!({"topic": topic, "hold": hold}), &format!("hold {hold:?} keeps topic {topic:?}"))
        }
        #[cfg(feature = "_sql")]
        Verb::Release { topic, hold } => {
            if !topics.release(&topic, &hold).await? {
                return Err(Failure::not_found(format!(
                    "topic {topic:?} has no hold {hold:?}: `annals topic holds` lists them"
                )));
            }
            let text = format!("hold {hold:?} no longer keeps topic {topic:?}");
            context.say(&json!({"topic": topic, "released": hold}), &text)
        }
        #[cfg(feature = "_sql")]
        Verb::Holds { topic } => print::holds(context, &topics.holds(&topic).await?),
        Verb::Get { name, as_of } => get(context, &topics, &name, as_of).await,
        Verb::History { name } => print::history(context, &topics.history(&name).await?),
        Verb::Diff { from, to, name } => {
            if let Some(name) = &name {
                topics.history(name).await?;
            }
            let mut differences = topics.diff(from, to.unwrap_or_else(Utc::now)).await?;
            differences.retain(|difference| name.as_ref().is_none_or(|name| *name == difference.topic));
            print::diff(context, differences)
        }
        Verb::Health => print::health(context, &topics.health().await?),
    }
}

/// Moves a topic, with its log, to where the options say.
#[cfg(feature = "_sql")]
async fn relocate(context: &Context, topics: &Topics, name: &str, change: Change) -> Result<(), Failure> {
    let (config, expected) = change.of(&topics.get(name)?)?;
    let bar = progress::copied(topics.store(name).await?.event_count().await?);
    bar.set_message(name.to_owned());
    let moved = topics.relocate(config, expected, |events| bar.set_position(events)).await;
    bar.finish_and_clear();
    let (moved, cutover) = moved.map_err(|error| match error {
        error @ (Error::LogDiverged { .. } | Error::Invalid { what: "target", .. }) => copy::of_topic(name, error),
        error => error.into(),
    })?;
    let copied = counted(cutover.copied.events, "event");
    let place = moved.config.connection();
    let mut object = print::object(&moved);
    object["copied"] = json!(cutover.copied.events);
    object["pause_seconds"] = json!(cutover.pause.as_secs_f64());
    object["already"] = json!(cutover.already());
    context.say(&object, &format!("topic {name:?} is at {place}: {copied} copied; {}", copy::switched(&cutover)))
}

/// Returns a topic as it is, or as it was at a time.
async fn get(context: &Context, topics: &Topics, name: &str, as_of: Option<DateTime<Utc>>) -> Result<(), Failure> {
    let Some(time) = as_of else { return print::topic(context, &topics.get(name)?) };
    let then = topics.as_of(time).await?.into_iter().find(|topic| topic.config.name() == name);
    let missing = || Failure::not_found(format!("there was no topic {name:?} at {}", events::time(time)));
    print::topic(context, &then.ok_or_else(missing)?)
}
