//! What is Postgres' own: hosts, sessions, lost connections, abandoned locks, the function behind JSON filters.

use std::sync::Arc;

use annals::conformance::{Database, Harness};
use annals::{
    Append, Error, ErrorClass, Expected, JsonFilter, NewEvent, Position, Query, Store, Stream, StreamFilter, Version,
};
use rstest::rstest;

/// A fresh database; none, where no server is named, which `support` says aloud.
async fn fresh() -> Option<Arc<dyn Database>> {
    Some(crate::support::schemas("postgres")?.fresh().await.unwrap())
}

fn stream() -> Stream {
    Stream::new("cart", "cart-1").unwrap()
}

fn event() -> NewEvent {
    NewEvent::json("Added", &1).unwrap()
}

/// The URL of the tests' server, if there is one, with other text in place of its hosts, and options added.
fn url(hosts: impl Fn(&str) -> String, options: &str) -> Option<String> {
    let url = crate::support::server("postgres")?;
    let (front, options_there) = url.split_once('?').unwrap_or((&url, ""));
    let (scheme, rest) = front.split_once("//").unwrap();
    let (credentials, rest) = rest.rsplit_once('@').map_or(("", rest), |(credentials, rest)| (credentials, rest));
    let (host, database) = rest.split_once('/').unwrap();
    let at = if credentials.is_empty() { "" } else { "@" };
    Some(format!("{scheme}//{credentials}{at}{}/{database}?{options_there}&{options}", hosts(host)))
}

async fn sql(store: &Store, text: &str) -> Vec<Vec<Option<String>>> {
    store.backend().session().await.unwrap().query(text).await.unwrap()
}

fn class(error: &Error) -> Option<ErrorClass> {
    match error {
        Error::Backend { class, .. } => Some(*class),
        _ => None,
    }
}

#[tokio::test]
async fn a_host_that_is_down_is_passed_over() {
    let Some(database) = fresh().await else { return };
    let schema = database.url().unwrap();
    let schema = schema.split_once("schema=").unwrap().1.split('&').next().unwrap();
    let url = url(|host| format!("127.0.0.1:1,{host}"), &format!("schema={schema}&migrate=auto")).unwrap();
    let store = Store::connect(&url).await.unwrap();
    assert_eq!(store.append(&stream(), Expected::NoStream, [event()]).await.unwrap().version(), Version::new(1));
    store.close().await;
    database.remove().await.unwrap();
}

#[tokio::test]
async fn an_unknown_database_is_told_with_what_to_do() {
    let Some(url) = url(str::to_owned, "") else { return };
    let (front, _) = url.rsplit_once('/').unwrap();
    let error = Store::connect(&format!("{front}/no_such_database")).await.unwrap_err();
    assert!(error.report().contains("annals migrate create"), "{}", error.report());
}

#[tokio::test]
async fn a_user_who_is_refused_is_told_without_the_password() {
    let Some(url) = url(str::to_owned, "") else { return };
    let (_, rest) = url.rsplit_once('@').unwrap();
    let error = Store::connect(&format!("postgres://no_such_user:geheim@{rest}")).await.unwrap_err();
    assert!(error.report().contains("check the user"), "{}", error.report());
    assert!(!format!("{error:?} {}", error.report()).contains("geheim"));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_with_its_address() {
    let error = Store::connect("postgres://u@127.0.0.1:1/app?connect_timeout=5s").await.unwrap_err();
    assert_eq!(class(&error), Some(ErrorClass::Reconnect));
    assert!(error.report().contains("127.0.0.1:1"), "{}", error.report());
}

#[tokio::test]
async fn connections_that_the_server_ended_are_replaced() {
    let Some(database) = fresh().await else { return };
    let store = database.open(&[("application_name", "annals_ended")]).await.unwrap();
    store.append(&stream(), Expected::NoStream, [event()]).await.unwrap();
    let other = database.open(&[]).await.unwrap();
    let ended = "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'annals_ended'";
    assert!(!sql(&other, ended).await.is_empty());
    store.append(&stream(), Expected::Any, [event()]).await.unwrap();
    store.close().await;
    other.close().await;
    database.remove().await.unwrap();
}

#[tokio::test]
async fn a_lock_that_is_held_for_too_long_ends_the_wait() {
    let Some(database) = fresh().await else { return };
    let store = database.open(&[("statement_timeout", "1s")]).await.unwrap();
    let mut holder = store.backend().session().await.unwrap();
    holder.execute("BEGIN; SELECT 1 FROM lanes FOR NO KEY UPDATE").await.unwrap();
    let lane = store.topic().lanes[0];
    let request = annals::backend::Request::default();
    let error = store.backend().commit(lane, &[Arc::new(request)]).await.unwrap_err();
    assert_eq!(class(&error), Some(ErrorClass::Retry), "{}", error.report());
    holder.execute("ROLLBACK").await.unwrap();
    store.append(&stream(), Expected::NoStream, [event()]).await.unwrap();
    store.close().await;
    database.remove().await.unwrap();
}

#[rstest]
#[tokio::test]
async fn what_the_server_rolls_back_is_tried_again_and_counted(
    #[values("40001", "40P01")] code: &str,
    #[values(1, 2)] requests: usize,
) {
    let Some(database) = fresh().await else { return };
    let store = database.open(&[]).await.unwrap();
    let mut session = store.backend().session().await.unwrap();
    // A sequence keeps its value where the transaction is rolled back.
    let refusing = |times: u32| {
        format!(
            "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN \
             IF nextval('attempts') <= {times} THEN RAISE EXCEPTION 'refused' USING ERRCODE = '{code}'; END IF; \
             RETURN NULL; END $$"
        )
    };
    session.execute("CREATE SEQUENCE attempts").await.unwrap();
    session.execute(&refusing(2)).await.unwrap();
    let trigger = "CREATE TRIGGER refuse AFTER INSERT ON events FOR EACH STATEMENT EXECUTE FUNCTION refuse()";
    session.execute(trigger).await.unwrap();
    let append = async || store.append(&stream(), Expected::Any, [event()]).await;
    let answers = futures::future::join_all((0..requests).map(|_| append())).await;
    assert!(answers.iter().all(Result::is_ok), "{answers:?}");
    let metrics = store.metrics()[0];
    assert_eq!((metrics.rolled_back, metrics.resent), (2, 0));
    assert_eq!(store.query(Query::new()).await.unwrap().len(), requests);
    session.execute(&refusing(u32::MAX / 2)).await.unwrap();
    let error = append().await.unwrap_err();
    assert_eq!(class(&error), Some(ErrorClass::Retry), "{}", error.report());
    let (metrics, decided) = (store.metrics()[0], requests.try_into().unwrap());
    assert_eq!(metrics.rolled_back, 6, "it is not tried without end");
    assert_eq!((metrics.requests, metrics.refused), (decided, 0), "only what was decided counts");
    store.close().await;
    database.remove().await.unwrap();
}

#[tokio::test]
async fn every_connection_commits_as_the_url_says() {
    let Some(database) = fresh().await else { return };
    for (durability, expected) in [("full", "on"), ("off", "off")] {
        let store = database.open(&[("durability", durability)]).await.unwrap();
        let found = sql(&store, "SHOW synchronous_commit").await;
        assert_eq!(found, [[Some(expected.to_owned())]]);
        store.close().await;
    }
    database.remove().await.unwrap();
}

#[tokio::test]
async fn creators_of_one_topic_get_the_same_one() {
    let Some(database) = fresh().await else { return };
    let store = database.open(&[]).await.unwrap();
    let creators = (0..8).map(|_| store.backend().create_topic("orders", 3));
    let topics = futures::future::try_join_all(creators).await.unwrap();
    assert!(topics.iter().all(|topic| *topic == topics[0] && topic.lanes.len() == 3));
    let error = store.backend().create_topic("orders", 2).await.unwrap_err();
    assert!(matches!(error, Error::Invalid { what: "partitions", .. }));
    store.close().await;
    database.remove().await.unwrap();
}

#[tokio::test]
async fn a_log_is_restored_as_it_was() {
    let (Some(database), Some(copy)) = (fresh().await, fresh().await) else { return };
    let (store, restored) = (database.open(&[]).await.unwrap(), copy.open(&[]).await.unwrap());
    let tagged = event().with_tags(["b", "a"]).unwrap();
    let bytes = NewEvent::bytes("Packed", "application/x", [0, 1, 255]).unwrap();
    store.append(&stream(), Expected::NoStream, [tagged, bytes]).await.unwrap();
    store.delete(&stream(), Expected::Any).await.unwrap();
    store.reuse(&stream(), Expected::Any).await.unwrap();
    let other = Stream::new("cart", "cart-2").unwrap();
    store.append(&other, Expected::NoStream, [event()]).await.unwrap();
    store.delete(&other, Expected::Any).await.unwrap();
    let log = store.query(Query::new().include_deleted()).await.unwrap();
    let lane = restored.topic().lanes[0];
    assert_eq!(restored.backend().restore(lane, &log).await.unwrap(), Position::new(6));
    assert_eq!(restored.query(Query::new().include_deleted()).await.unwrap(), log);
    let filter = StreamFilter { include_deleted: true, limit: 10, ..StreamFilter::default() };
    let lives = |streams: Vec<annals::StreamInfo>| -> Vec<_> {
        streams.into_iter().map(|stream| (stream.aggregate_id, stream.first_version, stream.deleted_at)).collect()
    };
    assert_eq!(lives(restored.streams(&filter).await.unwrap()), lives(store.streams(&filter).await.unwrap()));
    let gap = restored.backend().restore(lane, &log[1..]).await.unwrap_err();
    assert!(matches!(gap, Error::Gap { .. }));
    store.close().await;
    restored.close().await;
    database.remove().await.unwrap();
    copy.remove().await.unwrap();
}

#[tokio::test]
async fn a_batch_is_decided_in_its_order() {
    let Some(database) = fresh().await else { return };
    let (store, other) =
        (database.open(&[("application_name", "annals_batch")]).await.unwrap(), database.open(&[]).await);
    let (other, stream) = (other.unwrap(), stream());
    // The lane is held until the first request waits for it: those behind it are committed together.
    let mut holder = store.backend().session().await.unwrap();
    holder.execute("BEGIN; SELECT 1 FROM lanes FOR NO KEY UPDATE").await.unwrap();
    let append = |expected| store.append(&stream, expected, [event()]);
    let free = async {
        let waiting =
            "SELECT 1 FROM pg_stat_activity WHERE application_name = 'annals_batch' AND wait_event_type = 'Lock'";
        while sql(&other, waiting).await.is_empty() {}
        holder.execute("ROLLBACK").await.unwrap();
    };
    let (first, second, third, deleted, late, ()) = tokio::join!(
        append(Expected::NoStream),
        append(Expected::exact(1)),
        append(Expected::exact(1)),
        store.delete(&stream, Expected::exact(2)),
        append(Expected::Any),
        free
    );
    assert_eq!(first.unwrap().position(), Position::new(1));
    assert_eq!(second.unwrap().position(), Position::new(2));
    assert!(matches!(third, Err(Error::Conflict { .. })));
    assert_eq!(deleted.unwrap().position(), Position::new(3));
    assert!(matches!(late, Err(Error::StreamDeleted { .. })));
    assert!(store.read_stream(&stream).await.unwrap().is_empty());
    store.close().await;
    other.close().await;
    database.remove().await.unwrap();
}

#[rstest]
#[case::text(r#"{"k":"1"}"#, Some("s1"))]
#[case::number(r#"{"k":1}"#, Some("n1"))]
#[case::the_same_number(r#"{"k":10.0e-1}"#, Some("n1"))]
#[case::nought(r#"{"k":-0.0}"#, Some("n0"))]
#[case::truth(r#"{"k":true}"#, Some("btrue"))]
#[case::null(r#"{"k":null}"#, Some("z"))]
#[case::missing(r#"{"l":1}"#, None)]
#[case::no_object("[1]", None)]
#[case::array(r#"{"k":[1]}"#, None)]
#[case::escaped_key(r#"{"\u006b":1}"#, Some("n1"))]
#[case::pair_of_surrogates(r#"{"k":"\ud83d\ude00"}"#, Some("s😀"))]
#[case::high_surrogate_alone(r#"{"k":"\ud83d"}"#, None)]
#[case::low_surrogate_alone(r#"{"k":1,"l":"\ude00"}"#, None)]
#[case::surrogates_the_wrong_way_round(r#"{"k":"\ude00\ud83d"}"#, None)]
#[case::escaped_nul(r#"{"k":1,"l":"\u0000"}"#, None)]
#[case::escaped_backslash(r#"{"k":"\\u0000"}"#, Some(r"s\u0000"))]
#[case::number_beyond_all_types(r#"{"k":1e400000}"#, None)]
#[tokio::test]
async fn the_key_of_a_value_tells_types_apart(#[case] document: &str, #[case] expected: Option<&str>) {
    let Some(database) = fresh().await else { return };
    let store = database.open(&[]).await.unwrap();
    let found = sql(&store, &format!("SELECT annals_json_key('{document}', '{{k}}')")).await;
    assert_eq!(found, [[expected.map(str::to_owned)]]);
    store.close().await;
    database.remove().await.unwrap();
}

#[tokio::test]
async fn an_index_over_a_path_refuses_no_event() {
    let Some(database) = fresh().await else { return };
    let store = database.open(&[]).await.unwrap();
    let mut session = store.backend().session().await.unwrap();
    session
        .execute("CREATE INDEX probe ON events (lane_id, annals_json_key(data, ARRAY['k']), position)")
        .await
        .unwrap();
    let long = "x".repeat(100_000);
    for document in [format!(r#"{{"k":"{long}"}}"#), r#"{"k":"\u0000"}"#.to_owned(), r#"{"k":1e400000}"#.to_owned()] {
        let event = NewEvent::new("Added", annals::Json::parse(document).unwrap().into()).unwrap();
        store.append(&stream(), Expected::Any, [event]).await.unwrap();
    }
    let filter = JsonFilter::new("data.k", serde_json::Value::from(long)).unwrap();
    assert_eq!(store.query(Query::new().json(filter)).await.unwrap().len(), 1);
    store.close().await;
    database.remove().await.unwrap();
}

#[tokio::test]
async fn a_request_of_several_events_with_tags_and_a_command_is_one_call() {
    let Some(database) = fresh().await else { return };
    let store = database.open(&[("application_name", "annals_one_call")]).await.unwrap();
    let other = database.open(&[]).await.unwrap();
    store.append(&stream(), Expected::Any, [event()]).await.unwrap();
    // Each connection shows its last statement; that of the append may be followed by a notification.
    let last = "SELECT query FROM pg_stat_activity WHERE application_name = 'annals_one_call' AND state = 'idle' \
                AND query NOT LIKE '%set_config%' AND query NOT LIKE '%pg_notify%'";
    let (mut seen, mut version) = (false, 1);
    for round in 1..=1_000 {
        // The notification of one append keeps that of the next one back for a moment.
        for _ in 0..=(round % 4) {
            let events = (0..3).map(|number| event().with_tags([format!("n:{number}"), "all".to_owned()]).unwrap());
            let command = annals::Command::new(uuid::Uuid::now_v7()).with_type("add").unwrap();
            let append = Append::new().to(stream(), Expected::exact(version), events).command(command);
            let done = store.commit(append).await.unwrap();
            assert_eq!(done.positions, Some((Position::new(version + 1), Position::new(version + 3))));
            version += 3;
        }
        let found = sql(&other, last).await;
        assert!(found.iter().flatten().flatten().all(|query| query.starts_with("SELECT annals_append")), "{found:?}");
        seen = !found.is_empty();
        if seen {
            break;
        }
    }
    assert!(seen, "each append was followed by something else");
    let all = store.query(Query::new().tags(["all"]).unwrap()).await.unwrap();
    assert_eq!(all.len(), usize::try_from(version - 1).unwrap());
    assert_eq!(store.query(Query::new().tags(["all", "n:2"]).unwrap()).await.unwrap()[0].position, Position::new(4));
    store.close().await;
    other.close().await;
    database.remove().await.unwrap();
}

#[tokio::test]
async fn an_index_over_payloads_is_built_once_and_can_be_dropped() {
    let Some(database) = fresh().await else { return };
    let store = database.open(&[]).await.unwrap();
    store.append(&stream(), Expected::NoStream, [event()]).await.unwrap();
    let added = store.add_index("data.n").await.unwrap();
    assert_eq!(store.add_index("data.n").await.unwrap(), added);
    assert_eq!(store.indexes().await.unwrap(), [added]);
    store.append(&stream(), Expected::exact(1), [event()]).await.unwrap();
    assert!(store.drop_index("data.n").await.unwrap());
    assert!(!store.drop_index("data.n").await.unwrap() && store.indexes().await.unwrap().is_empty());
    store.close().await;
    database.remove().await.unwrap();
}
