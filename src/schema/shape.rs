//! What a table can be made of: the vocabulary of [`super::model`].

use crate::sql::Dialect;

/// A table, neutral of dialect.
#[derive(Debug, Clone, Copy)]
pub struct Table {
    /// The table's name, the same in every dialect.
    pub name: &'static str,
    /// What a row of it is; stored in the database.
    pub comment: &'static str,
    /// The columns in order.
    pub columns: &'static [Column],
    /// The columns of the primary key.
    pub primary_key: &'static [&'static str],
    /// The unique keys besides the primary one.
    pub unique_keys: &'static [UniqueKey],
    /// The indexes that are no keys.
    pub indexes: &'static [Index],
    /// The references to other tables.
    pub foreign_keys: &'static [ForeignKey],
    /// Whether triggers refuse every change but an insert.
    pub append_only: bool,
    /// Whether `SQLite` stores the rows in the primary key itself: right for short rows that are found by key.
    pub without_rowid: bool,
    /// The only dialect that has the table; `None` for all.
    pub only: Option<Dialect>,
}

/// A column.
#[derive(Debug, Clone, Copy)]
pub struct Column {
    /// The column's name.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// What the value means; stored in the database.
    pub comment: &'static str,
    /// Whether the value may be absent.
    pub nullable: bool,
    /// The value where none is given.
    pub default: Option<i64>,
    /// The smallest number that is accepted.
    pub at_least: Option<i64>,
    /// The largest number that is accepted.
    pub at_most: Option<i64>,
}

/// What a column holds, neutral of dialect.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A UUID, as its 16 bytes.
    Uuid,
    /// A name of 1 to 255 bytes of UTF-8, compared byte for byte.
    Name,
    /// A 64-bit number.
    Counter,
    /// A 32-bit number.
    Int,
    /// A point in time, in microseconds of UTC.
    Time,
    /// A JSON document, kept byte for byte.
    Json(Json),
    /// Text of at most so many bytes.
    Text(u16),
    /// A SHA-256.
    Digest,
    /// One of these words.
    OneOf(&'static [&'static str]),
}

/// Which JSON documents a column accepts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Json {
    /// Any value.
    Any,
    /// An object.
    Object,
    /// An array.
    Array,
}

/// A unique key besides the primary one.
#[derive(Debug, Clone, Copy)]
pub struct UniqueKey {
    /// The constraint's name, by which servers report a violation.
    pub name: &'static str,
    /// The columns.
    pub columns: &'static [&'static str],
}

/// An index that is no key.
#[derive(Debug, Clone, Copy)]
pub struct Index {
    /// The index's name.
    pub name: &'static str,
    /// What reads through it; a comment in the generated file.
    pub reason: &'static str,
    /// The columns, with their order.
    pub columns: &'static [(&'static str, Order)],
    /// Rows in which this column is null are left out.
    pub where_not_null: Option<&'static str>,
    /// Whether SQL Server keeps the rows themselves in this order.
    pub clustered: bool,
    /// The only dialect that has the index; `None` for all.
    pub only: Option<Dialect>,
}

/// The order of a column in an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// Smallest first.
    Ascending,
    /// Largest first.
    Descending,
}

/// A reference to the primary key of another table.
#[derive(Debug, Clone, Copy)]
pub struct ForeignKey {
    /// The constraint's name.
    pub name: &'static str,
    /// The referring columns.
    pub columns: &'static [&'static str],
    /// The table referred to.
    pub table: &'static str,
    /// Its columns.
    pub target: &'static [&'static str],
    /// The only dialect that has the reference; `None` for all.
    pub only: Option<Dialect>,
}

impl Table {
    /// Makes a table without indexes and references; the constants of the model fill in the rest.
    #[must_use]
    pub const fn new(
        name: &'static str,
        comment: &'static str,
        columns: &'static [Column],
        primary_key: &'static [&'static str],
    ) -> Self {
        Self {
            name,
            comment,
            columns,
            primary_key,
            unique_keys: &[],
            indexes: &[],
            foreign_keys: &[],
            append_only: false,
            without_rowid: true,
            only: None,
        }
    }

    /// Returns whether the dialect has this table.
    #[must_use]
    pub fn is_in(&self, dialect: Dialect) -> bool {
        has(self.only, dialect)
    }

    /// Returns the indexes that the dialect has.
    pub fn indexes_in(&self, dialect: Dialect) -> impl Iterator<Item = &'static Index> + use<> {
        self.indexes.iter().filter(move |index| has(index.only, dialect))
    }

    /// Returns the references that the dialect has.
    pub fn foreign_keys_in(&self, dialect: Dialect) -> impl Iterator<Item = &'static ForeignKey> + use<> {
        self.foreign_keys.iter().filter(move |key| has(key.only, dialect))
    }

    /// Returns the column of this name.
    #[must_use]
    pub fn column(&self, name: &str) -> Option<&'static Column> {
        self.columns.iter().find(|column| column.name == name)
    }
}

impl Column {
    /// Makes a column that must have a value.
    #[must_use]
    pub const fn new(name: &'static str, kind: Kind, comment: &'static str) -> Self {
        Self { name, kind, comment, nullable: false, default: None, at_least: None, at_most: None }
    }

    /// Lets the value be absent.
    #[must_use]
    pub const fn nullable(self) -> Self {
        Self { nullable: true, ..self }
    }

    /// Sets the value where none is given.
    #[must_use]
    pub const fn default(self, value: i64) -> Self {
        Self { default: Some(value), ..self }
    }

    /// Sets the smallest number that is accepted.
    #[must_use]
    pub const fn at_least(self, value: i64) -> Self {
        Self { at_least: Some(value), ..self }
    }

    /// Sets the largest number that is accepted.
    #[must_use]
    pub const fn at_most(self, value: i64) -> Self {
        Self { at_most: Some(value), ..self }
    }
}

impl Index {
    /// Makes an index over all rows.
    #[must_use]
    pub const fn new(name: &'static str, columns: &'static [(&'static str, Order)], reason: &'static str) -> Self {
        Self { name, reason, columns, where_not_null: None, clustered: false, only: None }
    }

    /// Leaves out the rows in which the column is null.
    #[must_use]
    pub const fn where_not_null(self, column: &'static str) -> Self {
        Self { where_not_null: Some(column), ..self }
    }
}

fn has(only: Option<Dialect>, dialect: Dialect) -> bool {
    only.is_none_or(|only| only == dialect)
}
