//! `docs/conformance.md`: what proves each rule of the contract. It is generated, and a test says that it is current.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use annals::conformance::cases;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");
const CONTRACT: &str = include_str!("../../docs/contract.md");

const INTRODUCTION: &str = "\
# What proves the contract

Which cases of the conformance suite prove which rule of [contract.md](contract.md); `annals conformance URL` runs them.
Where a rule is about more than a database, such as URLs and migrations, the test that proves it stands there with its
file. Written by the test `the_table_of_proofs_is_current`, with `ANNALS_UPDATE=1` in the environment: change the cases,
not this page.
";

/// Rules that ordinary tests prove, instead of conformance cases or besides: the rule, the test's file, its name.
const TESTS: &[(&str, &str, &str)] = &[
    ("2.3", "src/schema/tests/sqlite.rs", "a_purge_deletes_within_its_transaction_only"),
    ("2.7", "src/hash.rs", "an_event_to_be_written_has_the_published_hash"),
    ("2.7", "src/hash.rs", "an_event_that_was_read_has_the_published_hash"),
    ("2.8", "src/schema/tests.rs", "every_key_and_index_starts_with_what_tables_are_spread_by"),
    ("2.9", "src/index.rs", "a_filter_uses_the_index_over_its_path"),
    ("2.9", "src/index.rs", "no_payload_is_refused_because_of_an_index"),
    ("3.7", "tests/it/examination.rs", "a_long_condition_is_examined_before_the_lock"),
    ("3.8", "src/lane.rs", "the_text_in_braces_decides"),
    ("3.8", "src/lane.rs", "without_text_in_braces_the_whole_id_decides"),
    ("3.8", "src/lane.rs", "lanes_are_as_published"),
    ("3.9", "src/backend/postgres/connect/tests.rs", "a_connection_is_set_up_as_the_url_says"),
    ("3.9", "tests/it/postgres_engine.rs", "every_connection_commits_as_the_url_says"),
    ("3.9", "tests/it/crash/mod.rs", "sqlite_keeps_what_it_acknowledged_when_processes_are_killed"),
    ("3.9", "tests/it/crash/mod.rs", "postgres_keeps_what_it_acknowledged_when_processes_and_the_server_are_killed"),
    ("3.10", "tests/it/postgres_engine.rs", "a_lock_that_is_held_for_too_long_ends_the_wait"),
    ("3.11", "tests/it/postgres_engine.rs", "a_batch_is_decided_in_its_order"),
    ("3.11", "tests/it/lost_answers.rs", "a_batch_in_doubt_fails_for_its_culprit_alone"),
    ("3.11", "tests/it/model/mod.rs", "clients_of_two_stores_of_postgres_are_answered_in_some_serial_order"),
    ("4.5", "tests/it/lost_answers.rs", "a_request_that_is_sent_again_is_stored_once"),
    ("4.5", "tests/it/lost_answers.rs", "a_request_that_is_cut_at_any_of_its_messages_is_stored_once"),
    ("4.5", "tests/it/lost_answers.rs", "a_request_whose_server_stays_away_is_ambiguous"),
    ("5.2", "tests/it/model/mod.rs", "clients_of_two_stores_of_postgres_are_answered_in_some_serial_order"),
    ("6.4", "tests/it/model/mod.rs", "a_read_as_of_a_version_that_is_still_to_come_shows_one_moment"),
    ("6.5", "tests/it/contract.rs", "every_verb_of_other_stores_has_its_place"),
    ("10.3", "tests/it/layout.rs", "only_an_engine_names_its_driver"),
    ("11.1", "src/config/ado.rs", "a_connection_string_says_what_a_url_says"),
    ("11.1", "src/backend/postgres/connect/tests.rs", "credentials_may_hold_any_character"),
    ("11.2", "src/backend/postgres/connect/tests.rs", "a_connection_is_set_up_as_the_url_says"),
    ("11.3", "src/backend/postgres/connect/tests.rs", "a_password_is_shown_nowhere"),
    ("11.4", "tests/it/cli/process.rs", "wrong_urls_are_refused_without_showing_a_password"),
    ("11.5", "tests/it/migrations.rs", "opening_names_the_command_for_a_missing_and_an_old_schema_and_changes_nothing"),
    ("12.1", "tests/it/migrations.rs", "up_and_down_and_up_again"),
    ("12.1", "tests/it/migrations.rs", "generate_writes_the_committed_files"),
    ("12.1", "tests/it/migrations/databases.rs", "a_file_is_created_once_and_dropped_with_what_is_beside_it"),
    ("12.2", "tests/it/migrations/guard.rs", "down_and_reset_say_how_many_events_they_would_lose_and_need_consent"),
    ("12.2", "tests/it/migrations/guard.rs", "on_a_server_yes_is_not_enough"),
    ("12.3", "tests/it/migrations.rs", "a_failing_migration_leaves_nothing_of_itself_and_all_before_it"),
    (
        "12.3",
        "tests/it/migrations.rs",
        "a_file_without_a_transaction_runs_what_no_transaction_may_hold_and_with_eight_at_once",
    ),
    ("12.3", "src/migrate/batches.rs", "lines_of_go_end_a_batch"),
    ("12.4", "tests/it/migrations.rs", "eight_processes_at_once_apply_each_migration_once"),
    ("12.5", "tests/it/migrations.rs", "books_that_do_not_fit_stop_opening_and_every_run"),
    ("12.5", "src/migrate/plan/tests.rs", "a_changed_migration_stops_everything"),
    ("12.6", "src/schema/tests.rs", "committed_migrations_are_what_the_generator_prints"),
    ("13.1", "src/conformance/enrol.rs", "the_macro_lists_every_case"),
    ("13.2", "tests/it/cli/process.rs", "a_case_that_a_capability_rules_out_is_listed_with_the_reason"),
    ("13.3", "tests/it/saboteurs/mod.rs", "a_saboteur_is_caught"),
    ("14.6", "tests/it/failover.rs", "readers_whose_log_becomes_another_are_told"),
    ("14.6", "tests/it/replica.rs", "a_reader_ahead_of_a_replica_is_told_that_it_is_behind_and_goes_on_later"),
    ("19.5", "src/aggregate/upcast.rs", "a_sound_registry_passes"),
    ("19.5", "src/aggregate/upcast.rs", "what_is_wrong_is_named"),
    ("19.5", "src/aggregate/upcast.rs", "data_goes_through_each_step_of_its_chain"),
    ("21.2", "src/topics/adapter.rs", "connections_are_equal_however_they_are_written"),
    ("21.2", "src/topics/adapter.rs", "connections_that_differ_share_nothing"),
    ("21.14", "tests/it/copy.rs", "a_topic_moves_to_where_its_copy_is"),
    ("22.1", "tests/it/copy.rs", "a_copy_holds_what_the_original_holds"),
    ("22.2", "tests/it/copy.rs", "a_copy_that_is_cut_off_goes_on"),
    ("22.3", "tests/it/copy.rs", "a_copy_onto_another_log_is_refused"),
    ("22.4", "tests/it/copy.rs", "comparing_finds_what_differs"),
    ("22.4", "src/hash.rs", "a_log_has_the_published_hashes"),
    ("22.5", "tests/it/cli/copying.rs", "a_copy_follows_eight_writers_and_becomes_the_topic"),
    ("22.6", "tests/it/slow_copy.rs", "writers_that_are_faster_than_the_copy_wait_several_times_and_lose_nothing"),
    ("23.1", "tests/it/cli/export.rs", "an_export_is_restored_on_any_engine_as_it_was"),
    ("23.1", "tests/it/cli/export.rs", "a_restore_goes_to_the_topic_that_is_named"),
    ("23.2", "tests/it/cli/export.rs", "an_export_that_is_not_whole_is_refused_before_anything_is_stored"),
    ("23.2", "tests/it/cli/export.rs", "a_damaged_compressed_export_is_refused_before_anything_is_stored"),
    ("23.3", "tests/it/cli/export.rs", "a_restore_that_was_cut_off_goes_on"),
    ("23.3", "tests/it/cli/import.rs", "a_restore_refuses_what_would_not_be_the_same_log"),
    ("23.4", "tests/it/cli/export.rs", "a_part_of_a_log_is_exported_and_imported_beside_others"),
    ("23.5", "tests/it/cli/export.rs", "cloud_events_of_others_become_events"),
    ("18.1", "tests/it/relay/nats.rs", "a_broker_that_is_killed_and_restarted_holds_every_event_once_in_stream_order"),
    ("18.1", "tests/it/relay/webhook.rs", "a_receiver_that_fails_gets_every_event_in_order_until_it_confirms_it"),
    ("18.2", "tests/it/relay/nats.rs", "a_relay_that_was_killed_repeats_what_the_broker_recognises"),
    ("18.2", "src/relay/cloud_event.rs", "an_id_that_two_lanes_have_makes_two_events"),
    ("18.3", "tests/it/relay/nats.rs", "connections_that_break_at_any_byte_neither_lose_nor_double_nor_reorder"),
    (
        "18.3",
        "tests/it/relay/nats.rs",
        "what_is_refused_for_a_while_is_not_overtaken_and_what_is_confirmed_is_not_sent_again",
    ),
    ("18.4", "src/relay/cloud_event.rs", "an_event_becomes_a_cloud_event_with_its_data_byte_for_byte"),
    ("18.4", "src/relay/cloud_event.rs", "names_of_attributes_are_what_cloud_events_allow"),
    ("18.4", "tests/it/relay/nats.rs", "subjects_are_made_of_what_events_say_and_names_cannot_break_them"),
    ("18.5", "src/relay/backoff.rs", "pauses_grow_to_half_a_minute_and_begin_anew"),
    ("18.5", "tests/it/relay/webhook.rs", "a_pause_that_the_receiver_asks_for_is_kept"),
    ("18.6", "tests/it/relay/webhook.rs", "a_refused_event_stops_the_relay_before_it_and_is_sent_again_by_the_next"),
    ("18.6", "tests/it/relay/webhook.rs", "a_refused_event_is_left_out_where_that_is_asked_for"),
    ("18.6", "tests/it/relay/nats.rs", "a_full_stream_is_waited_for_and_a_message_that_is_too_large_is_refused"),
    ("18.7", "src/relay/signature.rs", "a_signature_is_that_of_the_published_vector"),
    ("18.7", "src/relay/signature.rs", "each_secret_signs_while_one_is_replaced"),
    ("18.8", "tests/it/cli/relay.rs", "an_interrupt_saves_where_the_relay_stands_and_gives_its_place_to_another"),
    ("18.9", "src/relay/nats.rs", "credentials_leave_the_url_and_show_nowhere"),
    ("18.9", "src/relay/webhook.rs", "nothing_of_a_url_shows_but_its_host"),
    ("18.9", "tests/it/cli/relay.rs", "wrong_arguments_are_refused_without_showing_a_secret"),
];

/// Verbs of the event stores that this one was made after.
const VERBS: &str = "save appendEvent append appendMany append_to_stream getEvents getEventsSince getEventsByType \
     getEventsInTimeRange getByAggregate getStream query getLatestVersion exists getEventCount checkCommandProcessed \
     recordCommand saveSnapshot getLatestSnapshot getSnapshotAtVersion read_stream_forward get_event_stream \
     recent_events event_statistics health close ErrConcurrencyConflict VersionConflictError";

fn read(path: &str) -> String {
    fs::read_to_string(Path::new(ROOT).join(path)).unwrap_or_default()
}

fn parts() -> (&'static str, &'static str) {
    CONTRACT.split_once("## What is not built yet").expect("the contract says what is not built yet")
}

/// Returns the sections and rules of the contract, in order: `("3", "Append")`, `("3.2", "Expectation")`.
fn headings() -> Vec<(&'static str, &'static str)> {
    let heading = |line: &'static str| {
        let rule = line.strip_prefix("- **").and_then(|rest| rest.split_once(".**")).map(|(rule, _)| rule);
        let (number, title) = rule.or(line.strip_prefix("## "))?.split_once(' ')?;
        let number = number.trim_end_matches('.');
        number.starts_with(|digit: char| digit.is_ascii_digit()).then_some((number, title))
    };
    parts().0.lines().filter_map(heading).collect()
}

/// Returns the rules of which the contract says that something is not built yet.
fn unbuilt() -> BTreeSet<&'static str> {
    let bold = parts().1.lines().filter_map(|line| line.strip_prefix("- **")?.split_once("**"));
    bold.flat_map(|(rules, _)| rules.split(" and ")).collect()
}

/// Returns what proves a rule, as it stands in the table.
fn proofs(rule: &str) -> Vec<String> {
    let cases = cases().filter(|(_, case)| case.clauses.contains(&rule)).map(|(name, _)| format!("`{name}`"));
    let tests = TESTS.iter().filter(|(proved, ..)| *proved == rule);
    cases.chain(tests.map(|(_, path, name)| format!("`{path}`: `{name}`"))).collect()
}

fn table() -> String {
    let mut text = INTRODUCTION.to_owned();
    let unbuilt = unbuilt();
    for (number, title) in headings() {
        if number.contains('.') {
            let mut proofs = proofs(number);
            if unbuilt.contains(number) {
                proofs.push("([not all of it is built](contract.md#what-is-not-built-yet))".to_owned());
            }
            let _ = writeln!(text, "| {number} | {title} | {} |", proofs.join("<br>"));
        } else {
            let _ = writeln!(text, "\n## {number}. {title}\n\n| | rule | proved by |\n|---|---|---|");
        }
    }
    text
}

/// Whether a source has a test of a name.
fn has_test(source: &str, name: &str) -> bool {
    let Some((before, _)) = source.split_once(&format!("fn {name}(")) else { return false };
    // What stands between the end of the item above and the function are its comments and attributes.
    let attributes = before.rsplit("}\n\n").next().unwrap_or_default();
    ["#[test]", "rstest]", "#[tokio::test"].iter().any(|attribute| attributes.contains(attribute))
}

#[test]
fn every_case_proves_a_rule_of_the_contract() {
    let known: BTreeSet<&str> = headings().into_iter().map(|(number, _)| number).collect();
    for (name, case) in cases() {
        assert!(!case.clauses.is_empty(), "{name} names no rule");
        for clause in case.clauses {
            assert!(known.contains(clause), "{name} names {clause}, which the contract does not have");
            assert!(
                clause.contains('.'),
                "{name} names the whole of section {clause}, and not the rule that it proves"
            );
        }
    }
}

#[test]
fn every_rule_that_is_built_has_a_proof() {
    let unbuilt = unbuilt();
    assert!(!unbuilt.is_empty(), "the list of what is not built yet can't be read");
    for (rule, title) in headings().into_iter().filter(|(number, _)| number.contains('.')) {
        assert!(unbuilt.contains(rule) || !proofs(rule).is_empty(), "nothing proves {rule}, {title}");
    }
}

#[test]
fn every_test_that_proves_a_rule_is_there() {
    let known: BTreeSet<&str> = headings().into_iter().map(|(number, _)| number).collect();
    for (rule, path, name) in TESTS {
        assert!(known.contains(rule), "{rule} is not a rule of the contract");
        assert!(has_test(&read(path), name), "{path} has no test {name}");
    }
    assert!(!has_test(&read("tests/it/contract.rs"), "has_test"), "a function that is no test counts as one");
}

#[test]
fn every_verb_of_other_stores_has_its_place() {
    let text = read("docs/verbs.md");
    for verb in VERBS.split_whitespace() {
        let row = text.lines().find(|line| {
            line.strip_prefix("| `")
                .and_then(|cell| cell.strip_prefix(verb))
                .is_some_and(|rest| !rest.starts_with(|next: char| next.is_alphanumeric() || next == '_'))
        });
        let ours = row.and_then(|row| row.split(" | ").nth(1)).unwrap_or_default();
        assert!(!ours.trim().is_empty(), "docs/verbs.md does not say what stands for {verb}");
    }
}

#[test]
fn the_table_of_proofs_is_current() {
    if std::env::var_os("ANNALS_UPDATE").is_some() {
        fs::write(Path::new(ROOT).join("docs/conformance.md"), table()).unwrap();
    }
    assert_eq!(read("docs/conformance.md"), table(), "run it again with ANNALS_UPDATE=1");
}
