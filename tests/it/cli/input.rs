//! What a newcomer types and pipes in: too much, the wrong bytes, negative numbers, several lanes.

use std::fmt::Write as _;
use std::io::Write as _;
use std::process::Stdio;
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Annals, Run};

fn line(stream: &str, data: usize) -> String {
    format!("{{\"aggregate_id\":\"{stream}\",\"aggregate_type\":\"t\",\"event_type\":\"A\",\"data\":{data}}}\n")
}

/// Lines of ten streams, one after the other.
fn interleaved(count: usize) -> String {
    (0..count).map(|n| line(&format!("s{}", n % 10), n)).collect()
}

#[cfg(unix)]
#[test]
fn endless_input_is_refused_at_the_bound_of_a_line() {
    let annals = Annals::new();
    annals.put("s", "A", "1");
    let zero = || Stdio::from(std::fs::File::open("/dev/zero").unwrap());
    let run = |args: &[&str]| Run::of(annals.command(args).stdin(zero()).spawn().unwrap());
    run(&["append", "c", "s"]).fails(2, "line 1: it has more than 5242880 bytes");
    run(&["append", "c", "s", "--type", "A", "--data", "-"]).fails(2, "more than 67108864 bytes");
    run(&["append", "c", "s", "--type", "A", "--data", "1", "--metadata", "-"]).fails(2, "more than 67108864 bytes");
    run(&["stream", "metadata", "s", "--set", "-"]).fails(2, "more than 67108864 bytes");
}

#[test]
fn lines_to_append_are_utf_8_and_may_begin_with_a_mark() {
    let annals = Annals::new();
    let mut child = annals.command(["append", "t", "s"]).stdin(Stdio::piped()).spawn().unwrap();
    let bytes = [line("s", 1).as_bytes(), b"{\"a\xff\"}\n"].concat();
    child.stdin.take().unwrap().write_all(&bytes).unwrap();
    Run::of(child).fails(2, "line 2: byte 4 is not utf-8");
    assert_eq!(annals.feed(["append", "t", "s"], &format!("\u{feff}{}", line("s", 1))).code, 0);
    assert_eq!(annals.log().len(), 1);
}

#[test]
fn a_negative_number_is_a_value_and_not_an_option() {
    let annals = Annals::new();
    annals.put("s", "A", "-5");
    assert_eq!(annals.log()[0]["data"], -5);
    annals.run(["append", "order", "s", "--type", "A", "--data", "1", "--expect", "-1"]).fails(2, "write any, none");
    annals.run(["read", "s", "--limit", "-1"]).fails(2, "invalid value '-1' for '--limit");
    annals.run(["topic", "create", "x", "--partitions", "-1"]).fails(2, "invalid value '-1' for '--partitions");
}

#[test]
fn standard_input_is_read_only_once_and_a_dash_stands_alone() {
    let annals = Annals::new();
    annals.run(["append", "t", "s", "--type", "A", "--data", "-", "--metadata", "-"]).fails(2, "only once");
    annals.run(["append", "t", "s", "--type", "A", "--data", "@-"]).fails(2, "write - alone");
}

#[cfg(target_os = "linux")]
#[test]
fn what_is_stored_is_said_where_the_output_cannot_be_written() {
    let annals = Annals::new();
    let full = || Stdio::from(std::fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    let run = |args: &[&str]| Run::of(annals.command(args).stdout(full()).spawn().unwrap());
    run(&["append", "t", "s", "--type", "A", "--data", "1"])
        .fails(1, "stored as version 1, position 1, but the output can't be written: ");
    assert_eq!(annals.log().len(), 1);
    run(&["topic", "create", "wide", "--partitions", "2"])
        .fails(1, "topic \"wide\" has 2 lanes, but the output can't be written: ");
}

#[cfg(unix)]
#[rstest::rstest]
fn an_interrupt_is_heard_while_input_or_output_blocks(#[values("-INT", "-TERM")] signal: &str) {
    let annals = Annals::new();
    annals.put("s", "A", "1");
    assert!(std::process::Command::new("mkfifo").arg(annals.path("pipe")).status().unwrap().success());
    for args in [
        &["append", "c", "s"][..],
        &["append", "c", "s", "--type", "A", "--data", "-"],
        &["stream", "metadata", "s", "--set", "-"],
        &["export", "-o", "pipe"],
        &["import", "pipe"],
    ] {
        let mut child = annals.command(args).stdin(Stdio::piped()).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_secs(30);
        listens(child.id(), deadline);
        std::process::Command::new("kill").args([signal, &child.id().to_string()]).status().unwrap();
        while child.try_wait().unwrap().is_none() {
            if Instant::now() > deadline {
                child.kill().unwrap();
                panic!("{args:?}: the interrupt was not heard");
            }
        }
        Run::of(child).fails(130, "interrupted");
    }
    let export = annals.file("empty", "");
    assert_eq!(annals.run(["import", &export]).code, 0);
}

/// Waits until a process has handlers for the signals, where the system tells.
#[cfg(unix)]
fn listens(process: u32, deadline: Instant) {
    const INT_AND_TERM: u64 = 1 << 1 | 1 << 14;
    let caught = || {
        let Ok(status) = std::fs::read_to_string(format!("/proc/{process}/status")) else { return true };
        let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).map(str::trim);
        mask.and_then(|mask| u64::from_str_radix(mask, 16).ok()).is_some_and(|mask| mask & INT_AND_TERM == INT_AND_TERM)
    };
    while !caught() {
        assert!(Instant::now() < deadline, "the process does not listen for signals");
    }
}

#[test]
fn several_lanes_are_shown_where_there_are_several() {
    let annals = Annals::new();
    let url = annals.topic("wide", 4);
    let id = "0198c0de-0000-7000-8000-000000000001";
    let append = |stream: &str| {
        annals.ok(["append", "t", stream, "--type", "A", "--data", "1", "--event-id", id, "--url", &url])
    };
    let (one, lane) =
        (append("s0"), |stream: &str| annals.json(["read", stream, "--url", &url])[0]["lane"].as_i64().unwrap());
    assert_eq!(one, format!("appended to s0: version 1, lane {}, position 1\n", lane("s0")));
    for n in 1..20 {
        annals.ok(["append", "t", &format!("s{n}"), "--type", "A", "--data", "1", "--url", &url]);
    }
    let elsewhere = (1..20).map(|n| format!("s{n}")).find(|stream| lane(stream) != lane("s0")).unwrap();
    append(&elsewhere);
    assert!(annals.ok(["query", "--url", &url]).starts_with("lane  position  stream"));
    assert_eq!(annals.json(["query", "--event-id", id, "--url", &url]).len(), 2);
    annals.put("s", "A", "1");
    assert!(annals.ok(["query"]).starts_with("position  stream"));
}

#[test]
fn an_import_into_several_lanes_keeps_the_order_in_each() {
    let annals = Annals::new();
    let url = annals.topic("wide", 4);
    let import = |text: &str| annals.feed(["import", "-", "--name", "n", "--json", "--url", &url], text);
    let counts = |run: Run| {
        let counts: serde_json::Value = serde_json::from_str(&run.out).unwrap_or_else(|_| panic!("{run:?}"));
        (counts["imported"].clone(), counts["skipped"].clone())
    };
    let text = interleaved(300);
    let bad = text.replacen(&line("s5", 155), &line("s5", 155).replace("\"t\"", "\"other\""), 1);
    import(&bad).fails(3, "line 156: stream ");
    let stored = annals.json(["query", "--url", &url]);
    assert!((0..155).all(|n| stored.iter().any(|event| event["data"] == n)), "lines before the wrong one are stored");
    let before = stored.len();
    assert_eq!(counts(import(&text)), (json!(300 - before), json!(before)));
    let mut last = std::collections::HashMap::new();
    for event in annals.json(["query", "--url", &url]) {
        let stream = event["aggregate_id"].as_str().unwrap().to_owned();
        let data = event["data"].as_i64().unwrap();
        assert!(last.insert(stream, data).is_none_or(|before| before < data), "not in the order of the lines");
    }
    assert_eq!(counts(import(&text)), (json!(0), json!(300)));
}

#[test]
fn a_restore_into_another_number_of_lanes_stores_nothing() {
    let annals = Annals::new();
    let wide = annals.topic("wide", 4);
    assert_eq!(annals.feed(["import", "-", "--name", "n", "--url", &wide], &interleaved(100)).code, 0);
    let log = annals.ok(["export", "--url", &wide]);
    let file = annals.file("log.jsonl", &log);
    for lanes in [1, 3, 8] {
        let other = annals.topic(&format!("other{lanes}"), lanes);
        let says =
            format!("the export has 4 lanes, the topic {lanes}: restore into a topic created with --partitions 4");
        annals.run(["import", &file, "--restore", "--url", &other]).fails(2, &says);
        annals.feed(["import", "-", "--restore", "--url", &other], &log).fails(2, "restore into a topic created with");
        assert!(annals.json(["query", "--url", &other]).is_empty());
    }
    let same = annals.topic("same", 4);
    annals.ok(["import", &file, "--restore", "--url", &same]);
    assert_eq!(annals.json(["query", "--url", &same]).len(), 100);
}

#[cfg(unix)]
#[test]
fn a_file_that_could_not_be_made_a_database_is_removed() {
    let annals = Annals::bare();
    let script = format!("trap '' XFSZ; ulimit -f 0; exec '{}' migrate up", env!("CARGO_BIN_EXE_annals"));
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &script]).env("ANNALS_URL", annals.url("store.db")).current_dir(annals.folder.path());
    shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let run = Run::of(shell.spawn().unwrap());
    assert_ne!(run.code, 0, "{run:?}");
    assert!(!annals.path("store.db").exists(), "{run:?}");
}

#[test]
fn advice_fits_what_was_asked_for() {
    let annals = Annals::new();
    annals.run(["health", "--url", "sqlite::memory:"]).fails(2, "sqlite::memory:?migrate=auto");
    annals.run(["conformance", "sqlite::memory:", "--url", "sqlite:x.db"]).fails(2, "leave out --url");
    annals.run(["import", "-", "--name", ""]).fails(2, "--name");
    annals.run(["migrate", "up", "5"]).fails(2, "there is no migration 005");
    annals.put("s", "A", "1");
    assert!(annals.ok(["stats"]).ends_with("\n1 event\n"));
    let bare = Annals::bare();
    let mut unset = bare.command(["migrate", "up"]);
    assert_eq!(Run::of(unset.env("ANNALS_URL", "").spawn().unwrap()).code, 0);
    assert!(bare.path("annals.db").exists());
    let mut nobody = annals.command(["append", "order", "s", "--type", "A", "--data", "2"]);
    assert_eq!(Run::of(nobody.env("ANNALS_ACTOR", "").spawn().unwrap()).code, 0);
    assert_eq!(annals.log()[1]["actor"], "ada");
}

#[cfg(feature = "postgres")]
#[test]
fn a_server_that_is_not_there_is_named() {
    let annals = Annals::bare();
    let run = annals.run(["health", "--url", "postgres://u:s3cret@127.0.0.1:1/d?connect_timeout=2000"]);
    run.fails(5, "is the server running at 127.0.0.1:1?");
    let mut text = String::new();
    write!(text, "{run:?}").unwrap();
    assert!(!text.contains("s3cret"), "{text}");
}

#[test]
fn a_benchmark_takes_its_database_as_an_argument() {
    let annals = Annals::new();
    let url = annals.url("bench.db");
    let quick = ["--rounds", "1", "--thousands", "1", "--workload", "query_type"];
    assert!(annals.ok(["bench", &url].into_iter().chain(quick)).contains("query_type"));
}
