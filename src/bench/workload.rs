//! The workloads.

use std::fmt;
use std::str::FromStr;
use std::time::Instant;

use super::contender::{Contender, nanoseconds};
use crate::error::{Error, Result};

/// What a benchmark does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Workload {
    /// One caller, one event a request, 100 streams.
    AppendSingle,
    /// One caller, 100 events a request.
    AppendBatch100,
    /// 8 callers, one event a request, each with streams of its own.
    AppendCallers8,
    /// 64 callers, likewise.
    AppendCallers64,
    /// 256 callers, likewise.
    AppendCallers256,
    /// 8 callers on one stream: read the version, append, on a conflict again.
    AppendContended8,
    /// 1,000 events of a stream, parsed.
    ReadStream1000,
    /// The whole log in pages.
    ReadLog,
    /// 100 events of a rare type.
    QueryType,
    /// 1,000 events by time.
    QueryTime,
    /// 1,000 events in one request; [`Self::ReadStream1000`] is their query.
    Append1000,
    /// 10,000 events over 100 streams, 100 a request.
    Append10000,
    /// The events of one of those streams.
    QueryAggregate,
}

impl Workload {
    /// Every workload.
    pub const ALL: [Self; 13] = [
        Self::AppendSingle,
        Self::AppendBatch100,
        Self::AppendCallers8,
        Self::AppendCallers64,
        Self::AppendCallers256,
        Self::AppendContended8,
        Self::ReadStream1000,
        Self::ReadLog,
        Self::QueryType,
        Self::QueryTime,
        Self::Append1000,
        Self::Append10000,
        Self::QueryAggregate,
    ];

    /// Returns the workload's name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::AppendSingle => "append_single",
            Self::AppendBatch100 => "append_batch_100",
            Self::AppendCallers8 => "append_callers_8",
            Self::AppendCallers64 => "append_callers_64",
            Self::AppendCallers256 => "append_callers_256",
            Self::AppendContended8 => "append_contended_8",
            Self::ReadStream1000 => "read_stream_1000",
            Self::ReadLog => "read_log",
            Self::QueryType => "query_type",
            Self::QueryTime => "query_time",
            Self::Append1000 => "append_1000",
            Self::Append10000 => "append_10000",
            Self::QueryAggregate => "query_aggregate",
        }
    }

    /// Returns how many callers append single events at a time, where there are several on streams of their own.
    pub(super) const fn callers(self) -> Option<usize> {
        match self {
            Self::AppendCallers8 => Some(8),
            Self::AppendCallers64 => Some(64),
            Self::AppendCallers256 => Some(256),
            _ => None,
        }
    }

    /// Appends what a reading workload reads.
    pub(super) async fn prepare(self, contender: &dyn Contender, thousands: usize) -> Result<()> {
        match self {
            Self::ReadStream1000 | Self::ReadLog | Self::QueryType | Self::QueryTime => {
                for stream in 0..thousands.max(10) {
                    contender.fill(&format!("filled-{stream}"), 1_000).await?;
                }
                Ok(())
            }
            Self::QueryAggregate => {
                for stream in 0..100 {
                    contender.fill(&format!("filled-{stream}"), 100).await?;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// Runs one round and returns the events per second and the times of the operations in nanoseconds.
    pub(super) async fn round(
        self,
        contender: &dyn Contender,
        thousands: usize,
        round: usize,
    ) -> Result<(f64, Vec<u64>)> {
        let events = thousands * 1_000;
        let start = Instant::now();
        let (count, times) = match self {
            Self::AppendSingle => (events, contender.append(1, events, 1).await?),
            Self::AppendBatch100 => (events * 10, contender.append(1, events / 10, 100).await?),
            Self::AppendCallers8 => (events, contender.append(8, events / 8, 1).await?),
            Self::AppendCallers64 => (events, contender.append(64, events / 64, 1).await?),
            Self::AppendCallers256 => (events, contender.append(256, events / 256, 1).await?),
            Self::AppendContended8 => (events / 4, contender.append_contended(8, events / 32).await?),
            Self::ReadStream1000 => {
                repeat(thousands * 10, || async move { contender.read_stream(&format!("filled-{}", round % 10)).await })
                    .await?
            }
            Self::ReadLog => repeat(1, || contender.read_log()).await?,
            Self::QueryType => repeat(thousands * 10, || contender.query_type()).await?,
            Self::QueryTime => repeat(thousands * 10, || contender.query_time()).await?,
            Self::Append1000 => {
                let fill = async || contender.fill(&format!("bulk-{round}"), 1_000).await.map(|()| 1_000);
                repeat(1, fill).await?
            }
            Self::Append10000 => {
                let append = async || contender.append(1, 100, 100).await.map(|_| 10_000);
                repeat(1, append).await?
            }
            Self::QueryAggregate => {
                repeat(
                    thousands * 100,
                    || async move { contender.read_stream(&format!("filled-{}", round % 100)).await },
                )
                .await?
            }
        };
        Ok((count as f64 / start.elapsed().as_secs_f64(), times))
    }
}

/// Repeats an operation and returns how many events it touched in all, and the time of each in nanoseconds.
async fn repeat<F: Future<Output = Result<usize>>>(
    times: usize,
    operation: impl Fn() -> F,
) -> Result<(usize, Vec<u64>)> {
    let mut events = 0;
    let mut taken = Vec::with_capacity(times);
    for _ in 0..times {
        let start = Instant::now();
        events += operation().await?;
        taken.push(nanoseconds(start));
    }
    Ok((events, taken))
}

impl fmt::Display for Workload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Workload {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        Self::ALL.into_iter().find(|workload| workload.name() == text).ok_or_else(|| {
            let names = Self::ALL.map(Self::name).join(", ");
            Error::invalid("workload", format!("{text:?} is not one of {names}"))
        })
    }
}
