//! `read_grown`: reading a large log: the events of a rare type, those from a time on, and all of them.

use std::time::Instant;

use super::contender::{Contender, nanoseconds};
use super::grown::filled;
use super::study::Subject;
use super::{Plan, median};
use crate::error::Result;

/// What is read: its name, and how often in a round.
const READS: [(&str, usize); 3] =
    [("100 events of a rare type", 200), ("1,000 events from a time on", 50), ("the whole log", 1)];
const CONTENDERS: [&str; 2] = ["store", "raw"];

pub(super) async fn run(plan: &Plan, subject: &mut Subject<'_>) -> Result<()> {
    let contenders = filled(plan.grown_millions * 10_000, subject).await?;
    let before = most_memory();
    for (index, (name, times)) in READS.into_iter().enumerate() {
        let mut rates = [Vec::new(), Vec::new()];
        for round in 0..=plan.rounds {
            for (contender, rates) in contenders.iter().zip(&mut rates) {
                let rate = rate(&**contender, index, times).await?;
                // The first round warms up.
                if round > 0 {
                    rates.push(rate);
                }
            }
        }
        for (contender, rates) in CONTENDERS.into_iter().zip(&rates) {
            subject.found(format!("{name}, {contender}"), median(rates.clone()), "events/s");
        }
        let ratios = rates[0].iter().zip(&rates[1]).map(|(ours, raw)| ours / raw).collect();
        subject.found(format!("{name}, store / raw"), median(ratios), "ratio");
    }
    if let Some((before, after)) = before.zip(most_memory()) {
        subject.found("resident memory at most, before reading", before, "MB");
        subject.found("resident memory at most, after reading", after, "MB");
    }
    for contender in contenders {
        contender.close().await;
    }
    Ok(())
}

/// Returns how many events a second are read.
async fn rate(contender: &dyn Contender, read: usize, times: usize) -> Result<f64> {
    let (start, mut events) = (Instant::now(), 0);
    for _ in 0..times {
        events += match read {
            0 => contender.query_type().await?,
            1 => contender.query_time().await?,
            _ => contender.read_log().await?,
        };
    }
    Ok(events as f64 / (nanoseconds(start) as f64 / 1e9))
}

/// Returns the most memory that this process ever had resident, in megabytes; `None` where the system does not tell.
fn most_memory() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().trim_end_matches("kB").trim().parse::<f64>().ok()? * 1_024.0 / 1e6)
}
