//! What the writers of a store have done.

use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::position::LaneId;

/// What the writer of one lane has done since its store was opened; see [`Store::metrics`](crate::Store::metrics).
///
/// The numbers are read one after the other while the writer goes on, so that they may be a batch apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[non_exhaustive]
pub struct WriterMetrics {
    /// The lane.
    pub lane: LaneId,
    /// Requests that wait for room or in the queue, or are being committed.
    pub waiting: usize,
    /// Requests that the database decided.
    pub requests: u64,
    /// Of those, requests that were refused: a conflict, a failed condition and the like.
    pub refused: u64,
    /// Batches that were committed. `requests / batches` is the mean size of a batch.
    pub batches: u64,
    /// Requests of the largest batch.
    pub largest_batch: usize,
    /// The time that the database took to decide and commit batches, in all.
    pub commit_time: Duration,
    /// The time of the batch that took longest.
    pub longest_commit: Duration,
    /// How often a batch was sent again because its connection was lost.
    pub resent: u64,
    /// How often a batch was sent again because the database rolled it back for the sake of others: a deadlock, a
    /// serialization failure.
    pub rolled_back: u64,
}

/// The counters of a lane's writer, which counts while others read.
#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub waiting: AtomicUsize,
    pub resent: AtomicU64,
    pub rolled_back: AtomicU64,
    /// The last position that was seen in the lane, and when.
    head: Mutex<Option<(i64, Instant)>>,
    requests: AtomicU64,
    refused: AtomicU64,
    batches: AtomicU64,
    largest_batch: AtomicUsize,
    commit_micros: AtomicU64,
    longest_micros: AtomicU64,
}

impl Counters {
    /// Counts a batch that was answered.
    pub(crate) fn count(&self, requests: usize, refused: usize, took: Duration) {
        let micros = took.as_micros().try_into().unwrap_or(u64::MAX);
        self.requests.fetch_add(requests as u64, Ordering::Relaxed);
        self.refused.fetch_add(refused as u64, Ordering::Relaxed);
        self.batches.fetch_add(1, Ordering::Relaxed);
        self.largest_batch.fetch_max(requests, Ordering::Relaxed);
        self.commit_micros.fetch_add(micros, Ordering::Relaxed);
        self.longest_micros.fetch_max(micros, Ordering::Relaxed);
    }

    /// Notes a position that was seen in the lane.
    pub(crate) fn saw(&self, position: i64) {
        let mut head = self.head.lock().unwrap_or_else(PoisonError::into_inner);
        let last = head.map_or(position, |(last, _)| last.max(position));
        *head = Some((last, Instant::now()));
    }

    /// Returns the lane's last position, if one was seen within some time.
    pub(crate) fn head_within(&self, time: Duration) -> Option<i64> {
        let head = *self.head.lock().unwrap_or_else(PoisonError::into_inner);
        head.filter(|(_, seen)| seen.elapsed() < time).map(|(last, _)| last)
    }

    pub(crate) fn metrics(&self, lane: LaneId) -> WriterMetrics {
        let number = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WriterMetrics {
            lane,
            waiting: self.waiting.load(Ordering::Relaxed),
            requests: number(&self.requests),
            refused: number(&self.refused),
            batches: number(&self.batches),
            largest_batch: self.largest_batch.load(Ordering::Relaxed),
            commit_time: Duration::from_micros(number(&self.commit_micros)),
            longest_commit: Duration::from_micros(number(&self.longest_micros)),
            resent: number(&self.resent),
            rolled_back: number(&self.rolled_back),
        }
    }
}
