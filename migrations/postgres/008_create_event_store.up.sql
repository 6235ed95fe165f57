-- Written by `annals migrate generate --dialect postgres` from src/schema: change the model there, not this file.

CREATE TABLE "lanes" (
  "lane_id" bigint NOT NULL CONSTRAINT "lanes_lane_id_check" CHECK ("lane_id" >= 1),
  "topic" text COLLATE "C" NOT NULL CONSTRAINT "lanes_topic_check" CHECK (octet_length("topic") BETWEEN 1 AND 255),
  "partition" integer NOT NULL CONSTRAINT "lanes_partition_check" CHECK ("partition" >= 0),
  "incarnation" uuid NOT NULL,
  "floor" bigint NOT NULL DEFAULT 0 CONSTRAINT "lanes_floor_check" CHECK ("floor" >= 0),
  "created_at" timestamp with time zone NOT NULL,
  CONSTRAINT "lanes_pkey" PRIMARY KEY ("lane_id"),
  CONSTRAINT "lanes_topic_partition_key" UNIQUE ("topic", "partition")
);
COMMENT ON TABLE "lanes" IS 'The totally ordered sequences that make up the topics. An append locks the row of its lane and leaves it unchanged: an update would leave a dead version behind for each append.';
COMMENT ON COLUMN "lanes"."lane_id" IS 'The number of the lane.';
COMMENT ON COLUMN "lanes"."topic" IS 'The name of the log that the lane belongs to.';
COMMENT ON COLUMN "lanes"."partition" IS 'The place of the lane in its topic, from 0.';
COMMENT ON COLUMN "lanes"."incarnation" IS 'The identity of the topic''s history, the same in all its lanes; it changes when a backup is restored, so that readers who saw more notice.';
COMMENT ON COLUMN "lanes"."floor" IS 'The last position that was ever purged; 0 if none was.';
COMMENT ON COLUMN "lanes"."created_at" IS 'When the lane was created.';

CREATE TABLE "streams" (
  "lane_id" bigint NOT NULL,
  "aggregate_id" text COLLATE "C" NOT NULL CONSTRAINT "streams_aggregate_id_check" CHECK (octet_length("aggregate_id") BETWEEN 1 AND 255),
  "aggregate_type" text COLLATE "C" NOT NULL CONSTRAINT "streams_aggregate_type_check" CHECK (octet_length("aggregate_type") BETWEEN 1 AND 255),
  "created_at" timestamp with time zone NOT NULL,
  "updated_at" timestamp with time zone NOT NULL,
  "deleted_at" timestamp with time zone,
  "first_version" bigint NOT NULL DEFAULT 1 CONSTRAINT "streams_first_version_check" CHECK ("first_version" >= 1),
  "metadata" json CONSTRAINT "streams_metadata_check" CHECK (json_typeof("metadata") = 'object'),
  "metadata_version" bigint NOT NULL DEFAULT 0 CONSTRAINT "streams_metadata_version_check" CHECK ("metadata_version" >= 0),
  CONSTRAINT "streams_pkey" PRIMARY KEY ("lane_id", "aggregate_id")
);
-- The streams of a category in byte order.
CREATE INDEX "streams_aggregate_type_idx" ON "streams" ("lane_id", "aggregate_type", "aggregate_id");
COMMENT ON TABLE "streams" IS 'One row a stream, written when the stream is created, deleted, undeleted, reused or described anew, and not by every append. Its current version is that of its last event.';
COMMENT ON COLUMN "streams"."lane_id" IS 'The lane, see lanes.';
COMMENT ON COLUMN "streams"."aggregate_id" IS 'The name of the stream.';
COMMENT ON COLUMN "streams"."aggregate_type" IS 'The category of the stream, fixed by its first event.';
COMMENT ON COLUMN "streams"."created_at" IS 'When the stream was created.';
COMMENT ON COLUMN "streams"."updated_at" IS 'When this row was last written.';
COMMENT ON COLUMN "streams"."deleted_at" IS 'Since when the stream is hidden from stream reads and lists; null if it is not.';
COMMENT ON COLUMN "streams"."first_version" IS 'The first version that a read of the stream shows; reusing a deleted stream moves it.';
COMMENT ON COLUMN "streams"."metadata" IS 'What the application says about the stream.';
COMMENT ON COLUMN "streams"."metadata_version" IS 'How often the metadata was set.';

CREATE TABLE "events" (
  "lane_id" bigint NOT NULL,
  "position" bigint NOT NULL CONSTRAINT "events_position_check" CHECK ("position" >= 1),
  "event_id" uuid NOT NULL,
  "aggregate_id" text COLLATE "C" NOT NULL CONSTRAINT "events_aggregate_id_check" CHECK (octet_length("aggregate_id") BETWEEN 1 AND 255),
  "aggregate_type" text COLLATE "C" NOT NULL CONSTRAINT "events_aggregate_type_check" CHECK (octet_length("aggregate_type") BETWEEN 1 AND 255),
  "aggregate_version" bigint NOT NULL CONSTRAINT "events_aggregate_version_check" CHECK ("aggregate_version" >= 1),
  "event_type" text COLLATE "C" NOT NULL CONSTRAINT "events_event_type_check" CHECK (octet_length("event_type") BETWEEN 1 AND 255),
  "event_version" integer NOT NULL DEFAULT 1 CONSTRAINT "events_event_version_check" CHECK ("event_version" >= 1),
  "event_timestamp" timestamp with time zone NOT NULL,
  "actor" text COLLATE "C" CONSTRAINT "events_actor_check" CHECK (octet_length("actor") BETWEEN 1 AND 255),
  "actor_type" text COLLATE "C" NOT NULL CONSTRAINT "events_actor_type_check" CHECK ("actor_type" IN ('user', 'service', 'system')),
  "source" text COLLATE "C" NOT NULL CONSTRAINT "events_source_check" CHECK ("source" IN ('ui', 'api', 'import', 'webhook', 'system')),
  "causation_id" uuid,
  "correlation_id" uuid,
  "data" json NOT NULL,
  "metadata" json CONSTRAINT "events_metadata_check" CHECK (json_typeof("metadata") = 'object'),
  "content_type" text COLLATE "C" CONSTRAINT "events_content_type_check" CHECK (octet_length("content_type") <= 255),
  "tags" json CONSTRAINT "events_tags_check" CHECK (json_typeof("tags") = 'array'),
  "hash" bytea CONSTRAINT "events_hash_check" CHECK (octet_length("hash") = 32),
  CONSTRAINT "events_pkey" PRIMARY KEY ("lane_id", "position"),
  CONSTRAINT "events_event_id_key" UNIQUE ("lane_id", "event_id"),
  CONSTRAINT "events_aggregate_version_key" UNIQUE ("lane_id", "aggregate_id", "aggregate_version")
);
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
COMMENT ON TABLE "events" IS 'The log: what happened, in commit order. Rows are only ever added.';
COMMENT ON COLUMN "events"."lane_id" IS 'The lane, see lanes.';
COMMENT ON COLUMN "events"."position" IS 'The place in the lane: 1, 2, 3 and so on, in commit order, without holes.';
COMMENT ON COLUMN "events"."event_id" IS 'The identity of the event, unique in its lane.';
COMMENT ON COLUMN "events"."aggregate_id" IS 'The name of the stream.';
COMMENT ON COLUMN "events"."aggregate_type" IS 'The category of the stream.';
COMMENT ON COLUMN "events"."aggregate_version" IS 'The place in the stream: 1, 2, 3 and so on, without holes.';
COMMENT ON COLUMN "events"."event_type" IS 'What happened.';
COMMENT ON COLUMN "events"."event_version" IS 'The version of the shape of the data.';
COMMENT ON COLUMN "events"."event_timestamp" IS 'When the event was stored, by the clock of the database under the lock of the lane; never before the previous event''s.';
COMMENT ON COLUMN "events"."actor" IS 'Who caused it.';
COMMENT ON COLUMN "events"."actor_type" IS 'What the actor is.';
COMMENT ON COLUMN "events"."source" IS 'By which way it came in.';
COMMENT ON COLUMN "events"."causation_id" IS 'The command or event that caused it.';
COMMENT ON COLUMN "events"."correlation_id" IS 'What it belongs to, across streams and services.';
COMMENT ON COLUMN "events"."data" IS 'The event itself, kept byte for byte.';
COMMENT ON COLUMN "events"."metadata" IS 'What the caller says about the event.';
COMMENT ON COLUMN "events"."content_type" IS 'The type of data that is not JSON and is held as a base64 string; null for JSON.';
COMMENT ON COLUMN "events"."tags" IS 'The tags of the event as a sorted array; event_tags is the index over them.';
COMMENT ON COLUMN "events"."hash" IS 'The SHA-256 over what the caller decided; null for an event written from a SQL prompt.';

CREATE TABLE "event_tags" (
  "lane_id" bigint NOT NULL,
  "tag" text COLLATE "C" NOT NULL CONSTRAINT "event_tags_tag_check" CHECK (octet_length("tag") BETWEEN 1 AND 255),
  "position" bigint NOT NULL,
  CONSTRAINT "event_tags_pkey" PRIMARY KEY ("lane_id", "tag", "position")
);
COMMENT ON TABLE "event_tags" IS 'The index over the tags of events.';
COMMENT ON COLUMN "event_tags"."lane_id" IS 'The lane, see lanes.';
COMMENT ON COLUMN "event_tags"."tag" IS 'A tag.';
COMMENT ON COLUMN "event_tags"."position" IS 'The event that carries it.';

CREATE TABLE "commands" (
  "lane_id" bigint NOT NULL,
  "command_id" uuid NOT NULL,
  "command_type" text COLLATE "C" CONSTRAINT "commands_command_type_check" CHECK (octet_length("command_type") BETWEEN 1 AND 255),
  "aggregate_id" text COLLATE "C" CONSTRAINT "commands_aggregate_id_check" CHECK (octet_length("aggregate_id") BETWEEN 1 AND 255),
  "aggregate_type" text COLLATE "C" CONSTRAINT "commands_aggregate_type_check" CHECK (octet_length("aggregate_type") BETWEEN 1 AND 255),
  "processed_at" timestamp with time zone NOT NULL,
  "actor" text COLLATE "C" CONSTRAINT "commands_actor_check" CHECK (octet_length("actor") BETWEEN 1 AND 255),
  "source" text COLLATE "C" CONSTRAINT "commands_source_check" CHECK ("source" IN ('ui', 'api', 'import', 'webhook', 'system')),
  "data" json,
  "request_hash" bytea NOT NULL CONSTRAINT "commands_request_hash_check" CHECK (octet_length("request_hash") = 32),
  "first_position" bigint CONSTRAINT "commands_first_position_check" CHECK ("first_position" >= 1),
  "last_position" bigint CONSTRAINT "commands_last_position_check" CHECK ("last_position" >= 1),
  CONSTRAINT "commands_pkey" PRIMARY KEY ("lane_id", "command_id")
);
COMMENT ON TABLE "commands" IS 'The commands that were carried out: a repeated one is answered with its first outcome.';
COMMENT ON COLUMN "commands"."lane_id" IS 'The lane, see lanes.';
COMMENT ON COLUMN "commands"."command_id" IS 'The identity of the command, given by the caller.';
COMMENT ON COLUMN "commands"."command_type" IS 'What was asked for.';
COMMENT ON COLUMN "commands"."aggregate_id" IS 'The first stream that was written.';
COMMENT ON COLUMN "commands"."aggregate_type" IS 'The category of that stream.';
COMMENT ON COLUMN "commands"."processed_at" IS 'When the command was carried out.';
COMMENT ON COLUMN "commands"."actor" IS 'Who asked.';
COMMENT ON COLUMN "commands"."source" IS 'By which way the command came in.';
COMMENT ON COLUMN "commands"."data" IS 'What the caller wants to keep of the command.';
COMMENT ON COLUMN "commands"."request_hash" IS 'The SHA-256 of the request; the same id with another hash is refused.';
COMMENT ON COLUMN "commands"."first_position" IS 'The first event that it wrote; null if it wrote none.';
COMMENT ON COLUMN "commands"."last_position" IS 'The last event that it wrote; null if it wrote none.';

CREATE TABLE "snapshots" (
  "lane_id" bigint NOT NULL,
  "aggregate_id" text COLLATE "C" NOT NULL CONSTRAINT "snapshots_aggregate_id_check" CHECK (octet_length("aggregate_id") BETWEEN 1 AND 255),
  "aggregate_version" bigint NOT NULL CONSTRAINT "snapshots_aggregate_version_check" CHECK ("aggregate_version" >= 1),
  "snapshot_id" uuid NOT NULL,
  "aggregate_type" text COLLATE "C" NOT NULL CONSTRAINT "snapshots_aggregate_type_check" CHECK (octet_length("aggregate_type") BETWEEN 1 AND 255),
  "snapshot_version" integer NOT NULL DEFAULT 1 CONSTRAINT "snapshots_snapshot_version_check" CHECK ("snapshot_version" >= 1),
  "snapshot_timestamp" timestamp with time zone NOT NULL,
  "state" json NOT NULL,
  CONSTRAINT "snapshots_pkey" PRIMARY KEY ("lane_id", "aggregate_id", "aggregate_version")
);
COMMENT ON TABLE "snapshots" IS 'The states of aggregates at some version. Only a shortcut: without any, every answer is the same.';
COMMENT ON COLUMN "snapshots"."lane_id" IS 'The lane, see lanes.';
COMMENT ON COLUMN "snapshots"."aggregate_id" IS 'The name of the stream.';
COMMENT ON COLUMN "snapshots"."aggregate_version" IS 'The version of the stream after which the state held.';
COMMENT ON COLUMN "snapshots"."snapshot_id" IS 'The identity of the snapshot.';
COMMENT ON COLUMN "snapshots"."aggregate_type" IS 'The category of the stream.';
COMMENT ON COLUMN "snapshots"."snapshot_version" IS 'The version of the shape of the state; readers of another one ignore the snapshot.';
COMMENT ON COLUMN "snapshots"."snapshot_timestamp" IS 'When it was taken.';
COMMENT ON COLUMN "snapshots"."state" IS 'The state, kept byte for byte.';

CREATE TABLE "subscriptions" (
  "name" text COLLATE "C" NOT NULL CONSTRAINT "subscriptions_name_check" CHECK (octet_length("name") BETWEEN 1 AND 255),
  "lane_id" bigint NOT NULL,
  "aggregate_id" text COLLATE "C" CONSTRAINT "subscriptions_aggregate_id_check" CHECK (octet_length("aggregate_id") BETWEEN 1 AND 255),
  "position" bigint NOT NULL DEFAULT 0 CONSTRAINT "subscriptions_position_check" CHECK ("position" >= 0),
  "event_id" uuid,
  "aggregate_version" bigint CONSTRAINT "subscriptions_aggregate_version_check" CHECK ("aggregate_version" >= 1),
  "filter" json,
  "filter_hash" bytea CONSTRAINT "subscriptions_filter_hash_check" CHECK (octet_length("filter_hash") = 32),
  "lease_owner" text COLLATE "C" CONSTRAINT "subscriptions_lease_owner_check" CHECK (octet_length("lease_owner") BETWEEN 1 AND 255),
  "lease_until" timestamp with time zone,
  "created_at" timestamp with time zone NOT NULL,
  "updated_at" timestamp with time zone NOT NULL,
  "metadata" json CONSTRAINT "subscriptions_metadata_check" CHECK (json_typeof("metadata") = 'object'),
  CONSTRAINT "subscriptions_pkey" PRIMARY KEY ("name", "lane_id")
);
COMMENT ON TABLE "subscriptions" IS 'How far each named reader has come in each lane.';
COMMENT ON COLUMN "subscriptions"."name" IS 'The name of the subscription.';
COMMENT ON COLUMN "subscriptions"."lane_id" IS 'The lane, see lanes.';
COMMENT ON COLUMN "subscriptions"."aggregate_id" IS 'The one stream that is read; null for all of them.';
COMMENT ON COLUMN "subscriptions"."position" IS 'The last position that was dealt with; 0 for none.';
COMMENT ON COLUMN "subscriptions"."event_id" IS 'The event at that position: another one there means that the log is not the same.';
COMMENT ON COLUMN "subscriptions"."aggregate_version" IS 'The version of that event in its stream.';
COMMENT ON COLUMN "subscriptions"."filter" IS 'Which events are read; null for all of them.';
COMMENT ON COLUMN "subscriptions"."filter_hash" IS 'The fingerprint of the filter, which a subscription keeps for its life.';
COMMENT ON COLUMN "subscriptions"."lease_owner" IS 'Who reads at present.';
COMMENT ON COLUMN "subscriptions"."lease_until" IS 'Until when, unless renewed.';
COMMENT ON COLUMN "subscriptions"."created_at" IS 'When the subscription was created.';
COMMENT ON COLUMN "subscriptions"."updated_at" IS 'When this row was last written.';
COMMENT ON COLUMN "subscriptions"."metadata" IS 'What the application says about the subscription.';

CREATE FUNCTION "annals_refuse_change"() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  IF TG_OP = 'DELETE' AND current_setting('annals.purge', true) = 'on' THEN
    RETURN NULL;
  END IF;
  RAISE EXCEPTION '% of % is refused: the log is only ever appended to', TG_OP, TG_TABLE_NAME
    USING ERRCODE = 'restrict_violation';
END;
$$;
COMMENT ON FUNCTION "annals_refuse_change"() IS 'Refuses a change of the log. SET LOCAL annals.purge = ''on'' lets deletes through.';

CREATE TRIGGER "events_refuse_change" BEFORE UPDATE OR DELETE OR TRUNCATE ON "events"
  FOR EACH STATEMENT EXECUTE FUNCTION "annals_refuse_change"();

CREATE TRIGGER "event_tags_refuse_change" BEFORE UPDATE OR DELETE OR TRUNCATE ON "event_tags"
  FOR EACH STATEMENT EXECUTE FUNCTION "annals_refuse_change"();

-- The topic that a store opened by its URL alone uses.
INSERT INTO "lanes" ("lane_id", "topic", "partition", "incarnation", "created_at")
VALUES (1, 'default', 0, gen_random_uuid(), clock_timestamp());
