//! Every textual difference between the dialects of the shared statements.

use std::fmt;
use std::str::FromStr;

use crate::error::{Error, Result};

/// A dialect of SQL that the store speaks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Dialect {
    /// SQLite.
    Sqlite,
    /// Postgres.
    Postgres,
    /// Microsoft SQL Server, Transact-SQL.
    Mssql,
}

impl Dialect {
    /// Every dialect.
    pub const ALL: [Self; 3] = [Self::Sqlite, Self::Postgres, Self::Mssql];

    /// Returns the dialect's name, which is also the scheme of its URLs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sqlite => "sqlite",
            Self::Postgres => "postgres",
            Self::Mssql => "mssql",
        }
    }

    /// Returns the placeholder of the parameter with this number, from 1.
    pub(crate) fn placeholder(self, number: usize) -> String {
        match self {
            Self::Sqlite => format!("?{number}"),
            Self::Postgres => format!("${number}"),
            Self::Mssql => format!("@P{number}"),
        }
    }

    /// Returns what stands before a table's name. SQL Server has no search path: its engine puts the schema in the
    /// place of the token.
    pub(crate) const fn table_prefix(self) -> &'static str {
        match self {
            Self::Sqlite | Self::Postgres => "",
            Self::Mssql => Self::SCHEMA_TOKEN,
        }
    }

    /// What SQL Server's engine replaces by the schema.
    pub(crate) const SCHEMA_TOKEN: &str = "{s}";

    /// Returns what follows ORDER BY to keep the first rows only.
    pub(crate) fn limit(self, rows: usize) -> String {
        match self {
            Self::Sqlite | Self::Postgres => format!(" LIMIT {rows}"),
            Self::Mssql => format!(" OFFSET 0 ROWS FETCH NEXT {rows} ROWS ONLY"),
        }
    }

    /// Returns the expression for the bytes of a document; on SQL Server, those of UTF-16.
    pub(crate) fn bytes(self, column: &str) -> String {
        match self {
            Self::Sqlite => format!("octet_length({column})"),
            Self::Postgres => format!("octet_length({column}::text)"),
            Self::Mssql => format!("DATALENGTH({column})"),
        }
    }

    /// Returns the condition that keeps events beyond the observed head out of a page. SQLite and Postgres read the
    /// head and the events in one snapshot; SQL Server's engine has the head in a variable.
    pub(crate) const fn below_head(self) -> &'static str {
        match self {
            Self::Sqlite | Self::Postgres => "",
            Self::Mssql => " AND e.position <= @head",
        }
    }

    /// Returns the expression for the database's clock. SQLite's own has milliseconds only, so its engine registers a
    /// function.
    pub(crate) const fn now(self) -> &'static str {
        match self {
            Self::Sqlite => "annals_now()",
            Self::Postgres => "clock_timestamp()",
            Self::Mssql => "SYSUTCDATETIME()",
        }
    }

    /// Returns the expression for a time that is a parameter's milliseconds after that of the database's clock, and the same
    /// in all rows of a statement.
    pub(crate) const fn later(self) -> &'static str {
        match self {
            Self::Sqlite => "(SELECT annals_now() + 1000 * ?)",
            Self::Postgres => "statement_timestamp() + ? * interval '1 millisecond'",
            Self::Mssql => "DATEADD(millisecond, CAST(? AS int), SYSUTCDATETIME())",
        }
    }

    /// Returns the place of a parameter that a column of times is compared with. SQL Server's driver sends a digit more than
    /// the column has, for which the column would be converted, and its index no longer be in order.
    pub(crate) const fn time(self) -> &'static str {
        match self {
            Self::Sqlite | Self::Postgres => "?",
            Self::Mssql => "CAST(? AS datetime2(6))",
        }
    }

    /// Returns the count of a group's rows, as a 64-bit number.
    pub(crate) const fn count(self) -> &'static str {
        match self {
            Self::Sqlite | Self::Postgres => "COUNT",
            Self::Mssql => "COUNT_BIG",
        }
    }
}

impl fmt::Display for Dialect {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dialect {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL
            .into_iter()
            .find(|dialect| dialect.name() == text)
            .ok_or_else(|| Error::invalid("dialect", format!("{text:?} is not one of sqlite, postgres, mssql")))
    }
}
