//! What opening a store asks of the schema.

use std::sync::Arc;

use super::apply::Runner;
use super::catalog::Catalog;
use super::plan::{Target, plan};
use super::script::{Owner, Script};
use super::sql::Place;
use super::{Consent, ledger, schema_of};
use crate::backend::{Backend, registry};
use crate::config::Config;
use crate::error::{Error, Result};

/// Connects to the database of a configuration, and brings its schema up to date or checks it, as [`ensure`] does.
pub(crate) async fn open(config: &Config) -> Result<Arc<dyn Backend>> {
    let backend = registry::open(config).await?;
    or_close(&backend, ensure(&*backend, config)).await?;
    Ok(backend)
}

/// Does something with a backend, which is closed where that fails.
pub(crate) async fn or_close<T>(backend: &Arc<dyn Backend>, work: impl Future<Output = Result<T>>) -> Result<T> {
    let done = work.await;
    if done.is_err() {
        backend.close().await;
    }
    done
}

/// Brings the schema up to date where the configuration asks for it, and checks it otherwise: with one query, where
/// all is well.
async fn ensure(backend: &dyn Backend, config: &Config) -> Result<()> {
    let Some(dialect) = backend.capabilities().sql else { return Ok(()) };
    let place = Place { dialect, schema: schema_of(config, dialect) };
    let catalog = Catalog::built_in(dialect, place.schema);
    let mut session = backend.session().await?;
    let applied = ledger::read_at_once(&mut *session, place).await?;
    let pending = plan(&catalog, &applied, Target::Newest)
        .map_err(|fault| Error::Schema { reason: format!("the database {config}: {fault}") })?;
    let Some(first) = pending.first() else { return Ok(()) };
    if config.migrate() {
        Runner { session, place, catalog: &catalog }.run(&[Target::Newest], Consent::Withheld).await?;
        return Ok(());
    }
    let what = if applied.iter().any(|row| Owner::of(row.version) == Owner::Store) {
        format!("the event store in {config} is of an older release, and lacks {}", names(&pending, first.script))
    } else {
        format!("there is no event store in {config} yet")
    };
    Err(Error::Schema { reason: format!("{what}; run `annals migrate up --url \"{config}\"`") })
}

fn names(pending: &[super::Step<'_>], first: &Script) -> String {
    match pending.len() {
        1 => format!("migration {}", first.label()),
        more => format!("migration {} and {} more", first.label(), more - 1),
    }
}
