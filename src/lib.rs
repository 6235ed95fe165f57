//! An event store for the database that a team already runs: SQLite, Postgres or Microsoft SQL Server, chosen by a
//! connection URL, with one contract on all three.
//!
//! ```
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> annals::Result<()> {
//! use annals::{Expected, NewEvent, Store, Stream};
//!
//! let store = Store::connect("sqlite::memory:?migrate=auto").await?;
//! let order = Stream::new("order", "order-1")?;
//! let placed = NewEvent::json("OrderPlaced", &serde_json::json!({"total": 12}))?;
//! store.append(&order, Expected::NoStream, [placed]).await?;
//!
//! let events = store.read_stream(&order).await?;
//! assert_eq!(events[0].event_type, "OrderPlaced");
//! # Ok(())
//! # }
//! ```

#![forbid(unsafe_code)]
#![warn(missing_docs)]

mod store;
mod topics;

mod aggregate;

mod append;
mod command;
mod config;
mod error;
mod event;
mod json;
mod name;
mod position;
#[cfg(feature = "_sql")]
mod projection;
mod read;
mod snapshot;
mod stream;
mod subscription;
#[cfg(feature = "_sql")]
mod transaction;

pub mod hash;
pub mod limits;

mod encode;
mod lane;
mod metrics;
mod resend;
mod writer;

pub mod backend;
#[cfg(feature = "_sql")]
mod copy;
#[cfg(feature = "_sql")]
mod index;
mod sql;

pub mod migrate;
#[cfg(feature = "_sql")]
pub mod relay;
pub mod schema;

#[cfg(feature = "bench")]
pub mod bench;
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
#[cfg(feature = "conformance")]
pub mod conformance;
#[cfg(feature = "testing")]
pub mod testing;

pub use backend::registry::register_adapter;

pub use aggregate::{
    Aggregate, AsOf, Execute, ExecuteError, Executed, Loaded, Snapshots, TypedEvent, Unknown, Upcaster,
};
pub use append::{Append, Appended, Condition, ConditionItem};
pub use command::{Command, RecordedCommand};
pub use config::Config;
#[cfg(feature = "_sql")]
pub use copy::{Copied, Cutover, Difference, TopicCopy, Verified};
pub use error::{Error, ErrorClass, Result};
pub use event::{ActorType, NewEvent, Payload, RecordedEvent, Source, marker};
#[cfg(feature = "_sql")]
pub use index::PayloadIndex;
pub use json::Json;
pub use metrics::WriterMetrics;
pub use name::check as check_name;
pub use position::{LaneId, Position, Version};
#[cfg(feature = "_sql")]
pub use projection::{
    InlineProjections, Projection, ProjectionInfo, ProjectionProgress, ProjectionResult, ProjectionState, Projector,
    projection_subscription,
};
pub use read::{Direction, Document, JsonFilter, Page, Query, StreamFilter, StreamRange, TypeStatistics};
pub use snapshot::{NewSnapshot, Snapshot, SnapshotQuery};
pub use sql::{Dialect, FromValue, Row, Value};
pub use store::Store;
pub use stream::{Expected, Stream, StreamInfo};
pub use subscription::{Checkpoint, Start, Subscription};
#[cfg(feature = "_sql")]
pub use subscription::{
    DeadLetter, Delivery, Durable, DurableSubscription, Group, GroupInfo, Handlers, LaneProgress, Member, MemberInfo,
    SubscriptionInfo,
};
pub use topics::{
    BackendHealth, ConfiguredTopic, HealthState, Purged, Registry, TopicChange, TopicChangeKind, TopicConfig,
    TopicConfigBuilder, TopicDifference, TopicHealth, TopicHold, Topics, TopicsBuilder,
};
#[cfg(feature = "_sql")]
pub use transaction::Transaction;

/// Runs the examples of the documents with the tests.
#[cfg(doctest)]
mod documents {
    #[doc = include_str!("../README.md")]
    struct Readme;
    #[doc = include_str!("../docs/consumer-groups.md")]
    struct ConsumerGroups;
    #[doc = include_str!("../docs/verbs.md")]
    struct Verbs;
    #[doc = include_str!("../docs/subscriptions.md")]
    struct Subscriptions;
    #[cfg(feature = "testing")]
    #[doc = include_str!("../docs/aggregates.md")]
    struct Aggregates;
    #[cfg(feature = "nats")]
    #[doc = include_str!("../docs/relay.md")]
    struct Relay;
    #[cfg(feature = "sqlite")]
    #[doc = include_str!("../docs/topics.md")]
    struct Topics;
    #[doc = include_str!("../docs/projections.md")]
    struct Projections;
}
