//! Finding the database of a topic, also while it is being moved to another one.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::Topics;
use crate::error::{Error, Result};
use crate::store::Store;

/// How long somebody waits before looking again where a topic is: a quarter of the time that it has taken so far, so that many
/// who wait leave a slow server time to record the change.
const SHORTEST_PAUSE: Duration = Duration::from_millis(5);
const LONGEST_PAUSE: Duration = Duration::from_millis(500);

impl Topics {
    /// Runs a verb on the store of a topic; if the topic is moved meanwhile, once more on its new one. A verb that the old one
    /// has answered so has changed nothing.
    pub(super) async fn routed<T, F>(&self, topic: &str, verb: impl Fn(Store) -> F) -> Result<T>
    where
        F: Future<Output = Result<T>>,
    {
        let mut store = self.store(topic).await?;
        loop {
            match verb(store.clone()).await {
                Err(error @ Error::Moved { .. }) => store = self.moved(topic, &store, error).await?,
                done => return done,
            }
        }
    }

    /// Waits until a topic is configured to be elsewhere, and returns its store there; the error where that takes longer than
    /// any call may.
    async fn moved(&self, topic: &str, from: &Store, error: Error) -> Result<Store> {
        let start = Instant::now();
        loop {
            let ready = self.inner.ready()?;
            self.inner.catch_up(&ready).await?;
            let store = self.store(topic).await?;
            if !Arc::ptr_eq(&store.inner, &from.inner) {
                return Ok(store);
            }
            if start.elapsed() > from.timeout() {
                return Err(error);
            }
            tokio::time::sleep((start.elapsed() / 4).clamp(SHORTEST_PAUSE, LONGEST_PAUSE)).await;
        }
    }
}
