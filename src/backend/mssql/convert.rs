//! Between the store's values and the driver's, statements within the server's limits, and what an error means.

use std::borrow::Cow;

use chrono::{DateTime, SubsecRound, Utc};
use tiberius::error::Error as DriverError;
use tiberius::{ColumnData, FromSql, IntoSql, Row, ToSql, TokenRow};
use uuid::Uuid;

use crate::error::{Error, ErrorClass, Result};
use crate::sql::rows::damaged;
use crate::sql::{self, RowRead, Statement, Value};

/// Parameters of one call. The server takes 2,100, of which the driver's call itself uses two.
pub(super) const PARAMETERS: usize = 2_000;

impl ToSql for Value {
    fn to_sql(&self) -> ColumnData<'_> {
        match self {
            Self::I64(number) => ColumnData::I64(*number),
            Self::I32(number) => ColumnData::I32(*number),
            Self::Bool(truth) => ColumnData::Bit(*truth),
            Self::F64(number) => ColumnData::F64(*number),
            Self::Text(text) | Self::Json(text) => ColumnData::String(text.as_deref().map(Cow::Borrowed)),
            Self::Uuid(id) => ColumnData::Guid(*id),
            // The tables and the other engines have microseconds; a bound must not fall between two of them.
            Self::Time(time) => IntoSql::into_sql(time.map(|time| within_years(time).trunc_subsecs(6))),
            Self::Bytes(bytes) => ColumnData::Binary(bytes.as_deref().map(Cow::Borrowed)),
        }
    }
}

/// A row of a bulk load, whose times have the type of their columns.
pub(super) fn bulk_row(values: &[Value]) -> TokenRow<'_> {
    let mut row = TokenRow::with_capacity(values.len());
    for value in values {
        row.push(match value {
            Value::Time(time) => IntoSql::into_sql(time.map(|time| within_years(time).trunc_subsecs(6).naive_utc())),
            value => value.to_sql(),
        });
    }
    row
}

/// The server knows the years 1 to 9999; a bound beyond them bounds as much as their end.
fn within_years(time: DateTime<Utc>) -> DateTime<Utc> {
    const FIRST: i64 = -62_135_596_800;
    const LAST: i64 = 253_402_300_799;
    match time.timestamp() {
        ..FIRST => DateTime::from_timestamp(FIRST, 0).unwrap_or(time),
        second if second > LAST => DateTime::from_timestamp(LAST, 999_999_000).unwrap_or(time),
        _ => time,
    }
}

/// Gives a statement with too many parameters as one that has its names and numbers in its text.
pub(super) fn fitting(sql: String, params: &[Value]) -> (String, Cow<'_, [Value]>) {
    if params.len() <= PARAMETERS {
        return (sql, Cow::Borrowed(params));
    }
    let mut left = Vec::new();
    let sql = with_parameters(&sql, |number| {
        let value = params.get(number - 1);
        value.and_then(literal).unwrap_or_else(|| {
            left.extend(value.cloned());
            format!("@P{}", left.len())
        })
    });
    (sql, Cow::Owned(left))
}

fn literal(value: &Value) -> Option<String> {
    match value {
        Value::I64(Some(number)) => Some(number.to_string()),
        Value::I32(Some(number)) => Some(number.to_string()),
        Value::Uuid(Some(id)) => Some(format!("CAST(N'{id}' AS uniqueidentifier)")),
        Value::Text(Some(text)) => Some(format!("N'{}'", text.replace('\'', "''"))),
        _ => None,
    }
}

/// Puts other text in the place of each parameter of a statement, which has no literal with `@P` in it.
fn with_parameters(sql: &str, mut place: impl FnMut(usize) -> String) -> String {
    let mut pieces = sql.split("@P");
    let mut text = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let digits = piece.find(|c: char| !c.is_ascii_digit()).unwrap_or(piece.len());
        match piece[..digits].parse() {
            Ok(number) => text.push_str(&place(number)),
            Err(_) => text.push_str("@P"),
        }
        text.push_str(&piece[digits..]);
    }
    text
}

/// Returns a statement's text with its parameters counted from `before + 1`.
pub(super) fn renumbered(sql: &str, before: usize) -> String {
    with_parameters(sql, |number| format!("@P{}", number + before))
}

/// Parameters up to which statements share a call: longer ones take the server long to parse, and save little.
const SHARED: usize = 1_000;

/// Joins statements into few calls, in their order.
pub(super) fn packed(operation: &'static str, statements: impl IntoIterator<Item = Statement>) -> Vec<Statement> {
    let mut calls: Vec<Statement> = Vec::new();
    for statement in statements {
        match calls.last_mut() {
            Some(call) if call.params.len() + statement.params.len() <= SHARED => {
                call.sql.push_str(";\n");
                call.sql.push_str(&renumbered(&statement.sql, call.params.len()));
                call.params.extend(statement.params);
            }
            _ => calls.push(Statement { operation, ..statement }),
        }
    }
    calls
}

/// A cell of a row, whatever its type.
pub(super) struct Cell<'a>(&'a ColumnData<'static>);

impl<'a> FromSql<'a> for Cell<'a> {
    fn from_sql(value: &'a ColumnData<'static>) -> tiberius::Result<Option<Self>> {
        Ok(Some(Self(value)))
    }
}

/// Reads a row by column number.
pub(super) trait CellRead {
    fn cell(&self, column: usize) -> Result<Cell<'_>>;
}

impl CellRead for Row {
    fn cell(&self, column: usize) -> Result<Cell<'_>> {
        let cell = self.try_get(column).map_err(|error| damaged(error.to_string()))?;
        cell.ok_or_else(|| damaged(format!("there is no column {column}")))
    }
}

impl<'a> Cell<'a> {
    pub(super) fn integer(&self) -> Result<Option<i64>> {
        match self.0 {
            ColumnData::I64(number) => Ok(*number),
            ColumnData::I32(number) => Ok(number.map(i64::from)),
            ColumnData::I16(number) => Ok(number.map(i64::from)),
            ColumnData::U8(number) => Ok(number.map(i64::from)),
            ColumnData::Bit(bit) => Ok(bit.map(i64::from)),
            other => Err(unexpected("a whole number", other)),
        }
    }

    pub(super) fn text(&self) -> Result<Option<&'a str>> {
        match self.0 {
            ColumnData::String(text) => Ok(text.as_deref()),
            other => Err(unexpected("text", other)),
        }
    }
}

fn unexpected(wanted: &str, found: &ColumnData<'_>) -> Error {
    damaged(format!("{wanted} was expected, and {} came", kind(found)))
}

/// Names a cell's type without its value, which may be anyone's data.
const fn kind(data: &ColumnData<'_>) -> &'static str {
    match data {
        ColumnData::U8(_) | ColumnData::I16(_) | ColumnData::I32(_) | ColumnData::I64(_) => "a whole number",
        ColumnData::F32(_) | ColumnData::F64(_) | ColumnData::Numeric(_) => "a number",
        ColumnData::Bit(_) => "a bit",
        ColumnData::String(_) | ColumnData::Xml(_) => "text",
        ColumnData::Guid(_) => "a uuid",
        ColumnData::Binary(_) => "bytes",
        _ => "a time",
    }
}

/// A row as the store's decoder reads it.
pub(super) struct MssqlRow<'a>(pub(super) &'a Row);

impl RowRead for MssqlRow<'_> {
    fn i64(&self, column: usize) -> Result<Option<i64>> {
        self.0.cell(column)?.integer()
    }

    fn i32(&self, column: usize) -> Result<Option<i32>> {
        let number = self.i64(column)?;
        number.map(|number| number.try_into().map_err(|_| damaged(format!("{number} is no 32-bit number")))).transpose()
    }

    fn text(&self, column: usize) -> Result<Option<String>> {
        Ok(self.0.cell(column)?.text()?.map(str::to_owned))
    }

    fn json(&self, column: usize) -> Result<Option<String>> {
        self.text(column)
    }

    fn uuid(&self, column: usize) -> Result<Option<Uuid>> {
        match self.0.cell(column)?.0 {
            ColumnData::Guid(id) => Ok(*id),
            other => Err(unexpected("a uuid", other)),
        }
    }

    /// The server's clock has a digit more than the tables, and than the store.
    fn time(&self, column: usize) -> Result<Option<DateTime<Utc>>> {
        let time: Option<DateTime<Utc>> =
            self.0.try_get(column).map_err(|error| damaged(format!("column {column}: {error}")))?;
        Ok(time.map(|time| time.trunc_subsecs(6)))
    }

    fn bytes(&self, column: usize) -> Result<Option<Vec<u8>>> {
        match self.0.cell(column)?.0 {
            ColumnData::Binary(bytes) => Ok(bytes.as_deref().map(<[u8]>::to_vec)),
            other => Err(unexpected("bytes", other)),
        }
    }

    fn row(&self) -> Result<sql::Row> {
        let cell = |column: usize| {
            Ok(match self.0.cell(column)?.0 {
                ColumnData::U8(number) => number.map(i32::from).into(),
                ColumnData::I16(number) => number.map(i32::from).into(),
                ColumnData::I32(number) => (*number).into(),
                ColumnData::I64(number) => (*number).into(),
                ColumnData::Bit(truth) => (*truth).into(),
                ColumnData::F32(number) => number.map(f64::from).into(),
                ColumnData::F64(number) => (*number).into(),
                ColumnData::String(text) => text.as_deref().map(str::to_owned).into(),
                ColumnData::Guid(id) => (*id).into(),
                ColumnData::Binary(bytes) => bytes.as_deref().map(<[u8]>::to_vec).into(),
                ColumnData::DateTime2(_) => self.time(column)?.into(),
                other => {
                    let kind = kind(other);
                    return Err(damaged(format!("column {column} holds {kind} of a type that is not read: cast it")));
                }
            })
        };
        (0..self.0.len()).map(cell).collect::<Result<_>>().map(sql::Row::new)
    }
}

/// Says what an error means for the caller; `committing` where a commit was sent that was not answered.
pub(super) fn classify(operation: &'static str, error: &DriverError, committing: bool) -> Error {
    if is_missing(error) {
        let reason = "the database has no event store, or an older one: run `annals migrate up`, or open the store with \
             migrate=auto";
        return Error::Schema { reason: format!("{reason} ({})", said(error)) };
    }
    let class = class(error, committing);
    match hint(error) {
        None => Error::backend("mssql", operation, class, said(error)),
        Some(hint) => Error::backend("mssql", operation, class, format!("{} ({hint})", said(error))),
    }
}

/// What the server said, with its number, by which it can be looked up.
fn said(error: &DriverError) -> String {
    match error {
        DriverError::Server(token) => format!("{}, error {}", token.message().trim_end_matches('.'), token.code()),
        DriverError::Io { message, .. } => format!("the connection is lost: {message}"),
        other => other.to_string(),
    }
}

/// Whether a table, view or procedure does not exist. Babelfish says so in the words of Postgres.
fn is_missing(error: &DriverError) -> bool {
    match error {
        DriverError::Server(token) => {
            token.code() == 208
                || (token.code() == BABELFISH
                    && token.message().starts_with("relation ")
                    && token.message().ends_with("does not exist"))
        }
        _ => false,
    }
}

/// The number of errors of Postgres that Babelfish has no number of SQL Server for.
const BABELFISH: u32 = 33_557_097;

/// The driver's words for a server that refuses the level of encryption.
const NO_ENCRYPTION: &str = "encryption level";

/// Whether Babelfish took the rest of a bulk load for another request, and rolled back: it does where a packet ends within
/// the last token of the load.
pub(super) fn load_was_misread(error: &Error) -> bool {
    matches!(error, Error::Backend { .. }) && error.report().contains("(BulkLoadBCP) protocol stream is incorrect")
}

/// Says what can be done about an error.
pub(super) fn class(error: &DriverError, committing: bool) -> ErrorClass {
    let gone = if committing { ErrorClass::Ambiguous } else { ErrorClass::Reconnect };
    let DriverError::Server(token) = error else {
        return match error {
            DriverError::Protocol(text) if text.contains(NO_ENCRYPTION) => ErrorClass::Fatal,
            DriverError::Io { .. } | DriverError::Protocol(_) => gone,
            // What the server has answered can't be told.
            _ if committing => ErrorClass::Ambiguous,
            _ => ErrorClass::Fatal,
        };
    };
    match token.code() {
        // Unique keys; checks and references; nulls; the triggers that keep the log as it was written.
        2627 | 2601 | 547 | 515 | 51_000 => ErrorClass::Conflict,
        // Deadlock, lock timeout, snapshot conflict; no memory for locks or for a query at this moment; and a hosted
        // server that asks for patience.
        1205 | 1222 | 3960 | 1204 | 8645 | 615 | 4221 | 40_197 | 40_501 | 40_613 | 49_918 | 49_919 | 49_920
        | 10_928 | 10_929 => ErrorClass::Retry,
        BABELFISH if says(token.message(), &["lock timeout", "deadlock", "could not serialize"]) => ErrorClass::Retry,
        BABELFISH if says(token.message(), &["terminating connection", "the database system is"]) => gone,
        596 | 6005 | 6006 => gone,
        _ if token.class() >= 20 => gone,
        _ => ErrorClass::Fatal,
    }
}

fn says(message: &str, words: &[&str]) -> bool {
    words.iter().any(|word| message.contains(word))
}

fn hint(error: &DriverError) -> Option<&'static str> {
    let DriverError::Server(token) = error else {
        return match error {
            DriverError::Tls(_) => Some(
                "is the server's certificate trusted here? name its authority with ca_file, or give \
                 trust_server_certificate=yes where the network is trusted",
            ),
            DriverError::Protocol(text) if text.contains(NO_ENCRYPTION) => {
                Some("the server offers no encryption: mend that, or give encrypt=no where the network is trusted")
            }
            _ => None,
        };
    };
    match token.code() {
        18_456 | 18_452 => Some("check the user and the password, and that the server takes SQL logins"),
        4060 | 911 => Some("create the database with `annals migrate create`, or name another one"),
        229 | 230 | 262 | 297 | 300 | 916 => Some("grant the login what it needs, as docs/mssql.md says"),
        9002 | 1105 => Some("the server's disk or the log is full: nothing was stored; make room and try again"),
        3906 | 3908 => Some("the database can't be written: it is read-only or a secondary; connect to the primary"),
        1222 => Some("another transaction held a lock for too long: try again, or raise statement_timeout"),
        BABELFISH if token.message().contains("lock timeout") => {
            Some("another transaction held a lock for too long: try again, or raise statement_timeout")
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn statement(params: usize) -> Statement {
        let places: Vec<String> = (1..=params).map(|number| format!("@P{number}")).collect();
        let params = (0..params).map(|number| Value::from(format!("it's {number}").as_str())).collect();
        Statement { operation: "test", sql: format!("SELECT {}", places.join(", ")), params }
    }

    #[test]
    fn statements_share_a_call_as_far_as_parameters_go() {
        let calls = packed("test", [statement(2), statement(1), statement(SHARED), statement(1)]);
        let counts: Vec<usize> = calls.iter().map(|call| call.params.len()).collect();
        assert_eq!(counts, [3, SHARED, 1]);
        assert_eq!(calls[0].sql, "SELECT @P1, @P2;\nSELECT @P3");
    }

    #[test]
    fn names_beyond_the_servers_parameters_stand_in_the_text() {
        let most = statement(PARAMETERS);
        assert_eq!(fitting(most.sql, &most.params).1.len(), PARAMETERS);
        let more = statement(PARAMETERS + 1);
        let (sql, params) = fitting(more.sql, &more.params);
        assert!(params.is_empty());
        assert!(sql.starts_with("SELECT N'it''s 0', N'it''s 1', "));
        assert!(sql.ends_with(&format!("N'it''s {PARAMETERS}'")));
    }

    #[test]
    fn what_has_no_literal_stays_a_parameter() {
        let mut many = statement(PARAMETERS + 2);
        many.params[1] = Value::Json(Some("1".to_owned()));
        let (sql, params) = fitting(many.sql, &many.params);
        assert_eq!(params.len(), 1);
        assert!(sql.starts_with("SELECT N'it''s 0', @P1, N'it''s 2'"));
    }

    #[test]
    fn a_time_beyond_the_servers_years_is_their_end() {
        assert_eq!(within_years(DateTime::<Utc>::MAX_UTC).to_rfc3339(), "9999-12-31T23:59:59.999999+00:00");
        assert_eq!(within_years(DateTime::<Utc>::MIN_UTC).to_rfc3339(), "0001-01-01T00:00:00+00:00");
        assert_eq!(within_years(DateTime::UNIX_EPOCH), DateTime::UNIX_EPOCH);
    }
}
