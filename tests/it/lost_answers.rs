//! Contract 4.5 over a Postgres whose connections a proxy cuts in the midst of an append: before the request reaches the
//! server, and after it was carried out.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};

use annals::conformance::{Database, Harness};
use annals::{Append, Command, Error, Expected, NewEvent, Position, Query, Store, Stream, Version};
use rstest::rstest;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use uuid::Uuid;

use crate::support;

const NOWHERE: u8 = 0;
const BEFORE_THE_REQUEST: u8 = 1;
const BEFORE_THE_ANSWER: u8 = 2;

/// Forwards connections, and cuts one at the point that is set, once.
struct Proxy {
    address: String,
    cut: Arc<AtomicU8>,
}

impl Proxy {
    async fn start(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap().to_string();
        let cut = Arc::new(AtomicU8::new(NOWHERE));
        let shared = Arc::clone(&cut);
        tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let server = TcpStream::connect(&server).await.unwrap();
                tokio::spawn(forward(client, server, Arc::clone(&shared)));
            }
        });
        Self { address, cut }
    }
}

async fn forward(mut client: TcpStream, mut server: TcpStream, cut: Arc<AtomicU8>) {
    let (mut request, mut answer) = (vec![0; 65_536], vec![0; 65_536]);
    loop {
        let (point, target, bytes) = tokio::select! {
            Ok(length) = client.read(&mut request) => (BEFORE_THE_REQUEST, &mut server, &request[..length]),
            Ok(length) = server.read(&mut answer) => (BEFORE_THE_ANSWER, &mut client, &answer[..length]),
            else => return,
        };
        let is_cut = cut.compare_exchange(point, NOWHERE, Ordering::SeqCst, Ordering::SeqCst).is_ok();
        if bytes.is_empty() || is_cut || target.write_all(bytes).await.is_err() {
            return;
        }
    }
}

/// A store whose connections go through a proxy, and one whose connections do not.
async fn behind_a_proxy(database: &dyn Database) -> (Store, Store, Proxy) {
    let url = database.url().unwrap();
    let server = url.split_once('@').unwrap().1.split('/').next().unwrap();
    let proxy = Proxy::start(server.to_owned()).await;
    let store = Store::connect(&url.replace(server, &proxy.address)).await.unwrap();
    // The statements are prepared now, so that the next exchange with the server is the append itself.
    let warm = Stream::new("cart", "cart-0").unwrap();
    store.append(&warm, Expected::Any, [NewEvent::json("Added", &0).unwrap()]).await.unwrap();
    (store, database.open(&[]).await.unwrap(), proxy)
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

    proxy.cut.store(point, Ordering::SeqCst);
    let refused = store.append(&stream, Expected::Any, [taken, NewEvent::json("Added", &2).unwrap()]).await;

    assert_eq!(proxy.cut.load(Ordering::SeqCst), NOWHERE, "nothing was cut");
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
    proxy.cut.store(point, Ordering::SeqCst);
    let appends = (0..40).map(|number| {
        let (store, stream) = (store.clone(), Stream::new("cart", format!("cart-{}", number % 4 + 1)).unwrap());
        async move { store.append(&stream, Expected::Any, [NewEvent::json("Added", &number).unwrap()]).await.unwrap() }
    });
    let outcomes = futures::future::join_all(appends).await;

    assert_eq!(proxy.cut.load(Ordering::SeqCst), NOWHERE, "nothing was cut");
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
    proxy.cut.store(point, Ordering::SeqCst);
    let outcome = store.commit(append).await.unwrap();

    assert_eq!(proxy.cut.load(Ordering::SeqCst), NOWHERE, "nothing was cut");
    let count = i64::try_from(events).unwrap();
    assert_eq!(outcome.positions, Some((Position::new(2), Position::new(count + 1))));
    assert_eq!((outcome.version(), outcome.duplicate), (Version::new(count), false));
    assert_eq!(direct.query(Query::new()).await.unwrap().len(), events + 1);
    store.close().await;
    direct.close().await;
    database.remove().await.unwrap();
}
