//! Crashes (contract 3.9, 3.10, 4, 5): processes append under load and are killed, and so is the server; then every
//! acknowledged append is at its position, nothing stands twice, nothing is torn, there are no holes, and commands
//! answer the same.
//!
//! `just crash` runs 200 cycles an engine; without `ANNALS_CRASH_CYCLES` there are a few. Killing processes shows
//! nothing about flushing, so each connection that writes also tells what it is set to.

mod book;
mod child;
mod control;
mod cycles;
mod durability;
mod line;
mod log;
mod process;
pub mod server;
mod wish;

use cycles::{CHILD, CHILDREN_BOTH, Cycles, KILL, KILL_ALL, KILL_TWO, Kind, QUIT, QUIT_ALL, QUIT_TWO};
use uuid::Uuid;

/// Cycles of an engine, unless `ANNALS_CRASH_CYCLES` names another number.
const CYCLES: usize = 5;
/// Cycles within which a control is caught.
const PATIENCE: usize = 20;

/// Returns a number from 0 to below another.
pub fn random(below: usize) -> usize {
    usize::try_from(Uuid::new_v4().as_u128() % below as u128).unwrap()
}

fn passes(engine: &str, mut cycles: Cycles, kinds: &[Kind]) {
    let number = std::env::var("ANNALS_CRASH_CYCLES").map_or(CYCLES, |text| text.parse().unwrap());
    cycles.run(number, kinds).unwrap_or_else(|error| panic!("{error}"));
    println!("{engine}: {}", cycles.summary());
}

/// Runs a control, which must be found out with one of some words.
fn is_caught(what: &str, mut cycles: Cycles, kinds: &[Kind], words: &[&str]) {
    let found = cycles.run(PATIENCE, kinds).expect_err("the control was not caught");
    assert!(words.iter().any(|word| found.starts_with(word)), "{what} was caught for another reason: {found}");
    println!("control, {what}: caught: {found}");
}

#[test]
fn sqlite_keeps_what_it_acknowledged_when_processes_are_killed() {
    passes("sqlite", Cycles::sqlite(), &[CHILD, CHILDREN_BOTH]);
}

#[test]
fn postgres_keeps_what_it_acknowledged_when_processes_and_the_server_are_killed() {
    let Some(cycles) = Cycles::postgres() else { return };
    passes("postgres", cycles, &[CHILD, QUIT, KILL, CHILDREN_BOTH, QUIT_ALL, KILL_ALL, QUIT_TWO, KILL_TWO]);
}

#[rstest::rstest]
#[case("AnswersEarly", &["lost:"])]
#[case("StoresTwice", &["doubled:"])]
#[case("StoresHalves", &["torn:"])]
#[case("ForgetsCommands", &["answered anew:"])]
fn a_store_with_a_fault_is_caught_on_sqlite(#[case] fault: &'static str, #[case] words: &[&str]) {
    is_caught(&format!("{fault} on sqlite"), Cycles::sqlite().with_fault(fault), &[CHILD], words);
}

#[test]
fn a_store_that_answers_early_is_caught_on_postgres() {
    let Some(cycles) = Cycles::postgres() else { return };
    is_caught("AnswersEarly on postgres", cycles.with_fault("AnswersEarly"), &[CHILD], &["lost:"]);
}

#[test]
fn a_store_that_asks_for_less_durability_is_caught_on_postgres() {
    let Some(cycles) = Cycles::postgres() else { return };
    is_caught("durability=off on postgres", cycles.with_options("&durability=off"), &[QUIT_ALL], &["lost:"]);
}
