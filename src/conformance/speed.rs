//! The one time that is promised: 1,000 events of a stream are read in under 100 ms.

use std::time::{Duration, Instant};

use super::case::{Case, Verdict, cases, ensure, ensure_eq};
use super::harness::Fixture;
use crate::event::NewEvent;
use crate::stream::Expected;

pub(super) const CASES: &[Case] = cases![
    a_thousand_events_of_a_stream_are_read_in_under_100_ms: "6.2";
];

async fn a_thousand_events_of_a_stream_are_read_in_under_100_ms(f: &Fixture) -> Verdict {
    let data = serde_json::json!({"customer": "c-4711", "lines": [{"sku": "a", "count": 2}, {"sku": "b", "count": 1}]});
    for stream in ["before", "a", "after"] {
        let events = (0..1_000).map(|_| NewEvent::json("Ordered", &data)).collect::<crate::Result<Vec<_>>>()?;
        f.store.append(&f.stream(stream)?, Expected::NoStream, events).await?;
    }
    let mut best = Duration::MAX;
    for _ in 0..10 {
        let start = Instant::now();
        let events = f.store.read_stream("a").await?;
        best = best.min(start.elapsed());
        ensure_eq!(events.len(), 1_000, "events");
    }
    ensure!(best < Duration::from_millis(100), "the best of ten reads of 1,000 events took {best:?}");
    Ok(())
}
