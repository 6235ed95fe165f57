//! Connections: where the file is, how it is opened, the thread that writes, the pool that reads.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, OpenFlags};
use tokio::sync::{Semaphore, oneshot};

use super::convert::classify;
use crate::config::{Config, url_error};
use crate::error::{Error, ErrorClass, Result};

/// Statements that a connection keeps prepared.
const PREPARED: usize = 128;

type Job = Box<dyn FnOnce(&mut Connection) + Send>;

/// An open SQLite database.
#[derive(Debug)]
pub(crate) struct Sqlite {
    options: Options,
    writer: Mutex<Option<mpsc::Sender<Job>>>,
    thread: Mutex<Option<std::thread::JoinHandle<()>>>,
    readers: Arc<Readers>,
}

/// What a URL says of the database.
#[derive(Debug, Clone)]
struct Options {
    /// `None` for a database in memory.
    path: Option<String>,
    flags: OpenFlags,
    synchronous: &'static str,
    busy: Duration,
}

/// Connections that read, opened when they are needed.
#[derive(Debug)]
struct Readers {
    idle: Mutex<Vec<Connection>>,
    permits: Arc<Semaphore>,
}

/// Opens the database that a URL names.
pub(crate) async fn connect(config: &Config) -> Result<Sqlite> {
    let options = options(config)?;
    let opened = options.clone();
    let connection = tokio::task::spawn_blocking(move || open_writer(&opened)).await.map_err(|_| Error::Closed)??;
    let (sender, jobs) = mpsc::channel::<Job>();
    let thread = std::thread::Builder::new()
        .name("annals-sqlite".to_owned())
        .spawn(move || {
            let mut connection = connection;
            while let Ok(job) = jobs.recv() {
                job(&mut connection);
            }
        })
        .map_err(|error| Error::backend("sqlite", "connect", ErrorClass::Fatal, error))?;
    Ok(Sqlite {
        options,
        writer: Mutex::new(Some(sender)),
        thread: Mutex::new(Some(thread)),
        readers: Arc::new(Readers {
            idle: Mutex::new(Vec::new()),
            permits: Arc::new(Semaphore::new(config.pool_max() as usize)),
        }),
    })
}

fn options(config: &Config) -> Result<Options> {
    config.check_options(&["mode", "synchronous"])?;
    let synchronous = match (config.option("synchronous"), config.check_durability(&["full", "normal", "off"])?) {
        (Some("full" | "FULL"), _) | (None, "full") => "FULL",
        (Some("normal" | "NORMAL"), _) | (None, "normal") => "NORMAL",
        (Some("off" | "OFF") | None, _) => "OFF",
        (Some(other), _) => return Err(url_error(format!("synchronous={other:?} is not one of full, normal, off"))),
    };
    let target = config.target().strip_prefix("//").unwrap_or(config.target());
    let memory = target == ":memory:";
    if target.is_empty() {
        return Err(url_error("no file is named; write sqlite:events.db or sqlite::memory:"));
    }
    let access = match config.option("mode") {
        None | Some("rwc") => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_CREATE,
        Some("rw") => OpenFlags::SQLITE_OPEN_READ_WRITE,
        Some("ro") => OpenFlags::SQLITE_OPEN_READ_ONLY,
        Some("memory") => OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_MEMORY,
        Some(other) => return Err(url_error(format!("mode={other:?} is not one of rwc, rw, ro, memory"))),
    };
    Ok(Options {
        path: (!memory && config.option("mode") != Some("memory")).then(|| target.to_owned()),
        flags: access | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        synchronous,
        // The engine gives up first, so that its error says what was waited for, and nothing is stored after the deadline.
        busy: config.statement_timeout() * 9 / 10,
    })
}

/// Pages of the WAL after which it is copied into the file; the fewer copies, the fewer times is a hot page written.
const CHECKPOINT_PAGES: u32 = 4_000;

/// Opens the connection that writes.
fn open_writer(options: &Options) -> Result<Connection> {
    let connection = open(options)?;
    let checkpoint = format!("PRAGMA wal_autocheckpoint = {CHECKPOINT_PAGES}");
    connection.execute_batch(&checkpoint).map_err(|error| classify("connect", error))?;
    Ok(connection)
}

/// Opens a connection and sets what it needs; reads back what a promise hangs on.
fn open(options: &Options) -> Result<Connection> {
    let failed = |error| classify("connect", error);
    let connection = match &options.path {
        Some(path) => {
            if Path::new(path).is_dir() {
                return Err(url_error(format!("{path:?} is a folder, not a file")));
            }
            Connection::open_with_flags(path, options.flags).map_err(failed)?
        }
        None => Connection::open_in_memory().map_err(failed)?,
    };
    connection.busy_timeout(options.busy).map_err(failed)?;
    connection.set_prepared_statement_cache_capacity(PREPARED);
    let read_only = options.flags.contains(OpenFlags::SQLITE_OPEN_READ_ONLY);
    if options.path.is_some() && !read_only {
        let mode: String = connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)).map_err(failed)?;
        if mode != "wal" {
            let reason = format!("the journal is {mode}, not wal: the file system can't hold a shared memory file");
            return Err(Error::backend("sqlite", "connect", ErrorClass::Fatal, reason));
        }
    }
    connection
        .execute_batch(&format!(
            "PRAGMA synchronous = {}; PRAGMA foreign_keys = ON; PRAGMA temp_store = memory",
            options.synchronous
        ))
        .map_err(failed)?;
    let level: u8 = connection.query_row("PRAGMA synchronous", [], |row| row.get(0)).map_err(failed)?;
    if ["OFF", "NORMAL", "FULL"].get(usize::from(level)) != Some(&options.synchronous) {
        let reason = format!("synchronous is at {level}, and {} was set", options.synchronous);
        return Err(Error::backend("sqlite", "connect", ErrorClass::Fatal, reason));
    }
    let flags = FunctionFlags::SQLITE_UTF8;
    connection
        .create_scalar_function("annals_now", 0, flags, |_| Ok(chrono::Utc::now().timestamp_micros()))
        .map_err(failed)?;
    Ok(connection)
}

impl Sqlite {
    pub(super) const fn is_memory(&self) -> bool {
        self.options.path.is_none()
    }

    /// Runs a job on the thread that writes.
    async fn on_writer<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (answer, outcome) = oneshot::channel();
        let job: Job = Box::new(move |connection| {
            // A caller that is gone needs no answer.
            let _ = answer.send(job(connection));
        });
        self.sender()?.send(job).map_err(|_| Error::Closed)?;
        outcome.await.map_err(|_| Error::Closed)?
    }

    fn sender(&self) -> Result<mpsc::Sender<Job>> {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).clone().ok_or(Error::Closed)
    }

    /// Runs a job in a transaction that holds the database's write lock from its start.
    pub(super) async fn transaction<T: Send + 'static>(
        &self,
        operation: &'static str,
        job: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.on_writer(move |connection| {
            let failed = |error| classify(operation, error);
            let transaction =
                connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate).map_err(failed)?;
            let outcome = job(&transaction)?;
            transaction.commit().map_err(failed)?;
            Ok(outcome)
        })
        .await
    }

    /// Runs a job on a connection that reads.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        operation: &'static str,
        job: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        self.sender()?;
        if self.is_memory() {
            return self.on_writer(move |connection| job(connection)).await;
        }
        let permit = Arc::clone(&self.readers.permits).acquire_owned().await.map_err(|_| Error::Closed)?;
        let (readers, options) = (Arc::clone(&self.readers), self.options.clone());
        let work = tokio::task::spawn_blocking(move || {
            let idle = readers.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
            let connection = idle.map_or_else(|| open(&options), Ok)?;
            let outcome = job(&connection);
            if !readers.permits.is_closed() {
                readers.idle.lock().unwrap_or_else(PoisonError::into_inner).push(connection);
            }
            // Only now, as the work goes on where the caller has stopped waiting.
            drop(permit);
            outcome
        });
        work.await.map_err(|error| Error::backend("sqlite", operation, ErrorClass::Fatal, error))?
    }

    /// Returns a connection for SQL text: one of its own, or the only one of a database in memory.
    pub(super) async fn raw(&self) -> Result<Raw> {
        if self.is_memory() {
            return Ok(Raw::Shared(self.sender()?));
        }
        let options = self.options.clone();
        let connection = tokio::task::spawn_blocking(move || open(&options)).await.map_err(|_| Error::Closed)??;
        Ok(Raw::Own(Some(connection)))
    }

    pub(super) async fn shut_down(&self) {
        self.writer.lock().unwrap_or_else(PoisonError::into_inner).take();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.readers.permits.close();
        let readers = Arc::clone(&self.readers);
        let ended = tokio::task::spawn_blocking(move || {
            let joined = thread.map(std::thread::JoinHandle::join);
            readers.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
            joined
        });
        if !matches!(ended.await, Ok(None | Some(Ok(())))) {
            tracing::error!("the thread that writes to sqlite ended badly");
        }
    }
}

/// A connection for SQL text.
pub(super) enum Raw {
    Own(Option<Connection>),
    Shared(mpsc::Sender<Job>),
}

impl Raw {
    pub(super) async fn run<T: Send + 'static>(
        &mut self,
        operation: &'static str,
        job: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        match self {
            Self::Own(slot) => {
                let mut connection = slot.take().ok_or(Error::Closed)?;
                let work = tokio::task::spawn_blocking(move || {
                    let outcome = job(&mut connection);
                    (connection, outcome)
                });
                let (connection, outcome) =
                    work.await.map_err(|error| Error::backend("sqlite", operation, ErrorClass::Fatal, error))?;
                *slot = Some(connection);
                outcome
            }
            Self::Shared(sender) => {
                let (answer, outcome) = oneshot::channel();
                let job: Job = Box::new(move |connection| {
                    // A caller that is gone needs no answer.
                    let _ = answer.send(job(connection));
                });
                sender.send(job).map_err(|_| Error::Closed)?;
                outcome.await.map_err(|_| Error::Closed)?
            }
        }
    }
}
