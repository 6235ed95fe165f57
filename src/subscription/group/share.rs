//! Which share of a group a stream belongs to, and how many shares a member is due.

use sha2::{Digest, Sha256};

use crate::error::Result;
use crate::sql::groups::{self, ShareRow};
use crate::store::Store;

/// Returns into how many shares each lane is divided, where the group asks for a number in all.
pub(in crate::subscription) fn per_lane(shares: u16, lanes: usize) -> i32 {
    usize::from(shares).div_ceil(lanes.max(1)).max(1).try_into().unwrap_or(i32::MAX)
}

/// Returns the share, of those of its lane, that a stream belongs to. It is of other bytes of the hash than the lane, as
/// the streams of a lane have those in common.
pub(super) fn of_stream(stream: &str, shares: usize) -> i32 {
    if shares <= 1 {
        return 0;
    }
    let digest = Sha256::digest(stream.as_bytes());
    let number = digest.iter().skip(8).take(8).fold(0u64, |number, byte| number << 8 | u64::from(*byte));
    i32::try_from(number % shares as u64).unwrap_or_default()
}

/// Returns how many of the shares a member is due, by its place among the members: all are, within one.
pub(super) const fn quota(shares: usize, members: usize, place: usize) -> usize {
    shares / members + if place < shares % members { 1 } else { 0 }
}

/// Reads the shares of a group, or of all.
pub(in crate::subscription) async fn rows(store: &Store, name: Option<&str>) -> Result<Vec<ShareRow>> {
    store.fetch(groups::shares(store.dialect()?, &store.inner.topic.name, name)).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_share_is_due_to_one_member() {
        for shares in 0..40 {
            for members in 1..10 {
                let due: Vec<usize> = (0..members).map(|place| quota(shares, members, place)).collect();
                assert_eq!(due.iter().sum::<usize>(), shares, "{members} members");
                assert!(due[0] - due[members - 1] <= 1, "{shares} shares: {due:?}");
            }
        }
    }

    #[test]
    fn streams_of_every_lane_are_spread_over_its_shares() {
        for lanes in [1, 2, 16] {
            let mut counts = [0; 16];
            for stream in (0..20_000).map(|n| format!("order-{n}")).filter(|id| crate::lane::index(id, lanes) == 0) {
                counts[usize::try_from(of_stream(&stream, 16)).unwrap()] += 1;
            }
            let mean = 20_000 / lanes / 16;
            assert!(counts.iter().all(|count| (mean / 2..mean * 2).contains(count)), "{lanes} lanes: {counts:?}");
        }
    }

    /// Members of two versions of this program share one group.
    #[test]
    fn the_share_of_a_stream_never_changes() {
        let found = ["", "a", "order-1", "order-{7}", "ünïcode"].map(|stream| of_stream(stream, 16));
        assert_eq!(found, [4, 13, 6, 1, 3]);
    }

    #[test]
    fn a_lane_has_at_least_one_share() {
        assert_eq!([per_lane(16, 1), per_lane(16, 3), per_lane(16, 32), per_lane(1, 1)], [16, 6, 1, 1]);
    }
}
