//! A run as text, for people who apply migrations with the tools of their database.

use super::plan::{Direction, Step};
use super::sql::Place;
use crate::schema::{self, literal, quoted};
use crate::sql::Dialect;

/// Returns a script that makes the steps, each in a transaction with its row of the bookkeeping. With `books`, it makes
/// the table for these first.
pub(super) fn script(place: Place<'_>, steps: &[Step<'_>], books: bool) -> String {
    let mut parts = vec![settings(place)];
    if books {
        parts.push(create_schema(place));
        parts.push(schema::bookkeeping(place.dialect, place.schema));
    }
    for step in steps {
        let direction = match step.direction {
            Direction::Up => "up",
            Direction::Down => "down",
        };
        let (begin, commit) = (format!("{};\n", place.begin()), format!("{};\n", place.commit()));
        let (begin, commit) = if step.is_transactional() { (begin, commit) } else { Default::default() };
        parts.push(format!("\n-- {} {direction}\n{begin}", step.script.label()));
        parts.push(format!("{}\n", step.sql().trim_end()));
        parts.push(format!("{};\n{commit}", place.record(step)));
    }
    parts.join(batch_end(place.dialect)) + batch_end(place.dialect)
}

/// Makes the tool stop at the first error: a script that went on would write down what did not happen.
fn settings(place: Place<'_>) -> String {
    match place.dialect {
        Dialect::Sqlite => ".bail on\n".to_owned(),
        Dialect::Postgres => {
            format!("\\set ON_ERROR_STOP on\nSET search_path TO {};\n", quoted(place.dialect, place.schema))
        }
        Dialect::Mssql => {
            ":on error exit\nSET XACT_ABORT ON;\nSET QUOTED_IDENTIFIER ON;\nSET ANSI_NULLS ON;\n".to_owned()
        }
    }
}

fn create_schema(place: Place<'_>) -> String {
    let create = place.create_schema();
    match place.dialect {
        Dialect::Sqlite => String::new(),
        Dialect::Postgres => create.replacen("SCHEMA", "SCHEMA IF NOT EXISTS", 1) + ";\n",
        Dialect::Mssql => format!(
            "IF SCHEMA_ID({}) IS NULL EXEC({});\n",
            literal(place.dialect, place.schema),
            literal(place.dialect, &create)
        ),
    }
}

const fn batch_end(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite | Dialect::Postgres => "",
        Dialect::Mssql => "GO\n",
    }
}
