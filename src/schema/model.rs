//! The tables as data: the only description of them.
//!
//! Every key starts with the lane, or with the name of the topic or subscription, because a database that spreads its
//! tables over machines spreads them all by it.

mod groups;
mod holds;

pub use groups::GROUP_TABLES;
pub use holds::HOLD_TABLES;

use super::shape::Order::{Ascending as Asc, Descending as Desc};
use super::shape::{Column, ForeignKey, Index, Json, Kind, Table, UniqueKey};
use crate::sql::Dialect;

/// The tables of the event store's first migration, each after those that it refers to.
pub const TABLES: &[Table] = &[LANES, STREAMS, EVENTS, EVENT_TAGS, COMMANDS, SNAPSHOTS, SUBSCRIPTIONS, PURGE_PERMITS];

/// Returns every table of the event store.
pub fn all_tables() -> impl Iterator<Item = &'static Table> {
    TABLES.iter().chain(GROUP_TABLES).chain(HOLD_TABLES)
}

/// The words for who caused an event.
pub const ACTOR_TYPES: &[&str] = &["user", "service", "system"];

/// The words for the way by which a change came in.
pub const SOURCES: &[&str] = &["ui", "api", "import", "webhook", "system"];

const LANE_ID: Column = Column::new("lane_id", Kind::Counter, "The lane, see lanes.");
const AGGREGATE_ID: Column = Column::new("aggregate_id", Kind::Name, "The name of the stream.");

const LANES: Table = Table {
    unique_keys: &[UniqueKey { name: "lanes_topic_partition_key", columns: &["topic", "partition"] }],
    ..Table::new(
        "lanes",
        "The totally ordered sequences that make up the topics. An append locks the row of its lane and leaves it \
         unchanged: an update would leave a dead version behind for each append.",
        &[
            Column::new("lane_id", Kind::Counter, "The number of the lane.").at_least(1),
            Column::new("topic", Kind::Name, "The name of the log that the lane belongs to."),
            Column::new("partition", Kind::Int, "The place of the lane in its topic, from 0.").at_least(0),
            Column::new(
                "incarnation",
                Kind::Uuid,
                "The identity of the topic's history, the same in all its lanes; it changes when a backup is restored, \
                 so that readers who saw more notice.",
            ),
            Column::new("floor", Kind::Counter, "The last position that was ever purged; 0 if none was.")
                .default(0)
                .at_least(0),
            Column::new("created_at", Kind::Time, "When the lane was created."),
        ],
        &["lane_id"],
    )
};

pub(crate) const STREAMS: Table = Table {
    indexes: &[Index::new(
        "streams_aggregate_type_idx",
        &[("lane_id", Asc), ("aggregate_type", Asc), ("aggregate_id", Asc)],
        "The streams of a category in byte order.",
    )],
    ..Table::new(
        "streams",
        "One row a stream, written when the stream is created, deleted, undeleted, reused or described anew, and not by \
         every append. Its current version is that of its last event.",
        &[
            LANE_ID,
            AGGREGATE_ID,
            Column::new("aggregate_type", Kind::Name, "The category of the stream, fixed by its first event."),
            Column::new("created_at", Kind::Time, "When the stream was created."),
            Column::new("updated_at", Kind::Time, "When this row was last written."),
            Column::new(
                "deleted_at",
                Kind::Time,
                "Since when the stream is hidden from stream reads and lists; null if it is not.",
            )
            .nullable(),
            Column::new(
                "first_version",
                Kind::Counter,
                "The first version that a read of the stream shows; reusing a deleted stream moves it.",
            )
            .default(1)
            .at_least(1),
            Column::new("metadata", Kind::Json(Json::Object), "What the application says about the stream.").nullable(),
            Column::new("metadata_version", Kind::Counter, "How often the metadata was set.").default(0).at_least(0),
        ],
        &["lane_id", "aggregate_id"],
    )
};

/// What applications say of streams: the part of the streams' rows that does not follow from their events.
#[cfg(feature = "_sql")]
pub(crate) const DESCRIPTIONS: Table =
    Table::new(STREAMS.name, STREAMS.comment, DESCRIPTION_COLUMNS, STREAMS.primary_key);

#[cfg(feature = "_sql")]
const DESCRIPTION_COLUMNS: &[Column] =
    &[LANE_ID, AGGREGATE_ID, STREAMS.columns[4], STREAMS.columns[7], STREAMS.columns[8]];

/// The events keep no reference to their stream: a Postgres server would lock and dirty the stream's row at each append.
const EVENTS: Table = Table {
    unique_keys: &[
        UniqueKey { name: "events_event_id_key", columns: &["lane_id", "event_id"] },
        UniqueKey { name: "events_aggregate_version_key", columns: &["lane_id", "aggregate_id", "aggregate_version"] },
    ],
    indexes: EVENT_INDEXES,
    append_only: true,
    // Events are too long to live in the pages of a key.
    without_rowid: false,
    ..Table::new(
        "events",
        "The log: what happened, in commit order. Rows are only ever added.",
        EVENT_COLUMNS,
        &["lane_id", "position"],
    )
};

const EVENT_COLUMNS: &[Column] = &[
    LANE_ID,
    Column::new("position", Kind::Counter, "The place in the lane: 1, 2, 3 and so on, in commit order, without holes.")
        .at_least(1),
    Column::new("event_id", Kind::Uuid, "The identity of the event, unique in its lane."),
    AGGREGATE_ID,
    Column::new("aggregate_type", Kind::Name, "The category of the stream."),
    Column::new("aggregate_version", Kind::Counter, "The place in the stream: 1, 2, 3 and so on, without holes.")
        .at_least(1),
    Column::new("event_type", Kind::Name, "What happened."),
    Column::new("event_version", Kind::Int, "The version of the shape of the data.").default(1).at_least(1),
    Column::new(
        "event_timestamp",
        Kind::Time,
        "When the event was stored, by the clock of the database under the lock of the lane; never before the previous event's.",
    ),
    Column::new("actor", Kind::Name, "Who caused it.").nullable(),
    Column::new("actor_type", Kind::OneOf(ACTOR_TYPES), "What the actor is."),
    Column::new("source", Kind::OneOf(SOURCES), "By which way it came in."),
    Column::new("causation_id", Kind::Uuid, "The command or event that caused it.").nullable(),
    Column::new("correlation_id", Kind::Uuid, "What it belongs to, across streams and services.").nullable(),
    Column::new("data", Kind::Json(Json::Any), "The event itself, kept byte for byte."),
    Column::new("metadata", Kind::Json(Json::Object), "What the caller says about the event.").nullable(),
    Column::new(
        "content_type",
        Kind::Text(255),
        "The type of data that is not JSON and is held as a base64 string; null for JSON.",
    )
    .nullable(),
    Column::new(
        "tags",
        Kind::Json(Json::Array),
        "The tags of the event as a sorted array; event_tags is the index over them.",
    )
    .nullable(),
    Column::new(
        "hash",
        Kind::Digest,
        "The SHA-256 over what the caller decided; null for an event written from a SQL prompt.",
    )
    .nullable(),
];

const EVENT_INDEXES: &[Index] = &[
    Index::new(
        "events_event_type_idx",
        &[("lane_id", Asc), ("event_type", Asc), ("position", Asc)],
        "The events of a type in order; conditions on types.",
    ),
    Index::new(
        "events_aggregate_type_idx",
        &[("lane_id", Asc), ("aggregate_type", Asc), ("position", Asc)],
        "The events of a category in order.",
    ),
    Index::new(
        "events_correlation_id_idx",
        &[("lane_id", Asc), ("correlation_id", Asc), ("position", Asc)],
        "The events that belong together.",
    )
    .where_not_null("correlation_id"),
    Index::new("events_actor_idx", &[("lane_id", Asc), ("actor", Asc), ("position", Asc)], "What one actor did.")
        .where_not_null("actor"),
    Index::new(
        "events_event_timestamp_idx",
        &[("lane_id", Asc), ("event_timestamp", Desc)],
        "Ranges of time; time only grows in a lane, so that new entries land at one end.",
    ),
];

const EVENT_TAGS: Table = Table {
    indexes: &[Index {
        clustered: true,
        only: Some(Dialect::Mssql),
        ..Index::new(
            "event_tags_position_idx",
            &[("lane_id", Asc), ("position", Asc)],
            "The rows in the order in which they arrive; the reference to events is checked through it.",
        )
    }],
    foreign_keys: &[ForeignKey {
        name: "event_tags_events_fkey",
        columns: &["lane_id", "position"],
        table: "events",
        target: &["lane_id", "position"],
        // No trigger sees TRUNCATE TABLE there, but a table that is referred to refuses it.
        only: Some(Dialect::Mssql),
    }],
    append_only: true,
    ..Table::new(
        "event_tags",
        "The index over the tags of events.",
        &[
            LANE_ID,
            Column::new("tag", Kind::Name, "A tag."),
            Column::new("position", Kind::Counter, "The event that carries it."),
        ],
        &["lane_id", "tag", "position"],
    )
};

/// The commands that were carried out.
pub const COMMANDS: Table = Table::new(
    "commands",
    "The commands that were carried out: a repeated one is answered with its first outcome.",
    &[
        LANE_ID,
        Column::new("command_id", Kind::Uuid, "The identity of the command, given by the caller."),
        Column::new("command_type", Kind::Name, "What was asked for.").nullable(),
        Column::new("aggregate_id", Kind::Name, "The first stream that was written.").nullable(),
        Column::new("aggregate_type", Kind::Name, "The category of that stream.").nullable(),
        Column::new("processed_at", Kind::Time, "When the command was carried out."),
        Column::new("actor", Kind::Name, "Who asked.").nullable(),
        Column::new("source", Kind::OneOf(SOURCES), "By which way the command came in.").nullable(),
        Column::new("data", Kind::Json(Json::Any), "What the caller wants to keep of the command.").nullable(),
        Column::new(
            "request_hash",
            Kind::Digest,
            "The SHA-256 of the request; the same id with another hash is refused.",
        ),
        Column::new("first_position", Kind::Counter, "The first event that it wrote; null if it wrote none.")
            .nullable()
            .at_least(1),
        Column::new("last_position", Kind::Counter, "The last event that it wrote; null if it wrote none.")
            .nullable()
            .at_least(1),
    ],
    &["lane_id", "command_id"],
);

pub(crate) const SNAPSHOTS: Table = Table::new(
    "snapshots",
    "The states of aggregates at some version. Only a shortcut: without any, every answer is the same.",
    &[
        LANE_ID,
        AGGREGATE_ID,
        Column::new("aggregate_version", Kind::Counter, "The version of the stream after which the state held.")
            .at_least(1),
        Column::new("snapshot_id", Kind::Uuid, "The identity of the snapshot."),
        Column::new("aggregate_type", Kind::Name, "The category of the stream."),
        Column::new(
            "snapshot_version",
            Kind::Int,
            "The version of the shape of the state; readers of another one ignore the snapshot.",
        )
        .default(1)
        .at_least(1),
        Column::new("snapshot_timestamp", Kind::Time, "When it was taken."),
        Column::new("state", Kind::Json(Json::Any), "The state, kept byte for byte."),
    ],
    &["lane_id", "aggregate_id", "aggregate_version"],
);

const SUBSCRIPTIONS: Table = Table::new(
    "subscriptions",
    "How far each named reader has come in each lane.",
    &[
        Column::new("name", Kind::Name, "The name of the subscription."),
        LANE_ID,
        Column::new("aggregate_id", Kind::Name, "The one stream that is read; null for all of them.").nullable(),
        Column::new("position", Kind::Counter, "The last position that was dealt with; 0 for none.")
            .default(0)
            .at_least(0),
        Column::new(
            "event_id",
            Kind::Uuid,
            "The event at that position: another one there means that the log is not the same.",
        )
        .nullable(),
        Column::new("aggregate_version", Kind::Counter, "The version of that event in its stream.")
            .nullable()
            .at_least(1),
        Column::new("filter", Kind::Json(Json::Any), "Which events are read; null for all of them.").nullable(),
        Column::new(
            "filter_hash",
            Kind::Digest,
            "The fingerprint of the filter, which a subscription keeps for its life.",
        )
        .nullable(),
        Column::new("lease_owner", Kind::Name, "Who reads at present.").nullable(),
        Column::new("lease_until", Kind::Time, "Until when, unless renewed.").nullable(),
        Column::new("created_at", Kind::Time, "When the subscription was created."),
        Column::new("updated_at", Kind::Time, "When this row was last written."),
        Column::new("metadata", Kind::Json(Json::Object), "What the application says about the subscription.")
            .nullable(),
    ],
    &["name", "lane_id"],
);

const PURGE_PERMITS: Table = Table {
    without_rowid: false,
    only: Some(Dialect::Sqlite),
    ..Table::new(
        "purge_permits",
        "Empty but within a transaction that purges: its row lets deletes through, and is deleted again before the commit.",
        &[Column::new("id", Kind::Counter, "Always 1.").at_least(1).at_most(1)],
        &["id"],
    )
};

/// The bookkeeping of the migrations, which their runner creates for itself.
pub const MIGRATIONS: Table = Table::new(
    "annals_migrations",
    "The migrations that were applied to this schema.",
    &[
        Column::new("version", Kind::Int, "The number of the migration.").at_least(1),
        Column::new("name", Kind::Name, "Its name."),
        Column::new("checksum", Kind::Text(64), "The SHA-256 of its text, with line ends made alike, in hexadecimal."),
        Column::new("applied_at", Kind::Time, "When it was applied."),
    ],
    &["version"],
);
