//! Tables for SQL Server.

use std::fmt::Write as _;

use super::{IfExists, check, literal, qualified, quoted};
use crate::schema::shape::{Column, Index, Kind, Order, Table};
use crate::sql::Dialect;

const MSSQL: Dialect = Dialect::Mssql;

/// Text is compared by code points, whatever the default of the database.
const COLLATION: &str = "COLLATE Latin1_General_100_BIN2";

pub(super) fn create_table(schema: &str, table: &Table, if_exists: IfExists) -> String {
    let name = qualified(MSSQL, schema, table.name);
    let mut parts: Vec<String> = table.columns.iter().map(|column| column_def(table, column)).collect();
    parts.extend(keys(schema, table));

    let mut body = format!("CREATE TABLE {name} (\n  {}\n);\n", parts.join(",\n  "));
    for index in table.indexes_in(MSSQL) {
        let _ = writeln!(body, "-- {}\n{};", index.reason, create_index(&name, index));
    }
    if table.append_only {
        body.push_str(
            "-- A transaction with thousands of row locks would otherwise lock the table, and stop every lane.\n",
        );
        let _ = writeln!(body, "ALTER TABLE {name} SET (LOCK_ESCALATION = DISABLE);");
    }
    body.push_str(&comment(schema, ("TABLE", table.name), None, table.comment));
    for column in table.columns {
        body.push_str(&comment(schema, ("TABLE", table.name), Some(column.name), column.comment));
    }
    match if_exists {
        IfExists::Fail => body,
        IfExists::Keep => format!("IF OBJECT_ID({}, N'U') IS NULL\nBEGIN\n{body}END;\n", literal(MSSQL, &name)),
    }
}

/// Returns the statement that stores a comment on a table or view, or on one of its columns.
pub(super) fn comment(schema: &str, (kind, name): (&str, &str), column: Option<&str>, text: &str) -> String {
    let mut sql = format!(
        "EXEC sys.sp_addextendedproperty @name = N'MS_Description', @value = {}, @level0type = N'SCHEMA', @level0name = {}, \
         @level1type = N'{kind}', @level1name = {}",
        literal(MSSQL, text),
        literal(MSSQL, schema),
        literal(MSSQL, name)
    );
    if let Some(column) = column {
        let _ = write!(sql, ", @level2type = N'COLUMN', @level2name = {}", literal(MSSQL, column));
    }
    sql.push_str(";\n");
    sql
}

fn column_def(table: &Table, column: &Column) -> String {
    let mut sql = format!("{} {}", quoted(MSSQL, column.name), column_type(column.kind));
    sql.push_str(if column.nullable { " NULL" } else { " NOT NULL" });
    if let Some(value) = column.default {
        let name = quoted(MSSQL, &format!("{}_{}_default", table.name, column.name));
        let _ = write!(sql, " CONSTRAINT {name} DEFAULT {value}");
    }
    if let Some(check) = check(MSSQL, column) {
        let name = quoted(MSSQL, &format!("{}_{}_check", table.name, column.name));
        let _ = write!(sql, " CONSTRAINT {name} CHECK ({check})");
    }
    sql
}

fn column_type(kind: Kind) -> String {
    match kind {
        Kind::Uuid => "uniqueidentifier".into(),
        Kind::Name => format!("nvarchar(255) {COLLATION}"),
        Kind::Counter => "bigint".into(),
        Kind::Int => "int".into(),
        Kind::Time => "datetime2(6)".into(),
        Kind::Json(_) => format!("nvarchar(max) {COLLATION}"),
        Kind::Text(bytes) => format!("nvarchar({bytes}) {COLLATION}"),
        Kind::Digest => "binary(32)".into(),
        Kind::OneOf(_) => format!("nvarchar(16) {COLLATION}"),
    }
}

/// Rows are kept in the order of the primary key only where it consists of numbers: names and random ids would
/// scatter the inserts.
fn keys(schema: &str, table: &Table) -> Vec<String> {
    let is_number =
        |name: &&str| table.column(name).is_some_and(|column| matches!(column.kind, Kind::Counter | Kind::Int));
    let clustered = if table.primary_key.iter().all(is_number) { "CLUSTERED" } else { "NONCLUSTERED" };
    let pkey = quoted(MSSQL, &format!("{}_pkey", table.name));
    let mut keys = vec![format!("CONSTRAINT {pkey} PRIMARY KEY {clustered} ({})", columns(table.primary_key))];
    for key in table.unique_keys {
        keys.push(format!("CONSTRAINT {} UNIQUE NONCLUSTERED ({})", quoted(MSSQL, key.name), columns(key.columns)));
    }
    for key in table.foreign_keys_in(MSSQL) {
        keys.push(format!(
            "CONSTRAINT {} FOREIGN KEY ({}) REFERENCES {} ({})",
            quoted(MSSQL, key.name),
            columns(key.columns),
            qualified(MSSQL, schema, key.table),
            columns(key.target)
        ));
    }
    keys
}

fn create_index(table: &str, index: &Index) -> String {
    let kind = if index.clustered { "CLUSTERED INDEX" } else { "INDEX" };
    let columns: Vec<String> = index
        .columns
        .iter()
        .map(|&(column, order)| match order {
            Order::Ascending => quoted(MSSQL, column),
            Order::Descending => format!("{} DESC", quoted(MSSQL, column)),
        })
        .collect();
    let mut sql = format!("CREATE {kind} {} ON {table} ({})", quoted(MSSQL, index.name), columns.join(", "));
    if let Some(column) = index.where_not_null {
        let _ = write!(sql, " WHERE {} IS NOT NULL", quoted(MSSQL, column));
    }
    sql
}

fn columns(names: &[&str]) -> String {
    let names: Vec<String> = names.iter().map(|name| quoted(MSSQL, name)).collect();
    names.join(", ")
}
