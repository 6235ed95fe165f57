//! Creating and dropping whole databases.

use std::fs;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use super::catalog::unreadable;
use super::sql::{Place, find_database, maintenance_database, schemas};
use super::{Consent, consent_missing, ledger};
#[cfg(feature = "testing")]
use super::{apply::Runner, catalog::Catalog, plan::Target};
use crate::backend::{Backend, Session, registry};
use crate::config::{Config, url_error};
use crate::error::{Error, Result};
use crate::schema::quoted;
use crate::sql::Dialect;

/// What a file of SQLite begins with.
const MAGIC: &[u8] = b"SQLite format 3\0";

/// Creates the database of a configuration, and returns whether it was missing. The schema is for
/// [`Migrator::up`](super::Migrator::up) to make.
///
/// # Errors
/// [`Error::Url`] where the URL names no database that could be created, and what the server or file system answers.
pub async fn create_database(config: &Config) -> Result<bool> {
    match dialect_of(config)? {
        Dialect::Sqlite => {
            let existed = Path::new(file_of(config)?).exists();
            registry::open(config).await?.close().await;
            Ok(!existed)
        }
        dialect @ (Dialect::Postgres | Dialect::Mssql) => {
            let (maintenance, name) = maintenance(config, dialect)?;
            let backend = registry::open(&maintenance).await?;
            let created = create_on_server(&*backend, dialect, &name).await;
            backend.close().await;
            created
        }
    }
}

async fn create_on_server(backend: &dyn Backend, dialect: Dialect, name: &str) -> Result<bool> {
    let mut session = backend.session().await?;
    if !session.query(&find_database(dialect, name)).await?.is_empty() {
        return Ok(false);
    }
    session.execute(&format!("CREATE DATABASE {}", quoted(dialect, name))).await?;
    Ok(true)
}

/// Drops the database of a configuration with all that it holds, the tables of others included: on SQLite the file,
/// elsewhere the whole database, and not only the schema.
///
/// # Errors
/// [`Error::ConsentMissing`] without consent, whether there are events or not. [`Error::Url`] and [`Error::Invalid`]
/// where there is no such database or the file is not of SQLite. What the server or file system answers, for instance
/// while others are connected.
pub async fn drop_database(config: &Config, consent: Consent) -> Result<()> {
    let dialect = dialect_of(config)?;
    if dialect == Dialect::Sqlite {
        check_file(Path::new(file_of(config)?))?;
    }
    let backend = registry::open(config).await?;
    let outcome = check_consent(&backend, dialect, consent).await;
    backend.close().await;
    let session = outcome?;
    match dialect {
        Dialect::Sqlite => drop_file(session, Path::new(file_of(config)?)).await,
        Dialect::Postgres | Dialect::Mssql => {
            drop(session);
            drop_on_server(config, dialect).await
        }
    }
}

async fn check_consent(backend: &Arc<dyn Backend>, dialect: Dialect, consent: Consent) -> Result<Box<dyn Session>> {
    let mut session = backend.session().await?;
    if consent == Consent::Withheld {
        let events = count_all_events(&mut *session, dialect).await?;
        return Err(consent_missing("dropping the database", events));
    }
    Ok(session)
}

/// Counts the events of every schema of the database.
async fn count_all_events(session: &mut dyn Session, dialect: Dialect) -> Result<u64> {
    let mut events = 0;
    for row in session.query(&schemas(dialect)).await? {
        for schema in row.into_iter().flatten() {
            events += ledger::count_events(session, Place { dialect, schema: &schema }).await?;
        }
    }
    Ok(events)
}

/// Leaving the write-ahead log needs the file for oneself, so that no other process loses it under its hands.
async fn drop_file(mut session: Box<dyn Session>, path: &Path) -> Result<()> {
    let rows = session.query("PRAGMA journal_mode = DELETE").await?;
    if ledger::cell(&rows) != Some("delete") {
        let reason = format!("{} is open elsewhere: end the programs that use it first", path.display());
        return Err(Error::invalid("database", reason));
    }
    drop(session);
    fs::remove_file(path).map_err(|error| unreadable(path, &error))?;
    for suffix in ["-wal", "-shm"] {
        let mut beside = path.as_os_str().to_owned();
        beside.push(suffix);
        match fs::remove_file(Path::new(&beside)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(unreadable(Path::new(&beside), &error));
            }
            _ => {}
        }
    }
    Ok(())
}

async fn drop_on_server(config: &Config, dialect: Dialect) -> Result<()> {
    let (maintenance, name) = maintenance(config, dialect)?;
    let backend = registry::open(&maintenance).await?;
    let outcome = async {
        let mut session = backend.session().await?;
        session.execute(&format!("DROP DATABASE {}", quoted(dialect, &name))).await
    };
    let outcome = outcome.await;
    backend.close().await;
    outcome
}

/// Makes a schema of a server with the event store in it, for databases of tests, and gives the session back.
#[cfg(feature = "conformance")]
pub(crate) async fn create_schema(
    session: Box<dyn Session>,
    dialect: Dialect,
    schema: &str,
) -> Result<Box<dyn Session>> {
    let catalog = Catalog::built_in(dialect, schema);
    let mut runner = Runner { session, place: Place { dialect, schema }, catalog: &catalog };
    runner.run(&[Target::Newest], Consent::Withheld).await?;
    Ok(runner.session)
}

/// Removes a schema of a server with all that the event store has in it, for databases of tests, and gives the session
/// back.
#[cfg(feature = "testing")]
pub(crate) async fn remove_schema(
    mut session: Box<dyn Session>,
    dialect: Dialect,
    schema: &str,
) -> Result<Box<dyn Session>> {
    match dialect {
        Dialect::Sqlite => Ok(session),
        Dialect::Postgres => {
            let drop = format!("DROP SCHEMA IF EXISTS {} CASCADE", quoted(dialect, schema));
            let mut tries = 1;
            // A read that nobody waits for any more may still hold locks for a moment, and a deadlock is broken either way.
            while let Err(error) = session.execute(&drop).await {
                if !error.is_retryable() || tries == 5 {
                    return Err(error);
                }
                tries += 1;
            }
            Ok(session)
        }
        Dialect::Mssql => {
            let place = Place { dialect, schema };
            if !ledger::exists(&mut *session, place).await? {
                return Ok(session);
            }
            let catalog = Catalog::built_in(dialect, schema);
            let mut runner = Runner { session, place, catalog: &catalog };
            runner.run(&[Target::DownTo(0)], Consent::Given).await?;
            runner.session.execute(&place.drop_bookkeeping()).await?;
            // What a case has made itself.
            let others = format!("SELECT t.name FROM sys.tables t WHERE t.schema_id = SCHEMA_ID(N'{schema}')");
            for table in runner.session.query(&others).await?.concat().into_iter().flatten() {
                let (schema, table) = (quoted(dialect, schema), quoted(dialect, &table));
                runner.session.execute(&format!("DROP TABLE {schema}.{table}")).await?;
            }
            runner.session.execute(&format!("DROP SCHEMA {}", quoted(dialect, schema))).await?;
            Ok(runner.session)
        }
    }
}

fn dialect_of(config: &Config) -> Result<Dialect> {
    config.scheme().parse().map_err(|_| url_error(format!("{} has no databases to create or drop", config.scheme())))
}

/// Returns the path of a SQLite database.
fn file_of(config: &Config) -> Result<&str> {
    if config.is_memory() {
        return Err(url_error("a database in memory is neither created nor dropped: it comes and goes with its store"));
    }
    Ok(config.target().strip_prefix("//").unwrap_or(config.target()))
}

fn check_file(path: &Path) -> Result<()> {
    let mut begin = Vec::new();
    let read = fs::File::open(path).and_then(|file| file.take(MAGIC.len() as u64).read_to_end(&mut begin));
    read.map_err(|error| unreadable(path, &error))?;
    if begin == MAGIC {
        return Ok(());
    }
    Err(Error::invalid("database", format!("{} is not a SQLite database, and is left alone", path.display())))
}

/// Returns how to reach the database from which others are created and dropped, and the name of the one in question.
fn maintenance(config: &Config, dialect: Dialect) -> Result<(Config, String)> {
    let (hosts, name) = config
        .target()
        .trim_start_matches('/')
        .split_once('/')
        .filter(|(_, name)| !name.is_empty())
        .ok_or_else(|| url_error(format!("no database is named; write {dialect}://host/database")))?;
    let maintenance = maintenance_database(dialect);
    if name == maintenance {
        return Err(url_error(format!("{name:?} is the server's own database: it is neither created nor dropped")));
    }
    Ok((config.clone().with_target(&format!("{hosts}/{maintenance}")).with_migrate(false), name.to_owned()))
}
