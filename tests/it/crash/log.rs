//! The log of a database as a reader sees it: followed from where the last check ended, event by event, against the
//! plans of the requests that were sent.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::pin::pin;

use annals::{Position, Query, RecordedEvent, Store, hash};
use futures::TryStreamExt;
use uuid::Uuid;

use super::line::Outcome;
use super::wish::{Key, Mark, Plan, Wish};

/// What is wrong, in a sentence that begins with a word for the kind of it.
pub type Verdict<T = ()> = Result<T, String>;

/// What was read so far.
#[derive(Debug, Default, Clone)]
pub struct Log {
    pub head: i64,
    /// The current version of each stream.
    pub streams: HashMap<String, i64>,
    /// The streams that got events since the last check.
    pub touched: HashSet<String>,
    /// How many events carry each tag that names a run.
    pub tagged: BTreeMap<String, usize>,
    /// Every request that stands, with its place.
    pub standing: HashMap<Key, (Wish, Outcome)>,
    /// Changes if any event that was read before is another one now.
    pub digest: u128,
}

/// A request of which some events were read.
struct Begun {
    wish: Wish,
    plan: Plan,
    outcome: Outcome,
    count: usize,
}

impl Log {
    /// Reads on to the end. Each request must be known, stand once, whole, and as it was sent.
    pub async fn follow(&mut self, store: &Store, wish: impl Fn(&Key) -> Option<Wish>) -> Verdict {
        let mut events = pin!(store.read(Query::new().after(Position::new(self.head)).include_deleted()));
        let mut begun: Option<Begun> = None;
        while let Some(event) = events.try_next().await.map_err(|error| format!("unreadable: {}", error.report()))? {
            self.place(&event)?;
            let mark: Mark = event.payload.to().map_err(|error| format!("spoiled: {event:?}: {error}"))?;
            let mut request = match begun.take() {
                None => self.begin(&mark, event.position, &wish)?,
                Some(request) if request.wish.key == mark.key && request.count == mark.index => request,
                Some(request) => return Err(request.torn()),
            };
            request.take(&event)?;
            if request.count < request.plan.events.len() {
                begun = Some(request);
            } else {
                self.standing.insert(request.wish.key, (request.wish, request.outcome));
            }
        }
        begun.map_or(Ok(()), |request| Err(request.torn()))
    }

    /// Takes an event's place: the next of the log and of its stream.
    fn place(&mut self, event: &RecordedEvent) -> Verdict {
        let (position, version, stream) = (event.position.get(), event.aggregate_version.get(), &event.aggregate_id);
        if position != self.head + 1 {
            return Err(format!("hole: position {position} follows {}", self.head));
        }
        let before = self.streams.insert(stream.clone(), version).unwrap_or(0);
        if version != before + 1 {
            return Err(format!("hole: version {version} of {stream} at position {position} follows {before}"));
        }
        self.head = position;
        self.touched.insert(stream.clone());
        for tag in event.tags.iter().filter(|tag| tag.starts_with("run:")) {
            *self.tagged.entry(tag.clone()).or_default() += 1;
        }
        let chain = [self.digest.to_be_bytes(), event.event_id.into_bytes()].concat();
        self.digest = Uuid::new_v5(&Uuid::NAMESPACE_OID, &chain).as_u128();
        Ok(())
    }

    fn begin(&self, mark: &Mark, position: Position, wish: impl Fn(&Key) -> Option<Wish>) -> Verdict<Begun> {
        let key = mark.key;
        if let Some((_, there)) = self.standing.get(&key) {
            return Err(format!("doubled: {key:?} stands at {}..{} and at {position}", there.first, there.last));
        }
        if mark.index > 0 {
            return Err(format!("torn: event {} of {key:?} stands at {position} without those before it", mark.index));
        }
        let wish = wish(&key).ok_or_else(|| format!("unknown: {key:?} at {position} was never sent"))?;
        let plan = wish.plan();
        let outcome =
            Outcome { first: position.get(), last: 0, versions: vec![], command: plan.command, event_ids: vec![] };
        Ok(Begun { wish, plan, outcome, count: 0 })
    }
}

impl Begun {
    /// Takes an event, which must be the one that was sent.
    fn take(&mut self, event: &RecordedEvent) -> Verdict {
        let planned = &self.plan.events[self.count];
        let as_sent = event.aggregate_id == planned.stream.id()
            && event.aggregate_type == planned.stream.aggregate_type()
            && event.event_type == planned.event_type
            && event.payload.as_json().map(annals::Json::as_str) == Some(&planned.data)
            && event.tags == planned.tags
            && planned.id.is_none_or(|id| id == event.event_id)
            && event.causation_id == self.plan.command;
        if !as_sent || event.hash != Some(hash::of(event)) {
            return Err(format!("spoiled: {event:?} is not {planned:?}"));
        }
        self.count += 1;
        self.outcome.last = event.position.get();
        self.outcome.event_ids.extend(planned.id);
        self.outcome.versions.retain(|(stream, _)| *stream != event.aggregate_id);
        self.outcome.versions.push((event.aggregate_id.clone(), event.aggregate_version.get()));
        if self.count == self.plan.events.len() {
            let place = |id: &String| self.plan.events.iter().position(|planned| planned.stream.id() == id);
            self.outcome.versions.sort_by_key(|(id, _)| place(id));
        }
        Ok(())
    }

    fn torn(&self) -> String {
        let (key, first) = (self.wish.key, self.outcome.first);
        format!("torn: {key:?} has {} of {} events from position {first} on", self.count, self.plan.events.len())
    }
}
