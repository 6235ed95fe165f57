//! The schema: tables as data ([`model`]), the statements that make them, and the migrations made of these.

pub mod inspect;
pub mod model;
pub mod shape;

mod render;
mod routines;
mod triggers;
mod views;

pub use render::quoted;
pub(crate) use render::{literal, qualified};

use crate::sql::Dialect;
use model::{GROUP_TABLES, HOLD_TABLES, MIGRATIONS, TABLES};
use render::{IfExists, create_table, drop_table};
use routines::HoldsAre;
use shape::Table;

/// The first version that is not left to the application that embeds the store.
pub const FIRST_VERSION: i32 = 8;

/// One step of the schema, with the way back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Migration {
    /// The number, by which migrations are ordered.
    pub version: i32,
    /// The name, as in the names of the files.
    pub name: &'static str,
    /// The statements that make the step; on SQL Server in batches that lines of `GO` end.
    pub up: String,
    /// The statements that undo it.
    pub down: String,
    /// Whether the step runs in a transaction, together with its bookkeeping.
    pub transactional: bool,
}

impl Migration {
    /// Returns the name of the file that holds the step up or down, such as `008_create_event_store.up.sql`.
    #[must_use]
    pub fn file_name(&self, direction: &str) -> String {
        format!("{:03}_{}.{direction}.sql", self.version, self.name)
    }
}

/// Returns the migrations of the event store in the order in which they are applied.
///
/// On SQL Server every name is qualified with `schema`. Elsewhere names are bare: on Postgres, the connection's search
/// path says where the tables go, and functions remember it.
#[must_use]
pub fn migrations(dialect: Dialect, schema: &str) -> Vec<Migration> {
    vec![
        Migration {
            version: FIRST_VERSION,
            name: "create_event_store",
            up: create_event_store(dialect, schema),
            down: drop_event_store(dialect, schema),
            transactional: true,
        },
        Migration {
            version: FIRST_VERSION + 1,
            name: "create_views_and_routines",
            up: header(dialect) + &views::create(dialect, schema) + &routines::create(dialect, schema),
            down: header(dialect) + &routines::drop(dialect, schema) + &views::drop(dialect, schema),
            transactional: true,
        },
        Migration {
            version: FIRST_VERSION + 2,
            name: "create_consumer_groups",
            up: header(dialect) + &create_tables(dialect, schema, GROUP_TABLES),
            down: header(dialect) + &drop_tables(dialect, schema, GROUP_TABLES),
            transactional: true,
        },
        Migration {
            version: FIRST_VERSION + 3,
            name: "create_holds",
            up: header(dialect)
                + &create_tables(dialect, schema, HOLD_TABLES)
                + &routines::replace(dialect, schema, HoldsAre::Heeded),
            down: header(dialect)
                + &routines::replace(dialect, schema, HoldsAre::Unknown)
                + &drop_tables(dialect, schema, HOLD_TABLES),
            transactional: true,
        },
    ]
}

/// Returns the statement that creates the table of applied migrations unless it exists.
#[must_use]
pub fn bookkeeping(dialect: Dialect, schema: &str) -> String {
    create_table(dialect, schema, &MIGRATIONS, IfExists::Keep)
}

/// Returns the schema that the committed files of a dialect are written for.
#[must_use]
pub const fn default_schema(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "main",
        Dialect::Postgres => "public",
        Dialect::Mssql => "dbo",
    }
}

fn create_event_store(dialect: Dialect, schema: &str) -> String {
    let tables = || TABLES.iter().filter(move |table| table.is_in(dialect));
    let mut parts: Vec<String> = vec![header(dialect), create_tables(dialect, schema, TABLES)];
    parts.extend(triggers::prelude(dialect).map(|sql| format!("{sql}\n")));
    for table in tables().filter(|table| table.append_only) {
        parts.push(triggers::create(dialect, schema, table) + "\n");
    }
    parts.push(first_lane(dialect, schema));
    parts.concat()
}

fn drop_event_store(dialect: Dialect, schema: &str) -> String {
    header(dialect) + &drop_tables(dialect, schema, TABLES) + triggers::epilogue(dialect).unwrap_or_default()
}

fn create_tables(dialect: Dialect, schema: &str, tables: &[Table]) -> String {
    let tables = tables.iter().filter(|table| table.is_in(dialect));
    tables.map(|table| create_table(dialect, schema, table, IfExists::Fail) + batch_end(dialect) + "\n").collect()
}

fn drop_tables(dialect: Dialect, schema: &str, tables: &[Table]) -> String {
    let tables = tables.iter().rev().filter(|table| table.is_in(dialect));
    tables.map(|table| drop_table(dialect, schema, table)).collect()
}

/// Topic `default` is there from the start, so that a store can be opened by its URL alone.
fn first_lane(dialect: Dialect, schema: &str) -> String {
    let incarnation = match dialect {
        Dialect::Sqlite => "randomblob(16)",
        Dialect::Postgres => "gen_random_uuid()",
        Dialect::Mssql => "NEWID()",
    };
    let now = clock(dialect);
    let columns =
        ["lane_id", "topic", "partition", "incarnation", "created_at"].map(|name| quoted(dialect, name)).join(", ");
    format!(
        "-- The topic that a store opened by its URL alone uses.\n\
         INSERT INTO {} ({columns})\nVALUES (1, {}, 0, {incarnation}, {now});\n",
        qualified(dialect, schema, "lanes"),
        literal(dialect, "default")
    )
}

/// Returns the expression for the current time in scripts, which know no function of the store's own.
pub(crate) const fn clock(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000",
        Dialect::Postgres => "clock_timestamp()",
        Dialect::Mssql => "SYSUTCDATETIME()",
    }
}

fn header(dialect: Dialect) -> String {
    let name = dialect.name();
    let header = format!(
        "-- Written by `annals migrate generate --dialect {name}` from src/schema: change the model there, not this file.\n\n"
    );
    match dialect {
        Dialect::Sqlite | Dialect::Postgres => header,
        // sqlcmd starts with the first off, and a filtered index needs both, when it is made and when it is written to.
        Dialect::Mssql => format!("{header}SET QUOTED_IDENTIFIER ON;\nSET ANSI_NULLS ON;\nGO\n\n"),
    }
}

const fn batch_end(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite | Dialect::Postgres => "",
        Dialect::Mssql => "GO\n",
    }
}

#[cfg(test)]
mod tests;
