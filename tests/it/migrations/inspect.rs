//! A live schema compared with the model: nothing to say of a fresh one, and every change by hand is named.

use annals::Dialect;
use rstest::rstest;

use super::fresh;

#[rstest]
#[tokio::test]
async fn a_fresh_schema_is_what_the_model_says(
    #[values(Dialect::Sqlite, Dialect::Postgres, Dialect::Mssql)] dialect: Dialect,
) {
    let Some(place) = fresh(dialect) else { return };
    let migrator = place.migrator().await;
    migrator.up(None).await.unwrap();
    assert_eq!(migrator.differences().await.unwrap(), [""; 0]);
}

#[rstest]
#[case::table("DROP TABLE {s}event_tags", "table event_tags is missing")]
#[case::column("ALTER TABLE {s}streams DROP COLUMN updated_at", "column streams.updated_at is missing")]
#[case::more("ALTER TABLE {s}streams ADD extra int", "column streams.extra is not in the model")]
#[case::trigger("DROP TRIGGER {s}events_refuse_delete", "trigger events_refuse_delete is missing")]
#[case::view("DROP VIEW {s}recent_events", "view recent_events is missing")]
#[tokio::test]
async fn what_is_changed_by_hand_is_named(
    #[values(Dialect::Sqlite, Dialect::Postgres, Dialect::Mssql)] dialect: Dialect,
    #[case] change: &str,
    #[case] expected: &str,
) {
    let change = match dialect {
        Dialect::Postgres => {
            change.replace("TRIGGER {s}events_refuse_delete", "TRIGGER events_refuse_change ON events")
        }
        _ => change.to_owned(),
    };
    let expected = match dialect {
        Dialect::Postgres => expected.replace("refuse_delete", "refuse_change"),
        _ => expected.to_owned(),
    };
    // The view reads the column.
    let change = match dialect {
        Dialect::Mssql => change,
        _ => change.replace("ALTER TABLE {s}streams DROP", "DROP VIEW event_streams; ALTER TABLE streams DROP"),
    };
    assert_named(dialect, &change, &expected).await;
}

#[rstest]
#[case::index(
    Dialect::Sqlite,
    "DROP INDEX events_actor_idx",
    "index events_actor_idx on events (lane_id, actor, position) where actor is not null is missing"
)]
#[case::index(
    Dialect::Postgres,
    "DROP INDEX events_actor_idx",
    "index events_actor_idx on events (lane_id, actor, position) where actor is not null is missing"
)]
#[case::index(
    Dialect::Mssql,
    "DROP INDEX events_actor_idx ON {s}events",
    "index events_actor_idx on events (lane_id, actor, position) where actor is not null is missing"
)]
#[case::order(
    Dialect::Sqlite,
    "DROP INDEX events_event_timestamp_idx; CREATE INDEX events_event_timestamp_idx ON events (lane_id, event_timestamp)",
    "(lane_id, event_timestamp desc) is missing"
)]
#[case::order(
    Dialect::Postgres,
    "DROP INDEX events_event_timestamp_idx; CREATE INDEX events_event_timestamp_idx ON events (lane_id, event_timestamp)",
    "(lane_id, event_timestamp desc) is missing"
)]
#[case::key(
    Dialect::Postgres,
    "ALTER TABLE events DROP CONSTRAINT events_event_id_key",
    "unique key events_event_id_key on events (lane_id, event_id) is missing"
)]
#[case::key(
    Dialect::Mssql,
    "ALTER TABLE {s}events DROP CONSTRAINT events_event_id_key",
    "unique key events_event_id_key on events (lane_id, event_id) is missing"
)]
#[case::primary_key(
    Dialect::Postgres,
    "ALTER TABLE commands DROP CONSTRAINT commands_pkey",
    "primary key of commands is missing"
)]
#[case::check(
    Dialect::Postgres,
    "ALTER TABLE events DROP CONSTRAINT events_source_check",
    "check events_source_check is missing"
)]
#[case::check(
    Dialect::Mssql,
    "ALTER TABLE {s}events DROP CONSTRAINT events_source_check",
    "check events_source_check is missing"
)]
#[case::reference(
    Dialect::Mssql,
    "ALTER TABLE {s}event_tags DROP CONSTRAINT event_tags_events_fkey",
    "reference event_tags_events_fkey is missing"
)]
#[case::column_type(
    Dialect::Postgres,
    "ALTER TABLE snapshots ALTER state TYPE text",
    "column snapshots.state is \"text collate default not null\", and should be \"json not null\""
)]
#[case::column_type(
    Dialect::Mssql,
    "ALTER TABLE {s}snapshots ALTER COLUMN snapshot_timestamp datetime2(3) NOT NULL",
    "column snapshots.snapshot_timestamp is \"datetime2(3) not null\""
)]
#[case::null(
    Dialect::Postgres,
    "ALTER TABLE events ALTER data DROP NOT NULL",
    "column events.data is \"json\", and should be \"json not null\""
)]
#[case::default(
    Dialect::Postgres,
    "ALTER TABLE streams ALTER first_version SET DEFAULT 2",
    "column streams.first_version is \"bigint not null default 2\""
)]
#[case::disabled(
    Dialect::Postgres,
    "ALTER TABLE events DISABLE TRIGGER ALL",
    "trigger events_refuse_change is \"on events, disabled\""
)]
#[case::routine(Dialect::Postgres, "DROP FUNCTION get_event_stream", "routine get_event_stream is missing")]
#[case::routine(Dialect::Mssql, "DROP PROCEDURE {s}get_event_stream", "routine get_event_stream is missing")]
#[case::comment(Dialect::Postgres, "COMMENT ON COLUMN events.hash IS 'x'", "comment on events.hash is \"x\"")]
#[case::without_a_check(
    Dialect::Sqlite,
    "DROP TABLE snapshots; CREATE TABLE snapshots (lane_id integer NOT NULL, aggregate_id text NOT NULL, \
     aggregate_version integer NOT NULL, snapshot_id blob NOT NULL, aggregate_type text NOT NULL, snapshot_version integer \
     NOT NULL DEFAULT 1, snapshot_timestamp integer NOT NULL, state text NOT NULL, \
     PRIMARY KEY (lane_id, aggregate_id, aggregate_version)) STRICT, WITHOUT ROWID",
    "check snapshots_state_check is missing"
)]
#[case::not_strict(
    Dialect::Sqlite,
    "DROP TABLE snapshots; CREATE TABLE snapshots (lane_id integer NOT NULL, state text, PRIMARY KEY (lane_id, state)) WITHOUT ROWID",
    "table snapshots is \"not strict, without rowid\", and should be \"strict, without rowid\""
)]
#[tokio::test]
async fn what_one_database_changes_in_its_own_way_is_named(
    #[case] dialect: Dialect,
    #[case] change: &str,
    #[case] expected: &str,
) {
    assert_named(dialect, change, expected).await;
}

async fn assert_named(dialect: Dialect, change: &str, expected: &str) {
    let Some(place) = fresh(dialect) else { return };
    let migrator = place.migrator().await;
    migrator.up(None).await.unwrap();
    place.run(change).await;
    let differences = migrator.differences().await.unwrap();
    assert!(differences.iter().any(|difference| difference.contains(expected)), "{differences:#?}");
}

#[tokio::test]
async fn what_an_application_adds_beside_is_its_own_business() {
    for (dialect, addition) in [
        (Dialect::Sqlite, "CREATE TABLE orders (id int); CREATE INDEX mine ON events (source)"),
        (Dialect::Postgres, "CREATE TABLE orders (id int); CREATE INDEX mine ON events (source)"),
    ] {
        let Some(place) = fresh(dialect) else { continue };
        let migrator = place.migrator().await;
        migrator.up(None).await.unwrap();
        place.run(addition).await;
        assert_eq!(migrator.differences().await.unwrap(), [""; 0]);
    }
}
