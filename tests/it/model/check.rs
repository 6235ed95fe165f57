//! The check: random scripts are played, until the history of one can't be explained; that one is made smaller.

use std::fmt;

use futures::future::join_all;
use proptest::strategy::{Strategy, ValueTree};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use uuid::Uuid;

use super::arena::Arena;
use super::linearize::{Call, Table, explain, smallest};
use super::scripts::Script;
use super::smaller::smaller;

/// How often a script of several clients is played, at once, before it counts as harmless while a failure is made
/// smaller: it does not go the same way each time.
const REPLAYS: usize = 6;

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
        write!(f, "the script that this came from is played by: ANNALS_MODEL_SEED={} ANNALS_MODEL_CASES=1", self.seed)
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

/// Plays random scripts, and returns the first whose history can't be explained, made smaller with at
/// most so many scripts.
pub async fn find_failure(
    arena: &Arena,
    scripts: &impl Strategy<Value = Script>,
    cases: Cases,
    shrinking: usize,
) -> Option<Failure> {
    for seed in (0..cases.count).map(|number| cases.seed.wrapping_add(number)) {
        if let Some(failure) = play(arena, &draw(scripts, seed), seed).await {
            return Some(shrink(arena, failure, shrinking).await);
        }
    }
    None
}

/// Returns the script of a seed.
fn draw(scripts: &impl Strategy<Value = Script>, seed: u64) -> Script {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed.to_le_bytes());
    let random = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let mut runner = TestRunner::new_with_rng(Config::default(), random);
    scripts.new_tree(&mut runner).expect("every draft becomes a script").current()
}

async fn play(arena: &Arena, script: &Script, seed: u64) -> Option<Failure> {
    let history = arena.play(script).await;
    let part = explain(&history).is_err().then(|| smallest(&history));
    part.map(|part| Failure { script: script.clone(), part, seed })
}

/// Looks for smaller scripts that fail too, until none does or so many were played.
async fn shrink(arena: &Arena, mut failure: Failure, limit: usize) -> Failure {
    let end = arena.played() + limit;
    let (mut next, mut harmless) = (0, 0);
    loop {
        let scripts = smaller(&failure.script, &failure.part);
        if harmless >= scripts.len() || arena.played() >= end {
            return failure;
        }
        let script = &scripts[next % scripts.len()];
        let replays = if script.clients.len() > 1 { REPLAYS } else { 1 };
        let played = join_all((0..replays).map(|_| play(arena, script, failure.seed))).await;
        if let Some(smaller) = played.into_iter().flatten().min_by_key(|failure| failure.part.len()) {
            // What was tried before this one was harmless for more requests, and is tried again at last.
            (failure, harmless) = (smaller, 0);
        } else {
            (next, harmless) = (next + 1, harmless + 1);
        }
    }
}
