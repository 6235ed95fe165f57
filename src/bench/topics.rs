//! `topics`: what many topics cost, and what it takes to find the one that an append is for.

use std::sync::Arc;
use std::time::Instant;

use super::store::event;
use super::study::Subject;
use crate::append::Append;
use crate::error::{Error, Result};
use crate::stream::{Expected, Stream};
use crate::topics::{TopicConfig, Topics};

/// Topics that are configured.
const TOPICS: usize = 1_000;

/// How often a topic is found.
const ROUTED: usize = 100_000;

pub(super) async fn run(subject: &mut Subject<'_>) -> Result<()> {
    let database = subject.fresh().await?;
    let url = database.url().ok_or(Error::Unsupported { backend: "this", what: "urls" })?;
    let made = Topics::builder(url.as_str()).build()?;
    made.initialize().await?;
    let start = Instant::now();
    for number in 0..TOPICS {
        made.create(TopicConfig::builder(format!("t-{number}")).connection(url.as_str()).build()?).await?;
    }
    subject.found("a topic created", start.elapsed().as_secs_f64() * 1e6 / TOPICS as f64, "µs");
    made.close().await;

    let topics = Topics::builder(url.as_str()).build()?;
    let start = Instant::now();
    topics.initialize().await?;
    subject.found("1,000 topics initialized", start.elapsed().as_secs_f64() * 1e3, "ms");
    let start = Instant::now();
    let first = topics.store("t-0").await?;
    for number in 1..TOPICS {
        let store = topics.store(&format!("t-{number}")).await?;
        if !Arc::ptr_eq(store.backend(), first.backend()) {
            return Err(Error::invalid("topics", "two of one database have a backend each"));
        }
    }
    subject.found("1,000 stores opened, of one backend", start.elapsed().as_secs_f64() * 1e3, "ms");

    let append = Append::new().to(Stream::new("cart", "cart-1")?, Expected::Any, [event(1)?]);
    let start = Instant::now();
    for number in 0..ROUTED {
        let (store, append) = (topics.store(if number % 2 == 0 { "t-0" } else { "t-999" }).await?, append.clone());
        std::hint::black_box((store, append));
    }
    subject.found("an append routed", start.elapsed().as_secs_f64() * 1e6 / ROUTED as f64, "µs");
    topics.close().await;
    Ok(())
}
