//! A statement: text with the dialect's placeholders, and its parameters.

use super::{Dialect, Value};

/// A statement that an engine can run.
#[derive(Debug, Clone)]
pub(crate) struct Statement {
    /// What it does, for errors and spans.
    pub operation: &'static str,
    /// The text.
    pub sql: String,
    /// The parameters, in the order of their numbers.
    pub params: Vec<Value>,
}

/// Builds a [`Statement`] from pieces of text in which `?` stands for the next parameter and `{s}` for the schema.
pub(crate) struct Sql {
    dialect: Dialect,
    statement: Statement,
}

impl Sql {
    pub(crate) fn new(dialect: Dialect, operation: &'static str) -> Self {
        Self { dialect, statement: Statement { operation, sql: String::with_capacity(512), params: Vec::new() } }
    }

    /// Adds text, and a parameter for each `?` in it.
    pub(crate) fn add(&mut self, text: &str, params: impl IntoIterator<Item = Value>) -> &mut Self {
        let text = text.replace(Dialect::SCHEMA_TOKEN, self.dialect.table_prefix());
        let mut pieces = text.split('?');
        self.statement.sql.push_str(pieces.next().unwrap_or_default());
        let mut params = params.into_iter();
        for piece in pieces {
            match params.next() {
                // Babelfish takes no null of these that the driver sends.
                Some(Value::Text(None) | Value::Json(None) | Value::Bytes(None) | Value::Time(None))
                    if self.dialect == Dialect::Mssql =>
                {
                    self.statement.sql.push_str("NULL");
                }
                param => {
                    self.statement.params.extend(param);
                    self.statement.sql.push_str(&self.dialect.placeholder(self.statement.params.len()));
                }
            }
            self.statement.sql.push_str(piece);
        }
        debug_assert!(params.next().is_none(), "a parameter without a place in {text:?}");
        self
    }

    /// Adds text as it is.
    pub(crate) fn push(&mut self, text: &str) -> &mut Self {
        self.add(text, [])
    }

    /// Adds text in which `?` is just a question mark.
    pub(crate) fn raw(&mut self, text: &str) -> &mut Self {
        self.statement.sql.push_str(text);
        self
    }

    pub(crate) const fn dialect(&self) -> Dialect {
        self.dialect
    }

    /// Adds a list of parameters separated by commas.
    pub(crate) fn list<T: Into<Value>>(&mut self, items: impl IntoIterator<Item = T>) -> &mut Self {
        for (index, item) in items.into_iter().enumerate() {
            self.add(if index == 0 { "?" } else { ", ?" }, [item.into()]);
        }
        self
    }

    pub(crate) fn done(self) -> Statement {
        self.statement
    }
}
