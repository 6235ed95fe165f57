-- Written by `annals migrate generate --dialect sqlite` from src/schema: change the model there, not this file.

CREATE TABLE "holds" (
  -- What is not to be done to a lane for a time: appends while its topic is moved, and ever after at the old place; purging while somebody needs the events. An append looks for its hold under the lock of the lane.

  -- The lane, see lanes.
  "lane_id" integer NOT NULL,
  -- What is not to be done.
  "kind" text NOT NULL CONSTRAINT "holds_kind_check" CHECK ("kind" IN ('append', 'purge')),
  -- Which hold of that kind it is: several may be there for several reasons.
  "name" text NOT NULL CONSTRAINT "holds_name_check" CHECK (length(CAST("name" AS BLOB)) BETWEEN 1 AND 255),
  -- When it ends; the year 9999 where it does not.
  "until" integer NOT NULL,
  -- What people are told who run into it.
  "reason" text NOT NULL CONSTRAINT "holds_reason_check" CHECK (length(CAST("reason" AS BLOB)) <= 2000),
  -- Since when it is there.
  "created_at" integer NOT NULL,
  CONSTRAINT "holds_pkey" PRIMARY KEY ("lane_id", "kind", "name")
) STRICT, WITHOUT ROWID;

