//! What every verb gets: the URL, the output, the store.

use std::cell::{Cell, RefCell, RefMut};
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;

use tokio::sync::oneshot;

use super::output::Output;
use super::{Exit, Failure, parse};
use crate::append::{Append, Appended};
use crate::backend::Topic;
use crate::config::Config;
use crate::error::Error;
use crate::store::Store;
use crate::topics::{CONFIG_TOPIC, Topics};

/// The topic of a URL that names none, which every database has.
pub(super) const DEFAULT_TOPIC: &str = "default";

/// The URL and the output of one run.
#[derive(Debug)]
pub(crate) struct Context {
    /// The connection URL as it was given; it may hold a password.
    pub url: String,
    /// Whether programs read the output: one JSON object a line.
    pub json: bool,
    /// The topic that `--topic` names.
    pub topic: Option<String>,
    output: RefCell<Output>,
    store: RefCell<Option<Store>>,
    topics: RefCell<Option<Topics>>,
    /// How many lanes the open topic has.
    lanes: Cell<usize>,
    stopped: RefCell<Option<oneshot::Receiver<()>>>,
}

impl Context {
    pub(super) fn new(url: String, topic: Option<String>, json: bool, stopped: Option<oneshot::Receiver<()>>) -> Self {
        let (output, stopped) = (RefCell::new(Output::stdout()), RefCell::new(stopped));
        Self {
            url,
            topic,
            json,
            output,
            store: RefCell::default(),
            topics: RefCell::default(),
            lanes: Cell::new(1),
            stopped,
        }
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

    /// Checks that events of the caller's own may be appended to the topic that is asked for.
    pub(super) fn check_topic(&self) -> Result<(), Failure> {
        self.check_topic_of(DEFAULT_TOPIC)
    }

    /// As [`Context::check_topic`], where the topic of a name is meant unless another is asked for.
    pub(super) fn check_topic_of(&self, name: &str) -> Result<(), Failure> {
        if self.topic_or(name)? == CONFIG_TOPIC {
            let reason = "topic \"topics\" keeps the configuration of topics, which anything else would make unreadable: \
                          change it with `annals topic`";
            return Err(Failure::usage(reason));
        }
        Ok(())
    }

    /// Opens the store of the topic that is asked for: of `--topic`, which may be in another database, or of the URL.
    pub(crate) async fn store(&self) -> Result<Store, Failure> {
        match &self.topic {
            Some(topic) => self.store_of(self.any().await?, topic, None).await,
            None => self.open(self.config()?).await,
        }
    }

    /// Opens the store of the topic that is asked for, or else of the topic of a name. It is created, with so many lanes,
    /// where there is none.
    pub(crate) async fn store_for(&self, topic: &str, lanes: u16) -> Result<Store, Failure> {
        let topic = self.topic_or(topic)?;
        self.store_of(self.any().await?, &topic, Some(lanes)).await
    }

    /// Returns the topic that is asked for, or else a name.
    fn topic_or(&self, name: &str) -> Result<String, Failure> {
        let config = self.config()?;
        let of_url = Some(config.topic()).filter(|topic| *topic != DEFAULT_TOPIC);
        Ok(self.topic.as_deref().or(of_url).unwrap_or(name).to_owned())
    }

    async fn store_of(&self, base: Store, topic: &str, lanes: Option<u16>) -> Result<Store, Failure> {
        let known = base.backend().topics().await?;
        let is_known = known.iter().any(|known| known.name == topic);
        let topics = self.topics_of(&known).await?;
        let configured = topics.filter(|topics| !matches!(topics.get(topic), Err(Error::UnknownTopic { .. })));
        let store = match (configured, lanes) {
            (Some(topics), _) => topics.store(topic).await?,
            (None, None) if !is_known => return Err(self.unknown(topic, known)?),
            (None, lanes) => {
                if let Some(lanes) = lanes.filter(|_| !is_known) {
                    base.create_topic(topic, lanes).await?;
                }
                Store::shared(Arc::clone(base.backend()), &self.config()?.with_topic(topic)?).await?
            }
        };
        self.lanes.set(store.topic().lanes.len());
        Ok(store)
    }

    /// Commits a request in the topic that is asked for; one that is configured is followed where it is moved meanwhile.
    pub(crate) async fn commit(&self, append: Append) -> Result<Result<Appended, Error>, Failure> {
        let store = self.store().await?;
        let topics = self.topics.borrow().clone().zip(self.topic.as_deref());
        Ok(match topics.filter(|(topics, topic)| topics.get(topic).is_ok()) {
            Some((topics, topic)) => topics.commit(topic, append).await,
            None => store.commit(append).await,
        })
    }

    /// Says that there is no such topic, neither configured nor in the database.
    fn unknown(&self, topic: &str, known: Vec<Topic>) -> Result<Failure, Failure> {
        let mut names: Vec<String> = known.into_iter().map(|topic| topic.name).collect();
        if let Some(topics) = &*self.topics.borrow() {
            names.extend(topics.list()?.into_iter().map(|topic| topic.config.name().to_owned()));
        }
        names.sort_unstable();
        names.dedup();
        Ok(Error::UnknownTopic { topic: topic.to_owned(), known: names.join(", ") }.into())
    }

    /// Opens a store through which the other topics of the database are reached: that of the URL, or one that almost every database
    /// has.
    pub(crate) async fn any(&self) -> Result<Store, Failure> {
        let config = self.config()?;
        let mut opened = self.open(config.clone()).await;
        for topic in [DEFAULT_TOPIC, CONFIG_TOPIC] {
            match opened {
                Err(failure) if failure.exit == Exit::NotFound => {
                    opened = self.open(config.clone().with_topic(topic)?).await.map_err(|_| failure);
                }
                opened => return opened,
            }
        }
        opened
    }

    /// Opens the store of a URL. A SQLite file that does not exist is an error, not a new file, unless the URL says
    /// `migrate=auto`. It is closed when the verb ends.
    async fn open(&self, config: Config) -> Result<Store, Failure> {
        check_file(&config)?;
        let store = Store::connect_with(config.clone()).await.map_err(|error| advised(&config, error))?;
        self.store.replace(Some(store.clone()));
        self.lanes.set(store.topic().lanes.len());
        Ok(store)
    }

    /// Reads the configuration of topics that is kept in the database of the URL, and creates what is missing of it.
    pub(crate) async fn topics(&self) -> Result<Topics, Failure> {
        let config = self.config()?;
        check_file(&config)?;
        let mut builder = Topics::builder(self.url.as_str());
        if let Some(actor) = parse::actor() {
            builder = builder.actor(actor);
        }
        let topics = builder.build()?;
        self.topics.replace(Some(topics.clone()));
        topics.initialize().await.map_err(|error| advised(&config, error))?;
        Ok(topics)
    }

    /// Reads the configuration of topics, if one of the database's topics is that.
    pub(crate) async fn topics_of(&self, known: &[Topic]) -> Result<Option<Topics>, Failure> {
        if known.iter().any(|topic| topic.name == CONFIG_TOPIC) { self.topics().await.map(Some) } else { Ok(None) }
    }

    /// Returns whether the topic of the open store has several lanes, so that a position alone says too little.
    pub(crate) fn has_lanes(&self) -> bool {
        self.lanes.get() > 1
    }

    /// Hands out what was printed of something that is done: where that fails, the failure says that it is done.
    pub(crate) fn done(&self, printed: Result<(), Failure>, done: &str) -> Result<(), Failure> {
        let flushed = printed.and_then(|()| self.output().flush());
        flushed.map_err(|failure| failure.at(&format!("{done}, but the output can't be written")))
    }

    /// Prints what was done, as [`Context::done`] does.
    pub(crate) fn say(&self, object: &serde_json::Value, text: &str) -> Result<(), Failure> {
        let printed = if self.json { self.output().json(object) } else { self.output().line(text) };
        self.done(printed, text)
    }

    /// Hands out what was printed, and closes the store, if one was opened.
    pub(super) async fn finish(&self) -> Result<(), Failure> {
        let (topics, store) = (self.topics.take(), self.store.take());
        if let Some(topics) = topics {
            topics.close().await;
        }
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
