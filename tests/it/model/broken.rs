//! The model check is tested: backends that break one promise are found out, with an example that a person can read.

use proptest::strategy::Strategy;

use super::arena::{Arena, sqlite_file};
use super::check::{Cases, find_failure};
use super::scripts::{Script, of_one_client, of_several_clients};
use crate::saboteurs::Fault;

/// Scripts that are played at most until a fault has to have been found.
const CASES: u64 = 300;
/// How many scripts are played at most to make a failure smaller.
const SHRINKING: usize = 800;

/// Plays scripts on a saboteur until one is not explained, which is to be as small as is said.
fn is_found(fault: Fault, stores: usize, scripts: &impl Strategy<Value = Script>, requests: usize, rows: usize) {
    let runtime = super::runtime();
    let arena = runtime.block_on(Arena::open(&sqlite_file(), stores, Some(fault)));
    let failure = runtime.block_on(find_failure(&arena, scripts, Cases::fixed(CASES), SHRINKING));
    let failure = failure.unwrap_or_else(|| panic!("{fault:?} was not found in {} histories", arena.played()));
    println!(
        "{fault:?} was found, {} requests and {} rows, after {} histories:\n{failure}",
        failure.script.len(),
        failure.part.len(),
        arena.played()
    );
    assert!(failure.script.len() <= requests, "the script of {fault:?} is not small:\n{failure}");
    assert!(failure.part.len() <= rows, "the table of {fault:?} is not small:\n{failure}");
    runtime.block_on(arena.remove());
}

#[rstest::rstest]
fn a_fault_that_one_client_meets_is_found(
    #[values(
        Fault::AfterIsInclusive,
        Fault::ChecksTheSlot,
        Fault::CountsPositionsByRead,
        Fault::ForgetsCommands,
        Fault::HidesHowFarItLooked,
        Fault::HidesRepetition,
        Fault::HidesTags,
        Fault::IgnoresAssertions,
        Fault::IgnoresConditionTags,
        Fault::IgnoresConditionTypes,
        Fault::IgnoresConditions,
        Fault::IgnoresDirection,
        Fault::IgnoresExpectedVersion,
        Fault::IgnoresGuards,
        Fault::IgnoresRequestHash,
        Fault::LetsTypesChange,
        Fault::LimitsBeforeFiltering,
        Fault::MatchesAnyTag,
        Fault::NamesTheWrongVersion,
        Fault::RecordsFailedCommands,
        Fault::RenamesDuplicateEvents,
        Fault::ShowsDeletedStreams,
        Fault::StoresStreamByStream
    )]
    fault: Fault,
) {
    is_found(fault, 1, &of_one_client(), 4, 4);
}

#[rstest::rstest]
fn a_fault_that_several_clients_meet_is_found(
    #[values(
        Fault::AnyConflicts,
        Fault::DecidesBeforeTheLock,
        Fault::FailsTheWholeBatch,
        Fault::NaiveSequence,
        Fault::ReadsTheHeadLast,
        Fault::RemembersCommandsInMemory,
        Fault::ShowsLate,
        Fault::SwapsAnswers
    )]
    fault: Fault,
) {
    is_found(fault, 2, &of_several_clients(2), 12, 8);
}

/// It loses a request where more than four are committed together, which a few clients rarely bring about.
#[test]
fn a_fault_that_many_clients_meet_is_found() {
    is_found(Fault::LosesTheLastOfABatch, 1, &of_several_clients(1), 48, 8);
}
