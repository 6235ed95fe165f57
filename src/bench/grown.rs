//! `append_grown`: what a single append costs in a large log, against 100 thousand events in 1,000 streams.

use super::Plan;
use super::contender::Contender;
use super::study::{Subject, fill, mean_us, stream_name};
use super::{median, store::StoreContender};
use crate::error::Result;

/// Streams of the small log, each of 100 events.
const SMALL: usize = 1_000;

/// What single appends cost, in microseconds: the medians of the rounds.
struct Costs {
    /// The store, to existing streams and to new ones.
    ours: [f64; 2],
    /// The raw driver, likewise.
    raw: [f64; 2],
}

const KINDS: [&str; 2] = ["existing streams", "new streams"];

pub(super) async fn run(plan: &Plan, subject: &mut Subject<'_>) -> Result<()> {
    let database = subject.fresh().await?;
    let ours = StoreContender::open(&*database).await?;
    let raw = subject.raw(&*database).await?;
    let large = plan.grown_millions.max(1) * 10_000;
    let mut fresh = 10 * large;
    fill(&ours, 0..SMALL).await?;
    let small_costs = measure(&ours, &*raw, plan, SMALL, &mut fresh).await?;
    report(subject, "100 thousand events", &small_costs);
    fill(&ours, SMALL..large).await?;
    let name = format!("{} million events", plan.grown_millions.max(1));
    let large_costs = measure(&ours, &*raw, plan, large, &mut fresh).await?;
    report(subject, &name, &large_costs);
    for (index, kind) in KINDS.into_iter().enumerate() {
        subject.found(
            format!("{kind}: store, grown / small"),
            large_costs.ours[index] / small_costs.ours[index],
            "ratio",
        );
        subject.found(format!("{kind}: raw, grown / small"), large_costs.raw[index] / small_costs.raw[index], "ratio");
    }
    raw.close().await;
    ours.close().await;
    Ok(())
}

fn report(subject: &mut Subject<'_>, size: &str, costs: &Costs) {
    for (index, kind) in KINDS.into_iter().enumerate() {
        subject.found(format!("{kind}, {size}: store"), costs.ours[index], "µs");
        subject.found(format!("{kind}, {size}: raw"), costs.raw[index], "µs");
    }
}

/// Lets the store and the raw driver take turns on one log. The first round warms up.
async fn measure(
    ours: &StoreContender,
    raw: &dyn Contender,
    plan: &Plan,
    streams: usize,
    fresh: &mut usize,
) -> Result<Costs> {
    settle(ours).await?;
    let appends = plan.thousands * 100;
    let (mut ours_us, mut raw_us) = ([Vec::new(), Vec::new()], [Vec::new(), Vec::new()]);
    for round in 0..=plan.rounds {
        raw.resume().await?;
        for (contender, costs) in [(raw, &mut raw_us), (ours as &dyn Contender, &mut ours_us)] {
            *fresh += appends;
            let seed = *fresh;
            let existing: Vec<String> =
                (0..appends).map(|append| stream_name(chosen(seed + append, streams))).collect();
            let new: Vec<String> = (0..appends).map(|append| stream_name(seed + append)).collect();
            for (names, costs) in [existing, new].iter().zip(&mut *costs) {
                let times = contender.append_each(names).await?;
                if round > 0 {
                    costs.push(mean_us(&times));
                }
            }
        }
    }
    Ok(Costs { ours: ours_us.map(median), raw: raw_us.map(median) })
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
