//! The macro by which a backend enrols: one test a case. Its list is generated from the families, and a test says that
//! it is current.

/// Makes a test of each conformance case for a backend.
///
/// The argument is a function or closure that returns a [`Harness`](crate::conformance::Harness), or `None` where there
/// is no database to run on: then each test says so.
///
/// ```no_run
/// mod suite {
///     annals::conformance_suite!(|| annals::conformance::UrlHarness::new("sqlite::memory:", None).ok());
/// }
/// ```
#[macro_export]
macro_rules! conformance_suite {
    ($harness:expr) => {
        $crate::__conformance_tests! { $harness;
            append {
                the_first_event_of_a_stream_has_version_1
                versions_and_positions_of_a_request_are_consecutive
                events_of_a_request_keep_their_order
                a_request_of_several_streams_is_stored_whole
                a_refused_request_of_two_streams_stores_nothing
                a_refused_request_uses_no_position
                each_stream_has_versions_of_its_own
                the_outcome_names_the_lane_of_the_stream
                exact_holds_at_the_current_version
                exact_0_creates_a_stream
                no_stream_creates_a_stream
                exists_appends_to_a_stream_of_any_version
                any_creates_a_stream
                any_appends_to_a_stream_of_any_version
                an_empty_request_asserts_the_version
                an_empty_request_with_a_stale_version_conflicts
                an_empty_request_never_creates_a_stream
                an_empty_request_leaves_the_head
                a_guard_that_holds_lets_the_request_pass
                a_guard_that_does_not_hold_refuses_the_request
                a_guard_appends_nothing_to_its_stream
                a_guard_of_a_stream_that_must_not_exist_does_not_create_it
                streams_of_a_request_can_take_turns
                a_stream_named_twice_with_two_expectations_is_refused
                an_event_id_that_a_request_gives_twice_is_refused
                a_stream_keeps_the_category_of_its_first_event
                two_streams_of_one_category_do_not_mix
            }
            conflict {
                a_version_behind_conflicts
                a_version_ahead_conflicts
                a_version_below_0_is_refused
                a_free_slot_is_not_enough
                no_stream_conflicts_with_a_stream
                exact_conflicts_where_there_is_no_stream
                exists_conflicts_where_there_is_no_stream
                a_conflict_names_the_stream_the_expected_and_the_actual_version
                a_conflict_stores_nothing
                a_conflict_creates_no_stream
                what_was_missed_can_be_read_and_the_retry_succeeds
                a_guard_conflict_names_the_guarded_stream
                the_first_stream_in_conflict_is_named
                another_category_is_told_before_the_version
                a_conflict_leaves_other_streams_writable
                a_refused_event_id_can_be_used_again
                an_append_between_read_and_write_is_a_conflict
            }
            condition {
                a_condition_that_nothing_matches_lets_the_request_pass
                an_event_of_the_type_refuses_the_request
                any_of_an_items_types_matches
                an_event_with_the_tag_refuses_the_request
                an_item_asks_for_all_of_its_tags
                an_item_asks_for_type_and_tags_together
                the_items_of_a_condition_are_alternatives
                an_event_at_the_named_position_does_not_match
                an_event_after_the_named_position_matches
                the_head_of_a_page_serves_as_the_position
                the_first_matching_event_is_named
                a_long_condition_finds_what_stands_far_back
                a_long_condition_that_nothing_matches_lets_the_request_pass
                a_condition_looks_at_the_streams_of_all_categories
                a_request_does_not_match_its_own_condition
                a_condition_goes_with_a_guard
                a_condition_without_events_is_an_assertion
                a_failed_condition_stores_nothing
                the_version_is_checked_before_the_condition
                a_condition_without_items_matches_nothing
                an_item_without_types_and_tags_is_refused
                types_and_tags_of_a_condition_are_compared_byte_for_byte
            }
            idempotency {
                a_repeated_command_gets_the_first_outcome
                a_repeated_command_stores_nothing
                the_first_decision_is_not_flagged_as_a_duplicate
                a_repetition_gets_the_versions_of_every_stream
                a_repetition_lists_the_streams_as_the_first_outcome_did
                a_repetition_is_answered_when_the_version_moved_on
                a_repetition_is_answered_after_the_stream_was_deleted
                a_repetition_is_answered_after_its_condition_would_fail
                a_repetition_with_its_event_ids_is_no_duplicate_event
                a_repetition_through_another_store_is_recognised
                a_repetition_after_closing_and_opening_is_recognised
                ids_that_the_store_makes_do_not_tell_requests_apart
                the_order_of_tags_does_not_tell_requests_apart
                exact_0_and_no_stream_are_one_expectation
                a_command_refused_for_its_version_can_be_given_again
                a_command_refused_for_a_deleted_stream_can_be_given_again
                a_refused_command_is_not_recorded
                a_command_is_recorded_without_events
                a_command_without_events_is_a_duplicate_when_repeated
                another_command_of_the_same_content_is_decided_anew
            }
            command_reuse {
                other_data_is_a_reuse
                data_of_another_spelling_is_a_reuse
                any_changed_field_of_an_event_is_a_reuse
                another_expectation_is_a_reuse
                another_stream_is_a_reuse
                another_category_is_a_reuse
                a_guard_more_is_a_reuse
                another_condition_is_a_reuse
                another_event_id_is_a_reuse
                an_event_more_is_a_reuse
                another_order_of_events_is_a_reuse
                a_reuse_stores_nothing
            }
            event_id {
                an_event_id_that_exists_is_refused_with_its_position
                an_event_id_of_another_stream_is_refused
                an_event_id_that_the_store_made_is_refused_too
                a_refused_event_id_stores_nothing
                events_are_caused_by_their_command
                a_given_cause_is_kept
                events_without_a_command_have_no_cause
            }
            lives {
                a_deleted_stream_has_no_events_to_read
                a_deleted_stream_does_not_exist
                a_deleted_stream_is_not_listed
                a_deleted_stream_keeps_its_row
                a_deleted_stream_leaves_others_alone
                deleted_streams_are_read_on_request
                the_log_delivers_what_a_deleted_stream_held
                deleting_appends_a_marker_event
                undeleting_appends_a_marker_event
                reusing_appends_a_marker_event
                every_expectation_is_refused_on_a_deleted_stream
                an_assertion_is_refused_on_a_deleted_stream
                a_guard_of_a_deleted_stream_is_refused
                a_refused_append_to_a_deleted_stream_stores_nothing
                undeleting_shows_all_again
                an_undeleted_stream_continues_its_versions
                undeleting_after_a_reuse_shows_what_showed_before
                reusing_continues_the_versions
                reusing_hides_what_was_before
                what_a_reuse_hides_is_read_on_request
                a_stream_can_be_deleted_again_and_again
                deleting_nothing_is_refused
                undeleting_nothing_is_refused
                deleting_twice_is_refused
                undeleting_a_live_stream_is_refused
                reusing_a_live_stream_is_refused
                deleting_checks_the_expected_version
                undeleting_checks_the_expected_version
                deleting_checks_the_category
                a_version_from_before_the_deletion_can_be_read
                a_time_before_the_deletion_can_be_read
                the_version_of_the_deletion_shows_nothing
                a_version_from_before_a_reuse_can_be_read
                marker_types_are_kept_for_the_store
            }
            metadata {
                a_new_stream_has_no_metadata
                metadata_comes_back_byte_for_byte
                metadata_counts_its_versions
                metadata_is_set_where_its_version_is_as_expected
                a_stale_version_of_the_metadata_is_a_conflict
                metadata_of_no_stream_is_refused
                metadata_that_is_no_object_is_refused
                metadata_leaves_the_streams_version_and_the_log
                metadata_outlives_deletion_and_undeletion
                metadata_is_of_one_stream_only
                metadata_outlives_the_store
            }
            snapshot {
                a_saved_snapshot_comes_back
                a_state_comes_back_byte_for_byte
                the_latest_snapshot_is_that_of_the_highest_version
                a_stream_without_snapshots_has_none
                a_snapshot_at_or_before_a_version_is_found
                a_snapshot_never_moves_backwards
                a_snapshot_of_the_same_version_is_not_replaced
                a_later_schema_replaces_an_earlier_one_of_the_same_version
                an_earlier_schema_does_not_replace_a_later_one
                a_snapshot_that_is_refused_leaves_the_one_of_its_version
                a_snapshot_of_another_schema_is_ignored
                the_newest_of_a_schema_is_found_behind_a_newer_one_of_another
                a_schema_below_1_is_refused
                pruning_removes_what_is_before_a_version
                pruning_says_how_many_it_removed
                snapshots_are_of_one_stream_only
                a_snapshot_of_a_version_that_does_not_exist_is_refused
                a_snapshot_of_no_stream_is_refused
                a_snapshot_of_another_category_is_refused
                deleting_every_snapshot_changes_no_result
                snapshots_leave_the_log_and_the_version
                snapshots_from_before_a_reuse_are_ignored
                a_snapshot_from_after_a_reuse_is_found
                a_deleted_stream_has_no_snapshots_to_read
                snapshots_show_again_after_undeletion
                snapshots_outlive_the_store
            }
            limits {
                an_event_of_64_tags_is_kept
                an_event_of_65_tags_is_refused
                a_repeated_tag_counts_once
                an_event_of_4_mib_is_kept
                an_event_beyond_4_mib_is_refused
                max_event_bytes_lowers_the_limit_of_an_event
                max_event_bytes_raises_the_limit_of_an_event
                data_metadata_and_tags_count_together
                bytes_are_counted_before_they_are_encoded
                a_request_of_10000_events_is_stored
                a_request_of_10001_events_is_refused
                events_of_all_streams_of_a_request_count_together
                a_request_beyond_64_mib_is_refused
                a_request_of_10000_streams_is_decided
                a_request_of_10001_streams_is_refused
                a_condition_of_256_alternatives_is_decided
                a_condition_of_257_alternatives_is_refused
                an_item_of_256_types_beside_a_tag_is_decided
                an_item_of_257_types_beside_a_tag_is_refused
                an_item_of_64_tags_is_decided
                an_item_of_65_tags_is_refused
                a_query_of_64_tags_is_answered
                a_query_of_65_tags_is_refused
                a_query_of_1000_types_is_answered
                a_query_of_1001_types_is_refused
                a_page_of_10000_rows_is_read
                a_page_of_10001_rows_is_refused
                a_page_without_rows_is_refused
                a_list_of_10001_streams_is_refused
                json_of_128_levels_is_kept
                json_of_129_levels_is_refused
                brackets_in_strings_are_no_levels
                a_refused_event_takes_its_request_with_it
            }
            names {
                names_of_255_bytes_are_kept
                names_of_256_bytes_are_refused
                names_are_measured_in_bytes
                empty_names_are_refused
                nul_in_a_name_is_refused
                control_characters_in_a_name_are_refused
                white_space_around_a_name_is_refused
                unicode_white_space_around_a_name_is_refused
                white_space_inside_a_name_is_kept
                any_characters_are_data_in_the_ids_of_streams
                any_characters_are_data_in_categories
                any_characters_are_data_in_event_types
                any_characters_are_data_in_tags
                any_characters_are_data_in_actors
                any_characters_are_data_in_json
                any_characters_are_data_in_prefixes
                percent_and_underscore_are_no_wildcards_of_a_prefix
                names_that_look_alike_are_different_streams
                names_that_look_alike_are_different_categories
                names_that_look_alike_are_different_event_types
                names_that_look_alike_are_different_tags
                names_that_look_alike_are_different_actors
            }
            errors {
                a_version_conflict_is_a_conflict
                a_failed_condition_is_a_conflict
                a_conflict_of_metadata_is_a_conflict
                a_reused_command_is_no_conflict
                refusals_are_not_to_be_repeated_unchanged
                messages_are_lower_case_without_a_full_stop
                messages_name_what_was_wrong
                an_unknown_topic_is_an_error_that_names_the_known_ones
                an_unknown_option_is_an_error_that_names_the_choices
                a_value_that_an_option_does_not_take_is_an_error
                an_unknown_scheme_is_an_error_that_names_the_choices
                the_error_of_a_url_hides_its_password
                a_store_and_its_errors_hide_the_password
            }
            close {
                every_writing_verb_of_a_closed_store_says_so
                every_reading_verb_of_a_closed_store_says_so
                closing_twice_is_harmless
                the_clones_of_a_closed_store_are_closed
                closing_one_store_leaves_another_open
                what_was_taken_before_closing_is_answered
                a_refused_append_to_a_closed_store_stores_nothing
            }
            overview {
                statistics_of_an_empty_store_are_empty
                statistics_count_events_and_streams_of_each_type
                statistics_are_in_the_order_of_types
                statistics_tell_the_first_and_last_time_of_a_type
                statistics_count_what_deleted_streams_held
                the_newest_events_come_first
                the_newest_events_keep_to_their_number
                the_newest_events_of_an_empty_store_are_none
                a_healthy_database_answers
                a_store_knows_its_topic
                clones_of_a_store_are_one_store
            }
            commands {
                a_command_keeps_what_was_given_of_it
                a_command_without_particulars_has_none
                a_command_is_about_the_first_stream_of_its_request
                a_command_can_be_about_another_stream
                a_command_knows_the_positions_of_its_events
                a_command_is_stamped_like_its_events
                a_commands_data_comes_back_byte_for_byte
                a_command_that_was_never_given_is_not_known
                a_repetition_leaves_the_record_as_it_is
                commands_outlive_the_store
            }
            streams {
                what_does_not_exist_has_no_row_no_version_and_no_events
                a_streams_row_tells_its_category_and_versions
                a_streams_row_tells_when_it_was_made_and_last_written
                a_streams_row_tells_where_a_reused_stream_begins
                appending_does_not_change_when_the_row_changed
                setting_metadata_changes_when_the_row_changed
                a_list_holds_every_stream_once
                a_list_tells_of_each_stream_what_its_row_tells
                a_list_is_in_byte_order
                a_list_is_in_byte_order_beyond_the_basic_plane
                a_list_keeps_to_its_limit
                a_list_continues_after_an_id
                the_id_that_a_list_continues_after_need_not_exist
                pages_of_a_list_join_without_gap_or_repetition
                a_prefix_is_a_range_of_ids
                a_prefix_ends_where_its_last_character_ends
                a_prefix_beyond_the_basic_plane_is_a_range_too
                an_empty_prefix_is_no_filter
                a_list_keeps_to_a_category
                prefix_category_and_start_of_a_list_combine
                heads_tell_the_last_position_of_each_lane
            }
            topic {
                a_topic_keeps_its_number_of_lanes
                positions_and_versions_of_topics_are_their_own
                what_one_topic_holds_no_other_shows
                the_same_stream_has_a_category_in_each_topic
                ids_of_commands_and_events_count_within_a_topic
                a_condition_looks_at_its_own_topic_only
                streams_of_two_lanes_in_one_request_are_refused
                text_in_braces_keeps_streams_in_one_lane
                a_number_of_lanes_out_of_range_is_refused
                a_command_counts_within_its_lane
                a_condition_looks_at_its_own_lane_only
                one_racer_wins_in_each_lane
                a_reader_of_each_lane_sees_contiguous_positions
                each_lane_of_a_topic_has_positions_of_its_own
                a_flooded_lane_starves_no_other
            }
            races {
                one_of_2_racers_for_a_version_wins
                one_of_16_racers_for_a_version_wins
                one_of_64_racers_for_a_version_wins
                one_of_2_stores_racing_for_a_version_wins
                one_of_16_racers_on_4_stores_wins
                one_of_64_racers_on_4_stores_wins
                one_of_16_racers_creates_a_stream
                one_of_16_racers_on_4_stores_creates_a_stream
                racers_that_expect_any_version_all_land
                racers_on_4_stores_that_expect_any_version_all_land
                racers_that_expect_a_stream_to_exist_land_once_it_does
                racers_who_create_a_stream_of_two_categories_leave_it_with_one
                racers_who_write_two_streams_crosswise_do_not_block_each_other
                racers_on_2_stores_who_write_two_streams_crosswise_do_not_block_each_other
                racers_who_guard_each_others_streams_do_not_both_win
                racers_on_2_stores_who_guard_each_others_streams_do_not_both_win
                requests_that_race_are_not_interleaved
                requests_that_race_on_4_stores_are_not_interleaved
                one_of_16_racers_with_the_same_event_id_lands
                one_of_16_racers_on_4_stores_with_the_same_event_id_lands
            }
            contention {
                an_append_and_a_delete_that_race_for_a_version_do_not_both_win
                an_append_and_a_delete_on_2_stores_do_not_both_win
                appends_that_race_with_a_delete_land_before_it_or_not_at_all
                one_of_16_racers_deletes_a_stream
                one_of_16_racers_undeletes_a_stream
                an_undelete_and_a_reuse_that_race_do_not_both_win
                one_of_16_racers_with_the_same_command_writes
                one_of_64_racers_with_the_same_command_writes
                one_of_64_racers_on_4_stores_with_the_same_command_writes
                racers_with_one_command_for_two_requests_carry_out_one
                one_of_16_racers_records_a_command_without_events
                one_of_16_racers_sets_the_metadata_of_a_version
                racers_who_set_metadata_of_any_version_all_do
                one_of_16_racers_on_4_stores_sets_the_metadata_of_a_version
                snapshots_that_race_never_move_backwards
                snapshots_that_race_on_4_stores_never_move_backwards
                racers_who_create_a_topic_get_the_same_one
                racers_on_4_stores_who_create_a_topic_get_the_same_one
                topics_that_are_created_at_once_have_lanes_of_their_own
            }
            boundary {
                one_of_2_racers_on_a_condition_wins
                one_of_16_racers_on_a_condition_wins
                one_of_64_racers_on_a_condition_wins
                one_of_16_racers_on_4_stores_on_a_condition_wins
                one_of_64_racers_on_4_stores_on_a_condition_wins
                one_of_16_racers_on_a_long_condition_wins
                one_of_16_racers_on_4_stores_on_a_long_condition_wins
                a_commit_before_the_read_is_covered_by_its_head
                a_commit_between_the_read_and_the_append_fails_the_condition
                a_commit_of_another_store_after_the_read_fails_the_condition
                no_commit_during_a_read_slips_past_its_condition
                no_commit_of_another_store_during_a_read_slips_past_its_condition
            }
            process {
                one_of_4_processes_that_race_for_a_version_wins
                one_of_4_processes_that_race_to_create_a_stream_wins
                processes_that_expect_any_version_all_land
                one_of_4_processes_with_the_same_command_writes
                one_of_4_processes_with_the_same_event_id_writes
                what_a_process_acknowledged_is_read_at_once
                a_reader_of_several_writing_processes_sees_contiguous_positions
                each_writing_process_keeps_the_order_of_its_events
                a_process_that_is_killed_while_it_writes_leaves_no_hole_and_no_half_request
                an_import_that_was_killed_goes_on_where_it_stopped
            }
            queue {
                requests_sent_at_once_are_answered_as_if_one_after_the_other
                requests_sent_at_once_see_each_others_events_and_commands
                a_refused_request_leaves_alone_those_sent_with_it
                repetitions_that_are_sent_at_once_get_the_first_outcome
                what_a_writer_has_done_is_counted
                a_request_whose_data_the_database_refuses_fails_alone
                a_request_that_waits_can_be_taken_back
                a_taken_request_is_stored_though_its_caller_left
                closing_with_an_append_that_nobody_polls_ends
                a_request_beyond_a_limit_is_refused_while_others_wait
                requests_beyond_the_bytes_wait_and_then_land
                beyond_the_number_of_waiting_requests_the_answer_is_overloaded
                a_writer_that_waits_for_the_lock_is_answered_at_its_deadline
                the_lock_of_a_session_that_vanished_is_free
            }
            order {
                a_polling_reader_sees_contiguous_positions
                a_polling_reader_of_another_store_sees_contiguous_positions
                a_polling_reader_of_4_writing_stores_sees_contiguous_positions
                a_polling_reader_catches_a_skip_of_a_naive_sequence
                a_large_request_shows_whole_or_not_at_all
                the_log_is_what_was_acknowledged
                the_log_of_4_stores_is_what_was_acknowledged
                what_was_acknowledged_before_another_began_has_the_smaller_position
                what_one_store_acknowledged_before_another_began_has_the_smaller_position
                what_was_acknowledged_is_read_at_once
                what_was_acknowledged_is_read_by_other_stores_at_once
                the_head_is_never_ahead_of_what_can_be_read
                the_head_of_a_page_is_not_behind_its_events
                the_head_never_moves_backwards
                a_hole_in_the_log_is_answered_with_gap
                an_open_snapshot_of_another_session_delays_nobody
                an_open_transaction_that_writes_elsewhere_delays_nobody
            }
            read {
                a_stream_is_read_forward
                a_stream_is_read_backward
                a_stream_is_read_from_a_version_inclusive
                a_stream_is_read_to_a_version_inclusive
                a_stream_is_read_since_a_version_exclusive
                a_stream_is_read_backward_between_versions
                a_stream_is_read_up_to_a_limit
                a_stream_that_does_not_exist_has_no_events
                versions_beyond_the_end_have_no_events
                a_range_of_versions_that_ends_before_it_begins_is_empty
                a_read_of_one_stream_shows_no_other
                the_log_is_read_forward
                the_log_is_read_backward
                the_log_is_read_forward_after_a_position_exclusive
                the_log_is_read_backward_before_a_position_exclusive
                the_log_is_read_forward_until_a_position_inclusive
                the_log_is_read_backward_until_a_position_inclusive
                the_log_is_read_up_to_a_limit
                a_limit_of_zero_reads_nothing
                an_empty_log_has_no_events
                positions_after_the_end_have_no_events
                an_event_is_found_by_its_id
                an_id_that_is_not_there_finds_no_event
                a_generated_id_finds_its_event
                the_latest_version_is_that_of_the_last_event
                a_stream_exists_once_it_has_an_event
                the_count_is_that_of_the_streams_events
                the_newest_events_come_newest_first
                the_head_is_the_last_position
                a_page_says_the_head_and_how_far_it_looked
                a_page_that_reaches_the_head_says_that_there_is_no_more
                a_page_until_a_position_says_that_it_looked_so_far
                a_backward_page_says_how_far_down_it_looked
                a_page_without_rows_or_beyond_the_limit_is_refused
            }
            filter {
                events_are_found_by_type
                events_are_found_by_any_of_several_types
                types_differ_by_case_and_accent
                events_are_found_by_category
                events_are_found_by_tag
                events_are_found_by_all_of_several_tags
                tags_are_compared_whole
                events_are_found_by_actor
                events_are_found_by_correlation
                events_are_found_by_causation
                a_commands_events_are_found_by_its_id
                filters_combine
                filters_combine_with_a_stream
                tags_combine_with_a_stream
                filters_combine_with_positions
                a_filter_that_nothing_matches_finds_nothing
                a_filtered_read_goes_backward
                a_read_by_tags_goes_backward
                the_limit_applies_after_the_filter
                a_filtered_page_says_how_far_it_looked
                a_filtered_page_without_a_match_looked_to_the_head
                a_filtered_page_without_a_match_looked_until_its_end
                text_that_means_something_to_sql_is_ordinary_in_filters
                a_filter_that_is_not_a_name_is_refused
            }
            json_filter {
                a_text_in_the_data_is_found
                a_number_in_the_data_is_found
                a_number_with_a_fraction_is_found
                booleans_in_the_data_are_found
                a_null_in_the_data_is_found_where_it_is_written
                the_number_one_is_not_the_text_one
                the_text_true_is_not_true
                a_value_below_several_keys_is_found
                a_value_in_the_metadata_is_found
                texts_are_compared_byte_for_byte
                an_escaped_text_equals_what_it_says
                keys_with_odd_characters_are_found
                keys_are_compared_byte_for_byte
                bytes_never_match
                documents_that_are_no_objects_never_match
                objects_and_arrays_never_match_a_value
                json_filters_combine
                json_filters_combine_with_other_filters
                documents_that_the_engines_json_type_refuses_do_not_disturb_a_search
                a_path_that_names_no_key_is_refused
                a_value_that_is_an_object_is_refused
            }
            paging {
                pages_of_one_event_are_the_whole_log
                pages_of_two_events_are_the_whole_log
                pages_that_divide_the_log_exactly_are_the_whole_log
                pages_that_are_one_short_of_the_log_are_the_whole_log
                pages_backward_are_the_whole_log
                pages_of_a_stream_are_the_whole_stream
                pages_of_a_filtered_read_hold_every_match_once
                pages_backward_of_a_filtered_read_hold_every_match_once
                a_page_holds_ten_thousand_events
                a_long_read_goes_over_many_pages
                a_long_read_goes_backward_over_many_pages
                a_limit_counts_over_pages
                a_limit_of_exactly_a_page_reads_a_page
                a_read_ends_at_the_head_that_its_first_page_saw
                a_filtered_read_ends_at_the_head_that_its_first_page_saw
                a_backward_read_does_not_show_what_is_appended_meanwhile
                a_read_goes_on_while_its_stream_is_deleted
                two_reads_at_once_do_not_disturb_each_other
                a_read_that_is_dropped_half_way_holds_nothing
                many_paused_reads_hold_no_connection
                lists_of_streams_come_in_pages
            }
            time {
                times_are_whole_microseconds
                times_are_those_of_the_append
                times_never_go_back_in_a_lane
                times_never_go_back_under_races_of_4_stores
                times_never_go_back_where_the_clock_did
                the_events_of_a_request_are_in_order_of_time
                a_range_begins_at_its_first_time_inclusive
                a_range_ends_at_its_last_time_exclusive
                a_range_of_no_length_is_empty
                a_range_before_the_first_event_is_empty
                a_range_after_the_last_event_is_empty
                a_range_without_a_beginning_begins_with_the_log
                a_range_without_an_end_goes_to_the_head
                a_range_is_read_backward
                a_range_combines_with_filters
                a_range_that_ends_within_a_request_of_one_time_splits_nothing
                the_log_as_of_a_time_holds_what_was_stamped_until_then
                the_log_as_of_a_time_is_stable
                a_stream_as_of_a_time_holds_what_was_stamped_until_then
                a_stream_as_of_a_version_is_stable
                a_stream_as_of_before_its_deletion_still_shows
                a_stream_as_of_after_its_deletion_is_hidden
                the_times_of_a_stream_are_those_of_its_events
            }
            fidelity {
                numbers_keep_their_digits
                keys_keep_their_order_and_repetition
                white_space_is_kept
                escapes_are_kept
                the_escapes_of_nul_and_of_lone_surrogates_are_kept
                scalars_and_null_are_documents
                the_deepest_document_is_kept
                a_document_of_a_mebibyte_is_kept
                text_that_means_something_to_sql_is_kept
                unicode_in_the_data_is_kept
                metadata_is_kept_byte_for_byte
                metadata_of_an_event_is_an_object
                no_metadata_is_not_an_empty_object
                bytes_are_kept_with_their_content_type
                every_byte_is_kept
                no_bytes_are_kept_as_no_bytes
                a_megabyte_of_bytes_is_kept
                bytes_called_json_are_bytes
                unicode_in_every_name_is_kept
                names_of_255_bytes_are_kept
                the_normal_forms_of_a_name_are_different_names
                every_optional_field_is_kept
                no_optional_field_is_invented
                every_kind_of_actor_and_source_is_kept
                event_versions_are_kept_at_their_extremes
                ids_are_kept_at_their_extremes
                tags_come_back_sorted_and_once
                tags_keep_odd_characters
                the_hash_is_that_of_the_event_that_is_read
                events_that_differ_in_any_field_differ_in_hash
                the_hash_does_not_cover_what_the_store_decides
            }
            immutability {
                an_update_of_an_event_is_refused
                an_update_of_any_column_is_refused
                an_update_that_changes_nothing_is_refused
                a_delete_of_an_event_is_refused
                a_delete_of_the_last_event_is_refused
                a_truncation_of_the_events_is_refused
                a_replacement_of_an_event_is_refused
                a_replacement_by_any_key_is_refused
                a_second_event_at_a_position_is_refused
                an_update_of_a_tag_is_refused
                a_delete_of_a_tag_is_refused
                a_truncation_of_the_tags_is_refused
                no_verb_takes_an_event_away
                a_refused_change_leaves_the_store_usable
            }
            raw {
                the_row_of_an_event_holds_its_fields
                the_row_of_a_bare_event_holds_nulls
                the_documents_in_a_row_are_byte_for_byte
                the_row_of_bytes_holds_them_in_base64
                the_rows_of_tags_lead_to_their_event
                the_row_of_a_stream_is_not_written_by_every_append
                the_row_of_a_deleted_stream_says_since_when
                the_row_of_a_command_holds_its_outcome
                the_row_of_a_snapshot_holds_its_state
                the_row_of_a_lane_is_not_written_by_appends
                the_view_of_recent_events_shows_the_newest_hundred
                the_view_of_statistics_agrees_with_the_store
                the_view_of_streams_agrees_with_the_store
            }
            routines {
                an_event_from_the_prompt_is_read_by_the_library
                the_prompt_goes_on_where_the_library_stopped
                the_library_goes_on_where_the_prompt_stopped
                the_prompt_is_refused_a_stale_version
                the_prompt_is_refused_a_stream_that_exists
                the_prompt_appends_to_any_version
                the_prompt_is_refused_a_deleted_stream
                the_prompt_is_refused_another_category
                the_prompt_is_refused_what_is_not_a_name
                the_prompt_is_refused_what_is_not_json
                the_prompt_is_refused_json_that_is_too_deep
                a_refused_call_leaves_the_session_usable
                text_that_means_something_to_sql_is_kept_from_the_prompt
                documents_from_the_prompt_are_byte_for_byte
                the_prompt_and_the_library_race_for_a_version
                the_prompt_and_the_library_race_for_any_version
                the_prompt_reads_a_stream_forward
                the_prompt_reads_a_stream_from_a_version_and_up_to_a_count
                the_prompt_reads_the_whole_of_a_stream
                the_prompt_sees_no_events_of_a_deleted_stream
                a_snapshot_from_the_prompt_is_found_by_the_library
                snapshots_from_the_prompt_never_move_backwards
                the_prompt_finds_the_latest_snapshot
            }
            subscriptions {
                a_new_subscription_stands_at_the_beginning
                a_checkpoint_names_the_event_it_stands_at
                a_checkpoint_never_moves_backwards
                a_checkpoint_beyond_the_head_is_refused
                a_checkpoint_of_no_subscription_is_refused
                a_subscription_is_created_once
                a_deleted_subscription_can_be_created_anew
            }
            follow {
                a_subscription_from_the_beginning_returns_every_event
                a_subscription_goes_on_with_what_is_appended_later
                a_subscription_of_an_empty_log_returns_the_first_event
                a_subscription_after_a_position_begins_behind_it
                a_subscription_after_a_position_of_several_lanes_is_refused
                a_subscription_from_now_returns_what_comes
                a_subscription_at_a_time_begins_with_its_first_event
                a_subscription_at_a_time_to_come_begins_then
                a_subscription_at_a_checkpoint_goes_on_behind_it
                a_checkpoint_passes_what_does_not_answer
                a_checkpoint_does_not_pass_what_was_not_returned
                a_checkpoint_of_another_log_is_told
                a_checkpoint_beyond_the_head_is_told
                each_filter_answers_live_as_it_does_from_the_log
                values_in_json_answer_live_as_they_do_from_the_log
                a_subscription_of_a_stream_shows_its_deletion
                a_query_with_an_end_can_not_be_followed
                the_boundary_of_catching_up_is_crossed_at_every_offset
                what_several_stores_append_is_returned_in_order
                what_another_store_appends_wakes_a_subscription
                a_slow_subscription_misses_nothing
                a_dropped_wait_loses_nothing
                many_subscriptions_share_few_connections
                closing_the_store_ends_a_wait
            }
            durable {
                a_durable_subscription_goes_on_behind_what_was_acknowledged
                what_was_not_acknowledged_comes_again
                an_acknowledgement_in_between_does_not_pass_what_is_unfinished
                an_acknowledgement_up_to_an_event_counts_for_those_before_it
                every_offset_of_an_end_between_effect_and_checkpoint_loses_nothing
                a_checkpoint_is_saved_while_nothing_answers_the_filter
                a_checkpoint_is_saved_after_its_time
                a_saved_checkpoint_never_moves_backwards
                another_filter_under_the_same_name_is_refused
                a_name_that_exists_goes_on_whatever_its_start
                a_new_name_begins_where_it_is_told
                two_do_not_run_under_one_name
                a_closed_subscription_is_followed_at_once
                a_dropped_subscription_is_followed
                a_holder_that_is_gone_is_followed_after_its_lease
                a_lease_is_renewed_while_its_holder_is_busy
                a_holder_that_lost_its_lease_saves_nothing
                a_lease_with_an_end_far_ahead_is_taken_over
                of_those_who_open_a_name_at_once_one_runs
                a_checkpoint_at_another_event_is_told
                a_list_shows_how_far_each_subscription_is
                a_running_subscription_can_not_be_deleted
                one_waits_until_a_subscription_has_seen_what_one_wrote
                a_subscription_made_at_the_sql_prompt_is_gone_on_with
                calls_that_are_dropped_lose_nothing
                names_of_subscriptions_are_names
            }
            reopen {
                events_are_there_after_closing_and_opening
                versions_and_positions_go_on_after_opening
                a_repeated_command_is_known_after_opening
                a_repeated_event_id_is_known_after_opening
                snapshots_are_there_after_opening
                deleted_streams_stay_deleted_after_opening
                metadata_is_there_after_opening
                the_topic_keeps_its_incarnation_after_opening
                what_is_acknowledged_without_closing_is_there
                a_closed_store_takes_nothing
                closing_twice_is_harmless
                closing_answers_what_was_taken
                opening_and_closing_many_times_loses_nothing
            }
            aggregate {
                a_command_is_decided_over_what_happened_before
                a_command_is_decided_over_what_another_store_appended
                the_events_of_a_command_are_stored_together
                where_others_append_in_between_a_command_is_decided_anew
                after_as_many_tries_as_were_asked_for_the_conflict_is_the_answer
                racing_commands_all_count
                racing_commands_on_4_stores_all_count
                racers_for_the_last_places_take_no_more_than_there_are
                a_rejected_command_stores_nothing_and_can_be_given_again
                a_command_that_decides_on_nothing_stores_nothing
                a_repeated_command_gets_the_first_outcome
                a_repeated_command_that_is_no_longer_possible_gets_the_first_outcome
                a_repeated_command_that_decided_on_nothing_is_not_decided_anew
                a_repetition_through_another_store_gets_the_first_outcome
                racers_with_one_command_execute_it_once
                a_command_id_of_another_aggregate_is_refused
                a_command_id_of_another_type_or_of_other_data_is_refused
                what_comes_with_a_command_stands_on_each_event
                metadata_that_is_no_object_is_refused
                a_command_to_a_stream_of_another_category_is_refused
                a_command_to_a_deleted_stream_is_refused
            }
            aggregate_state {
                a_stream_that_does_not_exist_is_the_default_state
                a_state_of_thousands_of_events_is_complete
                snapshots_are_saved_every_so_many_events
                snapshots_are_saved_where_the_newest_is_older_than_a_time
                a_state_begins_with_its_newest_snapshot
                a_snapshot_of_another_schema_is_passed_over
                a_snapshot_that_cannot_be_read_is_passed_over
                a_command_lands_where_its_state_cannot_be_written
                a_command_lands_where_snapshots_cannot_be_kept
                deleting_every_snapshot_changes_no_state
                a_state_of_another_life_is_not_continued
                snapshots_show_no_state_of_a_time_when_the_stream_was_deleted
                events_of_earlier_versions_are_upcast
                upcasting_leaves_what_is_stored
                a_gap_in_the_upcasters_is_named_before_anything_is_read
                an_unknown_event_is_an_error_that_names_it
                an_event_of_a_later_version_is_unknown
                unknown_events_can_be_passed_over
                unknown_events_can_be_kept_raw
                data_of_another_shape_is_an_error_that_names_the_event
                a_state_as_of_a_version_is_that_of_then
                a_state_as_of_a_time_is_that_of_then
            }
            cancel {
                a_dropped_append_is_stored_whole_or_not_at_all
                the_append_after_a_dropped_one_is_not_disturbed
                a_dropped_append_leaves_a_version_that_can_be_told
                a_dropped_command_can_be_repeated
                dropped_appends_do_not_disturb_those_beside_them
                dropped_reads_leave_the_connections_usable
                dropped_reads_of_a_small_pool_leave_it_whole
                a_dropped_deletion_is_carried_out_whole_or_not_at_all
                a_dropped_write_of_metadata_is_carried_out_whole_or_not_at_all
                a_dropped_snapshot_is_saved_whole_or_not_at_all
                a_task_that_is_aborted_does_not_hold_the_lock
            }
            connection {
                an_append_after_the_connections_were_lost_is_carried_out
                a_read_after_the_connections_were_lost_is_carried_out
                a_paged_read_goes_on_after_the_connections_were_lost
                every_verb_works_after_the_connections_were_lost
                what_was_acknowledged_while_connections_were_lost_is_there
                a_command_that_is_repeated_over_lost_connections_is_carried_out_once
                reads_while_connections_are_lost_are_right_or_fail
            }
            speed {
                a_thousand_events_of_a_stream_are_read_in_under_100_ms
            }
        }
    };
}

/// Makes the tests of [`conformance_suite!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_tests {
    ($harness:expr; $($family:ident { $($case:ident)* })*) => {
        $($crate::__conformance_family! { $harness; $family { $($case)* } })*
    };
}

/// Makes the tests of one family of [`conformance_suite!`].
#[doc(hidden)]
#[macro_export]
macro_rules! __conformance_family {
    ($harness:expr; $family:ident { $($case:ident)* }) => {
        mod $family {
            #[allow(unused_imports)]
            use super::*;
            $(
                #[test]
                fn $case() {
                    let name = concat!(stringify!($family), "::", stringify!($case));
                    match ($harness)() {
                        Some(harness) => $crate::conformance::run_test(&harness, name),
                        None => eprintln!("skipped {name}: there is no database to run it on"),
                    }
                }
            )*
        }
    };
}

#[cfg(test)]
mod tests {
    use std::fmt::Write as _;

    /// Renders the list of the macro as it has to stand in this file.
    fn list() -> String {
        let mut text = String::new();
        for (family, cases) in crate::conformance::FAMILIES {
            let _ = writeln!(text, "            {family} {{");
            for case in *cases {
                let _ = writeln!(text, "                {}", case.name);
            }
            text.push_str("            }\n");
        }
        text
    }

    #[test]
    fn the_macro_lists_every_case() {
        const BEGIN: &str = "$crate::__conformance_tests! { $harness;\n";
        const END: &str = "        }\n    };\n}\n";
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/src/conformance/enrol.rs");
        let source = std::fs::read_to_string(path).unwrap();
        let (head, rest) = source.split_once(BEGIN).unwrap();
        let (listed, tail) = rest.split_once(END).unwrap();
        if listed == list() {
            return;
        }
        if std::env::var_os("ANNALS_UPDATE").is_some() {
            std::fs::write(path, format!("{head}{BEGIN}{}{END}{tail}", list())).unwrap();
            return;
        }
        panic!("the list is out of date: run this test with ANNALS_UPDATE=1 in the environment");
    }
}
