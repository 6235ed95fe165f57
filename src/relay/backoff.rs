//! Pauses between attempts: longer and longer, and never quite the same.

use std::time::Duration;

use uuid::Uuid;

const SHORTEST: Duration = Duration::from_millis(100);
const LONGEST: Duration = Duration::from_secs(30);

/// How often something has failed in a row.
#[derive(Debug, Default)]
pub(super) struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Forgets the failures.
    pub(super) fn reset(&mut self) {
        self.failures = 0;
    }

    /// Returns the pause after one more failure: between half and all of 100 ms, 200 ms, 400 ms … 30 s, by chance, so
    /// that relays that failed together don't come back together.
    pub(super) fn pause(&mut self) -> Duration {
        let longest = SHORTEST.saturating_mul(1 << self.failures.min(16)).min(LONGEST);
        self.failures = self.failures.saturating_add(1);
        let chance = f64::from(Uuid::new_v4().as_bytes()[0]) / f64::from(u8::MAX);
        longest.mul_f64(0.5 + chance / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_grow_to_half_a_minute_and_begin_anew() {
        let mut backoff = Backoff::default();
        let pauses: Vec<Duration> = (0..40).map(|_| backoff.pause()).collect();
        assert!(pauses[0] >= SHORTEST / 2 && pauses[0] <= SHORTEST, "{pauses:?}");
        assert!(pauses[4] > pauses[0] && pauses.iter().all(|pause| *pause <= LONGEST), "{pauses:?}");
        assert!(pauses[20..].iter().all(|pause| *pause >= LONGEST / 2), "{pauses:?}");
        assert!(pauses[20..].iter().any(|pause| *pause != pauses[20]), "the same pause each time: {pauses:?}");
        backoff.reset();
        assert!(backoff.pause() <= SHORTEST);
    }
}
