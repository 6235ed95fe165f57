//! `append_grown`: what a single append costs in a large log, against 100 thousand events in 1,000 streams.
//!
//! Both logs are filled first and measured in turns, so that neither has the better minutes of the machine.

use super::contender::Contender;
use super::store::StoreContender;
use super::study::{Subject, fill, mean_us, stream_name};
use super::{Plan, median};
use crate::error::Result;

/// Streams of the small log, each of 100 events.
const SMALL: usize = 1_000;
/// Where the streams are that are appended to.
const KINDS: [&str; 2] = ["existing streams", "new streams"];
const CONTENDERS: [&str; 2] = ["store", "raw"];

/// A log, the store and the raw driver on it, and what single appends cost so far: the means of the rounds in
/// microseconds, by contender and kind of stream.
struct Log {
    contenders: [Box<dyn Contender>; 2],
    streams: usize,
    /// The number of the next new stream.
    fresh: usize,
    costs: [[Vec<f64>; 2]; 2],
}

pub(super) async fn run(plan: &Plan, subject: &mut Subject<'_>) -> Result<()> {
    let mut logs = [Log::filled(SMALL, subject).await?, Log::filled(plan.grown_millions * 10_000, subject).await?];
    for round in 0..=plan.rounds {
        for log in &mut logs {
            log.round(plan.thousands * 100, round > 0).await?;
        }
    }
    let [small, large] = &logs;
    for (index, kind) in KINDS.into_iter().enumerate() {
        for (number, contender) in CONTENDERS.into_iter().enumerate() {
            let [below, above] = [small, large].map(|log| &log.costs[number][index]);
            let name = format!("{kind}, {contender}");
            subject.found(format!("{name}: 100 thousand events"), median(below.clone()), "µs");
            subject.found(format!("{name}: {} million events", plan.grown_millions), median(above.clone()), "µs");
            let ratios = above.iter().zip(below).map(|(above, below)| above / below).collect();
            subject.found(format!("{name}: large / small"), median(ratios), "ratio");
        }
    }
    for contender in logs.iter().flat_map(|log| &log.contenders) {
        contender.close().await;
    }
    Ok(())
}

impl Log {
    async fn filled(streams: usize, subject: &mut Subject<'_>) -> Result<Self> {
        let contenders = filled(streams, subject).await?;
        Ok(Self { contenders, streams, fresh: streams, costs: Default::default() })
    }

    /// Lets the raw driver and the store take turns.
    async fn round(&mut self, appends: usize, counts: bool) -> Result<()> {
        for (contender, costs) in self.contenders.iter().zip(&mut self.costs) {
            contender.resume().await?;
            let new = self.fresh..self.fresh + appends;
            self.fresh = new.end;
            let existing: Vec<String> = new.clone().map(|seed| stream_name(chosen(seed, self.streams))).collect();
            let new: Vec<String> = new.map(stream_name).collect();
            for (names, costs) in [existing, new].iter().zip(costs) {
                let times = contender.append_each(names).await?;
                if counts {
                    costs.push(mean_us(&times));
                }
            }
        }
        Ok(())
    }
}

/// Fills a log with streams of 100 events, and returns the store and the raw driver on it.
pub(super) async fn filled(streams: usize, subject: &mut Subject<'_>) -> Result<[Box<dyn Contender>; 2]> {
    let database = subject.fresh().await?;
    let ours = StoreContender::open(&*database).await?;
    fill(&ours, 0..streams).await?;
    settle(&ours).await?;
    let raw = subject.raw(&*database).await?;
    Ok([Box::new(ours), raw])
}

/// Returns the number of a stream, picked at random, but the same in every run.
fn chosen(seed: usize, streams: usize) -> usize {
    let mixed = (seed as u64 ^ 0x5DEE_CE66).wrapping_mul(0xD6E8_FEB8_6659_FD93);
    usize::try_from((mixed ^ (mixed >> 32)) % streams.max(1) as u64).unwrap_or_default()
}

/// Lets the server do now what it would do soon, so that it is no part of what is measured.
async fn settle(ours: &StoreContender) -> Result<()> {
    if ours.store().backend().name() == "postgres" {
        let mut session = ours.store().backend().session().await?;
        session.execute("VACUUM (ANALYZE) events").await?;
        // Not everybody may; the server comes to it by itself.
        let _ = session.execute("CHECKPOINT").await;
    }
    Ok(())
}
