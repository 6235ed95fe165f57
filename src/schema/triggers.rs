//! The triggers that keep the log as it was written.
//!
//! They are never disabled. A purge sets a permit that ends with its transaction, and they let its deletes through.

use std::fmt::Write as _;

use super::render::{qualified, quoted};
use super::shape::Table;
use crate::sql::Dialect;

/// Returns the statements that create the triggers of a table, in batches on SQL Server.
#[must_use]
pub fn create(dialect: Dialect, schema: &str, table: &Table) -> String {
    match dialect {
        Dialect::Sqlite => create_sqlite(table),
        Dialect::Postgres => create_postgres(table),
        Dialect::Mssql => create_mssql(schema, table),
    }
}

/// Returns the names of the triggers of a table.
#[must_use]
pub fn names(dialect: Dialect, table: &Table) -> Vec<String> {
    let suffixes: &[&str] = match dialect {
        _ if !table.append_only => &[],
        Dialect::Sqlite if table.without_rowid => &["refuse_update", "refuse_delete"],
        Dialect::Sqlite => &["refuse_update", "refuse_delete", "refuse_replace"],
        Dialect::Postgres => &["refuse_change"],
        Dialect::Mssql => &["refuse_update", "refuse_delete"],
    };
    suffixes.iter().map(|suffix| format!("{}_{suffix}", table.name)).collect()
}

/// Returns what the triggers of all tables need, before the first of them.
#[must_use]
pub fn prelude(dialect: Dialect) -> Option<&'static str> {
    match dialect {
        Dialect::Sqlite | Dialect::Mssql => None,
        Dialect::Postgres => Some(POSTGRES_FUNCTION),
    }
}

/// Returns the statements that undo [`prelude`], after the last trigger is gone.
#[must_use]
pub fn epilogue(dialect: Dialect) -> Option<&'static str> {
    match dialect {
        Dialect::Sqlite | Dialect::Mssql => None,
        Dialect::Postgres => Some("DROP FUNCTION \"annals_refuse_change\"();\n"),
    }
}

const POSTGRES_FUNCTION: &str = r#"CREATE FUNCTION "annals_refuse_change"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' AND current_setting('annals.purge', true) = 'on' THEN
    RETURN NULL;
  END IF;
  RAISE EXCEPTION '% of % is refused: the log is only ever appended to', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'restrict_violation';
END;
$$;
COMMENT ON FUNCTION "annals_refuse_change"() IS 'Refuses a change of the log. SET LOCAL annals.purge = ''on'' lets deletes through.';
"#;

fn create_postgres(table: &Table) -> String {
    let name = table.name;
    format!(
        "CREATE TRIGGER \"{name}_refuse_change\" BEFORE UPDATE OR DELETE OR TRUNCATE ON \"{name}\"\n  \
         FOR EACH STATEMENT EXECUTE FUNCTION \"annals_refuse_change\"();\n"
    )
}

fn create_sqlite(table: &Table) -> String {
    let name = table.name;
    let mut sql = format!(
        "CREATE TRIGGER \"{name}_refuse_update\" BEFORE UPDATE ON \"{name}\"\nBEGIN\n  \
         SELECT RAISE(ABORT, 'UPDATE of {name} is refused: the log is only ever appended to');\nEND;\n\
         CREATE TRIGGER \"{name}_refuse_delete\" BEFORE DELETE ON \"{name}\"\n\
         WHEN NOT EXISTS (SELECT 1 FROM \"purge_permits\")\nBEGIN\n  \
         SELECT RAISE(ABORT, 'DELETE of {name} is refused: the log is only ever appended to');\nEND;\n"
    );
    if !table.without_rowid {
        sql.push_str(&refuse_replace(table));
    }
    sql
}

/// INSERT OR REPLACE deletes the row in its way without asking the trigger on deletes, so that the key must be found
/// free beforehand. The messages are those of the engine's own violations, by which the store tells the keys apart.
fn refuse_replace(table: &Table) -> String {
    let name = table.name;
    let mut sql = format!(
        "-- INSERT OR REPLACE would delete the row in its way, past the trigger above. The row number is a key too:\n\
         -- one that the statement does not give is -1 here.\n\
         CREATE TRIGGER \"{name}_refuse_replace\" BEFORE INSERT ON \"{name}\"\nBEGIN\n  \
         SELECT RAISE(ABORT, '{name}: the row number is not for callers to choose') WHERE NEW.\"rowid\" <> -1;\n"
    );
    for key in std::iter::once(table.primary_key).chain(table.unique_keys.iter().map(|key| key.columns)) {
        let columns: Vec<String> = key.iter().map(|column| format!("{name}.{column}")).collect();
        let equal: Vec<String> = key.iter().map(|column| format!("\"{column}\" = NEW.\"{column}\"")).collect();
        let _ = writeln!(
            sql,
            "  SELECT RAISE(ABORT, 'UNIQUE constraint failed: {}')\n    WHERE EXISTS (SELECT 1 FROM \"{name}\" WHERE {});",
            columns.join(", "),
            equal.join(" AND ")
        );
    }
    sql.push_str("END;\n");
    sql
}

fn create_mssql(schema: &str, table: &Table) -> String {
    let dialect = Dialect::Mssql;
    let on = qualified(dialect, schema, table.name);
    let trigger = |suffix: &str| qualified(dialect, schema, &format!("{}_{suffix}", table.name));
    let refuse = |verb: &str| {
        format!("THROW 51000, N'{verb} of {} is refused: the log is only ever appended to', 1;", table.name)
    };
    let key: Vec<String> = table
        .primary_key
        .iter()
        .map(|column| quoted(dialect, column))
        .map(|column| format!("gone.{column} = kept.{column}"))
        .collect();
    format!(
        "CREATE TRIGGER {} ON {on} INSTEAD OF UPDATE AS\nBEGIN\n  SET NOCOUNT ON;\n  {}\nEND;\nGO\n\
         CREATE TRIGGER {} ON {on} INSTEAD OF DELETE AS\nBEGIN\n  SET NOCOUNT ON;\n  \
         IF CONVERT(int, SESSION_CONTEXT(N'annals.purge')) = 1\n  BEGIN\n    \
         DELETE kept FROM {on} AS kept INNER JOIN deleted AS gone ON {};\n    RETURN;\n  END;\n  {}\nEND;\nGO\n",
        trigger("refuse_update"),
        refuse("UPDATE"),
        trigger("refuse_delete"),
        key.join(" AND "),
        refuse("DELETE"),
    )
}
