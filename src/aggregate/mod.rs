//! Aggregates: what decides over a stream's events, and is what they made of it.

mod event;
mod execute;
mod load;
mod snapshots;
mod tagged;
mod upcast;

pub use event::{TypedEvent, Unknown, Upcaster};
pub use execute::{Execute, ExecuteError, Executed};
pub use load::{AsOf, Loaded};
pub use snapshots::Snapshots;

/// A decider: the state that a stream's events add up to, and the rules by which a command becomes events.
///
/// It is pure: it reads no clock and no database, and what it needs to know beside its state comes with the command.
/// [`Store::execute`](crate::Store::execute) runs commands over it, [`Store::load`](crate::Store::load) shows its state,
/// `testing::given` tests it without a database.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use annals::{Aggregate, Store, TypedEvent};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Debug, Default)]
/// struct Account {
///     cents: i64,
/// }
///
/// enum Command {
///     Deposit(i64),
///     Withdraw(i64),
/// }
///
/// #[derive(Serialize, Deserialize)]
/// enum Event {
///     Deposited { cents: i64 },
///     Withdrawn { cents: i64 },
/// }
///
/// impl TypedEvent for Event {}
///
/// #[derive(Debug, thiserror::Error)]
/// #[error("only {0} cents are left")]
/// struct Overdrawn(i64);
///
/// impl Aggregate for Account {
///     const TYPE: &'static str = "account";
///     type Command = Command;
///     type Event = Event;
///     type Error = Overdrawn;
///
///     fn decide(&self, command: &Command) -> Result<Vec<Event>, Overdrawn> {
///         match *command {
///             Command::Deposit(cents) => Ok(vec![Event::Deposited { cents }]),
///             Command::Withdraw(cents) if cents <= self.cents => Ok(vec![Event::Withdrawn { cents }]),
///             Command::Withdraw(_) => Err(Overdrawn(self.cents)),
///         }
///     }
///
///     fn evolve(&mut self, event: Event) {
///         match event {
///             Event::Deposited { cents } => self.cents += cents,
///             Event::Withdrawn { cents } => self.cents -= cents,
///         }
///     }
/// }
///
/// let store = Store::connect("sqlite::memory:?migrate=auto").await?;
/// store.execute::<Account>("ada", Command::Deposit(700)).await?;
/// let done = store.execute::<Account>("ada", Command::Withdraw(200)).await?;
/// assert_eq!(done.state.cents, 500);
///
/// let refused = store.execute::<Account>("ada", Command::Withdraw(600)).await;
/// assert_eq!(refused.unwrap_err().to_string(), "only 500 cents are left");
/// # Ok(())
/// # }
/// ```
pub trait Aggregate: Default + Send + Sync + 'static {
    /// The category of its streams, `aggregate_type`.
    const TYPE: &'static str;

    /// When its state is kept to shorten replays; never, unless it is overridden.
    const SNAPSHOTS: Snapshots<Self> = Snapshots::never();

    /// What can be asked of it.
    type Command: Send + Sync + 'static;

    /// What can happen to it.
    type Event: TypedEvent;

    /// Why a command is rejected; [`std::convert::Infallible`] where none ever is.
    type Error: std::error::Error + Send + Sync + 'static;

    /// Decides what a command makes happen: nothing, one event, or several that are stored together.
    ///
    /// It can be called several times for one command, over different states: where somebody else was faster, the
    /// command is decided anew.
    ///
    /// # Errors
    /// The domain's own, where the command is rejected.
    fn decide(&self, command: &Self::Command) -> Result<Vec<Self::Event>, Self::Error>;

    /// Takes in what has happened. It can't refuse.
    fn evolve(&mut self, event: Self::Event);
}
