//! The controls: stores that break what the cycles verify, and that the verification must therefore catch.

use std::sync::Arc;

use annals::backend::decide::{LaneState, StreamState, decide_batch};
use annals::backend::{Backend, Request};
use annals::{Appended, Config, Error, ErrorClass, Expected, LaneId, Result, Store};
use async_trait::async_trait;
use tokio::sync::{Mutex, mpsc};
use uuid::Uuid;

use super::child::PAUSE;
use crate::decorator::{Decorated, Decorator};

/// What a control does wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Answers what will come of a batch, and commits it then.
    AnswersEarly,
    /// Stores requests without a command a second time, as one who sends again without looking.
    StoresTwice,
    /// Stores the events of a request without a command in two commits.
    StoresHalves,
    /// Does not record commands.
    ForgetsCommands,
}

const FAULTS: [Fault; 4] = [Fault::AnswersEarly, Fault::StoresTwice, Fault::StoresHalves, Fault::ForgetsCommands];

/// Opens a store, with the fault of a name.
pub async fn open(url: &str, fault: Option<&str>) -> Store {
    let store = connect(url).await;
    let Some(name) = fault else { return store };
    let fault = FAULTS.into_iter().find(|fault| format!("{fault:?}") == name).unwrap();
    let (late, mut batches) = mpsc::channel::<(LaneId, Vec<Arc<Request>>)>(1);
    let inner = Arc::clone(store.backend());
    let control = Control { inner: Arc::clone(&inner), fault, foreseen: Mutex::new(None), late };
    tokio::spawn(async move {
        while let Some((lane, batch)) = batches.recv().await {
            inner.commit(lane, &batch).await.unwrap();
        }
    });
    Store::with_backend(Arc::new(Decorated(control)), &url.parse::<Config>().unwrap()).await.unwrap()
}

/// Connects, again and again while the server is down: it may be killed before a child has come so far.
async fn connect(url: &str) -> Store {
    loop {
        match Store::connect(url).await {
            Ok(store) => return store,
            // Nothing was asked for that could be in doubt.
            Err(Error::Backend { class: ErrorClass::Reconnect | ErrorClass::Ambiguous, .. }) => {
                tokio::time::sleep(PAUSE).await;
            }
            Err(error) => panic!("{}", error.report()),
        }
    }
}

/// A backend with a fault.
#[derive(Debug)]
struct Control {
    inner: Arc<dyn Backend>,
    fault: Fault,
    /// The lane as it will be once all that was answered is committed.
    foreseen: Mutex<Option<LaneState>>,
    late: mpsc::Sender<(LaneId, Vec<Arc<Request>>)>,
}

impl Control {
    /// Decides over what is foreseen, which is right as long as nobody else writes.
    async fn answer_early(&self, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>> {
        let mut foreseen = self.foreseen.lock().await;
        let mut state = match foreseen.take() {
            Some(state) => state,
            None => LaneState::new(lane, self.inner.head(lane).await?, chrono::DateTime::UNIX_EPOCH),
        };
        for rule in batch.iter().flat_map(|request| &request.streams) {
            if !state.streams.contains_key(&rule.aggregate_id)
                && let Some(stream) = self.inner.stream(lane, &rule.aggregate_id).await?
            {
                let known =
                    StreamState { aggregate_type: stream.aggregate_type, version: stream.version, deleted: false };
                state.streams.insert(stream.aggregate_id, known);
            }
        }
        let (answers, _) = decide_batch(&mut state, batch, batch.iter().map(|_| None));
        *foreseen = Some(state);
        drop(foreseen);
        self.late.send((lane, batch.to_vec())).await.map_err(|_| Error::Closed)?;
        Ok(answers)
    }

    async fn store_twice(&self, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>> {
        let answers = self.inner.commit(lane, batch).await?;
        let again = batch.iter().filter(|request| request.command.is_none()).map(|request| {
            let mut request = Request::clone(request);
            request.events.iter_mut().for_each(|event| event.event_id = Uuid::new_v4());
            Arc::new(request)
        });
        self.inner.commit(lane, &again.collect::<Vec<_>>()).await?;
        Ok(answers)
    }

    async fn store_halves(&self, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>> {
        let mut answers = Vec::with_capacity(batch.len());
        for request in batch {
            let (mut front, mut back) = (Request::clone(request), Request::clone(request));
            let half = if request.command.is_none() { request.events.len().div_ceil(2) } else { request.events.len() };
            back.events = front.events.split_off(half);
            back.streams.iter_mut().for_each(|rule| rule.expected = Expected::Any);
            let mut answer = self.inner.commit(lane, &[Arc::new(front)]).await?.remove(0);
            if let (Ok(outcome), false) = (&mut answer, back.events.is_empty()) {
                tokio::time::sleep(std::time::Duration::from_millis(5)).await;
                let rest = self.inner.commit(lane, &[Arc::new(back)]).await?.remove(0)?;
                outcome.positions = outcome.positions.map(|(first, _)| (first, rest.position()));
                outcome.versions = rest.versions;
            }
            answers.push(answer);
        }
        Ok(answers)
    }

    async fn forget_commands(&self, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>> {
        let forget = |request: &Arc<Request>| Arc::new(Request { command: None, ..Request::clone(request) });
        self.inner.commit(lane, &batch.iter().map(forget).collect::<Vec<_>>()).await
    }
}

#[async_trait]
impl Decorator for Control {
    fn inner(&self) -> &Arc<dyn Backend> {
        &self.inner
    }

    async fn commit(&self, lane: LaneId, batch: &[Arc<Request>]) -> Result<Vec<Result<Appended>>> {
        match self.fault {
            Fault::AnswersEarly => self.answer_early(lane, batch).await,
            Fault::StoresTwice => self.store_twice(lane, batch).await,
            Fault::StoresHalves => self.store_halves(lane, batch).await,
            Fault::ForgetsCommands => self.forget_commands(lane, batch).await,
        }
    }
}
