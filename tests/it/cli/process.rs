//! URLs, exit codes, signals, pipes.

use std::io::{BufRead, BufReader, Write};
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::{Annals, Run};

#[test]
fn the_url_stands_before_or_after_the_verb_or_in_the_environment() {
    let annals = Annals::bare();
    let (one, two) = (annals.url("one.db"), annals.url("two.db"));
    annals.ok(["--url", &one, "migrate", "up"]);
    annals.ok(["migrate", "up", "--url", &two]);
    annals.ok(["--url", &one, "append", "o", "s", "--type", "T", "--data", "1"]);
    assert_eq!(annals.ok(["--json", "query", "--url", &one]).lines().count(), 1);
    assert_eq!(annals.ok(["query", "--url", &two]), "");
    annals.run(["query"]).fails(4, "store.db");
}

#[test]
fn without_a_url_the_store_is_a_file_in_the_folder() {
    let annals = Annals::bare();
    let run = |args: &[&str]| Run::of(annals.command(args).env_remove("ANNALS_URL").spawn().unwrap());
    assert_eq!(run(&["migrate", "up"]).code, 0);
    assert!(annals.path("annals.db").exists());
    assert_eq!(run(&["health"]).code, 0);
}

#[test]
fn a_database_that_is_not_there_is_not_created() {
    let annals = Annals::bare();
    annals.run(["health"]).fails(4, "annals migrate up");
    annals.run(["append", "o", "s", "--type", "T", "--data", "1"]).fails(4, "there is no database");
    assert!(!annals.path("store.db").exists());
}

#[test]
fn wrong_urls_are_refused_without_showing_a_password() {
    let annals = Annals::bare();
    annals.run(["health", "--url", "annals.db"]).fails(2, "scheme");
    annals.run(["health", "--url", "oracle://x"]).fails(2, "unknown scheme");
    annals.run(["health", "--url", "sqlite:"]).fails(2, "no file is named");
    annals.run(["health", "--url", "sqlite:x.db?colour=red"]).fails(4, "no database");
    annals.run(["migrate", "up", "--url", "sqlite:x.db?colour=red"]).fails(2, "unknown option");
    for url in ["oracle://u:s3cret@h/d", "postgres://u:s3cret@127.0.0.1:1/d?colour=red", "mssql://u:s3cret@h/d?x"] {
        let run = annals.run(["health", "--url", url]);
        assert!(run.code == 2 && !run.err.contains("s3cret"), "{run:?}");
    }
}

#[test]
fn wrong_arguments_are_usage_errors() {
    let annals = Annals::new();
    annals.run(["fly"]).fails(2, "unrecognized subcommand");
    let told = annals.run(["--json", "fly"]);
    assert!(told.code == 2 && told.err.starts_with("{\"error\":\"unrecognized subcommand"), "{told:?}");
    annals.run(["read"]).fails(2, "required");
    annals.run(["read", "s", "--limit", "many"]).fails(2, "invalid value");
    annals.run(["append", "o", "s", "--type", "T"]).fails(2, "--data");
    annals.run(["append", "o", "s", "--type", "T", "--data", "{"]).fails(2, "invalid json");
    annals.run(["append", "o", " s", "--type", "T", "--data", "1"]).fails(2, "white space");
    annals.run(["append", "o", &"s".repeat(256), "--type", "T", "--data", "1"]).fails(2, "limit is 255");
    annals
        .run(["append", "o", "s", "--type", "T", "--data", "1", "--actor-type", "robot"])
        .fails(2, "user, service, system");
    let help = annals.ok(["--help"]);
    assert!(help.contains("Exit codes:") && help.contains("conflict"), "{help}");
}

#[test]
fn what_is_not_a_database_is_a_failure_that_says_so() {
    let annals = Annals::bare();
    annals.file("store.db", "this is no database, however long the text may be made to look like one");
    annals.run(["health"]).fails(1, "not a SQLite database");
    annals.run(["health", "--url", &format!("sqlite:{}", annals.folder.path().display())]).fails(2, "is a folder");
}

#[test]
fn with_json_an_error_is_an_object_too() {
    let annals = Annals::new();
    let run = annals.run(["read", "absent", "--json"]);
    let error: serde_json::Value = serde_json::from_str(&run.err).unwrap();
    assert_eq!((run.code, &error["exit"]), (4, &serde_json::json!(4)));
    assert_eq!(error["error"], "stream \"absent\" does not exist");
}

/// Enough events to fill every buffer between two processes.
fn many(annals: &Annals, count: usize) {
    let line = |n| format!("{{\"aggregate_id\":\"s\",\"aggregate_type\":\"t\",\"event_type\":\"A\",\"data\":{n}}}\n");
    let lines: String = (0..count).map(line).collect();
    assert_eq!(annals.feed(["import", "-", "--name", "many"], &lines).code, 0);
}

#[test]
fn a_closed_pipe_ends_every_reading_verb_quietly() {
    let annals = Annals::new();
    many(&annals, 3_000);
    for args in [&["read", "s"][..], &["read", "s", "--json"], &["query"], &["export"]] {
        let mut child = annals.command(args).spawn().unwrap();
        let mut first = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut first).unwrap();
        let run = Run::of(child);
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{args:?}");
        assert!(!first.is_empty());
    }
}

#[cfg(unix)]
#[rstest::rstest]
fn an_interrupt_ends_an_import_with_130_and_keeps_what_was_acknowledged(#[values("-INT", "-TERM")] signal: &str) {
    let annals = Annals::new();
    let mut child =
        annals.command(["import", "-", "--name", "n", "--batch", "1"]).stdin(Stdio::piped()).spawn().unwrap();
    let mut input = child.stdin.take().unwrap();
    writeln!(input, r#"{{"aggregate_id":"s","aggregate_type":"t","event_type":"A","data":1}}"#).unwrap();
    input.flush().unwrap();
    let deadline = Instant::now() + Duration::from_secs(30);
    while annals.log().is_empty() {
        assert!(Instant::now() < deadline, "the first line was not stored");
    }
    let sent = std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
    assert!(sent.success());
    while child.try_wait().unwrap().is_none() {
        assert!(Instant::now() < deadline || child.kill().is_err(), "the interrupt was not heard");
    }
    let run = Run::of(child);
    drop(input);
    run.fails(130, "interrupted");
    assert_eq!(annals.log().len(), 1);
}

#[test]
fn a_case_that_a_capability_rules_out_is_listed_with_the_reason() {
    let annals = Annals::bare();
    let lines = annals.json(["conformance", "sqlite::memory:", "--filter", "routines::"]);
    let (summary, cases) = lines.split_last().unwrap();
    assert_eq!(*summary, serde_json::json!({"passed": 0, "failed": 0, "skipped": cases.len()}));
    assert!(!cases.is_empty());
    for case in cases {
        assert_eq!(case["status"], "skipped");
        assert_eq!(case["reason"], "the engine has no functions or procedures");
    }
}

#[test]
fn the_demo_runs_on_real_input_and_times_a_thousand_events() {
    let annals = Annals::bare();
    let out = annals.ok(["demo"]);
    for shown in ["as of", "expects version", "the outcome of the first", "the median of", "postgres://", "mssql://"] {
        assert!(out.contains(shown), "{shown:?} in {out}");
    }
    assert!(!annals.path("store.db").exists());
}

#[test]
fn a_git_history_is_imported_once() {
    let annals = Annals::new();
    let repository = annals.path("repository");
    std::fs::create_dir(&repository).unwrap();
    let git = |args: &[&str]| {
        let mut git = std::process::Command::new("git");
        git.current_dir(&repository).args(["-c", "user.name=Ada \"L\" Ω", "-c", "user.email=a@example.org"]).args(args);
        git.stdout(Stdio::null()).stderr(Stdio::null()).status().is_ok_and(|status| status.success())
    };
    if !git(&["init"]) {
        println!("skipped: there is no git here");
        return;
    }
    std::fs::write(repository.join("a \"b\".txt"), "1").unwrap();
    assert!(git(&["add", "."]) && git(&["commit", "-m", "first \\ \"quoted\" | change"]));
    std::fs::remove_file(repository.join("a \"b\".txt")).unwrap();
    assert!(git(&["commit", "-am", "second"]));
    let lines = annals.ok(["demo", "--events", &repository.display().to_string()]);
    assert_eq!(annals.feed(["import", "-"], &lines).out.split(',').next(), Some("imported 2"));
    assert_eq!(annals.feed(["import", "-"], &lines).out.split(',').next(), Some("imported 0"));
    let events = annals.json(["read", "Ada \"L\" Ω"]);
    assert_eq!((&events[0]["event_type"], &events[1]["event_type"]), (&"FileAdded".into(), &"FileDeleted".into()));
    assert_eq!(events[0]["data"]["subject"], "first \\ \"quoted\" | change");
}
