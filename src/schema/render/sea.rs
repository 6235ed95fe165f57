//! Tables for SQLite and Postgres. The parts of a statement are rendered by `sea-query`; what it has no words for
//! (layout, SQLite's comments and table options) is put around them.

use std::fmt::Write as _;

use sea_query::{
    Alias, Check, ColumnDef, ColumnType, ConditionalStatement as _, Expr, ExprTrait as _, Index as SeaIndex,
    IndexBuilder, IndexCreateStatement, IndexOrder, PostgresQueryBuilder, SqliteQueryBuilder, TableBuilder,
};

use super::{IfExists, check, literal, quoted};
use crate::schema::shape::{Column, Index, Kind, Order, Table};
use crate::sql::Dialect;

const SQLITE: Dialect = Dialect::Sqlite;
const POSTGRES: Dialect = Dialect::Postgres;

/// Comments live inside the statement, because SQLite keeps its text and has no other place for them.
pub(super) fn create_sqlite_table(table: &Table, if_exists: IfExists) -> String {
    let mut sql = format!("{} (\n  -- {}\n\n", create(SQLITE, table, if_exists), table.comment);
    for column in table.columns {
        let mut part = String::new();
        SqliteQueryBuilder.prepare_column_def(&column_def(SQLITE, table, column), &mut part);
        let _ = writeln!(sql, "  -- {}\n  {part},", column.comment);
    }
    sql.push_str(&keys(&SqliteQueryBuilder, table));
    if table.append_only && !table.without_rowid {
        // The trigger that refuses replacing can't tell a given row number of -1 from none.
        let _ = write!(sql, ",\n  CONSTRAINT \"{}_rowid_check\" CHECK (\"rowid\" >= 1)", table.name);
    }
    sql.push_str(if table.without_rowid { "\n) STRICT, WITHOUT ROWID;\n" } else { "\n) STRICT;\n" });
    for index in table.indexes_in(SQLITE) {
        let _ = writeln!(sql, "-- {}\n{};", index.reason, create_index(table, index).to_string(SqliteQueryBuilder));
    }
    sql
}

pub(super) fn create_postgres_table(table: &Table, if_exists: IfExists) -> String {
    let mut sql = format!("{} (\n", create(POSTGRES, table, if_exists));
    for column in table.columns {
        let mut part = String::new();
        PostgresQueryBuilder.prepare_column_def(&column_def(POSTGRES, table, column), &mut part);
        let _ = writeln!(sql, "  {part},");
    }
    sql.push_str(&keys(&PostgresQueryBuilder, table));
    sql.push_str("\n);\n");
    for index in table.indexes_in(POSTGRES) {
        let _ = writeln!(sql, "-- {}\n{};", index.reason, create_index(table, index).to_string(PostgresQueryBuilder));
    }
    let name = quoted(POSTGRES, table.name);
    let _ = writeln!(sql, "COMMENT ON TABLE {name} IS {};", literal(POSTGRES, table.comment));
    for column in table.columns {
        let comment = literal(POSTGRES, column.comment);
        let _ = writeln!(sql, "COMMENT ON COLUMN {name}.{} IS {comment};", quoted(POSTGRES, column.name));
    }
    sql
}

fn create(dialect: Dialect, table: &Table, if_exists: IfExists) -> String {
    let guard = match if_exists {
        IfExists::Fail => "",
        IfExists::Keep => "IF NOT EXISTS ",
    };
    format!("CREATE TABLE {guard}{}", quoted(dialect, table.name))
}

fn column_def(dialect: Dialect, table: &Table, column: &Column) -> ColumnDef {
    let mut def = ColumnDef::new_with_type(Alias::new(column.name), column_type(dialect, column.kind));
    if !column.nullable {
        def.not_null();
    }
    if let Some(value) = column.default {
        def.default(value);
    }
    if let Some(check) = check(dialect, column) {
        let name = format!("{}_{}_check", table.name, column.name);
        def.check(Check::named(Alias::new(name), Expr::cust(check)));
    }
    def
}

fn column_type(dialect: Dialect, kind: Kind) -> ColumnType {
    match (dialect, kind) {
        (Dialect::Postgres, Kind::Uuid) => ColumnType::Uuid,
        (Dialect::Postgres, Kind::Time) => ColumnType::TimestampWithTimeZone,
        (Dialect::Postgres, Kind::Json(_)) => ColumnType::Json,
        (Dialect::Postgres, Kind::Name | Kind::Text(_) | Kind::OneOf(_)) => ColumnType::custom("text COLLATE \"C\""),
        (_, Kind::Uuid | Kind::Digest) => ColumnType::Blob,
        (_, Kind::Name | Kind::Text(_) | Kind::Json(_) | Kind::OneOf(_)) => ColumnType::Text,
        (_, Kind::Counter | Kind::Time) => ColumnType::BigInteger,
        (_, Kind::Int) => ColumnType::Integer,
    }
}

fn keys(builder: &impl IndexBuilder, table: &Table) -> String {
    let mut primary = SeaIndex::create();
    primary.primary().name(format!("{}_pkey", table.name));
    for column in table.primary_key {
        primary.col(Alias::new(*column));
    }
    let unique = table.unique_keys.iter().map(|key| {
        let mut index = SeaIndex::create();
        index.unique().name(key.name);
        for column in key.columns {
            index.col(Alias::new(*column));
        }
        index
    });
    let parts: Vec<String> = std::iter::once(primary)
        .chain(unique)
        .map(|key| {
            let mut part = String::from("  ");
            builder.prepare_table_index_expression(&key, &mut part);
            part
        })
        .collect();
    parts.join(",\n")
}

fn create_index(table: &Table, index: &Index) -> IndexCreateStatement {
    let mut statement = SeaIndex::create();
    statement.name(index.name).table(Alias::new(table.name));
    for &(column, order) in index.columns {
        match order {
            Order::Ascending => statement.col(Alias::new(column)),
            Order::Descending => statement.col((Alias::new(column), IndexOrder::Desc)),
        };
    }
    if let Some(column) = index.where_not_null {
        statement.and_where(Expr::col(Alias::new(column)).is_not_null());
    }
    statement
}
