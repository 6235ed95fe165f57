//! Creating and dropping whole databases.

use std::fs;

use annals::migrate::{Consent, Migrator, create_database, drop_database};
use annals::{Config, Dialect, Error, Store};

use super::fresh;
use crate::support;

#[tokio::test]
async fn a_file_is_created_once_and_dropped_with_what_is_beside_it() {
    let place = fresh(Dialect::Sqlite).unwrap();
    let config: Config = place.url.parse().unwrap();
    assert!(create_database(&config).await.unwrap());
    assert!(!create_database(&config).await.unwrap());
    place.migrator().await.up(None).await.unwrap();
    assert!(matches!(drop_database(&config, Consent::Withheld).await, Err(Error::ConsentMissing { events: 0, .. })));
    drop_database(&config, Consent::Given).await.unwrap();
    assert_eq!(fs::read_dir(place.folder.path()).unwrap().count(), 0);
    assert!(drop_database(&config, Consent::Given).await.is_err());
}

#[tokio::test]
async fn a_file_that_is_open_elsewhere_or_not_a_database_is_not_dropped() {
    let place = fresh(Dialect::Sqlite).unwrap();
    let config: Config = format!("{}?statement_timeout=50ms", place.url).parse().unwrap();
    let store = Store::connect(&format!("{}?migrate=auto", place.url)).await.unwrap();
    assert!(drop_database(&config, Consent::Given).await.is_err());
    store.health().await.unwrap();
    store.close().await;

    let other = place.folder.path().join("notes.txt");
    fs::write(&other, "not a database").unwrap();
    let config: Config = format!("sqlite:{}", other.display()).parse().unwrap();
    let message = drop_database(&config, Consent::Given).await.unwrap_err().report();
    assert!(message.contains("not a SQLite database"), "{message}");
    assert_eq!(fs::read_to_string(&other).unwrap(), "not a database");
}

#[tokio::test]
async fn a_database_of_a_server_is_created_migrated_and_dropped_whatever_its_name() {
    let Some(url) = support::server("postgres") else { return };
    let config: Config = url.parse().unwrap();
    let hosts = config.target().split_once('/').map_or(config.target(), |(hosts, _)| hosts).to_owned();
    let name = format!("we\"ird 'db' {}", uuid::Uuid::new_v4().simple());
    let config = config.with_target(&format!("{hosts}/{name}"));

    assert!(create_database(&config).await.unwrap());
    assert!(!create_database(&config).await.unwrap());
    let migrator = Migrator::connect(&config).await.unwrap();
    migrator.up(None).await.unwrap();
    migrator.close().await;
    assert!(matches!(drop_database(&config, Consent::Withheld).await, Err(Error::ConsentMissing { .. })));
    drop_database(&config, Consent::Given).await.unwrap();
    assert!(Migrator::connect(&config).await.is_err());
}

#[tokio::test]
async fn the_server_s_own_database_and_one_in_memory_are_left_alone() {
    for url in ["postgres://127.0.0.1/postgres", "postgres://127.0.0.1", "sqlite::memory:"] {
        let config: Config = url.parse().unwrap();
        assert!(matches!(create_database(&config).await, Err(Error::Url { .. })), "{url}");
    }
}

#[tokio::test]
async fn no_message_about_the_schema_holds_the_password() {
    let Some(place) = fresh(Dialect::Postgres) else { return };
    let config: Config = place.url.parse().unwrap();
    let Some(password) = config.password() else { return };
    let message = place.connect_error().await;
    assert!(message.contains(":***@") && !message.contains(password), "{message}");
}
