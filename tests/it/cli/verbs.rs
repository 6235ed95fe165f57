//! Every verb.

use serde_json::{Value, json};

use super::Annals;

#[test]
fn an_appended_event_is_read_with_its_fields() {
    let annals = Annals::new();
    let id = "0198c0de-0000-7000-8000-000000000001";
    annals.ok([
        "append",
        "order",
        "order-1",
        "--type",
        "Placed",
        "--data",
        r#"{"total": 0.10}"#,
        "--metadata",
        r#"{"a":1}"#,
        "--tag",
        "b:2",
        "--tag",
        "a:1",
        "--event-id",
        id,
        "--correlation",
        id,
        "--causation",
        id,
        "--event-version",
        "3",
    ]);
    let event = annals.json(["read", "order-1"]).remove(0);
    assert_eq!(event["event_id"], id);
    assert_eq!((&event["aggregate_id"], &event["aggregate_type"]), (&json!("order-1"), &json!("order")));
    assert_eq!((&event["position"], &event["aggregate_version"]), (&json!(1), &json!(1)));
    assert_eq!((&event["event_type"], &event["event_version"]), (&json!("Placed"), &json!(3)));
    assert_eq!((&event["correlation_id"], &event["causation_id"]), (&json!(id), &json!(id)));
    assert_eq!((&event["metadata"], &event["tags"]), (&json!({"a": 1}), &json!(["a:1", "b:2"])));
    assert!(annals.ok(["read", "order-1", "--json"]).contains(r#""data":{"total": 0.10}"#));
}

#[test]
fn actor_actor_type_and_source_have_the_documented_defaults() {
    let annals = Annals::new();
    annals.put("order-1", "Placed", "1");
    annals.ok([
        "append",
        "order",
        "order-1",
        "--type",
        "Paid",
        "--data",
        "1",
        "--actor",
        "bot",
        "--actor-type",
        "service",
    ]);
    annals
        .feed(["import", "-", "--name", "n"], r#"{"aggregate_id":"a","aggregate_type":"b","event_type":"c","data":1}"#);
    let who = |event: &Value| [event["actor"].clone(), event["actor_type"].clone(), event["source"].clone()];
    let log = annals.log();
    assert_eq!(who(&log[0]), [json!("ada"), json!("user"), json!("api")]);
    assert_eq!(who(&log[1]), [json!("bot"), json!("service"), json!("api")]);
    assert_eq!(who(&log[2]), [json!(null), json!("system"), json!("import")]);
}

#[test]
fn append_takes_json_lines_from_standard_input_all_or_none() {
    let annals = Annals::new();
    let good = "{\"event_type\":\"A\",\"data\":1}\n\n{\"event_type\":\"B\",\"data\":null,\"tags\":[\"t\"]}\n";
    assert_eq!(annals.feed(["append", "order", "order-1", "--expect", "none"], good).code, 0);
    let bad = "{\"event_type\":\"C\",\"data\":1}\n{\"event_type\":\"D\"}\n";
    annals.feed(["append", "order", "order-1"], bad).fails(2, "line 2: invalid json: missing field `data`");
    let elsewhere = r#"{"event_type":"C","data":1,"aggregate_id":"order-2"}"#;
    annals.feed(["append", "order", "order-1"], elsewhere).fails(2, "another stream");
    assert_eq!(annals.json(["read", "order-1"]).len(), 2);
}

#[test]
fn append_takes_data_from_a_file_or_standard_input_and_bytes_that_are_not_json() {
    let annals = Annals::new();
    let file = annals.file("data.json", "{\"a\":\n 1}\n");
    annals.put("order-1", "File", &format!("@{file}"));
    assert_eq!(annals.feed(["append", "order", "order-1", "--type", "Stdin", "--data", "-"], "[2]").code, 0);
    let bytes = annals.file("data.bin", [0u8, 255, 1]);
    let data = format!("@{bytes}");
    annals.ok(["append", "order", "order-1", "--type", "Bytes", "--data", &data, "--content-type", "application/x"]);
    let events = annals.json(["read", "order-1"]);
    assert_eq!((&events[0]["data"], &events[1]["data"]), (&json!({"a": 1}), &json!([2])));
    assert_eq!((&events[2]["data"], &events[2]["content_type"]), (&json!("AP8B"), &json!("application/x")));
    annals.run(["append", "order", "order-1", "--type", "T", "--data", "@absent"]).fails(2, "can't read absent");
}

#[test]
fn a_stale_expectation_is_a_conflict_and_stores_nothing() {
    let annals = Annals::new();
    let append = |expect: &str| annals.run(["append", "o", "1", "--type", "T", "--data", "1", "--expect", expect]);
    append("exists").fails(3, "is at version 0");
    assert_eq!(append("none").code, 0);
    append("none").fails(3, "is at version 1");
    append("0").fails(3, "is at version 1");
    append("7").fails(3, "expects version 7");
    assert_eq!(append("1").code, 0);
    assert_eq!(append("exists").code, 0);
    assert_eq!(append("any").code, 0);
    annals.run(["append", "o", "1", "--expect=-1"]).fails(2, "any, none, exists");
    assert_eq!(annals.log().len(), 4);
}

#[test]
fn without_events_append_only_checks_the_version() {
    let annals = Annals::new();
    annals.put("order-1", "Placed", "1");
    assert_eq!(annals.feed(["append", "order", "order-1", "--expect", "1"], "").code, 0);
    annals.feed(["append", "order", "order-1", "--expect", "2"], "").fails(3, "is at version 1");
    assert_eq!(annals.log().len(), 1);
}

#[test]
fn a_repeated_command_gives_the_first_outcome_and_another_request_is_a_conflict() {
    let annals = Annals::new();
    let id = "0198c0de-0000-7000-8000-000000000002";
    let append = |data: &str| {
        annals.run([
            "append",
            "o",
            "1",
            "--type",
            "T",
            "--data",
            data,
            "--command-id",
            id,
            "--command-type",
            "Do",
            "--json",
        ])
    };
    let outcome = |duplicate: bool| {
        json!({"aggregate_id": "1", "aggregate_version": 1, "lane": 1, "first_position": 1, "last_position": 1,
            "duplicate": duplicate})
    };
    assert_eq!(serde_json::from_str::<Value>(&append("1").out).unwrap(), outcome(false));
    assert_eq!(serde_json::from_str::<Value>(&append("1").out).unwrap(), outcome(true));
    append("2").fails(3, "already used");
    assert_eq!(annals.log().len(), 1);
}

#[test]
fn read_takes_a_range_a_direction_a_limit_and_a_time() {
    let annals = Annals::new();
    for n in 1..=5 {
        annals.put("s", "T", &n.to_string());
    }
    let versions = |args: &[&str]| -> Vec<i64> {
        let events = annals.json([&["read", "s"], args].concat());
        events.iter().map(|event| event["aggregate_version"].as_i64().unwrap()).collect()
    };
    assert_eq!(versions(&[]), [1, 2, 3, 4, 5]);
    assert_eq!(versions(&["--from", "2", "--to", "4"]), [2, 3, 4]);
    assert_eq!(versions(&["--since", "3"]), [4, 5]);
    assert_eq!(versions(&["--backward", "--limit", "2"]), [5, 4]);
    let third = annals.log()[2]["event_timestamp"].as_str().unwrap().to_owned();
    assert_eq!(versions(&["--as-of", &third]), [1, 2, 3]);
    assert_eq!(versions(&["--as-of", "2020-01-01"]), [0i64; 0]);
    annals.run(["read", "s", "--as-of", "yesterday"]).fails(2, "RFC 3339");
    annals.run(["read", "absent"]).fails(4, "\"absent\" does not exist");
}

#[test]
fn query_combines_its_filters() {
    let annals = Annals::new();
    let append = |stream: &str, rest: &[&str]| annals.ok([&["append", "order", stream, "--type"], rest].concat());
    append("s1", &["A", "--data", r#"{"c":{"id":7}}"#, "--tag", "x", "--tag", "y", "--actor", "bob"]);
    append("s1", &["B", "--data", r#"{"c":{"id":"7"}}"#, "--tag", "x", "--metadata", r#"{"host":"h"}"#]);
    append("s2", &["A", "--data", "1", "--correlation", "0198c0de-0000-7000-8000-000000000003"]);
    let positions = |args: &[&str]| -> Vec<i64> {
        let events = annals.json([&["query"], args].concat());
        events.iter().map(|event| event["position"].as_i64().unwrap()).collect()
    };
    assert_eq!(positions(&["--type", "A"]), [1, 3]);
    assert_eq!(positions(&["--type", "A", "--type", "B", "--backward", "--limit", "2"]), [3, 2]);
    assert_eq!(positions(&["--type", "A", "--stream", "s1"]), [1]);
    assert_eq!(positions(&["--tag", "x"]), [1, 2]);
    assert_eq!(positions(&["--tag", "x", "--tag", "y"]), [1]);
    assert_eq!(positions(&["--actor", "bob"]), [1]);
    assert_eq!(positions(&["--aggregate-type", "order", "--after", "1", "--until", "2"]), [2]);
    assert_eq!(positions(&["--correlation", "0198c0de-0000-7000-8000-000000000003"]), [3]);
    assert_eq!(positions(&["--where", "data.c.id=7"]), [1]);
    assert_eq!(positions(&["--where", "data.c.id=\"7\""]), [2]);
    assert_eq!(positions(&["--where", "metadata.host=h"]), [2]);
    assert_eq!(positions(&["--to", "2020-01-01"]), [0i64; 0]);
    assert_eq!(positions(&["--from", "2020-01-01", "--after", "2"]), [3]);
    let id = annals.log()[1]["event_id"].as_str().unwrap().to_owned();
    assert_eq!(positions(&["--event-id", &id]), [2]);
    annals.run(["query", "--event-id", "0198c0de-0000-7000-8000-00000000ffff"]).fails(4, "does not exist");
    annals.run(["query", "--where", "c.id=7"]).fails(2, "data. or metadata.");
}

#[test]
fn streams_are_listed_by_prefix_and_type_page_by_page() {
    let annals = Annals::new();
    let line = |n: usize| {
        format!("{{\"aggregate_id\":\"s-{n:04}\",\"aggregate_type\":\"t{}\",\"event_type\":\"A\",\"data\":1}}\n", n % 2)
    };
    let lines: String = (0..1200).map(line).collect();
    assert_eq!(annals.feed(["import", "-", "--name", "n"], &lines).code, 0);
    assert_eq!(annals.json(["streams"]).len(), 1200);
    assert_eq!(annals.json(["streams", "s-11"]).len(), 100);
    assert_eq!(annals.json(["streams", "--aggregate-type", "t1", "--limit", "7"]).len(), 7);
    let page = annals.json(["streams", "--after", "s-0004", "--limit", "1"]);
    assert_eq!((&page[0]["aggregate_id"], &page[0]["version"]), (&json!("s-0005"), &json!(1)));
    assert!(annals.ok(["streams", "--limit", "1"]).starts_with("stream  type  version"));
}

#[test]
fn a_stream_is_deleted_undeleted_and_reused() {
    let annals = Annals::new();
    annals.put("s", "A", "1");
    annals.run(["stream", "undelete", "s"]).fails(3, "not deleted");
    annals.run(["stream", "delete", "s", "--expect", "5"]).fails(3, "is at version 1");
    annals.ok(["stream", "delete", "s", "--expect", "1"]);
    annals.run(["read", "s"]).fails(4, "is deleted");
    assert_eq!(annals.json(["read", "s", "--include-deleted"]).len(), 2);
    assert!(annals.json(["streams"]).is_empty());
    assert_eq!(annals.json(["streams", "--deleted"]).len(), 1);
    assert!(annals.json(["stream", "show", "s"])[0]["deleted_at"].is_string());
    annals.run(["append", "order", "s", "--type", "B", "--data", "1"]).fails(3, "is deleted");
    annals.ok(["stream", "undelete", "s"]);
    assert_eq!(annals.json(["read", "s"]).len(), 3);
    annals.ok(["stream", "delete", "s"]);
    assert_eq!(annals.json(["stream", "reuse", "s"])[0]["aggregate_version"], 5);
    assert_eq!(annals.json(["read", "s"]).len(), 1);
    annals.run(["stream", "delete", "absent"]).fails(4, "does not exist");
}

#[test]
fn a_streams_metadata_has_a_version_of_its_own() {
    let annals = Annals::new();
    annals.put("s", "A", "1");
    assert_eq!(annals.ok(["stream", "metadata", "s"]), "none\n");
    let set = annals.json(["stream", "metadata", "s", "--set", r#"{"owner":"ada"}"#, "--expect", "0"]);
    assert_eq!(set[0], json!({"aggregate_id": "s", "metadata": {"owner": "ada"}, "metadata_version": 1}));
    annals.run(["stream", "metadata", "s", "--set", "{}", "--expect", "0"]).fails(3, "is at version 1");
    annals.run(["stream", "metadata", "s", "--set", "[]"]).fails(2, "not a json object");
    annals.run(["stream", "metadata", "absent"]).fails(4, "does not exist");
}

#[test]
fn snapshots_are_saved_shown_and_pruned() {
    let annals = Annals::new();
    annals.put("s", "A", "1");
    annals.put("s", "A", "2");
    annals.run(["snapshot", "show", "s"]).fails(4, "no such snapshot");
    assert_eq!(annals.json(["snapshot", "save", "s", "--at", "1", "--state", "{\"n\":1}"])[0], json!({"saved": true}));
    assert_eq!(
        annals.json(["snapshot", "save", "s", "--at", "2", "--state", "[2]", "--schema", "2"])[0]["saved"],
        true
    );
    assert_eq!(annals.json(["snapshot", "save", "s", "--at", "1", "--state", "3"])[0]["saved"], false);
    let shown = |args: &[&str]| annals.json([&["snapshot", "show", "s"], args].concat()).remove(0);
    assert_eq!((&shown(&[])["state"], &shown(&[])["aggregate_version"]), (&json!([2]), &json!(2)));
    assert_eq!(shown(&["--at", "1"])["state"], json!({"n": 1}));
    assert_eq!(shown(&["--schema", "1"])["aggregate_version"], 1);
    annals.run(["snapshot", "save", "s", "--at", "9", "--state", "1"]).fails(2, "no version 9");
    assert_eq!(annals.json(["snapshot", "prune", "s", "--before", "2"])[0], json!({"pruned": 1}));
}

#[test]
fn indexes_are_added_listed_and_dropped() {
    let annals = Annals::new();
    let added = annals.json(["index", "add", "data.customer.id"]).remove(0);
    assert_eq!(added["path"], "data.customer.id");
    assert_eq!(annals.json(["index", "list"]), [added]);
    annals.run(["index", "add", "customer.id"]).fails(2, "data. or metadata.");
    annals.run(["index", "add", "data"]).fails(2, "only Postgres");
    annals.ok(["index", "drop", "data.customer.id"]);
    annals.run(["index", "drop", "data.customer.id"]).fails(4, "no index");
}

#[test]
fn health_stats_and_topics_are_shown() {
    let annals = Annals::new();
    annals.put("s", "A", "1");
    annals.put("s", "B", "1");
    annals.put("t", "A", "1");
    let health = annals.json(["health"]).remove(0);
    assert_eq!((&health["status"], &health["backend"]), (&json!("ok"), &json!("sqlite")));
    assert_eq!(health["lanes"], json!([{"lane": 1, "head": 3}]));
    let stats = annals.json(["stats"]);
    let counts = |n: usize| (stats[n]["event_type"].clone(), stats[n]["events"].clone(), stats[n]["streams"].clone());
    assert_eq!(counts(0), (json!("A"), json!(2), json!(2)));
    assert_eq!(counts(1), (json!("B"), json!(1), json!(1)));
    assert!(annals.ok(["stats"]).ends_with("3 events\n"));
    let topics = annals.json(["topic", "list"]);
    assert_eq!((&topics[0]["topic"], &topics[0]["events"]), (&json!("default"), &json!(3)));
}

#[test]
fn completions_are_printed_without_a_database() {
    let annals = Annals::bare();
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        assert!(annals.ok(["completions", shell]).contains("annals"), "{shell}");
    }
}

#[test]
fn a_table_is_aligned_and_holds_no_line_breaks() {
    let annals = Annals::new();
    annals.put("a", "Long", "{\"a\":\n1}");
    annals.put("longer-name", "L", "2");
    let table = annals.ok(["query"]);
    let lines: Vec<&str> = table.lines().collect();
    assert_eq!(lines.len(), 3, "{table}");
    let column = lines[0].find("type").unwrap();
    assert_eq!((&lines[1][column..column + 4], &lines[2][column..column + 2]), ("Long", "L "));
    assert!(lines[1].ends_with(r#"{"a": 1}"#));
}

/// A projection without a read model.
struct Nothing;

#[async_trait::async_trait]
impl annals::Projection for Nothing {
    fn name(&self) -> &'static str {
        "nothing"
    }

    async fn create(&mut self, _: &mut annals::Transaction) -> annals::ProjectionResult {
        Ok(())
    }

    async fn apply(&mut self, _: &mut annals::Transaction, _: &annals::RecordedEvent) -> annals::ProjectionResult {
        Ok(())
    }

    async fn clear(&mut self, _: &mut annals::Transaction) -> annals::ProjectionResult {
        Ok(())
    }
}

#[test]
fn projections_are_listed_with_their_lag() {
    let annals = Annals::new();
    assert_eq!(annals.ok(["projections"]), "");
    annals.put("order-1", "Placed", "1");
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = annals::Store::connect(&annals.url("store.db")).await.unwrap();
        let mut projector = store.project(Nothing);
        projector.catch_up().await.unwrap();
        projector.close().await.unwrap();
        store.close().await;
    });
    annals.put("order-1", "Placed", "2");
    let listed = annals.json(["projections"]).remove(0);
    assert_eq!(
        (&listed["name"], &listed["version"], &listed["state"]),
        (&"nothing".into(), &1.into(), &"active".into())
    );
    assert_eq!(listed["subscription"]["lag"], 1);
    let table = annals.ok(["projections", "nothing"]);
    let row: Vec<&str> = table.lines().nth(1).unwrap().split_whitespace().take(6).collect();
    assert_eq!(row, ["nothing", "1", "active", "1", "1", "no"]);
    assert_eq!(annals.ok(["projections", "other"]), "");
}

#[test]
fn what_is_not_there_shows_in_the_exit_code() {
    let annals = Annals::new();
    std::fs::create_dir(annals.path("gone")).unwrap();
    annals.ok(["topic", "create", "lost", "--connection", "sqlite:gone/far.db?migrate=auto"]);
    annals.run(["topic", "release", "lost", "case-17"]).fails(4, "no hold");
    annals.run(["topic", "create", "misspelt", "--connection", "sqlite:nofile.db"]).fails(4, "there is no database");
    assert!(!annals.path("nofile.db").exists());
    annals.run(["topic", "create", "x", "--adapter", "file", "--connection", "sqlite:x.db"]).fails(2, "it is a URL");
    annals.ok(["topic", "health"]);
    std::fs::remove_dir_all(annals.path("gone")).unwrap();
    let down = annals.run(["topic", "health"]);
    assert_eq!(down.code, 5, "{down:?}");
}

#[test]
fn topics_are_configured_and_named() {
    let annals = Annals::new();
    annals.ok(["topic", "create", "near", "--partitions", "2"]);
    annals.ok(["topic", "create", "far", "--connection", "sqlite:far.db?migrate=auto"]);
    for topic in ["near", "far", "default"] {
        annals.ok(["append", "order", "o", "--type", "Placed", "--data", "1", "--topic", topic]);
        assert_eq!(annals.json(["read", "o", "--topic", topic]).len(), 1, "{topic}");
    }
    let listed = annals.json(["topic", "list"]);
    let names: Vec<_> = listed.iter().map(|topic| topic["topic"].as_str().unwrap()).collect();
    assert_eq!(names, ["far", "near", "default", "topics"]);
    annals.ok(["topic", "update", "far", "--retention-days", "30"]);
    annals.run(["topic", "update", "far", "--retention-days", "40", "--expect", "1"]).fails(3, "version 2");
    annals.ok(["topic", "update", "far", "--unset", "retention-days"]);
    assert_eq!(annals.json(["topic", "get", "far"])[0]["retention_days"], json!(null));
    assert_eq!(annals.json(["topic", "history", "far"]).len(), 3);
    let health = annals.json(["topic", "health"]);
    assert!(health.iter().all(|backend| backend["state"] == json!("healthy")), "{health:?}");
    annals.ok(["topic", "delete", "near"]);
    annals.run(["read", "o", "--topic", "near"]).fails(3, "deleted");
    annals.run(["read", "o", "--topic", "never"]).fails(4, "there are: default, far, near, topics");
    annals.run(["topic", "create", "far"]).fails(3, "exists");
    annals.run(["topic", "create", "x", "--connection", "blob:x"]).fails(2, "memory, file, sqlite");
    annals.run(["topic", "get", "far", "--as-of", "2020-01-01"]).fails(4, "there was no topic");
    assert_eq!(annals.json(["topic", "diff", "far", "--from", "2020-01-01"]).len(), 3);
    annals.run(["topic", "diff", "never", "--from", "2020-01-01"]).fails(4, "never");
}

#[test]
fn a_database_is_used_without_its_first_topic() {
    let annals = Annals::new();
    annals.ok(["topic", "create", "default", "--retention-days", "1"]);
    let manifest = annals.json(["export"]).pop().unwrap();
    let hash = manifest["hash"].as_str().unwrap();
    annals.ok(["topic", "delete", "default"]);
    annals.ok(["topic", "purge", "default", "--expect", "2", "--log-hash", hash]);
    let history = annals.json(["topic", "history", "default"]);
    assert_eq!(history[2]["purged"], json!({"events": 0, "hash": hash}));
    assert!(annals.ok(["topic", "history", "default"]).contains(&format!("events=0 hash={hash}")));
    annals.run(["read", "o"]).fails(4, "does not exist");
    annals.ok(["topic", "create", "near"]);
    annals.ok(["append", "order", "o", "--type", "Placed", "--data", "1", "--topic", "near"]);
    assert_eq!(annals.json(["topic", "list"]).len(), 2);
}

#[test]
fn a_copy_is_made_gone_on_with_and_compared() {
    let annals = Annals::new();
    annals.put("s", "A", "1");
    let to = annals.url("copy.db");
    let copy = ["copy", &annals.url("store.db"), &format!("{to}?migrate=auto"), "--verify"];
    let lines = annals.json(copy);
    assert_eq!((&lines[0]["events"], &lines[1]["same"]), (&json!(1), &json!(true)));
    assert_eq!(lines[1]["from_hash"], lines[1]["to_hash"]);
    annals.put("s", "B", "2");
    assert_eq!(annals.json(copy)[0]["events"], json!(1));
    annals.run(["append", "order", "s", "--type", "C", "--data", "3", "--url", &to]);
    annals.run(copy).fails(3, "differs at position 3: the copy has an event there");
    annals.run(["copy", &to, &to]).fails(2, "the same database");
    annals.run(["copy", &to, "sqlite::memory:?migrate=auto", "--cutover"]).fails(2, "name a database that lasts");
    annals.run(["copy", &annals.url("none.db"), &to]).fails(4, "there is no database");
    annals.run(["copy", &annals.url("store.db"), &to, "--url", &to]).fails(2, "leave out --url");
}
