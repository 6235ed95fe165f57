//! Migrations: bringing a database's schema to the version that this program knows, and back.
//!
//! What is known ([`Catalog`]: the event store's own migrations, and the application's from a directory) is compared
//! with what was applied (the table `annals_migrations`) by [`plan`], which is pure. A [`Migrator`] makes the steps:
//! under a lock, so that concurrent runners make each once, and a transaction each, together with its row of the
//! bookkeeping.

mod apply;
mod batches;
mod catalog;
mod check;
mod database;
mod files;
mod ledger;
mod plan;
mod print;
mod script;
mod sql;

use std::path::Path;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::backend::{Backend, Session, registry};
use crate::config::Config;
use crate::error::{Error, Result};
use crate::schema;
use crate::sql::Dialect;
use apply::Runner;
use sql::Place;

#[cfg(feature = "mssql")]
pub(crate) use batches::batches;
pub use catalog::Catalog;
pub(crate) use check::{open, or_close};
#[cfg(feature = "conformance")]
pub(crate) use database::create_schema;
#[cfg(feature = "testing")]
pub(crate) use database::remove_schema;
pub use database::{create_database, drop_database};
pub use files::{create_files, generate};
pub use plan::{Applied, Direction, Fault, Step, Target, plan};
pub use script::{Owner, RESERVED, Script};

/// The target of going all the way down: what is left are the migrations of the application that come before the event
/// store's.
pub const BEFORE_STORE: i32 = schema::FIRST_VERSION - 1;

/// Whether the caller agrees to lose events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Consent {
    /// Where there are events, the operation is refused, and the error says how many.
    Withheld,
    /// Events are deleted for good.
    Given,
}

/// Where a migration stands in a database.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Status {
    /// The number.
    pub version: i32,
    /// The name; where it was applied under another, that one.
    pub name: String,
    /// What is known of it.
    pub state: State,
    /// When it was applied.
    pub applied_at: Option<DateTime<Utc>>,
}

/// What is known of a migration in a database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Known, and not applied.
    Pending,
    /// Applied as it is known.
    Applied,
    /// Applied with another text than the one that is known.
    Changed,
    /// Applied, and not known here: of a later release, or of the application.
    Unknown,
}

/// Migrates the schema of one database.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> annals::Result<()> {
/// use annals::migrate::{BEFORE_STORE, Consent, Migrator};
///
/// let migrator = Migrator::connect(&"sqlite::memory:".parse()?).await?;
/// let applied = migrator.up(None).await?;
/// assert_eq!(applied.first().map(|step| step.script.version), Some(BEFORE_STORE + 1));
/// assert!(migrator.up(None).await?.is_empty());
/// migrator.down(BEFORE_STORE, Consent::Withheld).await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct Migrator {
    backend: Arc<dyn Backend>,
    dialect: Dialect,
    schema: String,
    catalog: Catalog,
}

impl Migrator {
    /// Connects to the database of a configuration, and changes nothing yet.
    ///
    /// # Errors
    /// [`Error::Url`] and [`Error::Backend`] where the database can't be reached; [`Error::Unsupported`] where it has no
    /// SQL.
    pub async fn connect(config: &Config) -> Result<Self> {
        Self::new(registry::open(config).await?, config)
    }

    /// Uses a backend that is connected already.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the backend has no SQL.
    pub fn new(backend: Arc<dyn Backend>, config: &Config) -> Result<Self> {
        let Some(dialect) = backend.capabilities().sql else {
            return Err(Error::Unsupported { backend: backend.name(), what: "migrations" });
        };
        let schema = schema_of(config, dialect).to_owned();
        let catalog = Catalog::built_in(dialect, &schema);
        Ok(Self { backend, dialect, schema, catalog })
    }

    /// Adds the application's migrations from a directory.
    ///
    /// # Errors
    /// As [`Catalog::with_directory`].
    pub fn with_directory(mut self, directory: &Path) -> Result<Self> {
        self.catalog = self.catalog.with_directory(directory)?;
        Ok(self)
    }

    /// Applies what is pending, up to and with a number or all of it, and returns the steps that were made here.
    ///
    /// # Errors
    /// [`Error::Schema`] where what was applied and what is known don't fit (see [`Fault`]), [`Error::Deadline`] where
    /// another runner does not end, and what the database says of a statement. Steps before the failing one stay.
    pub async fn up(&self, to: Option<i32>) -> Result<Vec<Step<'_>>> {
        self.run(&[to.map_or(Target::Newest, Target::UpTo)], Consent::Withheld).await
    }

    /// Undoes what was applied beyond a number, [`BEFORE_STORE`] for all of the event store, and returns the steps that
    /// were made here.
    ///
    /// # Errors
    /// [`Error::ConsentMissing`] where events would be lost without consent, and as [`Migrator::up`].
    pub async fn down(&self, to: i32, consent: Consent) -> Result<Vec<Step<'_>>> {
        self.run(&[Target::DownTo(to)], consent).await
    }

    /// Undoes all of the event store and applies everything again.
    ///
    /// # Errors
    /// As [`Migrator::down`].
    pub async fn reset(&self, consent: Consent) -> Result<Vec<Step<'_>>> {
        self.run(&[Target::DownTo(BEFORE_STORE), Target::Newest], consent).await
    }

    /// Returns the steps that a run to a target would make.
    ///
    /// # Errors
    /// [`Error::Schema`] where what was applied and what is known don't fit.
    pub async fn plan(&self, target: Target) -> Result<Vec<Step<'_>>> {
        Ok(plan(&self.catalog, &self.applied().await?, target)?)
    }

    /// Returns a run to a target as a script for `sqlite3`, `psql` or `sqlcmd`, with the rows of the bookkeeping.
    ///
    /// # Errors
    /// As [`Migrator::plan`].
    pub async fn script(&self, target: Target) -> Result<String> {
        let applied = self.applied().await?;
        Ok(print::script(self.place(), &plan(&self.catalog, &applied, target)?, applied.is_empty()))
    }

    /// Returns every migration that is known or was applied, by number. What does not fit is shown, and no error.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn status(&self) -> Result<Vec<Status>> {
        let applied = self.applied().await?;
        let is_applied = |version| applied.iter().any(|row| row.version == version);
        let pending = self.catalog.scripts().iter().filter(|script| !is_applied(script.version)).map(|script| Status {
            version: script.version,
            name: script.name.clone(),
            state: State::Pending,
            applied_at: None,
        });
        let mut all: Vec<Status> = applied.iter().map(|row| self.status_of(row)).chain(pending).collect();
        all.sort_unstable_by_key(|status| status.version);
        Ok(all)
    }

    fn status_of(&self, row: &Applied) -> Status {
        let state = match self.catalog.find(row.version) {
            None => State::Unknown,
            Some(script) if script.checksum() == row.checksum => State::Applied,
            Some(_) => State::Changed,
        };
        Status { version: row.version, name: row.name.clone(), state, applied_at: Some(row.applied_at) }
    }

    /// Counts the events of all topics, which going down would lose.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn count_events(&self) -> Result<u64> {
        ledger::count_events(&mut *self.session().await?, self.place()).await
    }

    /// Compares the live schema with the model, and returns a line for each difference.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn differences(&self) -> Result<Vec<String>> {
        schema::inspect::differences(&mut *self.session().await?, self.dialect, &self.schema).await
    }

    /// Opens a connection that runs SQL, where bare names mean the schema's tables, SQL Server apart.
    ///
    /// # Errors
    /// What the database answers.
    pub async fn session(&self) -> Result<Box<dyn Session>> {
        self.backend.session().await
    }

    /// Returns what is known.
    #[must_use]
    pub const fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// Closes the connections.
    pub async fn close(&self) {
        self.backend.close().await;
    }

    async fn applied(&self) -> Result<Vec<Applied>> {
        ledger::read(&mut *self.session().await?, self.place()).await
    }

    async fn run(&self, targets: &[Target], consent: Consent) -> Result<Vec<Step<'_>>> {
        let session = self.session().await?;
        Runner { session, place: self.place(), catalog: &self.catalog }.run(targets, consent).await
    }

    fn place(&self) -> Place<'_> {
        Place { dialect: self.dialect, schema: &self.schema }
    }
}

/// Returns the schema that holds the tables.
fn schema_of(config: &Config, dialect: Dialect) -> &str {
    config.option("schema").unwrap_or_else(|| schema::default_schema(dialect))
}

fn consent_missing(operation: &'static str, events: u64) -> Error {
    Error::ConsentMissing { operation, events }
}
