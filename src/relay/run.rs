//! How a relay runs: read a batch, publish it, acknowledge what is confirmed, and begin again.

use std::collections::{BTreeMap, VecDeque};
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::FutureExt;
use futures::future::Shared;

use super::backoff::Backoff;
use super::cloud_event::Format;
use super::publisher::{Message, Publisher, Trouble, Unconfirmed};
use super::{Change, End, OnRefusal, Relay, Relayed};
use crate::error::{Error, ErrorClass, Result};
use crate::event::RecordedEvent;
use crate::position::LaneId;
use crate::subscription::DurableSubscription;

/// Bytes of a batch, beyond which no further event is added.
const BATCH_BYTES: usize = 4 * 1024 * 1024;
/// How long a relay that is to stop waits for events that are on their way.
const GRACE: Duration = Duration::from_secs(5);

/// A relay that runs.
struct Run<P, S: Future<Output = ()>> {
    relay: Relay<P>,
    stop: Shared<S>,
    format: Format,
    topic: Arc<str>,
    /// What was read and is not confirmed, in order.
    pending: VecDeque<Message>,
    backoff: Backoff,
    /// Since when nothing works.
    failing: Option<Instant>,
    caught_up: bool,
    published: u64,
    skipped: u64,
}

/// Runs a relay to its end.
pub(super) async fn run<P: Publisher>(relay: Relay<P>, stop: impl Future<Output = ()> + Send) -> Result<Relayed> {
    let topic = relay.durable.store().topic();
    let format = Format {
        topic: topic.name.clone(),
        lanes: topic.lanes.len() > 1,
        source: relay.source.clone(),
        schema: relay.schema.clone(),
        whole: false,
    };
    let mut run = Run {
        topic: topic.name.as_str().into(),
        format,
        stop: stop.shared(),
        pending: VecDeque::new(),
        backoff: Backoff::default(),
        failing: None,
        caught_up: false,
        published: 0,
        skipped: 0,
        relay,
    };
    let end = run.until_end().await?;
    Ok(Relayed { end, published: run.published, skipped: run.skipped })
}

impl<P: Publisher, S: Future<Output = ()> + Send> Run<P, S> {
    fn tell(&mut self, change: Change) {
        (self.relay.watcher)(change);
    }

    async fn until_end(&mut self) -> Result<End> {
        loop {
            let Some(mut subscription) = self.open().await? else { return Ok(End::Stopped) };
            self.tell(Change::Started);
            let ended = self.pump(&mut subscription).await;
            // Another process has what this one read, and goes on with it.
            self.pending.clear();
            if let Err(Error::LeaseLost { .. }) = ended {
                continue;
            }
            let closed = subscription.close().await;
            let end = ended?;
            closed?;
            return Ok(end);
        }
    }

    /// Opens the subscription, waiting while another process has it; `None` where the relay is to stop.
    async fn open(&mut self) -> Result<Option<DurableSubscription>> {
        let mut standby = None;
        loop {
            let durable = self.relay.durable.clone();
            let opening = async { if standby.is_none() { durable.try_open().await } else { durable.open().await } };
            let opened = tokio::select! {
                biased;
                () = self.stop.clone() => return Ok(None),
                opened = opening => opened,
            };
            match opened {
                Ok(subscription) => {
                    self.recovered();
                    return Ok(Some(subscription));
                }
                Err(Error::LeaseHeld { owner, .. }) => {
                    self.tell(Change::Standby { owner: owner.clone() });
                    standby = Some(owner);
                }
                Err(error) => {
                    if !self.try_again(error).await? {
                        return Ok(None);
                    }
                }
            }
        }
    }

    /// Publishes until there is a reason to end.
    async fn pump(&mut self, subscription: &mut DurableSubscription) -> Result<End> {
        loop {
            let filled = tokio::select! {
                biased;
                () = self.stop.clone() => return Ok(End::Stopped),
                filled = fill(&mut self.pending, self.relay.publisher.batch_size(), subscription, &self.format, &self.topic) => filled,
            };
            match filled {
                Err(error) if self.pending.is_empty() => {
                    if !self.try_again(error).await? {
                        return Ok(End::Stopped);
                    }
                    continue;
                }
                // What was read comes first; an error that stays shows again.
                Err(_) | Ok(()) => {}
            }
            if self.pending.is_empty() {
                if self.failing.is_some() {
                    self.recovered();
                }
                if !std::mem::replace(&mut self.caught_up, true) {
                    self.tell(Change::CaughtUp);
                }
                if self.relay.until_caught_up {
                    return Ok(End::CaughtUp);
                }
                tokio::select! {
                    biased;
                    () = self.stop.clone() => return Ok(End::Stopped),
                    event = subscription.next() => match event {
                        Ok(event) => self.pending.push_back(message(event, &self.format, &self.topic)?),
                        Err(error) => {
                            if !self.try_again(error).await? {
                                return Ok(End::Stopped);
                            }
                            continue;
                        }
                    },
                }
            }
            if let Some(end) = self.deliver(subscription).await? {
                return Ok(end);
            }
        }
    }

    /// Publishes what is pending; `Some` where the relay ends.
    async fn deliver(&mut self, subscription: &mut DurableSubscription) -> Result<Option<End>> {
        while !self.pending.is_empty() {
            let (stop, messages) = (self.stop.clone(), self.pending.make_contiguous());
            let publishing = self.relay.publisher.publish(messages);
            let Some(published) = with_grace(stop, publishing).await else { return Ok(Some(End::Stopped)) };
            let confirmed = match &published {
                Ok(()) => self.pending.len(),
                Err(unconfirmed) => unconfirmed.confirmed.min(self.pending.len() - 1),
            };
            self.published += confirmed as u64;
            if confirmed > 0 {
                self.backoff.reset();
                self.failing = self.failing.map(|_| Instant::now());
            }
            let acknowledged = self.acknowledge(subscription, confirmed).await;
            if let Err(unconfirmed) = published {
                if let Some(end) = self.failed(subscription, unconfirmed).await? {
                    return Ok(Some(end));
                }
            } else {
                self.recovered();
            }
            if let Err(error) = acknowledged
                && !self.try_again(error).await?
            {
                return Ok(Some(End::Stopped));
            }
        }
        Ok(None)
    }

    /// Acknowledges the first events that are pending.
    async fn acknowledge(&mut self, subscription: &mut DurableSubscription, confirmed: usize) -> Result<()> {
        let mut ends: BTreeMap<LaneId, Arc<RecordedEvent>> = BTreeMap::new();
        for message in self.pending.drain(..confirmed) {
            ends.insert(message.event.lane, message.event);
        }
        let mut outcome = Ok(());
        for end in ends.into_values() {
            // Where saving fails, the acknowledgement is kept in memory.
            outcome = outcome.and(subscription.ack_up_to(&end).await);
        }
        outcome
    }

    /// Deals with an event that was not confirmed; `Some` where the relay ends.
    async fn failed(&mut self, subscription: &mut DurableSubscription, why: Unconfirmed) -> Result<Option<End>> {
        let Some(message) = self.pending.front() else { return Ok(None) };
        let (event, target) = (described(&message.event), self.relay.publisher.target());
        match (why.trouble, self.relay.on_refusal) {
            (Trouble::Closed, _) => return Ok(Some(End::Closed)),
            (Trouble::Refused, OnRefusal::Skip) => {
                self.tell(Change::Skipped { event, reason: why.reason });
                self.skipped += 1;
                return self.acknowledge(subscription, 1).await.map(|()| None);
            }
            (Trouble::Refused, OnRefusal::Stop) => {
                let reason = format!("{target} refused {event}: {}", why.reason);
                return Err(Error::backend("relay", "publish", ErrorClass::Fatal, reason));
            }
            (Trouble::Fatal, _) => {
                let reason = format!("{target}: {}", why.reason);
                return Err(Error::backend("relay", "publish", ErrorClass::Fatal, reason));
            }
            (Trouble::Retry, _) => {}
        }
        // A pause may be long: what is confirmed is saved before it. Who has lost the lease sends nothing again.
        match subscription.save().await.and(subscription.check().await) {
            Err(error) if !is_passing(&error) => return Err(error),
            _ => {}
        }
        let pause = self.backoff.pause().max(why.retry_after.unwrap_or_default());
        let goes_on = self.pause(format!("{target}: {}", why.reason), pause).await?;
        match subscription.check().await {
            Err(error) if !is_passing(&error) => Err(error),
            _ => Ok((!goes_on).then_some(End::Stopped)),
        }
    }

    /// Waits until the database may answer again; `false` where the relay is to stop.
    async fn try_again(&mut self, error: Error) -> Result<bool> {
        if !is_passing(&error) {
            return Err(error);
        }
        let pause = self.backoff.pause();
        self.pause(error.report(), pause).await
    }

    /// Says what failed, and waits; `false` where the relay is to stop.
    async fn pause(&mut self, reason: String, pause: Duration) -> Result<bool> {
        let since = *self.failing.get_or_insert_with(Instant::now);
        if self.relay.give_up_after.is_some_and(|limit| since.elapsed() + pause > limit) {
            let reason = format!("{reason}; nothing was confirmed for {:.1} s", since.elapsed().as_secs_f64());
            return Err(Error::backend("relay", "publish", ErrorClass::Retry, reason));
        }
        self.tell(Change::Retrying { reason, pause });
        Ok(tokio::select! {
            biased;
            () = self.stop.clone() => false,
            () = tokio::time::sleep(pause) => true,
        })
    }

    /// Notes that it works again.
    fn recovered(&mut self) {
        self.backoff.reset();
        if self.failing.take().is_some() {
            self.caught_up = false;
            self.tell(Change::Resumed);
        }
    }
}

/// Reads what is there, up to a batch. What was read is kept where reading on fails.
async fn fill(
    pending: &mut VecDeque<Message>,
    most: usize,
    subscription: &mut DurableSubscription,
    format: &Format,
    topic: &Arc<str>,
) -> Result<()> {
    let mut bytes = 0;
    while pending.len() < most && bytes < BATCH_BYTES {
        let Some(event) = subscription.try_next().await? else { break };
        let message = message(event, format, topic)?;
        bytes += message.body.len();
        pending.push_back(message);
    }
    Ok(())
}

fn message(event: Arc<RecordedEvent>, format: &Format, topic: &Arc<str>) -> Result<Message> {
    Ok(Message { key: format.key(&event), body: format.json(&event)?, topic: Arc::clone(topic), event })
}

/// Waits for what is on its way; once the relay is to stop, only for a while.
async fn with_grace<T>(stop: impl Future<Output = ()>, publishing: impl Future<Output = T>) -> Option<T> {
    let grace = async {
        stop.await;
        tokio::time::sleep(GRACE).await;
    };
    tokio::select! {
        biased;
        published = publishing => Some(published),
        () = grace => None,
    }
}

/// Whether an error of the database may be gone later.
fn is_passing(error: &Error) -> bool {
    error.is_retryable()
        || matches!(
            error,
            Error::Deadline { .. } | Error::Ambiguous { .. } | Error::Backend { class: ErrorClass::Ambiguous, .. }
        )
}

/// Names an event for a person.
fn described(event: &RecordedEvent) -> String {
    let RecordedEvent { event_type, event_id, position, lane, aggregate_id, .. } = event;
    format!("event {event_id} ({event_type} of {aggregate_id:?}, position {position} of lane {lane})")
}
