//! What a member writes: checkpoints, dead letters, shares that it gives back. All of it under the condition that the
//! shares are its own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::book::Key;
use super::driver::Driver;
use super::plan::Plan;
use crate::error::Result;
use crate::position::{LaneId, Position};
use crate::sql::{dead_letters, groups};
use crate::transaction::Transaction;

/// How a plan ended.
enum Outcome {
    Written,
    /// The shares are not all this member's any more.
    Lost,
    /// These streams have no dead letters any more, behind which events could be parked.
    Unparked(Vec<(Key, String)>),
}

impl Driver {
    /// Writes what is to be written.
    pub(super) async fn write(&mut self) -> Result<()> {
        self.pass();
        loop {
            let (plans, savers) = {
                let mut state = self.shared.lock();
                (state.book.urgent, state.book.finished) = (false, 0);
                (state.book.plans(), std::mem::take(&mut state.savers))
            };
            let outcome = if plans.is_empty() { Ok(Outcome::Written) } else { self.write_plans(&plans).await };
            if matches!(outcome, Ok(Outcome::Written)) {
                self.written(&plans);
                for saver in savers {
                    // Nobody may wait any more.
                    let _ = saver.send(Ok(()));
                }
                self.saved = Instant::now();
                return Ok(());
            }
            {
                let mut state = self.shared.lock();
                state.savers.extend(savers);
                state.book.urgent = true;
            }
            match outcome? {
                Outcome::Unparked(streams) => {
                    let mut state = self.shared.lock();
                    for (key, stream) in streams {
                        state.book.unpark(key, &stream);
                    }
                }
                _ => return self.balance().await,
            }
        }
    }

    /// Notes that plans were written.
    fn written(&mut self, plans: &[Plan]) {
        let mut state = self.shared.lock();
        for plan in plans {
            state.book.written(plan);
        }
        drop(state);
        if plans.iter().any(|plan| plan.release || plan.tried.iter().any(|(.., failure)| failure.is_none())) {
            // The next dead letter of the stream, and who takes the share.
            self.look = Instant::now();
        }
        self.store.inner.progress.send_replace(());
        self.shared.app.notify_waiters();
    }

    async fn write_plans(&self, plans: &[Plan]) -> Result<Outcome> {
        let mut transaction = self.store.begin().await?;
        let lanes: BTreeSet<LaneId> = plans.iter().map(|plan| self.lanes()[plan.key.0]).collect();
        for lane in &lanes {
            // The members write one after the other, so that the last one knows the least of all shares.
            transaction.write(groups::touch(self.dialect, &self.name, *lane)).await?;
        }
        if !self.save(&mut transaction, plans).await? {
            return Ok(Outcome::Lost);
        }
        let mut unparked = Vec::new();
        for plan in plans {
            unparked.extend(self.park(&mut transaction, plan).await?);
        }
        if !unparked.is_empty() {
            return Ok(Outcome::Unparked(unparked));
        }
        for plan in plans {
            self.note_tried(&mut transaction, plan).await?;
            if plan.release {
                let share = (self.lanes()[plan.key.0], plan.key.1);
                let give = groups::hand_over(self.dialect, &self.name, share, Some(&self.member), None);
                transaction.write(give).await?;
            }
        }
        for lane in &lanes {
            transaction.write(groups::advance(self.dialect, &self.name, *lane)).await?;
        }
        transaction.commit().await?;
        Ok(Outcome::Written)
    }

    /// Saves the checkpoints of shares; returns whether all of them are this member's.
    async fn save(&self, transaction: &mut Transaction, plans: &[Plan]) -> Result<bool> {
        let mut targets: BTreeMap<(LaneId, Position), Vec<i32>> = BTreeMap::new();
        for plan in plans {
            targets.entry((self.lanes()[plan.key.0], plan.target)).or_default().push(plan.key.1);
        }
        for (target, shares) in targets {
            let save = groups::save(self.dialect, &self.name, &self.member, target, &shares);
            if transaction.write(save).await? < shares.len() as u64 {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Parks events; returns the streams that have no dead letters behind which theirs could be.
    async fn park(&self, transaction: &mut Transaction, plan: &Plan) -> Result<Vec<(Key, String)>> {
        let (lane, mut known, mut unparked) = (self.lanes()[plan.key.0], None, Vec::new());
        for event in &plan.parked {
            if known != Some(&event.stream) && event.failure.is_none() {
                let count = dead_letters::count(self.dialect, &self.name, lane, &event.stream);
                let counts: Vec<i64> = transaction.fetch(count).await?;
                if counts.iter().all(|count| *count == 0) {
                    unparked.push((plan.key, event.stream.clone()));
                }
            }
            known = Some(&event.stream);
            let failed = event.failure.as_ref().map(super::plan::Failure::to_row);
            let place = (lane, event.position);
            transaction.write(dead_letters::park(self.dialect, &self.name, place, failed.as_ref())).await?;
        }
        Ok(unparked)
    }

    /// Notes what became of dead letters that were tried again. After one that was dealt with, the next is due.
    async fn note_tried(&self, transaction: &mut Transaction, plan: &Plan) -> Result<()> {
        let lane = self.lanes()[plan.key.0];
        for (stream, position, failure) in &plan.tried {
            let place = (lane, *position);
            if let Some(failure) = failure {
                transaction.write(dead_letters::fail(self.dialect, &self.name, place, &failure.to_row())).await?;
            } else {
                transaction.write(dead_letters::delete(self.dialect, &self.name, place)).await?;
                transaction.write(dead_letters::retry(self.dialect, &self.name, lane, Some(stream))).await?;
            }
        }
        Ok(())
    }
}
