//! The table of holds, which migration 011 adds.

use super::super::shape::{Column, Kind, Table};

/// The table of holds.
pub const HOLD_TABLES: &[Table] = &[HOLDS];

/// The words for what a hold keeps from a lane.
pub const HOLD_KINDS: &[&str] = &["append", "purge"];

const HOLDS: Table = Table::new(
    "holds",
    "What is not to be done to a lane for a time: appends while its topic is moved, and ever after at the old place; purging \
     while somebody needs the events. An append looks for its hold under the lock of the lane.",
    &[
        Column::new("lane_id", Kind::Counter, "The lane, see lanes."),
        Column::new("kind", Kind::OneOf(HOLD_KINDS), "What is not to be done."),
        Column::new("name", Kind::Name, "Which hold of that kind it is: several may be there for several reasons."),
        Column::new("until", Kind::Time, "When it ends; the year 9999 where it does not."),
        Column::new("reason", Kind::Text(2_000), "What people are told who run into it."),
        Column::new("created_at", Kind::Time, "Since when it is there."),
    ],
    &["lane_id", "kind", "name"],
);
