//! Events are not lost by accident.

use annals::migrate::{BEFORE_STORE, Consent};
use annals::{Dialect, Error, Expected, NewEvent, Store, Stream};
use rstest::rstest;

use super::{Fresh, fresh};

async fn with_three_events(dialect: Dialect) -> Option<Fresh> {
    let place = fresh(dialect)?;
    place.migrator().await.up(None).await.unwrap();
    let store = Store::connect(&place.url).await.unwrap();
    let events = (0..3).map(|number| NewEvent::json("Happened", &number).unwrap());
    store.append(&Stream::new("thing", "one").unwrap(), Expected::NoStream, events).await.unwrap();
    store.close().await;
    Some(place)
}

async fn events(place: &Fresh) -> usize {
    let store = Store::connect(&place.url).await.unwrap();
    let events = store.read_stream(&Stream::new("thing", "one").unwrap()).await.unwrap().len();
    store.close().await;
    events
}

#[rstest]
#[tokio::test]
async fn down_and_reset_say_how_many_events_they_would_lose_and_need_consent(
    #[values(Dialect::Sqlite, Dialect::Postgres, Dialect::Mssql)] dialect: Dialect,
) {
    let Some(place) = with_three_events(dialect).await else { return };
    let migrator = place.migrator().await;
    for error in [
        migrator.down(BEFORE_STORE, Consent::Withheld).await.unwrap_err(),
        migrator.reset(Consent::Withheld).await.unwrap_err(),
    ] {
        assert!(matches!(error, Error::ConsentMissing { events: 3, .. }), "{error}");
        assert_eq!(migrator.status().await.unwrap().len(), 4);
        assert_eq!(events(&place).await, 3);
    }
    assert_eq!(migrator.reset(Consent::Given).await.unwrap().len(), 8);
    assert_eq!(events(&place).await, 0);
}

#[rstest]
#[tokio::test]
async fn what_keeps_the_events_needs_no_consent(
    #[values(Dialect::Sqlite, Dialect::Postgres, Dialect::Mssql)] dialect: Dialect,
) {
    let Some(place) = with_three_events(dialect).await else { return };
    let migrator = place.migrator().await;
    assert_eq!(migrator.down(8, Consent::Withheld).await.unwrap().len(), 3);
    assert_eq!(migrator.up(None).await.unwrap().len(), 3);
    assert_eq!(events(&place).await, 3);
}

#[rstest]
#[case::file(Dialect::Sqlite, "--yes", "--yes")]
#[case::file_forced(Dialect::Sqlite, "--yes", "--force")]
#[case::server(Dialect::Postgres, "--force", "--force")]
#[tokio::test]
async fn the_program_without_a_terminal_refuses_until_told(
    #[case] dialect: Dialect,
    #[case] advice: &str,
    #[case] agreed: &str,
) {
    let Some(place) = with_three_events(dialect).await else { return };
    for verb in ["down", "reset"] {
        let refused = place.annals(&[verb]);
        let message = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success() && message.contains("3 events") && message.contains(advice), "{message}");
    }
    assert_eq!(events(&place).await, 3);
    assert!(place.annals(&["reset", agreed]).status.success());
    assert_eq!(events(&place).await, 0);
}

#[tokio::test]
async fn on_a_server_yes_is_not_enough() {
    let Some(place) = with_three_events(Dialect::Postgres).await else { return };
    let refused = place.annals(&["down", "--yes"]);
    let message = String::from_utf8(refused.stderr).unwrap();
    assert!(!refused.status.success() && message.contains("--force"), "{message}");
    assert_eq!(events(&place).await, 3);
}
