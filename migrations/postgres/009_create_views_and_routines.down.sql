-- Written by `annals migrate generate --dialect postgres` from src/schema: change the model there, not this file.

DROP FUNCTION "delete_subscription";
DROP FUNCTION "checkpoint_subscription";
DROP FUNCTION "create_subscription";
DROP FUNCTION "get_latest_snapshot";
DROP FUNCTION "create_snapshot";
DROP FUNCTION "get_event_stream";
DROP FUNCTION "read_stream_forward";
DROP FUNCTION "append_to_stream";
DROP FUNCTION "annals_append_batch";
DROP FUNCTION "annals_first_matches";
DROP FUNCTION "annals_append";
DROP FUNCTION "annals_json_key";
DROP FUNCTION "annals_lane";
DROP FUNCTION "annals_check_json";
DROP FUNCTION "annals_check_name";
DROP VIEW "event_streams";
DROP VIEW "event_statistics";
DROP VIEW "recent_events";
