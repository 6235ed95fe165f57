//! Consumer groups: several members share the events of a subscription by stream.
//!
//! The streams of each lane are divided into shares by a hash. A share is in the hands of one member, and has a
//! checkpoint of its own, which is saved under the condition that the share is still the member's. The
//! [`Member`] is what the program holds, the [`Book`](book::Book) what the member has in its hands, and the
//! [`Driver`](driver::Driver) the task that reads, writes and takes its turns with the other members.

mod balance;
mod book;
mod driver;
mod letters;
mod member;
mod plan;
pub(super) mod share;
mod write;

use std::time::Duration;

pub use letters::DeadLetter;
pub use member::{Delivery, Member};

use super::Start;
use super::durable::Durable;
use crate::error::{Error, Result};
use crate::read::Query;
use crate::store::Store;
use book::Policy;

/// The shares of a group, where it does not say.
const SHARES: u16 = 16;
/// The most shares of a group.
const MOST_SHARES: u16 = 1_024;
/// How often an event is tried.
const ATTEMPTS: u32 = 5;
/// The shortest and the longest pause after a failure.
const BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(30));
/// How many events of a member are handed out at a time.
const IN_FLIGHT: usize = 64;

/// What a consumer group is to be; see [`Store::group`].
#[derive(Debug, Clone)]
pub struct Group {
    durable: Durable,
    shares: u16,
    policy: Policy,
}

impl Store {
    /// Describes a consumer group, whose members share the events by stream. Become one with [`Group::join`].
    ///
    /// ```
    /// # use annals::{Expected, NewEvent, Query, Store, Stream};
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> annals::Result<()> {
    /// # let store = Store::connect("sqlite::memory:?migrate=auto").await?;
    /// # let event = NewEvent::json("OrderPlaced", &serde_json::json!({"total": 12}))?;
    /// # store.append(&Stream::new("order", "order-1")?, Expected::NoStream, [event]).await?;
    /// # async fn send_invoice(event: &annals::RecordedEvent) -> std::io::Result<()> { Ok(()) }
    /// let placed = Query::new().event_types(["OrderPlaced"])?;
    /// let member = store.group("invoices").query(placed).join().await?;
    /// let delivery = member.next().await?;
    /// match send_invoice(delivery.event()).await {
    ///     Ok(()) => member.ack(delivery)?,
    ///     Err(error) => member.fail(delivery, error)?,
    /// }
    /// member.leave().await?;
    /// # Ok(())
    /// # }
    /// ```
    #[must_use]
    pub fn group(&self, name: impl Into<String>) -> Group {
        let policy = Policy { attempts: ATTEMPTS, backoff: BACKOFF, in_flight: IN_FLIGHT };
        Group { durable: self.durable(name), shares: SHARES, policy }
    }
}

impl Group {
    /// Chooses the events, which a name keeps for its life. Without this: all of them.
    #[must_use]
    pub fn query(mut self, query: Query) -> Self {
        self.durable = self.durable.query(query);
        self
    }

    /// Says where a new group begins; one that exists goes on where it stood. Without this: at the first event.
    #[must_use]
    pub fn start(mut self, start: Start) -> Self {
        self.durable = self.durable.start(start);
        self
    }

    /// Sets into how many shares a new group divides the streams, 1 to 1,024, at least one a lane; 16 without this. So
    /// many members can have work at a time. A group that exists keeps its number.
    #[must_use]
    pub fn shares(mut self, shares: u16) -> Self {
        self.shares = shares;
        self
    }

    /// Sets after how long without a sign of life a member counts as gone, from 100 ms to an hour; 10 s without this. Give
    /// all members of one group the same.
    #[must_use]
    pub fn lease(mut self, time: Duration) -> Self {
        self.durable = self.durable.lease(time);
        self
    }

    /// Sets when checkpoints are saved: after so many events, or so much time; 500 and 1 s without this.
    #[must_use]
    pub fn save_after(mut self, events: usize, every: Duration) -> Self {
        self.durable = self.durable.save_after(events, every);
        self
    }

    /// Sets how often an event is tried before it becomes a dead letter, at least once; 5 times without this.
    #[must_use]
    pub fn attempts(mut self, attempts: u32) -> Self {
        self.policy.attempts = attempts.max(1);
        self
    }

    /// Sets how long a stream rests after a failure: `least` after the first one, twice as long after each further one, up
    /// to `most`; each time up to half of it less, by chance. 200 ms and 30 s without this.
    #[must_use]
    pub fn backoff(mut self, least: Duration, most: Duration) -> Self {
        self.policy.backoff = (least, most.max(least));
        self
    }

    /// Sets how many events, each of another stream, the member has handed out at a time, at least one; 64 without this.
    #[must_use]
    pub fn in_flight(mut self, events: usize) -> Self {
        self.policy.in_flight = events.max(1);
        self
    }

    /// Joins the group, and creates it where there is none of the name. The others make room within a second, or a third
    /// of the lease if that is less.
    ///
    /// # Errors
    /// [`Error::Invalid`] where the name, the query or a number can't be used, or the name is of a subscription that is no
    /// group; [`Error::FilterChanged`] where the name stands for another query, [`Error::Unsupported`] where the backend
    /// knows no SQL, and what it answers.
    pub async fn join(self) -> Result<Member> {
        if !(1..=MOST_SHARES).contains(&self.shares) {
            let reason = format!("{} is not a number of shares from 1 to {MOST_SHARES}", self.shares);
            return Err(Error::invalid("shares", reason));
        }
        self.durable.create(Some(self.shares)).await?;
        Member::join(self.durable, self.policy).await
    }
}
