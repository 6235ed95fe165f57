//! Which backend a URL's scheme names.

use std::collections::BTreeMap;
use std::sync::{Arc, PoisonError, RwLock};

use futures::future::BoxFuture;

use super::Backend;
use crate::config::{Config, url_error};
use crate::error::{Error, Result};

type Factory = Arc<dyn Fn(Config) -> BoxFuture<'static, Result<Arc<dyn Backend>>> + Send + Sync>;

/// The schemes that were registered at run time.
static REGISTERED: RwLock<BTreeMap<String, Factory>> = RwLock::new(BTreeMap::new());

/// Every scheme that the crate itself brings, with whether it is compiled in.
const BUILT_IN: [(&str, bool); 3] = [
    ("sqlite", cfg!(feature = "sqlite")),
    ("postgres", cfg!(feature = "postgres")),
    ("mssql", cfg!(feature = "mssql")),
];

/// What topics call SQLite in memory, and a SQLite file, as adapters.
pub(crate) const ALIASES: [&str; 2] = ["memory", "file"];

/// Makes URLs of a scheme open a backend of another crate, and topics have it as their adapter.
///
/// # Errors
/// [`Error::Invalid`] where the scheme is taken.
pub fn register_adapter<F, O>(scheme: &str, open: F) -> Result<()>
where
    F: Fn(Config) -> O + Send + Sync + 'static,
    O: Future<Output = Result<Arc<dyn Backend>>> + Send + 'static,
{
    let mut registered = REGISTERED.write().unwrap_or_else(PoisonError::into_inner);
    let scheme = scheme.to_ascii_lowercase();
    let mut taken = BUILT_IN.iter().map(|(known, _)| *known).chain(ALIASES);
    if registered.contains_key(&scheme) || taken.any(|known| known == scheme) {
        return Err(Error::invalid("scheme", format!("{scheme:?} is taken")));
    }
    registered.insert(scheme, Arc::new(move |config| Box::pin(open(config))));
    Ok(())
}

/// Connects the backend that a configuration's scheme names.
pub(crate) async fn open(config: &Config) -> Result<Arc<dyn Backend>> {
    match config.scheme() {
        #[cfg(feature = "sqlite")]
        "sqlite" => Ok(Arc::new(super::engine::SqlBackend(super::sqlite::connect(config).await?))),
        #[cfg(feature = "postgres")]
        "postgres" => Ok(Arc::new(super::engine::SqlBackend(super::postgres::connect(config).await?))),
        #[cfg(feature = "mssql")]
        "mssql" => Ok(Arc::new(super::engine::SqlBackend(super::mssql::connect(config).await?))),
        scheme => {
            let factory = REGISTERED.read().unwrap_or_else(PoisonError::into_inner).get(scheme).cloned();
            match factory {
                Some(open) => open(config.clone()).await,
                None => Err(url_error(refusal("scheme", scheme, &[]))),
            }
        }
    }
}

/// Returns whether there is a backend of a scheme.
pub(crate) fn is_known(scheme: &str) -> bool {
    BUILT_IN.iter().any(|(known, compiled)| *compiled && *known == scheme)
        || REGISTERED.read().unwrap_or_else(PoisonError::into_inner).contains_key(scheme)
}

/// Says why there is no backend of a name, and which ones there are; those of other names first.
pub(crate) fn refusal(what: &str, name: &str, others: &[&str]) -> String {
    let compiled = BUILT_IN.iter().filter(|(_, compiled)| *compiled).map(|(known, _)| *known);
    let mut choices: Vec<String> = others.iter().copied().chain(compiled).map(str::to_owned).collect();
    choices.extend(REGISTERED.read().unwrap_or_else(PoisonError::into_inner).keys().cloned());
    let choices = choices.join(", ");
    if BUILT_IN.iter().any(|(known, _)| *known == name) {
        return format!("{name} is not compiled in: build with the feature {name:?}; there are: {choices}");
    }
    format!("unknown {what} {name:?}; there are: {choices}")
}
