//! The queue of a lane: requests that wait together are committed together, each with its own answer.
//!
//! A batch is what came in while the last one was being committed, and what the callers of that one send within a part of
//! its time. A lone request waits for nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::runtime::Handle;
use tokio::sync::{Mutex, OwnedSemaphorePermit, Semaphore, mpsc, oneshot};

use crate::append::{Appended, Condition};
use crate::backend::{Backend, Request};
use crate::error::{Error, ErrorClass, Result};
use crate::limits;
use crate::metrics::{Counters, WriterMetrics};
use crate::position::{LaneId, Position};
use crate::resend;
use crate::subscription::tail::Tail;

/// Bytes of requests that are encoded and wait, or are being committed.
const QUEUED_BYTES: usize = 2 * limits::REQUEST_BYTES;
/// Bytes that one permit of the queue stands for.
const PERMIT_BYTES: usize = 1024;
/// Requests that are committed together at most.
const BATCH_REQUESTS: usize = 256;
/// Requests in a queue at most. More wait outside of it, where dropping their futures frees them at once.
const SLOTS: usize = BATCH_REQUESTS * 4;

/// Bytes that are committed together at most, unless one request alone has more.
const BATCH_BYTES: usize = 4 * 1024 * 1024;

/// The part of the last batch's time for which the next one waits for more requests, at most.
const GATHERING: u32 = 8;

/// How long a batch waits for more requests, whatever time the last one took, at most.
const LONGEST_GATHERING: Duration = Duration::from_millis(1);

/// Microseconds after which tasks that commit in place let others have their turn, which wakes a thread.
const KEPT_MICROS: u64 = 1_000;

/// Events after a condition's position from which on it is examined before the lock.
const LONG_CONDITION: i64 = 1_000;

/// How long a position that was seen counts as the lane's last, as other stores write too.
const HEAD_IS_KNOWN: Duration = Duration::from_millis(100);

/// The writer of one lane.
#[derive(Debug)]
pub(crate) struct Writer {
    queue: std::sync::Mutex<Option<mpsc::UnboundedSender<Waiting>>>,
    ended: Mutex<oneshot::Receiver<()>>,
    bytes: Arc<Semaphore>,
    slots: Arc<Semaphore>,
    /// How long commits in place have kept the threads of tasks since one of these let others have their turn.
    kept_micros: AtomicU64,
    lane: Arc<LaneWork>,
}

/// A request in the queue. It keeps its place until it is answered, whether its caller still waits or not.
struct Waiting {
    request: Arc<Request>,
    answer: oneshot::Sender<Result<Appended>>,
    place: Place,
    _slot: OwnedSemaphorePermit,
}

/// A place in the queue, taken before a request is encoded.
pub(crate) struct Place {
    /// Nobody else had one, nor did several lately.
    alone: bool,
    _counted: Counted,
    _bytes: OwnedSemaphorePermit,
}

/// One of those who wait.
struct Counted(Arc<Counters>);

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.waiting.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Writer {
    /// Starts the writers of lanes that have these tails, which send a batch again for as long as `patience` where the connection is lost.
    ///
    /// A backend that blocks the thread on which it commits gets one for all of its lanes, which share its connection and
    /// take turns.
    ///
    /// # Errors
    /// [`Error::Backend`] where no thread can be had.
    pub(crate) fn start(backend: &Arc<dyn Backend>, tails: &[Arc<Tail>], patience: Duration) -> Result<Vec<Self>> {
        let work = |tail: &Arc<Tail>| LaneWork {
            backend: Arc::clone(backend),
            lane: tail.lane(),
            tail: Arc::clone(tail),
            is_only: tails.len() == 1,
            patience,
            counters: Arc::default(),
            callers: AtomicUsize::new(0),
        };
        let (writers, work): (Vec<_>, Vec<_>) = tails.iter().map(|tail| Self::new(work(tail))).unzip();
        if backend.commit_blocks() {
            let runtime = Handle::current();
            let run = move || runtime.block_on(join_all(work));
            let thread = std::thread::Builder::new().name("annals-writer".to_owned()).spawn(run);
            thread.map_err(|error| Error::backend(backend.name(), "connect", ErrorClass::Fatal, error))?;
        } else {
            for work in work {
                tokio::spawn(work);
            }
        }
        Ok(writers)
    }

    /// Makes the writer of a lane, and its work.
    fn new(lane: LaneWork) -> (Self, impl Future<Output = ()>) {
        // The slots bound it. A channel with bounds of its own would have callers hold it open while they wait.
        let (sender, receiver) = mpsc::unbounded_channel();
        let (end, ended) = oneshot::channel();
        let lane = Arc::new(lane);
        let work = {
            let lane = Arc::clone(&lane);
            async move {
                run(&lane, receiver).await;
                let _ = end.send(());
            }
        };
        let writer = Self {
            queue: std::sync::Mutex::new(Some(sender)),
            ended: Mutex::new(ended),
            bytes: Arc::new(Semaphore::new(QUEUED_BYTES / PERMIT_BYTES)),
            slots: Arc::new(Semaphore::new(SLOTS)),
            kept_micros: AtomicU64::new(0),
            lane,
        };
        (writer, work)
    }

    /// Whether a condition is to be examined before its request waits for the lane's lock, as it may look at many
    /// events.
    pub(crate) fn is_long(&self, condition: &Condition) -> bool {
        let head = self.lane.counters.head_within(HEAD_IS_KNOWN);
        let is_long = |head| head - condition.after.get() > LONG_CONDITION;
        !condition.items.is_empty() && head.is_none_or(is_long)
    }

    /// Notes a position that was seen in the lane.
    pub(crate) fn observe(&self, position: Position) {
        self.lane.counters.saw(position.get());
        self.lane.tail.saw(position);
    }

    /// Returns what this writer, which is the lane's, has done.
    pub(crate) fn metrics(&self) -> WriterMetrics {
        self.lane.counters.metrics(self.lane.lane)
    }

    /// Takes a place for a request of some weight in bytes, waiting until there is room.
    pub(crate) async fn place(&self, weight: usize) -> Result<Place> {
        let waiting = self.lane.counters.waiting.fetch_add(1, Ordering::Relaxed);
        let counted = Counted(Arc::clone(&self.lane.counters));
        if waiting >= limits::WAITING_REQUESTS {
            return Err(Error::Overloaded { waiting });
        }
        let permits = u32::try_from((weight / PERMIT_BYTES + 1).min(QUEUED_BYTES / PERMIT_BYTES)).unwrap_or(u32::MAX);
        let bytes = Arc::clone(&self.bytes).acquire_many_owned(permits).await.map_err(|_| Error::Closed)?;
        let alone = waiting == 0 && self.lane.callers.load(Ordering::Relaxed) <= 1;
        Ok(Place { alone, _counted: counted, _bytes: bytes })
    }

    /// Commits a request and returns its outcome. Dropping the future withdraws a request that is still queued; one
    /// that is being committed runs to its end.
    pub(crate) async fn commit(&self, place: Place, request: Arc<Request>) -> Result<Appended> {
        if place.alone && self.is_open() {
            let start = Instant::now();
            if let Some(answer) = self.lane.commit_briefly(&request) {
                self.yield_if_due(start.elapsed()).await;
                return answer;
            }
        }
        let slot = Arc::clone(&self.slots).acquire_owned().await.map_err(|_| Error::Closed)?;
        let (answer, outcome) = oneshot::channel();
        let waiting = Waiting { request, answer, place, _slot: slot };
        {
            let queue = self.queue.lock().map_err(|_| Error::Closed)?;
            queue.as_ref().ok_or(Error::Closed)?.send(waiting).map_err(|_| Error::Closed)?;
        }
        // Who takes a request answers it, unless the runtime has ended the writer meanwhile.
        outcome.await.map_err(|_| resend::AMBIGUOUS)?
    }

    fn is_open(&self) -> bool {
        self.queue.lock().is_ok_and(|queue| queue.is_some())
    }

    /// Lets other tasks have their turn once those that commit in place have kept their threads for long enough.
    async fn yield_if_due(&self, time: Duration) {
        let micros = time.as_micros().try_into().unwrap_or(u64::MAX);
        if self.kept_micros.fetch_add(micros, Ordering::Relaxed) > KEPT_MICROS {
            self.kept_micros.store(0, Ordering::Relaxed);
            tokio::task::yield_now().await;
        }
    }

    /// Takes no more requests, and waits until those that were taken are answered.
    pub(crate) async fn close(&self) {
        if let Ok(mut queue) = self.queue.lock() {
            queue.take();
        }
        let mut ended = self.ended.lock().await;
        if !ended.is_terminated() && (&mut *ended).await.is_err() {
            tracing::error!("the writer ended badly");
        }
    }
}

/// What the writer's task works with.
#[derive(Debug)]
pub(crate) struct LaneWork {
    pub backend: Arc<dyn Backend>,
    pub lane: LaneId,
    /// The lane's end, as those who follow it see it.
    tail: Arc<Tail>,
    /// Whether the topic has no other lane.
    is_only: bool,
    /// For how long a batch is sent again that may have been carried out when the connection was lost.
    pub patience: Duration,
    pub counters: Arc<Counters>,
    /// How many callers there were when the last batch was committed: those of its requests, and those who waited.
    pub callers: AtomicUsize,
}

async fn run(lane: &LaneWork, mut queue: mpsc::UnboundedReceiver<Waiting>) {
    let (mut held, mut took) = (None, Duration::ZERO);
    loop {
        let next = match held.take() {
            Some(waiting) => Some(waiting),
            None => queue.recv().await,
        };
        let Some(first) = next else { return };
        lane.gather(&queue, (took / GATHERING).min(LONGEST_GATHERING)).await;
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
        let start = Instant::now();
        commit(lane, batch).await;
        took = start.elapsed();
        if !lane.is_only {
            // The other lanes of the thread have their turn.
            tokio::task::yield_now().await;
        }
    }
}

impl LaneWork {
    /// Returns once as many callers wait as there were last, of whom one is known to, or after some time.
    ///
    /// Those whose requests were just answered come again, most likely, and at nearly the same time: a batch that begins
    /// with the first of them leaves the others to wait for two. A caller that comes alone waits for nobody.
    async fn gather(&self, queue: &mpsc::UnboundedReceiver<Waiting>, limit: Duration) {
        // Lanes that commit side by side would keep each other waiting.
        let expected = if self.is_only { self.callers.load(Ordering::Relaxed).min(BATCH_REQUESTS) } else { 0 };
        let start = Instant::now();
        while queue.len() + 1 < expected && !queue.is_closed() && start.elapsed() < limit {
            // A timer of the runtime is too coarse by far.
            std::thread::yield_now();
            tokio::task::yield_now().await;
        }
    }

    /// Commits a request on the calling thread, where its backend does that briefly.
    fn commit_briefly(&self, request: &Arc<Request>) -> Option<Result<Appended>> {
        let start = Instant::now();
        let answer = self.backend.commit_briefly(self.lane, request)?;
        let outcome = answer.flatten();
        if matches!(outcome, Err(Error::Held { .. })) {
            return None;
        }
        self.answered(std::slice::from_ref(request), std::slice::from_ref(&outcome), start.elapsed());
        Some(outcome)
    }

    /// Counts a batch that was answered, and shows its events to those who follow the lane.
    fn answered(&self, requests: &[Arc<Request>], outcomes: &[Result<Appended>], took: Duration) {
        let undecided = outcomes.iter().filter(|outcome| matches!(outcome, Err(error) if !is_decided(error))).count();
        let refused = outcomes.iter().filter(|outcome| outcome.is_err()).count() - undecided;
        if outcomes.len() > undecided {
            self.counters.count(outcomes.len() - undecided, refused, took);
        }
        self.callers.store(self.counters.waiting.load(Ordering::Relaxed), Ordering::Relaxed);
        // A repetition tells a position of long ago.
        let news = outcomes.iter().flatten().filter(|outcome| !outcome.duplicate && outcome.positions.is_some());
        if let Some(head) = news.map(|outcome| outcome.position().get()).max() {
            self.counters.saw(head);
            self.tail.committed(requests.iter().zip(outcomes));
        }
        tracing::debug!(lane = %self.lane, requests = outcomes.len(), refused, undecided, ?took, "a batch is answered");
    }
}

/// Whether the database decided a request that failed, by the contract's rules or by those of its schema.
fn is_decided(error: &Error) -> bool {
    match error {
        Error::Backend { class, .. } => *class == ErrorClass::Conflict,
        Error::Ambiguous { .. } | Error::Deadline { .. } | Error::Schema { .. } | Error::Closed => false,
        _ => true,
    }
}

/// Commits a batch and answers its callers. One that is gone by then has taken its request back.
async fn commit(lane: &LaneWork, mut batch: Vec<Waiting>) {
    batch.retain(|waiting| !waiting.answer.is_closed());
    if batch.is_empty() {
        return;
    }
    let requests: Vec<_> = batch.iter().map(|waiting| Arc::clone(&waiting.request)).collect();
    let start = Instant::now();
    let outcomes = resend::commit(lane, &requests).await;
    lane.answered(&requests, &outcomes, start.elapsed());
    for (Waiting { answer, place, .. }, outcome) in batch.into_iter().zip(outcomes) {
        // Who is answered waits no more; a caller that left meanwhile needs no answer.
        drop(place);
        let _ = answer.send(outcome);
    }
}
