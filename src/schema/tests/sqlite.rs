//! The migrations on SQLite, and what a forger finds there.

use rusqlite::{Connection, Error, params};

use crate::schema::{bookkeeping, migrations};
use crate::sql::Dialect;

const INSERT: &str = "INTO events (lane_id, position, event_id, aggregate_id, aggregate_type, aggregate_version, event_type, \
                      event_timestamp, actor_type, source, data) VALUES (1, ?1, ?2, ?3, 't', ?4, 'made', 1700000000123456, \
                      'user', 'api', '{}')";

fn migrated() -> Connection {
    let db = Connection::open_in_memory().unwrap();
    up(&db);
    db
}

fn up(db: &Connection) {
    for migration in migrations(Dialect::Sqlite, "main") {
        db.execute_batch(&migration.up).unwrap();
    }
}

fn down(db: &Connection) {
    for migration in migrations(Dialect::Sqlite, "main").iter().rev() {
        db.execute_batch(&migration.down).unwrap();
    }
}

fn insert(db: &Connection, verb: &str, position: i64, id: u8, stream: &str, version: i64) -> Result<usize, Error> {
    db.prepare_cached(&format!("{verb} {INSERT}"))?.execute(params![position, [id; 16], stream, version])
}

fn with_one_event() -> Connection {
    let db = migrated();
    insert(&db, "INSERT", 1, 1, "a", 1).unwrap();
    db
}

fn count(db: &Connection, from: &str) -> i64 {
    db.query_row(&format!("SELECT count(*) FROM {from}"), [], |row| row.get(0)).unwrap()
}

fn refusal(db: &Connection, sql: &str) -> String {
    let refusal = db.execute(sql, []).unwrap_err().to_string();
    assert_eq!(count(db, "events WHERE data = '{}'"), 1, "{sql} did something");
    refusal
}

#[test]
fn up_down_and_up_again_leave_one_lane_and_nothing_behind() {
    let db = migrated();
    assert_eq!(count(&db, "lanes WHERE topic = 'default' AND length(incarnation) = 16"), 1);
    down(&db);
    assert_eq!(count(&db, "sqlite_master"), 0);
    up(&db);
    assert_eq!(count(&db, "lanes"), 1);
}

#[test]
fn the_table_of_migrations_can_be_asked_for_twice() {
    let db = Connection::open_in_memory().unwrap();
    db.execute_batch(&bookkeeping(Dialect::Sqlite, "main")).unwrap();
    db.execute_batch(&bookkeeping(Dialect::Sqlite, "main")).unwrap();
}

#[test]
fn the_first_lane_is_stamped_with_the_current_time() {
    let now = "CAST(strftime('%s', 'now') AS INTEGER) * 1000000";
    assert_eq!(count(&migrated(), &format!("lanes WHERE abs(created_at - {now}) < 5000000")), 1);
}

#[test]
fn events_are_neither_updated_nor_deleted() {
    let db = with_one_event();
    assert!(refusal(&db, "UPDATE events SET data = '1'").contains("UPDATE of events is refused"));
    assert!(refusal(&db, "UPDATE OR REPLACE events SET position = 1").contains("UPDATE of events is refused"));
    assert!(refusal(&db, "DELETE FROM events").contains("DELETE of events is refused"));
}

#[test]
fn tags_are_neither_updated_nor_deleted() {
    let db = with_one_event();
    db.execute("INSERT INTO event_tags VALUES (1, 'red', 1)", []).unwrap();
    assert!(refusal(&db, "UPDATE event_tags SET tag = 'blue'").contains("UPDATE of event_tags is refused"));
    assert!(refusal(&db, "DELETE FROM event_tags").contains("DELETE of event_tags is refused"));
}

#[test]
fn an_event_is_replaced_by_none_of_its_keys() {
    for verb in ["INSERT", "INSERT OR REPLACE", "INSERT OR IGNORE", "INSERT OR ROLLBACK", "INSERT OR FAIL", "REPLACE"] {
        let db = with_one_event();
        for (position, id, stream, version, key) in [
            (1, 2, "b", 1, "events.lane_id, events.position"),
            (2, 1, "b", 1, "events.lane_id, events.event_id"),
            (2, 2, "a", 1, "events.lane_id, events.aggregate_id, events.aggregate_version"),
        ] {
            let refusal = insert(&db, verb, position, id, stream, version).unwrap_err().to_string();
            assert_eq!(refusal, format!("UNIQUE constraint failed: {key}"), "{verb}");
        }
        assert_eq!(count(&db, "events WHERE position = 1 AND aggregate_id = 'a'"), 1);
    }
}

#[test]
fn an_event_is_not_replaced_by_its_row_number() {
    let db = with_one_event();
    for row in [1, -1, 7] {
        let sql = format!("INSERT OR REPLACE {INSERT}")
            .replace("(lane_id", "(rowid, lane_id")
            .replace("VALUES (", &format!("VALUES ({row}, "));
        let outcome = db.execute(&sql, params![2, [2u8; 16], "b", 1]);
        assert!(outcome.is_err(), "row {row}");
        assert_eq!(count(&db, "events WHERE position = 1"), 1, "row {row}");
    }
    insert(&db, "INSERT", 2, 2, "b", 1).unwrap();
}

#[test]
fn an_upsert_does_not_reach_the_event_in_its_way() {
    let db = with_one_event();
    let sql = format!("INSERT {INSERT} ON CONFLICT (lane_id, position) DO UPDATE SET data = '1'");
    assert!(db.execute(&sql, params![1, [2u8; 16], "b", 1]).is_err());
    assert_eq!(count(&db, "events WHERE data = '{}'"), 1);
}

#[test]
fn a_purge_deletes_within_its_transaction_only() {
    let mut db = with_one_event();
    let purge = db.transaction().unwrap();
    purge.execute("INSERT INTO purge_permits (id) VALUES (1)", []).unwrap();
    purge.execute("DELETE FROM events", []).unwrap();
    assert!(purge.execute("INSERT INTO purge_permits (id) VALUES (2)", []).is_err());
    purge.rollback().unwrap();
    assert!(refusal(&db, "DELETE FROM events").contains("refused"));
}

#[test]
fn malformed_values_are_refused() {
    let db = with_one_event();
    let columns = "lane_id, position, event_id, aggregate_id, aggregate_type, aggregate_version, event_type, event_timestamp, \
                   actor_type, source, data";
    for (column, value) in [
        ("event_id", "x'00'"),
        ("aggregate_id", "''"),
        ("aggregate_id", "printf('%0256d', 1)"),
        ("position", "0"),
        ("event_timestamp", "'2024-01-01'"),
        ("actor_type", "'robot'"),
        ("data", "'{a:1}'"),
        ("data", "'1,2'"),
        ("data", "x'7b7d'"),
    ] {
        let values = columns.split(", ").map(|name| match name {
            name if name == column => value,
            "event_id" => "x'00000000000000000000000000000000'",
            "position" => "2",
            "lane_id" | "aggregate_version" | "event_timestamp" => "1",
            "actor_type" => "'user'",
            "source" => "'api'",
            _ => "'{}'",
        });
        let values: Vec<&str> = values.collect();
        let sql = format!("INSERT INTO events ({columns}) VALUES ({})", values.join(", "));
        assert!(db.execute(&sql, []).is_err(), "{column} {value}");
    }
    for metadata in ["[]", "1", "{a:1}", "nonsense"] {
        let sql = "INSERT INTO streams (lane_id, aggregate_id, aggregate_type, created_at, updated_at, metadata) VALUES (1, 'm', 't', 1, 1, ?1)";
        assert!(db.execute(sql, [metadata]).is_err(), "{metadata}");
    }
}

#[test]
fn views_show_ids_and_times_as_people_write_them() {
    let db = with_one_event();
    db.execute("INSERT INTO streams (lane_id, aggregate_id, aggregate_type, created_at, updated_at) VALUES (1, 'a', 't', 1, 1)", []).unwrap();
    let recent: (String, String, Option<String>) = db
        .query_row("SELECT event_id, event_timestamp, causation_id FROM recent_events", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    assert_eq!(recent, ("01010101-0101-0101-0101-010101010101".into(), "2023-11-14T22:13:20.123456Z".into(), None));
    let last: (i64, String, Option<String>) = db
        .query_row("SELECT current_version, last_event_at, deleted_at FROM event_streams", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })
        .unwrap();
    assert_eq!(last, (1, "2023-11-14T22:13:20.123456Z".into(), None));
    assert_eq!(count(&db, "event_statistics WHERE events = 1 AND streams = 1"), 1);
}

#[test]
fn recent_events_are_the_newest_hundred() {
    let db = migrated();
    for version in 1..=120u8 {
        insert(&db, "INSERT", i64::from(version), version, "a", i64::from(version)).unwrap();
    }
    assert_eq!(count(&db, "recent_events"), 100);
    assert_eq!(count(&db, "(SELECT min(position) AS least FROM recent_events) WHERE least = 21"), 1);
}

#[test]
fn the_stored_schema_carries_the_comments() {
    let db = migrated();
    assert_eq!(count(&db, "sqlite_master WHERE sql LIKE '%-- The identity of the event, unique in its lane.%'"), 1);
}
