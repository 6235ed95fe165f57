//! The check: random scripts are played, until the history of one can't be explained; that one is made smaller.

use std::cell::RefCell;
use std::fmt;

use proptest::strategy::Strategy;
use proptest::test_runner::{Config, RngAlgorithm, TestCaseError, TestError, TestRng, TestRunner};
use tokio::runtime::Runtime;
use uuid::Uuid;

use super::arena::Arena;
use super::linearize::{Call, Table, explain, smallest};
use super::scripts::Script;

/// How often a script of several clients is played again before it counts as harmless while a failure is made
/// smaller: it does not go the same way each time.
const REPLAYS: usize = 6;
/// How long a failure is made smaller, in milliseconds.
const SHRINKING: u32 = 2_000;

/// A script with a history that no serial order explains.
pub struct Failure {
    pub script: Script,
    /// The smallest part of the history that can't be explained.
    pub part: Vec<Call>,
    seed: u64,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "no serial order explains what these clients were answered:\n{}", self.script)?;
        writeln!(f, "the part of the history that can't be explained:\n{}", Table(&self.part))?;
        if let Err(stuck) = explain(&self.part) {
            writeln!(f, "{}", stuck.tell(&self.part))?;
        }
        write!(f, "to begin with this script: ANNALS_MODEL_SEED={} ANNALS_MODEL_CASES=1", self.seed)
    }
}

/// Returns a number that the environment gives.
fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}

/// How many scripts are played, and the seed of the first; each further one has the next number.
pub struct Cases {
    count: u64,
    seed: u64,
}

impl Cases {
    /// As many as `ANNALS_MODEL_CASES` says, from `ANNALS_MODEL_SEED` on; without these, some, and from anywhere on.
    pub fn of_environment(count: u64) -> Self {
        let anywhere = || Uuid::new_v4().as_u64_pair().0;
        Self {
            count: number("ANNALS_MODEL_CASES").unwrap_or(count),
            seed: number("ANNALS_MODEL_SEED").unwrap_or_else(anywhere),
        }
    }

    /// The same ones each time.
    pub fn fixed(count: u64) -> Self {
        Self { count, seed: 1 }
    }
}

/// Plays random scripts, and returns the first whose history can't be explained, made smaller.
pub fn find_failure(
    runtime: &Runtime,
    arena: &Arena,
    scripts: &impl Strategy<Value = Script>,
    cases: &Cases,
) -> Option<Failure> {
    let seeds = (0..cases.count).map(|number| cases.seed.wrapping_add(number));
    seeds.into_iter().find_map(|seed| play_one(runtime, arena, scripts, seed))
}

fn play_one(runtime: &Runtime, arena: &Arena, scripts: &impl Strategy<Value = Script>, seed: u64) -> Option<Failure> {
    let config = Config {
        // Seeds are printed, and replayed by the environment; nothing is written into the sources.
        failure_persistence: None,
        max_shrink_time: SHRINKING,
        ..Config::default()
    };
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let mut runner = TestRunner::new_with_rng(config, TestRng::from_seed(RngAlgorithm::ChaCha, &bytes));
    let script = scripts.new_tree(&mut runner).expect("every draft becomes a script");
    let failed: RefCell<Option<Failure>> = RefCell::new(None);
    let test = |script: Script| {
        let shrinking = failed.borrow().is_some() && script.clients.len() > 1;
        for _ in 0..if shrinking { REPLAYS } else { 1 } {
            let history = runtime.block_on(arena.play(&script));
            if explain(&history).is_err() {
                let part = smallest(&history);
                failed.replace(Some(Failure { script, part, seed }));
                return Err(TestCaseError::fail("no serial order explains the history"));
            }
        }
        Ok(())
    };
    match runner.run_one(script, test) {
        Ok(_) => None,
        Err(TestError::Fail(..)) => failed.into_inner(),
        Err(TestError::Abort(reason)) => panic!("the runner gave up: {reason}"),
    }
}
