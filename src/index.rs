//! Indexes over values inside events' data and metadata, which make a [`JsonFilter`] fast. There is none unless one is
//! added, and none makes an append fail: what can't be indexed is left out.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};

use crate::error::{Error, Result};
use crate::hash::hex;
use crate::read::JsonFilter;
use crate::sql::{Dialect, json};
use crate::store::Store;

/// What the names of these indexes begin with.
const PREFIX: &str = "annals_payload_";

/// An index over the values at a path.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct PayloadIndex {
    /// The path, such as `data.customer.id`; `data` or `metadata` alone is the whole document.
    pub path: String,
    /// The index's name in the database.
    pub name: String,
}

impl Store {
    /// Adds an index over the values at a path such as `data.customer.id`; on Postgres, `data` or `metadata` alone makes
    /// a GIN index over the whole document, for `annals_jsonb(data) @> …` at a SQL prompt.
    ///
    /// On SQLite, appends wait until it is built; on Postgres they go on. An index that exists is left as it is.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the path is none, [`Error::Unsupported`] where the backend has no such indexes.
    pub async fn add_index(&self, path: &str) -> Result<PayloadIndex> {
        let dialect = self.index_dialect()?;
        let index = PayloadIndex { path: path.to_owned(), name: name(dialect, path) };
        let statements = create(dialect, &index)?;
        if self.indexes().await?.contains(&index) {
            return Ok(index);
        }
        let mut session = self.backend().session().await?;
        for statement in statements {
            if let Err(error) = session.execute(&statement).await {
                // One that could not be built whole must not stay, unless it is another caller's, who is still building it;
                // the first error is the one that counts.
                if !error.report().contains("already exists") {
                    let _ = session.execute(&drop_sql(dialect, &index.name)).await;
                }
                return Err(error);
            }
        }
        Ok(index)
    }

    /// Lists the indexes over payloads, by path.
    ///
    /// # Errors
    /// [`Error::Unsupported`] where the backend has no such indexes, and what it answers.
    pub async fn indexes(&self) -> Result<Vec<PayloadIndex>> {
        let rows = self.backend().session().await?.query(list(self.index_dialect()?)).await?;
        let mut indexes: Vec<PayloadIndex> = rows
            .into_iter()
            .filter_map(|row| {
                let mut cells = row.into_iter().flatten();
                Some(PayloadIndex { name: cells.next()?, path: cells.next()? })
            })
            .collect();
        indexes.sort_by(|left, right| left.path.cmp(&right.path));
        Ok(indexes)
    }

    /// Drops the index over a path, and returns whether there was one.
    ///
    /// # Errors
    /// As [`Store::indexes`].
    pub async fn drop_index(&self, path: &str) -> Result<bool> {
        let Some(index) = self.indexes().await?.into_iter().find(|index| index.path == path) else {
            return Ok(false);
        };
        self.backend().session().await?.execute(&drop_sql(self.index_dialect()?, &index.name)).await?;
        Ok(true)
    }

    fn index_dialect(&self) -> Result<Dialect> {
        match self.capabilities().sql {
            // Its JSON_VALUE is null for long values and for all but the first of repeated keys, so that a filter could
            // not rely on an index over it.
            None | Some(Dialect::Mssql) => {
                Err(Error::Unsupported { backend: self.backend().name(), what: "indexes over payloads" })
            }
            Some(dialect) => Ok(dialect),
        }
    }
}

/// Returns the statement that drops an index; on Postgres, appends go on meanwhile.
fn drop_sql(dialect: Dialect, name: &str) -> String {
    let concurrently = if dialect == Dialect::Postgres { "CONCURRENTLY " } else { "" };
    format!("DROP INDEX {concurrently}IF EXISTS \"{name}\"")
}

/// Returns the name of the index over a path. Postgres cuts names at 63 bytes, so there it is a digest.
fn name(dialect: Dialect, path: &str) -> String {
    match dialect {
        Dialect::Sqlite => format!("{PREFIX}{path}"),
        Dialect::Postgres | Dialect::Mssql => format!("{PREFIX}{}", &hex(&Sha256::digest(path.as_bytes()))[..32]),
    }
}

/// Returns the statements that make an index, each with the very expression that the filter has.
fn create(dialect: Dialect, index: &PayloadIndex) -> Result<Vec<String>> {
    let PayloadIndex { path, name } = index;
    if matches!(path.as_str(), "data" | "metadata") {
        return whole(dialect, index);
    }
    let filter = JsonFilter::new(path, Value::Null)?;
    let column = filter.document.as_str();
    Ok(match dialect {
        Dialect::Sqlite | Dialect::Mssql => {
            let value = format!("json_extract({column}, '{}')", json::path(&filter.path));
            vec![format!("CREATE INDEX \"{name}\" ON events (lane_id, {value}, position) WHERE {value} IS NOT NULL")]
        }
        Dialect::Postgres => {
            let value = json::postgres_key(&filter, column);
            vec![
                format!("CREATE INDEX CONCURRENTLY \"{name}\" ON events (lane_id, ({value}), position)"),
                format!("COMMENT ON INDEX \"{name}\" IS '{path}'"),
            ]
        }
    })
}

/// Turns a document into `jsonb`, or into null where that can't hold it.
const GUARDED_JSONB: &str = "CREATE OR REPLACE FUNCTION annals_jsonb(document json) RETURNS jsonb \
     LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$ BEGIN RETURN document::jsonb; \
     EXCEPTION WHEN OTHERS THEN RETURN NULL; END $$";

fn whole(dialect: Dialect, index: &PayloadIndex) -> Result<Vec<String>> {
    let PayloadIndex { path, name } = index;
    if dialect != Dialect::Postgres {
        let reason =
            format!("{path:?} is the whole document, which only Postgres can index: add a key, as in {path}.id");
        return Err(Error::invalid("json path", reason));
    }
    Ok(vec![
        GUARDED_JSONB.to_owned(),
        format!("CREATE INDEX CONCURRENTLY \"{name}\" ON events USING gin (annals_jsonb({path}) jsonb_path_ops)"),
        format!("COMMENT ON INDEX \"{name}\" IS '{path}'"),
    ])
}

/// Returns the statement that lists the indexes: name, path.
const fn list(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite | Dialect::Mssql => {
            "SELECT name, substr(name, 16) FROM sqlite_master WHERE type = 'index' AND tbl_name = 'events' \
             AND substr(name, 1, 15) = 'annals_payload_'"
        }
        Dialect::Postgres => {
            "SELECT c.relname::text, obj_description(c.oid, 'pg_class') FROM pg_index i \
             JOIN pg_class c ON c.oid = i.indexrelid WHERE i.indrelid = to_regclass('events') AND i.indisvalid \
             AND starts_with(c.relname::text, 'annals_payload_')"
        }
    }
}

#[cfg(all(test, feature = "sqlite"))]
mod tests {
    use super::*;
    use crate::position::LaneId;
    use crate::read::Query;
    use crate::sql::statements;

    #[expect(clippy::unwrap_used, reason = "a helper of tests")]
    /// Explains the statement that the store would send, with nothing in the place of its parameters.
    async fn plan(store: &Store, filter: JsonFilter) -> String {
        let query = Query::new().json(filter);
        let statement = statements::events(Dialect::Sqlite, LaneId::new(1), &query, 10);
        let mut session = store.backend().session().await.unwrap();
        let sql = (1..=statement.params.len()).fold(statement.sql, |sql, n| sql.replace(&format!("?{n}"), "'1'"));
        let rows = session.query(&format!("EXPLAIN QUERY PLAN {sql}")).await.unwrap();
        rows.into_iter().flatten().flatten().collect::<Vec<_>>().join(" ")
    }

    #[tokio::test]
    async fn a_filter_uses_the_index_over_its_path() {
        let store = Store::connect("sqlite::memory:?migrate=auto").await.unwrap();
        let filter = || JsonFilter::new("data.customer.id", Value::from("seven")).unwrap();
        assert!(!plan(&store, filter()).await.contains(PREFIX));
        let index = store.add_index("data.customer.id").await.unwrap();
        assert!(plan(&store, filter()).await.contains(&index.name), "{}", plan(&store, filter()).await);
        assert!(plan(&store, JsonFilter::new("data.customer.id", Value::from(7)).unwrap()).await.contains(&index.name));
        let other = JsonFilter::new("data.customer", Value::from(7)).unwrap();
        assert!(!plan(&store, other).await.contains(&index.name));
    }

    #[tokio::test]
    async fn an_index_is_listed_until_it_is_dropped() {
        let store = Store::connect("sqlite::memory:?migrate=auto").await.unwrap();
        let added = store.add_index("metadata.host").await.unwrap();
        assert_eq!(store.add_index("metadata.host").await.unwrap(), added);
        assert_eq!(store.indexes().await.unwrap(), [added]);
        assert!(store.drop_index("metadata.host").await.unwrap());
        assert!(!store.drop_index("metadata.host").await.unwrap());
        assert!(store.indexes().await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn no_payload_is_refused_because_of_an_index() {
        let store = Store::connect("sqlite::memory:?migrate=auto").await.unwrap();
        store.add_index("data.a").await.unwrap();
        let stream = crate::Stream::new("order", "order-1").unwrap();
        let long = format!(r#"{{"a":"{}"}}"#, "x".repeat(100_000));
        let deep = format!(r#"{{"a":{}1{}}}"#, "[".repeat(120), "]".repeat(120));
        for text in [r#"{"a":"\u0000"}"#, r#"{"a":"\ud800"}"#, r#"{"a":1e400}"#, r#"{"a":1,"a":2}"#, "[]", &long, &deep]
        {
            let event = crate::NewEvent::new("Put", crate::Json::parse(text).unwrap().into()).unwrap();
            store.append(&stream, crate::Expected::Any, [event]).await.unwrap();
        }
        let found = Query::new().json(JsonFilter::new("data.a", Value::from("x".repeat(100_000))).unwrap());
        assert_eq!(store.query(found).await.unwrap().len(), 1);
    }
}
