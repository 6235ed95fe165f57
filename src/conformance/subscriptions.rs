//! Contract section 2.2: the routines by which a person with only a SQL prompt keeps checkpoints.

use super::case::{Case, Failure, Verdict, cases, ensure, ensure_eq};
use super::harness::Fixture;
use super::prompt::{Argument, call, table};
use crate::backend::Session;

use Argument::{Number, Text};

pub(super) const CASES: &[Case] = cases![
    a_new_subscription_stands_at_the_beginning: "1.8", "2.2" if Routines;
    a_checkpoint_names_the_event_it_stands_at: "1.8", "2.2" if Routines, OneLane;
    a_checkpoint_never_moves_backwards: "2.2" if Routines, OneLane;
    a_checkpoint_beyond_the_head_is_refused: "2.2" if Routines, OneLane;
    a_checkpoint_of_no_subscription_is_refused: "2.2" if Routines;
    a_subscription_is_created_once: "2.2" if Routines, OneLane;
    a_deleted_subscription_can_be_created_anew: "2.2" if Routines, OneLane;
];

/// Opens a session with a subscription of the name `s`, on a log of five events of stream `a`.
async fn subscribed(f: &Fixture) -> Result<Box<dyn Session>, Failure> {
    f.filled("a", 5).await?;
    let mut session = f.store.backend().session().await?;
    session.execute(&call(f, "create_subscription", &[("name", Text("s"))])).await?;
    Ok(session)
}

fn checkpoint(f: &Fixture, name: &str, position: i64) -> String {
    call(f, "checkpoint_subscription", &[("name", Text(name)), ("new_position", Number(position))])
}

/// Returns position, version and event id of the subscription `s`; bytes and ids in digits only.
async fn row(f: &Fixture, session: &mut dyn Session) -> Result<Vec<Option<String>>, Failure> {
    let sql =
        format!("SELECT position, aggregate_version, event_id FROM {} WHERE name = 's'", table(f, "subscriptions"));
    let mut rows = session.query(&sql).await?;
    ensure_eq!(rows.len(), 1, "rows of the subscription");
    let plain = |cell: Option<String>| cell.map(|text| text.replace('-', "").to_lowercase());
    Ok(rows.remove(0).into_iter().map(plain).collect())
}

async fn a_new_subscription_stands_at_the_beginning(f: &Fixture) -> Verdict {
    let mut session = subscribed(f).await?;
    ensure_eq!(row(f, &mut *session).await?, [Some("0".to_owned()), None, None], "position, version and event");
    Ok(())
}

async fn a_checkpoint_names_the_event_it_stands_at(f: &Fixture) -> Verdict {
    let mut session = subscribed(f).await?;
    let reached = session.query(&checkpoint(f, "s", 3)).await?.concat();
    ensure_eq!(reached, [Some("3".to_owned())], "position that was answered");
    let event = f.store.read_stream("a").await?.remove(2).event_id.simple().to_string();
    let expected = ["3", "3", &event].map(|text| Some(text.to_owned()));
    ensure_eq!(row(f, &mut *session).await?, expected, "position, version and event");
    Ok(())
}

async fn a_checkpoint_never_moves_backwards(f: &Fixture) -> Verdict {
    let mut session = subscribed(f).await?;
    session.query(&checkpoint(f, "s", 4)).await?;
    for earlier in [4, 2, 1] {
        let reached = session.query(&checkpoint(f, "s", earlier)).await?.concat();
        ensure_eq!(reached, [Some("4".to_owned())], "position that a checkpoint at {earlier} was answered");
    }
    ensure_eq!(row(f, &mut *session).await?[0].as_deref(), Some("4"), "position");
    Ok(())
}

async fn a_checkpoint_beyond_the_head_is_refused(f: &Fixture) -> Verdict {
    let mut session = subscribed(f).await?;
    session.query(&checkpoint(f, "s", 5)).await?;
    ensure!(session.query(&checkpoint(f, "s", 6)).await.is_err(), "a position that no event has was accepted");
    ensure_eq!(row(f, &mut *session).await?[0].as_deref(), Some("5"), "position");
    Ok(())
}

async fn a_checkpoint_of_no_subscription_is_refused(f: &Fixture) -> Verdict {
    let mut session = subscribed(f).await?;
    ensure!(
        session.query(&checkpoint(f, "t", 1)).await.is_err(),
        "a subscription that does not exist has a checkpoint"
    );
    ensure_eq!(row(f, &mut *session).await?[0].as_deref(), Some("0"), "position of another subscription");
    Ok(())
}

async fn a_subscription_is_created_once(f: &Fixture) -> Verdict {
    let mut session = subscribed(f).await?;
    session.query(&checkpoint(f, "s", 2)).await?;
    let again = session.execute(&call(f, "create_subscription", &[("name", Text("s"))])).await;
    ensure!(again.is_err(), "a subscription was created twice");
    ensure_eq!(row(f, &mut *session).await?[0].as_deref(), Some("2"), "position");
    Ok(())
}

async fn a_deleted_subscription_can_be_created_anew(f: &Fixture) -> Verdict {
    let mut session = subscribed(f).await?;
    session.query(&checkpoint(f, "s", 2)).await?;
    let delete = call(f, "delete_subscription", &[("name", Text("s"))]);
    let mut answers = Vec::new();
    for _ in 0..2 {
        answers.extend(session.query(&delete).await?.concat().into_iter().flatten());
    }
    let deleted: Vec<bool> = answers.iter().map(|answer| ["1", "t", "true"].contains(&answer.as_str())).collect();
    ensure_eq!(deleted, [true, false], "whether there was one, of {answers:?}");
    session.execute(&call(f, "create_subscription", &[("name", Text("s"))])).await?;
    ensure_eq!(row(f, &mut *session).await?[0].as_deref(), Some("0"), "position");
    Ok(())
}
