//! The members of a group and their shares: who is alive, what each is due, and how it changes hands.

use std::time::Instant;

use super::driver::Driver;
use super::share;
use crate::error::{Error, Result};
use crate::position::{LaneId, Position};
use crate::read::Query;
use crate::sql::dead_letters::{self, FirstLetter};
use crate::sql::groups::{self, MemberRow, ShareRow};

impl Driver {
    /// Says that this member is alive, looks at the others, and gives back or takes what makes it even.
    pub(super) async fn balance(&mut self) -> Result<()> {
        if self.beaten.elapsed() >= self.lease / 3 {
            self.beat().await?;
        }
        // In this order: who has a share was a member before.
        let shares = share::rows(&self.store, Some(&self.name)).await?;
        let members = self.members().await?;
        if shares.is_empty() {
            self.forget_all();
            return Err(Error::SubscriptionNotFound { name: self.name.clone() });
        }
        self.per_lane = shares.len() / self.lanes().len();
        let alive = self.remove_the_gone(members).await?;
        let Some(place) = alive.iter().position(|member| *member == self.member) else {
            // Removed between the sign of life and this look: the next one says so again.
            self.beaten = Instant::now().checked_sub(self.lease).unwrap_or(self.beaten);
            return Ok(());
        };
        self.forget_the_lost(&shares);
        let mine = shares.iter().filter(|row| row.owner.as_ref() == Some(&self.member)).count();
        let (quota, held) = (share::quota(shares.len(), alive.len(), place), self.shared.lock().book.held());
        if held > quota {
            self.shared.lock().book.give_back(held - quota);
            self.subscription = None;
        }
        let free: Vec<&ShareRow> =
            shares.iter().filter(|row| row.owner.as_ref().is_none_or(|owner| !alive.contains(owner))).collect();
        let wanted = quota.saturating_sub(mine);
        if wanted > 0 && !free.is_empty() {
            let taken = self.take_shares(&free, wanted).await?;
            self.adopt(taken).await?;
        } else {
            self.adopt(shares).await?;
        }
        self.look_for_due_letters().await
    }

    /// Says that this member is alive. Where the others have given it up, it has lost all, and begins anew.
    async fn beat(&mut self) -> Result<()> {
        let sent = Instant::now();
        let mut transaction = self.store.begin().await?;
        let beat = groups::beat(self.dialect, &self.name, self.first_lane(), &self.member, self.milliseconds());
        if transaction.write(beat).await? > 0 {
            transaction.commit().await?;
            self.is_sure(sent);
            return Ok(());
        }
        drop(transaction);
        self.forget_all();
        if share::rows(&self.store, Some(&self.name)).await?.is_empty() {
            return Err(Error::SubscriptionNotFound { name: self.name.clone() });
        }
        tracing::warn!(name = self.name, "the other members have given this one up: it joins anew");
        self.enter().await
    }

    async fn members(&self) -> Result<Vec<MemberRow>> {
        self.store.fetch(groups::members(self.dialect, &self.store.inner.topic.name, Some(&self.name))).await
    }

    /// Removes the members that have not been heard of in time, by the database's clock or by this one's, which no jump
    /// moves; returns the others.
    async fn remove_the_gone(&mut self, members: Vec<MemberRow>) -> Result<Vec<String>> {
        self.heard.retain(|member, _| members.iter().any(|row| row.member == *member));
        let mut alive = Vec::new();
        for row in members {
            if row.member == self.member {
                alive.push(row.member);
                continue;
            }
            let heard = self.heard.entry(row.member.clone()).or_insert((row.seen_until, Instant::now()));
            if heard.0 != row.seen_until {
                *heard = (row.seen_until, Instant::now());
            }
            if row.seen_until >= row.now && heard.1.elapsed() <= self.lease {
                alive.push(row.member);
                continue;
            }
            let mut transaction = self.store.begin().await?;
            let (lane, seen) = (self.first_lane(), Some(row.seen_until));
            if transaction.write(groups::remove(self.dialect, &self.name, lane, &row.member, seen)).await? == 0 {
                // It was heard of meanwhile.
                alive.push(row.member);
                continue;
            }
            let topic = &self.store.inner.topic.name;
            transaction.write(groups::free(self.dialect, topic, &self.name, &row.member)).await?;
            transaction.commit().await?;
            tracing::info!(name = self.name, member = row.member, "a member of a group is gone");
        }
        Ok(alive)
    }

    /// Forgets what is not this member's any more.
    fn forget_the_lost(&mut self, shares: &[ShareRow]) {
        let is_mine = |row: &&ShareRow| row.owner.as_ref() == Some(&self.member);
        let mine: Vec<_> = shares.iter().filter(is_mine).map(|row| (self.lane_index(row.lane), row.share)).collect();
        let mut state = self.shared.lock();
        let lost: Vec<_> = state.book.shares.keys().filter(|key| !mine.contains(key)).copied().collect();
        for key in lost {
            state.book.remove(key);
        }
    }

    fn forget_all(&mut self) {
        self.forget_the_lost(&[]);
        self.subscription = None;
    }

    /// Takes some of the shares that nobody has; returns all as they are then.
    async fn take_shares(&self, free: &[&ShareRow], wanted: usize) -> Result<Vec<ShareRow>> {
        let mut transaction = self.store.begin().await?;
        let mut taken = 0;
        for row in free {
            let from = row.owner.as_deref();
            let (share, to) = ((row.lane, row.share), Some(self.member.as_str()));
            taken += transaction.write(groups::hand_over(self.dialect, &self.name, share, from, to)).await?;
            if taken >= wanted as u64 {
                break;
            }
        }
        let shares = groups::shares(self.dialect, &self.store.inner.topic.name, Some(&self.name));
        let shares = transaction.fetch(shares).await?;
        transaction.commit().await?;
        Ok(shares)
    }

    /// Begins with the shares that are this member's in the table, and new to it.
    async fn adopt(&mut self, shares: Vec<ShareRow>) -> Result<()> {
        let is_new = |row: &ShareRow| {
            let key = (self.lane_index(row.lane), row.share);
            row.owner.as_ref() == Some(&self.member) && !self.shared.lock().book.shares.contains_key(&key)
        };
        let new: Vec<ShareRow> = shares.into_iter().filter(is_new).collect();
        if new.is_empty() {
            return Ok(());
        }
        self.verify(&new).await?;
        let topic = &self.store.inner.topic.name;
        let letters: Vec<FirstLetter> =
            self.store.fetch(dead_letters::firsts(self.dialect, topic, &self.name, false)).await?;
        let of = |row: &ShareRow| {
            let is_of = |letter: &&FirstLetter| {
                letter.lane == row.lane && share::of_stream(&letter.aggregate_id, self.per_lane) == row.share
            };
            letters.iter().filter(is_of).map(|letter| letter.aggregate_id.clone()).collect()
        };
        let mut state = self.shared.lock();
        for row in &new {
            state.book.add((self.lane_index(row.lane), row.share), row.position, of(row));
        }
        drop(state);
        self.subscription = None;
        Ok(())
    }

    /// Checks that the log is the one that the checkpoints of shares are of.
    async fn verify(&self, shares: &[ShareRow]) -> Result<()> {
        let mut known: Vec<(LaneId, Position)> = Vec::new();
        for row in shares.iter().filter(|row| row.position > Position::ZERO) {
            let place = (row.lane, row.position);
            if known.contains(&place) {
                continue;
            }
            if self.store.event_id_at(row.lane, row.position).await? != row.event_id {
                return Err(Error::LogDiverged { lane: row.lane.get(), position: row.position });
            }
            known.push(place);
        }
        Ok(())
    }

    /// Takes up the dead letters that are to be tried again, the first one of each stream.
    pub(super) async fn look_for_due_letters(&mut self) -> Result<()> {
        let topic = &self.store.inner.topic.name;
        let due: Vec<FirstLetter> =
            self.store.fetch(dead_letters::firsts(self.dialect, topic, &self.name, true)).await?;
        for letter in due {
            let key = (self.lane_index(letter.lane), share::of_stream(&letter.aggregate_id, self.per_lane));
            {
                let state = self.shared.lock();
                let is_held = state.book.shares.get(&key).is_some_and(|share| !share.leaving);
                if !is_held || state.book.is_in_work(key, &letter.aggregate_id) || !state.book.has_room() {
                    continue;
                }
            }
            let query = Query::new().after(letter.position.plus(-1)).until(letter.position);
            if let Some(event) = self.store.page(letter.lane, &query, 1).await?.events.pop() {
                self.shared.lock().book.try_again(key, event.into());
                self.shared.app.notify_waiters();
            }
        }
        Ok(())
    }
}
