-- Written by `annals migrate generate --dialect postgres` from src/schema: change the model there, not this file.

DROP TABLE "subscriptions";
DROP TABLE "snapshots";
DROP TABLE "commands";
DROP TABLE "event_tags";
DROP TABLE "events";
DROP TABLE "streams";
DROP TABLE "lanes";
DROP FUNCTION "annals_refuse_change"();
