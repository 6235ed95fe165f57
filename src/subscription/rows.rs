//! The rows of a subscription by name: its checkpoint and its filter, and when it begins.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::{Mark, filter};
use crate::error::{Error, Result};
use crate::json::Json;
use crate::read::Query;
use crate::sql::subscriptions::{self, Names, NewRow, SubscriptionRow};
use crate::store::Store;
use crate::transaction::Transaction;

/// What the metadata of a subscription says that begins at a time to come.
#[derive(Serialize, Deserialize)]
struct Beginning {
    from: DateTime<Utc>,
}

/// Reads the rows of a subscription, in the order of the lanes.
pub(crate) async fn read(store: &Store, name: &str) -> Result<Vec<SubscriptionRow>> {
    store.fetch(subscriptions::list(store.dialect()?, &store.inner.topic.name, Names::One(name))).await
}

/// Creates the rows of a subscription, one in each lane. A time at which the query begins, which is still to come, is kept
/// in them.
pub(crate) async fn insert(
    store: &Store,
    transaction: &mut Transaction,
    name: &str,
    query: &Query,
    marks: &[Mark],
) -> Result<()> {
    let filter = filter::readable(query);
    let (filter, filter_hash) = (filter.as_deref(), filter.as_deref().map(filter::fingerprint));
    let aggregate_id = query.stream.as_ref().map(|range| range.aggregate_id.as_str());
    for (Mark { position, .. }, lane) in marks.iter().zip(&store.inner.topic.lanes) {
        let row = NewRow { name, lane: *lane, aggregate_id, position: *position, filter, filter_hash };
        transaction.write(subscriptions::insert(store.dialect()?, &row)).await?;
        if let Some(from) = query.from {
            let beginning = Json::from_value(&Beginning { from })?;
            transaction.write(subscriptions::note(store.dialect()?, name, *lane, &beginning)).await?;
        }
    }
    Ok(())
}

/// Returns the time before which a subscription has no events, where that was still to come when it was created.
pub(super) fn beginning(rows: &[SubscriptionRow]) -> Option<DateTime<Utc>> {
    let beginning: Beginning = rows.first()?.metadata.as_ref()?.to().ok()?;
    Some(beginning.from)
}

/// Checks that the rows of a subscription are there, and of this query.
pub(crate) fn check(store: &Store, name: &str, query: &Query, rows: &[SubscriptionRow]) -> Result<()> {
    if rows.len() != store.inner.topic.lanes.len() {
        let reason = format!("{name:?} has no row in some lane: delete it, and create it anew");
        return Err(Error::invalid("subscription", reason));
    }
    let hash = filter::readable(query).as_deref().map(filter::fingerprint);
    if rows.iter().any(|row| row.filter_hash != hash) {
        return Err(Error::FilterChanged { name: name.to_owned() });
    }
    Ok(())
}
