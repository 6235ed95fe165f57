-- Written by `annals migrate generate --dialect sqlite` from src/schema: change the model there, not this file.

CREATE TABLE "subscription_shares" (
  -- The parts into which a consumer group divides the streams of a lane, each in the hands of one member at a time. The rows of a group say how many parts there are, which never changes.

  -- The name of the consumer group, see subscriptions.
  "name" text NOT NULL CONSTRAINT "subscription_shares_name_check" CHECK (length(CAST("name" AS BLOB)) BETWEEN 1 AND 255),
  -- The lane, see lanes.
  "lane_id" integer NOT NULL,
  -- The part, from 0: a hash of the stream's name, modulo the number of parts.
  "share" integer NOT NULL CONSTRAINT "subscription_shares_share_check" CHECK ("share" BETWEEN 0 AND 2147483647),
  -- The last position up to which all was dealt with; 0 for none.
  "position" integer NOT NULL DEFAULT 0 CONSTRAINT "subscription_shares_position_check" CHECK ("position" >= 0),
  -- The event at that position: another one there means that the log is not the same.
  "event_id" blob CONSTRAINT "subscription_shares_event_id_check" CHECK (length("event_id") = 16),
  -- The member that has it; null for none.
  "lease_owner" text CONSTRAINT "subscription_shares_lease_owner_check" CHECK (length(CAST("lease_owner" AS BLOB)) BETWEEN 1 AND 255),
  -- When this row was last written.
  "updated_at" integer NOT NULL,
  CONSTRAINT "subscription_shares_pkey" PRIMARY KEY ("name", "lane_id", "share")
) STRICT, WITHOUT ROWID;

CREATE TABLE "subscription_members" (
  -- The members of consumer groups. One that does not say in time that it is alive is removed by the others, and what it had is free.

  -- The name of the consumer group, see subscriptions.
  "name" text NOT NULL CONSTRAINT "subscription_members_name_check" CHECK (length(CAST("name" AS BLOB)) BETWEEN 1 AND 255),
  -- The first lane of the topic that is read.
  "lane_id" integer NOT NULL,
  -- The member; those that joined earlier come first.
  "member" text NOT NULL CONSTRAINT "subscription_members_member_check" CHECK (length(CAST("member" AS BLOB)) BETWEEN 1 AND 255),
  -- When it joined.
  "joined_at" integer NOT NULL,
  -- Until when it counts as alive, unless it is heard of again.
  "seen_until" integer NOT NULL,
  CONSTRAINT "subscription_members_pkey" PRIMARY KEY ("name", "lane_id", "member")
) STRICT, WITHOUT ROWID;

CREATE TABLE "dead_letters" (
  -- The events that a consumer group could not deal with, and those of the same stream that wait behind them.

  -- The name of the consumer group, see subscriptions.
  "name" text NOT NULL CONSTRAINT "dead_letters_name_check" CHECK (length(CAST("name" AS BLOB)) BETWEEN 1 AND 255),
  -- The lane, see lanes.
  "lane_id" integer NOT NULL,
  -- The place of the event in the lane.
  "position" integer NOT NULL CONSTRAINT "dead_letters_position_check" CHECK ("position" >= 1),
  -- The identity of the event.
  "event_id" blob NOT NULL CONSTRAINT "dead_letters_event_id_check" CHECK (length("event_id") = 16),
  -- The name of the stream.
  "aggregate_id" text NOT NULL CONSTRAINT "dead_letters_aggregate_id_check" CHECK (length(CAST("aggregate_id" AS BLOB)) BETWEEN 1 AND 255),
  -- The place of the event in the stream.
  "aggregate_version" integer NOT NULL CONSTRAINT "dead_letters_aggregate_version_check" CHECK ("aggregate_version" >= 1),
  -- What happened.
  "event_type" text NOT NULL CONSTRAINT "dead_letters_event_type_check" CHECK (length(CAST("event_type" AS BLOB)) BETWEEN 1 AND 255),
  -- How often it was tried; 0 where it only waits behind another one.
  "attempts" integer NOT NULL DEFAULT 0 CONSTRAINT "dead_letters_attempts_check" CHECK ("attempts" BETWEEN 0 AND 2147483647),
  -- Why it failed last; null where it was not tried.
  "reason" text CONSTRAINT "dead_letters_reason_check" CHECK (length(CAST("reason" AS BLOB)) <= 2000),
  -- When it was tried first; null where it was not.
  "first_failed_at" integer,
  -- When it was tried last; null where it was not.
  "last_failed_at" integer,
  -- Since when it is to be tried again; null while it is kept until somebody decides.
  "due_at" integer,
  -- When it was put here.
  "parked_at" integer NOT NULL,
  CONSTRAINT "dead_letters_pkey" PRIMARY KEY ("name", "lane_id", "position")
) STRICT, WITHOUT ROWID;
-- The dead letters of a stream in order.
CREATE INDEX "dead_letters_aggregate_id_idx" ON "dead_letters" ("name", "lane_id", "aggregate_id", "position");
-- What is to be tried again, which members look for again and again.
CREATE INDEX "dead_letters_due_at_idx" ON "dead_letters" ("name", "lane_id", "due_at") WHERE "due_at" IS NOT NULL;

