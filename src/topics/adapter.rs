//! Adapters: by what name a topic's configuration calls a kind of database, and how it says where that is.

use std::path::{Path, PathBuf};

use sha2::{Digest, Sha256};

use super::TopicConfig;
use crate::backend::registry;
use crate::config::Config;
use crate::error::{Error, Result};

/// A database in the memory of one registry. Its connection is a name, by which topics share it.
pub(super) const MEMORY: &str = registry::ALIASES[0];

/// A SQLite file, made where it is missing. Its connection is a path.
const FILE: &str = registry::ALIASES[1];

/// Where a topic's log is.
#[derive(Debug, Clone)]
pub(super) struct Place {
    pub adapter: String,
    /// The connection, without its password.
    pub shown: String,
    pub key: Key,
    pub config: Config,
}

/// Tells one connection from another, however it is written. It is a hash, since a password is part of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Key([u8; 32]);

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
    Ok(Place { adapter: topic.adapter.clone(), shown, key: key(&config, memory)?, config })
}

/// Returns the place that a URL names.
pub(super) fn place_of_url(config: &Config) -> Result<Place> {
    let (adapter, shown) = (config.scheme().to_owned(), config.to_string());
    Ok(Place { adapter, shown, key: key(config, "")?, config: config.clone() })
}

fn key(config: &Config, memory: &str) -> Result<Key> {
    let mut hasher = Sha256::new();
    hasher.update(memory);
    hasher.update([0]);
    hasher.update(normalised(config)?.to_url());
    Ok(Key(hasher.finalize().into()))
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

/// Returns the adapter that fits a connection for which none is named.
pub(crate) fn of_connection(connection: &str) -> &str {
    match connection.split_once(':').map_or(connection, |(scheme, _)| scheme) {
        "" => MEMORY,
        "postgresql" => "postgres",
        "sqlserver" => "mssql",
        scheme => scheme,
    }
}

/// Returns a connection that means the same wherever a program runs on this machine.
pub(super) fn settled(adapter: &str, connection: String) -> Result<String> {
    let path = match adapter {
        FILE => connection.as_str(),
        "sqlite" => match connection.strip_prefix("sqlite:") {
            Some(path) if !path.starts_with("//") => path.split('?').next().unwrap_or_default(),
            _ => return Ok(connection),
        },
        _ => return Ok(connection),
    };
    if path.is_empty() || path == ":memory:" {
        return Ok(connection);
    }
    let failed = |error: std::io::Error| Error::invalid("connection", format!("{path:?}: {error}"));
    let absolute = std::path::absolute(path).map_err(failed)?;
    Ok(connection.replacen(path, &absolute.to_string_lossy(), 1))
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
        _ => "",
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
