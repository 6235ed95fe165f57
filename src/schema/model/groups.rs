//! The tables of consumer groups, which migration 010 adds.

use super::super::shape::Order::Ascending as Asc;
use super::super::shape::{Column, Index, Kind, Table};

/// The tables of consumer groups.
pub const GROUP_TABLES: &[Table] = &[SUBSCRIPTION_SHARES, SUBSCRIPTION_MEMBERS, DEAD_LETTERS];

const NAME: Column = Column::new("name", Kind::Name, "The name of the consumer group, see subscriptions.");

const SUBSCRIPTION_SHARES: Table = Table::new(
    "subscription_shares",
    "The parts into which a consumer group divides the streams of a lane, each in the hands of one member at a time. The \
     rows of a group say how many parts there are, which never changes.",
    &[
        NAME,
        Column::new("lane_id", Kind::Counter, "The lane, see lanes."),
        Column::new("share", Kind::Int, "The part, from 0: a hash of the stream's name, modulo the number of parts.")
            .at_least(0),
        Column::new("position", Kind::Counter, "The last position up to which all was dealt with; 0 for none.")
            .default(0)
            .at_least(0),
        Column::new(
            "event_id",
            Kind::Uuid,
            "The event at that position: another one there means that the log is not the same.",
        )
        .nullable(),
        Column::new("lease_owner", Kind::Name, "The member that has it; null for none.").nullable(),
        Column::new("updated_at", Kind::Time, "When this row was last written."),
    ],
    &["name", "lane_id", "share"],
);

const SUBSCRIPTION_MEMBERS: Table = Table::new(
    "subscription_members",
    "The members of consumer groups. One that does not say in time that it is alive is removed by the others, and what it \
     had is free.",
    &[
        NAME,
        Column::new("lane_id", Kind::Counter, "The first lane of the topic that is read."),
        Column::new("member", Kind::Name, "The member; those that joined earlier come first."),
        Column::new("joined_at", Kind::Time, "When it joined."),
        Column::new("seen_until", Kind::Time, "Until when it counts as alive, unless it is heard of again."),
    ],
    &["name", "lane_id", "member"],
);

const DEAD_LETTERS: Table = Table {
    indexes: &[
        Index::new(
            "dead_letters_aggregate_id_idx",
            &[("name", Asc), ("lane_id", Asc), ("aggregate_id", Asc), ("position", Asc)],
            "The dead letters of a stream in order.",
        ),
        Index::new(
            "dead_letters_due_at_idx",
            &[("name", Asc), ("lane_id", Asc), ("due_at", Asc)],
            "What is to be tried again, which members look for again and again.",
        )
        .where_not_null("due_at"),
    ],
    ..Table::new(
        "dead_letters",
        "The events that a consumer group could not deal with, and those of the same stream that wait behind them.",
        &[
            NAME,
            Column::new("lane_id", Kind::Counter, "The lane, see lanes."),
            Column::new("position", Kind::Counter, "The place of the event in the lane.").at_least(1),
            Column::new("event_id", Kind::Uuid, "The identity of the event."),
            Column::new("aggregate_id", Kind::Name, "The name of the stream."),
            Column::new("aggregate_version", Kind::Counter, "The place of the event in the stream.").at_least(1),
            Column::new("event_type", Kind::Name, "What happened."),
            Column::new("attempts", Kind::Int, "How often it was tried; 0 where it only waits behind another one.")
                .default(0)
                .at_least(0),
            Column::new("reason", Kind::Text(2_000), "Why it failed last; null where it was not tried.").nullable(),
            Column::new("first_failed_at", Kind::Time, "When it was tried first; null where it was not.").nullable(),
            Column::new("last_failed_at", Kind::Time, "When it was tried last; null where it was not.").nullable(),
            Column::new(
                "due_at",
                Kind::Time,
                "Since when it is to be tried again; null while it is kept until somebody decides.",
            )
            .nullable(),
            Column::new("parked_at", Kind::Time, "When it was put here."),
        ],
        &["name", "lane_id", "position"],
    )
};
