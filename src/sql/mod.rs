//! SQL: what differs between the dialects, the statements, and the one decoder of rows.

#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mssql"))]
pub(crate) mod copy;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mssql"))]
pub(crate) mod dead_letters;
mod dialect;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mssql"))]
pub(crate) mod groups;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mssql"))]
pub(crate) mod holds;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mssql"))]
pub(crate) mod json;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mssql"))]
pub(crate) mod purge;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mssql"))]
mod query;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mssql"))]
pub(crate) mod rows;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mssql"))]
mod statement;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mssql"))]
pub(crate) mod statements;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mssql"))]
pub(crate) mod subscriptions;
mod value;

pub use dialect::Dialect;
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mssql"))]
pub(crate) use rows::{FromRow, RowRead};
#[cfg(any(feature = "sqlite", feature = "postgres", feature = "mssql"))]
pub(crate) use statement::{Sql, Statement};
pub(crate) use value::with_placeholders;
pub use value::{FromValue, Row, Value};
