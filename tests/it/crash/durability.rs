//! What the connection that writes is set to, as it tells by itself: a trigger on the first event of each process
//! writes the settings of the connection that fires it into a table.

use annals::Store;
use rstest::rstest;

use super::wish::OPENED;
use crate::support;

const SQLITE: &str = "
    CREATE TABLE crash_probe (synchronous, journal);
    CREATE TRIGGER crash_probe AFTER INSERT ON events WHEN NEW.event_type = '{opened}' BEGIN
        INSERT INTO crash_probe SELECT synchronous, journal_mode FROM pragma_synchronous, pragma_journal_mode;
    END";

const POSTGRES: &str = "
    CREATE TABLE crash_probe (commits text, fsync text, full_page_writes text, isolation text);
    CREATE FUNCTION crash_probe() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN
        INSERT INTO crash_probe VALUES (current_setting('synchronous_commit'), current_setting('fsync'),
            current_setting('full_page_writes'), current_setting('transaction_isolation'));
        RETURN NULL;
    END $$;
    CREATE TRIGGER crash_probe AFTER INSERT ON events FOR EACH ROW WHEN (NEW.event_type = '{opened}')
        EXECUTE FUNCTION crash_probe()";

/// Sets the trigger.
pub async fn install(store: &Store) {
    let text = if store.backend().name() == "sqlite" { SQLITE } else { POSTGRES };
    store.backend().session().await.unwrap().execute(&text.replace("{opened}", OPENED)).await.unwrap();
}

/// Returns what the connections that wrote since the trigger was set were set to, each setting once.
pub async fn told(store: &Store) -> Vec<Vec<String>> {
    let mut session = store.backend().session().await.unwrap();
    let rows = session.query("SELECT DISTINCT * FROM crash_probe ORDER BY 1").await.unwrap();
    rows.into_iter().map(|row| row.into_iter().flatten().collect()).collect()
}

/// Returns what a connection must be set to where the URL asks for nothing less: on SQLite, 2 is FULL.
pub fn full(store: &Store) -> Vec<Vec<String>> {
    let settings: &[&str] =
        if store.backend().name() == "sqlite" { &["2", "wal"] } else { &["on", "on", "on", "read committed"] };
    vec![settings.iter().map(ToString::to_string).collect()]
}

#[rstest]
#[case::sqlite("sqlite", "", &["2", "wal"])]
#[case::sqlite_full("sqlite", "full", &["2", "wal"])]
#[case::sqlite_normal("sqlite", "normal", &["1", "wal"])]
#[case::sqlite_off("sqlite", "off", &["0", "wal"])]
#[case::postgres("postgres", "", &["on", "on", "on", "read committed"])]
#[case::postgres_full("postgres", "full", &["on", "on", "on", "read committed"])]
#[case::postgres_off("postgres", "off", &["off", "on", "on", "read committed"])]
#[tokio::test]
async fn the_connection_that_writes_is_as_durable_as_the_url_says(
    #[case] engine: &str,
    #[case] durability: &str,
    #[case] expected: &[&str],
) {
    use annals::conformance::Harness;

    let harness = if engine == "sqlite" { support::sqlite_file("durability", "") } else { support::schemas(engine) };
    let Some(harness) = harness else { return };
    let database = harness.fresh().await.unwrap();
    let options = [("durability", durability)];
    let store = database.open(if durability.is_empty() { &[] } else { &options }).await.unwrap();
    install(&store).await;
    let stream = annals::Stream::new("probe", "probe").unwrap();
    store.append(&stream, annals::Expected::Any, [annals::NewEvent::json(OPENED, &1).unwrap()]).await.unwrap();
    assert_eq!(told(&store).await, [expected]);
    store.close().await;
    database.remove().await.unwrap();
}
