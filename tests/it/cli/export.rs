//! Exports: restored on any engine as they were, refused where they are not whole, and events of others.

use std::fmt::Write as _;
use std::fs;
use std::process::Stdio;

use annals::{Append, Command, Expected, Json, NewEvent, NewSnapshot, Payload, Query, Store, TopicCopy, Version};
use rstest::rstest;
use serde_json::{Value, json};
use uuid::Uuid;

use super::{Annals, Run};
use crate::copy::{database, filled, open, stream};

/// Adds to a topic what only lines make difficult: line breaks between tokens, documents that are null, and readers who share
/// the events of a stream that fails.
async fn add_odd_ones(store: &Store) {
    let broken = |text: &str| Json::parse(text.replace(' ', "\r\n\t")).unwrap();
    let event = NewEvent::new("Broken", Payload::Json(broken(r#"{ "a": [1, 1e400], "a": "\n" }"#))).unwrap();
    let event = event.with_metadata(broken(r#"{ "by": "hand" }"#)).unwrap();
    let command = Command::new(Uuid::from_u128(9)).with_data(Json::parse("null").unwrap());
    store.commit(Append::new().to(stream("s-6"), Expected::Any, [event]).command(command)).await.unwrap();
    for (version, state) in [(1, "null"), (3, "{ \"count\": 3 }")] {
        let snapshot = NewSnapshot::new(stream("s-6"), Version::new(version), broken(state));
        assert!(store.save_snapshot(&snapshot).await.unwrap());
    }
    let member = store.group("group").attempts(1).join().await.unwrap();
    for number in 0..6 {
        let delivery = member.next().await.unwrap();
        if number == 2 { member.fail(delivery, "no \"such\" customer").unwrap() } else { member.ack(delivery).unwrap() }
    }
    member.leave().await.unwrap();
}

fn hash_of(run: &Run) -> String {
    let value: Value = serde_json::from_str(&run.out).unwrap_or_else(|_| panic!("{run:?}"));
    value["hash"].as_str().unwrap_or_else(|| panic!("{run:?}")).to_owned()
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_is_restored_on_any_engine_as_it_was(
    #[values("sqlite", "postgres", "mssql")] from: &str,
    #[values("sqlite", "postgres", "mssql")] to: &str,
    #[values(("json", "log"), ("cloudevents", "log"), ("cloudevents", "log.zst"))] (shape, file): (&str, &str),
) {
    let (Some(one), Some(two)) = (database(from), database(to)) else { return };
    let original = filled(&one).await;
    add_odd_ones(&original).await;
    two.store().await.unwrap().close().await;
    let annals = Annals::bare();
    let export = |url: &str, file: &str| {
        let args = ["export", "--format", shape, "-o", file, "--json", "--topic", "orders", "--url", url];
        let run = annals.run(args);
        assert_eq!((run.code, run.err.as_str()), (0, ""), "{run:?}");
        hash_of(&run)
    };
    let hash = export(&one.url(), file);
    // The topic is not there yet.
    let restore = || annals.run(["import", file, "--restore", "--json", "--batch", "7", "--url", &two.url()]);
    let run = restore();
    assert_eq!((run.code, hash_of(&run)), (0, hash.clone()), "{run:?}");
    let counts: Value = serde_json::from_str(&run.out).unwrap();
    assert_eq!((&counts["imported"], &counts["skipped"]), (&json!(45), &json!(0)));

    // What compares copies finds no difference, in the rows beside the events either.
    let copy = TopicCopy::begin(original.clone(), two.url().parse().unwrap()).await.unwrap();
    let found = copy.verify(|_| {}).await.unwrap();
    assert!(found.is_same() && found.events == 45, "{found:?}");
    let found_hash = found.to_hash.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").unwrap();
        text
    });
    assert_eq!(found_hash, hash);
    copy.to().close().await;
    let copied = open(&two, "orders").await;
    assert_eq!(copied.topic().incarnation, original.topic().incarnation);
    assert!(copied.record_command(Command::new(Uuid::from_u128(8))).await.unwrap().duplicate);
    let letters = copied.dead_letters("group", None, 10).await.unwrap();
    assert!(letters.iter().any(|letter| letter.reason.as_deref() == Some("no \"such\" customer")), "{letters:?}");
    copied.close().await;

    // Once more changes nothing, and the restored log is exported byte for byte as the first one.
    let counts: Value = serde_json::from_str(&restore().out).unwrap();
    assert_eq!((&counts["imported"], &counts["skipped"]), (&json!(0), &json!(45)));
    export(&two.url(), &format!("again-{file}"));
    assert!(fs::read(annals.path(file)).unwrap() == fs::read(annals.path(&format!("again-{file}"))).unwrap());
    original.close().await;
    one.remove().await.unwrap();
    two.remove().await.unwrap();
}

/// A database whose log has two lanes, and its export.
fn exported() -> (Annals, String) {
    let annals = Annals::new();
    let url = annals.topic("wide", 2);
    for (stream, id) in [("order-1", 1), ("order-2", 2), ("order-1", 3), ("order-1", 4)] {
        let command = Uuid::from_u128(id).to_string();
        let args = ["append", "order", stream, "--type", "A", "--data", "7", "--command-id", &command, "--url", &url];
        annals.ok(args);
    }
    let text = annals.ok(["export", "--url", &url]);
    (annals, text)
}

/// What happens to an export on its way.
enum Damage {
    Without(usize),
    CutAt(&'static str),
    Replaced(&'static str, &'static str),
    HashChanged,
    Doubled,
}
use Damage::{CutAt, Doubled, HashChanged, Replaced, Without};

impl Damage {
    fn of(&self, text: &str) -> String {
        match self {
            Without(line) => without(text, *line),
            CutAt(place) => text.split_once(place).unwrap().0.to_owned(),
            Replaced(old, new) => text.replacen(old, new, 1),
            HashChanged => {
                let (start, hash) = text.rsplit_once("\"hash\":\"").unwrap();
                format!("{start}\"hash\":\"{}{}", "0".repeat(64), &hash[64..])
            }
            Doubled => text.repeat(2),
        }
    }
}

#[rstest]
#[case::no_manifest(Without(10), "the last line is no manifest")]
#[case::cut_in_a_line(CutAt("order-2"), "line 8: invalid json: EOF")]
#[case::changed_data(Replaced("\"data\":7", "\"data\":8"), "line 2: invalid hash")]
#[case::changed_time(Replaced("timestamp\":\"20", "timestamp\":\"19"), "its hash or its positions of partition 0")]
#[case::line_removed(Without(3), "line 3: it has position 3, and 2 is next")]
#[case::last_event_removed(
    Without(4),
    "line 9: the manifest is not that of the lines: it counts 4 events, and there are 3"
)]
#[case::row_removed(Without(5), "it counts 4 rows of commands, and there are 3")]
#[case::row_changed(Replaced("command_type\":null", "command_type\":\"x\""), "its rows_hash is not that")]
#[case::row_of_another_table(Replaced("\"row\":\"commands\"", "\"row\":\"events\""), "there are no rows of \"events\"")]
#[case::manifest_changed(Replaced("{\"commands\":4}", "{}"), "it counts 0 rows of commands, and there are 4")]
#[case::hash_changed(HashChanged, "its hash is not that of its partitions")]
#[case::header_removed(Without(1), "line 1: it is not the header")]
#[case::header_changed(Replaced("\"wide\"", "\"tall\""), "its rows_hash is not that")]
#[case::lanes_changed(Replaced("\"partitions\":2", "\"partitions\":3"), "is not that of its stream, which is ")]
#[case::later_version(
    Replaced("annals_export\":1", "annals_export\":2"),
    "has version 2, and this program reads version 1"
)]
#[case::two_in_one_file(Doubled, "line 11: it follows the manifest")]
fn an_export_that_is_not_whole_is_refused_before_anything_is_stored(#[case] damage: Damage, #[case] says: &str) {
    let (annals, text) = exported();
    let damaged = damage.of(&text);
    assert_ne!(damaged, text);
    let file = annals.file("damaged", &damaged);
    let other = Annals::new();
    other.run(["import", &file, "--restore"]).fails(2, says);
    other.run(["import", &file, "--restore", "--topic", "new"]).fails(2, says);
    assert!(other.log().is_empty() && other.json(["topic", "list"]).len() == 1);
    // What comes from a pipe can't be read twice.
    other.feed(["import", "-", "--restore"], &damaged).fails(2, says);
    if !damaged.contains("annals_export") {
        return;
    }
    let fresh = Annals::new();
    fresh.run(["import", &file]).fails(2, says);
    assert!(fresh.log().is_empty());
    fresh.feed(["import", "-"], &damaged).fails(2, says);
}

/// Returns a text without one of its lines, counted from 1.
fn without(text: &str, line: usize) -> String {
    let lines = text.split_inclusive('\n').enumerate().filter(|(index, _)| index + 1 != line);
    lines.map(|(_, line)| line).collect()
}

#[test]
fn a_damaged_compressed_export_is_refused_before_anything_is_stored() {
    let (annals, text) = exported();
    annals.ok(["export", "--topic", "wide", "-o", "log.jsonl.zst"]);
    let whole = fs::read(annals.path("log.jsonl.zst")).unwrap();
    assert!(whole.len() < text.len() / 2, "{} of {} bytes", whole.len(), text.len());
    let mut changed = whole.clone();
    let middle = changed.len() / 2;
    changed[middle] ^= 0x55;
    let other = Annals::new();
    for (bytes, says) in
        [(&whole[..whole.len() - 9], "the zstd data end early"), (&changed, "the zstd data can't be read")]
    {
        let file = annals.file("damaged.zst", bytes);
        other.run(["import", &file, "--restore"]).fails(2, says);
        other.run(["import", &file]).fails(2, says);
    }
    assert!(other.log().is_empty() && other.json(["topic", "list"]).len() == 1);
}

#[test]
fn a_restore_that_was_cut_off_goes_on() {
    let (_, text) = exported();
    let other = Annals::new();
    let run = other.feed(["import", "-", "--restore"], &without(&text, text.lines().count()));
    run.fails(
        2,
        "the last line is no manifest; the file was cut off or changed: make the export anew (4 lines were stored now",
    );
    let counts: Value = serde_json::from_str(&other.feed(["import", "-", "--restore", "--json"], &text).out).unwrap();
    assert_eq!((&counts["imported"], &counts["skipped"], &counts["rows"]), (&json!(0), &json!(4), &json!(4)));
    assert_eq!(other.ok(["export", "--topic", "wide"]), text);
}

#[test]
fn empty_lines_before_an_export_are_passed_over() {
    let (annals, text) = exported();
    let other = Annals::new();
    let damaged = format!("\n \n{}", text.replacen("\"data\":7", "\"data\":8", 1));
    let run = other.run(["import", &annals.file("damaged", &damaged)]);
    assert!(run.err.contains("nothing was stored"), "{}", run.err);
    run.fails(2, "line 4: invalid hash");
    let run = other.run(["import", &annals.file("whole", format!("\n\n{text}")), "--restore"]);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
    assert_eq!(other.ok(["export", "--topic", "wide"]), text);
}

#[test]
fn what_is_said_of_a_stream_is_not_lost_where_the_lines_of_an_export_were_moved() {
    let annals = Annals::new();
    annals.ok(["append", "t", "s", "--type", "A", "--data", "1"]);
    annals.ok(["stream", "metadata", "s", "--set", r#"{"k":1}"#]);
    let text = annals.ok(["export"]);
    let mut lines: Vec<&str> = text.split_inclusive('\n').collect();
    let row = lines.iter().position(|line| line.contains("\"row\":\"streams\"")).unwrap();
    let row = lines.remove(row);
    lines.insert(1, row);
    let other = Annals::new();
    other
        .feed(["import", "-", "--restore"], &lines.concat())
        .fails(2, "describes a stream that no line before it begins");
}

#[test]
fn a_restore_goes_to_the_topic_that_is_named() {
    let (annals, text) = exported();
    let other = Annals::new();
    // That one keeps the configuration, which could not be read any more.
    other.feed(["import", "-", "--restore", "--topic", "topics"], &text).fails(2, "change it with `annals topic`");
    assert_eq!(other.json(["topic", "list"]).len(), 1);
    other.feed(["import", "-", "--restore", "--topic", "copy"], &text);
    other.feed(["import", "-", "--restore", "--url", &format!("{}?topic=third", other.url("store.db"))], &text);
    for topic in ["copy", "third"] {
        let copy = other.ok(["export", "--topic", topic]);
        let rest = |text: &str| text.split_once('\n').unwrap().1.split_once("\"rows_hash\"").unwrap().0.to_owned();
        assert_eq!(rest(&copy), rest(&text), "{topic}");
    }
    // Readers that are gone at the original are gone after the next restore.
    let url = format!("{}?topic=wide", annals.url("store.db"));
    assert_eq!(annals.run(["relay", "--name", "reader", "--to", "stdout", "--until-caught-up", "--url", &url]).code, 0);
    let restore = |text: &str| assert_eq!(other.feed(["import", "-", "--restore", "--topic", "copy"], text).code, 0);
    let readers = || other.json(["subscriptions", "--topic", "copy"]).len();
    restore(&annals.ok(["export", "--url", &url]));
    assert_eq!(readers(), 1);
    restore(&text);
    assert_eq!(readers(), 0);
}

#[rstest]
fn a_restore_leaves_a_topic_that_has_gone_on_as_it_is(#[values(true, false)] is_file: bool) {
    let (_, text) = exported();
    let other = Annals::new();
    assert_eq!(other.feed(["import", "-", "--restore"], &text).code, 0);
    let topic = ["--topic", "wide"];
    other.ok(["append", "order", "order-1", "--type", "A", "--data", "1"].iter().chain(&topic));
    let relay = ["relay", "--name", "reader", "--to", "stdout", "--until-caught-up"];
    assert_eq!(other.run(relay.iter().chain(&topic)).code, 0);
    let before = other.ok(["export"].iter().chain(&topic));
    let file = other.file("old", &text);
    let run = if is_file {
        other.run(["import", &file, "--restore"])
    } else {
        other.feed(["import", "-", "--restore"], &text)
    };
    run.fails(3, "and the export ends at");
    assert_eq!(other.ok(["export"].iter().chain(&topic)), before);
}

#[rstest]
#[case::stream(&["--stream", "order-1"], 3)]
#[case::types(&["--type", "A", "--type", "B"], 4)]
#[case::category(&["--aggregate-type", "bill"], 0)]
#[case::after(&["--after", "1"], 2)]
#[case::since(&["--since", "2999-01-01"], 0)]
#[case::until(&["--until", "2020-01-01"], 0)]
fn a_part_of_a_log_is_exported_and_imported_beside_others(
    #[case] selection: &[&str],
    #[case] events: usize,
    #[values("json", "cloudevents")] shape: &str,
) {
    let (annals, whole) = exported();
    let args = ["export", "--topic", "wide", "--zstd", "-o", "part", "--format", shape];
    annals.ok(args.iter().chain(selection));
    let other = Annals::new();
    other.put("elsewhere", "A", "1");
    let file = annals.path("part").display().to_string();
    other.run(["import", &file, "--restore"]).fails(2, "the export is a part of a log");
    let counts = &other.json(["import", &file])[0];
    assert_eq!((&counts["imported"], &counts["skipped"]), (&json!(events), &json!(0)));
    assert_eq!(other.json(["import", &file])[0]["skipped"], json!(events));
    assert_eq!(other.log().len(), 1 + events);
    // The hash is that of the events that were selected.
    assert_eq!(whole.contains(counts["hash"].as_str().unwrap()), events == 4, "{counts}");
}

#[test]
fn cloud_events_of_others_become_events() {
    let annals = Annals::new();
    let id = "0198c0de-0000-7000-8000-000000000009";
    let lines = [
        json!({"specversion": "1.0", "id": id, "source": "/shop", "type": "com.example.Paid", "subject": "order-7",
            "time": "2026-01-31T09:30:00Z", "data": {"total": 12}, "traceparent": "00-ab", "tags": "x", "hash": 7}),
        json!({"specversion": "1.0", "id": "17", "source": "/shop", "type": "Sent", "data_base64": "AP8=",
            "datacontenttype": "application/protobuf"}),
        json!({"specversion": "1.0", "id": "17", "source": "/bank", "type": "Booked", "data": "<a/>",
            "datacontenttype": "text/xml", "dataschema": null, "aggregatetype": "account"}),
    ];
    let text = lines.map(|line| line.to_string()).join("\n");
    let import = |text: &str| annals.feed(["import", "-", "--json", "--aggregate-type", "shop"], text);
    assert!(import(&text).out.contains("\"imported\":3,"), "{:?}", import(&text));
    assert!(import(&text).out.contains("\"skipped\":3"));
    let log = annals.log();
    let kept = |n: usize| log[n]["metadata"]["cloudevents"].clone();
    assert_eq!((&log[0]["event_id"], &log[0]["aggregate_id"]), (&json!(id), &json!("order-7")));
    assert_eq!((&log[0]["data"], &log[0]["tags"]), (&json!({"total": 12}), &json!([])));
    assert_eq!(kept(0), json!({"hash": 7, "id": id, "source": "/shop", "tags": "x", "traceparent": "00-ab"}));
    assert_eq!(log[0]["metadata"]["occurred_at"], "2026-01-31T09:30:00Z");
    assert_eq!((&log[1]["aggregate_id"], &log[1]["aggregate_type"]), (&json!("/shop"), &json!("shop")));
    assert_eq!((&log[1]["data"], &log[1]["content_type"]), (&json!("AP8="), &json!("application/protobuf")));
    // As docs/export.md says: of the source, a null byte and the id.
    assert_eq!(log[1]["event_id"], "9111af2a-9488-589c-b8a7-e1d640d1ddd5");
    assert_ne!(log[1]["event_id"], log[2]["event_id"]);
    assert_eq!(
        kept(2),
        json!({"aggregatetype": "account", "datacontenttype": "text/xml", "id": "17", "source": "/bank"})
    );
    let import = |line: Value| annals.feed(["import", "-"], &line.to_string());
    import(json!({"specversion": "0.3", "id": "1", "source": "/a", "type": "A"}))
        .fails(2, "line 1: invalid specversion");
    import(json!({"specversion": "1.0", "id": "1", "type": "A"}))
        .fails(2, "line 1: invalid source: the event has none");
    let both = json!({"specversion": "1.0", "id": "1", "source": "/a", "type": "A", "data": 1, "data_base64": "AA=="});
    import(both).fails(2, "line 1: invalid data: the event has data_base64 too");
}

#[test]
fn what_a_relay_publishes_can_be_imported() {
    let annals = Annals::new();
    annals.ok(["append", "t", "s", "--type", "A", "--data", "[1]", "--tag", "x", "--metadata", "{\n\"a\": 1}"]);
    let lines = annals.run(["relay", "--name", "r", "--to", "stdout", "--until-caught-up"]).out;
    let other = Annals::new();
    assert_eq!(other.feed(["import", "-"], &lines).code, 0, "{lines}");
    let (one, two) = (&annals.log()[0], &other.log()[0]);
    for field in ["event_id", "aggregate_id", "aggregate_type", "event_type", "data", "tags", "actor"] {
        assert_eq!(one[field], two[field], "{field}");
    }
    assert_eq!((&two["metadata"]["a"], &two["metadata"]["cloudevents"]), (&json!(1), &Value::Null));
}

#[test]
fn an_export_of_cloud_events_is_what_cloud_events_allow() {
    let (annals, text) = exported();
    let lines = annals.json(["export", "--topic", "wide", "--format", "cloudevents"]);
    assert_eq!(lines.len(), text.lines().count());
    let mut ids = std::collections::HashSet::new();
    for line in &lines {
        for (name, value) in line.as_object().unwrap().iter().filter(|(name, _)| *name != "data") {
            assert!(name.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit()), "{name}");
            assert!(value.is_string() || value.as_i64().is_some_and(|n| i32::try_from(n).is_ok()), "{name}: {value}");
        }
        assert!(ids.insert(format!("{} {}", line["source"], line["id"])), "{line}");
    }
    let types: Vec<_> = lines.iter().map(|line| line["type"].as_str().unwrap()).collect();
    assert_eq!((types[0], types[1]), ("annals.export.v1", "A"));
    assert_eq!(types.iter().filter(|name| **name == "annals.row.v1").count(), 4);
    assert_eq!(types.last(), Some(&"annals.manifest.v1"));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_is_told_and_a_reader_that_has_gone_is_not() {
    let (annals, _) = exported();
    for args in [&["export", "-o", "/dev/full"][..], &["export", "--zstd", "-o", "/dev/full"]] {
        annals.run(args).fails(1, "can't write /dev/full: No space left on device");
    }
    let full = Stdio::from(fs::OpenOptions::new().write(true).open("/dev/full").unwrap());
    Run::of(annals.command(["export"]).stdout(full).spawn().unwrap()).fails(1, "No space left on device");
    let mut child = annals.command(["export", "--zstd"]).spawn().unwrap();
    drop(child.stdout.take());
    let run = Run::of(child);
    assert_eq!((run.code, run.err.as_str()), (0, ""));
}

#[tokio::test]
async fn the_header_says_which_log_it_is() {
    let annals = Annals::new();
    annals.put("s", "A", "1");
    annals.ok(["reincarnate"]);
    let store = Store::connect(&annals.url("store.db")).await.unwrap();
    let header: Value = serde_json::from_str(annals.ok(["export"]).lines().next().unwrap()).unwrap();
    let incarnation = store.topic().incarnation.to_string();
    assert_eq!(
        header,
        json!({"annals_export": 1, "topic": "default", "incarnation": incarnation, "partitions": 1,
        "selection": null})
    );
    assert_eq!(store.query(Query::new()).await.unwrap().len(), 1);
    store.close().await;
}
