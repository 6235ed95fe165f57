//! A bank account: rules without a database, a state that is kept in snapshots, a balance as it was.
//!
//! `cargo run --example bank` keeps the events in memory; a URL as its argument keeps them there.

use annals::{ActorType, Aggregate, ExecuteError, Snapshots, Store, TypedEvent, Version};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
struct Account {
    owner: Option<String>,
    cents: i64,
}

enum Command {
    Open { owner: String },
    Deposit { cents: i64 },
    Withdraw { cents: i64 },
}

#[derive(Debug, PartialEq, Serialize, Deserialize)]
enum Event {
    #[serde(rename = "AccountOpened")]
    Opened {
        owner: String,
    },
    Deposited {
        cents: i64,
    },
    Withdrawn {
        cents: i64,
    },
}

impl TypedEvent for Event {}

#[derive(Debug, PartialEq, thiserror::Error)]
enum Refusal {
    #[error("the account belongs to {0} already")]
    Taken(String),
    #[error("there is no such account")]
    Unknown,
    #[error("{0} cents are not an amount")]
    NoAmount(i64),
    #[error("there are only {0} cents")]
    Overdrawn(i64),
}

impl Aggregate for Account {
    const TYPE: &'static str = "account";
    const SNAPSHOTS: Snapshots<Self> = Snapshots::every(10);
    type Command = Command;
    type Event = Event;
    type Error = Refusal;

    fn decide(&self, command: &Command) -> Result<Vec<Event>, Refusal> {
        match (command, &self.owner) {
            (Command::Open { .. }, Some(owner)) => Err(Refusal::Taken(owner.clone())),
            (Command::Open { owner }, None) => Ok(vec![Event::Opened { owner: owner.clone() }]),
            (_, None) => Err(Refusal::Unknown),
            (Command::Deposit { cents } | Command::Withdraw { cents }, _) if *cents <= 0 => {
                Err(Refusal::NoAmount(*cents))
            }
            (Command::Deposit { cents }, _) => Ok(vec![Event::Deposited { cents: *cents }]),
            (Command::Withdraw { cents }, _) if *cents > self.cents => Err(Refusal::Overdrawn(self.cents)),
            (Command::Withdraw { cents }, _) => Ok(vec![Event::Withdrawn { cents: *cents }]),
        }
    }

    fn evolve(&mut self, event: Event) {
        match event {
            Event::Opened { owner } => self.owner = Some(owner),
            Event::Deposited { cents } => self.cents += cents,
            Event::Withdrawn { cents } => self.cents -= cents,
        }
    }
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let url = std::env::args().nth(1).filter(|argument| argument.contains(':'));
    let store = Store::connect(&url.unwrap_or_else(|| "sqlite::memory:?migrate=auto".to_owned())).await?;
    let account = format!("account-{}", Uuid::now_v7());

    // A command is decided over the newest state, and what it decides on is stored.
    let open = Command::Open { owner: "Ada".to_owned() };
    store.execute::<Account>(&account, open).actor("Ada", ActorType::User).await?;
    for _ in 0..20 {
        store.execute::<Account>(&account, Command::Deposit { cents: 500 }).await?;
    }

    // A request that is sent twice, as its first answer was lost, is carried out once.
    let id = Uuid::now_v7();
    let first = store.execute::<Account>(&account, Command::Withdraw { cents: 9_000 }).command(id).await?;
    let again = store.execute::<Account>(&account, Command::Withdraw { cents: 9_000 }).command(id).await?;
    println!("{} cents are left at version {}", again.state.cents, again.version);
    assert_eq!((first.state.cents, again.state.cents), (1_000, 1_000));
    assert!(again.appended.duplicate);

    // What the rules reject is an error of the domain, apart from those of the store.
    match store.execute::<Account>(&account, Command::Withdraw { cents: 9_000 }).await {
        Err(ExecuteError::Rejected(refusal)) => println!("refused: {refusal}"),
        other => panic!("nobody can withdraw what is not there: {other:?}"),
    }

    // Tills race for the account, and the last cents go to one of them.
    let tills = (0..8).map(|_| store.execute::<Account>(&account, Command::Withdraw { cents: 400 }).into_future());
    let paid = futures::future::join_all(tills).await.into_iter().flatten().count();
    println!("{paid} of 8 tills paid");
    assert_eq!(paid, 2);

    // The account as it was.
    let then = store.load_as_of::<Account>(&account, Version::new(4)).await?;
    println!("after its fourth event, the account held {} cents", then.state.cents);
    assert_eq!(then.state.cents, 1_500);

    // Snapshots make loading short, and nothing depends on them.
    let with = store.load::<Account>(&account).await?;
    let removed = store.prune_snapshots(&account, Version::MAX).await?;
    assert_eq!((removed, store.load::<Account>(&account).await?.state), (2, with.state));

    store.close().await;
    Ok(())
}

#[cfg(test)]
mod tests {
    use annals::testing::given;

    use super::*;

    fn opened() -> Event {
        Event::Opened { owner: "Ada".to_owned() }
    }

    #[test]
    fn what_is_there_can_be_withdrawn() {
        given::<Account>([opened(), Event::Deposited { cents: 700 }])
            .when(Command::Withdraw { cents: 700 })
            .then_expect([Event::Withdrawn { cents: 700 }]);
    }

    #[test]
    fn more_than_there_is_cannot_be_withdrawn() {
        given::<Account>([opened(), Event::Deposited { cents: 700 }])
            .when(Command::Withdraw { cents: 701 })
            .then_rejected(&Refusal::Overdrawn(700));
    }

    #[test]
    fn an_account_is_opened_once() {
        let open = || Command::Open { owner: "Bob".to_owned() };
        given::<Account>([]).when(open()).then_expect([Event::Opened { owner: "Bob".to_owned() }]);
        given::<Account>([opened()]).when(open()).then_rejected(&Refusal::Taken("Ada".to_owned()));
    }

    #[test]
    fn the_example_runs() {
        main().unwrap();
    }
}
