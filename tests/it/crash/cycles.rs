//! The cycles: start children, wait for acknowledgements, kill, open again, check; on one database, again and again.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{self, Receiver, Sender};
use std::time::{Duration, Instant};

use annals::Store;
use tempfile::TempDir;
use tokio::runtime::Runtime;

use super::book::Book;
use super::child::PAUSE;
use super::line::Line;
use super::log::Verdict;
use super::process::Process;
use super::server::{Server, Signal};
use super::{durability, random};

/// How long a child may be silent.
const SILENCE: Duration = Duration::from_secs(90);
/// The name by which the server knows the children's connections.
const CHILDREN: &str = "annals_crash_child";

/// How a cycle ends.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    pub name: &'static str,
    /// How many processes append at once. Of two, the second goes on for a while without the first.
    pub children: usize,
    /// Whether the server is killed, and how.
    pub server: Option<Signal>,
    /// Whether the children live on when the server is killed, and go on once it is back.
    pub outlive: bool,
}

pub const CHILD: Kind = Kind { name: "a process killed", children: 1, server: None, outlive: false };
pub const CHILDREN_BOTH: Kind = Kind { name: "two processes killed", children: 2, ..CHILD };
pub const QUIT: Kind = Kind { name: "server SIGQUIT", server: Some(Signal::Quit), outlive: true, ..CHILD };
pub const KILL: Kind = Kind { name: "server SIGKILL", server: Some(Signal::Kill), ..QUIT };
pub const QUIT_ALL: Kind = Kind { name: "server SIGQUIT, process killed", outlive: false, ..QUIT };
pub const KILL_ALL: Kind = Kind { name: "server SIGKILL, two processes killed", children: 2, outlive: false, ..KILL };
pub const QUIT_TWO: Kind = Kind { name: "server SIGQUIT under two processes", children: 2, ..QUIT };
pub const KILL_TWO: Kind = Kind { name: "server SIGKILL under two processes", children: 2, ..KILL };

/// A database that is written, killed and checked.
pub struct Cycles {
    url: String,
    options: &'static str,
    fault: Option<&'static str>,
    server: Option<Server>,
    _folder: Option<TempDir>,
    runtime: Runtime,
    lines: (Sender<Line>, Receiver<Line>),
    book: Book,
    done: BTreeMap<&'static str, usize>,
}

impl Cycles {
    /// A database in a file.
    pub fn sqlite() -> Self {
        let folder = tempfile::tempdir_in(PathBuf::from(env!("CARGO_TARGET_TMPDIR"))).unwrap();
        let url = format!("sqlite:{}/crash.db?topic=default", folder.path().display());
        Self::new(url, None, Some(folder))
    }

    /// A database on a server of its own; none, where no server is installed.
    pub fn postgres() -> Option<Self> {
        let server = Server::new()?;
        Some(Self::new(server.url("crash"), Some(server), None))
    }

    fn new(url: String, server: Option<Server>, folder: Option<TempDir>) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(async {
            let store = Store::connect(&format!("{url}&migrate=auto")).await.unwrap();
            durability::install(&store).await;
            store.close().await;
        });
        Self {
            url,
            options: "",
            fault: None,
            server,
            _folder: folder,
            runtime,
            lines: mpsc::channel(),
            book: Book::default(),
            done: BTreeMap::new(),
        }
    }

    /// Gives the children's stores a fault.
    pub fn with_fault(mut self, fault: &'static str) -> Self {
        self.fault = Some(fault);
        self
    }

    /// Adds options to the children's URL.
    pub fn with_options(mut self, options: &'static str) -> Self {
        self.options = options;
        self
    }

    /// Runs a number of cycles, of some kinds in turn, up to the first that finds something wrong. Everything is read
    /// again after each fourth of them.
    pub fn run(&mut self, cycles: usize, kinds: &[Kind]) -> Verdict {
        for (number, kind) in (1..=cycles).zip(kinds.iter().cycle()) {
            let all = number % cycles.div_ceil(4) == 0 || number == cycles;
            self.cycle(number, *kind, all).map_err(|error| format!("{error}\n(cycle {number}, {})", kind.name))?;
            *self.done.entry(kind.name).or_default() += 1;
        }
        Ok(())
    }

    fn cycle(&mut self, number: usize, kind: Kind, all: bool) -> Verdict {
        let mut children: Vec<Process> = (0..kind.children).map(|child| self.start_child(2 * number + child)).collect();
        self.await_acknowledgements(&mut children, 1 + random(300));
        std::thread::sleep(Duration::from_micros(u64::try_from(random(20_000)).unwrap()));
        if let Some(signal) = kind.server {
            let server = self.server.as_mut().expect("a server to kill");
            server.kill(signal);
            if !kind.outlive {
                children.clear();
            }
            server.start();
            self.note_what_came();
        }
        if kind.outlive {
            self.await_acknowledgements(&mut children, 20 + random(50));
        }
        while let Some(mut child) = children.pop() {
            child.kill();
            self.note_what_came();
            if !children.is_empty() {
                self.await_acknowledgements(&mut children, 10 + random(50));
            }
        }
        self.note_what_came();
        self.check(all)
    }

    fn start_child(&self, run: usize) -> Process {
        let application = if self.server.is_some() { format!("&application_name={CHILDREN}") } else { String::new() };
        let url = format!("{}{application}{}", self.url, self.options);
        Process::start(&url, run, self.fault, self.lines.0.clone())
    }

    /// Waits until the children have told some more acknowledgements.
    fn await_acknowledgements(&mut self, children: &mut [Process], mut count: usize) {
        while count > 0 {
            let line = self.lines.1.recv_timeout(SILENCE).expect("a child is silent");
            count -= usize::from(self.book.note(line));
            assert!(children.iter_mut().all(Process::is_alive), "a child ended by itself");
        }
    }

    fn note_what_came(&mut self) {
        while let Ok(line) = self.lines.1.try_recv() {
            self.book.note(line);
        }
    }

    /// Opens the database again, and checks it.
    fn check(&mut self, all: bool) -> Verdict {
        let book = &mut self.book;
        self.runtime.block_on(async {
            let store = Store::connect(&self.url).await.map_err(|error| format!("unreadable: {}", error.report()))?;
            if self.server.is_some() {
                await_the_end_of_sessions(&store).await;
            }
            let settings = durability::told(&store).await;
            if self.options.is_empty() && settings != durability::full(&store) {
                return Err(format!("not durable: the connections that wrote were set to {settings:?}"));
            }
            book.check(&store).await?;
            if all {
                book.check_all(&store).await?;
                check_file(&store).await?;
            }
            store.close().await;
            Ok(())
        })
    }

    /// Returns one line about what was done.
    pub fn summary(&self) -> String {
        let kinds: Vec<String> = self.done.iter().map(|(name, count)| format!("{count} × {name}")).collect();
        let Book { acknowledged, unanswered, log, .. } = &self.book;
        format!(
            "{} cycles ({}): {acknowledged} appends acknowledged, {unanswered} left without an answer, {} events \
             stored; nothing lost, doubled or out of place",
            self.done.values().sum::<usize>(),
            kinds.join(", "),
            log.head
        )
    }
}

/// Waits until the server has ended the sessions of the children: until then one of them may still commit.
async fn await_the_end_of_sessions(store: &Store) {
    let mut session = store.backend().session().await.unwrap();
    let sql = format!("SELECT 1 FROM pg_stat_activity WHERE application_name = '{CHILDREN}'");
    let end = Instant::now() + Duration::from_mins(1);
    while !session.query(&sql).await.unwrap().is_empty() {
        assert!(Instant::now() < end, "sessions of children that were killed a minute ago go on");
        tokio::time::sleep(PAUSE).await;
    }
}

/// Lets SQLite look over its file: tables and indexes agree.
async fn check_file(store: &Store) -> Verdict {
    if store.backend().name() != "sqlite" {
        return Ok(());
    }
    let mut session = store.backend().session().await.unwrap();
    let found = session.query("PRAGMA integrity_check").await.unwrap().concat();
    if found == [Some("ok".to_owned())] { Ok(()) } else { Err(format!("corrupt: {found:?}")) }
}
