//! Transactions of the caller's own: SQL and appends that are committed together.

use std::sync::Arc;

use crate::append::{Append, Appended};
use crate::backend::BackendTransaction;
use crate::encode;
use crate::error::{Error, Result};
use crate::position::{LaneId, Position};
use crate::sql::rows::HeadRow;
use crate::sql::{self, Dialect, FromRow, Row, Statement, Value, holds, statements};
use crate::store::Store;

/// An open transaction of the store's database, in which SQL of the caller's own and appends are committed together or
/// not at all.
///
/// Dropping it rolls back. After an error, and where a call's future was dropped, nothing more can be done with it. On
/// SQLite it holds the database's write lock from its start, on the other engines the locks of the rows that it writes;
/// an append takes its lane's lock until the end. So keep it short, and wait for nothing in it that needs the store.
///
/// ```
/// # use annals::{Append, Expected, NewEvent, Store, Stream};
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> annals::Result<()> {
/// # let store = Store::connect("sqlite::memory:?migrate=auto").await?;
/// let mut transaction = store.begin().await?;
/// transaction.execute("CREATE TABLE totals (order_id text PRIMARY KEY, total bigint)", &[]).await?;
/// let placed = NewEvent::json("OrderPlaced", &serde_json::json!({"total": 12}))?;
/// let append = Append::new().to(Stream::new("order", "order-1")?, Expected::NoStream, [placed]);
/// transaction.append(append).await?;
/// transaction.execute("INSERT INTO totals VALUES (?, ?)", &["order-1".into(), 12.into()]).await?;
/// transaction.commit().await?;
///
/// let totals = store.select("SELECT total FROM totals WHERE order_id = ?", &["order-1".into()]).await?;
/// assert_eq!(totals[0].get::<i64>(0)?, 12);
/// # Ok(())
/// # }
/// ```
pub struct Transaction {
    store: Store,
    /// `None` while a call runs, and after one has failed.
    open: Option<Box<dyn BackendTransaction>>,
    dialect: Dialect,
    /// Where the lanes end that were written, by their index.
    ends: Vec<(usize, Position)>,
    /// The event that a projection is applying, or the first of them.
    pub(crate) applied: Option<(LaneId, Position)>,
}

impl std::fmt::Debug for Transaction {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Transaction").field("dialect", &self.dialect).finish_non_exhaustive()
    }
}

impl Store {
    /// Begins a transaction.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the backend knows no SQL, and what it answers.
    pub async fn begin(&self) -> Result<Transaction> {
        let dialect = self.dialect()?;
        let open = self.deadline("begin a transaction", self.inner.backend.begin()).await?;
        Ok(Transaction { store: self.clone(), open: Some(open), dialect, ends: Vec::new(), applied: None })
    }

    /// Runs writing statements of the store's own for each lane, under the locks of all lanes.
    pub(crate) async fn under_locks(&self, statements: impl Fn(Dialect, LaneId) -> Vec<Statement>) -> Result<()> {
        let mut transaction = self.begin().await?;
        let dialect = transaction.dialect();
        for lane in &self.inner.topic.lanes {
            transaction.write(holds::lock(dialect, *lane)).await?;
            for statement in statements(dialect, *lane) {
                transaction.write(statement).await?;
            }
        }
        transaction.commit().await
    }

    /// Returns the end of each lane as it is now, and what is not to be done to it.
    pub(crate) async fn ends(&self) -> Result<Vec<HeadRow>> {
        let mut ends = Vec::new();
        for lane in &self.inner.topic.lanes {
            ends.extend(self.fetch(statements::head_and_clock(self.dialect()?, *lane)).await?);
        }
        Ok(ends)
    }

    /// Runs one reading statement of the caller's own, outside of any transaction, such as one over a read model. A `?`
    /// stands for the next parameter on every engine, and `??` for a question mark. Cancel-safe.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the backend knows no SQL, [`Error::Invalid`] where the parameters are not as many as
    /// their places, and what the backend answers.
    pub async fn select(&self, sql: &str, params: &[Value]) -> Result<Vec<Row>> {
        let (sql, params) = sql::with_placeholders(self.dialect()?, sql, params)?;
        self.deadline("select", self.inner.backend.select(&sql, &params)).await
    }

    /// Runs a reading statement of the store's own.
    pub(crate) async fn fetch<T: FromRow>(&self, statement: Statement) -> Result<Vec<T>> {
        self.rows(statement).await?.iter().map(T::from_row).collect()
    }

    /// Runs a reading statement of the store's own, and returns its rows as they are.
    pub(crate) async fn rows(&self, statement: Statement) -> Result<Vec<Row>> {
        let work = self.inner.backend.select(&statement.sql, &statement.params);
        self.deadline(statement.operation, work).await
    }

    /// Returns the dialect of the backend's SQL.
    pub(crate) fn dialect(&self) -> Result<Dialect> {
        let unsupported = || Error::Unsupported { backend: self.inner.backend.name(), what: "sql" };
        self.capabilities().sql.ok_or_else(unsupported)
    }
}

impl Transaction {
    /// Returns the dialect of the SQL that it runs.
    #[must_use]
    pub const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Runs one writing statement, and returns how many rows it changed. A `?` stands for the next parameter on every
    /// engine, and `??` for a question mark.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the parameters are not as many as their places, and what the backend answers.
    pub async fn execute(&mut self, sql: &str, params: &[Value]) -> Result<u64> {
        let (sql, params) = sql::with_placeholders(self.dialect, sql, params)?;
        let mut open = self.take()?;
        let changed = self.store.deadline("execute", open.execute(&sql, &params)).await?;
        self.open = Some(open);
        Ok(changed)
    }

    /// Runs one reading statement, which sees what the transaction wrote, and returns its rows; parameters as in
    /// [`Transaction::execute`].
    ///
    /// # Errors
    /// As [`Transaction::execute`].
    pub async fn select(&mut self, sql: &str, params: &[Value]) -> Result<Vec<Row>> {
        let (sql, params) = sql::with_placeholders(self.dialect, sql, params)?;
        let mut open = self.take()?;
        let rows = self.store.deadline("select", open.select(&sql, &params)).await?;
        self.open = Some(open);
        Ok(rows)
    }

    /// Appends as [`Store::commit`] does, as part of the transaction: the events are there once it is committed. Takes the
    /// lane's lock, which every append of the lane waits for until then; such an append shares its commit with no other.
    ///
    /// A request that is refused, as by [`Error::Conflict`], leaves the transaction as it was.
    ///
    /// # Errors
    /// [`Error::Held`] where the topic is being moved, at once, since the transaction's locks would be kept meanwhile: begin a new
    /// one; and as [`Store::commit`].
    pub async fn append(&mut self, append: Append) -> Result<Appended> {
        let index = self.store.lane_of_append(&append)?;
        encode::check_limits(&append, self.store.max_event_bytes())?;
        let request = Arc::new(encode::append(append)?);
        let lane: LaneId = self.store.inner.topic.lanes[index];
        let mut open = self.take()?;
        let answer = self.store.deadline("append", open.append(lane, &request)).await?;
        self.open = Some(open);
        let appended = answer?;
        self.ends.push((index, appended.position()));
        Ok(appended)
    }

    /// Runs a writing statement of the store's own.
    pub(crate) async fn write(&mut self, statement: Statement) -> Result<u64> {
        let mut open = self.take()?;
        let work = open.execute(&statement.sql, &statement.params);
        let changed = self.store.deadline(statement.operation, work).await?;
        self.open = Some(open);
        Ok(changed)
    }

    /// Runs a reading statement of the store's own.
    pub(crate) async fn fetch<T: FromRow>(&mut self, statement: Statement) -> Result<Vec<T>> {
        let mut open = self.take()?;
        let work = open.select(&statement.sql, &statement.params);
        let rows = self.store.deadline(statement.operation, work).await?;
        self.open = Some(open);
        rows.iter().map(T::from_row).collect()
    }

    /// Commits. If the connection is lost meanwhile, it is not known whether that was carried out.
    ///
    /// # Errors
    /// [`Error::Backend`] and [`Error::Deadline`].
    pub async fn commit(mut self) -> Result<()> {
        let open = self.take()?;
        self.store.deadline("commit", open.commit()).await?;
        for (index, end) in &self.ends {
            self.store.inner.writers[*index].observe(*end);
        }
        Ok(())
    }

    fn take(&mut self) -> Result<Box<dyn BackendTransaction>> {
        let reason = "a call failed or was abandoned, so that it is rolled back: begin a new one";
        self.open.take().ok_or_else(|| Error::invalid("transaction", reason))
    }
}
