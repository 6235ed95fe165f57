//! Sessions that make and remove the schemas of cases on SQL Server.
//!
//! They stay open from case to case: a login is dear there, and Babelfish takes seconds to parse what a session has not
//! seen before.

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::OnceCell;

use crate::backend::{Backend, Session, registry};
use crate::config::Config;
use crate::error::Result;
use crate::migrate;
use crate::sql::Dialect;

pub(super) struct Keepers {
    config: Config,
    backend: OnceCell<Arc<dyn Backend>>,
    idle: Mutex<Vec<Box<dyn Session>>>,
}

impl fmt::Debug for Keepers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Keepers").field("config", &self.config).finish_non_exhaustive()
    }
}

impl Keepers {
    pub(super) fn new(config: Config) -> Self {
        Self { config, backend: OnceCell::new(), idle: Mutex::default() }
    }

    /// Makes a schema with the event store in it.
    pub(super) async fn create(&self, schema: &str) -> Result<()> {
        let session = migrate::create_schema(self.session().await?, Dialect::Mssql, schema).await?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
        Ok(())
    }

    /// Removes a schema with the event store in it.
    pub(super) async fn remove(&self, schema: &str) -> Result<()> {
        let session = migrate::remove_schema(self.session().await?, Dialect::Mssql, schema).await?;
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(session);
        Ok(())
    }

    /// Takes an idle session that still answers, or opens one.
    async fn session(&self) -> Result<Box<dyn Session>> {
        while let Some(mut session) = self.take() {
            if session.query("SELECT N'1'").await.is_ok() {
                return Ok(session);
            }
        }
        let backend = self.backend.get_or_try_init(|| registry::open(&self.config)).await?;
        backend.session().await
    }

    fn take(&self) -> Option<Box<dyn Session>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }
}
