//! Where cases run: fresh databases, and what a case gets of one.

use std::fmt::Debug;
use std::path::PathBuf;
use std::sync::Arc;

use async_trait::async_trait;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};

use super::keepers::Keepers;
use crate::config::Config;
use crate::error::{Error, Result};
use crate::event::NewEvent;
use crate::store::Store;
use crate::stream::{Expected, Stream};
use crate::testing::FreshDatabase;

/// Gives each case a fresh database of the backend that is to be proved.
#[async_trait]
pub trait Harness: Debug + Send + Sync + 'static {
    /// Makes an empty database, with the schema in place.
    async fn fresh(&self) -> Result<Arc<dyn Database>>;

    /// Returns the `annals` program, for the cases that run several processes.
    fn program(&self) -> Option<PathBuf> {
        None
    }
}

/// A database of one case.
#[async_trait]
pub trait Database: Debug + Send + Sync + 'static {
    /// Opens a store with connections of its own; `options` are set over those of the URL.
    async fn open(&self, options: &[(&str, &str)]) -> Result<Store>;

    /// Returns the URL by which the database is reached, by other processes too where the backend lets them.
    fn url(&self) -> Option<String> {
        None
    }

    /// Removes the database, after its stores were closed.
    async fn remove(&self) -> Result<()>;
}

/// What a case gets: a store on a fresh database, and the means to open more.
#[derive(Debug, Clone)]
pub struct Fixture {
    /// A store on the case's database.
    pub store: Store,
    /// The case's database.
    pub database: Arc<dyn Database>,
    /// The `annals` program.
    pub program: Option<PathBuf>,
}

impl Fixture {
    /// Opens another store of the same database, with connections of its own.
    ///
    /// # Errors
    /// What the backend answers.
    pub async fn another(&self) -> Result<Store> {
        self.database.open(&[]).await
    }

    /// Returns a stream of the category `thing`.
    ///
    /// # Errors
    /// Where the id is not a name.
    pub fn stream(&self, id: &str) -> Result<Stream> {
        Stream::new("thing", id)
    }

    /// Returns an event of a type, with small data.
    ///
    /// # Errors
    /// Where the type is not a name.
    pub fn event(&self, event_type: &str) -> Result<NewEvent> {
        NewEvent::json(event_type, &serde_json::json!({"of": event_type}))
    }

    /// Returns a number of events of the type `Happened`.
    ///
    /// # Errors
    /// Never, as the type is a name.
    pub fn events(&self, count: usize) -> Result<Vec<NewEvent>> {
        (0..count).map(|number| NewEvent::json("Happened", &serde_json::json!({"number": number}))).collect()
    }

    /// Appends a number of events to a stream of the category `thing`, and returns the stream.
    ///
    /// # Errors
    /// What the backend answers.
    pub async fn filled(&self, id: &str, count: usize) -> Result<Stream> {
        let stream = self.stream(id)?;
        self.store.append(&stream, Expected::Any, self.events(count)?).await?;
        Ok(stream)
    }
}

/// Makes the databases of cases from a connection URL: a file beside the one that the URL names, or a schema of the
/// server's database.
#[derive(Debug)]
pub struct UrlHarness {
    config: Config,
    program: Option<PathBuf>,
    keepers: Option<Arc<Keepers>>,
    lanes: u16,
}

/// The topic of the cases where it has several lanes; `default` has one.
const WIDE_TOPIC: &str = "suite";

impl UrlHarness {
    /// Uses the database of a URL.
    ///
    /// # Errors
    /// [`crate::Error::Url`] where the URL can't be used.
    pub fn new(url: &str, program: Option<PathBuf>) -> Result<Self> {
        let config = url.parse::<Config>()?.with_topic("default")?;
        let keepers = (config.scheme() == "mssql").then(|| Arc::new(Keepers::new(config.clone())));
        Ok(Self { config, program, keepers, lanes: 1 })
    }

    /// Gives each case a topic of several lanes. A database in memory can't have one, as each store has its own.
    ///
    /// # Errors
    /// [`crate::Error::Invalid`] for a database in memory.
    pub fn with_lanes(mut self, lanes: u16) -> Result<Self> {
        if lanes > 1 && self.config.scheme() == "sqlite" && self.config.target() == ":memory:" {
            return Err(Error::invalid("lanes", "a database in memory has one; name a file"));
        }
        self.lanes = lanes;
        Ok(self)
    }

    /// Returns whether the databases are schemas of a server, and not files or memory of this process.
    #[must_use]
    pub fn is_server(&self) -> bool {
        self.config.scheme() != "sqlite"
    }
}

#[async_trait]
impl Harness for UrlHarness {
    async fn fresh(&self) -> Result<Arc<dyn Database>> {
        let database = FreshDatabase::of(self.config.clone());
        if let Some(keepers) = &self.keepers {
            keepers.create(database.schema()).await?;
        }
        let mut topic = None;
        if self.lanes > 1 {
            let store = database.store().await?;
            let created = store.create_topic(WIDE_TOPIC, self.lanes).await;
            store.close().await;
            topic = Some(created?.name);
        }
        Ok(Arc::new(UrlDatabase { database, keepers: self.keepers.clone(), topic }))
    }

    fn program(&self) -> Option<PathBuf> {
        self.program.clone()
    }
}

#[derive(Debug)]
struct UrlDatabase {
    database: FreshDatabase,
    keepers: Option<Arc<Keepers>>,
    topic: Option<String>,
}

impl UrlDatabase {
    fn topic_url(&self) -> String {
        match &self.topic {
            Some(topic) => with_options(&self.database.url(), &[("topic", topic)]),
            None => self.database.url(),
        }
    }
}

#[async_trait]
impl Database for UrlDatabase {
    async fn open(&self, options: &[(&str, &str)]) -> Result<Store> {
        Store::connect(&with_options(&self.topic_url(), options)).await
    }

    fn url(&self) -> Option<String> {
        Some(self.topic_url())
    }

    async fn remove(&self) -> Result<()> {
        match &self.keepers {
            Some(keepers) => keepers.remove(self.database.schema()).await,
            None => self.database.remove().await,
        }
    }
}

/// Returns a URL with options set, in the place of those that it has by the same names; for [`Database::open`].
#[must_use]
pub fn with_options(url: &str, options: &[(&str, &str)]) -> String {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let name = |pair: &str| pair.split_once('=').map_or(String::new(), |(name, _)| name.to_owned());
    let kept = query.split('&').filter(|pair| !pair.is_empty() && !options.iter().any(|(set, _)| name(pair) == *set));
    let set = options.iter().map(|(name, value)| format!("{name}={}", utf8_percent_encode(value, NON_ALPHANUMERIC)));
    let pairs: Vec<String> = kept.map(str::to_owned).chain(set).collect();
    format!("{base}?{}", pairs.join("&"))
}
