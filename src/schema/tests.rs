//! The committed migrations are what the generator prints, the model keeps its own rules, and SQLite keeps the log.

use std::path::PathBuf;
use std::{env, fs};

use rstest::rstest;

use super::model::{MIGRATIONS, all_tables};
use super::{default_schema, migrations};
use crate::sql::Dialect;

mod tsql;

#[cfg(feature = "sqlite")]
mod sqlite;

#[rstest]
fn committed_migrations_are_what_the_generator_prints(
    #[values(Dialect::Sqlite, Dialect::Postgres, Dialect::Mssql)] dialect: Dialect,
) {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("migrations").join(dialect.name());
    for migration in migrations(dialect, default_schema(dialect)) {
        for (direction, text) in [("up", &migration.up), ("down", &migration.down)] {
            let path = folder.join(migration.file_name(direction));
            if env::var_os("ANNALS_WRITE_MIGRATIONS").is_some() {
                fs::create_dir_all(&folder).unwrap();
                fs::write(&path, text).unwrap();
            }
            let committed = fs::read_to_string(&path).unwrap_or_default();
            assert!(
                committed == *text,
                "{1} is not what the model says; write it anew with `ANNALS_WRITE_MIGRATIONS=1 cargo test --lib schema`, \
                 or with `annals migrate generate --dialect {0} --out migrations/{0}`",
                dialect.name(),
                path.display(),
            );
        }
    }
}

#[rstest]
fn scripts_are_plain_ascii_which_no_code_page_of_a_client_can_spoil(
    #[values(Dialect::Sqlite, Dialect::Postgres, Dialect::Mssql)] dialect: Dialect,
) {
    for migration in migrations(dialect, default_schema(dialect)) {
        assert!(migration.up.is_ascii() && migration.down.is_ascii(), "{}", migration.name);
    }
}

#[test]
fn every_table_and_column_has_a_comment() {
    for table in all_tables().chain([&MIGRATIONS]) {
        assert!(!table.comment.is_empty(), "{}", table.name);
        for column in table.columns {
            assert!(!column.comment.is_empty() && !column.comment.contains('\n'), "{}.{}", table.name, column.name);
        }
    }
}

#[test]
fn every_key_and_index_starts_with_what_tables_are_spread_by() {
    for table in all_tables().filter(|table| table.name != "purge_permits") {
        let keys = table.unique_keys.iter().map(|key| key.columns[0]);
        let indexes = table.indexes.iter().map(|index| index.columns[0].0);
        for first in keys.chain(indexes).chain([table.primary_key[0]]) {
            assert!(["lane_id", "topic", "name"].contains(&first), "{}: {first}", table.name);
        }
    }
}

#[test]
fn keys_and_indexes_name_columns_of_their_table() {
    for table in all_tables().chain([&MIGRATIONS]) {
        let keys = table.unique_keys.iter().flat_map(|key| key.columns);
        let references = table.foreign_keys.iter().flat_map(|key| key.columns);
        let names = table.primary_key.iter().chain(keys).chain(references).copied();
        let indexed = table
            .indexes
            .iter()
            .flat_map(|index| index.columns.iter().map(|column| column.0).chain(index.where_not_null));
        for name in names.chain(indexed) {
            assert!(table.column(name).is_some(), "{}.{name}", table.name);
        }
    }
}

#[test]
fn a_schema_of_any_name_is_quoted_in_every_statement() {
    for migration in migrations(Dialect::Mssql, "we]ird") {
        for text in [migration.up, migration.down] {
            assert!(text.contains("[we]]ird].") && !text.contains("[dbo]") && !text.contains("N'dbo'"));
        }
    }
}
