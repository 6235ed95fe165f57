//! The store as a contender.

use std::pin::pin;
use std::sync::Arc;
use std::time::Instant;

use async_trait::async_trait;
use futures::TryStreamExt;
use tokio::sync::Barrier;
use tokio::task::JoinSet;

use super::contender::{Contender, RARE_TYPE, data, event_type, metadata, nanoseconds, stream_of};
use crate::append::Append;
use crate::conformance::Database;
use crate::error::{Error, Result};
use crate::event::NewEvent;
use crate::json::Json;
use crate::read::Query;
use crate::store::Store;
use crate::stream::{Expected, Stream};

pub(super) struct StoreContender(Store);

impl StoreContender {
    pub(super) async fn open(database: &dyn Database) -> Result<Self> {
        Self::open_with(database, &[]).await
    }

    pub(super) async fn open_with(database: &dyn Database, options: &[(&str, &str)]) -> Result<Self> {
        Ok(Self(database.open(options).await?))
    }

    pub(super) const fn store(&self) -> &Store {
        &self.0
    }

    /// Appends the events of some numbers to each of the streams, in one request.
    pub(super) async fn append_to_each(
        &self,
        streams: impl Iterator<Item = String>,
        numbers: std::ops::Range<usize>,
    ) -> Result<()> {
        let mut append = Append::new();
        for name in streams {
            let events = numbers.clone().map(event).collect::<Result<Vec<_>>>()?;
            append = append.to(Stream::new("cart", name)?, Expected::Any, events);
        }
        self.0.commit(append).await.map(drop)
    }
}

pub(super) fn event(number: usize) -> Result<NewEvent> {
    NewEvent::new(event_type(number), Json::parse(data(number))?.into())?.with_metadata(Json::parse(metadata(number))?)
}

/// Runs callers at the same time and collects what they return. They end where the future is dropped.
async fn together<F>(callers: usize, caller: impl Fn(usize) -> F) -> Result<Vec<u64>>
where
    F: Future<Output = Result<Vec<u64>>> + Send + 'static,
{
    let barrier = Arc::new(Barrier::new(callers));
    let mut tasks = JoinSet::new();
    for number in 0..callers {
        let (barrier, work) = (Arc::clone(&barrier), caller(number));
        tasks.spawn(async move {
            barrier.wait().await;
            work.await
        });
    }
    let mut times = Vec::new();
    while let Some(done) = tasks.join_next().await {
        times.extend(done.map_err(|_| Error::Closed)??);
    }
    Ok(times)
}

#[async_trait]
impl Contender for StoreContender {
    async fn append(&self, callers: usize, requests: usize, batch: usize) -> Result<Vec<u64>> {
        together(callers, |caller| {
            let store = self.0.clone();
            async move {
                let mut times = Vec::with_capacity(requests);
                for request in 0..requests {
                    let start = Instant::now();
                    let stream = Stream::new("cart", stream_of(caller, request))?;
                    let events = (0..batch).map(|index| event(request * batch + index)).collect::<Result<Vec<_>>>()?;
                    store.append(&stream, Expected::Any, events).await?;
                    times.push(nanoseconds(start));
                }
                Ok(times)
            }
        })
        .await
    }

    async fn append_contended(&self, callers: usize, requests: usize) -> Result<Vec<u64>> {
        let stream = Stream::new("cart", "contended")?;
        together(callers, |_| {
            let (store, stream) = (self.0.clone(), stream.clone());
            async move {
                let mut times = Vec::with_capacity(requests);
                for request in 0..requests {
                    let start = Instant::now();
                    loop {
                        let version = store.version(&stream).await?;
                        match store.append(&stream, version, [event(request)?]).await {
                            Ok(_) => break,
                            Err(error) if error.is_conflict() => {}
                            Err(error) => return Err(error),
                        }
                    }
                    times.push(nanoseconds(start));
                }
                Ok(times)
            }
        })
        .await
    }

    async fn append_each(&self, streams: &[String]) -> Result<Vec<u64>> {
        let mut times = Vec::with_capacity(streams.len());
        for (number, name) in streams.iter().enumerate() {
            let start = Instant::now();
            self.0.append(&Stream::new("cart", name)?, Expected::Any, [event(number)?]).await?;
            times.push(nanoseconds(start));
        }
        Ok(times)
    }

    async fn fill(&self, stream: &str, events: usize) -> Result<()> {
        let events = (0..events).map(event).collect::<Result<Vec<_>>>()?;
        self.0.append(&Stream::new("cart", stream)?, Expected::Any, events).await?;
        Ok(())
    }

    async fn read_stream(&self, stream: &str) -> Result<usize> {
        let mut events = pin!(self.0.read(Query::stream(stream).limit(1_000)));
        let mut count = 0;
        while let Some(event) = events.try_next().await? {
            event.payload.to::<serde_json::Value>()?;
            event.metadata.as_ref().map(Json::to::<serde_json::Value>).transpose()?;
            count += 1;
        }
        Ok(count)
    }

    async fn read_log(&self) -> Result<usize> {
        self.0.read(Query::new()).try_fold(0, async |count, _| Ok(count + 1)).await
    }

    async fn query_type(&self) -> Result<usize> {
        let lane = self.0.topic().lanes[0];
        Ok(self.0.page(lane, &Query::new().event_types([RARE_TYPE])?, 100).await?.events.len())
    }

    async fn query_time(&self) -> Result<usize> {
        let lane = self.0.topic().lanes[0];
        let middle = Query::new().after(crate::Position::new(self.0.heads().await?[0].1.get() / 2));
        let from = self.0.page(lane, &middle, 1).await?.events.first().map(|event| event.event_timestamp);
        Ok(self.0.page(lane, &Query::new().between(from, None), 1_000).await?.events.len())
    }

    async fn close(&self) {
        self.0.close().await;
    }
}
