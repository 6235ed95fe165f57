//! A case, what it needs, and how it fails.

use std::fmt;

use futures::future::BoxFuture;

use super::harness::Fixture;
use crate::backend::Capabilities;
use crate::error::Error;
use crate::sql::Dialect;

/// What became of a case's checks.
pub type Verdict = Result<(), Failure>;

/// One named case of the suite.
#[derive(Clone, Copy)]
pub struct Case {
    /// The name: a sentence of behaviour.
    pub name: &'static str,
    /// The sections of the contract that it proves, such as `3.2`.
    pub clauses: &'static [&'static str],
    /// What a backend must be capable of for the case to make sense.
    pub needs: &'static [Need],
    /// The checks.
    pub run: fn(Fixture) -> BoxFuture<'static, Verdict>,
}

impl fmt::Debug for Case {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Case").field("name", &self.name).field("clauses", &self.clauses).finish_non_exhaustive()
    }
}

/// What a case needs beyond the verbs that all backends have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Need {
    /// A second store of the same database sees what the first wrote.
    Durable,
    /// Several processes can use one database, and the `annals` program is at hand to be one of them.
    Processes,
    /// Sessions run SQL.
    Sql,
    /// Sessions run SQL, and the database has functions or procedures for people with only a SQL prompt.
    Routines,
    /// A session can end the store's other connections.
    Kill,
    /// Events can be found by the values that their JSON holds.
    JsonFilters,
    /// Lists are in byte order beyond the basic multilingual plane.
    ByteOrder,
    /// The topic is `default` with one lane: the case is about an order that all of its streams share.
    OneLane,
    /// The database has a URL.
    Url,
}

impl Need {
    /// Returns why a case with this need is skipped; `None` where the backend meets it.
    #[must_use]
    pub fn unmet(self, capabilities: Capabilities, lanes: usize, program: bool, url: bool) -> Option<&'static str> {
        match self {
            Self::Durable if !capabilities.durable => Some("a second store can't open the same database"),
            Self::Processes if !capabilities.processes => Some("several processes can't use one database"),
            Self::Processes if !program => Some("the annals program is not at hand"),
            Self::Sql if capabilities.sql.is_none() => Some("the backend has no sql sessions"),
            Self::Routines if matches!(capabilities.sql, None | Some(Dialect::Sqlite)) => {
                Some("the engine has no functions or procedures")
            }
            Self::Kill if !capabilities.kill => Some("no session can end the store's connections"),
            Self::JsonFilters if !capabilities.json_filters => Some("the backend can't search json"),
            Self::Url if !url => Some("the database has no url"),
            Self::OneLane if lanes > 1 => Some("it is about a topic with one lane"),
            Self::ByteOrder if !capabilities.byte_order => {
                Some("the engine orders names by utf-16 code units, not by bytes")
            }
            _ => None,
        }
    }
}

/// Why a case failed.
#[derive(Debug)]
pub struct Failure(pub String);

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(format!("unexpected error: {}", error.report()))
    }
}

impl From<tokio::task::JoinError> for Failure {
    fn from(error: tokio::task::JoinError) -> Self {
        Self(format!("a task of the case ended badly: {error}"))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self(format!("unexpected error: {error}"))
    }
}

/// Lists the cases of a family: `name: "clause", "clause" if Need;`, where the `if` says what the case needs.
macro_rules! cases {
    ($($name:ident: $($clause:literal),+ $(if $($need:ident),+)?);* $(;)?) => {
        &[$($crate::conformance::Case {
            name: stringify!($name),
            clauses: &[$($clause),+],
            needs: &[$($($crate::conformance::Need::$need),+)?],
            run: |fixture| Box::pin(async move { $name(&fixture).await }),
        }),*]
    };
}

/// Fails the case unless a condition holds.
macro_rules! ensure {
    ($condition:expr, $($message:tt)+) => {
        if !$condition {
            return Err($crate::conformance::Failure(format!($($message)+)));
        }
    };
}

/// Fails the case unless two values are equal.
macro_rules! ensure_eq {
    ($left:expr, $right:expr, $($message:tt)+) => {
        match (&$left, &$right) {
            (left, right) if left == right => {}
            (left, right) => {
                let message = format!($($message)+);
                return Err($crate::conformance::Failure(format!("{message}: got {left:?}, expected {right:?}")));
            }
        }
    };
}

/// Fails the case unless a result is an error of a pattern.
macro_rules! ensure_err {
    ($result:expr, $pattern:pat $(if $guard:expr)?) => {
        match $result {
            Err($pattern) $(if $guard)? => {}
            other => {
                let expected = stringify!($pattern);
                return Err($crate::conformance::Failure(format!("expected {expected}, got {other:?}")));
            }
        }
    };
}

pub(super) use {cases, ensure, ensure_eq, ensure_err};
