//! What every verb gets: the URL, the output, the store.

use std::cell::{RefCell, RefMut};
use std::io::ErrorKind;
use std::path::Path;

use tokio::sync::oneshot;

use super::output::Output;
use super::{Exit, Failure};
use crate::config::Config;
use crate::error::Error;
use crate::store::Store;

/// The URL and the output of one run.
#[derive(Debug)]
pub(crate) struct Context {
    /// The connection URL as it was given; it may hold a password.
    pub url: String,
    /// Whether programs read the output: one JSON object a line.
    pub json: bool,
    output: RefCell<Output>,
    store: RefCell<Option<Store>>,
    stopped: RefCell<Option<oneshot::Receiver<()>>>,
}

impl Context {
    pub(super) fn new(url: String, json: bool, stopped: Option<oneshot::Receiver<()>>) -> Self {
        let (output, store) = (RefCell::new(Output::stdout()), RefCell::default());
        Self { url, json, output, store, stopped: RefCell::new(stopped) }
    }

    /// Returns once the verb is to end its work. To be called once.
    pub(crate) fn stopped(&self) -> impl Future<Output = ()> + Send + use<> {
        let stopped = self.stopped.take();
        async {
            match stopped {
                Some(stopped) => drop(stopped.await),
                None => std::future::pending().await,
            }
        }
    }

    /// Returns standard output; not to be held across a call that prints too.
    pub(crate) fn output(&self) -> RefMut<'_, Output> {
        self.output.borrow_mut()
    }

    /// Takes the URL apart.
    pub(crate) fn config(&self) -> Result<Config, Failure> {
        Ok(self.url.parse()?)
    }

    /// Opens the store of the URL. A SQLite file that does not exist is an error, not a new file, unless the URL says
    /// `migrate=auto`. It is closed when the verb ends.
    pub(crate) async fn store(&self) -> Result<Store, Failure> {
        let config = self.config()?;
        check_file(&config)?;
        let store = Store::connect_with(config.clone()).await.map_err(|error| advised(&config, error))?;
        self.store.replace(Some(store.clone()));
        Ok(store)
    }

    /// Returns whether the topic of the open store has several lanes, so that a position alone says too little.
    pub(crate) fn has_lanes(&self) -> bool {
        self.store.borrow().as_ref().is_some_and(|store| store.topic().lanes.len() > 1)
    }

    /// Hands out what was printed of something that is done: where that fails, the failure says that it is done.
    pub(crate) fn done(&self, printed: Result<(), Failure>, done: &str) -> Result<(), Failure> {
        let flushed = printed.and_then(|()| self.output().flush());
        flushed.map_err(|failure| failure.at(&format!("{done}, but the output can't be written")))
    }

    /// Hands out what was printed, and closes the store, if one was opened.
    pub(super) async fn finish(&self) -> Result<(), Failure> {
        let store = self.store.take();
        if let Some(store) = store {
            store.close().await;
        }
        self.output().flush()
    }
}

/// Says what to do about a store that can't be opened, where the error alone does not.
pub(crate) fn advised(config: &Config, error: Error) -> Failure {
    let target = config.target().strip_prefix("//").unwrap_or(config.target());
    if config.scheme() == "sqlite" && target == ":memory:" && matches!(error, Error::Schema { .. }) {
        return Failure::usage("a database in memory begins empty: write sqlite::memory:?migrate=auto");
    }
    let refused = error.report().contains("Connection refused");
    let failure = Failure::from(error);
    let server = target.split('/').next().unwrap_or(target);
    if refused { failure.then(&format!("is the server running at {server}?")) } else { failure }
}

/// Refuses a SQLite file that is not there, which the driver would create.
pub(crate) fn check_file(config: &Config) -> Result<(), Failure> {
    let target = config.target().strip_prefix("//").unwrap_or(config.target());
    let creates = config.migrate() || config.option("mode") == Some("memory");
    if config.scheme() != "sqlite" || creates || target.starts_with(":memory:") || Path::new(target).exists() {
        return Ok(());
    }
    if let Err(error) = Path::new(target).metadata()
        && error.kind() == ErrorKind::PermissionDenied
    {
        return Err(Failure::new(Exit::Failure, format!("can't look for the database at {target}: permission denied")));
    }
    let url = format!("sqlite:{target}");
    let message = format!("there is no database at {target}: create it with `annals migrate up --url {url}`");
    Err(Failure::new(Exit::NotFound, message))
}
