-- Written by `annals migrate generate --dialect sqlite` from src/schema: change the model there, not this file.

DROP TABLE "purge_permits";
DROP TABLE "subscriptions";
DROP TABLE "snapshots";
DROP TABLE "commands";
DROP TABLE "event_tags";
DROP TABLE "events";
DROP TABLE "streams";
DROP TABLE "lanes";
