//! Import and export.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use serde_json::Value;

use super::{Annals, Run};

/// Lines without ids, over several streams, each with its number.
fn lines(count: usize) -> String {
    (0..count).fold(String::new(), |mut text, n| {
        let stream = n * 7 % 10;
        let line =
            format!("{{\"aggregate_id\":\"s{stream}\",\"aggregate_type\":\"t\",\"event_type\":\"A\",\"data\":{n}}}");
        writeln!(text, "{line}").unwrap();
        text
    })
}

/// Asserts that the log holds each of the lines once, in their order.
fn assert_holds(annals: &Annals, count: usize) {
    let data: Vec<Value> = annals.log().into_iter().map(|mut event| event["data"].take()).collect();
    assert_eq!(data.len(), count);
    assert!(data.iter().enumerate().all(|(n, data)| *data == n), "not in the order of the lines");
}

fn counts(run: &Run) -> (i64, i64) {
    let counts: Value = serde_json::from_str(&run.out).unwrap_or_else(|_| panic!("{run:?}"));
    (counts["imported"].as_i64().unwrap(), counts["skipped"].as_i64().unwrap())
}

#[test]
fn lines_are_stored_in_their_order_and_once() {
    let annals = Annals::new();
    let file = annals.file("events.jsonl", lines(2_500));
    assert_eq!(counts(&annals.run(["import", &file, "--json"])), (2_500, 0));
    assert_holds(&annals, 2_500);
    assert_eq!(counts(&annals.run(["import", &file, "--json"])), (0, 2_500));
    annals.file("events.jsonl", lines(2_600));
    assert_eq!(counts(&annals.run(["import", "events.jsonl", "--json", "--batch", "7"])), (100, 2_500));
    assert_holds(&annals, 2_600);
}

#[test]
fn the_name_decides_which_lines_are_the_same() {
    let annals = Annals::new();
    let import = |name: &str| counts(&annals.feed(["import", "-", "--name", name, "--json"], &lines(10)));
    assert_eq!((import("one"), import("one"), import("two")), ((10, 0), (0, 10), (10, 0)));
    annals.feed(["import", "-"], &lines(1)).fails(2, "line 1: it has no event_id: give the import a --name");
}

#[test]
fn an_import_that_is_killed_at_any_point_goes_on_without_loss_or_duplicates() {
    const COUNT: usize = 12_000;
    let annals = Annals::new();
    let file = annals.file("events.jsonl", lines(COUNT));
    let head = || annals.json(["health"])[0]["lanes"][0]["head"].as_u64().unwrap();
    let mut kills = 0;
    for (round, batch) in ["40", "100", "33", "250"].into_iter().enumerate() {
        let before = head();
        let mut child = annals.command(["import", &file, "--batch", batch]).spawn().unwrap();
        let deadline = Instant::now() + Duration::from_mins(1);
        while head() < before + 300 + 100 * round as u64 && child.try_wait().unwrap().is_none() {
            assert!(Instant::now() < deadline, "the import does not get on");
        }
        kills += usize::from(child.try_wait().unwrap().is_none());
        child.kill().unwrap();
        child.wait().unwrap();
    }
    assert!(kills > 0, "every import ended before it could be killed");
    let (count, stored) = (i64::try_from(COUNT).unwrap(), i64::try_from(head()).unwrap());
    let run = annals.run(["import", &file, "--json"]);
    assert_eq!(counts(&run), (count - stored, stored));
    assert_holds(&annals, COUNT);
}

#[test]
fn two_imports_of_one_file_at_a_time_store_each_line_once() {
    let annals = Annals::new();
    let file = annals.file("events.jsonl", lines(3_000));
    let start = |batch: &str| annals.command(["import", &file, "--json", "--batch", batch]).spawn().unwrap();
    let (one, two) = (start("50"), start("70"));
    let (one, two) = (counts(&Run::of(one)), counts(&Run::of(two)));
    assert_eq!(one.0 + two.0, 3_000);
    assert_eq!((one.0 + one.1, two.0 + two.1), (3_000, 3_000));
    assert_holds(&annals, 3_000);
}

#[test]
fn a_bad_line_is_named_and_those_before_it_are_stored() {
    let annals = Annals::new();
    let good = r#"{"aggregate_id":"s","aggregate_type":"t","event_type":"A","data":1}"#;
    for (bad, says) in [
        ("{\"aggregate_id\":\"s\"", "invalid json"),
        ("nonsense", "invalid json"),
        (r#"{"aggregate_type":"t","event_type":"A","data":1}"#, "invalid aggregate_id: the line has none"),
        (r#"{"aggregate_id":"s","event_type":"A","data":1}"#, "invalid aggregate_type: the line has none"),
        (r#"{"aggregate_id":"s","aggregate_type":"t","data":1}"#, "missing field `event_type`"),
        (r#"{"aggregate_id":"s","aggregate_type":"t","event_type":"A"}"#, "missing field `data`"),
        (r#"{"aggregate_id":"s","aggregate_type":"t","event_type":"A","data":1,"meta":{}}"#, "unknown field `meta`"),
        (r#"{"aggregate_id":"s","aggregate_type":"t","event_type":"A","data":1,"data":2}"#, "duplicate field `data`"),
        (r#"{"aggregate_id":" s","aggregate_type":"t","event_type":"A","data":1}"#, "white space"),
        (r#"{"aggregate_id":"s","aggregate_type":"t","event_type":"A","data":1,"event_id":"7"}"#, "UUID"),
        (r#"{"aggregate_id":"s","aggregate_type":"t","event_type":"A","data":1,"metadata":[]}"#, "not a json object"),
        (r#"{"aggregate_id":"s","aggregate_type":"t","event_type":"A","data":1,"event_version":0}"#, "below 1"),
        (r#"{"aggregate_id":"s","aggregate_type":"t","event_type":"A","data":1,"event_timestamp":"x"}"#, "RFC 3339"),
        (r#"{"aggregate_id":"s","aggregate_type":"t","event_type":"A","data":"?","content_type":"x/y"}"#, "base64"),
        (r#"{"aggregate_id":"s","aggregate_type":"t","event_type":"$deleted","data":1}"#, "store's own"),
        (r#"{"aggregate_id":"s","aggregate_type":"other","event_type":"A","data":1}"#, "is of type"),
    ] {
        let input = format!("{good}\n\n{good}\n{bad}\n{good}\n");
        let run = annals.feed(["import", "-", "--name", bad, "--batch", "10"], &input);
        assert!(run.code == 2 || (run.code == 3 && says == "is of type"), "{run:?}");
        assert!(run.err.contains("line 4: ") && run.err.contains(says), "{says:?} in {run:?}");
        assert!(run.err.contains("2 lines were stored now, 0 before"), "{run:?}");
        let mended = format!("{good}\n\n{good}\n{good}\n{good}\n");
        assert_eq!(counts(&annals.feed(["import", "-", "--name", bad, "--json"], &mended)), (2, 2), "{bad}");
    }
}

#[test]
fn a_line_that_is_too_long_or_not_utf_8_is_named() {
    let annals = Annals::new();
    let line = |data: &str| {
        format!("{{\"aggregate_id\":\"s\",\"aggregate_type\":\"t\",\"event_type\":\"A\",\"data\":\"{data}\"}}\n")
    };
    let url = format!("{}?max_event_bytes=1000", annals.url("store.db"));
    let import = |text: Vec<u8>| annals.run(["import", &annals.file("f", text), "--url", &url]);
    import((line("a") + &line(&"x".repeat(999))).into()).fails(2, "line 2: bytes of an event is 1001");
    import((line("b") + &line(&"x".repeat(1_100_000))).into()).fails(2, "line 2: it has more than 1049576 bytes");
    import([line("c").as_bytes(), b"{\"a\xff\"}"].concat()).fails(2, "line 2: byte 4 is not utf-8");
    assert_eq!(annals.log().len(), 3);
}

#[test]
fn a_files_mark_line_ends_and_missing_last_line_end_are_no_matter() {
    let annals = Annals::new();
    let text = lines(3).replace('\n', "\r\n");
    let file = annals.file("f", format!("\u{feff}{}", text.trim_end()));
    assert_eq!(counts(&annals.run(["import", &file, "--json"])), (3, 0));
    let file = annals.file("empty", "");
    assert_eq!(counts(&annals.run(["import", &file, "--json"])), (0, 0));
}

#[test]
fn a_file_that_cannot_be_read_is_a_usage_error() {
    let annals = Annals::new();
    annals.run(["import", "absent.jsonl"]).fails(2, "can't read absent.jsonl");
    annals.run(["import", "."]).fails(2, "is a folder");
    annals.run(["export", "-o", "absent/file"]).fails(2, "can't write absent/file");
}

#[test]
fn every_field_of_a_line_is_kept_and_data_byte_for_byte() {
    let annals = Annals::new();
    let id = "0198c0de-0000-7000-8000-000000000009";
    let line = format!(
        r#"{{"aggregate_id":"s","aggregate_type":"t","event_type":"A","data": {{"z":1e400, "a":0.10,"a":2}},"event_id":"{id}","event_version":2,"event_timestamp":"2020-05-01T10:00:00+02:00","actor":"bob","actor_type":"service","source":"webhook","causation_id":"{id}","correlation_id":"{id}","metadata":{{ "k": 1.0 }},"tags":["b","a"]}}"#
    );
    assert_eq!(annals.feed(["import", "-"], &line).code, 0);
    let text = annals.ok(["read", "s", "--json"]);
    assert!(text.contains(r#""data":{"z":1e400, "a":0.10,"a":2}"#), "{text}");
    assert!(text.contains(r#""metadata":{ "k": 1.0,"occurred_at":"2020-05-01T10:00:00+02:00"}"#), "{text}");
    let rest = r#""actor":"bob","actor_type":"service","source":"webhook""#;
    assert!(
        text.contains(rest) && text.contains(r#""tags":["a","b"]"#) && text.contains(r#""event_version":2"#),
        "{text}"
    );
}

#[test]
fn an_event_that_is_stored_with_other_content_is_not_skipped_in_silence() {
    let annals = Annals::new();
    let line = |id: u8, data: u8| {
        let id = format!("0198c0de-0000-7000-8000-0000000000{id:02}");
        format!(
            "{{\"aggregate_id\":\"s\",\"aggregate_type\":\"t\",\"event_type\":\"A\",\"data\":{data},\"event_id\":\"{id}\"}}\n"
        )
    };
    assert_eq!(counts(&annals.feed(["import", "-", "--json"], &(line(1, 1) + &line(1, 1) + &line(2, 2)))), (2, 1));
    let changed = line(1, 1) + &line(3, 3) + &line(2, 9) + &line(4, 4);
    annals.feed(["import", "-"], &changed).fails(3, "line 3: its event is stored with other content, at position 2");
    assert_eq!(annals.log().len(), 3);
}

#[test]
fn the_hash_that_a_line_claims_is_not_believed() {
    let annals = Annals::new();
    annals.ok(["append", "t", "s", "--type", "A", "--data", r#"{"total":12}"#]);
    let lines = annals.ok(["query", "--json"]);
    assert!(lines.contains(r#""hash":"#), "{lines}");
    assert_eq!(counts(&annals.feed(["import", "-", "--json"], &lines)), (0, 1));
    let changed = lines.replace("12}", "99}");
    annals.feed(["import", "-"], &changed).fails(3, "line 1: its event is stored with other content, at position 1");
}

#[test]
fn an_id_that_stands_in_two_lanes_is_two_events() {
    let annals = Annals::new();
    let url = annals.topic("wide", 4);
    let line = |stream: &str| {
        format!(
            "{{\"aggregate_id\":\"{stream}\",\"aggregate_type\":\"t\",\"event_type\":\"A\",\"data\":\"{stream}\",\"event_id\":\
             \"0198c0de-0000-7000-8000-000000000001\"}}\n"
        )
    };
    let import = |text: &str| counts(&annals.feed(["import", "-", "--json", "--url", &url], text));
    let (one, two) = (line("s0"), line("s2"));
    assert_eq!(import(&one), (1, 0));
    assert_eq!(import(&(one.clone() + &two)), (1, 1));
    assert_eq!(import(&(two + &one)), (0, 2));
    let log = annals.json(["query", "--url", &url]);
    assert_eq!(log.len(), 2);
    assert_ne!(log[0]["lane"], log[1]["lane"]);

    let export = annals.ok(["export", "--url", &url]);
    let copy = annals.topic("copy", 4);
    let restore = || counts(&annals.feed(["import", "-", "--restore", "--json", "--url", &copy], &export));
    assert_eq!((restore(), restore()), ((2, 0), (0, 2)));
}

#[test]
fn markers_of_an_export_need_a_restore() {
    let annals = Annals::new();
    annals.put("s", "A", "1");
    annals.ok(["stream", "delete", "s"]);
    annals.ok(["stream", "undelete", "s"]);
    annals.ok(["stream", "delete", "s"]);
    annals.ok(["stream", "reuse", "s"]);
    let export = annals.ok(["export"]);
    for number in [2, 3, 4, 5] {
        let other = Annals::new();
        let line = export.lines().nth(number).unwrap();
        other.feed(["import", "-"], line).fails(2, "line 1: its event is one of the store's own");
        other.feed(["import", "-"], line).fails(2, "import the whole export with --restore");
        other.feed(["import", "-"], &export).fails(2, "line 3: its event is one of the store's own");
    }
}

#[test]
fn an_export_is_restored_as_it_was() {
    let annals = Annals::new();
    annals.put("s", "A", "{\"a\":\n\t1,\r\n\"b\":\"\\n\"}");
    annals.ok(["append", "t", "s2", "--type", "B", "--data", "0.10", "--metadata", "{\n}", "--tag", "x", "--tag", "é"]);
    let bytes = annals.file("bytes", [0u8, 200]);
    annals.ok(["append", "t", "s2", "--type", "C", "--data", &format!("@{bytes}"), "--content-type", "a/b"]);
    annals.ok(["stream", "delete", "s"]);
    annals.ok(["stream", "reuse", "s"]);
    annals.ok(["stream", "delete", "s2"]);
    assert_eq!(annals.json(["export", "-o", "log.jsonl"])[0]["exported"], 6);
    let exported = std::fs::read_to_string(annals.path("log.jsonl")).unwrap();
    assert_eq!(annals.ok(["export"]), exported);
    let other = annals.url("other.db");
    annals.ok(["migrate", "up", "--url", &other]);
    let restore = || annals.run(["import", "log.jsonl", "--restore", "--json", "--batch", "2", "--url", &other]);
    assert_eq!((counts(&restore()), counts(&restore())), ((6, 0), (0, 6)));
    assert_eq!(annals.ok(["export", "--url", &other]), exported);
    for stream in ["s", "s2"] {
        let (one, two) = (annals.run(["read", stream]), annals.run(["read", stream, "--url", &other]));
        assert_eq!((one.code, one.out), (two.code, two.out));
    }
}

#[test]
fn a_restore_refuses_what_would_not_be_the_same_log() {
    let annals = Annals::new();
    annals.put("s", "A", "1");
    annals.put("s", "A", "2");
    let log = annals.ok(["export"]);
    let fresh = || {
        let fresh = Annals::new();
        move |input: &str| fresh.feed(["import", "-", "--restore"], input)
    };
    let lines: Vec<&str> = log.lines().collect();
    fresh()(&format!("{}\n{}", lines[0], lines[2])).fails(2, "line 2: it has position 2, and 1 is next");
    fresh()(&log.replace(r#""data":2"#, r#""data":3"#)).fails(2, "line 3: invalid hash");
    fresh()(&self::lines(1)).fails(2, "line 1: it is not the header of an export");
    let other = Annals::new();
    other.put("s", "A", "1");
    other.feed(["import", "-", "--restore"], &log).fails(3, "topic \"default\" holds another log");
    assert_eq!(other.log().len(), 1);
}

#[test]
fn an_export_can_be_imported_beside_other_events_and_again() {
    let annals = Annals::new();
    annals.put("s", "A", "1");
    let log = annals.ok(["export"]);
    let other = Annals::new();
    other.put("elsewhere", "A", "1");
    assert_eq!(counts(&other.feed(["import", "-", "--json"], &log)), (1, 0));
    assert_eq!(counts(&other.feed(["import", "-", "--json"], &log)), (0, 1));
    assert_eq!(counts(&annals.feed(["import", "-", "--json"], &log)), (0, 1));
    assert!(other.json(["read", "s"])[0]["metadata"]["occurred_at"].is_string());
}

#[test]
fn an_export_takes_filters_and_leaves_no_partial_file() {
    let annals = Annals::new();
    annals.put("s", "A", "1");
    annals.put("s", "B", "2");
    annals.put("t", "A", "3");
    let events = |text: String| text.lines().filter(|line| line.contains("\"event_type\"")).count();
    assert_eq!(events(annals.ok(["export", "--stream", "s"])), 2);
    assert_eq!(events(annals.ok(["export", "--type", "A", "--after", "1"])), 1);
    annals.ok(["export", "-o", "x.jsonl"]);
    let files = std::fs::read_dir(annals.path(".")).unwrap().map(|entry| entry.unwrap().file_name());
    let hidden: Vec<_> = files.filter(|name| name.to_string_lossy().starts_with('.')).collect();
    assert!(annals.path("x.jsonl").exists() && hidden.is_empty(), "{hidden:?}");
    assert_eq!(events(annals.ok(["export", "-o", "-"])), 3);
}

#[test]
fn an_export_never_replaces_a_database() {
    let annals = Annals::new();
    annals.put("s", "A", "1");
    annals.run(["export", "-o", "store.db"]).fails(2, "is a SQLite database");
    assert_eq!(annals.json(["read", "s"]).len(), 1);
}

#[cfg(unix)]
#[test]
fn an_export_writes_into_a_pipe_and_through_a_link() {
    let annals = Annals::new();
    annals.put("s", "A", "1");
    assert!(std::process::Command::new("mkfifo").arg(annals.path("pipe")).status().unwrap().success());
    let pipe = annals.path("pipe");
    let reader = std::thread::spawn(move || std::fs::read_to_string(pipe).unwrap());
    annals.ok(["export", "-o", "pipe"]);
    assert_eq!(reader.join().unwrap().lines().count(), 3);

    std::fs::write(annals.path("whole.jsonl"), "").unwrap();
    std::os::unix::fs::symlink(annals.path("whole.jsonl"), annals.path("link.jsonl")).unwrap();
    annals.ok(["export", "-o", "link.jsonl"]);
    assert!(annals.path("link.jsonl").is_symlink());
    assert_eq!(std::fs::read_to_string(annals.path("whole.jsonl")).unwrap().lines().count(), 3);
}
