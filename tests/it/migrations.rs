//! The migrations on real databases: the runner here, the guard over events, whole databases, and the comparison of a
//! live schema with the model beside.

mod databases;
mod guard;
mod inspect;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use annals::migrate::{BEFORE_STORE, Consent, Migrator, State, Target};
use annals::{Dialect, Error, Store};
use rstest::rstest;
use tempfile::TempDir;

use crate::support;

/// An empty place for a schema: a SQLite file, or a schema of a server.
struct Fresh {
    dialect: Dialect,
    url: String,
    schema: String,
    folder: TempDir,
}

/// Returns a fresh place, or nothing, with a word on standard error, where the tests were given no such server.
fn fresh(dialect: Dialect) -> Option<Fresh> {
    let folder = tempfile::tempdir().unwrap();
    let schema = format!("t_{}", uuid::Uuid::new_v4().simple());
    let server = |url: String| format!("{url}{}schema={schema}", if url.contains('?') { '&' } else { '?' });
    let url = match dialect {
        Dialect::Sqlite => format!("sqlite:{}", folder.path().join("x.db").display()),
        Dialect::Postgres => server(support::server("postgres")?),
        Dialect::Mssql => server(support::server("mssql")?),
    };
    Some(Fresh { dialect, url, schema, folder })
}

impl Fresh {
    async fn migrator(&self) -> Migrator {
        Migrator::connect(&self.url.parse().unwrap()).await.unwrap()
    }

    /// Connects with the application's migrations from the place's folder.
    async fn with_own(&self) -> Migrator {
        self.migrator().await.with_directory(&self.own()).unwrap()
    }

    fn own(&self) -> PathBuf {
        let folder = self.folder.path().join("own");
        fs::create_dir_all(&folder).unwrap();
        folder
    }

    /// Writes a pair of files of the application.
    fn write(&self, label: &str, up: &str, down: &str) {
        fs::write(self.own().join(format!("{label}.up.sql")), up).unwrap();
        fs::write(self.own().join(format!("{label}.down.sql")), down).unwrap();
    }

    fn table(&self, name: &str) -> String {
        match self.dialect {
            Dialect::Sqlite | Dialect::Postgres => name.to_owned(),
            Dialect::Mssql => format!("[{}].{name}", self.schema),
        }
    }

    async fn run(&self, sql: &str) {
        let sql = sql.replace("{s}", self.table("").as_str());
        self.migrator().await.session().await.unwrap().execute(&sql).await.unwrap();
    }

    async fn has_table(&self, name: &str) -> bool {
        let sql = format!("SELECT COUNT(*) FROM {}", self.table(name));
        self.migrator().await.session().await.unwrap().query(&sql).await.is_ok()
    }

    /// Starts the program with a verb of `migrate`.
    fn start(&self, args: &[&str]) -> std::process::Child {
        Command::new(support::program().unwrap())
            .args(["migrate", "--url", &self.url])
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    }

    fn annals(&self, args: &[&str]) -> Output {
        self.start(args).wait_with_output().unwrap()
    }

    async fn connect_error(&self) -> String {
        Store::connect(&self.url).await.unwrap_err().report()
    }
}

/// The numbers of the steps that were made.
fn numbers(steps: &[annals::migrate::Step<'_>]) -> Vec<i32> {
    steps.iter().map(|step| step.script.version).collect()
}

#[rstest]
#[tokio::test]
async fn up_and_down_and_up_again(#[values(Dialect::Sqlite, Dialect::Postgres, Dialect::Mssql)] dialect: Dialect) {
    let Some(place) = fresh(dialect) else { return };
    let migrator = place.migrator().await;
    for _ in 0..2 {
        assert_eq!(numbers(&migrator.up(None).await.unwrap()), [8, 9, 10, 11]);
        assert_eq!(numbers(&migrator.up(None).await.unwrap()), [0; 0]);
        Store::connect(&place.url).await.unwrap().close().await;
        assert_eq!(numbers(&migrator.down(BEFORE_STORE, Consent::Withheld).await.unwrap()), [11, 10, 9, 8]);
        assert!(!place.has_table("events").await && !place.has_table("lanes").await);
    }
    assert_eq!(numbers(&migrator.up(Some(8)).await.unwrap()), [8]);
    assert_eq!(numbers(&migrator.reset(Consent::Withheld).await.unwrap()), [8, 8, 9, 10, 11]);
    let states: Vec<State> = migrator.status().await.unwrap().iter().map(|status| status.state).collect();
    assert_eq!(states, [State::Applied; 4]);
}

#[rstest]
#[tokio::test]
async fn eight_processes_at_once_apply_each_migration_once(
    #[values(Dialect::Sqlite, Dialect::Postgres, Dialect::Mssql)] dialect: Dialect,
) {
    let Some(place) = fresh(dialect) else { return };
    for number in [1, 2, 100, 101] {
        let table = place.table(&format!("own_{number}"));
        place.write(
            &format!("{number:03}_own"),
            &format!("CREATE TABLE {table} (a int);"),
            &format!("DROP TABLE {table};"),
        );
    }
    let own = place.own();
    let runners: Vec<_> = (0..8).map(|_| place.start(&["up", "--json", "--dir", own.to_str().unwrap()])).collect();
    let mut made = Vec::new();
    for runner in runners {
        let output = runner.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        made.extend(String::from_utf8(output.stdout).unwrap().lines().map(version));
    }
    made.sort_unstable();
    assert_eq!(made, [1, 2, 8, 9, 10, 11, 100, 101]);
}

/// Reads the number of a step that the program printed.
fn version(line: &str) -> i64 {
    serde_json::from_str::<serde_json::Value>(line).unwrap()["version"].as_i64().unwrap()
}

#[rstest]
#[tokio::test]
async fn opening_names_the_command_for_a_missing_and_an_old_schema_and_changes_nothing(
    #[values(Dialect::Sqlite, Dialect::Postgres, Dialect::Mssql)] dialect: Dialect,
) {
    let Some(place) = fresh(dialect) else { return };
    let message = place.connect_error().await;
    assert!(message.contains("no event store") && message.contains("annals migrate up --url"), "{message}");
    assert!(!place.has_table("annals_migrations").await);

    place.migrator().await.up(Some(8)).await.unwrap();
    let message = place.connect_error().await;
    assert!(message.contains("lacks migration 009_create_views_and_routines and 2 more"), "{message}");
    assert!(message.contains("annals migrate up --url"), "{message}");
    assert!(!place.has_table("event_statistics").await);

    let auto = format!("{}{}migrate=auto", place.url, if place.url.contains('?') { '&' } else { '?' });
    Store::connect(&auto).await.unwrap().close().await;
    Store::connect(&place.url).await.unwrap().close().await;
}

#[rstest]
#[case::edited(
    "UPDATE {s}annals_migrations SET checksum = '00' WHERE version = 8",
    "008_create_event_store was applied with another text"
)]
#[case::newer(
    "UPDATE {s}annals_migrations SET version = 12 WHERE version = 11",
    "at migration 012_create_holds, and this program knows none beyond 011"
)]
#[case::hole("DELETE FROM {s}annals_migrations WHERE version = 8", "008_create_event_store was never applied")]
#[tokio::test]
async fn books_that_do_not_fit_stop_opening_and_every_run(
    #[values(Dialect::Sqlite, Dialect::Postgres, Dialect::Mssql)] dialect: Dialect,
    #[case] tampering: &str,
    #[case] expected: &str,
) {
    let Some(place) = fresh(dialect) else { return };
    let migrator = place.migrator().await;
    migrator.up(None).await.unwrap();
    place.run(tampering).await;
    let messages = [
        place.connect_error().await,
        migrator.up(None).await.unwrap_err().report(),
        migrator.down(0, Consent::Given).await.unwrap_err().report(),
        migrator.plan(Target::Newest).await.unwrap_err().report(),
    ];
    for message in messages {
        assert!(message.contains(expected), "{message}");
    }
    assert!(place.has_table("events").await);
}

#[rstest]
#[tokio::test]
async fn other_line_ends_are_no_change(#[values(Dialect::Sqlite, Dialect::Postgres, Dialect::Mssql)] dialect: Dialect) {
    let Some(place) = fresh(dialect) else { return };
    let up = format!("CREATE TABLE {} (\n  a int\n);\n", place.table("own"));
    place.write("100_own", &up, "");
    place.with_own().await.up(None).await.unwrap();
    place.write("100_own", &up.replace('\n', "\r\n"), "");
    assert_eq!(numbers(&place.with_own().await.up(None).await.unwrap()), [0; 0]);
    place.write("100_own", &up.replace("a int", "b int"), "");
    let message = place.with_own().await.up(None).await.unwrap_err().report();
    assert!(message.contains("100_own was applied with another text"), "{message}");
}

#[rstest]
#[tokio::test]
async fn a_failing_migration_leaves_nothing_of_itself_and_all_before_it(
    #[values(Dialect::Sqlite, Dialect::Postgres, Dialect::Mssql)] dialect: Dialect,
) {
    let Some(place) = fresh(dialect) else { return };
    let go = if dialect == Dialect::Mssql { "GO\n" } else { "" };
    let (own, nowhere) = (place.table("own"), place.table("nowhere"));
    place.write("100_own", &format!("CREATE TABLE {own} (a int);\n{go}INSERT INTO {nowhere} VALUES (1);\n"), "");
    let migrator = place.with_own().await;
    let message = migrator.up(None).await.unwrap_err().report();
    assert!(message.contains("100_own: ") && message.contains("nowhere"), "{message}");
    assert!(!place.has_table("own").await);
    let applied: Vec<i32> = migrator
        .status()
        .await
        .unwrap()
        .iter()
        .filter(|status| status.state == State::Applied)
        .map(|status| status.version)
        .collect();
    assert_eq!(applied, [8, 9, 10, 11]);

    place.write("100_own", &format!("CREATE TABLE {own} (a int);\n"), "");
    assert_eq!(numbers(&place.with_own().await.up(None).await.unwrap()), [100]);
}

#[rstest]
#[case(Dialect::Sqlite, "VACUUM;")]
#[case(Dialect::Postgres, "CREATE INDEX CONCURRENTLY IF NOT EXISTS own_idx ON events (aggregate_id);")]
#[tokio::test]
async fn a_file_without_a_transaction_runs_what_no_transaction_may_hold_and_with_eight_at_once(
    #[case] dialect: Dialect,
    #[case] statement: &str,
) {
    let Some(place) = fresh(dialect) else { return };
    place.write("100_own", statement, "");
    let message = place.with_own().await.up(None).await.unwrap_err().report();
    assert!(message.contains("100_own: "), "{message}");

    place.write("100_own", &format!("-- annals: no-transaction\n{statement}"), "");
    let own = place.own();
    let runners: Vec<_> = (0..8).map(|_| place.start(&["up", "--json", "--dir", own.to_str().unwrap()])).collect();
    let mut made = Vec::new();
    for runner in runners {
        let output = runner.wait_with_output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        made.extend(String::from_utf8(output.stdout).unwrap().lines().map(version));
    }
    assert_eq!(made, [100]);
}

#[rstest]
#[tokio::test]
async fn a_file_that_ends_the_transaction_itself_is_named(
    #[values(Dialect::Sqlite, Dialect::Postgres, Dialect::Mssql)] dialect: Dialect,
) {
    let Some(place) = fresh(dialect) else { return };
    place.write("100_own", &format!("CREATE TABLE {} (a int); COMMIT;", place.table("own")), "");
    let error = place.with_own().await.up(None).await.unwrap_err();
    assert!(
        matches!(error, Error::Invalid { .. }) && error.report().contains("100_own ends the transaction"),
        "{error}"
    );
}

#[rstest]
#[tokio::test]
async fn the_printed_script_does_the_same_as_the_run_bookkeeping_included(
    #[values(Dialect::Sqlite, Dialect::Postgres)] dialect: Dialect,
) {
    let Some(place) = fresh(dialect) else { return };
    let migrator = place.migrator().await;
    let script = migrator.script(Target::Newest).await.unwrap();
    let is_for_the_tool = |line: &&str| line.starts_with(['.', '\\']);
    assert_eq!(script.lines().filter(is_for_the_tool).count(), 1);
    let sql: Vec<&str> = script.lines().filter(|line| !is_for_the_tool(line)).collect();
    place.run(&sql.join("\n")).await;
    assert_eq!(numbers(&migrator.up(None).await.unwrap()), [0; 0]);
    assert_eq!(migrator.differences().await.unwrap(), [""; 0]);
    Store::connect(&place.url).await.unwrap().close().await;
}

#[rstest]
fn generate_writes_the_committed_files(#[values(Dialect::Sqlite, Dialect::Postgres, Dialect::Mssql)] dialect: Dialect) {
    let folder = tempfile::tempdir().unwrap();
    let status = Command::new(support::program().unwrap())
        .args(["migrate", "generate", "--dialect", dialect.name(), "--out"])
        .arg(folder.path())
        .stdout(Stdio::null())
        .status()
        .unwrap();
    assert!(status.success());
    let committed = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations").join(dialect.name());
    assert_eq!(files(folder.path()), files(&committed));
}

/// Returns the names and texts of a folder's files.
fn files(folder: &Path) -> Vec<(String, String)> {
    let read =
        |path: PathBuf| (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read_to_string(path).unwrap());
    let mut files: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| read(entry.unwrap().path())).collect();
    files.sort();
    files
}
