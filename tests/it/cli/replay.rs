//! Read models from a file of SQL.

use std::process::Stdio;

use annals::{FromValue, Store};
use serde_json::{Value, json};

use super::{Annals, Run};

/// A read model of what orders hold: one row for each.
fn totals() -> Value {
    json!({
        "name": "totals",
        "create": ["CREATE TABLE totals (id TEXT PRIMARY KEY, amount BIGINT NOT NULL, by TEXT)"],
        "clear": ["DELETE FROM totals"],
        "on": {"Added": [
            "INSERT INTO totals VALUES (:aggregate_id, :data.amount, :metadata.by)
             ON CONFLICT (id) DO UPDATE SET amount = totals.amount + excluded.amount"
        ]},
    })
}

/// Reads the first column of what a statement selects.
async fn column<T: FromValue>(annals: &Annals, sql: &str) -> Vec<T> {
    let store = Store::connect(&annals.url("store.db")).await.unwrap();
    let rows = store.select(sql, &[]).await.unwrap();
    store.close().await;
    rows.iter().map(|row| row.get(0).unwrap()).collect()
}

const TOTALS: &str = "SELECT id || '=' || amount FROM totals ORDER BY id";

fn replay(annals: &Annals, projection: &Value) -> Run {
    let file = annals.file("projection.json", projection.to_string());
    annals.run(["replay", &file])
}

#[tokio::test]
async fn a_file_builds_a_read_model_goes_on_and_builds_it_again() {
    let annals = Annals::new();
    annals.put("a", "Added", r#"{"amount": 2}"#);
    annals.put("b", "Added", r#"{"amount": 5}"#);
    annals.put("b", "Other", r#"{"amount": 100}"#);
    let file = annals.file("totals.json", totals().to_string());
    let said = annals.json(["replay", &file]).remove(0);
    assert_eq!((&said["projection"], &said["version"]), (&json!("totals"), &json!(1)));
    assert_eq!((&said["events"], &said["position"]), (&json!(2), &json!(3)));
    assert_eq!(column::<String>(&annals, TOTALS).await, ["a=2", "b=5"]);

    annals.put("a", "Added", r#"{"amount": 40}"#);
    assert!(annals.ok(["replay", &file]).starts_with("totals@1: applied 1 event in "));
    assert!(annals.ok(["replay", &file]).starts_with("totals@1: applied 0 events in "));
    assert_eq!(column::<String>(&annals, TOTALS).await, ["a=42", "b=5"]);

    let store = Store::connect(&annals.url("store.db")).await.unwrap();
    let mut transaction = store.begin().await.unwrap();
    transaction.execute("UPDATE totals SET amount = 0", &[]).await.unwrap();
    transaction.commit().await.unwrap();
    store.close().await;
    assert_eq!(annals.json(["replay", &file, "--rebuild"])[0]["events"], json!(3));
    assert_eq!(column::<String>(&annals, TOTALS).await, ["a=42", "b=5"]);

    let listed = annals.json(["projections", "totals"]).remove(0);
    assert_eq!((&listed["state"], &listed["subscription"]["lag"]), (&json!("active"), &json!(0)));
}

#[tokio::test]
async fn a_statement_that_fails_names_its_event_and_leaves_everything_as_it_was() {
    let annals = Annals::new();
    annals.put("a", "Added", r#"{"amount": 2}"#);
    replay(&annals, &totals());
    annals.put("a", "Added", r#"{"amount": 3}"#);
    annals.put("a", "Added", r#"{"amount": null}"#);
    let failed = replay(&annals, &totals());
    failed.fails(1, "at position 3 of lane 1: on.Added, statement 1, INSERT INTO totals");
    failed.fails(1, "NOT NULL");
    assert_eq!(column::<String>(&annals, TOTALS).await, ["a=2"]);
    assert_eq!(annals.json(["projections"])[0]["subscription"]["lag"], json!(2));

    // A file that is mended goes on.
    let mut mended = totals();
    mended["on"]["Added"][0] = json!("UPDATE totals SET amount = amount + coalesce(:data.amount, 0)");
    assert_eq!(replay(&annals, &mended).code, 0);
    assert_eq!(column::<String>(&annals, TOTALS).await, ["a=5"]);
}

#[test]
fn tables_that_cannot_be_created_leave_nothing() {
    for create in ["CREATE TABEL t (a)", "CREATE TABLE b (a); CREATE TABLE c (a)"] {
        let annals = Annals::new();
        let mut wrong = totals();
        wrong["create"].as_array_mut().unwrap().push(json!(create));
        replay(&annals, &wrong).fails(1, &format!("create, statement 2, {create}"));
        assert!(annals.json(["projections"]).is_empty());
        let mended = replay(&annals, &totals());
        assert_eq!(mended.code, 0, "{mended:?}");
    }
}

#[test]
fn a_wrong_file_is_refused_before_anything_is_written() {
    let annals = Annals::new();
    let with = |field: &str, value: Value| {
        let mut file = totals();
        file[field] = value;
        file
    };
    let on = |sql: &str| with("on", json!({"Added": ["SELECT 1", sql]}));
    for (file, says) in [
        (on("INSERT INTO totals VALUES (:amount)"), "on.Added, statement 2: there is no parameter :amount"),
        (on("INSERT INTO totals VALUES (:event_type.x)"), ":event_type has no parts"),
        (on("INSERT INTO totals VALUES ('a)"), "on.Added, statement 2: ' does not end"),
        (on(" "), "the statement is empty"),
        (with("on", json!({})), "on: it names no event type"),
        (with("on", json!({"Added": "SELECT 1"})), "invalid type: string"),
        (with("clear", json!([])), "clear: say how"),
        (
            with("clear", json!(["DELETE FROM totals WHERE id = :aggregate_id"])),
            "clear, statement 1: it has a parameter",
        ),
        (with("filter", json!({"event_types": ["Removed"]})), "on.Added: the filter lets no event of this type"),
        (with("filter", json!({"types": ["Added"]})), "unknown field `types`"),
        (with("version", json!(0)), "versions begin with 1"),
        (with("name", json!("a@b")), "a name has no @"),
        (json!([1]), "not a json object"),
    ] {
        replay(&annals, &file).fails(2, says);
        assert!(annals.json(["projections"]).is_empty(), "{says}");
    }
    let broken = annals.file("broken.json", "{\n  \"name\": \"a\",\n  \"create\": [,]\n}");
    annals.run(["replay", &broken]).fails(2, "broken.json: expected value at line 3 column 14");
    annals.run(["replay", "missing.json"]).fails(2, "can't read missing.json");
    let another = with("filter", json!({"event_types": ["Added", "Removed"]}));
    assert_eq!(replay(&annals, &totals()).code, 0);
    replay(&annals, &another).fails(3, "totals@1");
}

#[tokio::test]
async fn what_events_hold_is_bound_and_never_becomes_sql() {
    let annals = Annals::new();
    let bobby = "Robert'); DROP TABLE told; -- :lane ? ??";
    annals.put("a", "Told", &json!({"name": bobby, "of": {"n": [1, 2.5]}, "yes": true}).to_string());
    annals.put("b", "Else", "7");
    let file = json!({
        "name": "told",
        "create": ["CREATE TABLE told (what TEXT)"],
        "clear": ["DELETE FROM told"],
        "on": {
            "Told": [
                "INSERT INTO told VALUES (:data.name)",
                "INSERT INTO told VALUES (typeof(:data.of.n.0) || ' ' || typeof(:data.of.n.1) || ' ' || :data.of)",
                "INSERT INTO told SELECT ':lane?' || typeof(:data.none) || :data.yes || :event_version || :lane -- :no ?"
            ],
            "*": ["INSERT INTO told VALUES (:event_type || :aggregate_type || :data || :position)"]
        },
    });
    let ran = replay(&annals, &file);
    assert_eq!(ran.code, 0, "{ran:?}");
    let told = column::<String>(&annals, "SELECT what FROM told ORDER BY rowid").await;
    assert_eq!(told, [bobby, r#"integer real {"n":[1,2.5]}"#, ":lane?null111", "Elseorder72"]);
}

#[tokio::test]
async fn following_goes_on_until_it_is_interrupted() {
    let annals = Annals::new();
    let file = annals.file("totals.json", totals().to_string());
    annals.put("a", "Added", r#"{"amount": 1}"#);
    let child = annals.command(["replay", &file, "--follow", "--json"]).stdout(Stdio::piped()).spawn().unwrap();
    annals.put("a", "Added", r#"{"amount": 2}"#);
    let store = Store::connect(&annals.url("store.db")).await.unwrap();
    let shows = async {
        while store.select("SELECT 1 FROM totals WHERE amount = 3", &[]).await.is_ok_and(|rows| rows.is_empty())
            || store.active_projection("totals").await.unwrap().is_none()
        {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_mins(1), shows).await.unwrap();
    store.close().await;
    let kill = std::process::Command::new("kill").arg(child.id().to_string()).status().unwrap();
    assert!(kill.success());
    let ended = Run::of(child);
    ended.fails(130, "interrupted: what was applied is saved");
    assert!(ended.out.starts_with(r#"{"events":"#), "{ended:?}");
    // The lease is given back, so that nobody waits for it.
    assert_eq!(annals.json(["projections"])[0]["subscription"]["is_running"], json!(false));
}

/// Returns the text of the first block of the page in a language.
fn block<'a>(page: &'a str, language: &str) -> &'a str {
    let start = page.split_once(&format!("```{language}\n")).unwrap().1;
    start.split_once("```").unwrap().0
}

#[tokio::test]
async fn the_example_of_the_page_runs() {
    let annals = Annals::new();
    let page = include_str!("../../../docs/projections.md").split_once("## From the command line").unwrap().1;
    annals.file("balances.json", block(page, "json"));
    annals.ok(["append", "account", "alice", "--type", "MoneyDeposited", "--data", r#"{"amount": 500}"#]);
    annals.ok(["append", "account", "alice", "--type", "MoneyWithdrawn", "--data", r#"{"amount": 120}"#]);
    let command = block(page, "sh").split('#').next().unwrap();
    let ran = annals.ok(command.split_whitespace().skip(1));
    assert!(ran.starts_with("balances@1: applied 2 events"), "{ran}");
    assert_eq!(column::<i64>(&annals, "SELECT amount FROM balances").await, [380]);
}
