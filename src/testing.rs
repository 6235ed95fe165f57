//! Helpers for the tests of applications: a fresh store for each test, a stream and an event where any will do, and
//! the rules of an aggregate without a store ([`given()`]).
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> annals::Result<()> {
//! use annals::Expected;
//! use annals::testing::{FreshDatabase, test_event, test_stream};
//!
//! // Or the URL of a server, whose schemas then are the databases.
//! let database = FreshDatabase::new("sqlite::memory:")?;
//! let store = database.store().await?;
//! store.append(&test_stream(), Expected::NoStream, [test_event("OrderPlaced")?]).await?;
//! # assert_eq!(store.query(annals::Query::new()).await?.len(), 1);
//! store.close().await;
//! database.remove().await?;
//! # Ok(())
//! # }
//! ```

mod given;

use std::path::Path;

pub use given::{Given, When, given};
use uuid::Uuid;

use crate::config::Config;
use crate::error::{Error, Result};
use crate::event::NewEvent;
use crate::store::Store;
use crate::stream::Stream;

/// A database of one test: a file beside the one that a URL names, a schema of the server's database, or memory.
#[derive(Debug)]
pub struct FreshDatabase {
    config: Config,
    schema: String,
}

impl FreshDatabase {
    /// Chooses a database that does not exist yet. Its stores bring the schema.
    ///
    /// # Errors
    /// [`Error::Url`] where the URL can't be used.
    pub fn new(url: &str) -> Result<Self> {
        Ok(Self::of(url.parse()?))
    }

    pub(crate) fn of(config: Config) -> Self {
        let schema = format!("annals_t_{}", Uuid::new_v4().simple());
        let config = config.with_migrate(true);
        let config = match config.scheme() {
            "sqlite" if config.target() == ":memory:" => config,
            "sqlite" => {
                let target = format!("{}.{schema}", config.target());
                config.with_target(&target)
            }
            _ => config.with_option("schema", &schema),
        };
        Self { config, schema }
    }

    /// Returns the URL by which stores, and other processes, reach the database.
    #[must_use]
    pub fn url(&self) -> String {
        self.config.to_url()
    }

    #[cfg(feature = "conformance")]
    pub(crate) fn schema(&self) -> &str {
        &self.schema
    }

    /// Opens a store of the database; in memory, each store has a database of its own.
    ///
    /// # Errors
    /// As [`Store::connect`].
    pub async fn store(&self) -> Result<Store> {
        Store::connect_with(self.config.clone()).await
    }

    /// Removes the database. Its stores are to be closed before.
    ///
    /// # Errors
    /// [`Error::Backend`] where the server refuses, and [`Error::Invalid`] where a file can't be removed.
    pub async fn remove(&self) -> Result<()> {
        if self.config.scheme() == "sqlite" {
            return remove_file(self.config.target());
        }
        let backend = crate::backend::registry::open(&self.config).await?;
        let removed = async {
            let Some(dialect) = backend.capabilities().sql else { return Ok(()) };
            crate::migrate::remove_schema(backend.session().await?, dialect, &self.schema).await.map(drop)
        };
        let removed = removed.await;
        backend.close().await;
        removed
    }
}

/// Returns a stream of the category `test`, with an id of its own.
#[must_use]
pub fn test_stream() -> Stream {
    Stream::unchecked("test", format!("test-{}", Uuid::now_v7()))
}

/// Returns an event of a type, whose data says so.
///
/// # Errors
/// [`Error::Invalid`] and [`Error::Limit`] where the type is not a name.
pub fn test_event(event_type: &str) -> Result<NewEvent> {
    NewEvent::json(event_type, &serde_json::json!({"test": event_type}))
}

/// Removes a SQLite database: the file, and what stands beside it while it is open.
fn remove_file(target: &str) -> Result<()> {
    if target == ":memory:" {
        return Ok(());
    }
    for suffix in ["", "-wal", "-shm", "-journal"] {
        let path = format!("{target}{suffix}");
        if Path::new(&path).exists() {
            std::fs::remove_file(&path).map_err(|error| Error::invalid("file", format!("{path:?}: {error}")))?;
        }
    }
    Ok(())
}
