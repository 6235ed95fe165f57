//! A live database, compared with the model.
//!
//! Both sides become facts: a key such as `column events.data` and what it is like, such as `json not null`. The
//! catalogs of the databases are asked in such a way that they answer with facts at once.

mod catalogs;
mod expected;

use std::collections::BTreeMap;

use super::model::{MIGRATIONS, all_tables};
use super::render::{check, quoted};
use super::shape::{Column, Table};
use crate::backend::Session;
use crate::error::Result;
use crate::sql::Dialect;

/// What is found or expected under a key.
type Facts = BTreeMap<String, String>;

/// Returns a line for each table, column, key, index, check, trigger, view, routine or comment of the model that the
/// live schema lacks or has in another shape, and for each column that the model does not know. Other tables, indexes
/// and routines are the application's business.
///
/// # Errors
/// What the database answers.
pub async fn differences(session: &mut dyn Session, dialect: Dialect, schema: &str) -> Result<Vec<String>> {
    let found = found(session, dialect, schema).await?;
    let expected = expected::facts(dialect);
    let mut differences = Vec::new();
    for fact in &expected {
        match found.get(&fact.key) {
            None => differences.push(format!("{} is missing", fact.label)),
            Some(shape) if *shape == fact.shape => {}
            Some(shape) => differences.push(format!("{} is {shape:?}, and should be {:?}", fact.label, fact.shape)),
        }
    }
    for (table, column) in found.keys().filter_map(|key| key.strip_prefix("column ")?.split_once('.')) {
        let model = tables(dialect).find(|model| model.name == table);
        if model.is_some_and(|model| model.column(column).is_none()) {
            differences.push(format!("column {table}.{column} is not in the model"));
        }
    }
    Ok(differences)
}

async fn found(session: &mut dyn Session, dialect: Dialect, schema: &str) -> Result<Facts> {
    let mut facts = Facts::new();
    for query in catalogs::queries(dialect, schema) {
        for row in session.query(&query).await? {
            let mut cells = row.into_iter().map(Option::unwrap_or_default);
            if let (Some(key), Some(shape)) = (cells.next(), cells.next()) {
                facts.insert(key, shape);
            }
        }
    }
    if dialect == Dialect::Sqlite {
        add_checks(&mut facts, session).await?;
    }
    Ok(facts)
}

/// SQLite lists no checks, but keeps the text of its tables.
async fn add_checks(facts: &mut Facts, session: &mut dyn Session) -> Result<()> {
    let rows = session.query("SELECT name, sql FROM sqlite_master WHERE type = 'table'").await?;
    for (table, column) in columns(Dialect::Sqlite) {
        let Some((name, clause)) = check_clause(Dialect::Sqlite, table, column) else { continue };
        let is_there = |row: &Vec<Option<String>>| {
            let mut cells = row.iter().map(Option::as_deref);
            cells.next().flatten() == Some(table.name)
                && cells.next().flatten().is_some_and(|sql| sql.contains(&clause))
        };
        if rows.iter().any(is_there) {
            facts.insert(format!("check {name}"), String::new());
        }
    }
    Ok(())
}

/// Returns the tables of a dialect, that of the bookkeeping included.
fn tables(dialect: Dialect) -> impl Iterator<Item = &'static Table> {
    all_tables().chain([&MIGRATIONS]).filter(move |table| table.is_in(dialect))
}

fn columns(dialect: Dialect) -> impl Iterator<Item = (&'static Table, &'static Column)> {
    tables(dialect).flat_map(|table| table.columns.iter().map(move |column| (table, column)))
}

/// Returns the name of a column's check, and its clause in the statement that creates the table.
fn check_clause(dialect: Dialect, table: &Table, column: &Column) -> Option<(String, String)> {
    let name = format!("{}_{}_check", table.name, column.name);
    let check = check(dialect, column)?;
    let clause = format!("CONSTRAINT {} CHECK ({check})", quoted(dialect, &name));
    Some((name, clause))
}
