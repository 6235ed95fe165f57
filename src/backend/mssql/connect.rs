//! Connections: what a URL says, how the server is reached, what each session sets and reads back.

use std::fmt;
use std::time::Duration;

use tiberius::error::Error as DriverError;
use tiberius::{AuthMethod, Client, EncryptionLevel, Row, SqlBrowser};
use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio_util::compat::TokioAsyncWriteCompatExt;

use super::Mssql;
use super::convert::{CellRead, classify};
use super::pool::{Connection, Pool};
use crate::config::{Config, url_error};
use crate::error::{Error, ErrorClass, Result};
use crate::schema::quoted;
use crate::sql::Dialect;

/// The options that the engine takes beyond the common ones.
const OPTIONS: [&str; 6] = ["application_name", "encrypt", "trust_server_certificate", "ca_file", "schema", "instance"];

/// How often a server may pass a connection on to another address.
const ROUTES: usize = 3;

/// Bits of `@@OPTIONS` that must be set: `ANSI_NULLS` and `QUOTED_IDENTIFIER`, which filtered indexes need, and
/// `XACT_ABORT`.
const OPTIONS_ON: i64 = 32 | 256 | 16_384;
/// The bit of `@@OPTIONS` that must not be set: `IMPLICIT_TRANSACTIONS`.
const OPTIONS_OFF: i64 = 2;
/// READ COMMITTED in `sys.dm_exec_sessions`.
const READ_COMMITTED: i64 = 2;
/// A database that makes every commit a delayed one, in `sys.databases`.
const FORCED: i64 = 2;

/// What each session sets. A server with other defaults, or a login with its own, must not change what the store does.
const SETTINGS: &str = "SET XACT_ABORT ON; SET NOCOUNT ON; SET IMPLICIT_TRANSACTIONS OFF; \
     SET TRANSACTION ISOLATION LEVEL READ COMMITTED; SET QUOTED_IDENTIFIER ON; SET ANSI_NULLS ON; SET ANSI_PADDING ON; \
     SET ANSI_WARNINGS ON; SET ARITHABORT ON; SET CONCAT_NULL_YIELDS_NULL ON; SET NUMERIC_ROUNDABORT OFF; \
     SET TEXTSIZE 2147483647; SET LOCK_TIMEOUT ";

/// What the settings came to, and what the engine does differently on some servers. The database is found by its name:
/// its number is another one in `sys.databases` of a hosted server.
const READ_BACK: &str = "SELECT CAST(@@OPTIONS AS bigint), (SELECT MAX(CAST(s.transaction_isolation_level AS bigint)) \
     FROM sys.dm_exec_sessions s WHERE s.session_id = @@SPID), @@VERSION, \
     CAST(d.is_read_committed_snapshot_on AS bigint), CAST(d.delayed_durability AS bigint), \
     CASE WHEN IS_SRVROLEMEMBER(N'sysadmin') = 1 OR HAS_PERMS_BY_NAME(NULL, NULL, N'ALTER ANY CONNECTION') = 1 \
     THEN 1 ELSE 0 END FROM (SELECT 1 AS one) o LEFT JOIN sys.databases d ON d.name = DB_NAME()";

/// What a URL says of the server, and of the sessions there.
pub(super) struct Options {
    driver: tiberius::Config,
    address: String,
    named: bool,
    /// What stands before a table's name: the schema and a dot.
    pub(super) prefix: String,
    pub(super) delayed: bool,
    lock_timeout: Duration,
    connect_timeout: Duration,
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Options").field("address", &self.address).field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

/// What a session found out about its server. Row versions can only be switched on or off while nobody is connected, so
/// what a new session finds holds as long as it lasts.
#[derive(Debug, Clone, Copy)]
pub(super) struct Server {
    /// Postgres that speaks Transact-SQL.
    pub(super) babelfish: bool,
    /// Readers see row versions instead of waiting for locks.
    pub(super) row_versions: bool,
    /// The login may end other sessions.
    pub(super) kill: bool,
}

/// Connects to the server that a URL names.
pub(crate) async fn connect(config: &Config) -> Result<Mssql> {
    let pool = Pool::new(options(config)?, config)?;
    let server = pool.run("connect", (), |connection, ()| Box::pin(async { Ok(connection.server()) })).await?;
    Ok(Mssql { pool, server })
}

fn is_babelfish(version: Option<&str>) -> bool {
    version.is_some_and(|version| version.contains("Babelfish"))
}

/// Reads the engine's part of a configuration.
pub(super) fn options(config: &Config) -> Result<Options> {
    config.check_options(&OPTIONS)?;
    let (host, port, database) = target(config.target())?;
    let user = config.user().map(str::to_owned).or_else(|| std::env::var("SQLCMDUSER").ok());
    let password = config.password().map(str::to_owned).or_else(|| std::env::var("SQLCMDPASSWORD").ok());
    let user = user.ok_or_else(|| url_error("no user is named; write mssql://user:password@host:1433/database"))?;
    let mut driver = tiberius::Config::new();
    driver.host(&host);
    driver.database(database);
    driver.application_name(config.option("application_name").unwrap_or("annals"));
    driver.authentication(AuthMethod::sql_server(user, password.unwrap_or_default()));
    driver.handshake_timeout(Some(config.connect_timeout()));
    // Results are bounded by the statement timeout as a whole, not from packet to packet.
    driver.command_timeout(None);
    encryption(config, &mut driver)?;
    if let Some(instance) = config.option("instance") {
        driver.instance_name(instance);
    }
    if config.option("instance").is_none() || port.is_some() {
        driver.port(port.unwrap_or(1433));
    }
    let schema = config.option("schema").unwrap_or("dbo");
    if schema.is_empty() || schema.chars().count() > 128 || schema.chars().any(char::is_control) {
        return Err(url_error(format!("schema={schema:?} is not the name of a schema: 1 to 128 characters")));
    }
    let delayed = config.check_durability(&["full", "delayed"])? == "delayed";
    Ok(Options {
        address: driver.get_addr(),
        named: config.option("instance").is_some() && port.is_none(),
        driver,
        prefix: format!("{}.", quoted(Dialect::Mssql, schema)),
        delayed,
        // The server gives up first, so that its error says what was waited for.
        lock_timeout: config.statement_timeout() * 9 / 10,
        connect_timeout: config.connect_timeout(),
    })
}

/// Splits `host:port/database`.
fn target(target: &str) -> Result<(String, Option<u16>, String)> {
    let (server, database) = target.split_once('/').unwrap_or((target, ""));
    let end_of_host = server.rfind(']').map_or(0, |end| end + 1);
    let (host, port) = match server[end_of_host..].split_once(':') {
        Some((host, port)) => {
            let number = port.parse().ok().filter(|port| *port > 0);
            let number = number.ok_or_else(|| url_error(format!("port {port:?} is not a number from 1 to 65535")))?;
            (&server[..end_of_host + host.len()], Some(number))
        }
        None => (server, None),
    };
    if host.is_empty() {
        return Err(url_error("no host is named; write mssql://user:password@host:1433/database"));
    }
    if database.is_empty() {
        return Err(url_error("no database is named; write mssql://user:password@host:1433/database"));
    }
    Ok((host.to_owned(), port, database.to_owned()))
}

fn encryption(config: &Config, driver: &mut tiberius::Config) -> Result<()> {
    driver.encryption(match config.option("encrypt").map(str::to_ascii_lowercase).as_deref() {
        None | Some("yes" | "true") => EncryptionLevel::Required,
        Some("no" | "false") => EncryptionLevel::NotSupported,
        Some("login") => EncryptionLevel::Off,
        Some("strict") => EncryptionLevel::Strict,
        Some(other) => return Err(url_error(format!("encrypt={other:?} is not one of yes, no, login, strict"))),
    });
    let trust = match config.option("trust_server_certificate").map(str::to_ascii_lowercase).as_deref() {
        None | Some("no" | "false") => false,
        Some("yes" | "true") => true,
        Some(other) => return Err(url_error(format!("trust_server_certificate={other:?} is neither yes nor no"))),
    };
    match (trust, config.option("ca_file")) {
        (true, Some(_)) => {
            return Err(url_error("trust_server_certificate=yes makes ca_file useless: give one of them"));
        }
        (true, None) => driver.trust_cert(),
        (false, Some(path)) => {
            std::fs::metadata(path).map_err(|error| url_error(format!("ca_file {path:?}: {error}")))?;
            driver.trust_cert_ca(path);
        }
        (false, None) => {}
    }
    Ok(())
}

/// Opens a session and sets what it needs; reads back what a promise hangs on.
pub(super) async fn open(options: &Options) -> Result<Connection> {
    let limit = options.connect_timeout;
    let ready = async {
        let mut connection = log_in(options).await?;
        let sql = format!("{SETTINGS}{}; {READ_BACK}", options.lock_timeout.as_millis());
        let found = connection.batch("connect", &sql).await?;
        let row = found.first().and_then(|rows| rows.first()).ok_or(Error::Closed)?;
        check(row, options.delayed)?;
        let babelfish = is_babelfish(row.cell(2)?.text()?);
        let yes = |column| Ok::<_, Error>(row.cell(column)?.integer()? == Some(1));
        connection.found(Server { babelfish, row_versions: yes(3)?, kill: yes(5)? });
        // Babelfish knows the plain commit only, which promises more.
        if options.delayed && !babelfish {
            connection.delay_commits();
        }
        Ok(connection)
    };
    tokio::time::timeout(limit, ready).await.unwrap_or_else(|_| {
        let reason = format!(
            "{} did not answer within {} ms: is it a SQL Server, and does it take encrypt as it is set?",
            options.address,
            limit.as_millis()
        );
        Err(Error::backend("mssql", "connect", ErrorClass::Reconnect, reason))
    })
}

/// Refuses a session that has other settings than it was given, and a database that promises less than is asked for.
fn check(row: &Row, delayed: bool) -> Result<()> {
    let fatal = |reason: String| Err(Error::backend("mssql", "connect", ErrorClass::Fatal, reason));
    let (set, isolation) = (row.cell(0)?.integer()?, row.cell(1)?.integer()?);
    let kept = set.is_none_or(|set| set & OPTIONS_ON == OPTIONS_ON && set & OPTIONS_OFF == 0)
        && isolation.is_none_or(|level| level == READ_COMMITTED);
    if !kept {
        return fatal(format!(
            "the server did not keep the session's settings: options {set:?}, isolation {isolation:?}"
        ));
    }
    if !delayed && row.cell(4)?.integer()? == Some(FORCED) {
        return fatal(
            "the database acknowledges commits before they are durable: run \
             ALTER DATABASE CURRENT SET DELAYED_DURABILITY = ALLOWED, or ask for durability=delayed"
                .to_owned(),
        );
    }
    Ok(())
}

async fn log_in(options: &Options) -> Result<Connection> {
    let mut driver = options.driver.clone();
    let unreachable = |error: std::io::Error| {
        let reason = format!("{} can't be reached: {error}", options.address);
        Error::backend("mssql", "connect", ErrorClass::Reconnect, reason)
    };
    for _ in 0..ROUTES {
        let stream = if options.named {
            TcpStream::connect_named(&driver).await.map_err(|error| refused(options, &error))?
        } else {
            dial(&driver.get_addr()).await.map_err(unreachable)?
        };
        let stream = stream.into_std().map_err(unreachable)?;
        let probe = stream.try_clone().map_err(unreachable)?;
        let stream = TcpStream::from_std(stream).map_err(unreachable)?;
        match Box::pin(Client::connect(driver.clone(), stream.compat_write())).await {
            Ok(client) => return Ok(Connection::new(client, probe, options)),
            Err(DriverError::Routing { host, port }) => {
                driver.host(host);
                driver.port(port);
            }
            Err(error) => return Err(refused(options, &error)),
        }
    }
    let reason = format!("{} passes the connection on, again and again", options.address);
    Err(Error::backend("mssql", "connect", ErrorClass::Fatal, reason))
}

/// Says why there is no session. A server of another kind, or one that encrypts otherwise, hangs up.
fn refused(options: &Options, error: &DriverError) -> Error {
    let DriverError::Io { message, .. } = error else { return classify("connect", error, false) };
    let reason =
        format!("{} hung up ({message}): is it a SQL Server, and does it take encrypt as it is set?", options.address);
    Error::backend("mssql", "connect", ErrorClass::Reconnect, reason)
}

/// Connects to the first address of a host that answers. Keepalives notice a peer that vanished.
async fn dial(address: &str) -> std::io::Result<TcpStream> {
    let mut last = None;
    for address in lookup_host(address).await? {
        let socket = if address.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
        socket.set_keepalive(true)?;
        socket.set_nodelay(true)?;
        match socket.connect(address).await {
            Ok(stream) => return Ok(stream),
            Err(error) => last = Some(error),
        }
    }
    Err(last.unwrap_or_else(|| std::io::Error::new(std::io::ErrorKind::NotFound, "the host has no address")))
}

#[cfg(test)]
mod tests {
    use rstest::rstest;

    use super::options;
    use crate::config::Config;

    #[rstest]
    #[case::all("mssql://app:secret@db.example.com:1444/orders", "db.example.com:1444")]
    #[case::no_port("sqlserver://app:secret@db/orders", "db:1433")]
    #[case::six("mssql://app:secret@[::1]:1444/orders", "[::1]:1444")]
    #[case::six_without_port("mssql://app:secret@[::1]/orders", "[::1]:1433")]
    #[case::instance("mssql://app:secret@db/orders?instance=OTHER", "db:1434")]
    #[case::instance_of_a_connection_string("mssql:Server=db\\OTHER;Database=orders;UID=app", "db:1434")]
    fn the_address_is_that_of_the_url(#[case] url: &str, #[case] address: &str) {
        let options = options(&url.parse::<Config>().unwrap()).unwrap();
        assert_eq!(options.address, address);
        assert_eq!(options.prefix, "[dbo].");
        assert!(!format!("{options:?}").contains("secret"));
    }

    #[rstest]
    #[case::no_host("mssql://app@/orders", "no host")]
    #[case::no_database("mssql://app@db", "no database")]
    #[case::no_user("mssql://db/orders", "no user")]
    #[case::port("mssql://app@db:99999/orders", "99999")]
    #[case::encrypt("mssql://app@db/orders?encrypt=perhaps", "yes, no, login, strict")]
    #[case::trust("mssql://app@db/orders?trust_server_certificate=perhaps", "yes nor no")]
    #[case::both("mssql://app@db/orders?trust_server_certificate=yes&ca_file=x", "one of them")]
    #[case::ca_file("mssql://app@db/orders?ca_file=/no/such/file", "/no/such/file")]
    #[case::schema("mssql://app@db/orders?schema=", "schema")]
    #[case::durability("mssql://app@db/orders?durability=off", "full, delayed")]
    #[case::option("mssql://app@db/orders?colour=red", "colour")]
    fn what_cannot_be_used_is_refused_with_the_choices(#[case] url: &str, #[case] says: &str) {
        let error = options(&url.parse::<Config>().unwrap()).unwrap_err().to_string();
        assert!(error.contains(says), "{error}");
    }

    #[test]
    fn a_schema_is_quoted() {
        let config: Config = "mssql://app@db/orders?schema=odd]name".parse().unwrap();
        assert_eq!(options(&config).unwrap().prefix, "[odd]]name].");
    }
}
