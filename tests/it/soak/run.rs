//! A run: start the children, kill some of them again and again, let the rest come to the end, check.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use annals::Store;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::{child, verdict};
use crate::crash::random;
use crate::crash::server::{Server, Signal};

/// The groups, and the children with their roles: two members each, two projectors of which one waits, two writers.
const GROUPS: [&str; 2] = ["mails", "invoices"];
const READERS: [&str; 7] = ["mails", "mails", "mails", "invoices", "invoices", "projector", "projector"];
const WRITERS: usize = 2;
/// How long all that was written may take to be handled once nobody is killed.
const CATCH_UP: Duration = Duration::from_mins(3);
/// How often the server is killed.
const SERVER_EVERY: Duration = Duration::from_secs(4);

/// A database, and what is done to those who use it.
pub struct Run {
    url: String,
    early: bool,
    server: Option<Server>,
    _folder: Option<TempDir>,
    runtime: Runtime,
    faults: (Sender<String>, Receiver<String>),
}

/// A running child; dropping it kills it.
struct Process(Child);

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Run {
    /// On a file.
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir_in(std::path::PathBuf::from(env!("CARGO_TARGET_TMPDIR"))).unwrap();
        let url = format!("sqlite:{}/soak.db?topic=default", folder.path().display());
        Self::new(url, None, Some(folder))
    }

    /// On a server of its own; none, where no server is installed.
    pub fn postgres() -> Option<Self> {
        let server = Server::new()?;
        Some(Self::new(server.url("soak"), Some(server), None))
    }

    fn new(url: String, server: Option<Server>, folder: Option<TempDir>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        let id = if server.is_some() { "bigserial PRIMARY KEY" } else { "integer PRIMARY KEY AUTOINCREMENT" };
        runtime.block_on(async {
            let store = Store::connect(&format!("{url}&migrate=auto")).await.unwrap();
            let mut transaction = store.begin().await.unwrap();
            let effects = format!("CREATE TABLE effects (id {id}, reader text, stream text, version bigint)");
            let totals = "CREATE TABLE totals (stream text PRIMARY KEY, events bigint, version bigint)";
            transaction.execute(&effects, &[]).await.unwrap();
            transaction.execute(totals, &[]).await.unwrap();
            transaction.commit().await.unwrap();
            store.close().await;
        });
        Self { url, early: false, server, _folder: folder, runtime, faults: mpsc::channel() }
    }

    /// Lets members acknowledge events before they handle them.
    pub fn with_early_acknowledgements(mut self) -> Self {
        self.early = true;
        self
    }

    /// Kills at random for a time, and checks what came of it.
    ///
    /// # Errors
    /// What is wrong, in a sentence.
    pub fn soak(mut self, time: Duration) -> Result<String, String> {
        let writers: Vec<Process> = (0..WRITERS).map(|_| self.start("writer")).collect();
        let mut readers: Vec<Process> = READERS.iter().map(|role| self.start(role)).collect();
        let (start, mut kills, mut restarts) = (Instant::now(), 0, 0);
        let mut restarted = start;
        while start.elapsed() < time {
            std::thread::sleep(Duration::from_millis(200 + random(600) as u64));
            let victim = random(READERS.len());
            readers[victim] = self.start(READERS[victim]);
            kills += 1;
            if let Some(server) = self.server.as_mut().filter(|_| restarted.elapsed() > SERVER_EVERY) {
                server.kill(if random(2) == 0 { Signal::Quit } else { Signal::Kill });
                server.start();
                (restarted, restarts) = (Instant::now(), restarts + 1);
            }
        }
        drop(writers);
        let caught_up = self.runtime.block_on(catch_up(&self.url));
        drop(readers);
        if let Ok(fault) = self.faults.1.try_recv() {
            return Err(fault);
        }
        let counts = self.runtime.block_on(async {
            let store = Store::connect(&self.url).await.map_err(|error| error.report())?;
            let counts = verdict::check(&store, &GROUPS).await;
            store.close().await;
            counts
        })?;
        caught_up?;
        Ok(format!("{kills} kills, {restarts} restarts of the server, {counts:?}"))
    }

    fn start(&self, role: &str) -> Process {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", child::NAME, "--ignored", "--nocapture", "--test-threads=1"]);
        command.env(child::URL, &self.url).env(child::ROLE, role);
        if self.early {
            command.env(child::EARLY, "1");
        }
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let (lines, faults) = (BufReader::new(child.stdout.take().unwrap()).lines(), self.faults.0.clone());
        std::thread::spawn(move || {
            for fault in
                lines.map_while(Result::ok).filter_map(|line| line.strip_prefix(child::FAULT).map(str::to_owned))
            {
                // A parent that has seen enough needs no more.
                let _ = faults.send(fault);
            }
        });
        Process(child)
    }
}

/// Waits until every subscription has dealt with everything.
async fn catch_up(url: &str) -> Result<(), String> {
    let start = Instant::now();
    let mut last = String::new();
    while start.elapsed() < CATCH_UP {
        if let Ok(store) = Store::connect(url).await {
            let found = store.subscriptions().await;
            store.close().await;
            match found {
                Ok(all) if all.len() == GROUPS.len() + 1 && all.iter().all(|info| info.lag == 0) => return Ok(()),
                found => last = format!("{found:?}"),
            }
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Err(format!("not everything was handled within {CATCH_UP:?}: {last}"))
}
