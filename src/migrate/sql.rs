//! The statements of the runner that are not a migration's own, in each dialect.

use super::plan::{Direction, Step};
use super::script::digest;
use crate::schema::{self, literal, model, quoted};
use crate::sql::Dialect;

/// A schema of a database: where the tables and the bookkeeping are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    pub dialect: Dialect,
    pub schema: &'a str,
}

impl Place<'_> {
    /// What a connection needs before it migrates. A migration takes as long as it takes, and on SQL Server an error must end the transaction.
    pub(super) const fn prepare(self) -> Option<&'static str> {
        match self.dialect {
            Dialect::Sqlite => None,
            Dialect::Postgres => {
                Some("SET statement_timeout = 0; SET lock_timeout = 0; SET idle_in_transaction_session_timeout = 0")
            }
            Dialect::Mssql => {
                Some("SET XACT_ABORT ON; SET QUOTED_IDENTIFIER ON; SET ANSI_NULLS ON; SET LOCK_TIMEOUT -1")
            }
        }
    }

    /// Begins a transaction. On SQLite it is the lock at the same time.
    pub(super) const fn begin(self) -> &'static str {
        match self.dialect {
            Dialect::Sqlite => "BEGIN IMMEDIATE",
            Dialect::Postgres => "BEGIN",
            Dialect::Mssql => "BEGIN TRANSACTION",
        }
    }

    pub(super) const fn commit(self) -> &'static str {
        match self.dialect {
            Dialect::Sqlite | Dialect::Postgres => "COMMIT",
            Dialect::Mssql => "COMMIT TRANSACTION",
        }
    }

    /// Ends a transaction that the error may have ended already.
    pub(super) const fn roll_back(self) -> &'static str {
        match self.dialect {
            Dialect::Sqlite | Dialect::Postgres => "ROLLBACK",
            Dialect::Mssql => "IF @@TRANCOUNT > 0 ROLLBACK TRANSACTION",
        }
    }

    /// Marks the place in the transaction before a migration's own statements.
    pub(super) const fn mark(self) -> Option<&'static str> {
        match self.dialect {
            Dialect::Sqlite | Dialect::Postgres => Some("SAVEPOINT annals_migration"),
            Dialect::Mssql => None,
        }
    }

    /// Fails where a migration's own statements have ended the transaction.
    pub(super) const fn check_mark(self) -> &'static str {
        match self.dialect {
            Dialect::Sqlite | Dialect::Postgres => "RELEASE SAVEPOINT annals_migration",
            Dialect::Mssql => "IF @@TRANCOUNT <> 1 THROW 51000, N'the transaction was ended', 1",
        }
    }

    /// Tries to take the lock of the runners; the first cell of the answer is `1` where it is taken.
    ///
    /// On Postgres without waiting: that would hold a snapshot, for which a `CREATE INDEX CONCURRENTLY` of the runner that
    /// has the lock waits in turn. SQL Server waits itself; asked again and again, a Babelfish server breaks down.
    pub(super) fn try_lock(self) -> Option<String> {
        match self.dialect {
            Dialect::Sqlite => None,
            Dialect::Postgres => {
                Some(format!("SELECT CASE WHEN pg_try_advisory_lock({}) THEN '1' ELSE '0' END", self.lock_number()))
            }
            // 0 is granted at once, 1 after waiting; what is negative is a refusal.
            Dialect::Mssql => Some(format!(
                "DECLARE @outcome int; EXEC @outcome = sp_getapplock @Resource = {}, @LockMode = N'Exclusive', \
                 @LockOwner = N'Session', @LockTimeout = {}; SELECT CASE WHEN @outcome >= 0 THEN N'1' ELSE N'0' END",
                literal(self.dialect, &self.lock_name()),
                super::apply::LOCK_WAIT.as_millis()
            )),
        }
    }

    /// Gives the lock of the runners back.
    pub(super) fn unlock(self) -> Option<String> {
        match self.dialect {
            Dialect::Sqlite => None,
            Dialect::Postgres => Some(format!("SELECT pg_advisory_unlock({})", self.lock_number())),
            Dialect::Mssql => Some(format!(
                "EXEC sp_releaseapplock @Resource = {}, @LockOwner = N'Session'",
                literal(self.dialect, &self.lock_name())
            )),
        }
    }

    fn lock_name(self) -> String {
        format!("annals migrate {}", self.schema)
    }

    fn lock_number(self) -> i64 {
        let bytes = digest(&self.lock_name());
        bytes.iter().take(8).fold(0, |number, byte| (number << 8) | i64::from(*byte))
    }

    /// Returns a row where the schema is there.
    pub(super) fn find_schema(self) -> Option<String> {
        let name = literal(self.dialect, self.schema);
        match self.dialect {
            Dialect::Sqlite => None,
            Dialect::Postgres => Some(format!("SELECT '1' FROM pg_catalog.pg_namespace WHERE nspname = {name}")),
            Dialect::Mssql => Some(format!("SELECT N'1' FROM sys.schemas WHERE name = {name}")),
        }
    }

    /// Creates the schema: on SQL Server the only statement of its batch.
    pub(super) fn create_schema(self) -> String {
        format!("CREATE SCHEMA {}", quoted(self.dialect, self.schema))
    }

    /// Returns a row where a table is there.
    pub(super) fn find_table(self, table: &str) -> String {
        let (name, schema) = (literal(self.dialect, table), literal(self.dialect, self.schema));
        match self.dialect {
            Dialect::Sqlite => format!("SELECT '1' FROM sqlite_master WHERE type = 'table' AND name = {name}"),
            Dialect::Postgres => format!(
                "SELECT '1' FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                 WHERE c.relkind IN ('r', 'p') AND c.relname = {name} AND n.nspname = {schema}"
            ),
            Dialect::Mssql => format!(
                "SELECT N'1' FROM sys.tables t JOIN sys.schemas s ON s.schema_id = t.schema_id \
                 WHERE t.name = {name} AND s.name = {schema}"
            ),
        }
    }

    /// Returns version, name, checksum and time of every row of the bookkeeping, by version.
    pub(super) fn applied(self) -> String {
        let table = self.bookkeeping();
        match self.dialect {
            Dialect::Sqlite => format!(
                "SELECT version, name, checksum, strftime('%Y-%m-%dT%H:%M:%S', applied_at / 1000000, 'unixepoch') \
                 || printf('.%06dZ', applied_at % 1000000) FROM {table} ORDER BY version"
            ),
            Dialect::Postgres => format!(
                "SELECT m.version::text, m.name, m.checksum, \
                 to_char(m.applied_at AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS.US\"Z\"') \
                 FROM {table} AS m ORDER BY m.version"
            ),
            Dialect::Mssql => format!(
                "SELECT CONVERT(nvarchar(11), version), name, checksum, CONVERT(nvarchar(33), applied_at, 126) + N'Z' \
                 FROM {table} AS m ORDER BY m.version"
            ),
        }
    }

    /// Writes down that a step was made.
    pub(super) fn record(self, step: &Step<'_>) -> String {
        let (table, version) = (self.bookkeeping(), step.script.version);
        match step.direction {
            Direction::Up => format!(
                "INSERT INTO {table} (version, name, checksum, applied_at) VALUES ({version}, {}, {}, {})",
                literal(self.dialect, &step.script.name),
                literal(self.dialect, &step.script.checksum()),
                schema::clock(self.dialect)
            ),
            Direction::Down => format!("DELETE FROM {table} WHERE version = {version}"),
        }
    }

    /// Keeps others from adding events until the transaction ends; a statement of its own, so that the next one counts
    /// what was there when the lock was granted.
    pub(super) fn lock_events(self) -> Option<String> {
        let events = self.table("events");
        match self.dialect {
            Dialect::Sqlite => None,
            Dialect::Postgres => Some(format!("LOCK TABLE {events} IN ACCESS EXCLUSIVE MODE")),
            Dialect::Mssql => Some(format!("SELECT TOP (1) lane_id FROM {events} WITH (TABLOCKX, HOLDLOCK)")),
        }
    }

    /// Counts the events.
    pub(super) fn count_events(self) -> String {
        let events = self.table("events");
        match self.dialect {
            Dialect::Sqlite => format!("SELECT COUNT(*) FROM {events}"),
            Dialect::Postgres => format!("SELECT COUNT(*)::text FROM {events}"),
            Dialect::Mssql => format!("SELECT CONVERT(nvarchar(20), COUNT_BIG(*)) FROM {events}"),
        }
    }

    /// Drops the bookkeeping.
    #[cfg(feature = "testing")]
    pub(super) fn drop_bookkeeping(self) -> String {
        format!("DROP TABLE {}", self.bookkeeping())
    }

    fn bookkeeping(self) -> String {
        self.table(model::MIGRATIONS.name)
    }

    fn table(self, name: &str) -> String {
        format!("{}.{}", quoted(self.dialect, self.schema), quoted(self.dialect, name))
    }
}

/// Names every schema of the database in which migrations were applied.
pub(super) fn schemas(dialect: Dialect) -> String {
    let table = literal(dialect, model::MIGRATIONS.name);
    match dialect {
        Dialect::Sqlite => format!("SELECT 'main' FROM sqlite_master WHERE type = 'table' AND name = {table}"),
        Dialect::Postgres => format!(
            "SELECT n.nspname FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE c.relkind IN ('r', 'p') AND c.relname = {table}"
        ),
        Dialect::Mssql => {
            format!(
                "SELECT s.name FROM sys.tables t JOIN sys.schemas s ON s.schema_id = t.schema_id WHERE t.name = {table}"
            )
        }
    }
}

/// Returns a row where the server has the database.
pub(super) fn find_database(dialect: Dialect, name: &str) -> String {
    let name = literal(dialect, name);
    match dialect {
        Dialect::Sqlite => "SELECT '1'".to_owned(),
        Dialect::Postgres => format!("SELECT '1' FROM pg_catalog.pg_database WHERE datname = {name}"),
        Dialect::Mssql => format!("SELECT N'1' FROM sys.databases WHERE name = {name}"),
    }
}

/// The database of a server from which others are created and dropped.
pub(super) const fn maintenance_database(dialect: Dialect) -> &'static str {
    match dialect {
        Dialect::Sqlite => "",
        Dialect::Postgres => "postgres",
        Dialect::Mssql => "master",
    }
}
