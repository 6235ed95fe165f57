-- Written by `annals migrate generate --dialect sqlite` from src/schema: change the model there, not this file.

DROP VIEW "event_streams";
DROP VIEW "event_statistics";
DROP VIEW "recent_events";
