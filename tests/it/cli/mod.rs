//! The real binary on SQLite files.

mod copying;
mod documents;
mod export;
mod import;
mod input;
mod killed;
mod process;
mod relay;
mod replay;
mod subscribe;
mod subscriptions;
mod verbs;

use std::ffi::OsStr;
use std::io::Write;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use serde_json::Value;
use tempfile::TempDir;

/// A folder with a database, and the binary to run on it.
struct Annals {
    folder: TempDir,
}

/// What a run printed, and its exit code.
#[derive(Debug)]
struct Run {
    code: i32,
    out: String,
    err: String,
}

impl Annals {
    /// A database with its schema.
    fn new() -> Self {
        let annals = Self::bare();
        annals.ok(["migrate", "up"]);
        annals
    }

    /// A folder without a database.
    fn bare() -> Self {
        Self { folder: tempfile::tempdir().unwrap() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn url(&self, name: &str) -> String {
        format!("sqlite:{}", self.path(name).display())
    }

    /// Writes a file and returns its path.
    fn file(&self, name: &str, text: impl AsRef<[u8]>) -> String {
        std::fs::write(self.path(name), text).unwrap();
        self.path(name).display().to_string()
    }

    fn command(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_annals"));
        command.current_dir(self.folder.path()).env("ANNALS_URL", self.url("store.db")).env("USER", "ada");
        command.env_remove("ANNALS_ACTOR").args(args);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    fn run(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> Run {
        Run::of(self.command(args).spawn().unwrap())
    }

    /// Runs with a text on standard input.
    fn feed(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>, input: &str) -> Run {
        let mut child = self.command(args).stdin(Stdio::piped()).spawn().unwrap();
        // A run that refuses its input early closes the pipe.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        Run::of(child)
    }

    /// Runs what must succeed, and returns what it printed.
    fn ok(&self, args: impl IntoIterator<Item = impl AsRef<OsStr>>) -> String {
        let run = self.run(args);
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{run:?}");
        run.out
    }

    /// Runs what must succeed with `--json`, and returns the objects.
    fn json<'a>(&self, args: impl IntoIterator<Item = &'a str>) -> Vec<Value> {
        let out = self.ok(args.into_iter().chain(["--json"]));
        out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// Appends an event.
    fn put(&self, stream: &str, event_type: &str, data: &str) {
        self.ok(["append", "order", stream, "--type", event_type, "--data", data]);
    }

    /// A topic of several lanes, and its URL.
    fn topic(&self, name: &str, lanes: u16) -> String {
        self.ok(["topic", "create", name, "--partitions", &lanes.to_string()]);
        format!("{}?topic={name}", self.url("store.db"))
    }

    /// Returns what the events of the whole log hold, in its order.
    fn log(&self) -> Vec<Value> {
        self.json(["query"])
    }
}

impl Run {
    fn of(child: Child) -> Self {
        let output = child.wait_with_output().unwrap();
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8(output.stdout).unwrap(),
            err: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Asserts the exit code, and that the message says something.
    #[track_caller]
    fn fails(&self, code: i32, says: &str) {
        assert_eq!(self.code, code, "{self:?}");
        assert!(self.err.contains(says), "{says:?} in {self:?}");
    }
}
