//! Connections: where the file is, how it is opened, the one that writes, the pool that reads.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rusqlite::functions::FunctionFlags;
use rusqlite::{Connection, ErrorCode, OpenFlags};
use tokio::sync::{Mutex as FairMutex, OwnedMutexGuard, Semaphore};

use super::brief::{self, Pace, WalCheckpoint};
use super::convert::{classify, run};
use crate::config::{Config, url_error};
use crate::error::{Error, ErrorClass, Result};
use crate::sql::{FromRow, Statement};

/// Statements that a connection keeps prepared.
const PREPARED: usize = 128;

/// The connection that writes, which those who wait for it get in turn; `None` once it is closed.
type Writing = Arc<FairMutex<Option<Connection>>>;

/// An open SQLite database.
#[derive(Debug)]
pub(crate) struct Sqlite {
    options: Options,
    writer: Writing,
    /// Of commits.
    writes: Pace,
    /// Of looking up rows.
    lookups: Arc<Pace>,
    /// Of reading small pages.
    pub(super) pages: Arc<Pace>,
    wal: WalCheckpoint,
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

impl Readers {
    fn idle(&self) -> Option<Connection> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop()
    }

    /// Keeps a connection for the next reader, unless the store is being closed.
    fn keep(&self, connection: Connection) {
        let mut idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        if !self.permits.is_closed() {
            idle.push(connection);
        }
    }
}

/// Opens the database that a URL names.
pub(crate) async fn connect(config: &Config) -> Result<Sqlite> {
    let options = options(config)?;
    let opened = options.clone();
    let connection = tokio::task::spawn_blocking(move || open_writer(&opened)).await.map_err(|_| Error::Closed)??;
    Ok(Sqlite {
        options,
        writer: Arc::new(FairMutex::new(Some(connection))),
        writes: Pace::new(),
        lookups: Arc::new(Pace::new()),
        pages: Arc::new(Pace::new()),
        wal: WalCheckpoint::default(),
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
        path: (!config.is_memory()).then(|| target.to_owned()),
        flags: access | OpenFlags::SQLITE_OPEN_NO_MUTEX,
        synchronous,
        // The engine gives up first, so that its error says what was waited for, and nothing is stored after the deadline.
        busy: config.statement_timeout() * 9 / 10,
    })
}

/// Opens the connection that writes.
fn open_writer(options: &Options) -> Result<Connection> {
    let connection = open(options)?;
    brief::checkpoint_long_wals(&connection);
    Ok(connection)
}

/// Switches a file's journal, and returns the mode that it has then. SQLite does not wait by itself where somebody else switches it
/// at the same time.
fn switch_to_wal(connection: &Connection, busy: Duration) -> rusqlite::Result<String> {
    let start = Instant::now();
    loop {
        match connection.query_row("PRAGMA journal_mode = WAL", [], |row| row.get(0)) {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) && start.elapsed() < busy => {
                std::thread::sleep(Duration::from_millis(5));
            }
            mode => return mode,
        }
    }
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
        let mode = switch_to_wal(&connection, options.busy).map_err(failed)?;
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
    brief::interrupt_long_work(&connection).map_err(failed)?;
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

    /// Returns the connection that writes, once it is this caller's turn.
    pub(super) async fn write_lock(&self) -> OwnedMutexGuard<Option<Connection>> {
        Arc::clone(&self.writer).lock_owned().await
    }

    /// Runs a job in a transaction that holds the database's write lock from its start, on the thread that polls it.
    pub(super) async fn blocking_transaction<T>(
        &self,
        operation: &'static str,
        job: impl FnOnce(&Connection) -> Result<T>,
    ) -> Result<T> {
        let mut writer = self.writer.lock().await;
        let connection = writer.as_mut().ok_or(Error::Closed)?;
        self.wal.checkpointing(|| self.writes.timed(|| transact(connection, operation, job)))
    }

    /// Runs a job in such a transaction on the calling thread if nobody else writes and the last ones were brief; does
    /// nothing otherwise.
    pub(super) fn transaction_briefly<T>(
        &self,
        operation: &'static str,
        job: impl FnOnce(&Connection) -> Result<T>,
    ) -> Option<Result<T>> {
        if !self.writes.is_brief() || self.wal.is_due() {
            return None;
        }
        let mut writer = self.writer.try_lock().ok()?;
        let connection = writer.as_mut()?;
        connection.busy_timeout(Duration::ZERO).ok()?;
        let outcome = self.wal.deferring(|| self.writes.timed(|| transact(connection, operation, job)));
        let restored = connection.busy_timeout(self.options.busy);
        match (outcome, restored) {
            (Err(Error::Backend { class: ErrorClass::Retry, .. }), _) => None,
            (outcome, Ok(())) => Some(outcome),
            (_, Err(error)) => Some(Err(classify(operation, error))),
        }
    }

    /// Runs a job in a transaction that holds the database's write lock from its start.
    pub(super) async fn transaction<T: Send + 'static>(
        &self,
        operation: &'static str,
        job: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        on_writer(&self.writer, operation, move |connection| transact(connection, operation, job)).await
    }

    /// Looks up rows by a key, on the calling thread if that has lately been brief.
    pub(super) async fn look_up<T: FromRow>(&self, statement: Statement) -> Result<Vec<T>> {
        self.read_paced(&self.lookups, statement.operation, move |connection| run(connection, &statement)).await
    }

    /// Runs a job on a connection that reads: on the calling thread if such jobs have lately been brief, and there no longer
    /// than for a short time, after which it begins again elsewhere.
    pub(super) async fn read_paced<T: Send + 'static>(
        &self,
        pace: &Arc<Pace>,
        operation: &'static str,
        job: impl Fn(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if let Some(found) = self.read_briefly(pace, &job) {
            // A task that reads again and again lets others have their turn.
            tokio::task::coop::consume_budget().await;
            return found;
        }
        let pace = Arc::clone(pace);
        self.read(operation, move |connection| pace.timed(|| job(connection))).await
    }

    fn read_briefly<T>(&self, pace: &Pace, job: impl Fn(&Connection) -> Result<T>) -> Option<Result<T>> {
        if !pace.is_brief() {
            return None;
        }
        let _permit = self.readers.permits.try_acquire().ok()?;
        let connection = self.readers.idle()?;
        connection.busy_timeout(Duration::ZERO).ok()?;
        let found = pace.timed(|| brief::bounded(|| job(&connection)));
        connection.busy_timeout(self.options.busy).ok()?;
        self.readers.keep(connection);
        match found? {
            Err(Error::Backend { class: ErrorClass::Retry, .. }) => None,
            found => Some(found),
        }
    }

    /// Runs a job on a connection that reads.
    pub(super) async fn read<T: Send + 'static>(
        &self,
        operation: &'static str,
        job: impl FnOnce(&Connection) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        if self.is_memory() {
            return on_writer(&self.writer, operation, move |connection| job(connection)).await;
        }
        let permit = Arc::clone(&self.readers.permits).acquire_owned().await.map_err(|_| Error::Closed)?;
        let (readers, options) = (Arc::clone(&self.readers), self.options.clone());
        let work = tokio::task::spawn_blocking(move || {
            let connection = readers.idle().map_or_else(|| open(&options), Ok)?;
            let outcome = job(&connection);
            readers.keep(connection);
            // Only now, as the work goes on where the caller has stopped waiting.
            drop(permit);
            outcome
        });
        work.await.map_err(|error| Error::backend("sqlite", operation, ErrorClass::Fatal, error))?
    }

    /// Returns a connection for SQL text: one of its own, or the only one of a database in memory.
    pub(super) async fn raw(&self) -> Result<Raw> {
        if self.is_memory() {
            return Ok(Raw::Shared(Arc::clone(&self.writer)));
        }
        let options = self.options.clone();
        let connection = tokio::task::spawn_blocking(move || open(&options)).await.map_err(|_| Error::Closed)??;
        Ok(Raw::Own(Some(connection)))
    }

    pub(super) async fn shut_down(&self) {
        self.readers.permits.close();
        let (writer, readers) = (self.writer.lock().await.take(), Arc::clone(&self.readers));
        let closed = tokio::task::spawn_blocking(move || {
            drop(writer);
            readers.idle.lock().unwrap_or_else(PoisonError::into_inner).clear();
        });
        if let Err(error) = closed.await {
            tracing::error!(%error, "the connections to sqlite were closed badly");
        }
    }
}

/// Runs a job on the connection that writes, on a thread that may be blocked.
async fn on_writer<T: Send + 'static>(
    writer: &Writing,
    operation: &'static str,
    job: impl FnOnce(&mut Connection) -> Result<T> + Send + 'static,
) -> Result<T> {
    let mut writer = Arc::clone(writer).lock_owned().await;
    let work = tokio::task::spawn_blocking(move || job(writer.as_mut().ok_or(Error::Closed)?));
    work.await.map_err(|error| Error::backend("sqlite", operation, ErrorClass::Fatal, error))?
}

/// An open transaction, which is rolled back unless it is committed.
pub(super) struct Transaction<'c>(&'c Connection);

impl<'c> Transaction<'c> {
    /// Begins one that holds the database's write lock.
    fn begin(connection: &'c Connection) -> rusqlite::Result<Self> {
        connection.prepare_cached("BEGIN IMMEDIATE")?.execute([])?;
        Ok(Self(connection))
    }

    /// Begins one that reads.
    pub(super) fn snapshot(connection: &'c Connection) -> rusqlite::Result<Self> {
        connection.prepare_cached("BEGIN")?.execute([])?;
        Ok(Self(connection))
    }

    pub(super) fn commit(self) -> rusqlite::Result<()> {
        self.0.prepare_cached("COMMIT")?.execute([]).map(drop)
    }
}

impl Drop for Transaction<'_> {
    fn drop(&mut self) {
        if !self.0.is_autocommit()
            && let Err(error) = self.0.execute_batch("ROLLBACK")
        {
            tracing::error!(%error, "a transaction could not be rolled back");
        }
    }
}

fn transact<T>(
    connection: &Connection,
    operation: &'static str,
    job: impl FnOnce(&Connection) -> Result<T>,
) -> Result<T> {
    let failed = |error| classify(operation, error);
    let transaction = Transaction::begin(connection).map_err(failed)?;
    let outcome = job(connection)?;
    transaction.commit().map_err(failed)?;
    Ok(outcome)
}

/// A connection for SQL text.
pub(super) enum Raw {
    Own(Option<Connection>),
    Shared(Writing),
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
            Self::Shared(writer) => on_writer(writer, operation, job).await,
        }
    }
}
