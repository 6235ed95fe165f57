//! Connections: what a URL says of the server, and how a connection is opened, set up and checked.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{AssertSqlSafe, ConnectOptions, Row};
use std::time::Duration;

use super::convert::{Stage, classify};
use super::notify::Notifier;
use super::pool::Pool;
use crate::config::{Config, url_error};
use crate::error::{Error, ErrorClass, Result};

/// Statements that a connection keeps prepared.
const PREPARED: usize = 256;
/// After this time the server frees the lock of a client that stopped between two statements.
const ABANDONED: &str = "5s";
/// The longest name that the server keeps whole, in bytes.
const IDENTIFIER_BYTES: usize = 63;

/// A Postgres database.
#[derive(Debug)]
pub(crate) struct Postgres {
    pub(super) pool: Arc<Pool>,
    pub(super) notifier: Arc<Notifier>,
}

/// Opens the database that a URL names.
pub(crate) async fn connect(config: &Config) -> Result<Postgres> {
    let connector = Connector::new(config)?;
    let pool = Pool::new(connector, config.pool_max() as usize, config.connect_timeout());
    // The first connection shows at once whether the server is there, lets us in, and keeps its promises.
    let lease = Pool::acquire(&pool).await?;
    lease.release();
    Ok(Postgres { pool, notifier: Arc::default() })
}

/// Knows how to open a connection.
#[derive(Clone)]
pub(super) struct Connector {
    hosts: Vec<PgConnectOptions>,
    /// The name in quotes, for the search path.
    search_path: String,
    synchronous_commit: &'static str,
    pub(super) connect_timeout: Duration,
    pub(super) statement_timeout: Duration,
}

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// The store's own statements: short, bounded, with plans that do not depend on statistics.
    Store,
    /// SQL text of a person or a migration, which may take its time.
    Sql,
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts: Vec<_> = self.hosts.iter().map(|host| (host.get_host(), host.get_port())).collect();
        f.debug_struct("Connector")
            .field("hosts", &hosts)
            .field("search_path", &self.search_path)
            .finish_non_exhaustive()
    }
}

impl Connector {
    pub(super) fn new(config: &Config) -> Result<Self> {
        config.check_options(&["sslmode", "sslrootcert", "schema", "host", "application_name"])?;
        let synchronous_commit = match config.check_durability(&["full", "off"])? {
            "off" => "off",
            _ => "on",
        };
        let schema = config.option("schema").unwrap_or("public");
        if schema.is_empty() || schema.len() > IDENTIFIER_BYTES || schema.contains('\0') {
            return Err(url_error(format!("schema={schema:?} is not a name of 1 to {IDENTIFIER_BYTES} bytes")));
        }
        Ok(Self {
            hosts: hosts(config)?,
            search_path: crate::schema::quoted(crate::sql::Dialect::Postgres, schema),
            synchronous_commit,
            connect_timeout: config.connect_timeout(),
            statement_timeout: config.statement_timeout(),
        })
    }

    /// Returns the options of each host, in the order of the URL.
    pub(super) fn hosts(&self) -> &[PgConnectOptions] {
        &self.hosts
    }

    /// Opens a connection: to the only host, or to the first of several that is a primary.
    pub(super) async fn open(&self, purpose: Purpose) -> Result<PgConnection> {
        let mut first_error = None;
        for host in &self.hosts {
            let opened = tokio::time::timeout(self.connect_timeout, self.open_host(host, purpose)).await;
            let opened = opened.unwrap_or_else(|_| {
                let reason = format!("no answer within {} ms", self.connect_timeout.as_millis());
                Err(Error::backend("postgres", "connect", ErrorClass::Reconnect, reason))
            });
            match opened {
                Ok((connection, in_recovery)) if self.hosts.len() == 1 || !in_recovery => return Ok(connection),
                Ok(_) => tracing::debug!(host = host.get_host(), "the server is a standby"),
                Err(error) => first_error = first_error.or(Some(with_address(host, error))),
            }
        }
        Err(first_error.unwrap_or_else(|| {
            let reason = "every host of the url is a standby: name the primary, or promote one of them";
            Error::backend("postgres", "connect", ErrorClass::Reconnect, reason)
        }))
    }

    /// Opens a connection to a host, and returns whether it is a standby.
    async fn open_host(&self, host: &PgConnectOptions, purpose: Purpose) -> Result<(PgConnection, bool)> {
        let failed = |error| classify("connect", Stage::Work, error);
        let mut connection = host.connect().await.map_err(failed)?;
        let row =
            sqlx::raw_sql(AssertSqlSafe(self.set_up(purpose))).fetch_one(&mut connection).await.map_err(failed)?;
        let cell = |column: &str| row.try_get_unchecked::<String, _>(column).map_err(failed);
        for (setting, wanted) in
            [("default_transaction_isolation", "read committed"), ("synchronous_commit", self.synchronous_commit)]
        {
            let found = cell(setting)?;
            if found != wanted {
                let reason = format!("the server keeps {setting} at {found:?} where {wanted:?} was set");
                return Err(Error::backend("postgres", "connect", ErrorClass::Fatal, reason));
            }
        }
        let encoding = cell("server_encoding")?;
        if encoding != "UTF8" {
            let reason =
                format!("the database's encoding is {encoding}, which can't hold every text: create it with UTF8");
            return Err(Error::backend("postgres", "connect", ErrorClass::Fatal, reason));
        }
        if self.synchronous_commit == "on" && cell("fsync")? != "on" {
            tracing::warn!("the server runs with fsync off: what it acknowledges may be lost with the machine");
        }
        Ok((connection, cell("in_recovery")? == "t"))
    }

    /// Returns one statement that sets what a connection needs, each setting read back as a column of its name.
    fn set_up(&self, purpose: Purpose) -> String {
        let milliseconds = self.statement_timeout.as_millis();
        let mut settings = vec![
            ("search_path", self.search_path.clone()),
            ("default_transaction_isolation", "read committed".to_owned()),
            ("synchronous_commit", self.synchronous_commit.to_owned()),
            ("TimeZone", "UTC".to_owned()),
            // Below the timeout of the statement, so that a wait for the lock is told from a slow statement.
            ("lock_timeout", format!("{}ms", (milliseconds * 9 / 10).max(1))),
            // A client that is gone without a word is noticed within half a minute.
            ("tcp_keepalives_idle", "10".to_owned()),
            ("tcp_keepalives_interval", "5".to_owned()),
            ("tcp_keepalives_count", "3".to_owned()),
        ];
        if purpose == Purpose::Store {
            let plans = PLANS.iter().map(|(name, value)| (*name, (*value).to_owned()));
            settings.extend(plans);
            settings.push(("statement_timeout", format!("{milliseconds}ms")));
            settings.push(("idle_in_transaction_session_timeout", ABANDONED.to_owned()));
        }
        let settings: Vec<String> = settings
            .iter()
            .map(|(name, value)| format!("set_config('{name}', '{}', false) AS {name}", value.replace('\'', "''")))
            .collect();
        format!(
            "SELECT {}, current_setting('server_encoding') AS server_encoding, current_setting('fsync') AS fsync, \
             pg_is_in_recovery() AS in_recovery",
            settings.join(", ")
        )
    }
}

/// Begins a transaction with the server's own way to plan, for statements that the store does not know.
pub(super) fn begin_text() -> String {
    let defaults: Vec<String> = PLANS.iter().map(|(name, _)| format!("SET LOCAL {name} TO DEFAULT")).collect();
    format!("BEGIN; {}", defaults.join("; "))
}

/// Returns within such a transaction to the store's way to plan.
pub(super) fn own_plans_text() -> String {
    let own: Vec<String> = PLANS.iter().map(|(name, value)| format!("SET LOCAL {name} = '{value}'")).collect();
    own.join("; ")
}

/// Every statement of the store is answered by a walk along an index, in the order of the index. With these settings
/// the planner takes that walk whether a table is empty, never analysed or large, and plans a statement once.
const PLANS: &[(&str, &str)] = &[
    ("plan_cache_mode", "force_generic_plan"),
    ("enable_seqscan", "off"),
    ("enable_bitmapscan", "off"),
    ("enable_hashjoin", "off"),
    ("enable_mergejoin", "off"),
    ("enable_sort", "off"),
    ("enable_material", "off"),
    ("enable_memoize", "off"),
    ("max_parallel_workers_per_gather", "0"),
    ("jit", "off"),
];

/// Returns the options of each host that a URL names, in its order.
fn hosts(config: &Config) -> Result<Vec<PgConnectOptions>> {
    let (authority, database) = config.target().split_once('/').unwrap_or((config.target(), ""));
    let named: Vec<&str> = authority.split(',').collect();
    let addresses: Vec<(Option<&str>, Option<u16>)> = match config.option("host") {
        None => named.into_iter().map(address).collect::<Result<_>>()?,
        Some(host) => match address(authority)? {
            (None, port) => vec![(Some(host), port)],
            (Some(_), _) => return Err(url_error("hosts are named twice: before the path, and by the option host")),
        },
    };
    addresses.into_iter().map(|(host, port)| options(config, host, port, database)).collect()
}

/// Takes `host`, `host:port`, `[address]:port`, `:port` or nothing apart.
fn address(text: &str) -> Result<(Option<&str>, Option<u16>)> {
    let refused = || url_error(format!("host {text:?} is not host, host:port or [ipv6]:port"));
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, rest) = rest.split_once(']').ok_or_else(refused)?;
            (host, if rest.is_empty() { None } else { Some(rest.strip_prefix(':').ok_or_else(refused)?) })
        }
        None => text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port))),
    };
    let port = port.map(|port| port.parse().ok().filter(|port| *port > 0).ok_or_else(refused)).transpose()?;
    Ok((Some(host).filter(|host| !host.is_empty()), port))
}

/// Returns the options of one host. What the URL leaves out comes from the environment and the password file of the
/// server's own tools.
fn options(config: &Config, host: Option<&str>, port: Option<u16>, database: &str) -> Result<PgConnectOptions> {
    let encoded = |text: &str| utf8_percent_encode(text, NON_ALPHANUMERIC).to_string();
    let unnamed = PgConnectOptions::new_without_pgpass();
    let host = host.unwrap_or_else(|| unnamed.get_host());
    // The driver looks a password up only for what it reads from a URL, so it gets one, without ours. There, a user and a
    // port need a host behind them, which the option replaces.
    let user = config.user().map(|user| format!("{}@", encoded(user))).unwrap_or_default();
    let port = port.map(|port| format!(":{port}")).unwrap_or_default();
    let url = format!("postgres://{user}localhost{port}/{}?host={}", encoded(database), encoded(host));
    let mut options: PgConnectOptions =
        url.parse().map_err(|_| url_error(format!("host {host:?} or database {database:?} can't be used")))?;
    if let Some(password) = config.password() {
        options = options.password(password);
    }
    if let Some(mode) = config.option("sslmode") {
        options = options.ssl_mode(ssl_mode(mode)?);
    }
    if let Some(path) = config.option("sslrootcert") {
        if !Path::new(path).is_file() {
            return Err(url_error(format!("sslrootcert={path:?} is not a file")));
        }
        options = options.ssl_root_cert(path);
    }
    let name = config.option("application_name").unwrap_or("annals");
    Ok(options.application_name(name).statement_cache_capacity(PREPARED).disable_statement_logging())
}

fn ssl_mode(mode: &str) -> Result<PgSslMode> {
    Ok(match mode {
        "disable" => PgSslMode::Disable,
        "prefer" => PgSslMode::Prefer,
        "require" => PgSslMode::Require,
        "verify-ca" => PgSslMode::VerifyCa,
        "verify-full" => PgSslMode::VerifyFull,
        _ => {
            let choices = "disable, prefer, require, verify-ca, verify-full";
            return Err(url_error(format!("sslmode={mode:?} is not one of {choices}")));
        }
    })
}

/// Says which of the hosts an error comes from.
fn with_address(host: &PgConnectOptions, error: Error) -> Error {
    match error {
        Error::Backend { backend, operation, class, source } => {
            let reason = match host.get_socket() {
                Some(folder) => format!("{}: {source}", folder.display()),
                None => format!("{}:{}: {source}", host.get_host(), host.get_port()),
            };
            Error::backend(backend, operation, class, reason)
        }
        other => other,
    }
}

#[cfg(test)]
mod tests;
