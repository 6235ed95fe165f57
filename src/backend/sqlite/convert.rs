//! Between the store's values and rusqlite's, and what an error of SQLite means.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use rusqlite::types::{ToSqlOutput, ValueRef};
use rusqlite::{Connection, ErrorCode, Row, ToSql};
use uuid::Uuid;

use crate::error::{Error, ErrorClass, Result};
use crate::sql::rows::{damaged, hash, time};
use crate::sql::{self, FromRow, RowRead, Statement, Value};

/// Runs a reading statement.
pub(super) fn run<T: FromRow>(connection: &Connection, statement: &Statement) -> Result<Vec<T>> {
    run_until(connection, statement, |_| false)
}

/// Runs a reading statement up to the row with which there are enough.
pub(super) fn run_until<T: FromRow>(
    connection: &Connection,
    statement: &Statement,
    mut is_enough: impl FnMut(&T) -> bool,
) -> Result<Vec<T>> {
    let failed = |error| classify(statement.operation, error);
    let mut prepared = connection.prepare_cached(&statement.sql).map_err(failed)?;
    let mut rows = prepared.query(rusqlite::params_from_iter(&statement.params)).map_err(failed)?;
    let mut found = Vec::new();
    while let Some(row) = rows.next().map_err(failed)? {
        found.push(T::from_row(&SqliteRow(row))?);
        if found.last().is_some_and(&mut is_enough) {
            break;
        }
    }
    Ok(found)
}

/// Runs a writing statement and returns how many rows it changed.
pub(super) fn execute(connection: &Connection, statement: &Statement) -> Result<u64> {
    let failed = |error| classify(statement.operation, error);
    let mut prepared = connection.prepare_cached(&statement.sql).map_err(failed)?;
    Ok(prepared.execute(rusqlite::params_from_iter(&statement.params)).map_err(failed)? as u64)
}

impl ToSql for Value {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        let value = match self {
            Self::I64(Some(number)) => return Ok((*number).into()),
            Self::I32(Some(number)) => return Ok((*number).into()),
            Self::Bool(Some(truth)) => return Ok((*truth).into()),
            Self::F64(Some(number)) => return Ok((*number).into()),
            Self::Time(Some(time)) => return Ok(time.timestamp_micros().into()),
            Self::Text(Some(text)) | Self::Json(Some(text)) => ValueRef::Text(text.as_bytes()),
            Self::Uuid(Some(id)) => ValueRef::Blob(id.as_bytes()),
            Self::Bytes(Some(bytes)) => ValueRef::Blob(bytes),
            _ => ValueRef::Null,
        };
        Ok(ToSqlOutput::Borrowed(value))
    }
}

struct SqliteRow<'a>(&'a Row<'a>);

impl SqliteRow<'_> {
    #[inline]
    fn value(&self, column: usize) -> Result<ValueRef<'_>> {
        self.0.get_ref(column).map_err(|error| damaged(error.to_string()))
    }

    fn optional<'a, T>(
        &'a self,
        column: usize,
        convert: impl FnOnce(ValueRef<'a>) -> Result<T, rusqlite::types::FromSqlError>,
    ) -> Result<Option<T>> {
        match self.value(column)? {
            ValueRef::Null => Ok(None),
            value => convert(value).map(Some).map_err(|error| damaged(format!("column {column}: {error}"))),
        }
    }
}

impl RowRead for SqliteRow<'_> {
    fn i64(&self, column: usize) -> Result<Option<i64>> {
        self.optional(column, |value| value.as_i64())
    }

    fn i32(&self, column: usize) -> Result<Option<i32>> {
        let number = self.i64(column)?;
        number.map(|number| number.try_into().map_err(|_| damaged(format!("{number} is no 32-bit number")))).transpose()
    }

    fn text(&self, column: usize) -> Result<Option<String>> {
        self.optional(column, |value| value.as_str().map(str::to_owned))
    }

    fn json(&self, column: usize) -> Result<Option<String>> {
        self.text(column)
    }

    fn uuid(&self, column: usize) -> Result<Option<Uuid>> {
        let bytes = self.optional(column, |value| value.as_blob())?;
        bytes.map(|bytes| Uuid::from_slice(bytes).map_err(|error| damaged(error.to_string()))).transpose()
    }

    fn time(&self, column: usize) -> Result<Option<DateTime<Utc>>> {
        self.i64(column)?.map(time).transpose()
    }

    fn bytes(&self, column: usize) -> Result<Option<Vec<u8>>> {
        self.optional(column, |value| value.as_blob().map(<[u8]>::to_vec))
    }

    fn word<T: FromStr<Err = Error>>(&self, column: usize) -> Result<Option<T>> {
        self.optional(column, |value| value.as_str())?.map(str::parse).transpose()
    }

    fn hash(&self, column: usize) -> Result<Option<[u8; 32]>> {
        self.optional(column, |value| value.as_blob())?.map(hash).transpose()
    }

    fn row(&self) -> Result<sql::Row> {
        let cell = |column: usize| {
            Ok(match self.value(column)? {
                ValueRef::Null => Value::Text(None),
                ValueRef::Integer(number) => number.into(),
                ValueRef::Real(number) => number.into(),
                ValueRef::Text(text) => String::from_utf8_lossy(text).into_owned().into(),
                ValueRef::Blob(bytes) => bytes.to_vec().into(),
            })
        };
        (0..self.0.as_ref().column_count()).map(cell).collect::<Result<_>>().map(sql::Row::new)
    }
}

/// Says what an error of SQLite means for the caller.
pub(super) fn classify(operation: &'static str, error: rusqlite::Error) -> Error {
    let class = match error.sqlite_error_code() {
        Some(ErrorCode::ConstraintViolation) => ErrorClass::Conflict,
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => ErrorClass::Retry,
        _ => ErrorClass::Fatal,
    };
    let hint = match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => {
            "another process holds the database's lock: try again, or raise statement_timeout"
        }
        Some(ErrorCode::ReadOnly) => {
            "the file or its folder can't be written: change its permissions, or open it elsewhere"
        }
        Some(ErrorCode::DiskFull) => "the disk is full: nothing was stored; make room and try again",
        Some(ErrorCode::NotADatabase) => "the file is not a SQLite database: give another path",
        Some(ErrorCode::DatabaseCorrupt) => "the file is damaged: restore it from a backup",
        Some(ErrorCode::CannotOpen) => "the file can't be opened: does its folder exist, and may it be read?",
        _ => return Error::backend("sqlite", operation, class, error),
    };
    Error::backend("sqlite", operation, class, format!("{error} ({hint})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_statement_is_read_up_to_the_row_with_which_there_are_enough() {
        let connection = Connection::open_in_memory().unwrap();
        let sql = "WITH RECURSIVE n(i) AS (VALUES (1) UNION ALL SELECT i + 1 FROM n) SELECT i FROM n".to_owned();
        let endless = Statement { operation: "count", sql, params: Vec::new() };
        assert_eq!(run_until(&connection, &endless, |number: &i64| *number == 3).unwrap(), [1, 2, 3]);
    }
}
