//! The child: appends under load until it is killed, and tells each acknowledgement.

use std::sync::Arc;
use std::time::Duration;

use annals::{Error, ErrorClass, Store};

use super::control;
use super::line::{Line, Log, Outcome};
use super::wish::{Key, Wish};

/// The variables that make the test below a child: the database, the number of the run, a fault.
pub const URL: &str = "ANNALS_CRASH_URL";
pub const RUN: &str = "ANNALS_CRASH_RUN";
pub const FAULT: &str = "ANNALS_CRASH_FAULT";
/// Its name.
pub const NAME: &str = "crash::child::appends_until_it_is_killed";

/// Callers at a time.
const TASKS: u32 = 12;
/// Between two tries while the server is down.
pub const PAUSE: Duration = Duration::from_millis(10);

#[test]
#[ignore = "it is the process that the other tests start and kill"]
fn appends_until_it_is_killed() {
    let Ok(url) = std::env::var(URL) else { return };
    let run = std::env::var(RUN).unwrap().parse().unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(async {
        let log = Arc::new(Log::new());
        let store = control::open(&url, std::env::var(FAULT).ok().as_deref()).await;
        let tasks = (0..TASKS).map(|task| tokio::spawn(work(store.clone(), (run, task), Arc::clone(&log))));
        futures::future::try_join_all(tasks).await.unwrap();
    });
}

async fn work(store: Store, (run, task): (u32, u32), log: Arc<Log>) {
    for count in 0.. {
        match Wish::next((run, task, count), &store).await {
            Ok(wish) => carry_out(&store, wish, &log).await,
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// Sends a request; one with a command again and again, until it is acknowledged or refused for good.
async fn carry_out(store: &Store, wish: Wish, log: &Log) {
    let (key, plan) = (wish.key, wish.plan());
    loop {
        log.write(&Line::Sent(wish));
        let error = match store.commit(plan.append()).await {
            Ok(appended) => return log.write(&Line::Done { key, outcome: Outcome::new(&appended, &plan) }),
            Err(error) => error,
        };
        log.write(&refusal(key, &error));
        let decided = !matches!(error, Error::Ambiguous { .. } | Error::Deadline { .. } | Error::Backend { .. });
        if decided || plan.command.is_none() {
            return;
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Tells an error. Those that leave the outcome open are few; all others promise that nothing was stored.
fn refusal(key: Key, error: &Error) -> Line {
    let in_doubt = matches!(
        error,
        Error::Ambiguous { .. } | Error::Deadline { .. } | Error::Backend { class: ErrorClass::Ambiguous, .. }
    );
    let error = error.report();
    if in_doubt { Line::InDoubt { key, error } } else { Line::Refused { key, error } }
}
