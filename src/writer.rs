//! The queue of a lane: requests that wait together are committed together, each with its own answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::{Mutex, Semaphore, SemaphorePermit, mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::append::Appended;
use crate::backend::{Backend, Request};
use crate::error::{Error, ErrorClass, Result};
use crate::limits;
use crate::position::LaneId;
use crate::resend;

/// Bytes of requests that are encoded and wait, or are being committed.
const QUEUED_BYTES: usize = 2 * limits::REQUEST_BYTES;
/// Bytes that one permit of the queue stands for.
const PERMIT_BYTES: usize = 1024;
/// Requests that are committed together at most.
const BATCH_REQUESTS: usize = 256;
/// Bytes that are committed together at most, unless one request alone has more.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// The writer of one lane.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: std::sync::Mutex<Option<mpsc::Sender<Waiting>>>,
    task: Mutex<Option<JoinHandle<()>>>,
    bytes: Semaphore,
    waiting: AtomicUsize,
}

/// A request in the queue.
struct Waiting {
    request: Arc<Request>,
    answer: oneshot::Sender<Result<Appended>>,
}

/// A place in the queue, taken before a request is encoded.
pub(crate) struct Place<'a> {
    writer: &'a Writer,
    _bytes: SemaphorePermit<'a>,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.writer.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Writer {
    /// Starts the writer of a lane, which sends a batch again for as long as `patience` where the connection is lost.
    pub(crate) fn start(backend: Arc<dyn Backend>, lane: LaneId, patience: Duration) -> Self {
        let (sender, receiver) = mpsc::channel(BATCH_REQUESTS * 4);
        let task = tokio::spawn(run(backend, lane, patience, receiver));
        Self {
            queue: std::sync::Mutex::new(Some(sender)),
            task: Mutex::new(Some(task)),
            bytes: Semaphore::new(QUEUED_BYTES / PERMIT_BYTES),
            waiting: AtomicUsize::new(0),
        }
    }

    /// Takes a place for a request of some weight in bytes, waiting until there is room.
    pub(crate) async fn place(&self, weight: usize) -> Result<Place<'_>> {
        let waiting = self.waiting.fetch_add(1, Ordering::Relaxed);
        let leave = LeaveOnDrop(&self.waiting);
        if waiting >= limits::WAITING_REQUESTS {
            return Err(Error::Overloaded { waiting });
        }
        let permits = u32::try_from((weight / PERMIT_BYTES + 1).min(QUEUED_BYTES / PERMIT_BYTES)).unwrap_or(u32::MAX);
        let bytes = self.bytes.acquire_many(permits).await.map_err(|_| Error::Closed)?;
        std::mem::forget(leave);
        Ok(Place { writer: self, _bytes: bytes })
    }

    /// Commits a request and returns its outcome. Dropping the future withdraws a request that is still queued; one
    /// that is being committed runs to its end.
    pub(crate) async fn commit(&self, _place: Place<'_>, request: Arc<Request>) -> Result<Appended> {
        let queue = self.queue.lock().map_err(|_| Error::Closed)?.clone().ok_or(Error::Closed)?;
        let (answer, outcome) = oneshot::channel();
        queue.send(Waiting { request, answer }).await.map_err(|_| Error::Closed)?;
        drop(queue);
        outcome.await.map_err(|_| Error::Closed)?
    }

    /// Takes no more requests, and waits until those that were taken are answered.
    pub(crate) async fn close(&self) {
        if let Ok(mut queue) = self.queue.lock() {
            queue.take();
        }
        if let Some(task) = self.task.lock().await.take()
            && let Err(error) = task.await
        {
            tracing::error!(%error, "the writer ended badly");
        }
    }
}

/// Takes a waiter off the count, unless it got its place.
struct LeaveOnDrop<'a>(&'a AtomicUsize);

impl Drop for LeaveOnDrop<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn run(backend: Arc<dyn Backend>, lane: LaneId, patience: Duration, mut queue: mpsc::Receiver<Waiting>) {
    let mut held = None;
    loop {
        let next = match held.take() {
            Some(waiting) => Some(waiting),
            None => queue.recv().await,
        };
        let Some(first) = next else { return };
        let mut bytes = first.request.bytes;
        let mut batch = vec![first];
        while batch.len() < BATCH_REQUESTS
            && let Ok(waiting) = queue.try_recv()
        {
            bytes += waiting.request.bytes;
            if bytes > BATCH_BYTES {
                held = Some(waiting);
                break;
            }
            batch.push(waiting);
        }
        batch.retain(|waiting| !waiting.answer.is_closed());
        let (requests, answers): (Vec<_>, Vec<_>) =
            batch.into_iter().map(|waiting| (waiting.request, waiting.answer)).unzip();
        for (answer, outcome) in answers.into_iter().zip(commit(&*backend, lane, &requests, patience).await) {
            // A caller that is gone needs no answer.
            let _ = answer.send(outcome);
        }
    }
}

/// Commits a batch; where all of it fails, halves it until the culprit alone gets the error.
async fn commit(
    backend: &dyn Backend,
    lane: LaneId,
    batch: &[Arc<Request>],
    patience: Duration,
) -> Vec<Result<Appended>> {
    let mut answers = Vec::with_capacity(batch.len());
    let mut parts = vec![batch];
    while let Some(part) = parts.pop() {
        match resend::commit(backend, lane, part, patience).await {
            Ok(outcomes) => answers.extend(outcomes),
            Err(error) if part.len() > 1 && is_the_data(&error) => {
                let (front, back) = part.split_at(part.len() / 2);
                parts.push(back);
                parts.push(front);
            }
            Err(error) => {
                let copies = (1..part.len()).map(|_| Err(copy(&error))).collect::<Vec<_>>();
                answers.extend(copies);
                answers.push(Err(error));
            }
        }
    }
    answers
}

/// Whether one request's data may be the reason why a batch failed.
fn is_the_data(error: &Error) -> bool {
    !matches!(error, Error::Backend { class: ErrorClass::Reconnect, .. } | Error::Ambiguous { .. } | Error::Closed)
}

/// An error for each request of a batch that failed for one reason.
fn copy(error: &Error) -> Error {
    match error {
        Error::Backend { backend, operation, class, source } => {
            Error::backend(backend, operation, *class, source.to_string())
        }
        Error::Ambiguous { operation } => Error::Ambiguous { operation },
        Error::Closed => Error::Closed,
        other => Error::backend("annals", "append", ErrorClass::Fatal, other.to_string()),
    }
}
