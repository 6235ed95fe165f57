//! What the families share that look at the tables from a SQL prompt.

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
pub(super) fn literal(dialect: Dialect, text: &str) -> String {
    let prefix = if dialect == Dialect::Mssql { "N" } else { "" };
    format!("{prefix}'{}'", text.replace('\'', "''"))
}
