//! What the families share that look at the tables from a SQL prompt.

use chrono::{DateTime, Utc};

use super::case::Failure;
use super::harness::Fixture;
use crate::backend::Session;
use crate::config::Config;
use crate::error::Result;
use crate::sql::Dialect;

/// Returns the name by which a session reaches a table, view or routine. SQL Server has no search path.
pub(super) fn table(fixture: &Fixture, name: &str) -> String {
    if fixture.store.capabilities().sql != Some(Dialect::Mssql) {
        return name.to_owned();
    }
    let config = fixture.database.url().and_then(|url| url.parse::<Config>().ok());
    let schema = config.as_ref().and_then(|config| config.option("schema")).unwrap_or("dbo");
    format!("[{schema}].[{name}]")
}

/// Returns the dialect that sessions speak.
pub(super) fn dialect(fixture: &Fixture) -> Dialect {
    fixture.store.capabilities().sql.unwrap_or(Dialect::Sqlite)
}

/// What a routine is called with.
#[derive(Debug, Clone, Copy)]
pub(super) enum Argument<'a> {
    Text(&'a str),
    Number(i64),
    Null,
}

/// Writes the call of a routine. A text argument is a literal, a number stands as it is.
pub(super) fn call(fixture: &Fixture, routine: &str, arguments: &[(&str, Argument<'_>)]) -> String {
    let dialect = dialect(fixture);
    let (sign, equals) = if dialect == Dialect::Mssql { ("@", "=") } else { ("", "=>") };
    let written = arguments.iter().map(|(name, argument)| {
        let value = match argument {
            Argument::Text(text) => literal(dialect, text),
            Argument::Number(number) => number.to_string(),
            Argument::Null => "NULL".to_owned(),
        };
        format!("{sign}{name} {equals} {value}")
    });
    let (name, arguments) = (table(fixture, routine), written.collect::<Vec<_>>().join(", "));
    if dialect == Dialect::Mssql {
        format!("EXEC {name} {arguments}")
    } else {
        format!("SELECT * FROM {name}({arguments})")
    }
}

/// Puts a bare event of stream `a` into the log as the database lets anybody with a SQL prompt: at a position, with a
/// version and a time of one's choice.
pub(super) async fn put_event(fixture: &Fixture, position: i64, version: i64, time: DateTime<Utc>) -> Result<()> {
    let event_id = match dialect(fixture) {
        Dialect::Sqlite => "randomblob(16)",
        Dialect::Postgres => "gen_random_uuid()",
        Dialect::Mssql => "NEWID()",
    };
    let time = moment(fixture, time);
    let (events, lane) = (table(fixture, "events"), fixture.store.lane("a"));
    let sql = format!(
        "INSERT INTO {events} (lane_id, position, event_id, aggregate_id, aggregate_type, aggregate_version, \
         event_type, event_timestamp, actor_type, source, data) VALUES ({lane}, {position}, {event_id}, 'a', 'thing', \
         {version}, 'Happened', {time}, 'system', 'system', '{{}}')"
    );
    fixture.store.backend().session().await?.execute(&sql).await
}

/// Writes a time as a literal.
pub(super) fn moment(fixture: &Fixture, time: DateTime<Utc>) -> String {
    match dialect(fixture) {
        Dialect::Sqlite => time.timestamp_micros().to_string(),
        Dialect::Postgres => format!("'{}'", time.to_rfc3339()),
        Dialect::Mssql => format!("'{}'", time.format("%Y-%m-%dT%H:%M:%S%.6f")),
    }
}

/// Returns the only cell of a statement's only row.
pub(super) async fn cell(session: &mut dyn Session, sql: &str) -> Result<String, Failure> {
    match &session.query(sql).await?[..] {
        [row] => match &row[..] {
            [Some(cell)] => Ok(cell.clone()),
            _ => Err(Failure(format!("{sql} returned {row:?}, not one cell"))),
        },
        rows => Err(Failure(format!("{sql} returned {} rows, not one", rows.len()))),
    }
}

/// Writes a text as a literal.
fn literal(dialect: Dialect, text: &str) -> String {
    let prefix = if dialect == Dialect::Mssql { "N" } else { "" };
    format!("{prefix}'{}'", text.replace('\'', "''"))
}
