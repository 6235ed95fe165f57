//! Given, when, then: an aggregate's rules tested without a database.

use std::fmt::Debug;

use chrono::DateTime;
use uuid::Uuid;

use crate::aggregate::{Aggregate, TypedEvent};
use crate::event::RecordedEvent;
use crate::position::{LaneId, Position, Version};

/// Begins a test of an aggregate's rules with what has happened to it.
///
/// Every event goes the way into the store's form and back, so that such a test tells of a wrong serde attribute, too,
/// and the enum's versions and upcasters are checked.
///
/// ```
/// # use annals::{Aggregate, TypedEvent};
/// # #[derive(Debug, Default)]
/// # struct Account { cents: i64 }
/// # #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
/// # enum Event { Deposited(i64), Withdrawn(i64) }
/// # impl TypedEvent for Event {}
/// # #[derive(Debug, PartialEq, thiserror::Error)]
/// # #[error("only {0} cents are left")]
/// # struct Overdrawn(i64);
/// # struct Withdraw(i64);
/// # impl Aggregate for Account {
/// #     const TYPE: &'static str = "account";
/// #     type Command = Withdraw;
/// #     type Event = Event;
/// #     type Error = Overdrawn;
/// #     fn decide(&self, command: &Withdraw) -> Result<Vec<Event>, Overdrawn> {
/// #         if command.0 > self.cents { Err(Overdrawn(self.cents)) } else { Ok(vec![Event::Withdrawn(command.0)]) }
/// #     }
/// #     fn evolve(&mut self, event: Event) {
/// #         match event { Event::Deposited(cents) => self.cents += cents, Event::Withdrawn(cents) => self.cents -= cents }
/// #     }
/// # }
/// use annals::testing::given;
///
/// given::<Account>([Event::Deposited(700)]).when(Withdraw(200)).then_expect([Event::Withdrawn(200)]);
/// given::<Account>([Event::Deposited(700)]).when(Withdraw(900)).then_rejected(&Overdrawn(700));
/// ```
///
/// # Panics
/// Where the enum of events can't be kept by the store, or one of the events does not come back as it was.
#[must_use = "a test goes on with `when`"]
#[track_caller]
pub fn given<A: Aggregate>(events: impl IntoIterator<Item = A::Event>) -> Given<A> {
    if let Err(error) = A::Event::check() {
        panic!("{error}");
    }
    let mut given = Given { state: A::default() };
    for event in events {
        given.state.evolve(come_back(&event));
    }
    given
}

/// An aggregate to which something has happened.
#[derive(Debug)]
#[must_use = "a test goes on with `when`"]
pub struct Given<A> {
    state: A,
}

impl<A: Aggregate> Given<A> {
    /// Lets the aggregate decide a command.
    ///
    /// # Panics
    /// Where an event that it decides on does not come back from the store's form.
    #[must_use = "a test ends with `then_expect` or `then_rejected`"]
    #[track_caller]
    pub fn when(mut self, command: A::Command) -> When<A> {
        let decided = self.state.decide(&command);
        for event in decided.iter().flatten() {
            self.state.evolve(come_back(event));
        }
        When { decided, state: self.state }
    }

    /// Returns the state.
    #[must_use]
    pub const fn state(&self) -> &A {
        &self.state
    }
}

/// What an aggregate decided.
#[derive(Debug)]
pub struct When<A: Aggregate> {
    decided: Result<Vec<A::Event>, A::Error>,
    state: A,
}

impl<A: Aggregate> When<A> {
    /// Checks which events the command made happen, in their order, `[]` for none; and returns the state after them.
    ///
    /// # Panics
    /// With a comparison, line by line, where they are others, and where the command was rejected.
    #[track_caller]
    pub fn then_expect(self, events: impl IntoIterator<Item = A::Event>) -> A
    where
        A::Event: Debug + PartialEq,
    {
        let expected: Vec<A::Event> = events.into_iter().collect();
        match &self.decided {
            Ok(decided) if *decided == expected => {}
            Ok(decided) => panic!("other events than expected:\n{}", compare(&expected, decided)),
            Err(error) => panic!("the command was rejected: {error}\nexpected: {expected:#?}"),
        }
        for event in &expected {
            let back = come_back(event);
            assert!(*event == back, "an event is another after it was stored:\n{}", compare(event, &back));
        }
        self.state
    }

    /// Checks that the command was rejected, and why.
    ///
    /// # Panics
    /// With a comparison, line by line, where it was for another reason, and where the command was not rejected.
    #[track_caller]
    pub fn then_rejected(self, error: &A::Error)
    where
        A::Event: Debug,
        A::Error: PartialEq,
    {
        match &self.decided {
            Err(rejected) if rejected == error => {}
            Err(rejected) => panic!("rejected for another reason than expected:\n{}", compare(error, rejected)),
            Ok(decided) => panic!("the command was not rejected with {error:?}; it made happen: {decided:#?}"),
        }
    }
}

/// Sends an event into the store's form and back.
#[track_caller]
fn come_back<E: TypedEvent>(event: &E) -> E {
    match there_and_back(event) {
        Ok(Some(event)) => event,
        Ok(None) => panic!("an event of type {} would be passed over", std::any::type_name::<E>()),
        Err(error) => panic!("an event of type {} can't be stored and read: {error}", std::any::type_name::<E>()),
    }
}

fn there_and_back<E: TypedEvent>(event: &E) -> crate::Result<Option<E>> {
    let event = event.encode()?;
    E::decode(&RecordedEvent {
        lane: LaneId::new(1),
        position: Position::new(1),
        event_id: Uuid::nil(),
        aggregate_id: "given".to_owned(),
        aggregate_type: "given".to_owned(),
        aggregate_version: Version::new(1),
        event_type: event.event_type,
        event_version: event.event_version,
        event_timestamp: DateTime::UNIX_EPOCH,
        actor: None,
        actor_type: event.actor_type,
        source: event.source,
        causation_id: None,
        correlation_id: None,
        payload: event.payload,
        metadata: event.metadata,
        tags: event.tags,
        hash: None,
    })
}

/// Shows two values line by line: `-` stands before what was expected and is missing, `+` before what is there instead.
fn compare(expected: &impl Debug, actual: &impl Debug) -> String {
    let (expected, actual) = (format!("{expected:#?}"), format!("{actual:#?}"));
    let (expected, actual): (Vec<&str>, Vec<&str>) = (expected.lines().collect(), actual.lines().collect());
    // common[i][j] is how many lines the rests of both from i and j on have in common, in the same order.
    let mut common = vec![vec![0; actual.len() + 1]; expected.len() + 1];
    for i in (0..expected.len()).rev() {
        for j in (0..actual.len()).rev() {
            common[i][j] = if expected[i] == actual[j] {
                common[i + 1][j + 1] + 1
            } else {
                common[i + 1][j].max(common[i][j + 1])
            };
        }
    }
    let (mut i, mut j, mut text) = (0, 0, String::new());
    while i < expected.len() || j < actual.len() {
        let (sign, line) = if i < expected.len() && j < actual.len() && expected[i] == actual[j] {
            (i, j) = (i + 1, j + 1);
            (' ', actual[j - 1])
        } else if j == actual.len() || i < expected.len() && common[i + 1][j] >= common[i][j + 1] {
            i += 1;
            ('-', expected[i - 1])
        } else {
            j += 1;
            ('+', actual[j - 1])
        };
        text.push_str(&format!("{sign} {line}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use serde::{Deserialize, Serialize};

    use super::*;

    #[derive(Debug, Default)]
    struct Door {
        open: bool,
    }

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Event {
        Opened { by: String },
        Closed,
        Scratched(#[serde(skip)] u8),
    }

    #[derive(Debug, PartialEq, thiserror::Error)]
    enum Refusal {
        #[error("it is open")]
        Open,
        #[error("it is closed")]
        Closed,
    }

    enum Command {
        Open,
        Close,
        Scratch,
    }

    impl TypedEvent for Event {}

    impl Aggregate for Door {
        const TYPE: &'static str = "door";
        type Command = Command;
        type Event = Event;
        type Error = Refusal;

        fn decide(&self, command: &Command) -> Result<Vec<Event>, Refusal> {
            match command {
                Command::Open if self.open => Err(Refusal::Open),
                Command::Open => Ok(vec![opened("ada")]),
                Command::Close if self.open => Ok(vec![Event::Closed]),
                Command::Close => Err(Refusal::Closed),
                Command::Scratch => Ok(vec![Event::Scratched(7)]),
            }
        }

        fn evolve(&mut self, event: Event) {
            match event {
                Event::Opened { .. } => self.open = true,
                Event::Closed => self.open = false,
                Event::Scratched(_) => {}
            }
        }
    }

    fn opened(by: &str) -> Event {
        Event::Opened { by: by.to_owned() }
    }

    fn message(test: impl FnOnce() + std::panic::UnwindSafe) -> String {
        *std::panic::catch_unwind(test).unwrap_err().downcast::<String>().unwrap()
    }

    #[test]
    fn what_is_as_expected_passes() {
        let door = given::<Door>([]).when(Command::Open).then_expect([opened("ada")]);
        assert!(door.open);
        assert!(given::<Door>([opened("bob")]).state().open);
        given::<Door>([opened("bob"), Event::Closed]).when(Command::Close).then_rejected(&Refusal::Closed);
    }

    #[test]
    fn other_events_are_shown_line_by_line() {
        let text = message(|| _ = given::<Door>([]).when(Command::Open).then_expect([opened("bob")]));
        assert!(text.contains("-         by: \"bob\",\n+         by: \"ada\",\n"), "{text}");
        assert!(text.contains("      Opened {\n"), "{text}");
        let text = message(|| _ = given::<Door>([]).when(Command::Open).then_expect([]));
        assert!(text.contains("- []\n"), "{text}");
    }

    #[test]
    fn what_is_rejected_or_not_against_expectation_is_told() {
        let open = || given::<Door>([opened("bob")]);
        let text = message(|| _ = open().when(Command::Open).then_expect([opened("ada")]));
        assert!(text.starts_with("the command was rejected: it is open\n"), "{text}");
        let text = message(|| open().when(Command::Open).then_rejected(&Refusal::Closed));
        assert!(text.ends_with("- Closed\n+ Open\n"), "{text}");
        let text = message(|| open().when(Command::Close).then_rejected(&Refusal::Open));
        assert!(text.starts_with("the command was not rejected with Open; it made happen: [\n    Closed,"), "{text}");
    }

    #[test]
    fn an_event_that_does_not_come_back_as_it_was_is_told() {
        let text = message(|| _ = given::<Door>([]).when(Command::Scratch).then_expect([Event::Scratched(7)]));
        assert!(text.contains("an event is another after it was stored"), "{text}");
    }
}
