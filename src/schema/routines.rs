//! The functions and procedures for people with a SQL prompt. They keep the same rules as the library: they take the
//! lane's lock first, in a statement of its own, and read what decides in later ones.

use super::render::{qualified, quoted};
use crate::sql::Dialect;

/// A routine's name and text. For SQL Server, the text spells the schema `[dbo]`.
struct Routine {
    name: &'static str,
    text: &'static str,
}

macro_rules! routines {
    ($folder:literal: $($name:literal)*) => {
        &[$(Routine { name: $name, text: include_str!(concat!("routines/", $folder, "/", $name, ".sql")) }),*]
    };
}

const POSTGRES: &[Routine] = routines!("postgres":
    "annals_check_name" "annals_check_json" "annals_lane" "annals_json_key" "annals_append"
    "annals_first_matches" "annals_append_batch"
    "append_to_stream" "read_stream_forward" "get_event_stream"
    "create_snapshot" "get_latest_snapshot"
    "create_subscription" "checkpoint_subscription" "delete_subscription"
);

const MSSQL: &[Routine] = routines!("mssql":
    "annals_check_name" "annals_lane"
    "append_to_stream" "read_stream_forward" "get_event_stream"
    "create_snapshot" "get_latest_snapshot"
    "create_subscription" "checkpoint_subscription" "delete_subscription"
);

/// Returns the names of the routines.
pub fn names(dialect: Dialect) -> impl Iterator<Item = &'static str> {
    routines(dialect).iter().map(|routine| routine.name)
}

const fn routines(dialect: Dialect) -> &'static [Routine] {
    match dialect {
        Dialect::Sqlite => &[],
        Dialect::Postgres => POSTGRES,
        Dialect::Mssql => MSSQL,
    }
}

/// Returns the statements that create the routines, in batches on SQL Server.
#[must_use]
pub fn create(dialect: Dialect, schema: &str) -> String {
    match dialect {
        Dialect::Sqlite => String::new(),
        Dialect::Postgres => POSTGRES.iter().flat_map(|routine| ["\n", routine.text]).collect(),
        Dialect::Mssql => {
            let schema = quoted(dialect, schema);
            MSSQL
                .iter()
                .flat_map(|routine| ["\n".into(), routine.text.replace("[dbo]", &schema), "GO\n".into()])
                .collect()
        }
    }
}

/// Returns the statements that drop the routines.
#[must_use]
pub fn drop(dialect: Dialect, schema: &str) -> String {
    let kind = match dialect {
        Dialect::Sqlite | Dialect::Postgres => "FUNCTION",
        Dialect::Mssql => "PROCEDURE",
    };
    let statement = |routine: &Routine| format!("DROP {kind} {};\n", qualified(dialect, schema, routine.name));
    routines(dialect).iter().rev().map(statement).collect()
}
