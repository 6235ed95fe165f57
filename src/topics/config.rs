//! What a topic is configured to be: [`TopicConfig`].

use std::fmt;

use serde::{Deserialize, Serialize};

use super::adapter;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::{limits, name};

/// A topic's configuration: where its log is kept, and how. Made by a [`TopicConfigBuilder`], which checks it.
///
/// ```
/// use annals::TopicConfig;
///
/// let orders = TopicConfig::builder("orders").connection("sqlite:orders.db").partitions(4).build()?;
/// assert_eq!((orders.adapter(), orders.partitions()), ("sqlite", 4));
///
/// let error = TopicConfig::builder("orders").connection("sqlite:orders.db").partitions(0).build().unwrap_err();
/// assert!(error.to_string().starts_with("invalid partitions"));
/// # Ok::<(), annals::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopicConfig {
    pub(super) name: String,
    pub(super) adapter: String,
    /// As it was given: it may hold a password.
    pub(super) connection: String,
    pub(super) partitions: u16,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) durability: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) schema: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) retention_days: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) replica: Option<String>,
}

impl TopicConfig {
    /// Begins a configuration: without more, a topic of one lane in memory.
    pub fn builder(name: impl Into<String>) -> TopicConfigBuilder {
        TopicConfigBuilder {
            name: name.into(),
            adapter: None,
            connection: String::new(),
            partitions: 1,
            durability: None,
            schema: None,
            retention_days: None,
            replica: None,
        }
    }

    /// Begins a configuration that has all of this one's values.
    pub fn change(&self) -> TopicConfigBuilder {
        let Self { name, adapter, connection, partitions, durability, schema, retention_days, replica } = self.clone();
        let adapter = Some(adapter);
        TopicConfigBuilder { name, adapter, connection, partitions, durability, schema, retention_days, replica }
    }

    /// Returns the topic's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the adapter: `memory`, `file`, `sqlite`, `postgres`, `mssql`, or one that was registered.
    #[must_use]
    pub fn adapter(&self) -> &str {
        &self.adapter
    }

    /// Returns the connection without its password: a URL; for `file`, a path; for `memory`, the database's name.
    #[must_use]
    pub fn connection(&self) -> String {
        adapter::redacted(&self.adapter, &self.connection)
    }

    /// Returns the number of lanes, which is fixed once the topic is created.
    #[must_use]
    pub const fn partitions(&self) -> u16 {
        self.partitions
    }

    /// Returns the durability of its commits; `None` is the database's full one.
    #[must_use]
    pub fn durability(&self) -> Option<&str> {
        self.durability.as_deref()
    }

    /// Returns the schema of the server's database that holds it; `None` is the connection's.
    #[must_use]
    pub fn schema(&self) -> Option<&str> {
        self.schema.as_deref()
    }

    /// Returns for how many days its events are to be kept at least; `None` is for ever.
    #[must_use]
    pub const fn retention_days(&self) -> Option<u32> {
        self.retention_days
    }

    /// Returns the URL of the replica that serves its reads, without its password.
    #[must_use]
    pub fn replica(&self) -> Option<String> {
        self.replica.as_deref().map(|url| adapter::redacted("", url))
    }

    /// Returns every field with its value as text, passwords left out; in one order, and those that are not set left out.
    #[must_use]
    pub fn fields(&self) -> Vec<(&'static str, String)> {
        let retention = self.retention_days.map(|days| days.to_string());
        let fields = [
            ("adapter", Some(self.adapter.clone())),
            ("connection", Some(self.connection())),
            ("partitions", Some(self.partitions.to_string())),
            ("durability", self.durability.clone()),
            ("schema", self.schema.clone()),
            ("retention_days", retention),
            ("replica", self.replica()),
        ];
        fields.into_iter().filter_map(|(name, value)| value.map(|value| (name, value))).collect()
    }

    /// Returns whether a store of this configuration does for another one.
    pub(super) fn is_at_the_place_of(&self, other: &Self) -> bool {
        let place = |config: &Self| {
            let Self { adapter, connection, durability, schema, .. } = config.clone();
            (adapter, connection, durability, schema)
        };
        place(self) == place(other)
    }

    /// Checks what [`TopicConfigBuilder::build`] says.
    pub(super) fn check(&self) -> Result<()> {
        name::check("name", self.name.as_str())?;
        if !(1..=limits::LANES).contains(&self.partitions) {
            let reason = format!("{} is not a number of lanes from 1 to {}", self.partitions, limits::LANES);
            return Err(Error::invalid("partitions", reason));
        }
        if self.retention_days == Some(0) {
            return Err(Error::invalid(
                "retention_days",
                "0 days would keep nothing: leave it out to keep all for ever",
            ));
        }
        let place = adapter::place(self)?;
        if self.schema.is_some() && place.config.scheme() == "sqlite" {
            return Err(Error::invalid("schema", "a SQLite database has none: leave it out"));
        }
        if let Some(url) = &self.replica {
            let replica: Config = url.parse().map_err(|error: Error| Error::invalid("replica", error.to_string()))?;
            if replica.scheme() != place.config.scheme() {
                let reason = format!("it is of {}, and the topic of {}", replica.scheme(), place.config.scheme());
                return Err(Error::invalid("replica", reason));
            }
        }
        Ok(())
    }
}

impl fmt::Debug for TopicConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = f.debug_struct("TopicConfig");
        text.field("name", &self.name);
        for (name, value) in self.fields() {
            text.field(name, &value);
        }
        text.finish_non_exhaustive()
    }
}

/// Makes a [`TopicConfig`].
#[derive(Clone)]
#[must_use = "a configuration is made by `build`"]
pub struct TopicConfigBuilder {
    name: String,
    adapter: Option<String>,
    connection: String,
    partitions: u16,
    durability: Option<String>,
    schema: Option<String>,
    retention_days: Option<u32>,
    replica: Option<String>,
}

impl TopicConfigBuilder {
    /// Sets the adapter; without it, the connection's scheme names it, and without a connection it is `memory`.
    pub fn adapter(mut self, adapter: impl Into<String>) -> Self {
        self.adapter = Some(adapter.into());
        self
    }

    /// Sets the connection: a URL as in [`Store::connect`](crate::Store::connect); for the adapter `file`, the path of a
    /// SQLite file; for `memory`, a name by which topics share a database in memory, which may be empty.
    ///
    /// It is stored as it is, for ever. So name a password's file in it, with the option `password_file`, rather than the
    /// password.
    pub fn connection(mut self, connection: impl Into<String>) -> Self {
        self.connection = connection.into();
        self
    }

    /// Sets the number of lanes, 1 to [`limits::LANES`]; 1 without.
    pub const fn partitions(mut self, partitions: u16) -> Self {
        self.partitions = partitions;
        self
    }

    /// Sets the durability of commits, as the URL option of that name.
    pub fn durability(mut self, durability: impl Into<String>) -> Self {
        self.durability = Some(durability.into());
        self
    }

    /// Sets the schema of the server's database, as the URL option of that name.
    pub fn schema(mut self, schema: impl Into<String>) -> Self {
        self.schema = Some(schema.into());
        self
    }

    /// Sets for how many days events are to be kept at least; for ever without.
    pub const fn retention_days(mut self, days: u32) -> Self {
        self.retention_days = Some(days);
        self
    }

    /// Sets the URL of a replica of the same database, which [`Topics::replica`](crate::Topics::replica) reads.
    pub fn replica(mut self, url: impl Into<String>) -> Self {
        self.replica = Some(url.into());
        self
    }

    /// Forgets a field that need not be set: `durability`, `schema`, `retention_days` or `replica`.
    ///
    /// # Errors
    /// [`Error::Invalid`] for another one.
    pub fn unset(mut self, field: &str) -> Result<Self> {
        match field {
            "durability" => self.durability = None,
            "schema" => self.schema = None,
            "retention_days" => self.retention_days = None,
            "replica" => self.replica = None,
            other => {
                let reason = format!("{other:?} can't be unset; durability, schema, retention_days and replica can");
                return Err(Error::invalid("field", reason));
            }
        }
        Ok(self)
    }

    /// Makes the configuration.
    ///
    /// # Errors
    /// [`Error::Invalid`] and [`Error::Limit`], which name the field: a name that is none, an adapter that is not there
    /// (with those that are), a connection that the adapter can't use, a number of lanes out of range.
    pub fn build(self) -> Result<TopicConfig> {
        let Self { name, adapter, connection, partitions, durability, schema, retention_days, replica } = self;
        let adapter = match adapter {
            Some(adapter) => adapter,
            None => adapter::of_connection(&connection)?.to_owned(),
        };
        let connection = adapter::settled(&adapter, &connection)?;
        let replica =
            replica.map(|url| adapter::settled(adapter::of_connection(&url).unwrap_or_default(), &url)).transpose()?;
        let config = TopicConfig { name, adapter, connection, partitions, durability, schema, retention_days, replica };
        config.check()?;
        Ok(config)
    }
}

impl fmt::Debug for TopicConfigBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TopicConfigBuilder").field("name", &self.name).finish_non_exhaustive()
    }
}
