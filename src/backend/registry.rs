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

/// Makes URLs of a scheme open a backend of another crate.
///
/// # Errors
/// [`Error::Invalid`] where the scheme is taken.
pub fn register_backend<F, O>(scheme: &str, open: F) -> Result<()>
where
    F: Fn(Config) -> O + Send + Sync + 'static,
    O: Future<Output = Result<Arc<dyn Backend>>> + Send + 'static,
{
    let mut registered = REGISTERED.write().unwrap_or_else(PoisonError::into_inner);
    let scheme = scheme.to_ascii_lowercase();
    if registered.contains_key(&scheme) || BUILT_IN.iter().any(|(known, _)| *known == scheme) {
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
                None => Err(unknown(scheme)),
            }
        }
    }
}

fn unknown(scheme: &str) -> Error {
    let mut choices: Vec<String> =
        BUILT_IN.iter().filter(|(_, compiled)| *compiled).map(|(known, _)| (*known).to_owned()).collect();
    choices.extend(REGISTERED.read().unwrap_or_else(PoisonError::into_inner).keys().cloned());
    let choices = choices.join(", ");
    if BUILT_IN.iter().any(|(known, _)| *known == scheme) {
        let reason = format!("{scheme} is not compiled in: build with the feature {scheme:?}; there are: {choices}");
        return url_error(reason);
    }
    url_error(format!("unknown scheme {scheme:?}; there are: {choices}"))
}
