//! A bank account: rules without a database, a state that is kept in snapshots, a balance as it was, and the balances of
//! all accounts in a table of their own.
//!
//! `cargo run --example bank` keeps the events in memory; a URL as its argument keeps them there.

use std::time::Duration;

use annals::{
    ActorType, Aggregate, ExecuteError, Projection, ProjectionResult, Query, RecordedEvent, Snapshots, Store,
    Transaction, TypedEvent, Version, projection_subscription,
};
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

/// The read model: a row for each account.
struct Balances;

#[async_trait::async_trait]
impl Projection for Balances {
    fn name(&self) -> &'static str {
        "balances"
    }

    fn query(&self) -> Query {
        Query::new().aggregate_type(Account::TYPE).unwrap_or_default()
    }

    async fn create(&mut self, transaction: &mut Transaction) -> ProjectionResult {
        let table = "CREATE TABLE balances_1 (account varchar(100) PRIMARY KEY, cents bigint NOT NULL)";
        transaction.execute(table, &[]).await?;
        Ok(())
    }

    async fn apply(&mut self, transaction: &mut Transaction, event: &RecordedEvent) -> ProjectionResult {
        let account = (&event.aggregate_id).into();
        let change = match Event::decode(event)? {
            Some(Event::Opened { .. }) => {
                transaction.execute("INSERT INTO balances_1 (account, cents) VALUES (?, 0)", &[account]).await?;
                return Ok(());
            }
            Some(Event::Deposited { cents }) => cents,
            Some(Event::Withdrawn { cents }) => -cents,
            None => return Ok(()),
        };
        let update = "UPDATE balances_1 SET cents = cents + ? WHERE account = ?";
        transaction.execute(update, &[change.into(), account]).await?;
        Ok(())
    }

    async fn clear(&mut self, transaction: &mut Transaction) -> ProjectionResult {
        transaction.execute("DELETE FROM balances_1", &[]).await?;
        Ok(())
    }
}

/// Reads the read model: each account with its cents.
async fn balances(store: &Store) -> annals::Result<Vec<(String, i64)>> {
    let rows = store.select("SELECT account, cents FROM balances_1 ORDER BY account", &[]).await?;
    rows.iter().map(|row| Ok((row.get(0)?, row.get(1)?))).collect()
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

    // The balances of all accounts, as a table that the database can sort and sum, say what the accounts say.
    let savings = format!("account-{}", Uuid::now_v7());
    store.execute::<Account>(&savings, Command::Open { owner: "Ada".to_owned() }).await?;
    let mut projector = store.project(Balances);
    projector.catch_up().await?;
    for (account, cents) in balances(&store).await? {
        assert_eq!(store.load::<Account>(&account).await?.state.cents, cents);
        println!("{account} holds {cents} cents");
    }

    // While the projection follows the log, who writes can wait until the table shows it.
    let deposit = async {
        let saved = store.execute::<Account>(&savings, Command::Deposit { cents: 300 }).await?;
        let name = projection_subscription("balances", 1);
        store.wait_for(&name, saved.appended.end(), Duration::from_secs(30)).await?;
        let rows = store.select("SELECT cents FROM balances_1 WHERE account = ?", &[(&savings).into()]).await?;
        Ok::<i64, Box<dyn std::error::Error>>(rows[0].get(0)?)
    };
    let shown = tokio::select! {
        ended = projector.run() => return Ok(ended?),
        shown = deposit => shown?,
    };
    assert_eq!(shown, 300);

    // The table holds nothing that the events don't tell: built again, it is the same.
    let before = balances(&store).await?;
    assert!(before.len() >= 2);
    projector.rebuild().await?;
    assert_eq!(balances(&store).await?, before);
    projector.close().await?;

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
