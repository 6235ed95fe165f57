//! From the model to the data definition language of each dialect.

mod sea;
mod tsql;

use super::shape::{Column, Json, Kind, Table};
use crate::sql::Dialect;

/// Whether a table that exists already is an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IfExists {
    /// The statement fails.
    Fail,
    /// The table is left as it is.
    Keep,
}

/// Returns the statements that create a table, its indexes and its comments.
///
/// `schema` is used where names are qualified, which is SQL Server; elsewhere the connection's search path decides.
#[must_use]
pub fn create_table(dialect: Dialect, schema: &str, table: &Table, if_exists: IfExists) -> String {
    match dialect {
        Dialect::Sqlite => sea::create_sqlite_table(table, if_exists),
        Dialect::Postgres => sea::create_postgres_table(table, if_exists),
        Dialect::Mssql => tsql::create_table(schema, table, if_exists),
    }
}

/// Returns the statement that drops a table.
#[must_use]
pub fn drop_table(dialect: Dialect, schema: &str, table: &Table) -> String {
    format!("DROP TABLE {};\n", qualified(dialect, schema, table.name))
}

/// Returns an identifier in the quotes of the dialect.
#[must_use]
pub fn quoted(dialect: Dialect, name: &str) -> String {
    match dialect {
        Dialect::Sqlite | Dialect::Postgres => format!("\"{}\"", name.replace('"', "\"\"")),
        Dialect::Mssql => format!("[{}]", name.replace(']', "]]")),
    }
}

/// Returns the name of a table, view or routine as statements must write it.
#[must_use]
pub fn qualified(dialect: Dialect, schema: &str, name: &str) -> String {
    match dialect {
        Dialect::Sqlite | Dialect::Postgres => quoted(dialect, name),
        Dialect::Mssql => format!("{}.{}", quoted(dialect, schema), quoted(dialect, name)),
    }
}

/// Returns a string literal.
#[must_use]
pub fn literal(dialect: Dialect, text: &str) -> String {
    let text = text.replace('\'', "''");
    match dialect {
        Dialect::Sqlite | Dialect::Postgres => format!("'{text}'"),
        Dialect::Mssql => format!("N'{text}'"),
    }
}

/// Returns the statement, if the dialect has one, that stores a comment on a view.
#[must_use]
pub fn comment_on_view(dialect: Dialect, schema: &str, view: &str, comment: &str) -> Option<String> {
    match dialect {
        Dialect::Sqlite => None,
        Dialect::Postgres => {
            Some(format!("COMMENT ON VIEW {} IS {};\n", quoted(dialect, view), literal(dialect, comment)))
        }
        Dialect::Mssql => Some(tsql::comment(schema, ("VIEW", view), None, comment)),
    }
}

/// Returns what the engine itself verifies of each value of a column.
#[must_use]
pub fn check(dialect: Dialect, column: &Column) -> Option<String> {
    let x = quoted(dialect, column.name);
    let checks = [
        kind_check(dialect, column.kind, &x).map(|check| or_null(dialect, column, &x, check)),
        range_check(dialect, column, &x),
    ];
    let checks: Vec<String> = checks.into_iter().flatten().collect();
    (!checks.is_empty()).then(|| checks.join(" AND "))
}

/// A check passes where it is null, but `json_valid` said no to a null in older versions of the engine.
fn or_null(dialect: Dialect, column: &Column, x: &str, check: String) -> String {
    match (dialect, column.kind) {
        (Dialect::Sqlite, Kind::Json(_)) if column.nullable => format!("({x} IS NULL OR {check})"),
        _ => check,
    }
}

fn kind_check(dialect: Dialect, kind: Kind, x: &str) -> Option<String> {
    match dialect {
        Dialect::Sqlite => match kind {
            Kind::Uuid => Some(format!("length({x}) = 16")),
            Kind::Name => Some(format!("length(CAST({x} AS BLOB)) BETWEEN 1 AND 255")),
            Kind::Text(bytes) => Some(format!("length(CAST({x} AS BLOB)) <= {bytes}")),
            Kind::Digest => Some(format!("length({x}) = 32")),
            Kind::Json(Json::Any) => Some(format!("json_valid({x})")),
            // json_type alone would let the laxer JSON5 through.
            Kind::Json(Json::Object) => Some(format!("json_valid({x}) AND json_type({x}) = 'object'")),
            Kind::Json(Json::Array) => Some(format!("json_valid({x}) AND json_type({x}) = 'array'")),
            Kind::OneOf(words) => Some(format!("{x} IN ({})", literals(dialect, words, ""))),
            Kind::Counter | Kind::Int | Kind::Time => None,
        },
        Dialect::Postgres => match kind {
            Kind::Name => Some(format!("octet_length({x}) BETWEEN 1 AND 255")),
            Kind::Text(bytes) => Some(format!("octet_length({x}) <= {bytes}")),
            Kind::Digest => Some(format!("octet_length({x}) = 32")),
            Kind::Json(Json::Object) => Some(format!("json_typeof({x}) = 'object'")),
            Kind::Json(Json::Array) => Some(format!("json_typeof({x}) = 'array'")),
            Kind::OneOf(words) => Some(format!("{x} IN ({})", literals(dialect, words, ""))),
            Kind::Uuid | Kind::Json(Json::Any) | Kind::Counter | Kind::Int | Kind::Time => None,
        },
        Dialect::Mssql => match kind {
            Kind::Name => Some(format!("{x} <> N''")),
            // ISJSON refuses scalars, so these are tried as a member; an array around them would admit `1, 2`.
            Kind::Json(Json::Any) => Some(format!("(ISJSON({x}) = 1 OR ISJSON(N'{{\"a\":' + {x} + N'}}') = 1)")),
            // Of a valid object or array, the first bracket tells which of the two it is.
            Kind::Json(Json::Object) => {
                Some(format!("ISJSON({x}) = 1 AND CHARINDEX(N'{{', {x} + N'{{') < CHARINDEX(N'[', {x} + N'[')"))
            }
            Kind::Json(Json::Array) => {
                Some(format!("ISJSON({x}) = 1 AND CHARINDEX(N'[', {x} + N'[') < CHARINDEX(N'{{', {x} + N'{{')"))
            }
            // A stop after the word, because comparisons ignore trailing spaces.
            Kind::OneOf(words) => Some(format!("{x} + N'.' IN ({})", literals(dialect, words, "."))),
            Kind::Uuid | Kind::Text(_) | Kind::Digest | Kind::Counter | Kind::Int | Kind::Time => None,
        },
    }
}

fn range_check(dialect: Dialect, column: &Column, x: &str) -> Option<String> {
    let at_most = match (dialect, column.kind) {
        // Integers have but one width there.
        (Dialect::Sqlite, Kind::Int) => column.at_most.or(Some(i64::from(i32::MAX))),
        _ => column.at_most,
    };
    match (column.at_least, at_most) {
        (None, None) => None,
        (Some(least), None) => Some(format!("{x} >= {least}")),
        (None, Some(most)) => Some(format!("{x} <= {most}")),
        (Some(least), Some(most)) => Some(format!("{x} BETWEEN {least} AND {most}")),
    }
}

fn literals(dialect: Dialect, words: &[&str], suffix: &str) -> String {
    let words: Vec<String> = words.iter().map(|word| literal(dialect, &format!("{word}{suffix}"))).collect();
    words.join(", ")
}
