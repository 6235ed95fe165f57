-- Written by `annals migrate generate --dialect sqlite` from src/schema: change the model there, not this file.

CREATE VIEW "recent_events" AS
-- The newest hundred events of all topics, newest first.
SELECT l.topic, e.lane_id, e."position", CASE WHEN e.event_id IS NOT NULL THEN lower(substr(hex(e.event_id), 1, 8) || '-' || substr(hex(e.event_id), 9, 4) || '-' || substr(hex(e.event_id), 13, 4) || '-' || substr(hex(e.event_id), 17, 4) || '-' || substr(hex(e.event_id), 21, 12)) END AS event_id, e.aggregate_id, e.aggregate_type,
  e.aggregate_version, e.event_type, e.event_version, strftime('%Y-%m-%dT%H:%M:%S', e.event_timestamp / 1000000, 'unixepoch') || printf('.%06dZ', e.event_timestamp % 1000000) AS event_timestamp, e.actor, e.actor_type, e.source,
  CASE WHEN e.causation_id IS NOT NULL THEN lower(substr(hex(e.causation_id), 1, 8) || '-' || substr(hex(e.causation_id), 9, 4) || '-' || substr(hex(e.causation_id), 13, 4) || '-' || substr(hex(e.causation_id), 17, 4) || '-' || substr(hex(e.causation_id), 21, 12)) END AS causation_id, CASE WHEN e.correlation_id IS NOT NULL THEN lower(substr(hex(e.correlation_id), 1, 8) || '-' || substr(hex(e.correlation_id), 9, 4) || '-' || substr(hex(e.correlation_id), 13, 4) || '-' || substr(hex(e.correlation_id), 17, 4) || '-' || substr(hex(e.correlation_id), 21, 12)) END AS correlation_id, e.data, e.metadata, e.content_type, e.tags
FROM (SELECT k.lane_id, k.topic,
    (SELECT MAX(h."position") FROM "events" AS h WHERE h.lane_id = k.lane_id) AS head FROM "lanes" AS k) AS l
INNER JOIN "events" AS e ON e.lane_id = l.lane_id AND e."position" > l.head - 100
ORDER BY e.event_timestamp DESC, e."position" DESC LIMIT 100;
CREATE VIEW "event_statistics" AS
-- How many events of each type there are, in how many streams, and since when.
SELECT l.topic, l.lane_id, e.event_type, COUNT(*) AS events, COUNT(DISTINCT e.aggregate_id) AS streams,
  strftime('%Y-%m-%dT%H:%M:%S', MIN(e.event_timestamp) / 1000000, 'unixepoch') || printf('.%06dZ', MIN(e.event_timestamp) % 1000000) AS first_at, strftime('%Y-%m-%dT%H:%M:%S', MAX(e.event_timestamp) / 1000000, 'unixepoch') || printf('.%06dZ', MAX(e.event_timestamp) % 1000000) AS last_at
FROM "events" AS e INNER JOIN "lanes" AS l ON l.lane_id = e.lane_id
GROUP BY l.topic, l.lane_id, e.event_type;
CREATE VIEW "event_streams" AS
-- The streams, with their current version and the time of their last event.
SELECT l.topic, s.lane_id, s.aggregate_id, s.aggregate_type,
  COALESCE((SELECT MAX(e.aggregate_version) FROM "events" AS e
    WHERE e.lane_id = s.lane_id AND e.aggregate_id = s.aggregate_id), s.first_version - 1) AS current_version,
  s.first_version, strftime('%Y-%m-%dT%H:%M:%S', s.created_at / 1000000, 'unixepoch') || printf('.%06dZ', s.created_at % 1000000) AS created_at, strftime('%Y-%m-%dT%H:%M:%S', s.updated_at / 1000000, 'unixepoch') || printf('.%06dZ', s.updated_at % 1000000) AS updated_at,
  (SELECT strftime('%Y-%m-%dT%H:%M:%S', e.event_timestamp / 1000000, 'unixepoch') || printf('.%06dZ', e.event_timestamp % 1000000) FROM "events" AS e
    WHERE e.lane_id = s.lane_id AND e.aggregate_id = s.aggregate_id ORDER BY e.aggregate_version DESC LIMIT 1) AS last_event_at,
  strftime('%Y-%m-%dT%H:%M:%S', s.deleted_at / 1000000, 'unixepoch') || printf('.%06dZ', s.deleted_at % 1000000) AS deleted_at, s.metadata, s.metadata_version
FROM "streams" AS s INNER JOIN "lanes" AS l ON l.lane_id = s.lane_id;
