//! What the children told, against what the database holds.

use std::collections::HashMap;

use annals::{Appended, Error, Expected, Query, Result, Store, StreamFilter};
use futures::future::join_all;

use super::line::{Line, Outcome};
use super::log::{Log, Verdict};
use super::random;
use super::wish::{Key, Plan, Wish};

/// Requests that are sent again together.
const TOGETHER: usize = 256;
/// Acknowledged commands of earlier cycles that are sent again in each.
const OLD_COMMANDS: usize = 20;

/// What is known of all requests.
#[derive(Debug, Default)]
pub struct Book {
    pub log: Log,
    /// The requests of the children that run, or ran last.
    fates: HashMap<Key, (Wish, Fate)>,
    /// The commands that stand, of all cycles.
    commands: Vec<Key>,
    pub acknowledged: usize,
    pub unanswered: usize,
}

/// What was last told of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Fate {
    Open,
    /// An attempt may have been carried out. That a later one was refused says nothing of it.
    InDoubt,
    Done(Outcome),
    Refused(String),
}

impl Book {
    /// Notes a line, and returns whether it is an acknowledgement.
    pub fn note(&mut self, line: Line) -> bool {
        let (key, told) = match line {
            Line::Sent(wish) => {
                self.fates.entry(wish.key).or_insert((wish, Fate::Open));
                (wish.key, Fate::Open)
            }
            Line::InDoubt { key, .. } => (key, Fate::InDoubt),
            Line::Refused { key, error } => (key, Fate::Refused(error)),
            Line::Done { key, outcome } => (key, Fate::Done(outcome)),
        };
        let is_done = matches!(told, Fate::Done(_));
        self.acknowledged += usize::from(is_done);
        let (_, fate) = self.fates.get_mut(&key).expect("a request is sent before it is answered");
        if *fate != Fate::InDoubt || is_done {
            *fate = told;
        }
        is_done
    }

    /// Checks what the children told since the last check, and all that was stored since. Nobody else writes.
    pub async fn check(&mut self, store: &Store) -> Verdict {
        self.follow(store).await?;
        self.unanswered += self.fates.values().filter(|(_, fate)| matches!(fate, Fate::Open | Fate::InDoubt)).count();
        self.judge()?;
        self.agree(store).await?;
        self.repeat(store).await?;
        self.follow(store).await?;
        self.judge()?;
        self.agree(store).await?;
        self.repeat_old(store).await?;
        let wishes = self.fates.values().map(|(wish, _)| wish).filter(|wish| wish.plan().command.is_some());
        self.commands.extend(wishes.map(|wish| wish.key).filter(|key| self.log.standing.contains_key(key)));
        self.fates.clear();
        self.log.touched.clear();
        self.log.tagged.clear();
        Ok(())
    }

    async fn follow(&mut self, store: &Store) -> Verdict {
        let fates = &self.fates;
        self.log.follow(store, |key| fates.get(key).map(|(wish, _)| *wish)).await
    }

    /// Every acknowledged request stands where it was said to, and no refused one does.
    fn judge(&self) -> Verdict {
        for (key, (_, fate)) in &self.fates {
            match (fate, self.log.standing.get(key)) {
                (Fate::Done(told), None) => {
                    return Err(format!(
                        "lost: {key:?} was acknowledged as {told:?}, and the log ends at {}",
                        self.log.head
                    ));
                }
                (Fate::Done(told), Some((_, found))) if told != found => {
                    return Err(format!("out of place: {key:?} was acknowledged as {told:?} and stands as {found:?}"));
                }
                (Fate::Refused(error), Some((_, found))) => {
                    return Err(format!("refused: {key:?} was refused ({error}) and stands as {found:?}"));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// The lane's head, the streams' versions and the rows of the tags agree with the log.
    async fn agree(&self, store: &Store) -> Verdict {
        let heads = store.heads().await.map_err(unreadable)?;
        if heads.iter().map(|(_, head)| head.get()).ne([self.log.head]) {
            return Err(format!("head: the lanes' heads are {heads:?}, and the log ends at {}", self.log.head));
        }
        for stream in &self.log.touched {
            let (found, last) = (store.version(stream).await.map_err(unreadable)?.get(), self.log.streams[stream]);
            if found != last {
                return Err(format!("head: stream {stream} is at version {found}, and its last event has {last}"));
            }
        }
        for (tag, count) in &self.log.tagged {
            let query = Query::new().tags([tag]).map_err(unreadable)?;
            let found = store.query(query).await.map_err(unreadable)?.len();
            if found != *count {
                return Err(format!("tags: {found} of the {count} events of {tag} are found by it"));
            }
        }
        Ok(())
    }

    /// Sends again every request that has an identity, and the answers must be those of the first time. One that was
    /// not stored may be stored now, once.
    async fn repeat(&mut self, store: &Store) -> Verdict {
        let known: Vec<Wish> = self.fates.values().map(|(wish, _)| *wish).collect();
        for round in ["first", "second"] {
            for wishes in known.chunks(TOGETHER) {
                for (wish, plan, answer) in send(store, wishes).await {
                    self.answered(wish, &plan, answer).map_err(|error| format!("{error} ({round} repetition)"))?;
                }
            }
        }
        Ok(())
    }

    async fn repeat_old(&mut self, store: &Store) -> Verdict {
        let old = (0..OLD_COMMANDS).filter(|_| !self.commands.is_empty());
        let old: Vec<Wish> = old.map(|_| self.log.standing[&self.commands[random(self.commands.len())]].0).collect();
        for (wish, plan, answer) in send(store, &old).await {
            self.answered(wish, &plan, answer).map_err(|error| format!("{error} (an earlier cycle's)"))?;
        }
        Ok(())
    }

    /// Judges the answer to a repetition.
    fn answered(&mut self, wish: Wish, plan: &Plan, answer: Result<Appended>) -> Verdict {
        let key = wish.key;
        let told = match self.fates.get(&key) {
            Some((_, Fate::Done(told))) => Some(told),
            _ => self.log.standing.get(&key).map(|(_, found)| found),
        };
        match (answer, told) {
            (Ok(appended), Some(told)) if appended.duplicate && Outcome::new(&appended, plan) == *told => {}
            (Ok(appended), None) if !appended.duplicate => {
                self.fates.insert(key, (wish, Fate::Done(Outcome::new(&appended, plan))));
            }
            (Err(Error::DuplicateEvent { position, .. }), Some(told))
                if plan.command.is_none() && position.get() == told.first => {}
            (Err(error), None) if error.is_conflict() => {
                self.fates.insert(key, (wish, Fate::Refused(error.report())));
            }
            (answer, told) => return Err(format!("answered anew: {key:?} stands as {told:?}, and gets {answer:?}")),
        }
        Ok(())
    }

    /// Reads everything from the start: it is what it was, in every table.
    pub async fn check_all(&self, store: &Store) -> Verdict {
        let mut log = Log::default();
        log.follow(store, |key| self.log.standing.get(key).map(|(wish, _)| *wish)).await?;
        if (log.digest, log.head, &log.streams) != (self.log.digest, self.log.head, &self.log.streams) {
            return Err(format!("changed: what was read before is another log now, up to {}", log.head));
        }
        let (mut after, mut count) = (None, 0);
        loop {
            let filter = StreamFilter { after, include_deleted: true, limit: 5_000, ..StreamFilter::default() };
            let streams = store.streams(&filter).await.map_err(unreadable)?;
            count += streams.len();
            for stream in &streams {
                if log.streams.get(&stream.aggregate_id) != Some(&stream.version.get()) {
                    return Err(format!("head: {stream:?} is listed, and the log says otherwise"));
                }
            }
            match streams.last() {
                Some(last) => after = Some(last.aggregate_id.clone()),
                None => break,
            }
        }
        let events: i64 = store.statistics().await.map_err(unreadable)?.iter().map(|counted| counted.events).sum();
        if (count, events) != (log.streams.len(), log.head) {
            return Err(format!("head: {count} streams and {events} events are counted"));
        }
        Ok(())
    }
}

/// Sends requests together, those of them that have an identity.
async fn send(store: &Store, wishes: &[Wish]) -> Vec<(Wish, Plan, Result<Appended>)> {
    let plans = wishes.iter().map(|wish| (*wish, wish.plan())).filter(|(_, plan)| has_identity(plan));
    let answers = plans.map(|(wish, plan)| async move {
        let answer = store.commit(plan.append()).await;
        (wish, plan, answer)
    });
    join_all(answers).await
}

/// Whether a request is recognised when it is sent again: by its command, or by its events' ids before anything else.
fn has_identity(plan: &Plan) -> bool {
    plan.command.is_some() || (plan.expected == Expected::Any && plan.events.iter().all(|event| event.id.is_some()))
}

fn unreadable(error: Error) -> String {
    format!("unreadable: {}", error.report())
}
