//! SQL: what differs between the dialects, the statements, and the one decoder of rows.

#[cfg(feature = "_sql")]
pub(crate) mod copy;
#[cfg(feature = "_sql")]
pub(crate) mod dead_letters;
mod dialect;
#[cfg(feature = "_sql")]
pub(crate) mod groups;
#[cfg(feature = "_sql")]
pub(crate) mod holds;
#[cfg(feature = "_sql")]
pub(crate) mod json;
#[cfg(feature = "_sql")]
pub(crate) mod purge;
#[cfg(feature = "_sql")]
mod query;
#[cfg(feature = "_sql")]
pub(crate) mod rows;
#[cfg(feature = "_sql")]
mod statement;
#[cfg(feature = "_sql")]
pub(crate) mod statements;
#[cfg(feature = "_sql")]
pub(crate) mod subscriptions;
mod value;

pub use dialect::Dialect;
#[cfg(feature = "_sql")]
pub(crate) use rows::{FromRow, RowRead};
#[cfg(feature = "_sql")]
pub(crate) use statement::{Sql, Statement};
pub(crate) use value::with_placeholders;
pub use value::{FromValue, Row, Value};
