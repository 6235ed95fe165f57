//! Copies between every ordered pair of engines, cut off and gone on with, and what comparing them finds.

use std::path::Path;
use std::time::Duration;

use annals::testing::FreshDatabase;
use annals::{
    ActorType, Append, Command, Config, Error, Expected, Json, LaneProgress, NewEvent, NewSnapshot, Payload, Query,
    SnapshotQuery, Start, Store, Stream, TopicConfig, TopicCopy, Topics, Verified, Version,
};
use chrono::DateTime;
use rstest::rstest;
use tokio::sync::mpsc;
use uuid::Uuid;

use crate::support::server;

/// Returns a fresh database of an engine, where there is one.
pub fn database(engine: &str) -> Option<FreshDatabase> {
    let url = match engine {
        "sqlite" => Some(format!("sqlite:{}", Path::new(env!("CARGO_TARGET_TMPDIR")).join("copy.db").display())),
        server_engine => server(server_engine),
    };
    url.map(|url| FreshDatabase::new(&url).unwrap())
}

pub fn stream(id: &str) -> Stream {
    Stream::new("thing", id).unwrap()
}

pub async fn open(database: &FreshDatabase, topic: &str) -> Store {
    let config: Config = database.url().parse::<Config>().unwrap().with_topic(topic).unwrap();
    Store::connect_with(config).await.unwrap()
}

/// Makes a topic of three lanes with something of everything that a topic can hold.
pub async fn filled(database: &FreshDatabase) -> Store {
    let first = database.store().await.unwrap();
    first.create_topic("orders", 3).await.unwrap();
    first.close().await;
    let store = open(database, "orders").await;
    for number in 0..40 {
        let data = Json::parse(r#"{"b":1e400, "a":0.10,"a":[null,"\u00e9 💶"]}"#).unwrap();
        let event = NewEvent::new("Happened", Payload::Json(data)).unwrap();
        let event =
            event.with_tags(["red", &format!("n-{number}")]).unwrap().with_actor("ada", ActorType::User).unwrap();
        let event = event.with_metadata(Json::parse(r#"{ "from": "test" }"#).unwrap()).unwrap();
        store.append(&stream(&format!("s-{}", number % 7)), Expected::Any, [event]).await.unwrap();
    }
    let bytes = Payload::Bytes { content_type: "application/x".to_owned(), bytes: vec![0, 255, 10] };
    let event = NewEvent::new("Bytes", bytes).unwrap();
    let command = Command::new(Uuid::from_u128(7)).with_data(Json::parse("[1]").unwrap());
    store.commit(Append::new().to(stream("s-1"), Expected::Any, [event]).command(command)).await.unwrap();
    store.record_command(Command::new(Uuid::from_u128(8))).await.unwrap();
    store.delete(&stream("s-2"), Expected::Any).await.unwrap();
    store.delete(&stream("s-3"), Expected::Any).await.unwrap();
    store.reuse(&stream("s-3"), Expected::Any).await.unwrap();
    store.set_metadata("s-4", None, Json::parse(r#"{"owner":"é"}"#).unwrap()).await.unwrap();
    let state = Json::parse(r#"{"count": 2}"#).unwrap();
    store.save_snapshot(&NewSnapshot::new(stream("s-5"), Version::new(2), state)).await.unwrap();
    let mut reader = store.durable("reader").start(Start::Beginning).open().await.unwrap();
    for _ in 0..5 {
        let event = reader.next().await.unwrap();
        reader.ack_up_to(&event).await.unwrap();
    }
    reader.close().await.unwrap();
    store
}

async fn verified(copy: &TopicCopy) -> Verified {
    copy.verify(|_| {}).await.unwrap()
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_holds_what_the_original_holds(
    #[values("sqlite", "postgres", "mssql")] from: &str,
    #[values("sqlite", "postgres", "mssql")] to: &str,
) {
    let (Some(one), Some(two)) = (database(from), database(to)) else { return };
    let original = filled(&one).await;
    let copy = TopicCopy::begin(original.clone(), two.url().parse().unwrap()).await.unwrap();
    let copied = copy.run(|_| {}).await.unwrap();
    assert_eq!(copied.events, 44);
    let found = verified(&copy).await;
    assert!(found.is_same() && found.events == 44, "{found:?}");
    copy.to().close().await;

    let copied = open(&two, "orders").await;
    assert_eq!(copied.topic().incarnation, original.topic().incarnation);
    for id in ["s-1", "s-2", "s-3", "s-4"] {
        let (mut here, mut there) = (original.stream(id).await.unwrap(), copied.stream(id).await.unwrap());
        for info in [&mut here, &mut there].into_iter().flatten() {
            // Metadata that is set later is later.
            info.updated_at = DateTime::UNIX_EPOCH;
        }
        assert_eq!(here, there, "{id}");
        let (here, there) = (original.read_stream(id).await.unwrap(), copied.read_stream(id).await.unwrap());
        assert_eq!(here.len(), there.len(), "{id}");
    }
    for id in [7, 8].map(Uuid::from_u128) {
        let (here, there) = (original.command(id).await.unwrap(), copied.command(id).await.unwrap());
        let when = |command: Option<annals::RecordedCommand>| command.unwrap().processed_at;
        assert_eq!(when(here), when(there));
    }
    // What was done once is not done again at the new place.
    assert!(copied.record_command(Command::new(Uuid::from_u128(8))).await.unwrap().duplicate);
    let snapshot = copied.snapshot("s-5", SnapshotQuery::default()).await.unwrap().unwrap();
    assert_eq!(snapshot.state.as_str(), r#"{"count": 2}"#);
    let progress = |store: &Store| {
        let store = store.clone();
        async move {
            let info = store.subscriptions().await.unwrap().remove(0);
            info.lanes.iter().map(|lane: &LaneProgress| lane.position).collect::<Vec<_>>()
        }
    };
    assert_eq!(progress(&original).await, progress(&copied).await);
    // The copy is a store like another.
    let mut reader = copied.durable("reader").open().await.unwrap();
    reader.next().await.unwrap();
    reader.close().await.unwrap();
    let appended =
        copied.append(&stream("s-1"), Expected::Exists, [NewEvent::json("More", &1).unwrap()]).await.unwrap();
    assert_eq!(appended.version(), original.version("s-1").await.unwrap().next());
    for store in [original, copied] {
        store.close().await;
    }
    one.remove().await.unwrap();
    two.remove().await.unwrap();
}

#[rstest]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_that_is_cut_off_goes_on(#[values("sqlite", "postgres")] to: &str) {
    let (Some(one), Some(two)) = (database("sqlite"), database(to)) else { return };
    let original = one.store().await.unwrap();
    for _ in 0..9 {
        let events = (0..1_000).map(|number| NewEvent::json("Happened", &number).unwrap());
        original.append(&stream("s"), Expected::Any, events).await.unwrap();
    }
    let mut copied = 0;
    for _ in 0..3 {
        let copy = TopicCopy::begin(original.clone(), two.url().parse().unwrap()).await.unwrap();
        let (sender, mut stopped) = mpsc::channel(1);
        let run = copy.run(move |_| _ = sender.try_send(()));
        tokio::select! {
            done = run => copied += done.unwrap().events,
            _ = stopped.recv() => {}
        }
        copy.to().close().await;
    }
    let copy = TopicCopy::begin(original.clone(), two.url().parse().unwrap()).await.unwrap();
    let rest = copy.run(|_| {}).await.unwrap().events;
    assert!(copied == 0 && rest < 9_000, "{copied} and {rest} of 9,000 events were copied in whole runs");
    let found = verified(&copy).await;
    assert!(found.is_same() && found.events == 9_000, "{found:?}");
    // Once more has nothing left to do, and what comes later is added.
    assert_eq!(copy.run(|_| {}).await.unwrap().events, 0);
    original.append(&stream("s"), Expected::Any, [NewEvent::json("More", &1).unwrap()]).await.unwrap();
    assert_eq!(copy.run(|_| {}).await.unwrap().events, 1);
    assert!(verified(&copy).await.is_same());
    copy.to().close().await;
    original.close().await;
    one.remove().await.unwrap();
    two.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn comparing_finds_what_differs() {
    let (one, two) = (database("sqlite").unwrap(), database("sqlite").unwrap());
    let original = filled(&one).await;
    let copy = TopicCopy::begin(original.clone(), two.url().parse().unwrap()).await.unwrap();
    copy.run(|_| {}).await.unwrap();
    assert!(verified(&copy).await.is_same());
    let mut session = copy.to().backend().session().await.unwrap();
    for (change, rows) in [
        ("DELETE FROM snapshots", 1),
        ("UPDATE streams SET first_version = 2 WHERE aggregate_id = 's-1'", 2),
        ("DELETE FROM commands", 4),
    ] {
        session.execute(change).await.unwrap();
        let found = verified(&copy).await;
        assert!(!found.is_same() && found.rows == rows && found.difference.is_none(), "{change}: {found:?}");
    }
    copy.run(|_| {}).await.unwrap();
    assert_eq!(verified(&copy).await.rows, 1);
    // What only the copy has is a difference, too.
    copy.to().record_command(Command::new(Uuid::from_u128(9))).await.unwrap();
    assert_eq!(verified(&copy).await.rows, 2);
    session.execute("DROP TRIGGER events_refuse_update").await.unwrap();
    session.execute("UPDATE events SET actor = 'eve' WHERE lane_id = 3 AND position = 2").await.unwrap();
    let found = verified(&copy).await;
    let difference = found.difference.clone().unwrap();
    assert_eq!((difference.position.get(), difference.field), (2, "actor"));
    assert_ne!(found.from_hash, found.to_hash);
    // The same wrong event on both sides is not what its hash says.
    let mut session = original.backend().session().await.unwrap();
    session.execute("DROP TRIGGER events_refuse_update").await.unwrap();
    session.execute("UPDATE events SET actor = 'eve' WHERE lane_id = 3 AND position = 2").await.unwrap();
    assert_eq!(verified(&copy).await.difference.unwrap().field, "hash");
    copy.to().close().await;
    original.close().await;
    one.remove().await.unwrap();
    two.remove().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_onto_another_log_is_refused() {
    let (one, two) = (database("sqlite").unwrap(), database("sqlite").unwrap());
    let (original, other) = (one.store().await.unwrap(), two.store().await.unwrap());
    for store in [&original, &other] {
        store.append(&stream("s"), Expected::Any, [NewEvent::json("Happened", &1).unwrap()]).await.unwrap();
    }
    let refused = TopicCopy::begin(original.clone(), two.url().parse().unwrap()).await.unwrap_err();
    assert!(matches!(refused, Error::Invalid { what: "target", .. }), "{refused:?}");
    // One that was written to since is no copy any more.
    let third = database("sqlite").unwrap();
    let copy = TopicCopy::begin(original.clone(), third.url().parse().unwrap()).await.unwrap();
    copy.run(|_| {}).await.unwrap();
    copy.to().append(&stream("s"), Expected::Any, [NewEvent::json("Other", &1).unwrap()]).await.unwrap();
    original.append(&stream("s"), Expected::Any, [NewEvent::json("More", &1).unwrap()]).await.unwrap();
    assert!(matches!(copy.run(|_| {}).await, Err(Error::LogDiverged { .. })));
    tokio::time::timeout(Duration::from_secs(10), copy.to().close()).await.unwrap();
    assert_eq!(other.query(Query::new()).await.unwrap().len(), 1);
    for store in [original, other] {
        store.close().await;
    }
    for database in [one, two, third] {
        database.remove().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_topic_moves_to_where_its_copy_is() {
    let (one, two) = (database("sqlite").unwrap(), database("sqlite").unwrap());
    let topics = Topics::builder(one.url()).build().unwrap();
    topics.initialize().await.unwrap();
    let made = topics.create(TopicConfig::builder("orders").connection(one.url()).build().unwrap()).await.unwrap();
    let event = || [NewEvent::json("Happened", &1).unwrap()];
    topics.append("orders", &stream("s"), Expected::Any, event()).await.unwrap();
    let moved = made.config.change().connection(two.url()).build().unwrap();

    let copy = TopicCopy::begin(topics.store("orders").await.unwrap(), two.url().parse().unwrap()).await.unwrap();
    copy.run(|_| {}).await.unwrap();
    topics.append("orders", &stream("s"), Expected::Any, event()).await.unwrap();
    let early = topics.update(moved.clone(), made.version).await;
    assert!(matches!(early, Err(Error::EventsLeftBehind { events: 2, .. })), "{early:?}");
    copy.run(|_| {}).await.unwrap();
    copy.to().close().await;
    topics.update(moved, made.version).await.unwrap();
    topics.append("orders", &stream("s"), Expected::exact(2), event()).await.unwrap();
    topics.close().await;

    let (left, there) = (open(&one, "orders").await, open(&two, "orders").await);
    assert_eq!((left.version("s").await.unwrap().get(), there.version("s").await.unwrap().get()), (2, 3));
    left.close().await;
    there.close().await;
    one.remove().await.unwrap();
    two.remove().await.unwrap();
}
