//! Values that go into a statement and come back from it, the same on every engine.

use std::borrow::Cow;

use chrono::{DateTime, Utc};
use uuid::Uuid;

use super::Dialect;
use crate::error::{Error, Result};
use crate::json::Json;

/// A value of a statement: a parameter, or a cell of a row. `None` is a null of the type.
///
/// Times are in UTC and in microseconds. SQLite keeps a [`Time`](Value::Time) as an integer of microseconds since 1970, a
/// [`Uuid`](Value::Uuid) as 16 bytes and a [`Bool`](Value::Bool) as 0 or 1, and gives them back as such; [`Row::get`]
/// turns them into what is asked for.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Value {
    /// A truth value.
    Bool(Option<bool>),
    /// A whole number of 32 bits.
    I32(Option<i32>),
    /// A whole number of 64 bits.
    I64(Option<i64>),
    /// A floating-point number.
    F64(Option<f64>),
    /// Text.
    Text(Option<String>),
    /// A document for a column of the database's JSON type.
    Json(Option<String>),
    /// A uuid.
    Uuid(Option<Uuid>),
    /// A time.
    Time(Option<DateTime<Utc>>),
    /// Bytes.
    Bytes(Option<Vec<u8>>),
}

impl Value {
    /// Returns whether the value is a null, of whatever type.
    #[must_use]
    pub const fn is_null(&self) -> bool {
        matches!(
            self,
            Self::Bool(None)
                | Self::I32(None)
                | Self::I64(None)
                | Self::F64(None)
                | Self::Text(None)
                | Self::Json(None)
                | Self::Uuid(None)
                | Self::Time(None)
                | Self::Bytes(None)
        )
    }

    /// Names the type, without the value, which may be anybody's data.
    const fn kind(&self) -> &'static str {
        match self {
            Self::Bool(_) => "a truth value",
            Self::I32(_) | Self::I64(_) => "a whole number",
            Self::F64(_) => "a number",
            Self::Text(_) => "text",
            Self::Json(_) => "json",
            Self::Uuid(_) => "a uuid",
            Self::Time(_) => "a time",
            Self::Bytes(_) => "bytes",
        }
    }
}

macro_rules! values {
    ($($variant:ident($type:ty);)*) => {$(
        impl From<$type> for Value {
            fn from(value: $type) -> Self {
                Self::$variant(Some(value))
            }
        }

        impl From<Option<$type>> for Value {
            fn from(value: Option<$type>) -> Self {
                Self::$variant(value)
            }
        }
    )*};
}

values! {
    Bool(bool);
    I32(i32);
    I64(i64);
    F64(f64);
    Text(String);
    Uuid(Uuid);
    Time(DateTime<Utc>);
    Bytes(Vec<u8>);
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(Some(text.to_owned()))
    }
}

impl From<&String> for Value {
    fn from(text: &String) -> Self {
        Self::from(text.as_str())
    }
}

impl From<Json> for Value {
    fn from(json: Json) -> Self {
        Self::Json(Some(json.as_str().to_owned()))
    }
}

/// What a cell can be read as, see [`Row::get`].
pub trait FromValue: Sized {
    /// Names the type, for errors.
    const NAME: &'static str;

    /// Takes the value; `None` where it is of another type, or a null where that is none of the type's values.
    fn from_value(value: Value) -> Option<Self>;
}

impl<T: FromValue> FromValue for Option<T> {
    const NAME: &'static str = T::NAME;

    fn from_value(value: Value) -> Option<Self> {
        if value.is_null() { Some(None) } else { T::from_value(value).map(Some) }
    }
}

impl FromValue for Value {
    const NAME: &'static str = "a value";

    fn from_value(value: Value) -> Option<Self> {
        Some(value)
    }
}

macro_rules! from_values {
    ($($type:ty, $name:literal: $($pattern:pat => $value:expr),*;)*) => {$(
        impl FromValue for $type {
            const NAME: &'static str = $name;

            fn from_value(value: Value) -> Option<Self> {
                match value {
                    $($pattern => $value,)*
                    _ => None,
                }
            }
        }
    )*};
}

from_values! {
    bool, "a truth value": Value::Bool(value) => value, Value::I64(Some(number @ 0..=1)) => Some(number == 1);
    i32, "a whole number of 32 bits": Value::I32(value) => value, Value::I64(Some(number)) => number.try_into().ok();
    i64, "a whole number": Value::I64(value) => value, Value::I32(Some(number)) => Some(number.into());
    f64, "a number": Value::F64(value) => value, Value::I32(Some(number)) => Some(number.into()),
        Value::I64(Some(number)) => Some(number as f64);
    String, "text": Value::Text(text) => text, Value::Json(text) => text;
    Uuid, "a uuid": Value::Uuid(id) => id, Value::Bytes(Some(bytes)) => Uuid::from_slice(&bytes).ok();
    DateTime<Utc>, "a time": Value::Time(time) => time,
        Value::I64(Some(micros)) => DateTime::from_timestamp_micros(micros);
    Vec<u8>, "bytes": Value::Bytes(bytes) => bytes;
}

/// A row that a statement returned.
#[derive(Debug, Clone, PartialEq)]
pub struct Row(pub(crate) Vec<Value>);

impl Row {
    /// Makes a row of its cells; for backends.
    #[must_use]
    pub const fn new(cells: Vec<Value>) -> Self {
        Self(cells)
    }

    /// Returns the cells, in the order of the columns.
    #[must_use]
    pub fn cells(&self) -> &[Value] {
        &self.0
    }

    /// Returns the cell of a column, counted from 0, as a type: `bool`, `i32`, `i64`, `f64`, `String`, [`Uuid`],
    /// [`DateTime<Utc>`], `Vec<u8>`, or an [`Option`] of one of these where it may be null.
    ///
    /// # Errors
    /// [`Error::Invalid`] where there is no such column, or its value is not of the type.
    pub fn get<T: FromValue>(&self, column: usize) -> Result<T> {
        let refuse = |found: &str| Error::invalid("column", format!("column {column} holds {found}, not {}", T::NAME));
        let value = self.0.get(column).ok_or_else(|| refuse("nothing, as the row is shorter"))?;
        let kind = if value.is_null() { "a null" } else { value.kind() };
        T::from_value(value.clone()).ok_or_else(|| refuse(kind))
    }
}

/// Puts the dialect's placeholders in the place of each `?` of a statement, and a question mark in that of each `??`.
/// Returns the parameters that go with it: on SQL Server nulls stand in the text, as Babelfish takes none that has no type.
///
/// # Errors
/// [`Error::Invalid`] where there are not as many as parameters.
pub(crate) fn with_placeholders<'p>(
    dialect: Dialect,
    sql: &str,
    params: &'p [Value],
) -> Result<(String, Cow<'p, [Value]>)> {
    let in_text = |value: &Value| dialect == Dialect::Mssql && value.is_null();
    let (mut text, mut places, mut sent) = (String::with_capacity(sql.len() + 8), 0, 0);
    let mut chars = sql.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '?' {
            text.push(c);
        } else if chars.next_if_eq(&'?').is_some() {
            text.push('?');
        } else {
            if params.get(places).is_some_and(in_text) {
                text.push_str("NULL");
            } else {
                sent += 1;
                text.push_str(&dialect.placeholder(sent));
            }
            places += 1;
        }
    }
    let given = params.len();
    if places != given {
        let reason =
            format!("it has {places} places for parameters and was given {given}; write ?? for a question mark");
        return Err(Error::invalid("statement", reason));
    }
    let left = || params.iter().filter(|value| !in_text(value)).cloned().collect();
    Ok((text, if sent == given { Cow::Borrowed(params) } else { Cow::Owned(left()) }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cell_is_what_is_asked_for_however_the_engine_keeps_it() {
        let id = Uuid::new_v4();
        let time = DateTime::from_timestamp_micros(1_700_000_000_000_001).unwrap();
        let row = Row(vec![
            Value::Bytes(Some(id.as_bytes().to_vec())),
            Value::I64(Some(time.timestamp_micros())),
            Value::I64(Some(1)),
            Value::I64(None),
        ]);
        assert_eq!(row.get::<Uuid>(0).unwrap(), id);
        assert_eq!(row.get::<DateTime<Utc>>(1).unwrap(), time);
        assert!(row.get::<bool>(2).unwrap());
        assert_eq!(row.get::<i32>(2).unwrap(), 1);
        assert_eq!(row.get::<Option<i64>>(3).unwrap(), None);
    }

    #[test]
    fn a_cell_of_another_type_is_refused_without_its_value() {
        let row = Row(vec![Value::Text(Some("secret".into())), Value::Text(None), Value::I64(Some(i64::MAX))]);
        let said = |error: Error| error.to_string();
        assert_eq!(said(row.get::<i64>(0).unwrap_err()), "invalid column: column 0 holds text, not a whole number");
        assert_eq!(said(row.get::<String>(1).unwrap_err()), "invalid column: column 1 holds a null, not text");
        assert!(row.get::<i32>(2).is_err(), "a number that is too large");
        assert!(row.get::<bool>(2).is_err(), "a number that is no truth value");
        assert!(row.get::<i64>(3).is_err(), "a column that is not there");
    }

    #[test]
    fn places_are_counted_and_question_marks_kept() {
        let sql = "SELECT '??', a FROM t WHERE b = ? AND c = ?";
        let params = [Value::from("b"), Value::from("c"), Value::from("d")];
        let with = |dialect| with_placeholders(dialect, sql, &params[..2]).unwrap().0;
        assert_eq!(with(Dialect::Postgres), "SELECT '?', a FROM t WHERE b = $1 AND c = $2");
        assert_eq!(with(Dialect::Mssql), "SELECT '?', a FROM t WHERE b = @P1 AND c = @P2");
        assert!(with_placeholders(Dialect::Sqlite, sql, &params[..1]).is_err());
        assert!(with_placeholders(Dialect::Sqlite, sql, &params).is_err());
    }

    #[test]
    fn nulls_stand_in_the_text_on_sql_server() {
        let params = [Value::from("a"), Value::Text(None), Value::from("c")];
        let with = |dialect| with_placeholders(dialect, "VALUES (?, ?, ?)", &params).unwrap();
        let (text, sent) = with(Dialect::Mssql);
        assert_eq!(
            (text.as_str(), sent.as_ref()),
            ("VALUES (@P1, NULL, @P2)", &[Value::from("a"), Value::from("c")][..])
        );
        assert_eq!(with(Dialect::Postgres).1.as_ref(), &params);
        assert!(with_placeholders(Dialect::Mssql, "VALUES (?, ?)", &params).is_err());
    }
}
