//! Adapters: by what name a topic's configuration calls a kind of database, and how it says where that is.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::TopicConfig;
use crate::backend::registry;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::schema::default_schema;
use crate::sql::Dialect;

/// A database in the memory of one registry. Its connection is a name, by which topics share it.
pub(super) const MEMORY: &str = registry::ALIASES[0];

/// A SQLite file, made where it is missing. Its connection is a path.
const FILE: &str = registry::ALIASES[1];

/// Where a topic's log is.
#[derive(Debug, Clone)]
pub(crate) struct Place {
    pub adapter: String,
    /// The connection, without its password.
    pub shown: String,
    pub key: Key,
    /// Tells one database from another, whoever connects, and how.
    pub home: Key,
    pub config: Config,
}

/// Tells one connection from another, however it is written. It is a hash, since a password is part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Key([u8; 32]);

/// Returns where a topic is.
pub(super) fn place(topic: &TopicConfig) -> Result<Place> {
    let mut config = config(&topic.adapter, &topic.connection)?;
    if let Some(durability) = &topic.durability {
        config = config.with_durability(durability);
    }
    if let Some(schema) = &topic.schema {
        config = config.with_option("schema", schema);
    }
    let shown = redacted(&topic.adapter, &topic.connection);
    let memory = if topic.adapter == MEMORY { topic.connection.as_str() } else { "" };
    Place::new(&topic.adapter, shown, memory, config)
}

/// Returns the place that a URL names.
pub(crate) fn place_of_url(config: &Config) -> Result<Place> {
    Place::new(config.scheme(), config.to_string(), "", config.clone())
}

/// Returns whether two URLs name the same database, whoever connects, and how.
pub(crate) fn is_same_place(one: &str, other: &str) -> bool {
    let home = |url: &str| url.parse().and_then(|config| place_of_url(&config)).map(|place| place.home);
    one == other || matches!((home(one), home(other)), (Ok(one), Ok(other)) if one == other)
}

/// Returns a URL without its password that means the same wherever a program runs on this machine.
pub(crate) fn lasting(config: &Config) -> String {
    let url = config.to_string();
    settled(config.scheme(), &url).unwrap_or(url)
}

impl Place {
    fn new(adapter: &str, shown: String, memory: &str, config: Config) -> Result<Self> {
        let normal = normalised(&config)?;
        let key = key([memory, &normal.to_url()]);
        let home = key_of_home(memory, &normal);
        Ok(Self { adapter: adapter.to_owned(), shown, key, home, config })
    }

    /// Returns the same place, where a file that was lost is not made anew.
    pub(super) fn existing(mut self) -> Self {
        if self.config.scheme() == "sqlite"
            && self.config.target() != ":memory:"
            && self.config.option("mode").is_none()
        {
            self.config = self.config.with_option("mode", "rw");
        }
        self
    }
}

fn key_of_home(memory: &str, normal: &Config) -> Key {
    let option = |name: &str| normal.option(name);
    let default_schema = match normal.scheme() {
        "sqlite" => "",
        "postgres" => default_schema(Dialect::Postgres),
        "mssql" => default_schema(Dialect::Mssql),
        // Which of another's options tell databases apart is not known here.
        _ => return key([memory, normal.scheme(), normal.target(), &format!("{:?}", normal.options())]),
    };
    let server =
        [normal.scheme(), normal.target(), option("host").unwrap_or_default(), option("instance").unwrap_or_default()];
    let [scheme, target, host, instance] = server;
    key([memory, scheme, target, host, instance, option("schema").unwrap_or(default_schema)])
}

fn key<const N: usize>(parts: [&str; N]) -> Key {
    let mut hasher = Sha256::new();
    for part in parts {
        hasher.update(part);
        hasher.update([0]);
    }
    Key(hasher.finalize().into())
}

/// Returns the configuration of a connection's database.
fn config(adapter: &str, connection: &str) -> Result<Config> {
    let config: Config = match adapter {
        MEMORY => "sqlite::memory:".parse::<Config>()?.with_migrate(true),
        FILE if connection.trim().is_empty() => return Err(Error::invalid("connection", "name the file's path")),
        FILE => "sqlite:file".parse::<Config>()?.with_target(connection).with_migrate(true),
        _ => {
            let unknown = || Error::invalid("adapter", unknown(adapter));
            let scheme = Some(adapter).filter(|adapter| registry::is_known(adapter)).ok_or_else(unknown)?;
            let config: Config =
                connection.parse().map_err(|error: Error| Error::invalid("connection", error.to_string()))?;
            if config.scheme() != scheme {
                let reason = format!("it is of {:?}, and the adapter is {adapter:?}", config.scheme());
                return Err(Error::invalid("connection", reason));
            }
            if config.topic() != "default" {
                return Err(Error::invalid("connection", "it names a topic: leave that out, the name says it"));
            }
            config
        }
    };
    if registry::is_known(config.scheme()) { Ok(config) } else { Err(Error::invalid("adapter", unknown(adapter))) }
}

/// Returns the adapter that fits a connection for which none is named: its scheme.
pub(crate) fn of_connection(connection: &str) -> Result<&str> {
    if connection.is_empty() {
        return Ok(MEMORY);
    }
    let is_scheme = |text: &&str| text.bytes().all(|b| b.is_ascii_alphanumeric() || b"+-.".contains(&b));
    match connection.split_once(':').map(|(scheme, _)| scheme).filter(is_scheme) {
        Some("postgresql") => Ok("postgres"),
        Some("sqlserver") => Ok("mssql"),
        Some(scheme) if !scheme.is_empty() => Ok(scheme),
        // Nothing of it is shown: it may hold a password.
        _ => {
            Err(Error::invalid("connection", "it does not begin with a scheme, as in sqlite:events.db or postgres://…"))
        }
    }
}

/// Returns a connection that means the same wherever a program runs on this machine.
pub(super) fn settled(adapter: &str, connection: &str) -> Result<String> {
    let (scheme, path) = match (adapter, connection.strip_prefix("sqlite:")) {
        (FILE, _) if connection.split_once(':').is_some_and(|(scheme, _)| registry::is_known(scheme)) => {
            return Err(Error::invalid("connection", "it is a URL, and the adapter \"file\" takes a path"));
        }
        (FILE, _) => ("", connection),
        ("sqlite", Some(path)) => ("sqlite:", path.strip_prefix("//").unwrap_or(path)),
        _ => return Ok(connection.to_owned()),
    };
    let (path, options) = match path.split_once('?') {
        Some((path, options)) if !scheme.is_empty() => (path, format!("?{options}")),
        _ => (path, String::new()),
    };
    if path.is_empty() || path == ":memory:" || path.contains('@') {
        return Ok(connection.to_owned());
    }
    let failed = |error: std::io::Error| Error::invalid("connection", format!("{path:?}: {error}"));
    let absolute = std::path::absolute(path).map_err(failed)?;
    Ok(format!("{scheme}{}{options}", absolute.display()))
}

/// Returns a connection without its password.
pub(super) fn redacted(adapter: &str, connection: &str) -> String {
    match adapter {
        MEMORY | FILE => connection.to_owned(),
        _ => connection.parse::<Config>().map_or_else(|_| "***".to_owned(), |config| config.to_string()),
    }
}

/// Returns a configuration in one way of writing it: the same for all that reach the same database as the same user.
fn normalised(config: &Config) -> Result<Config> {
    let config = config.clone().with_topic("default")?.with_migrate(true);
    let default_port = match config.scheme() {
        "sqlite" if config.target() == ":memory:" => return Ok(config),
        "sqlite" => {
            let path = real(Path::new(config.target()));
            return Ok(config.with_target(&path.to_string_lossy()));
        }
        "postgres" => ":5432",
        "mssql" => ":1433",
        // What another's URL means is not known here.
        _ => return Ok(config),
    };
    let host = |host: &str| {
        let has_port = host.rsplit_once(':').is_some_and(|(_, port)| port.bytes().all(|b| b.is_ascii_digit()));
        host.to_ascii_lowercase() + if has_port { "" } else { default_port }
    };
    let (hosts, rest) = config.target().split_once('/').unwrap_or((config.target(), ""));
    let target = format!("{}/{rest}", hosts.split(',').map(host).collect::<Vec<_>>().join(","));
    Ok(config.with_target(&target))
}

/// Returns a file's path without links and detours; the file itself may be missing.
fn real(path: &Path) -> PathBuf {
    let absolute = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    absolute.canonicalize().ok().unwrap_or_else(|| match (absolute.parent(), absolute.file_name()) {
        (Some(folder), Some(name)) => folder.canonicalize().map_or(absolute.clone(), |folder| folder.join(name)),
        _ => absolute.clone(),
    })
}

/// Says which adapters there are.
fn unknown(adapter: &str) -> String {
    let aliases: &[&str] = if registry::is_known("sqlite") { &registry::ALIASES } else { &[] };
    registry::refusal("adapter", adapter, aliases)
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::*;

    fn of(url: &str) -> Key {
        place_of_url(&url.parse().unwrap()).unwrap().key
    }

    #[rstest]
    #[case::port("postgres://ada@db/app", "postgresql://ada@DB:5432/app")]
    #[case::order("mssql://db/app?encrypt=no&schema=s", "sqlserver://db:1433/app?schema=s&encrypt=no")]
    #[case::topic("postgres://db/app?topic=a", "postgres://db/app?topic=b")]
    #[case::default("postgres://db/app?pool_max=8", "postgres://db/app")]
    #[case::hosts("postgres://a,b:5432/app", "postgres://A:5432,b/app")]
    #[case::detour("sqlite:/tmp/x.db", "sqlite:/tmp/../tmp/./x.db")]
    #[case::migrate("sqlite:/tmp/x.db?migrate=auto", "sqlite:/tmp/x.db")]
    fn connections_are_equal_however_they_are_written(#[case] one: &str, #[case] two: &str) {
        assert!(of(one) == of(two), "{one} and {two}");
    }

    #[rstest]
    #[case::user("postgres://ada@db/app", "postgres://eve@db/app", true)]
    #[case::timeout("postgres://db/app?connect_timeout=9s", "postgres://db/app", true)]
    #[case::default_schema("postgres://db/app?schema=public", "postgres://db/app", true)]
    #[case::default_owner("mssql://db/app?schema=dbo", "mssql://db/app", true)]
    #[case::schema("postgres://db/app?schema=a", "postgres://db/app?schema=b", false)]
    #[case::socket("postgres:///app?host=/run/a", "postgres:///app?host=/run/b", false)]
    #[case::instance("mssql://db/app?instance=ONE", "mssql://db/app?instance=TWO", false)]
    #[case::file("sqlite:/tmp/x.db?durability=normal", "sqlite:/tmp/x.db", true)]
    fn databases_are_told_apart_whoever_connects(#[case] one: &str, #[case] two: &str, #[case] is_same: bool) {
        let home = |url: &str| place_of_url(&url.parse().unwrap()).unwrap().home;
        assert!((home(one) == home(two)) == is_same, "{one} and {two}");
    }

    #[rstest]
    #[case::user("postgres://ada@db/app", "postgres://eve@db/app")]
    #[case::password("postgres://ada:a@db/app", "postgres://ada:b@db/app")]
    #[case::database("postgres://db/app", "postgres://db/App")]
    #[case::schema("postgres://db/app?schema=a", "postgres://db/app?schema=b")]
    #[case::durability("sqlite:/tmp/x.db?durability=normal", "sqlite:/tmp/x.db")]
    #[case::file("sqlite:/tmp/x.db", "sqlite:/tmp/y.db")]
    #[case::engine("postgres://db/app", "mssql://db/app")]
    fn connections_that_differ_share_nothing(#[case] one: &str, #[case] two: &str) {
        assert!(of(one) != of(two), "{one} and {two}");
    }
}
