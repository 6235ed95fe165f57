//! The facts that the model states.

use super::{check_clause, columns, tables};
use crate::schema::shape::{Index, Kind, Order, Table};
use crate::schema::{routines, triggers, views};
use crate::sql::Dialect;

/// One thing that must be there.
pub(super) struct Fact {
    /// How it is called for people.
    pub label: String,
    /// By what it is found.
    pub key: String,
    /// What it is like.
    pub shape: String,
}

impl Fact {
    fn new(key: impl Into<String>, shape: impl Into<String>) -> Self {
        let key = key.into();
        Self { label: key.clone(), key, shape: shape.into() }
    }
}

pub(super) fn facts(dialect: Dialect) -> Vec<Fact> {
    let mut facts = Vec::new();
    for table in tables(dialect) {
        facts.push(Fact::new(format!("table {}", table.name), table_shape(dialect, table)));
        facts.extend(keys(table));
        facts.extend(table.indexes_in(dialect).map(|found| index(table, found)));
        facts.extend(references(dialect, table));
        let triggers = triggers::names(dialect, table).into_iter();
        facts.extend(triggers.map(|name| Fact::new(format!("trigger {name}"), format!("on {}", table.name))));
    }
    for (table, column) in columns(dialect) {
        let mut shape = column_type(dialect, column.kind);
        if !column.nullable {
            shape.push_str(" not null");
        }
        if let Some(value) = column.default {
            shape.push_str(&format!(" default {value}"));
        }
        facts.push(Fact::new(format!("column {}.{}", table.name, column.name), shape));
        let check = check_clause(dialect, table, column);
        facts.extend(check.map(|(name, _)| Fact::new(format!("check {name}"), "")));
    }
    facts.extend(comments(dialect));
    facts.extend(views::VIEWS.iter().map(|name| Fact::new(format!("view {name}"), "")));
    facts.extend(routines::names(dialect).map(|name| Fact::new(format!("routine {name}"), "")));
    facts
}

fn table_shape(dialect: Dialect, table: &Table) -> &'static str {
    match dialect {
        Dialect::Sqlite if table.without_rowid => "strict, without rowid",
        Dialect::Sqlite => "strict",
        Dialect::Postgres | Dialect::Mssql => "",
    }
}

/// Keys and indexes are found by what they are over: not every database keeps their names as they were given.
fn keys(table: &Table) -> Vec<Fact> {
    let unique = table.unique_keys.iter().map(|key| Fact {
        label: format!("unique key {} on {} ({})", key.name, table.name, key.columns.join(", ")),
        key: format!("unique key on {} ({})", table.name, key.columns.join(", ")),
        shape: String::new(),
    });
    let primary = Fact::new(format!("primary key of {}", table.name), table.primary_key.join(", "));
    std::iter::once(primary).chain(unique).collect()
}

fn index(table: &Table, index: &Index) -> Fact {
    let columns: Vec<String> = index
        .columns
        .iter()
        .map(|(column, order)| match order {
            Order::Ascending => (*column).to_owned(),
            Order::Descending => format!("{column} desc"),
        })
        .collect();
    let filter = index.where_not_null.map(|column| format!(" where {column} is not null")).unwrap_or_default();
    let over = format!("on {} ({}){filter}", table.name, columns.join(", "));
    Fact { label: format!("index {} {over}", index.name), key: format!("index {over}"), shape: String::new() }
}

fn references(dialect: Dialect, table: &Table) -> impl Iterator<Item = Fact> {
    table.foreign_keys_in(dialect).map(|key| Fact::new(format!("reference {}", key.name), format!("to {}", key.table)))
}

/// In SQLite, comments are part of the tables' text, and not kept apart.
fn comments(dialect: Dialect) -> Vec<Fact> {
    if dialect == Dialect::Sqlite {
        return Vec::new();
    }
    let of_tables = tables(dialect).map(|table| Fact::new(format!("comment on {}", table.name), table.comment));
    let of_columns = columns(dialect)
        .map(|(table, column)| Fact::new(format!("comment on {}.{}", table.name, column.name), column.comment));
    of_tables.chain(of_columns).collect()
}

fn column_type(dialect: Dialect, kind: Kind) -> String {
    let text = match dialect {
        Dialect::Sqlite => match kind {
            Kind::Uuid | Kind::Digest => "blob",
            Kind::Name | Kind::Json(_) | Kind::Text(_) | Kind::OneOf(_) => "text",
            Kind::Counter | Kind::Int | Kind::Time => "integer",
        },
        Dialect::Postgres => match kind {
            Kind::Uuid => "uuid",
            Kind::Digest => "bytea",
            Kind::Json(_) => "json",
            Kind::Name | Kind::Text(_) | Kind::OneOf(_) => "text collate C",
            Kind::Counter => "bigint",
            Kind::Int => "integer",
            Kind::Time => "timestamp with time zone",
        },
        Dialect::Mssql => match kind {
            Kind::Uuid => "uniqueidentifier",
            Kind::Digest => "binary(32)",
            Kind::Json(_) => "nvarchar(max) collate BIN2",
            Kind::Name => "nvarchar(255) collate BIN2",
            Kind::Text(length) => return format!("nvarchar({length}) collate BIN2"),
            Kind::OneOf(_) => "nvarchar(16) collate BIN2",
            Kind::Counter => "bigint",
            Kind::Int => "int",
            Kind::Time => "datetime2(6)",
        },
    };
    text.to_owned()
}
