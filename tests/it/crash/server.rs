//! A Postgres server of the tests' own, which can be killed: its processes are children of this one.

use std::io::{BufRead, BufReader};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread::JoinHandle;
use std::time::Duration;

use uuid::Uuid;

use super::random;

/// How long a start may take, with the recovery of the log.
const START: Duration = Duration::from_mins(1);

/// Waits until this process closes the pipe, or has ended in any way; then stops the server and removes its folder.
const GUARD: &str = r#"
    trap '' INT TERM HUP
    cat >/dev/null
    pid=$(head -n 1 "$1/data/postmaster.pid" 2>/dev/null)
    while [ -n "$pid" ] && ps -o args= -p "$pid" | grep -qF "$1/data"; do
        kill -s QUIT "$pid"
        sleep 0.1
    done
    rm -rf "$1"
"#;

/// How the server is killed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Signal {
    /// SIGQUIT to the postmaster, which takes all of its processes down at once, without a checkpoint.
    Quit,
    /// SIGKILL to the postmaster, whose other processes notice that they are alone.
    Kill,
}

/// A server in a folder of its own, both of which end with this, or with this process.
pub struct Server {
    binaries: PathBuf,
    user: Option<(u32, u32)>,
    folder: PathBuf,
    guard: Child,
    port: usize,
    password: String,
    running: Option<(Child, JoinHandle<()>)>,
}

impl Server {
    /// Starts a server; none, where no Postgres is installed, which is said aloud. Where `ANNALS_REQUIRE` lists
    /// postgres, its absence is a failure.
    pub fn new() -> Option<Self> {
        let Some(binaries) = find_binaries() else {
            let required = std::env::var("ANNALS_REQUIRE").unwrap_or_default();
            let what = "no initdb is found: install the Postgres server, or set PG_BIN to the folder of its initdb";
            assert!(!required.split(',').any(|word| word == "postgres"), "{what}");
            eprintln!("SKIPPED: {what}");
            return None;
        };
        let user = (id(&["-u"]) == Some(0)).then(server_user);
        let folder = tempfile::Builder::new().prefix("annals-crash.").tempdir().unwrap().keep();
        let mut guard = Command::new("sh");
        guard.args(["-c", GUARD, "guard"]).arg(&folder).stdout(Stdio::null()).stderr(Stdio::null());
        let guard = guard.stdin(Stdio::piped()).spawn().unwrap();
        let password = Uuid::new_v4().to_string();
        std::fs::write(folder.join("password"), &password).unwrap();
        let mut server = Self { binaries, user, folder, guard, port: 0, password, running: None };
        if let Some((user, group)) = user {
            chown(&server.folder, Some(user), Some(group)).unwrap();
            chown(server.folder.join("password"), Some(user), Some(group)).unwrap();
        }
        server.make_cluster();
        // A port that somebody else took is tried again elsewhere.
        let started = (0..8).map(|_| {
            server.port = 20_000 + random(12_000);
            server.try_to_start()
        });
        let failures: Vec<String> = started.map_while(Result::err).collect();
        assert!(server.running.is_some(), "{failures:?}");
        Some(server)
    }

    fn make_cluster(&self) {
        let mut initdb = self.command("initdb");
        initdb.args(["--pgdata=data", "--username=annals", "--pwfile=password", "--no-sync", "--encoding=UTF8"]);
        initdb.args(["--auth-local=reject", "--auth-host=scram-sha-256", "--locale=C.UTF-8"]);
        let output = initdb.output().unwrap();
        assert!(output.status.success(), "initdb: {}", String::from_utf8_lossy(&output.stderr));
    }

    /// Returns the URL of a schema of the server.
    pub fn url(&self, schema: &str) -> String {
        format!("postgres://annals:{}@127.0.0.1:{}/postgres?schema={schema}", self.password, self.port)
    }

    /// Starts a standby that streams from this server, in a folder inside its own.
    pub fn standby(&self) -> Self {
        let folder = self.folder.join("standby");
        std::fs::create_dir(&folder).unwrap();
        if let Some((user, group)) = self.user {
            chown(&folder, Some(user), Some(group)).unwrap();
        }
        let mut copy = self.command("pg_basebackup");
        copy.args(["--pgdata=standby/data", "--write-recovery-conf", "--checkpoint=fast", "--no-sync"]);
        let source = format!("host=127.0.0.1 port={} user=annals password={}", self.port, self.password);
        let output = copy.args(["--dbname", &source]).output().unwrap();
        assert!(output.status.success(), "pg_basebackup: {}", String::from_utf8_lossy(&output.stderr));
        let (binaries, user, password) = (self.binaries.clone(), self.user, self.password.clone());
        let guard = Command::new("true").stdin(Stdio::piped()).spawn().unwrap();
        let mut standby = Self { binaries, user, folder, guard, port: 0, password, running: None };
        let mut started = Err(String::new());
        for _ in 0..8 {
            standby.port = 20_000 + random(12_000);
            started = standby.try_to_start();
            if started.is_ok() {
                break;
            }
        }
        started.unwrap();
        standby
    }

    /// Starts the server on the port and the files that it had.
    pub fn start(&mut self) {
        self.try_to_start().unwrap();
    }

    /// Starts the server, and waits until it is ready.
    fn try_to_start(&mut self) -> Result<(), String> {
        let mut command = self.command("postgres");
        command.arg("-D").arg(self.folder.join("data")).args(["-p", &self.port.to_string()]);
        for setting in ["listen_addresses=127.0.0.1", "unix_socket_directories=", "max_connections=100"] {
            command.args(["-c", setting]);
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let log = BufReader::new(child.stderr.take().unwrap());
        let (sender, lines) = mpsc::channel();
        let reader = std::thread::spawn(move || {
            for line in log.lines() {
                // Read to the end, so that the server's writes never wait; its start only is listened to.
                let _ = line.map(|line| sender.send(line));
            }
        });
        self.running = Some((child, reader));
        let mut told = Vec::new();
        loop {
            match lines.recv_timeout(START) {
                Ok(line) if line.contains("ready to accept") => return Ok(()),
                Ok(line) => told.push(line),
                Err(error) => {
                    let ended = error == RecvTimeoutError::Disconnected;
                    self.kill(Signal::Kill);
                    return Err(format!("the server did not start (ended: {ended}): {}", told.join("\n")));
                }
            }
        }
    }

    /// Kills the server, and waits until the last of its processes is gone: until then the log's pipe is open.
    pub fn kill(&mut self, signal: Signal) {
        let Some((mut child, reader)) = self.running.take() else { return };
        match signal {
            Signal::Kill => drop(child.kill()),
            Signal::Quit => {
                let quit = format!("kill -s QUIT {}", child.id());
                assert!(Command::new("sh").args(["-c", &quit]).status().unwrap().success());
            }
        }
        child.wait().unwrap();
        reader.join().unwrap();
    }

    /// A program of the server, as the user that it runs as.
    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(self.binaries.join(program));
        command.current_dir(&self.folder).env("PWD", &self.folder);
        if let Some((user, group)) = self.user {
            command.uid(user).gid(group);
        }
        command
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill(Signal::Quit);
        drop(self.guard.stdin.take());
        let _ = self.guard.wait();
    }
}

/// Finds the folder of the newest server that is installed, as `scripts/with-postgres.sh` does.
fn find_binaries() -> Option<PathBuf> {
    if let Some(folder) = std::env::var_os("PG_BIN").filter(|folder| !folder.is_empty()) {
        return Some(PathBuf::from(folder));
    }
    let has_initdb = |folder: &Path| folder.join("initdb").is_file();
    let installed = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let version = |path: &PathBuf| path.file_name().and_then(|name| name.to_str()?.parse::<u32>().ok());
    let newest = installed.map(|entry| entry.path()).filter(|path| has_initdb(&path.join("bin"))).max_by_key(version);
    newest.map(|path| path.join("bin")).or_else(|| {
        let path = std::env::var_os("PATH")?;
        let folder = std::env::split_paths(&path).find(|folder| has_initdb(folder))?;
        Some(folder.join("initdb").canonicalize().ok()?.parent()?.to_owned())
    })
}

/// Postgres refuses to run as root: it runs as the system's user postgres, or as the one that the scripts create.
fn server_user() -> (u32, u32) {
    let create = ["--system", "--shell", "/bin/sh", "annals-test"];
    let known = |name: &str| Some((id(&["-u", name])?, id(&["-g", name])?));
    let create = || {
        Command::new("useradd").args(create).status().ok()?;
        known("annals-test")
    };
    known("postgres").or_else(|| known("annals-test")).or_else(create).expect("a user to run Postgres as")
}

fn id(arguments: &[&str]) -> Option<u32> {
    let output = Command::new("id").args(arguments).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
