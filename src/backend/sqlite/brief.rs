//! Work on the thread of a task, as long as it is brief.
//!
//! Waking another thread and coming back takes tens of microseconds: longer than looking up a row, and as long as a whole
//! commit on a disk that flushes fast. A lone caller therefore commits in place, and a row is looked up in place, while
//! such work has lately taken no longer than [`LIMIT`]. On a slower disk, and for all that may take longer, there are
//! other threads.

use std::cell::Cell;
use std::ffi::c_int;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rusqlite::Connection;
use rusqlite::hooks::Wal;

/// The time for which a task may keep its thread; ten times that where the code is not optimised, so that tests go this
/// way too.
const LIMIT: Duration = Duration::from_micros(if cfg!(debug_assertions) { 3_000 } else { 300 });
/// The time after which reading on a task's thread is given up, and begins again elsewhere.
const LONGEST: Duration = LIMIT.saturating_mul(4);
/// Instructions of SQLite's machine between two looks at the clock: some 20 µs.
const INSTRUCTIONS: c_int = 1_000;
/// Pages of the WAL after which it is copied into the file; the fewer copies, the fewer times is a hot page written.
const CHECKPOINT_PAGES: c_int = 4_000;

thread_local! {
    static DEFERRAL: Cell<Deferral> = const { Cell::new(Deferral::Off) };
    /// When the work of the thread is to be interrupted.
    static END: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// Whether the commits of a thread leave checkpoints to a later commit.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Deferral {
    /// They do not.
    Off,
    /// They do, and none was due so far.
    On,
    /// They do, and one is due.
    Due,
}

/// How long some kind of work has lately taken.
///
/// The mean in nanoseconds, of which the last time makes up a quarter; `u64::MAX` while nothing is known.
#[derive(Debug)]
pub(super) struct Pace(AtomicU64);

impl Pace {
    /// Knows nothing yet, and so expects nothing to be brief.
    pub(super) const fn new() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }

    /// Returns whether the next work is likely to be brief.
    pub(super) fn is_brief(&self) -> bool {
        u128::from(self.0.load(Ordering::Relaxed)) <= LIMIT.as_nanos()
    }

    /// Works, and remembers how long that took.
    pub(super) fn timed<T>(&self, work: impl FnOnce() -> T) -> T {
        let start = Instant::now();
        let done = work();
        self.took(start.elapsed());
        done
    }

    /// Remembers how long some work took.
    pub(super) fn took(&self, time: Duration) {
        let took = time.as_nanos().try_into().unwrap_or(u64::MAX);
        let recent = match self.0.load(Ordering::Relaxed) {
            u64::MAX => took,
            recent => recent - recent / 4 + took / 4,
        };
        self.0.store(recent, Ordering::Relaxed);
    }
}

/// Whether a checkpoint is due, which copies the WAL into the file.
#[derive(Debug, Default)]
pub(super) struct WalCheckpoint(AtomicBool);

impl WalCheckpoint {
    /// Returns whether the next commit is to make a checkpoint.
    pub(super) fn is_due(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Commits, and makes a checkpoint if the WAL is long.
    pub(super) fn checkpointing<T>(&self, commit: impl FnOnce() -> T) -> T {
        let done = commit();
        self.0.store(false, Ordering::Relaxed);
        done
    }

    /// Commits, and leaves the checkpoint to the next commit if the WAL is long.
    pub(super) fn deferring<T>(&self, commit: impl FnOnce() -> T) -> T {
        DEFERRAL.set(Deferral::On);
        let done = commit();
        if DEFERRAL.replace(Deferral::Off) == Deferral::Due {
            self.0.store(true, Ordering::Relaxed);
        }
        done
    }
}

/// Makes the commits of a connection copy the WAL into the file once it is long, or defer that.
pub(super) fn checkpoint_long_wals(connection: &Connection) {
    connection.wal_hook(Some(|wal: &Wal, pages| {
        if pages >= CHECKPOINT_PAGES {
            match DEFERRAL.get() {
                // A reader may be in the way; the next commit tries again.
                Deferral::Off => drop(wal.checkpoint()),
                Deferral::On | Deferral::Due => DEFERRAL.set(Deferral::Due),
            }
        }
        Ok(())
    }));
}

/// Ends the interruption of work, after a panic too.
struct Bound;

impl Drop for Bound {
    fn drop(&mut self) {
        END.set(None);
    }
}

/// Reads for no longer than a short time, give or take some rows; `None` where that was not enough.
pub(super) fn bounded<T>(work: impl FnOnce() -> T) -> Option<T> {
    END.set(Some(Instant::now() + LONGEST));
    let _bound = Bound;
    let done = work();
    END.take().map(|_| done)
}

/// Has the work of a connection interrupted where it is [`bounded`].
pub(super) fn interrupt_long_work(connection: &Connection) -> rusqlite::Result<()> {
    connection.progress_handler(
        INSTRUCTIONS,
        Some(|| {
            let is_over = END.get().is_some_and(|end| Instant::now() > end);
            if is_over {
                END.set(None);
            }
            is_over
        }),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_reading_is_interrupted_only_where_it_is_bounded() {
        const COUNT: &str =
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < ?1) SELECT COUNT(*) FROM n";
        let connection = Connection::open_in_memory().unwrap();
        interrupt_long_work(&connection).unwrap();
        let count = |to: i64| connection.query_row(COUNT, [to], |row| row.get::<_, i64>(0));
        assert_eq!(bounded(|| count(10)).unwrap().unwrap(), 10);
        assert!(bounded(|| count(1_000_000_000)).is_none());
        assert_eq!(count(300_000).unwrap(), 300_000, "the interruption does not outlive the work");
    }

    #[test]
    fn work_is_brief_once_it_was_and_until_it_is_not() {
        let pace = Pace::new();
        assert!(!pace.is_brief(), "nothing is known yet");
        pace.timed(|| ());
        assert!(pace.is_brief());
        pace.timed(|| std::thread::sleep(LIMIT * 8));
        assert!(!pace.is_brief(), "the last work was not");
        for _ in 0..20 {
            pace.timed(|| ());
        }
        assert!(pace.is_brief());
    }

    #[test]
    fn a_brief_commit_leaves_a_long_wal_to_the_next_one() {
        let folder = tempfile::tempdir().unwrap();
        let connection = Connection::open(folder.path().join("log.db")).unwrap();
        connection.execute_batch("PRAGMA journal_mode = WAL; PRAGMA synchronous = OFF; CREATE TABLE t (a)").unwrap();
        checkpoint_long_wals(&connection);
        let copied = || -> (i64, i64) {
            connection.query_row("PRAGMA wal_checkpoint(NOOP)", [], |row| Ok((row.get(1)?, row.get(2)?))).unwrap()
        };
        let wal = WalCheckpoint::default();
        let size = 4096 * i64::from(CHECKPOINT_PAGES);
        wal.deferring(|| connection.execute("INSERT INTO t VALUES (1)", []).unwrap());
        assert!(!wal.is_due());
        wal.deferring(|| connection.execute("INSERT INTO t VALUES (zeroblob(?1))", [size]).unwrap());
        assert!(wal.is_due());
        assert_eq!(copied().1, 0, "pages that the brief commit copied");
        wal.checkpointing(|| connection.execute("INSERT INTO t VALUES (1)", []).unwrap());
        assert!(!wal.is_due());
        let (pages, done) = copied();
        assert_eq!(pages, done, "pages of the WAL, and those copied");
    }
}
