//! Webhooks: a receiver that fails, is late, refuses.

use std::time::{Duration, Instant};

use annals::relay::{Change, End, OnRefusal, Relay, Relayed, Webhook};
use annals::{ErrorClass, Store};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::webhook_server::{Answer, Request, WebhookServer};
use super::{DEADLINE, database, write};

const SECRET: [u8; 32] = [7; 32];
const OK: Answer = Answer::Status(204, "");

fn webhook(server: &WebhookServer) -> Webhook {
    let secret = format!("whsec_{}", STANDARD.encode(SECRET));
    Webhook::new(&server.url()).unwrap().secrets(secret.parse().unwrap()).timeout(Duration::from_millis(500))
}

fn relay(store: &Store, webhook: Webhook) -> Relay<Webhook> {
    Relay::new(store.durable("hook"), webhook).until_caught_up()
}

async fn run(relay: Relay<Webhook>) -> annals::Result<Relayed> {
    tokio::time::timeout(DEADLINE, relay.run(std::future::pending())).await.unwrap()
}

/// Checks a signature as a receiver does.
fn is_signed(request: &Request) -> bool {
    let (id, timestamp) = (request.header("webhook-id"), request.header("webhook-timestamp"));
    let mut mac = Hmac::<Sha256>::new_from_slice(&SECRET).unwrap();
    mac.update(format!("{id}.{timestamp}.{}", request.body).as_bytes());
    let signature = request.header("webhook-signature").strip_prefix("v1,").unwrap();
    let age = chrono::Utc::now().timestamp() - timestamp.parse::<i64>().unwrap();
    mac.verify_slice(&STANDARD.decode(signature).unwrap()).is_ok() && (0..60).contains(&age)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_receiver_that_fails_gets_every_event_in_order_until_it_confirms_it() {
    let answers = [
        OK,
        Answer::Status(503, "retry-after: 0"),
        OK,
        Answer::Drop,
        Answer::Half,
        OK,
        OK,
        Answer::Status(500, ""),
        Answer::Late(Duration::from_secs(5)),
        Answer::Status(200, ""),
        Answer::Status(429, "retry-after: Sat, 31 Jan 2026 09:29:00 GMT"),
        Answer::Status(408, ""),
    ];
    let (database, store) = database().await;
    let server = WebhookServer::start(move |n| answers[n % answers.len()]).await;
    write(&store, 1, 25).await;
    let relayed = run(relay(&store, webhook(&server))).await.unwrap();
    assert_eq!((relayed.end, relayed.published, relayed.skipped), (End::CaughtUp, 25, 0));
    let mut confirmed = 0;
    for request in server.requests() {
        assert_eq!(request.position(), confirmed + 1, "{request:?}");
        assert!(is_signed(&request), "{request:?}");
        assert_eq!(request.line, "POST /hook HTTP/1.1");
        assert_eq!(request.header("content-type"), "application/cloudevents+json; charset=utf-8");
        let body: serde_json::Value = serde_json::from_str(&request.body).unwrap();
        assert_eq!(body["id"], request.header("webhook-id"));
        if matches!(request.answer, Answer::Status(200..=299, _)) {
            confirmed += 1;
        }
    }
    assert_eq!(confirmed, 25);
    // The second run finds nothing to do.
    let known = server.requests().len();
    assert_eq!(run(relay(&store, webhook(&server))).await.unwrap().published, 0);
    assert_eq!(server.requests().len(), known);
    store.close().await;
    database.remove().await.unwrap();
}

#[tokio::test]
async fn a_pause_that_the_receiver_asks_for_is_kept() {
    let (database, store) = database().await;
    let server = WebhookServer::start(|n| if n == 0 { Answer::Status(503, "retry-after: 2") } else { OK }).await;
    write(&store, 1, 1).await;
    let begin = Instant::now();
    run(relay(&store, webhook(&server))).await.unwrap();
    assert!(begin.elapsed() >= Duration::from_secs(2), "{:?}", begin.elapsed());
    assert_eq!(server.requests().len(), 2);
    store.close().await;
    database.remove().await.unwrap();
}

#[tokio::test]
async fn a_refused_event_stops_the_relay_before_it_and_is_sent_again_by_the_next() {
    let (database, store) = database().await;
    let server = WebhookServer::start(|n| if n == 2 { Answer::Status(422, "") } else { OK }).await;
    write(&store, 1, 5).await;
    let error = run(relay(&store, webhook(&server))).await.unwrap_err();
    assert!(matches!(error, annals::Error::Backend { class: ErrorClass::Fatal, .. }), "{error:?}");
    let report = error.report();
    assert!(report.contains("position 3 ") && report.contains("422") && report.contains(": why"), "{report}");
    assert_eq!(run(relay(&store, webhook(&server))).await.unwrap().published, 3);
    let positions: Vec<u64> = server.requests().iter().map(Request::position).collect();
    assert_eq!(positions, [1, 2, 3, 3, 4, 5]);
    store.close().await;
    database.remove().await.unwrap();
}

#[tokio::test]
async fn a_refused_event_is_left_out_where_that_is_asked_for() {
    let (database, store) = database().await;
    let redirect = Answer::Status(301, "location: http://127.0.0.1:1/elsewhere");
    let server = WebhookServer::start(move |n| if n == 1 { redirect } else { OK }).await;
    write(&store, 1, 3).await;
    let (tell, told) = std::sync::mpsc::channel();
    let skipping = relay(&store, webhook(&server)).on_refusal(OnRefusal::Skip);
    let relayed = run(skipping.on_change(move |change| tell.send(change).unwrap())).await.unwrap();
    assert_eq!((relayed.published, relayed.skipped), (2, 1));
    let skipped = told.iter().find(|change| matches!(change, Change::Skipped { .. }));
    assert!(
        matches!(&skipped, Some(Change::Skipped { event, reason })
        if event.contains("position 2 ") && reason.contains("301")),
        "{skipped:?}"
    );
    assert_eq!(server.requests().iter().map(Request::position).collect::<Vec<_>>(), [1, 2, 3]);
    store.close().await;
    database.remove().await.unwrap();
}

#[tokio::test]
async fn a_receiver_that_is_away_is_given_up_only_when_that_is_asked_for_and_its_url_stays_secret() {
    let (database, store) = database().await;
    write(&store, 1, 1).await;
    let away = Webhook::new("http://user:s3cret@127.0.0.1:1/t0ken?key=s3cret").unwrap();
    let error = run(relay(&store, away).give_up_after(Duration::from_millis(500))).await.unwrap_err();
    assert!(error.is_retryable(), "{error:?}");
    let report = error.report();
    assert!(report.contains("the webhook at http://127.0.0.1:1: "), "{report}");
    assert!(!report.contains("s3cret") && !report.contains("t0ken") && !report.contains("user"), "{report}");
    store.close().await;
    database.remove().await.unwrap();
}
