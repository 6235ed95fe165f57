//! Projections: read models in the store's own database, each moved on in the transaction that saves its checkpoint.
//!
//! A version of a projection is a subscription by the name `balances@2`, with its lease and its checkpoints, whose
//! [`Marker`] says which version is active. A [`Projector`](runner::Projector) runs one beside the appends;
//! [`InlineProjections`](inline::InlineProjections) run within them.

pub(crate) mod inline;
mod listing;
pub(crate) mod runner;
mod takeover;

use std::borrow::Borrow;

use async_trait::async_trait;
use serde::{Deserialize, Serialize};

pub use inline::InlineProjections;
pub use listing::{ProjectionInfo, ProjectionState};
pub use runner::{ProjectionProgress, Projector};

use crate::error::{Error, Result};
use crate::event::RecordedEvent;
use crate::json::Json;
use crate::name;
use crate::position::{LaneId, Position};
use crate::read::{Page, Query, rows_after};
use crate::sql::Dialect;
use crate::sql::statements;
use crate::sql::subscriptions::SubscriptionRow;
use crate::store::Store;
use crate::store::reading::check_contiguous;
use crate::transaction::Transaction;

/// What a projection answers: nothing, or any error.
pub type ProjectionResult = std::result::Result<(), Box<dyn std::error::Error + Send + Sync>>;

/// Events that are read at a time, within a transaction.
const PAGE: usize = 500;

/// A read model that is computed from events, in tables of the store's own database.
///
/// All that it writes goes through the transaction that it is given, which also saves the checkpoint: each event takes
/// effect exactly once, whatever is killed, and whoever runs it twice. What is kept in memory must not count on that, as
/// a transaction can be rolled back and its events come again.
///
/// A new [`version`](Projection::version) is a read model of its own, with tables of its own, that is built beside the
/// active one and takes over once it has caught up. Keep the version in the tables' names, and let
/// [`activate`](Projection::activate) point the readers to them.
///
/// ```
/// use annals::{Projection, ProjectionResult, Query, RecordedEvent, Transaction};
///
/// struct Totals;
///
/// #[async_trait::async_trait]
/// impl Projection for Totals {
///     fn name(&self) -> &str {
///         "totals"
///     }
///
///     fn query(&self) -> Query {
///         Query::new().event_types(["OrderPlaced"]).unwrap_or_default()
///     }
///
///     async fn create(&mut self, transaction: &mut Transaction) -> ProjectionResult {
///         transaction.execute("CREATE TABLE totals (order_id varchar(100) PRIMARY KEY, total bigint)", &[]).await?;
///         Ok(())
///     }
///
///     async fn apply(&mut self, transaction: &mut Transaction, event: &RecordedEvent) -> ProjectionResult {
///         let data: serde_json::Value = event.payload.to()?;
///         let total = data["total"].as_i64().ok_or("an order without a total")?;
///         transaction.execute("INSERT INTO totals VALUES (?, ?)", &[(&event.aggregate_id).into(), total.into()]).await?;
///         Ok(())
///     }
///
///     async fn clear(&mut self, transaction: &mut Transaction) -> ProjectionResult {
///         transaction.execute("DELETE FROM totals", &[]).await?;
///         Ok(())
///     }
/// }
/// ```
#[async_trait]
pub trait Projection: Send {
    /// Returns the name, which all versions share. It has no `@`.
    fn name(&self) -> &str;

    /// Returns the version, from 1. Another query, or other tables, are another version.
    fn version(&self) -> u32 {
        1
    }

    /// Returns which events are applied; all of them, without this.
    fn query(&self) -> Query {
        Query::new()
    }

    /// Creates the tables of this version, once.
    async fn create(&mut self, transaction: &mut Transaction) -> ProjectionResult;

    /// Applies an event; those of a lane come in its order.
    async fn apply(&mut self, transaction: &mut Transaction, event: &RecordedEvent) -> ProjectionResult;

    /// Applies the next events of a transaction, up to 500 as a rule, each lane's in its order; one by one with
    /// [`apply`](Projection::apply), without this.
    ///
    /// A call to a server takes longer than most statements: a projection that writes many rows with one statement here is
    /// built several times as fast. Events of one call may be about one row, which an upsert on Postgres can't write twice:
    /// bring them together first. An error names the first of the events.
    async fn apply_all(&mut self, transaction: &mut Transaction, events: &[&RecordedEvent]) -> ProjectionResult {
        for event in events {
            transaction.applied = Some((event.lane, event.position));
            self.apply(transaction, event).await?;
        }
        Ok(())
    }

    /// Empties the tables of this version, so that it can be built again.
    async fn clear(&mut self, transaction: &mut Transaction) -> ProjectionResult;

    /// Makes this version the one that is read: replaces a view, drops the tables of the version before. Called when it
    /// takes over, in the transaction in which it does.
    async fn activate(&mut self, transaction: &mut Transaction) -> ProjectionResult {
        let _ = transaction;
        Ok(())
    }
}

/// Returns the name of the subscription of a projection's version, such as `balances@2`: for
/// [`Store::wait_for`](crate::Store::wait_for) and [`Store::delete_subscription`](crate::Store::delete_subscription).
#[must_use]
pub fn projection_subscription(name: &str, version: u32) -> String {
    format!("{name}@{version}")
}

#[async_trait]
impl<P: Projection + ?Sized> Projection for &mut P {
    fn name(&self) -> &str {
        (**self).name()
    }

    fn version(&self) -> u32 {
        (**self).version()
    }

    fn query(&self) -> Query {
        (**self).query()
    }

    async fn create(&mut self, transaction: &mut Transaction) -> ProjectionResult {
        (**self).create(transaction).await
    }

    async fn apply(&mut self, transaction: &mut Transaction, event: &RecordedEvent) -> ProjectionResult {
        (**self).apply(transaction, event).await
    }

    async fn apply_all(&mut self, transaction: &mut Transaction, events: &[&RecordedEvent]) -> ProjectionResult {
        (**self).apply_all(transaction, events).await
    }

    async fn clear(&mut self, transaction: &mut Transaction) -> ProjectionResult {
        (**self).clear(transaction).await
    }

    async fn activate(&mut self, transaction: &mut Transaction) -> ProjectionResult {
        (**self).activate(transaction).await
    }
}

/// What the metadata of a subscription says of the projection that it is, the same in all lanes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Marker {
    pub projection: String,
    pub version: u32,
    /// Whether this version is the one that is read.
    pub active: bool,
    /// The version that has taken over from this one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub replaced_by: Option<u32>,
}

impl Marker {
    fn new(identity: &Identity, active: bool) -> Self {
        Self { projection: identity.name.clone(), version: identity.version, active, replaced_by: None }
    }

    /// Reads the marker of a subscription's rows; `None` where it is no projection.
    pub(crate) fn of(rows: &[SubscriptionRow]) -> Option<Self> {
        Self::from_metadata(rows.first()?.metadata.as_ref())
    }

    pub(crate) fn from_metadata(metadata: Option<&Json>) -> Option<Self> {
        metadata?.to().ok()
    }

    fn to_json(&self) -> Result<Json> {
        Json::from_value(self)
    }
}

/// Who a projection is: its names and its query, which are the same each time.
#[derive(Debug, Clone)]
struct Identity {
    name: String,
    version: u32,
    /// The name of its subscription.
    subscription: String,
    query: Query,
}

impl Identity {
    fn of(projection: &(impl Projection + ?Sized)) -> Result<Self> {
        let (name, version) = (name::check("projection", projection.name())?, projection.version());
        if name.contains('@') || version == 0 {
            let reason = format!("{name:?} of version {version}: a name has no @, and versions begin with 1");
            return Err(Error::invalid("projection", reason));
        }
        let subscription = name::check("projection", projection_subscription(&name, version))?;
        let mut query = projection.query();
        crate::subscription::check(&query)?;
        query.include_deleted = true;
        Ok(Self { name, version, subscription, query })
    }

    /// Returns what to say of an error that the projection answered, about an event.
    fn failed(&self, step: &'static str, event: Option<(LaneId, Position)>, source: Failed) -> Error {
        let (lane, position) = event.map_or((0, Position::ZERO), |(lane, position)| (lane.get(), position));
        Error::Projection { name: self.subscription.clone(), step, lane, position, source }
    }

    /// Checks that no newer version is active.
    ///
    /// # Errors
    /// [`Error::ProjectionSuperseded`].
    fn check_active(&self, active: Option<u32>) -> Result<()> {
        match active {
            Some(active) if active > self.version => {
                Err(Error::ProjectionSuperseded { name: self.subscription.clone(), active })
            }
            _ => Ok(()),
        }
    }

    /// Applies the events of a lane after a position, until another one, which are in the log.
    async fn bring_up<P: Projection + ?Sized>(
        &self,
        projection: &mut P,
        transaction: &mut Transaction,
        lane: LaneId,
        (after, until): (Position, Position),
    ) -> Result<()> {
        let (mut query, mut rows) = (self.query.clone().after(after).until(until), PAGE);
        loop {
            let mut statement = statements::events(transaction.dialect(), lane, &query, rows);
            if transaction.dialect() == Dialect::Mssql {
                statement.sql.insert_str(0, &format!("DECLARE @head bigint = {until};\n"));
            }
            let events: Vec<RecordedEvent> = transaction.fetch(statement).await?;
            let page = Page::new(&query, rows, until, events);
            rows = rows_after(&page.events, PAGE);
            if query.is_unfiltered() {
                check_contiguous(lane, &query, &page)?;
            }
            self.apply(projection, transaction, &page.events).await?;
            if !page.more {
                return Ok(());
            }
            query.after = Some(page.scanned);
        }
    }

    async fn apply<P: Projection + ?Sized, E: Borrow<RecordedEvent>>(
        &self,
        projection: &mut P,
        transaction: &mut Transaction,
        events: &[E],
    ) -> Result<()> {
        let events: Vec<&RecordedEvent> = events.iter().map(Borrow::borrow).collect();
        let Some(first) = events.first() else { return Ok(()) };
        transaction.applied = Some((first.lane, first.position));
        let applied = projection.apply_all(transaction, &events).await;
        applied.map_err(|source| self.failed("apply", transaction.applied, source))
    }
}

/// What a projection answers where it fails.
type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Returns the version that is active, of the rows of all versions.
fn active_version(rows: &[SubscriptionRow]) -> Option<u32> {
    let markers = rows.iter().filter_map(|row| Marker::of(std::slice::from_ref(row)));
    markers.filter(|marker| marker.active).map(|marker| marker.version).max()
}

impl Store {
    /// Makes a runner of a projection, which computes its read model from the events.
    ///
    /// ```
    /// # use annals::{Expected, NewEvent, Projection, ProjectionResult, RecordedEvent, Store, Stream, Transaction};
    /// # struct Totals;
    /// # #[async_trait::async_trait]
    /// # impl Projection for Totals {
    /// #     fn name(&self) -> &str { "totals" }
    /// #     async fn create(&mut self, transaction: &mut Transaction) -> ProjectionResult { Ok(()) }
    /// #     async fn apply(&mut self, transaction: &mut Transaction, event: &RecordedEvent) -> ProjectionResult { Ok(()) }
    /// #     async fn clear(&mut self, transaction: &mut Transaction) -> ProjectionResult { Ok(()) }
    /// # }
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> annals::Result<()> {
    /// # let store = Store::connect("sqlite::memory:?migrate=auto").await?;
    /// let mut totals = store.project(Totals);
    /// totals.catch_up().await?; // or run(), which goes on with what comes
    /// assert_eq!(store.active_projection("totals").await?, Some(1));
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn project<P: Projection>(&self, projection: P) -> Projector<P> {
        Projector::new(self.clone(), projection)
    }
}
