//! The read model of the families about projections: a row for each event, so that a repetition shows.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use async_trait::async_trait;

use super::case::Failure;
use super::harness::Fixture;
use super::prompt;
use crate::error::{Error, ErrorClass, Result};
use crate::event::RecordedEvent;
use crate::projection::{Projection, ProjectionResult};
use crate::read::Query;
use crate::sql::{Dialect, Value};
use crate::store::Store;
use crate::transaction::Transaction;

/// A lease that ends soon.
pub(super) const BRIEF: Duration = Duration::from_millis(200);

/// A projection that writes a row for each event: its stream, its version, and how many rows were there.
#[derive(Debug, Clone)]
pub(super) struct Ledger {
    version: u32,
    table: String,
    /// Where each activation is noted.
    readers: String,
    pub query: Query,
    /// The stream and version of an event that it can't apply.
    pub refuses: Option<(&'static str, i64)>,
    /// Whether the next event is answered as a database does that may answer otherwise another time.
    pub stumbles: Arc<AtomicBool>,
}

impl Ledger {
    /// Makes the first version.
    pub(super) fn new(f: &Fixture) -> Self {
        Self::version(f, 1)
    }

    pub(super) fn version(f: &Fixture, version: u32) -> Self {
        Self {
            version,
            table: prompt::table(f, &format!("ledger_{version}")),
            readers: prompt::table(f, "readers"),
            query: Query::new(),
            refuses: None,
            stumbles: Arc::default(),
        }
    }

    pub(super) fn refusing(mut self, stream: &'static str, version: i64) -> Self {
        self.refuses = Some((stream, version));
        self
    }

    pub(super) fn of(mut self, query: Query) -> Self {
        self.query = query;
        self
    }

    /// Returns the stream and version of each event that took effect, in that order.
    pub(super) async fn rows(&self, store: &Store) -> Result<Vec<(String, i64)>> {
        let sql = format!("SELECT aggregate_id, event FROM {} ORDER BY place", self.table);
        let rows = store.select(&sql, &[]).await?;
        rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
    }

    /// Returns the rows of one stream.
    pub(super) async fn versions_of(&self, store: &Store, stream: &str) -> Result<Vec<i64>> {
        let rows = self.rows(store).await?;
        Ok(rows.into_iter().filter(|(id, _)| id == stream).map(|(_, version)| version).collect())
    }

    /// Writes a row that no event has.
    pub(super) async fn forge(&self, store: &Store) -> Result<()> {
        let mut transaction = store.begin().await?;
        self.write(&mut transaction, "forged", 0).await?;
        transaction.commit().await
    }

    async fn write(&self, transaction: &mut Transaction, stream: &str, version: i64) -> Result<()> {
        let count = transaction.select(&format!("SELECT COUNT(*) FROM {}", self.table), &[]).await?;
        let place: i64 = count.first().map_or(Ok(0), |row| row.get(0))?;
        let sql = format!("INSERT INTO {} (place, aggregate_id, event) VALUES (?, ?, ?)", self.table);
        let params: [Value; 3] = [place.into(), stream.into(), version.into()];
        transaction.execute(&sql, &params).await.map(drop)
    }
}

#[async_trait]
impl Projection for Ledger {
    fn name(&self) -> &'static str {
        "ledger"
    }

    fn version(&self) -> u32 {
        self.version
    }

    fn query(&self) -> Query {
        self.query.clone()
    }

    async fn create(&mut self, transaction: &mut Transaction) -> ProjectionResult {
        let columns = "place bigint, aggregate_id varchar(100), event bigint";
        transaction.execute(&format!("CREATE TABLE {} ({columns})", self.table), &[]).await?;
        Ok(())
    }

    async fn apply(&mut self, transaction: &mut Transaction, event: &RecordedEvent) -> ProjectionResult {
        let place = (event.aggregate_id.as_str(), event.aggregate_version.get());
        // The row is written first, so that what is refused would show if it were kept.
        self.write(transaction, place.0, place.1).await?;
        if self.stumbles.swap(false, Ordering::Relaxed) {
            return Err(Error::backend("conformance", "apply", ErrorClass::Retry, "it stumbled").into());
        }
        if self.refuses.is_some_and(|refused| refused == place) {
            return Err("it can't be applied".into());
        }
        Ok(())
    }

    async fn clear(&mut self, transaction: &mut Transaction) -> ProjectionResult {
        transaction.execute(&format!("DELETE FROM {}", self.table), &[]).await?;
        Ok(())
    }

    async fn activate(&mut self, transaction: &mut Transaction) -> ProjectionResult {
        let sql = format!("INSERT INTO {} (version) VALUES (?)", self.readers);
        transaction.execute(&sql, &[i64::from(self.version).into()]).await?;
        Ok(())
    }
}

/// A ledger that writes the rows of a transaction together, and counts them.
pub(super) struct Together {
    pub ledger: Ledger,
    pub sizes: Vec<usize>,
}

#[async_trait]
impl Projection for Together {
    fn name(&self) -> &str {
        self.ledger.name()
    }

    async fn create(&mut self, transaction: &mut Transaction) -> ProjectionResult {
        self.ledger.create(transaction).await
    }

    async fn apply(&mut self, _: &mut Transaction, _: &RecordedEvent) -> ProjectionResult {
        Err("it applies the events of a transaction together".into())
    }

    async fn apply_all(&mut self, transaction: &mut Transaction, events: &[&RecordedEvent]) -> ProjectionResult {
        for event in events {
            self.ledger.apply(transaction, event).await?;
        }
        self.sizes.push(events.len());
        Ok(())
    }

    async fn clear(&mut self, transaction: &mut Transaction) -> ProjectionResult {
        self.ledger.clear(transaction).await
    }

    async fn activate(&mut self, transaction: &mut Transaction) -> ProjectionResult {
        self.ledger.activate(transaction).await
    }
}

/// Creates the table of activations.
pub(super) async fn prepare(f: &Fixture) -> Result<(), Failure> {
    let mut transaction = f.store.begin().await?;
    transaction.execute(&format!("CREATE TABLE {} (version bigint)", prompt::table(f, "readers")), &[]).await?;
    Ok(transaction.commit().await?)
}

/// Returns the version of each activation.
pub(super) async fn activations(f: &Fixture) -> Result<Vec<i64>> {
    let sql = format!("SELECT version FROM {} ORDER BY version", prompt::table(f, "readers"));
    f.store.select(&sql, &[]).await?.iter().map(|row| row.get(0)).collect()
}

/// Returns the rows of some events of a stream.
pub(super) fn versions(stream: &str, versions: std::ops::RangeInclusive<i64>) -> Vec<(String, i64)> {
    versions.map(|version| (stream.to_owned(), version)).collect()
}

/// Polls a future a number of times, each when it was woken, and drops it; returns what it answered, if it did.
pub(super) async fn dropped_after<T>(times: usize, future: impl Future<Output = T>) -> Option<T> {
    let (mut future, mut left) = (pin!(future), times);
    poll_fn(|context| {
        if left == 0 {
            return Poll::Ready(None);
        }
        left -= 1;
        future.as_mut().poll(context).map(Some)
    })
    .await
}

/// Returns how often a future is to be polled until it is dropped, the next time: each number while there are few, and then
/// ever fewer of them; few in all on SQL Server, where each costs a new connection, which is dear there.
pub(super) fn next_times(f: &Fixture, times: usize) -> usize {
    let part = if prompt::dialect(f) == Dialect::Mssql { 1 } else { 6 };
    times + 1 + times / part
}
