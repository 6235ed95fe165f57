-- Written by `annals migrate generate --dialect sqlite` from src/schema: change the model there, not this file.

CREATE TABLE "lanes" (
  -- The totally ordered sequences that make up the topics. An append locks the row of its lane and leaves it unchanged: an update would leave a dead version behind for each append.

  -- The number of the lane.
  "lane_id" integer NOT NULL CONSTRAINT "lanes_lane_id_check" CHECK ("lane_id" >= 1),
  -- The name of the log that the lane belongs to.
  "topic" text NOT NULL CONSTRAINT "lanes_topic_check" CHECK (length(CAST("topic" AS BLOB)) BETWEEN 1 AND 255),
  -- The place of the lane in its topic, from 0.
  "partition" integer NOT NULL CONSTRAINT "lanes_partition_check" CHECK ("partition" BETWEEN 0 AND 2147483647),
  -- The identity of the topic's history, the same in all its lanes; it changes when a backup is restored, so that readers who saw more notice.
  "incarnation" blob NOT NULL CONSTRAINT "lanes_incarnation_check" CHECK (length("incarnation") = 16),
  -- The last position that was ever purged; 0 if none was.
  "floor" integer NOT NULL DEFAULT 0 CONSTRAINT "lanes_floor_check" CHECK ("floor" >= 0),
  -- When the lane was created.
  "created_at" integer NOT NULL,
  CONSTRAINT "lanes_pkey" PRIMARY KEY ("lane_id"),
  CONSTRAINT "lanes_topic_partition_key" UNIQUE ("topic", "partition")
) STRICT, WITHOUT ROWID;

CREATE TABLE "streams" (
  -- One row a stream, written when the stream is created, deleted, undeleted, reused or described anew, and not by every append. Its current version is that of its last event.

  -- The lane, see lanes.
  "lane_id" integer NOT NULL,
  -- The name of the stream.
  "aggregate_id" text NOT NULL CONSTRAINT "streams_aggregate_id_check" CHECK (length(CAST("aggregate_id" AS BLOB)) BETWEEN 1 AND 255),
  -- The category of the stream, fixed by its first event.
  "aggregate_type" text NOT NULL CONSTRAINT "streams_aggregate_type_check" CHECK (length(CAST("aggregate_type" AS BLOB)) BETWEEN 1 AND 255),
  -- When the stream was created.
  "created_at" integer NOT NULL,
  -- When this row was last written.
  "updated_at" integer NOT NULL,
  -- Since when the stream is hidden from stream reads and lists; null if it is not.
  "deleted_at" integer,
  -- The first version that a read of the stream shows; reusing a deleted stream moves it.
  "first_version" integer NOT NULL DEFAULT 1 CONSTRAINT "streams_first_version_check" CHECK ("first_version" >= 1),
  -- What the application says about the stream.
  "metadata" text CONSTRAINT "streams_metadata_check" CHECK (("metadata" IS NULL OR json_valid("metadata") AND json_type("metadata") = 'object')),
  -- How often the metadata was set.
  "metadata_version" integer NOT NULL DEFAULT 0 CONSTRAINT "streams_metadata_version_check" CHECK ("metadata_version" >= 0),
  CONSTRAINT "streams_pkey" PRIMARY KEY ("lane_id", "aggregate_id")
) STRICT, WITHOUT ROWID;
-- The streams of a category in byte order.
CREATE INDEX "streams_aggregate_type_idx" ON "streams" ("lane_id", "aggregate_type", "aggregate_id");

CREATE TABLE "events" (
  -- The log: what happened, in commit order. Rows are only ever added.

  -- The lane, see lanes.
  "lane_id" integer NOT NULL,
  -- The place in the lane: 1, 2, 3 and so on, in commit order, without holes.
  "position" integer NOT NULL CONSTRAINT "events_position_check" CHECK ("position" >= 1),
  -- The identity of the event, unique in its lane.
  "event_id" blob NOT NULL CONSTRAINT "events_event_id_check" CHECK (length("event_id") = 16),
  -- The name of the stream.
  "aggregate_id" text NOT NULL CONSTRAINT "events_aggregate_id_check" CHECK (length(CAST("aggregate_id" AS BLOB)) BETWEEN 1 AND 255),
  -- The category of the stream.
  "aggregate_type" text NOT NULL CONSTRAINT "events_aggregate_type_check" CHECK (length(CAST("aggregate_type" AS BLOB)) BETWEEN 1 AND 255),
  -- The place in the stream: 1, 2, 3 and so on, without holes.
  "aggregate_version" integer NOT NULL CONSTRAINT "events_aggregate_version_check" CHECK ("aggregate_version" >= 1),
  -- What happened.
  "event_type" text NOT NULL CONSTRAINT "events_event_type_check" CHECK (length(CAST("event_type" AS BLOB)) BETWEEN 1 AND 255),
  -- The version of the shape of the data.
  "event_version" integer NOT NULL DEFAULT 1 CONSTRAINT "events_event_version_check" CHECK ("event_version" BETWEEN 1 AND 2147483647),
  -- When the event was stored, by the clock of the database under the lock of the lane; never before the previous event's.
  "event_timestamp" integer NOT NULL,
  -- Who caused it.
  "actor" text CONSTRAINT "events_actor_check" CHECK (length(CAST("actor" AS BLOB)) BETWEEN 1 AND 255),
  -- What the actor is.
  "actor_type" text NOT NULL CONSTRAINT "events_actor_type_check" CHECK ("actor_type" IN ('user', 'service', 'system')),
  -- By which way it came in.
  "source" text NOT NULL CONSTRAINT "events_source_check" CHECK ("source" IN ('ui', 'api', 'import', 'webhook', 'system')),
  -- The command or event that caused it.
  "causation_id" blob CONSTRAINT "events_causation_id_check" CHECK (length("causation_id") = 16),
  -- What it belongs to, across streams and services.
  "correlation_id" blob CONSTRAINT "events_correlation_id_check" CHECK (length("correlation_id") = 16),
  -- The event itself, kept byte for byte.
  "data" text NOT NULL CONSTRAINT "events_data_check" CHECK (json_valid("data")),
  -- What the caller says about the event.
  "metadata" text CONSTRAINT "events_metadata_check" CHECK (("metadata" IS NULL OR json_valid("metadata") AND json_type("metadata") = 'object')),
  -- The type of data that is not JSON and is held as a base64 string; null for JSON.
  "content_type" text CONSTRAINT "events_content_type_check" CHECK (length(CAST("content_type" AS BLOB)) <= 255),
  -- The tags of the event as a sorted array; event_tags is the index over them.
  "tags" text CONSTRAINT "events_tags_check" CHECK (("tags" IS NULL OR json_valid("tags") AND json_type("tags") = 'array')),
  -- The SHA-256 over what the caller decided; null for an event written from a SQL prompt.
  "hash" blob CONSTRAINT "events_hash_check" CHECK (length("hash") = 32),
  CONSTRAINT "events_pkey" PRIMARY KEY ("lane_id", "position"),
  CONSTRAINT "events_event_id_key" UNIQUE ("lane_id", "event_id"),
  CONSTRAINT "events_aggregate_version_key" UNIQUE ("lane_id", "aggregate_id", "aggregate_version"),
  CONSTRAINT "events_rowid_check" CHECK ("rowid" >= 1)
) STRICT;
-- The events of a type in order; conditions on types.
CREATE INDEX "events_event_type_idx" ON "events" ("lane_id", "event_type", "position");
-- The events of a category in order.
CREATE INDEX "events_aggregate_type_idx" ON "events" ("lane_id", "aggregate_type", "position");
-- The events that belong together.
CREATE INDEX "events_correlation_id_idx" ON "events" ("lane_id", "correlation_id", "position") WHERE "correlation_id" IS NOT NULL;
-- What one actor did.
CREATE INDEX "events_actor_idx" ON "events" ("lane_id", "actor", "position") WHERE "actor" IS NOT NULL;
-- Ranges of time; time only grows in a lane, so that new entries land at one end.
CREATE INDEX "events_event_timestamp_idx" ON "events" ("lane_id", "event_timestamp" DESC);

CREATE TABLE "event_tags" (
  -- The index over the tags of events.

  -- The lane, see lanes.
  "lane_id" integer NOT NULL,
  -- A tag.
  "tag" text NOT NULL CONSTRAINT "event_tags_tag_check" CHECK (length(CAST("tag" AS BLOB)) BETWEEN 1 AND 255),
  -- The event that carries it.
  "position" integer NOT NULL,
  CONSTRAINT "event_tags_pkey" PRIMARY KEY ("lane_id", "tag", "position")
) STRICT, WITHOUT ROWID;

CREATE TABLE "commands" (
  -- The commands that were carried out: a repeated one is answered with its first outcome.

  -- The lane, see lanes.
  "lane_id" integer NOT NULL,
  -- The identity of the command, given by the caller.
  "command_id" blob NOT NULL CONSTRAINT "commands_command_id_check" CHECK (length("command_id") = 16),
  -- What was asked for.
  "command_type" text CONSTRAINT "commands_command_type_check" CHECK (length(CAST("command_type" AS BLOB)) BETWEEN 1 AND 255),
  -- The first stream that was written.
  "aggregate_id" text CONSTRAINT "commands_aggregate_id_check" CHECK (length(CAST("aggregate_id" AS BLOB)) BETWEEN 1 AND 255),
  -- The category of that stream.
  "aggregate_type" text CONSTRAINT "commands_aggregate_type_check" CHECK (length(CAST("aggregate_type" AS BLOB)) BETWEEN 1 AND 255),
  -- When the command was carried out.
  "processed_at" integer NOT NULL,
  -- Who asked.
  "actor" text CONSTRAINT "commands_actor_check" CHECK (length(CAST("actor" AS BLOB)) BETWEEN 1 AND 255),
  -- By which way the command came in.
  "source" text CONSTRAINT "commands_source_check" CHECK ("source" IN ('ui', 'api', 'import', 'webhook', 'system')),
  -- What the caller wants to keep of the command.
  "data" text CONSTRAINT "commands_data_check" CHECK (("data" IS NULL OR json_valid("data"))),
  -- The SHA-256 of the request; the same id with another hash is refused.
  "request_hash" blob NOT NULL CONSTRAINT "commands_request_hash_check" CHECK (length("request_hash") = 32),
  -- The first event that it wrote; null if it wrote none.
  "first_position" integer CONSTRAINT "commands_first_position_check" CHECK ("first_position" >= 1),
  -- The last event that it wrote; null if it wrote none.
  "last_position" integer CONSTRAINT "commands_last_position_check" CHECK ("last_position" >= 1),
  CONSTRAINT "commands_pkey" PRIMARY KEY ("lane_id", "command_id")
) STRICT, WITHOUT ROWID;

CREATE TABLE "snapshots" (
  -- The states of aggregates at some version. Only a shortcut: without any, every answer is the same.

  -- The lane, see lanes.
  "lane_id" integer NOT NULL,
  -- The name of the stream.
  "aggregate_id" text NOT NULL CONSTRAINT "snapshots_aggregate_id_check" CHECK (length(CAST("aggregate_id" AS BLOB)) BETWEEN 1 AND 255),
  -- The version of the stream after which the state held.
  "aggregate_version" integer NOT NULL CONSTRAINT "snapshots_aggregate_version_check" CHECK ("aggregate_version" >= 1),
  -- The identity of the snapshot.
  "snapshot_id" blob NOT NULL CONSTRAINT "snapshots_snapshot_id_check" CHECK (length("snapshot_id") = 16),
  -- The category of the stream.
  "aggregate_type" text NOT NULL CONSTRAINT "snapshots_aggregate_type_check" CHECK (length(CAST("aggregate_type" AS BLOB)) BETWEEN 1 AND 255),
  -- The version of the shape of the state; readers of another one ignore the snapshot.
  "snapshot_version" integer NOT NULL DEFAULT 1 CONSTRAINT "snapshots_snapshot_version_check" CHECK ("snapshot_version" BETWEEN 1 AND 2147483647),
  -- When it was taken.
  "snapshot_timestamp" integer NOT NULL,
  -- The state, kept byte for byte.
  "state" text NOT NULL CONSTRAINT "snapshots_state_check" CHECK (json_valid("state")),
  CONSTRAINT "snapshots_pkey" PRIMARY KEY ("lane_id", "aggregate_id", "aggregate_version")
) STRICT, WITHOUT ROWID;

CREATE TABLE "subscriptions" (
  -- How far each named reader has come in each lane.

  -- The name of the subscription.
  "name" text NOT NULL CONSTRAINT "subscriptions_name_check" CHECK (length(CAST("name" AS BLOB)) BETWEEN 1 AND 255),
  -- The lane, see lanes.
  "lane_id" integer NOT NULL,
  -- The one stream that is read; null for all of them.
  "aggregate_id" text CONSTRAINT "subscriptions_aggregate_id_check" CHECK (length(CAST("aggregate_id" AS BLOB)) BETWEEN 1 AND 255),
  -- The last position that was dealt with; 0 for none.
  "position" integer NOT NULL DEFAULT 0 CONSTRAINT "subscriptions_position_check" CHECK ("position" >= 0),
  -- The event at that position: another one there means that the log is not the same.
  "event_id" blob CONSTRAINT "subscriptions_event_id_check" CHECK (length("event_id") = 16),
  -- The version of that event in its stream.
  "aggregate_version" integer CONSTRAINT "subscriptions_aggregate_version_check" CHECK ("aggregate_version" >= 1),
  -- Which events are read; null for all of them.
  "filter" text CONSTRAINT "subscriptions_filter_check" CHECK (("filter" IS NULL OR json_valid("filter"))),
  -- The fingerprint of the filter, which a subscription keeps for its life.
  "filter_hash" blob CONSTRAINT "subscriptions_filter_hash_check" CHECK (length("filter_hash") = 32),
  -- Who reads at present.
  "lease_owner" text CONSTRAINT "subscriptions_lease_owner_check" CHECK (length(CAST("lease_owner" AS BLOB)) BETWEEN 1 AND 255),
  -- Until when, unless renewed.
  "lease_until" integer,
  -- When the subscription was created.
  "created_at" integer NOT NULL,
  -- When this row was last written.
  "updated_at" integer NOT NULL,
  -- What the application says about the subscription.
  "metadata" text CONSTRAINT "subscriptions_metadata_check" CHECK (("metadata" IS NULL OR json_valid("metadata") AND json_type("metadata") = 'object')),
  CONSTRAINT "subscriptions_pkey" PRIMARY KEY ("name", "lane_id")
) STRICT, WITHOUT ROWID;

CREATE TABLE "purge_permits" (
  -- Empty but within a transaction that purges: its row lets deletes through, and is deleted again before the commit.

  -- Always 1.
  "id" integer NOT NULL CONSTRAINT "purge_permits_id_check" CHECK ("id" BETWEEN 1 AND 1),
  CONSTRAINT "purge_permits_pkey" PRIMARY KEY ("id")
) STRICT;

CREATE TRIGGER "events_refuse_update" BEFORE UPDATE ON "events"
BEGIN
  SELECT RAISE(ABORT, 'UPDATE of events is refused: the log is only ever appended to');
END;
CREATE TRIGGER "events_refuse_delete" BEFORE DELETE ON "events"
WHEN NOT EXISTS (SELECT 1 FROM "purge_permits")
BEGIN
  SELECT RAISE(ABORT, 'DELETE of events is refused: the log is only ever appended to');
END;
-- INSERT OR REPLACE would delete the row in its way, past the trigger above. The row number is a key too:
-- one that the statement does not give is -1 here.
CREATE TRIGGER "events_refuse_replace" BEFORE INSERT ON "events"
BEGIN
  SELECT RAISE(ABORT, 'events: the row number is not for callers to choose') WHERE NEW."rowid" <> -1;
  SELECT RAISE(ABORT, 'UNIQUE constraint failed: events.lane_id, events.position')
    WHERE EXISTS (SELECT 1 FROM "events" WHERE "lane_id" = NEW."lane_id" AND "position" = NEW."position");
  SELECT RAISE(ABORT, 'UNIQUE constraint failed: events.lane_id, events.event_id')
    WHERE EXISTS (SELECT 1 FROM "events" WHERE "lane_id" = NEW."lane_id" AND "event_id" = NEW."event_id");
  SELECT RAISE(ABORT, 'UNIQUE constraint failed: events.lane_id, events.aggregate_id, events.aggregate_version')
    WHERE EXISTS (SELECT 1 FROM "events" WHERE "lane_id" = NEW."lane_id" AND "aggregate_id" = NEW."aggregate_id" AND "aggregate_version" = NEW."aggregate_version");
END;

CREATE TRIGGER "event_tags_refuse_update" BEFORE UPDATE ON "event_tags"
BEGIN
  SELECT RAISE(ABORT, 'UPDATE of event_tags is refused: the log is only ever appended to');
END;
CREATE TRIGGER "event_tags_refuse_delete" BEFORE DELETE ON "event_tags"
WHEN NOT EXISTS (SELECT 1 FROM "purge_permits")
BEGIN
  SELECT RAISE(ABORT, 'DELETE of event_tags is refused: the log is only ever appended to');
END;

-- The topic that a store opened by its URL alone uses.
INSERT INTO "lanes" ("lane_id", "topic", "partition", "incarnation", "created_at")
VALUES (1, 'default', 0, randomblob(16), CAST(round((julianday('now') - 2440587.5) * 86400000.0) AS INTEGER) * 1000);
