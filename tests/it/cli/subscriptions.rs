//! Subscriptions and dead letters; their members are programs of others, here this test.

use annals::Store;
use serde_json::json;

use super::Annals;

/// Makes a group whose first event of stream `a` failed, with one of stream `b` that did not.
async fn failing(annals: &Annals) {
    for (stream, data) in [("a", "1"), ("b", "2"), ("a", "3")] {
        annals.put(stream, "A", data);
    }
    let store = Store::connect(&annals.url("store.db")).await.unwrap();
    let member = store.group("g").attempts(1).join().await.unwrap();
    for _ in 0..2 {
        let delivery = member.next().await.unwrap();
        if delivery.event().aggregate_id == "a" {
            member.fail(delivery, "no such customer").unwrap();
        } else {
            member.ack(delivery).unwrap();
        }
    }
    member.leave().await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn subscriptions_are_listed_and_deleted() {
    let annals = Annals::new();
    assert!(annals.json(["subscriptions"]).is_empty());
    failing(&annals).await;
    let listed = annals.json(["subscriptions"]).remove(0);
    assert_eq!((&listed["name"], &listed["lag"], &listed["is_running"]), (&json!("g"), &json!(0), &json!(false)));
    assert_eq!(listed["group"], json!({"members": [], "shares": 16, "dead_letters": 2}));
    assert!(annals.ok(["subscriptions", "list"]).starts_with("name  lag  run by"));
    assert_eq!(annals.json(["subscriptions", "delete", "g"]), [json!({"deleted": "g"})]);
    annals.run(["subscriptions", "delete", "g"]).fails(4, "there is no subscription");
}

#[tokio::test]
async fn a_subscription_that_somebody_runs_is_not_deleted() {
    let annals = Annals::new();
    let store = Store::connect(&annals.url("store.db")).await.unwrap();
    let member = store.group("g").join().await.unwrap();
    let listed = annals.json(["subscriptions"]).remove(0);
    assert_eq!((&listed["is_running"], &listed["group"]["members"][0]["is_alive"]), (&json!(true), &json!(true)));
    assert!(annals.ok(["subscriptions"]).contains("its members"));
    annals.run(["subscriptions", "delete", "g"]).fails(3, "is run by");
    member.leave().await.unwrap();
    store.close().await;
}

#[tokio::test]
async fn dead_letters_are_listed_retried_and_skipped() {
    let annals = Annals::new();
    failing(&annals).await;
    let letters = annals.json(["subscriptions", "dead-letters", "g"]);
    assert_eq!((&letters[0]["position"], &letters[0]["reason"]), (&json!(1), &json!("no such customer")));
    assert_eq!((&letters[1]["aggregate_id"], &letters[1]["attempts"]), (&json!("a"), &json!(0)));
    assert_eq!(annals.json(["subscriptions", "dead-letters", "g", "--limit", "1"]).len(), 1);
    let table = annals.ok(["subscriptions", "dead-letters", "g"]);
    assert!(table.starts_with("position  stream") && table.contains("failed") && table.contains("waits"), "{table}");

    assert_eq!(annals.json(["subscriptions", "retry", "g", "--stream", "b"]), [json!({"streams": 0})]);
    assert_eq!(annals.ok(["subscriptions", "retry", "g"]), "1 stream will be retried\n");
    assert!(annals.json(["subscriptions", "dead-letters", "g"])[0]["due_at"].is_string());

    assert_eq!(annals.json(["subscriptions", "skip", "g", "--position", "1"]), [json!({"skipped": 1, "lane": 1})]);
    annals.run(["subscriptions", "skip", "g", "--position", "1"]).fails(4, "no dead letter at position 1");
    annals.run(["subscriptions", "skip", "g", "--position", "3", "--lane", "9"]).fails(2, "name a lane");
    annals.run(["subscriptions", "dead-letters", "none"]).fails(4, "does not exist");
    assert_eq!(annals.json(["subscriptions", "dead-letters", "g"]).len(), 1);
}
