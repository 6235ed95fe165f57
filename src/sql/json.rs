//! Values at a path of a document, in each dialect. Types count: the number 1 is not the text "1".

use serde_json::Value as Scalar;

use super::{Dialect, Sql, Value};
use crate::read::JsonFilter;

/// Returns the JSON path of the filter's keys, each quoted: `$."customer"."id"`.
pub(crate) fn path(keys: &[String]) -> String {
    keys.iter().fold("$".to_owned(), |path, key| format!("{path}.\"{key}\""))
}

/// Adds the condition that the document of an event, of a table with the alias `e`, has a value at a path.
pub(crate) fn equals(sql: &mut Sql, filter: &JsonFilter) {
    match sql.dialect() {
        Dialect::Sqlite => sqlite(sql, filter),
        Dialect::Postgres => postgres(sql, filter),
        Dialect::Mssql => mssql(sql, filter),
    }
}

fn sqlite(sql: &mut Sql, filter: &JsonFilter) {
    let place = format!("(e.{}, '{}')", filter.document.as_str(), path(&filter.path));
    let kinds = match &filter.equals {
        Scalar::String(_) => "'text'",
        Scalar::Number(_) => "'integer', 'real'",
        Scalar::Bool(true) => "'true'",
        Scalar::Bool(false) => "'false'",
        Scalar::Null | Scalar::Array(_) | Scalar::Object(_) => "'null'",
    };
    sql.raw(&format!(" AND json_type{place} IN ({kinds})"));
    if filter.equals.is_string() || filter.equals.is_number() {
        sql.raw(&format!(" AND json_extract{place} = "));
        sql.add("json_extract(?, '$')", [Value::from(filter.equals.to_string().as_str())]);
    }
}

/// Returns the expression that Postgres compares, and that an index holds, of a document's column.
pub(crate) fn postgres_key(filter: &JsonFilter, column: &str) -> String {
    let keys: Vec<String> = filter.path.iter().map(|key| format!("'{key}'")).collect();
    format!("annals_json_key({column}, ARRAY[{}])", keys.join(", "))
}

fn postgres(sql: &mut Sql, filter: &JsonFilter) {
    let column = format!("e.{}", filter.document.as_str());
    sql.raw(&format!(" AND {} = ", postgres_key(filter, &column)));
    sql.add("annals_json_key(?, ARRAY[]::text[])", [Value::Json(Some(filter.equals.to_string()))]);
}

/// The value is compared by its type, bit for bit: a stop after each text, because comparisons ignore trailing spaces,
/// and whole numbers beyond what a float holds as whole numbers. A document that is neither object nor array has no keys.
fn mssql(sql: &mut Sql, filter: &JsonFilter) {
    const BINARY: &str = "COLLATE Latin1_General_100_BIN2";
    let document = filter.document.as_str();
    let (last, parents) = filter.path.split_last().map_or(("", &[][..]), |(last, parents)| (last.as_str(), parents));
    sql.add(
        &format!(
            " AND EXISTS (SELECT 1 FROM OPENJSON(CASE WHEN ISJSON(e.{document}) = 1 THEN e.{document} END, ?) j \
             WHERE j.[key] {BINARY} + N'.' = ? AND "
        ),
        [path(parents).as_str().into(), format!("{last}.").as_str().into()],
    );
    match &filter.equals {
        Scalar::String(text) => {
            sql.add(&format!("j.[type] = 1 AND j.[value] {BINARY} + N'.' = ?)"), [format!("{text}.").as_str().into()])
        }
        Scalar::Number(number) => {
            let number = || Value::from(number.to_string().as_str());
            sql.add(
                "j.[type] = 2 AND TRY_CAST(j.[value] AS float) = TRY_CAST(? AS float) \
                 AND COALESCE(TRY_CAST(j.[value] AS bigint), TRY_CAST(? AS bigint), 0) \
                 = COALESCE(TRY_CAST(? AS bigint), TRY_CAST(j.[value] AS bigint), 0))",
                [number(), number(), number()],
            )
        }
        Scalar::Bool(value) => sql.add("j.[type] = 3 AND j.[value] = ?)", [value.to_string().as_str().into()]),
        Scalar::Null | Scalar::Array(_) | Scalar::Object(_) => sql.push("j.[type] = 0)"),
    };
}
