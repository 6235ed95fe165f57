//! A command service of a workspace fabric: it saves an event before it publishes it, and publishes nothing that was not
//! saved. What its database and its broker are asked, and in which order, is recorded and looked at.
//!
//! `cargo run --example fabric`

mod recorder;

use std::sync::Arc;

use annals::{Aggregate, Config, Error, ExecuteError, Expected, Store, Stream, TypedEvent};
use recorder::{Journal, Recorder};
use serde::{Deserialize, Serialize};

/// A workspace, into which members are invited.
#[derive(Debug, Default)]
struct Workspace {
    members: Vec<String>,
}

struct Invite(String);

#[derive(Debug, Serialize, Deserialize)]
enum Event {
    MemberInvited { name: String },
}

impl TypedEvent for Event {}

#[derive(Debug, thiserror::Error)]
#[error("{0} is a member already")]
struct Member(String);

impl Aggregate for Workspace {
    const TYPE: &'static str = "workspace";
    type Command = Invite;
    type Event = Event;
    type Error = Member;

    fn decide(&self, Invite(name): &Invite) -> Result<Vec<Event>, Member> {
        if self.members.contains(name) {
            return Err(Member(name.clone()));
        }
        Ok(vec![Event::MemberInvited { name: name.clone() }])
    }

    fn evolve(&mut self, event: Event) {
        let Event::MemberInvited { name } = event;
        self.members.push(name);
    }
}

/// What tells other systems of events. This one only notes what it is given.
struct Publisher(Journal);

impl Publisher {
    fn publish(&self, event_type: &str) {
        self.0.note(format!("publish {event_type}"));
    }
}

/// Executes a command, and then publishes the events that it stored: `?` stands between the two.
async fn invite(store: &Store, publisher: &Publisher, workspace: &str, name: &str) -> Result<(), Failure> {
    // One try: whoever calls is told of a conflict, and decides what becomes of the command.
    let done = store.execute::<Workspace>(workspace, Invite(name.to_owned())).tries(1).await?;
    let Some((first, last)) = done.appended.positions else { return Ok(()) };
    for event in store.query(annals::Query::stream(workspace).after(first.plus(-1)).until(last)).await? {
        publisher.publish(&event.event_type);
    }
    Ok(())
}

type Failure = ExecuteError<Member>;

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let journal = Journal::default();
    let publisher = Publisher(journal.clone());
    let honest = Store::connect("sqlite::memory:?migrate=auto").await?;
    let recorder = Arc::new(Recorder::new(Arc::clone(honest.backend()), journal.clone()));
    let store = Store::with_backend(Arc::clone(&recorder) as _, &"sqlite::memory:".parse::<Config>()?).await?;

    // The append comes first.
    invite(&store, &publisher, "atelier", "ada").await?;
    assert_eq!(journal.take(), ["append MemberInvited", "publish MemberInvited"]);
    println!("saved, then published");

    // A rejected command touches neither.
    let refused = invite(&store, &publisher, "atelier", "ada").await;
    assert!(matches!(refused, Err(ExecuteError::Rejected(Member(name))) if name == "ada"));
    assert_eq!(journal.take(), [""; 0]);
    println!("rejected: nothing saved, nothing published");

    // A failed append publishes nothing.
    recorder.fail_next();
    let failed = invite(&store, &publisher, "atelier", "bob").await;
    assert!(matches!(failed, Err(ExecuteError::Store(Error::Backend { .. }))));
    assert_eq!(journal.take(), ["append failed"]);
    println!("not saved: nothing published");

    // A conflict reaches the caller: somebody else appends between the service's read and its append.
    let carol = Event::MemberInvited { name: "carol".to_owned() }.encode()?;
    recorder.interrupt_next(Stream::new(Workspace::TYPE, "atelier")?, carol, honest.clone());
    let conflict = invite(&store, &publisher, "atelier", "bob").await;
    let Err(ExecuteError::Store(Error::Conflict { expected, actual, .. })) = conflict else {
        panic!("the service was not told of the conflict: {conflict:?}");
    };
    assert_eq!((expected, actual.get()), (Expected::exact(1), 2));
    assert_eq!(journal.take(), ["append refused"]);
    println!("conflict: decided at {expected}, and it is at {actual}; nothing published");

    // The caller tries again, over what is there now.
    invite(&store, &publisher, "atelier", "bob").await?;
    assert_eq!(journal.take(), ["append MemberInvited", "publish MemberInvited"]);
    assert_eq!(store.load::<Workspace>("atelier").await?.state.members, ["ada", "carol", "bob"]);
    store.close().await;
    Ok(())
}

#[test]
fn the_example_runs() {
    main().unwrap();
}
