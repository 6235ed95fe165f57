//! `annals relay`: from the log to a broker.

use std::io::{BufWriter, Write};
use std::path::PathBuf;
use std::time::Duration;

use chrono::{DateTime, Utc};
use clap::ValueEnum;
use serde_json::json;

use super::filters::Filters;
use super::output::counted;
use super::{Context, Exit, Failure, parse};
use crate::position::Position;
use crate::relay::{Change, End, Lines, OnRefusal, Publisher, Relay, Relayed};
use crate::store::Store;
use crate::subscription::{Durable, Start};

/// What `--help` says of `--subject`, whose places are no links.
const SUBJECT: &str =
    "The subject of NATS, with places in braces; annals.{topic}.{aggregate_type} without this, see docs/relay.md";

/// The arguments of `annals relay`. It runs until Ctrl-C, and goes on where it stood the next time.
#[derive(Debug, clap::Args)]
pub(crate) struct Args {
    /// The name under which the database keeps how far the relay is.
    #[arg(long)]
    name: String,
    #[arg(
        long,
        help = "Where to: nats://HOST:PORT, https://HOST/PATH, or stdout",
        value_name = "URL",
        env = "ANNALS_RELAY_TO",
        hide_env_values = true
    )]
    to: String,
    /// A new relay begins with what comes; without this and the like, with the first event.
    #[arg(long, group = "start")]
    now: bool,
    /// A new relay begins after this position; for topics of one lane.
    #[arg(long, group = "start", value_name = "POSITION")]
    after: Option<i64>,
    /// A new relay begins with the first event stored at or after this time: RFC 3339, or a date.
    #[arg(long, group = "start", value_name = "TIME", value_parser = parse::time)]
    from: Option<DateTime<Utc>>,
    #[command(flatten)]
    filters: Filters,
    #[arg(long, value_name = "TEMPLATE", help = SUBJECT)]
    subject: Option<String>,
    /// A file of credentials for NATS.
    #[arg(long, value_name = "FILE")]
    creds: Option<PathBuf>,
    /// The environment variable that holds the secret which signs webhooks.
    #[arg(long, value_name = "VARIABLE")]
    secret_env: Option<String>,
    /// How long a request to a webhook may take; 20 without this.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=3_600))]
    timeout: Option<u64>,
    #[arg(long, value_name = "URI", help = "The source of the CloudEvents; /annals/TOPIC without this")]
    source: Option<String>,
    #[arg(long, value_name = "TEMPLATE", help = "The dataschema of the CloudEvents, with places such as {event_type}")]
    schema: Option<String>,
    /// What becomes of an event that the broker refuses for good.
    #[arg(long, value_enum, default_value = "stop")]
    on_refusal: Refusal,
    /// End with exit code 5 once nothing was confirmed for so long; without this it tries for ever.
    #[arg(long, value_name = "SECONDS")]
    give_up_after: Option<u64>,
    /// End once all that is there was published.
    #[arg(long)]
    until_caught_up: bool,
}

/// The words of `--on-refusal`.
#[derive(Debug, Clone, Copy, ValueEnum)]
enum Refusal {
    /// End with an error, before the event.
    Stop,
    /// Report the event and leave it out.
    Skip,
}

pub(crate) async fn run(args: Args, context: &Context) -> Result<(), Failure> {
    match args.to.split_once("://").map(|(scheme, _)| scheme) {
        Some("nats" | "tls") => nats(args, context).await,
        Some("http" | "https") => webhook(args, context).await,
        None if args.to == "stdout" => {
            args.only_for("stdout", &[])?;
            let out = Lines::new(BufWriter::new(std::io::stdout()));
            relay(args, context, out).await
        }
        // The rest may hold a password.
        _ => Err(Failure::usage("--to: write nats://HOST:PORT, tls://HOST:PORT, https://HOST/PATH, or stdout")),
    }
}

#[cfg(feature = "nats")]
async fn nats(args: Args, context: &Context) -> Result<(), Failure> {
    args.only_for("nats", &["--subject", "--creds"])?;
    let mut nats = crate::relay::Nats::new(&args.to)?;
    if let Some(subject) = &args.subject {
        nats = nats.subject(subject)?;
    }
    if let Some(creds) = &args.creds {
        let unread = |error| Failure::usage(format!("can't read {}: {error}", creds.display()));
        std::fs::File::open(creds).map_err(unread)?;
        nats = nats.creds(creds);
    }
    relay(args, context, nats).await
}

#[cfg(not(feature = "nats"))]
fn nats(_: Args, _: &Context) -> std::future::Ready<Result<(), Failure>> {
    std::future::ready(Err(Failure::usage("--to: this program was built without the feature nats")))
}

#[cfg(feature = "webhook")]
async fn webhook(args: Args, context: &Context) -> Result<(), Failure> {
    args.only_for("a webhook", &["--secret-env", "--timeout"])?;
    let mut webhook = crate::relay::Webhook::new(&args.to)?;
    if let Some(variable) = &args.secret_env {
        let secrets = std::env::var(variable).map_err(|_| Failure::usage(format!("{variable} is not set")))?;
        webhook = webhook.secrets(secrets.parse()?);
    }
    if let Some(seconds) = args.timeout {
        webhook = webhook.timeout(Duration::from_secs(seconds));
    }
    relay(args, context, webhook).await
}

#[cfg(not(feature = "webhook"))]
fn webhook(_: Args, _: &Context) -> std::future::Ready<Result<(), Failure>> {
    std::future::ready(Err(Failure::usage("--to: this program was built without the feature webhook")))
}

impl Args {
    /// Refuses options that say nothing to where the events go.
    fn only_for(&self, target: &str, allowed: &[&str]) -> Result<(), Failure> {
        let given = [
            ("--subject", self.subject.is_some()),
            ("--creds", self.creds.is_some()),
            ("--secret-env", self.secret_env.is_some()),
            ("--timeout", self.timeout.is_some()),
        ];
        match given.iter().find(|(option, given)| *given && !allowed.contains(option)) {
            Some((option, _)) => Err(Failure::usage(format!("{option} means nothing to {target}"))),
            None => Ok(()),
        }
    }

    fn start(&self) -> Start {
        match (self.now, self.after, self.from) {
            (true, ..) => Start::Now,
            (_, Some(position), _) => Start::After(Position::new(position)),
            (.., Some(time)) => Start::At(time),
            _ => Start::Beginning,
        }
    }

    fn durable(&self, store: &Store) -> Durable {
        store.durable(&self.name).start(self.start())
    }
}

async fn relay<P: Publisher>(args: Args, context: &Context, publisher: P) -> Result<(), Failure> {
    let store = context.store().await?;
    let (name, json) = (args.name.clone(), context.json);
    let mut relay = Relay::new(args.durable(&store).query(args.filters.query()?), publisher)
        .on_refusal(match args.on_refusal {
            Refusal::Stop => OnRefusal::Stop,
            Refusal::Skip => OnRefusal::Skip,
        })
        .on_change(move |change| say(&name, &change, json));
    if let Some(source) = args.source {
        relay = relay.source(source)?;
    }
    if let Some(schema) = &args.schema {
        relay = relay.schema(schema)?;
    }
    if let Some(seconds) = args.give_up_after {
        relay = relay.give_up_after(Duration::from_secs(seconds));
    }
    if args.until_caught_up {
        relay = relay.until_caught_up();
    }
    let Relayed { end, published, skipped } = relay.run(context.stopped()).await?;
    let counts = format!("{} published, {skipped} skipped", counted(published, "event"));
    let value = json!({"state": "ended", "published": published, "skipped": skipped});
    line(&args.name, &counts, value, json);
    match end {
        End::Stopped => Err(Failure::new(Exit::Interrupted, "interrupted: what was confirmed is saved")),
        End::CaughtUp | End::Closed => Ok(()),
    }
}

/// Tells a change on standard error, a line each.
fn say(name: &str, change: &Change, json: bool) {
    let (text, value) = match change {
        Change::Standby { owner } => {
            (format!("{owner} runs it: waiting until it ends"), json!({"state": "standby", "owner": owner}))
        }
        Change::Started => ("started".to_owned(), json!({"state": "started"})),
        Change::CaughtUp => ("all that was there is published".to_owned(), json!({"state": "caught_up"})),
        Change::Retrying { reason, pause } => {
            let seconds = pause.as_secs_f64();
            let value = json!({"state": "retrying", "reason": reason, "seconds": seconds});
            (format!("{reason}; again in {seconds:.1} s"), value)
        }
        Change::Resumed => ("it works again".to_owned(), json!({"state": "resumed"})),
        Change::Skipped { event, reason } => {
            let value = json!({"state": "skipped", "event": event, "reason": reason});
            (format!("skipped {event}: {reason}"), value)
        }
    };
    line(name, &text, value, json);
}

fn line(name: &str, text: &str, mut value: serde_json::Value, json: bool) {
    value["relay"] = name.into();
    let line = if json { format!("{value}\n") } else { format!("relay {name}: {text}\n") };
    // Where standard error is closed, the events still go on.
    let _ = std::io::stderr().lock().write_all(line.as_bytes());
}
