//! Between the store's values and sqlx's, and what an error of Postgres means.

use std::str::FromStr;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use sqlx::encode::IsNull;
use sqlx::error::BoxDynError;
use sqlx::postgres::types::Oid;
use sqlx::postgres::{
    PgArgumentBuffer, PgArguments, PgConnection, PgHasArrayType, PgRow, PgTypeInfo, PgValueFormat, PgValueRef,
};
use sqlx::query::Query;
use sqlx::{AssertSqlSafe, Column, Decode, Encode, Row, Type, TypeInfo, ValueRef};
use uuid::Uuid;

use crate::error::{Error, ErrorClass, Result};
use crate::sql::rows::{damaged, hash};
use crate::sql::{self, FromRow, RowRead, Statement, Value};

/// A statement with its parameters.
pub(super) type Bound<'q> = Query<'q, sqlx::Postgres, PgArguments>;

/// Runs a reading statement.
pub(super) async fn run<T: FromRow>(connection: &mut PgConnection, statement: &Statement) -> Result<Vec<T>> {
    rows(connection, statement.operation, bound(statement)).await
}

/// As [`run`], up to the row with which there are enough, see [`rows_until`].
pub(super) async fn run_until<T: FromRow>(
    connection: &mut PgConnection,
    statement: &Statement,
    ends: [impl FnMut(&T) -> bool; 2],
) -> Result<(Vec<T>, bool)> {
    rows_until(connection, statement.operation, bound(statement), ends).await
}

/// Decodes the rows of a statement as they come.
pub(super) async fn rows<T: FromRow>(
    connection: &mut PgConnection,
    operation: &'static str,
    query: Bound<'_>,
) -> Result<Vec<T>> {
    Ok(rows_until(connection, operation, query, [|_: &T| false; 2]).await?.0)
}

/// Decodes the rows of a statement as they come, and returns those up to the one with which there are enough. The rest is read
/// and left out, but not beyond the row with which there are too many of those: then it returns true, and the connection has an
/// answer that was not read.
async fn rows_until<T: FromRow>(
    connection: &mut PgConnection,
    operation: &'static str,
    query: Bound<'_>,
    [mut is_enough, mut is_too_much]: [impl FnMut(&T) -> bool; 2],
) -> Result<(Vec<T>, bool)> {
    let mut rows = query.fetch(connection);
    let (mut found, mut is_full) = (Vec::new(), false);
    while let Some(row) = rows.try_next().await.map_err(|error| classify(operation, Stage::Work, error))? {
        let row = T::from_row(&Read(&row))?;
        if !is_full {
            is_full = is_enough(&row);
            found.push(row);
        } else if is_too_much(&row) {
            return Ok((found, true));
        }
    }
    Ok((found, false))
}

/// Runs a writing statement and returns how many rows it changed.
pub(super) async fn execute(connection: &mut PgConnection, statement: &Statement) -> Result<u64> {
    let done = bound(statement).execute(connection).await;
    Ok(done.map_err(|error| classify(statement.operation, Stage::Work, error))?.rows_affected())
}

/// Runs statements without parameters in one round trip.
pub(super) async fn batch(
    connection: &mut PgConnection,
    operation: &'static str,
    stage: Stage,
    sql: &str,
) -> Result<()> {
    let done = sqlx::raw_sql(AssertSqlSafe(sql)).execute(connection).await;
    done.map(drop).map_err(|error| classify(operation, stage, error))
}

fn bound(statement: &Statement) -> Bound<'_> {
    let query = sqlx::query(AssertSqlSafe(statement.sql.as_str()));
    statement.params.iter().fold(query, |query, value| match value {
        Value::Bool(truth) => query.bind(*truth),
        Value::F64(number) => query.bind(*number),
        Value::I64(number) => query.bind(*number),
        Value::I32(number) => query.bind(*number),
        Value::Text(text) => query.bind(text.as_deref()),
        Value::Json(text) => query.bind(text.as_deref().map(JsonText)),
        Value::Uuid(id) => query.bind(*id),
        Value::Time(time) => query.bind(*time),
        Value::Bytes(bytes) => query.bind(bytes.as_deref()),
    })
}

/// A document as its text; the server checks it, and keeps it byte for byte.
#[derive(Clone, Copy)]
pub(super) struct JsonText<'a>(pub(super) &'a str);

impl Type<sqlx::Postgres> for JsonText<'_> {
    fn type_info() -> PgTypeInfo {
        const JSON: Oid = Oid(114);
        PgTypeInfo::with_oid(JSON)
    }
}

impl PgHasArrayType for JsonText<'_> {
    fn array_type_info() -> PgTypeInfo {
        const JSON_ARRAY: Oid = Oid(199);
        PgTypeInfo::with_oid(JSON_ARRAY)
    }
}

impl Encode<'_, sqlx::Postgres> for JsonText<'_> {
    fn encode_by_ref(&self, buffer: &mut PgArgumentBuffer) -> Result<IsNull, BoxDynError> {
        buffer.extend_from_slice(self.0.as_bytes());
        Ok(IsNull::No)
    }
}

/// A row of a prepared statement, whose values are binary. The schema says their types.
struct Read<'a>(&'a PgRow);

impl<'r> Read<'r> {
    fn value<T: Decode<'r, sqlx::Postgres>>(&self, column: usize) -> Result<Option<T>> {
        self.0.try_get_unchecked(column).map_err(|error| damaged(format!("column {column}: {error}")))
    }
}

impl RowRead for Read<'_> {
    fn i64(&self, column: usize) -> Result<Option<i64>> {
        self.value(column)
    }

    fn i32(&self, column: usize) -> Result<Option<i32>> {
        self.value(column)
    }

    fn text(&self, column: usize) -> Result<Option<String>> {
        self.value(column)
    }

    fn json(&self, column: usize) -> Result<Option<String>> {
        self.value(column)
    }

    fn uuid(&self, column: usize) -> Result<Option<Uuid>> {
        self.value(column)
    }

    fn time(&self, column: usize) -> Result<Option<DateTime<Utc>>> {
        self.value(column)
    }

    fn bytes(&self, column: usize) -> Result<Option<Vec<u8>>> {
        self.value(column)
    }

    fn word<T: FromStr<Err = Error>>(&self, column: usize) -> Result<Option<T>> {
        self.value::<&str>(column)?.map(str::parse).transpose()
    }

    fn hash(&self, column: usize) -> Result<Option<[u8; 32]>> {
        self.value::<&[u8]>(column)?.map(hash).transpose()
    }

    fn row(&self) -> Result<sql::Row> {
        let cell = |column: usize| {
            Ok(match self.0.column(column).type_info().name() {
                "BOOL" => self.value::<bool>(column)?.into(),
                "INT2" => self.value::<i16>(column)?.map(i32::from).into(),
                "INT4" => self.i32(column)?.into(),
                "INT8" => self.i64(column)?.into(),
                "FLOAT4" => self.value::<f32>(column)?.map(f64::from).into(),
                "FLOAT8" => self.value::<f64>(column)?.into(),
                "TEXT" | "VARCHAR" | "CHAR" | "NAME" => self.text(column)?.into(),
                "JSON" => Value::Json(self.text(column)?),
                "UUID" => self.uuid(column)?.into(),
                "TIMESTAMPTZ" => self.time(column)?.into(),
                "BYTEA" => self.bytes(column)?.into(),
                other => return Err(damaged(format!("column {column} is of type {other}: cast it, as to text"))),
            })
        };
        (0..self.0.len()).map(cell).collect::<Result<_>>().map(sql::Row::new)
    }
}

/// Returns the cells of a row of a statement without parameters, whose values are text.
pub(super) fn text_cells(row: &PgRow) -> Result<Vec<Option<String>>> {
    let cell = |value: PgValueRef<'_>| match value.format() {
        _ if value.is_null() => Ok(None),
        PgValueFormat::Text => value.as_str().map(|text| Some(text.to_owned())),
        PgValueFormat::Binary => Err("the value is binary".into()),
    };
    (0..row.len())
        .map(|column| {
            let value = row.try_get_raw(column).map_err(|error| damaged(error.to_string()))?;
            cell(value).map_err(|error| damaged(format!("column {column}: {error}")))
        })
        .collect()
}

/// How far a request has come when an error arrives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Nothing that was sent can have been committed.
    Work,
    /// What was sent may have been committed.
    Commit,
    /// What was sent is a person's own text.
    Sql,
}

/// What the server answered, as one line: the message, its code, and what to do.
#[derive(Debug, thiserror::Error)]
#[error("{message} (sqlstate {code}{})", advice.map(|advice| format!("; {advice}")).unwrap_or_default())]
struct Refusal {
    message: String,
    code: String,
    advice: Option<&'static str>,
}

/// Says what an error of the driver means for the caller.
pub(super) fn classify(operation: &'static str, stage: Stage, error: sqlx::Error) -> Error {
    let lost = match stage {
        Stage::Work => ErrorClass::Reconnect,
        Stage::Commit | Stage::Sql => ErrorClass::Ambiguous,
    };
    let sqlx::Error::Database(refusal) = &error else {
        let class = match &error {
            sqlx::Error::Io(_) | sqlx::Error::Protocol(_) | sqlx::Error::WorkerCrashed => lost,
            // The server has answered, and what, can't be told.
            sqlx::Error::Decode(_) | sqlx::Error::ColumnDecode { .. } | sqlx::Error::RowNotFound
                if stage == Stage::Commit =>
            {
                lost
            }
            _ => ErrorClass::Fatal,
        };
        return Error::backend("postgres", operation, class, flat(&error));
    };
    let code = refusal.code().unwrap_or_default().into_owned();
    let message = refusal.message().to_owned();
    if stage != Stage::Sql && matches!(code.as_str(), "42P01" | "42883" | "42703") {
        let reason = format!(
            "the database has no event store of this version in the schema of the url ({message}): run `annals migrate up`"
        );
        return Error::Schema { reason };
    }
    let (class, advice) = meaning(&code, lost);
    let message = match refusal.constraint() {
        Some(constraint) if !message.contains(constraint) => format!("{message}: {constraint}"),
        _ => message,
    };
    Error::backend("postgres", operation, class, Refusal { message, code, advice })
}

/// Returns an error's message with those of its sources that it does not repeat.
fn flat(error: &sqlx::Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        source = cause.source();
    }
    text
}

/// Returns what a code means, and what to do about it. `lost` is the class of a connection that ended.
fn meaning(code: &str, lost: ErrorClass) -> (ErrorClass, Option<&'static str>) {
    match code {
        "40003" => (ErrorClass::Ambiguous, None),
        "57014" => {
            (ErrorClass::Retry, Some("cancelled, or longer than statement_timeout: raise that, or ask for less"))
        }
        "55P03" => (ErrorClass::Retry, Some("another append held the lock for too long")),
        // The plan or its result changed under a prepared statement; a new connection prepares it anew.
        "0A000" => (ErrorClass::Retry, None),
        "25P03" => (ErrorClass::Reconnect, Some("the client stopped for too long inside a transaction")),
        "57P01" | "57P02" | "57P05" => (lost, None),
        "53100" => (ErrorClass::Fatal, Some("make room on the server's disk")),
        "53300" => (ErrorClass::Reconnect, Some("lower pool_max, or raise the server's max_connections")),
        "25006" => (ErrorClass::Fatal, Some("the server or session is read-only: connect to the primary")),
        "28P01" | "28000" => (ErrorClass::Fatal, Some("check the user, the password and pg_hba.conf")),
        "3D000" => (ErrorClass::Fatal, Some("create the database with `annals migrate create`")),
        "42501" => (ErrorClass::Fatal, Some("grant the user what it needs on the schema")),
        "26000" | "42P05" => {
            (ErrorClass::Fatal, Some("prepared statements need their session: use a pooler in session mode, or none"))
        }
        _ => match code.get(..2).unwrap_or_default() {
            "08" => (lost, None),
            "23" => (ErrorClass::Conflict, None),
            "40" => (ErrorClass::Retry, None),
            "53" | "57" => (ErrorClass::Reconnect, None),
            _ => (ErrorClass::Fatal, None),
        },
    }
}
