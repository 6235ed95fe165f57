//! The suite is tested: each saboteur breaks one promise, passes nearly all of the suite, and is caught by a case that
//! is meant for it.

mod backend;
mod commit;
mod fault;
mod hide;
mod moved;
mod read;
mod request;
mod topics;
mod transaction;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use annals::backend::Backend;
use annals::conformance::{self, Database, Harness, Report, Status};
use annals::{Config, Result, Store};
use async_trait::async_trait;

use backend::Saboteur;
pub use fault::Fault;
pub use hide::Hidden;

/// Makes a backend break a promise. The backends of one database have a number each, and share what is hidden.
pub fn sabotage(inner: Arc<dyn Backend>, fault: Fault, number: usize, hidden: &Hidden) -> Arc<dyn Backend> {
    Arc::new(Saboteur {
        inner,
        fault,
        commands: Mutex::default(),
        heads: Mutex::default(),
        free: Mutex::default(),
        topics: Mutex::default(),
        number,
        hidden: Arc::clone(hidden),
    })
}

#[derive(Debug)]
struct SaboteurHarness(Fault);

#[derive(Debug)]
struct SaboteurDatabase {
    fault: Fault,
    honest: Arc<dyn Database>,
    opened: AtomicUsize,
    hidden: Hidden,
}

#[async_trait]
impl Harness for SaboteurHarness {
    async fn fresh(&self) -> Result<Arc<dyn Database>> {
        let honest = crate::support::sqlite_file("saboteurs", "?durability=off").unwrap().fresh().await?;
        Ok(Arc::new(SaboteurDatabase {
            fault: self.0,
            honest,
            opened: AtomicUsize::default(),
            hidden: Hidden::default(),
        }))
    }
}

#[async_trait]
impl Database for SaboteurDatabase {
    async fn open(&self, options: &[(&str, &str)]) -> Result<Store> {
        let honest = self.honest.open(options).await?;
        let options: Vec<String> = options.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let config: Config = format!("sqlite:x?{}", options.join("&")).parse()?;
        let number = self.opened.fetch_add(1, Ordering::Relaxed);
        let saboteur = sabotage(Arc::clone(honest.backend()), self.fault, number, &self.hidden);
        Store::with_backend(saboteur, &config).await
    }

    fn url(&self) -> Option<String> {
        self.honest.url()
    }

    async fn remove(&self) -> Result<()> {
        self.honest.remove().await
    }
}

/// The case that measures a time, as the machine is busy, and those that take seconds to fill a queue.
const LEFT_OUT: &[&str] = &[
    "speed::a_thousand_events_of_a_stream_are_read_in_under_100_ms",
    "queue::a_writer_that_waits_for_the_lock_is_answered_at_its_deadline",
    "queue::beyond_the_number_of_waiting_requests_the_answer_is_overloaded",
    "queue::a_request_beyond_a_limit_is_refused_while_others_wait",
    "queue::requests_beyond_the_bytes_wait_and_then_land",
];

/// The families that take their time.
const SLOW: &[&str] = &[
    "queue::",
    "follow::",
    "live::",
    "durable::",
    "group::",
    "dead_letter::",
    "projection::",
    "rebuild::",
    "inline::",
    "aggregate::",
    "aggregate_state::",
    "purging::",
    "routing::",
    "configuration::",
    "instances::",
    "cutover::",
    "ownership::",
    "moving::",
    "restoring::",
];

/// Runs the suite against a saboteur: it must be caught by a case that is meant for it, and pass nine tenths of the
/// others. The families that take their time are run where one of their cases is meant.
fn is_caught(fault: Fault, meant: &[&str]) {
    let known: Vec<String> = conformance::cases().map(|(name, _)| name).collect();
    for name in meant.iter().chain(LEFT_OUT) {
        assert!(known.iter().any(|known| known == name), "no case is named {name}");
    }
    let (mut failed, mut passed) = (Vec::new(), 0);
    let is_slow = |name: &str| SLOW.iter().find(|family| name.starts_with(**family));
    let slow: Vec<&str> = meant.iter().filter_map(|name| is_slow(name)).copied().collect();
    let wanted = |name: &str| !LEFT_OUT.contains(&name) && is_slow(name).is_none_or(|family| slow.contains(family));
    let count = |report: Report| match report.status {
        Status::Passed => passed += 1,
        Status::Failed(_) => failed.push(report.name),
        Status::Skipped(_) => {}
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(conformance::run(&SaboteurHarness(fault), 4, wanted, count));
    let (caught, others): (Vec<_>, Vec<_>) = failed.iter().partition(|name| meant.contains(&name.as_str()));
    println!("{fault:?} was caught by {caught:?}; others that failed: {others:?}");
    assert!(!caught.is_empty(), "{fault:?} was not caught by {meant:?}, only by {others:?}");
    assert!(others.len() * 10 <= passed + others.len(), "{fault:?} breaks more than one promise: {others:?}");
}

/// Each fault with the cases that are meant for it.
#[rstest::rstest]
#[case::ignores_expected_version(
    Fault::IgnoresExpectedVersion,
    &["conflict::a_version_behind_conflicts", "conflict::no_stream_conflicts_with_a_stream"]
)]
#[case::checks_the_slot(Fault::ChecksTheSlot, &["conflict::a_version_ahead_conflicts"])]
#[case::decides_before_the_lock(
    Fault::DecidesBeforeTheLock,
    &["races::one_of_16_racers_on_4_stores_wins", "races::one_of_64_racers_on_4_stores_wins"]
)]
#[case::any_conflicts(
    Fault::AnyConflicts,
    &["races::racers_that_expect_any_version_all_land", "races::racers_on_4_stores_that_expect_any_version_all_land"]
)]
#[case::stores_stream_by_stream(
    Fault::StoresStreamByStream,
    &["append::a_refused_request_of_two_streams_stores_nothing"]
)]
#[case::ignores_guards(Fault::IgnoresGuards, &["append::a_guard_that_does_not_hold_refuses_the_request"])]
#[case::ignores_assertions(Fault::IgnoresAssertions, &["append::an_empty_request_with_a_stale_version_conflicts"])]
#[case::names_the_wrong_version(
    Fault::NamesTheWrongVersion,
    &["conflict::a_conflict_names_the_stream_the_expected_and_the_actual_version"]
)]
#[case::lets_types_change(Fault::LetsTypesChange, &["append::a_stream_keeps_the_category_of_its_first_event"])]
#[case::loses_the_last_of_a_batch(
    Fault::LosesTheLastOfABatch,
    &[
        "queue::requests_sent_at_once_are_answered_as_if_one_after_the_other",
        "queue::a_refused_request_leaves_alone_those_sent_with_it",
        "queue::a_request_that_waits_can_be_taken_back",
        "races::racers_that_expect_any_version_all_land",
    ]
)]
#[case::swaps_answers(
    Fault::SwapsAnswers,
    &[
        "queue::requests_sent_at_once_are_answered_as_if_one_after_the_other",
        "queue::requests_sent_at_once_see_each_others_events_and_commands",
        "queue::a_refused_request_leaves_alone_those_sent_with_it",
        "order::the_log_is_what_was_acknowledged",
        "races::racers_that_expect_any_version_all_land",
    ]
)]
#[case::fails_the_whole_batch(
    Fault::FailsTheWholeBatch,
    &[
        "queue::requests_sent_at_once_see_each_others_events_and_commands",
        "queue::a_refused_request_leaves_alone_those_sent_with_it",
        "races::one_of_16_racers_for_a_version_wins",
        "races::one_of_64_racers_for_a_version_wins",
    ]
)]
#[case::ignores_conditions(Fault::IgnoresConditions, &["condition::an_event_of_the_type_refuses_the_request"])]
#[case::trusts_the_examination(
    Fault::TrustsTheExamination,
    &["boundary::one_of_16_racers_on_a_long_condition_wins"]
)]
#[case::ignores_condition_tags(Fault::IgnoresConditionTags, &["condition::an_item_asks_for_type_and_tags_together"])]
#[case::ignores_condition_types(Fault::IgnoresConditionTypes, &["condition::an_item_asks_for_type_and_tags_together"])]
#[case::forgets_commands(Fault::ForgetsCommands, &["idempotency::a_repeated_command_stores_nothing"])]
#[case::forgets_brief_commands(
    Fault::ForgetsBriefCommands,
    &[
        "idempotency::a_repeated_command_stores_nothing",
        "idempotency::a_repeated_command_gets_the_first_outcome",
        "command_reuse::any_changed_field_of_an_event_is_a_reuse",
        "cancel::a_dropped_command_can_be_repeated",
    ]
)]
#[case::remembers_commands_in_memory(
    Fault::RemembersCommandsInMemory,
    &[
        "idempotency::a_repetition_after_closing_and_opening_is_recognised",
        "idempotency::a_repetition_through_another_store_is_recognised",
    ]
)]
#[case::ignores_request_hash(Fault::IgnoresRequestHash, &["command_reuse::other_data_is_a_reuse"])]
#[case::records_failed_commands(Fault::RecordsFailedCommands, &["idempotency::a_refused_command_is_not_recorded"])]
#[case::hides_repetition(Fault::HidesRepetition, &["idempotency::a_repeated_command_gets_the_first_outcome"])]
#[case::renames_duplicate_events(
    Fault::RenamesDuplicateEvents,
    &["event_id::an_event_id_that_exists_is_refused_with_its_position"]
)]
#[case::naive_sequence(
    Fault::NaiveSequence,
    &[
        "order::a_polling_reader_sees_contiguous_positions",
        "order::a_polling_reader_of_another_store_sees_contiguous_positions",
    ]
)]
#[case::shows_late(Fault::ShowsLate, &["order::what_was_acknowledged_is_read_by_other_stores_at_once"])]
#[case::counts_positions_by_read(
    Fault::CountsPositionsByRead,
    &[
        "filter::events_are_found_by_type",
        "filter::a_filtered_page_says_how_far_it_looked",
        "paging::pages_of_a_filtered_read_hold_every_match_once",
    ]
)]
#[case::reads_the_head_last(
    Fault::ReadsTheHeadLast,
    &[
        "order::the_head_of_a_page_is_not_behind_its_events",
        "boundary::no_commit_during_a_read_slips_past_its_condition",
        "boundary::no_commit_of_another_store_during_a_read_slips_past_its_condition",
    ]
)]
#[case::limits_before_filtering(Fault::LimitsBeforeFiltering, &["filter::the_limit_applies_after_the_filter"])]
#[case::hides_how_far_it_looked(
    Fault::HidesHowFarItLooked,
    &["filter::a_filtered_page_without_a_match_looked_to_the_head"]
)]
#[case::after_is_inclusive(Fault::AfterIsInclusive, &["read::the_log_is_read_forward_after_a_position_exclusive"])]
#[case::until_is_exclusive(Fault::UntilIsExclusive, &["read::the_log_is_read_forward_until_a_position_inclusive"])]
#[case::ignores_direction(Fault::IgnoresDirection, &["read::the_log_is_read_backward"])]
#[case::time_range_is_inclusive(Fault::TimeRangeIsInclusive, &["time::a_range_ends_at_its_last_time_exclusive"])]
#[case::cuts_microseconds(
    Fault::CutsMicroseconds,
    &["time::times_are_whole_microseconds", "time::a_range_begins_at_its_first_time_inclusive"]
)]
#[case::clock_goes_backwards(Fault::ClockGoesBackwards, &["time::times_never_go_back_in_a_lane"])]
#[case::matches_any_tag(Fault::MatchesAnyTag, &["filter::events_are_found_by_all_of_several_tags"])]
#[case::ignores_actor(Fault::IgnoresActor, &["filter::events_are_found_by_actor"])]
#[case::reformats_data(Fault::ReformatsData, &["fidelity::numbers_keep_their_digits"])]
#[case::reformats_metadata(Fault::ReformatsMetadata, &["fidelity::metadata_is_kept_byte_for_byte"])]
#[case::invents_metadata(Fault::InventsMetadata, &["fidelity::no_metadata_is_not_an_empty_object"])]
#[case::forgets_content_type(Fault::ForgetsContentType, &["fidelity::bytes_are_kept_with_their_content_type"])]
#[case::hides_tags(Fault::HidesTags, &["fidelity::tags_come_back_sorted_and_once"])]
#[case::folds_case(Fault::FoldsCase, &["names::names_that_look_alike_are_different_streams"])]
#[case::prefix_is_a_pattern(Fault::PrefixIsAPattern, &["names::percent_and_underscore_are_no_wildcards_of_a_prefix"])]
#[case::lists_in_order_of_creation(Fault::ListsInOrderOfCreation, &["paging::lists_of_streams_come_in_pages"])]
#[case::shows_deleted_streams(Fault::ShowsDeletedStreams, &["lives::a_deleted_stream_has_no_events_to_read"])]
#[case::shows_what_was_reused(Fault::ShowsWhatWasReused, &["lives::reusing_hides_what_was_before"])]
#[case::snapshots_move_backwards(Fault::SnapshotsMoveBackwards, &["snapshot::a_snapshot_never_moves_backwards"])]
#[case::ignores_snapshot_schema(Fault::IgnoresSnapshotSchema, &["snapshot::a_snapshot_of_another_schema_is_ignored"])]
#[case::ignores_metadata_version(
    Fault::IgnoresMetadataVersion,
    &["metadata::a_stale_version_of_the_metadata_is_a_conflict"]
)]
#[case::is_deaf_to_others(Fault::IsDeafToOthers, &["live::what_another_store_appends_wakes_a_subscription"])]
#[case::keeps_dead_members(
    Fault::KeepsDeadMembers,
    &[
        "group::a_member_that_is_killed_is_followed_by_the_others",
        "group::a_killed_member_that_seems_alive_for_years_is_followed",
    ]
)]
#[case::saves_what_is_lost(
    Fault::SavesWhatIsLost,
    &["group::a_member_that_lost_a_share_does_not_move_its_checkpoint"]
)]
#[case::loses_dead_letters(
    Fault::LosesDeadLetters,
    &["dead_letter::an_event_that_fails_for_the_last_time_is_a_dead_letter"]
)]
#[case::forgets_to_retry(
    Fault::ForgetsToRetry,
    &[
        "dead_letter::a_retried_stream_comes_in_order_and_goes_on",
        "dead_letter::a_retry_of_a_stream_leaves_the_others",
        "dead_letter::a_retry_waits_for_a_member",
    ]
)]
#[case::saves_checkpoints_early(
    Fault::SavesCheckpointsEarly,
    &[
        "projection::a_runner_dropped_at_any_point_applies_each_event_once",
        "projection::a_batch_takes_effect_whole",
        "projection::a_mended_projection_goes_on",
    ]
)]
#[case::commits_each_statement(
    Fault::CommitsEachStatement,
    &[
        "transaction::a_dropped_transaction_leaves_nothing",
        "projection::a_batch_takes_effect_whole",
        "inline::an_append_that_a_projection_can_not_apply_is_refused",
    ]
)]
#[case::commits_appends_at_once(
    Fault::CommitsAppendsAtOnce,
    &[
        "transaction::a_dropped_transaction_leaves_nothing",
        "projection::an_event_that_a_projection_appends_is_appended_once",
        "inline::an_append_that_a_projection_can_not_apply_is_refused",
    ]
)]
#[case::forgets_deletes(Fault::ForgetsDeletes, &["rebuild::a_rebuilt_read_model_equals_the_first"])]
#[case::counts_rows_that_stay(
    Fault::CountsRowsThatStay,
    &["projection::a_runner_whose_lease_was_taken_applies_nothing"]
)]
#[case::forgets_commands_of_transactions(
    Fault::ForgetsCommandsOfTransactions,
    &["transaction::a_command_of_a_transaction_is_decided_once", "inline::a_repeated_command_applies_nothing"]
)]
#[case::takes_held_leases(
    Fault::TakesHeldLeases,
    &["durable::two_do_not_run_under_one_name", "durable::of_those_who_open_a_name_at_once_one_runs"]
)]
#[case::claims_to_have_looked(
    Fault::ClaimsToHaveLooked, &["paging::pages_of_a_filtered_read_hold_every_match_once"]
)]
#[case::matches_numbers_as_texts(
    Fault::MatchesNumbersAsTexts,
    &["json_filter::the_number_one_is_not_the_text_one"]
)]
#[case::ignores_holds(
    Fault::IgnoresHolds,
    &[
        "cutover::writers_wait_while_a_topic_is_moved",
        "cutover::a_topic_that_was_moved_takes_nothing_at_its_old_place",
    ]
)]
#[case::ignores_holds_of_metadata(
    Fault::IgnoresHoldsOfMetadata,
    &[
        "cutover::writers_wait_while_a_topic_is_moved",
        "cutover::a_topic_that_was_moved_takes_nothing_at_its_old_place",
    ]
)]
#[case::remembers_holds(
    Fault::RemembersHolds,
    &[
        "cutover::writers_wait_while_a_topic_is_moved",
        "cutover::a_topic_that_was_moved_takes_nothing_at_its_old_place",
    ]
)]
#[case::checks_holds_early(
    Fault::ChecksHoldsEarly,
    &["restoring::an_append_beside_a_cutover_is_copied_or_refused"]
)]
#[case::renews_topics(
    Fault::RenewsTopics,
    &["topic::a_topic_keeps_its_number_of_lanes", "configuration::a_deleted_topic_is_hidden_and_comes_back_with_its_log"]
)]
#[case::ignores_number_of_lanes(
    Fault::IgnoresNumberOfLanes,
    &["topic::a_topic_keeps_its_number_of_lanes", "configuration::a_creation_that_was_cut_off_is_made_good"]
)]
#[case::is_blind_to_new_topics(
    Fault::IsBlindToNewTopics,
    &["instances::a_topic_that_another_instance_makes_is_used_at_once"]
)]
#[case::mixes_topics(
    Fault::MixesTopics,
    &["routing::what_is_appended_to_a_topic_is_in_its_own_log", "topic::what_one_topic_holds_no_other_shows"]
)]
#[case::restores_coarse_times(
    Fault::RestoresCoarseTimes,
    &["restoring::a_log_that_moves_in_is_the_same_in_every_field"]
)]
#[case::restores_without_hashes(
    Fault::RestoresWithoutHashes,
    &["restoring::a_log_that_moves_in_is_the_same_in_every_field"]
)]
#[case::restores_what_fits(
    Fault::RestoresWhatFits,
    &["restoring::only_what_continues_a_log_is_restored"]
)]
fn a_saboteur_is_caught(#[case] fault: Fault, #[case] meant: &[&str]) {
    is_caught(fault, meant);
}
