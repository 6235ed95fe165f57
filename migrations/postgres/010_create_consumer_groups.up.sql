-- Written by `annals migrate generate --dialect postgres` from src/schema: change the model there, not this file.

CREATE TABLE "subscription_shares" (
  "name" text COLLATE "C" NOT NULL CONSTRAINT "subscription_shares_name_check" CHECK (octet_length("name") BETWEEN 1 AND 255),
  "lane_id" bigint NOT NULL,
  "share" integer NOT NULL CONSTRAINT "subscription_shares_share_check" CHECK ("share" >= 0),
  "position" bigint NOT NULL DEFAULT 0 CONSTRAINT "subscription_shares_position_check" CHECK ("position" >= 0),
  "event_id" uuid,
  "lease_owner" text COLLATE "C" CONSTRAINT "subscription_shares_lease_owner_check" CHECK (octet_length("lease_owner") BETWEEN 1 AND 255),
  "updated_at" timestamp with time zone NOT NULL,
  CONSTRAINT "subscription_shares_pkey" PRIMARY KEY ("name", "lane_id", "share")
);
COMMENT ON TABLE "subscription_shares" IS 'The parts into which a consumer group divides the streams of a lane, each in the hands of one member at a time. The rows of a group say how many parts there are, which never changes.';
COMMENT ON COLUMN "subscription_shares"."name" IS 'The name of the consumer group, see subscriptions.';
COMMENT ON COLUMN "subscription_shares"."lane_id" IS 'The lane, see lanes.';
COMMENT ON COLUMN "subscription_shares"."share" IS 'The part, from 0: a hash of the stream''s name, modulo the number of parts.';
COMMENT ON COLUMN "subscription_shares"."position" IS 'The last position up to which all was dealt with; 0 for none.';
COMMENT ON COLUMN "subscription_shares"."event_id" IS 'The event at that position: another one there means that the log is not the same.';
COMMENT ON COLUMN "subscription_shares"."lease_owner" IS 'The member that has it; null for none.';
COMMENT ON COLUMN "subscription_shares"."updated_at" IS 'When this row was last written.';

CREATE TABLE "subscription_members" (
  "name" text COLLATE "C" NOT NULL CONSTRAINT "subscription_members_name_check" CHECK (octet_length("name") BETWEEN 1 AND 255),
  "lane_id" bigint NOT NULL,
  "member" text COLLATE "C" NOT NULL CONSTRAINT "subscription_members_member_check" CHECK (octet_length("member") BETWEEN 1 AND 255),
  "joined_at" timestamp with time zone NOT NULL,
  "seen_until" timestamp with time zone NOT NULL,
  CONSTRAINT "subscription_members_pkey" PRIMARY KEY ("name", "lane_id", "member")
);
COMMENT ON TABLE "subscription_members" IS 'The members of consumer groups. One that does not say in time that it is alive is removed by the others, and what it had is free.';
COMMENT ON COLUMN "subscription_members"."name" IS 'The name of the consumer group, see subscriptions.';
COMMENT ON COLUMN "subscription_members"."lane_id" IS 'The first lane of the topic that is read.';
COMMENT ON COLUMN "subscription_members"."member" IS 'The member; those that joined earlier come first.';
COMMENT ON COLUMN "subscription_members"."joined_at" IS 'When it joined.';
COMMENT ON COLUMN "subscription_members"."seen_until" IS 'Until when it counts as alive, unless it is heard of again.';

CREATE TABLE "dead_letters" (
  "name" text COLLATE "C" NOT NULL CONSTRAINT "dead_letters_name_check" CHECK (octet_length("name") BETWEEN 1 AND 255),
  "lane_id" bigint NOT NULL,
  "position" bigint NOT NULL CONSTRAINT "dead_letters_position_check" CHECK ("position" >= 1),
  "event_id" uuid NOT NULL,
  "aggregate_id" text COLLATE "C" NOT NULL CONSTRAINT "dead_letters_aggregate_id_check" CHECK (octet_length("aggregate_id") BETWEEN 1 AND 255),
  "aggregate_version" bigint NOT NULL CONSTRAINT "dead_letters_aggregate_version_check" CHECK ("aggregate_version" >= 1),
  "event_type" text COLLATE "C" NOT NULL CONSTRAINT "dead_letters_event_type_check" CHECK (octet_length("event_type") BETWEEN 1 AND 255),
  "attempts" integer NOT NULL DEFAULT 0 CONSTRAINT "dead_letters_attempts_check" CHECK ("attempts" >= 0),
  "reason" text COLLATE "C" CONSTRAINT "dead_letters_reason_check" CHECK (octet_length("reason") <= 2000),
  "first_failed_at" timestamp with time zone,
  "last_failed_at" timestamp with time zone,
  "due_at" timestamp with time zone,
  "parked_at" timestamp with time zone NOT NULL,
  CONSTRAINT "dead_letters_pkey" PRIMARY KEY ("name", "lane_id", "position")
);
-- The dead letters of a stream in order.
CREATE INDEX "dead_letters_aggregate_id_idx" ON "dead_letters" ("name", "lane_id", "aggregate_id", "position");
-- What is to be tried again, which members look for again and again.
CREATE INDEX "dead_letters_due_at_idx" ON "dead_letters" ("name", "lane_id", "due_at") WHERE "due_at" IS NOT NULL;
COMMENT ON TABLE "dead_letters" IS 'The events that a consumer group could not deal with, and those of the same stream that wait behind them.';
COMMENT ON COLUMN "dead_letters"."name" IS 'The name of the consumer group, see subscriptions.';
COMMENT ON COLUMN "dead_letters"."lane_id" IS 'The lane, see lanes.';
COMMENT ON COLUMN "dead_letters"."position" IS 'The place of the event in the lane.';
COMMENT ON COLUMN "dead_letters"."event_id" IS 'The identity of the event.';
COMMENT ON COLUMN "dead_letters"."aggregate_id" IS 'The name of the stream.';
COMMENT ON COLUMN "dead_letters"."aggregate_version" IS 'The place of the event in the stream.';
COMMENT ON COLUMN "dead_letters"."event_type" IS 'What happened.';
COMMENT ON COLUMN "dead_letters"."attempts" IS 'How often it was tried; 0 where it only waits behind another one.';
COMMENT ON COLUMN "dead_letters"."reason" IS 'Why it failed last; null where it was not tried.';
COMMENT ON COLUMN "dead_letters"."first_failed_at" IS 'When it was tried first; null where it was not.';
COMMENT ON COLUMN "dead_letters"."last_failed_at" IS 'When it was tried last; null where it was not.';
COMMENT ON COLUMN "dead_letters"."due_at" IS 'Since when it is to be tried again; null while it is kept until somebody decides.';
COMMENT ON COLUMN "dead_letters"."parked_at" IS 'When it was put here.';

