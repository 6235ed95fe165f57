//! Contract 4.5 over a Postgres whose connections a proxy cuts in the midst of an append: before the request reaches the
//! server, and after it was carried out.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::time::Duration;

use annals::conformance::{Database, Harness, with_options};
use annals::{
    Append, Appended, Command, Condition, Error, Expected, NewEvent, Position, Query, Store, Stream, TopicCopy, Version,
};
use rstest::rstest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::support;

const NOWHERE: u8 = 0;
const BEFORE_THE_REQUEST: u8 = 1;
const BEFORE_THE_ANSWER: u8 = 2;

/// What becomes of the connections.
#[derive(Default)]
struct Fate {
    /// Where one is cut, once.
    cut: AtomicU8,
    /// How many messages pass that point before.
    passing: AtomicUsize,
    /// Whether the server stays away once one was cut.
    for_good: AtomicBool,
    away: AtomicBool,
}

impl Fate {
    /// Whether a message at a point is the one that is lost.
    fn strikes(&self, point: u8) -> bool {
        if self.cut.load(Ordering::SeqCst) != point {
            return false;
        }
        let passes = self.passing.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1));
        let is_cut = passes.is_err() && self.cut.swap(NOWHERE, Ordering::SeqCst) == point;
        self.away.fetch_or(is_cut && self.for_good.load(Ordering::SeqCst), Ordering::SeqCst);
        is_cut
    }
}

/// Forwards connections, and cuts one at the point that is set, once.
struct Proxy {
    address: String,
    fate: Arc<Fate>,
}

impl Proxy {
    async fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let fate = Arc::new(Fate::default());
        let shared = Arc::clone(&fate);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                if shared.away.load(Ordering::SeqCst) {
                    continue;
                }
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(forward(client, server, Arc::clone(&shared)));
            }
        });
        Self { address, fate }
    }

    /// Loses the next message at a point.
    fn cut(&self, point: u8) {
        self.cut_after(0, point);
    }

    /// Loses a message at a point, after some that pass it.
    fn cut_after(&self, passing: usize, point: u8) {
        self.fate.passing.store(passing, Ordering::SeqCst);
        self.fate.cut.store(point, Ordering::SeqCst);
    }

    /// Whether the message is lost that was to be.
    fn has_cut(&self) -> bool {
        self.fate.cut.load(Ordering::SeqCst) == NOWHERE
    }
}

async fn forward(mut client: TcpStream, mut server: TcpStream, fate: Arc<Fate>) {
    let (mut request, mut answer) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        let (point, target, bytes) = tokio::select! {
            Ok(length) = client.read(&mut request) => (BEFORE_THE_REQUEST, &mut server, &request[..length]),
            Ok(length) = server.read(&mut answer) => (BEFORE_THE_ANSWER, &mut client, &answer[..length]),
            else => return,
        };
        let is_lost = fate.strikes(point) || fate.away.load(Ordering::SeqCst);
        if bytes.is_empty() || is_lost || target.write_all(bytes).await.is_err() {
            return;
        }
    }
}

/// A store whose connections go through a proxy, and one whose connections do not.
async fn behind_a_proxy(database: &dyn Database) -> (Store, Store, Proxy) {
    behind_a_proxy_with(database, &[]).await
}

/// As [`behind_a_proxy`], with options for the store behind it.
async fn behind_a_proxy_with(database: &dyn Database, options: &[(&str, &str)]) -> (Store, Store, Proxy) {
    let url = database.url().unwrap();
    let server = url.split_once('@').unwrap().1.split('/').next().unwrap();
    let proxy = Proxy::start(server.to_owned()).await;
    let url = with_options(&url.replace(server, &proxy.address), options);
    let store = Store::connect(&url).await.unwrap();
    // The statements are prepared now, so that the next exchange with the server is the append itself.
    let warm = Stream::new("cart", "cart-0").unwrap();
    store.append(&warm, Expected::Any, [NewEvent::json("Added", &0).unwrap()]).await.unwrap();
    (store, database.open(&[]).await.unwrap(), proxy)
}

/// The server takes a request, or the network loses it, and nobody can be asked which until the deadline.
#[rstest]
#[case::lost(BEFORE_THE_REQUEST, 1)]
#[case::stored(BEFORE_THE_ANSWER, 2)]
#[tokio::test]
async fn a_request_whose_server_stays_away_is_ambiguous(#[case] point: u8, #[case] events: usize) {
    let Some(schemas) = support::schemas("postgres") else { return };
    let database = schemas.fresh().await.unwrap();
    let (store, direct, proxy) = behind_a_proxy_with(&*database, &[("statement_timeout", "3s")]).await;
    let stream = Stream::new("cart", "cart-1").unwrap();
    proxy.fate.for_good.store(true, Ordering::SeqCst);
    proxy.cut(point);
    let answer = store.append(&stream, Expected::NoStream, [NewEvent::json("Added", &1).unwrap()]).await;

    assert!(proxy.has_cut(), "nothing was cut");
    assert!(matches!(answer, Err(Error::Ambiguous { .. })), "{answer:?}");
    assert_eq!(direct.query(Query::new()).await.unwrap().len(), events);
    proxy.fate.away.store(false, Ordering::SeqCst);
    store.append(&stream, Expected::Any, [NewEvent::json("Added", &2).unwrap()]).await.unwrap();
    store.close().await;
    direct.close().await;
    database.remove().await.unwrap();
}

/// Before the request is sent again the topic is moved, with what was stored of it.
#[rstest]
#[case::lost(BEFORE_THE_REQUEST, 0)]
#[case::stored(BEFORE_THE_ANSWER, 1)]
#[tokio::test]
async fn a_request_in_doubt_is_looked_up_where_the_topic_was_moved(#[case] point: u8, #[case] events: i64) {
    let Some(schemas) = support::schemas("postgres") else { return };
    let database = schemas.fresh().await.unwrap();
    let (store, direct, proxy) = behind_a_proxy(&*database).await;
    proxy.fate.for_good.store(true, Ordering::SeqCst);
    proxy.cut(point);
    let append = tokio::spawn({
        let store = store.clone();
        async move {
            let stream = Stream::new("cart", "cart-1").unwrap();
            store.append(&stream, Expected::NoStream, [NewEvent::json("Added", &1).unwrap()]).await
        }
    });
    while !proxy.has_cut() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let copy = TopicCopy::begin(direct.clone(), "sqlite::memory:?migrate=auto".parse().unwrap()).await.unwrap();
    copy.cutover(|_| {}).await.unwrap();
    proxy.fate.away.store(false, Ordering::SeqCst);

    let answer = append.await.unwrap();
    match answer {
        Ok(appended) => assert_eq!((events, appended.duplicate), (1, false)),
        Err(Error::Moved { .. }) => assert_eq!(events, 0),
        other => panic!("{other:?}"),
    }
    assert_eq!(copy.to().version("cart-1").await.unwrap().get(), events);
    copy.to().close().await;
    store.close().await;
    direct.close().await;
    database.remove().await.unwrap();
}

/// A batch that may have been stored is refused for the data of one of its requests when it is sent again.
#[rstest]
#[tokio::test]
async fn a_batch_in_doubt_fails_for_its_culprit_alone(
    #[values(BEFORE_THE_REQUEST, BEFORE_THE_ANSWER)] point: u8,
    #[values(0, 5, 10)] culprit: usize,
) {
    let Some(schemas) = support::schemas("postgres") else { return };
    let database = schemas.fresh().await.unwrap();
    let (store, direct, proxy) = behind_a_proxy(&*database).await;
    let rule = "ALTER TABLE events ADD CONSTRAINT poisoned CHECK (event_type <> 'Poison')";
    direct.backend().session().await.unwrap().execute(rule).await.unwrap();
    proxy.cut(point);
    let appends = (0..11).map(|number| {
        let (store, stream) = (store.clone(), Stream::new("cart", format!("cart-{}", number % 4 + 1)).unwrap());
        let event = NewEvent::json(if number == culprit { "Poison" } else { "Added" }, &number).unwrap();
        async move { store.append(&stream, Expected::Any, [event]).await }
    });
    let answers = futures::future::join_all(appends).await;

    assert!(proxy.has_cut(), "nothing was cut");
    let mut positions = Vec::new();
    for (number, answer) in answers.into_iter().enumerate() {
        match answer {
            Ok(outcome) => positions.push(outcome.position().get()),
            Err(Error::Backend { .. }) if number == culprit => {}
            Err(error) => panic!("request {number} was answered by {error:?}"),
        }
    }
    positions.sort_unstable();
    assert_eq!(positions, (2..=11).collect::<Vec<_>>());
    assert_eq!(store.metrics()[0].largest_batch, 11, "the requests were not committed together");
    assert_eq!(direct.query(Query::new()).await.unwrap().len(), 11);
    store.close().await;
    direct.close().await;
    database.remove().await.unwrap();
}

/// Requests that take several exchanges with the server.
#[derive(Debug, Clone, Copy)]
enum Slow {
    Deletion,
    /// Its condition would fail for its own event.
    Condition,
    /// Several streams, and a repetition's look-up.
    Command,
}

/// Sends a request of a stream at version 1, over a log that ends at a position.
async fn send(store: &Store, slow: Slow, stream: Stream, head: Position) -> Appended {
    let event = || [NewEvent::json("Added", &1).unwrap()];
    let append = Append::new().to(stream.clone(), Expected::exact(1), event());
    let outcome = match slow {
        Slow::Deletion => store.delete(&stream, Expected::exact(1)).await,
        Slow::Condition => store.commit(append.condition(Condition::after(head).or(["Added"], [""; 0]).unwrap())).await,
        Slow::Command => {
            let first = Stream::new("cart", "cart-0").unwrap();
            store.commit(append.guard(first, Expected::Exists).command(Command::new(Uuid::new_v4()))).await
        }
    };
    outcome.unwrap()
}

#[rstest]
#[tokio::test]
async fn a_request_that_is_cut_at_any_of_its_messages_is_stored_once(
    #[values(Slow::Deletion, Slow::Condition, Slow::Command)] slow: Slow,
    #[values(BEFORE_THE_REQUEST, BEFORE_THE_ANSWER)] point: u8,
    #[values(false, true)] is_prepared: bool,
) {
    let Some(schemas) = support::schemas("postgres") else { return };
    let database = schemas.fresh().await.unwrap();
    let stream = |name: String| Stream::new("cart", name).unwrap();
    let event = || [NewEvent::json("Added", &1).unwrap()];
    for passing in 0..100 {
        let (store, direct, proxy) = behind_a_proxy(&*database).await;
        if is_prepared {
            let stream = stream(format!("cart-{passing}-prepared"));
            let head = store.append(&stream, Expected::NoStream, event()).await.unwrap().position();
            send(&store, slow, stream, head).await;
        }
        let stream = stream(format!("cart-{passing}-cut"));
        let head = store.append(&stream, Expected::NoStream, event()).await.unwrap().position();
        proxy.cut_after(passing, point);
        let outcome = send(&store, slow, stream.clone(), head).await;

        let at = format!("cut after {passing} messages");
        assert_eq!((outcome.position(), outcome.duplicate), (head.next(), false), "{at}");
        assert_eq!(outcome.version_of(stream.id()), Some(Version::new(2)), "{at}");
        let log = direct.query(Query::new()).await.unwrap();
        assert_eq!(log.last().map(|event| event.position), Some(head.next()), "{at}");
        let has_cut = proxy.has_cut();
        proxy.cut(NOWHERE);
        store.close().await;
        direct.close().await;
        if !has_cut {
            assert!(passing > 0, "nothing was cut");
            return database.remove().await.unwrap();
        }
    }
    panic!("a request of so many messages");
}

/// The first attempt is refused for the first event, whose id is taken. The second must not take that event for its own.
#[rstest]
#[tokio::test]
async fn a_request_that_was_refused_is_refused_when_it_is_sent_again(
    #[values(BEFORE_THE_REQUEST, BEFORE_THE_ANSWER)] point: u8,
) {
    let Some(schemas) = support::schemas("postgres") else { return };
    let database = schemas.fresh().await.unwrap();
    let (store, direct, proxy) = behind_a_proxy(&*database).await;
    let stream = Stream::new("cart", "cart-1").unwrap();
    let taken = NewEvent::json("Added", &1).unwrap().with_id(Uuid::new_v4());
    direct.append(&stream, Expected::NoStream, [taken.clone()]).await.unwrap();

    proxy.cut(point);
    let refused = store.append(&stream, Expected::Any, [taken, NewEvent::json("Added", &2).unwrap()]).await;

    assert!(proxy.has_cut(), "nothing was cut");
    assert!(matches!(refused, Err(Error::DuplicateEvent { .. })), "{refused:?}");
    assert_eq!(direct.query(Query::new()).await.unwrap().len(), 2);
    store.close().await;
    direct.close().await;
    database.remove().await.unwrap();
}

/// Requests that are committed together are each answered for their own events.
#[rstest]
#[tokio::test]
async fn a_batch_that_is_sent_again_is_stored_once(#[values(BEFORE_THE_REQUEST, BEFORE_THE_ANSWER)] point: u8) {
    let Some(schemas) = support::schemas("postgres") else { return };
    let database = schemas.fresh().await.unwrap();
    let (store, direct, proxy) = behind_a_proxy(&*database).await;
    proxy.cut(point);
    let appends = (0..40).map(|number| {
        let (store, stream) = (store.clone(), Stream::new("cart", format!("cart-{}", number % 4 + 1)).unwrap());
        async move { store.append(&stream, Expected::Any, [NewEvent::json("Added", &number).unwrap()]).await.unwrap() }
    });
    let outcomes = futures::future::join_all(appends).await;

    assert!(proxy.has_cut(), "nothing was cut");
    let mut positions: Vec<_> = outcomes.iter().map(|outcome| outcome.position().get()).collect();
    positions.sort_unstable();
    assert_eq!(positions, (2..=41).collect::<Vec<_>>());
    assert_eq!(direct.query(Query::new()).await.unwrap().len(), 41);
    store.close().await;
    direct.close().await;
    database.remove().await.unwrap();
}

#[rstest]
#[case::lone(1, false)]
#[case::several(20, false)]
#[case::with_a_command(3, true)]
#[tokio::test]
async fn a_request_that_is_sent_again_is_stored_once(
    #[case] events: usize,
    #[case] with_command: bool,
    #[values(BEFORE_THE_REQUEST, BEFORE_THE_ANSWER)] point: u8,
    #[values(Expected::NoStream, Expected::Any)] expected: Expected,
) {
    let Some(schemas) = support::schemas("postgres") else { return };
    let database = schemas.fresh().await.unwrap();
    let (store, direct, proxy) = behind_a_proxy(&*database).await;
    let stream = Stream::new("cart", "cart-1").unwrap();
    let new: Vec<_> = (0..events).map(|number| NewEvent::json("Added", &number).unwrap()).collect();
    let mut append = Append::new().to(stream, expected, new);
    if with_command {
        append = append.command(Command::new(Uuid::new_v4()));
    }
    proxy.cut(point);
    let outcome = store.commit(append).await.unwrap();

    assert!(proxy.has_cut(), "nothing was cut");
    let count = i64::try_from(events).unwrap();
    assert_eq!(outcome.positions, Some((Position::new(2), Position::new(count + 1))));
    assert_eq!((outcome.version(), outcome.duplicate), (Version::new(count), false));
    assert_eq!(direct.query(Query::new()).await.unwrap().len(), events + 1);
    store.close().await;
    direct.close().await;
    database.remove().await.unwrap();
}
