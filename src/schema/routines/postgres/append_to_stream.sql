CREATE FUNCTION append_to_stream(
  stream text,
  stream_type text,
  expected_version bigint,
  event_type text,
  data json,
  metadata json DEFAULT NULL,
  actor text DEFAULT NULL,
  actor_type text DEFAULT 'user',
  source text DEFAULT 'system',
  event_id uuid DEFAULT NULL,
  event_version integer DEFAULT 1,
  causation_id uuid DEFAULT NULL,
  correlation_id uuid DEFAULT NULL,
  tags text[] DEFAULT NULL,
  topic text DEFAULT 'default',
  OUT "position" bigint,
  OUT aggregate_version bigint
)
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
  lane bigint;
  row_of_stream streams%ROWTYPE;
  last_version bigint;
  last_time timestamptz;
  now_here timestamptz;
  sorted_tags text[];
  tags_json json;
BEGIN
  PERFORM annals_check_name('stream', stream), annals_check_name('stream type', stream_type),
    annals_check_name('event type', append_to_stream.event_type), annals_check_json('data', append_to_stream.data),
    annals_check_json('metadata', append_to_stream.metadata);
  IF append_to_stream.actor IS NOT NULL THEN
    PERFORM annals_check_name('actor', append_to_stream.actor);
  END IF;
  SELECT array_agg(t.tag ORDER BY t.tag COLLATE "C"),
      ('[' || string_agg(to_json(t.tag)::text, ',' ORDER BY t.tag COLLATE "C") || ']')::json
    INTO sorted_tags, tags_json
    FROM (SELECT DISTINCT u.tag COLLATE "C" AS tag FROM unnest(append_to_stream.tags) AS u(tag)) AS t;
  PERFORM annals_check_name('tag', t.tag) FROM unnest(sorted_tags) AS t(tag);
  IF cardinality(sorted_tags) > 64 THEN
    RAISE EXCEPTION 'tags of an event are %, and the limit is 64', cardinality(sorted_tags)
      USING ERRCODE = 'program_limit_exceeded';
  END IF;
  IF octet_length(append_to_stream.data::text) + coalesce(octet_length(append_to_stream.metadata::text), 0)
    + coalesce(octet_length(tags_json::text), 0) > 4194304 THEN
    RAISE EXCEPTION 'the event is larger than 4194304 bytes' USING ERRCODE = 'program_limit_exceeded';
  END IF;
  -- In any other isolation the reads below would see the log as it was before the wait for the lock.
  IF current_setting('transaction_isolation') <> 'read committed' THEN
    RAISE EXCEPTION 'append_to_stream needs a transaction that is READ COMMITTED'
      USING ERRCODE = 'invalid_transaction_state';
  END IF;

  lane := annals_lane(append_to_stream.topic);
  PERFORM 1 FROM lanes WHERE lane_id = lane FOR NO KEY UPDATE;

  -- Each of these statements begins after the lock was granted, and so sees all that was committed before.
  SELECT * INTO row_of_stream FROM streams WHERE lane_id = lane AND aggregate_id = stream;
  SELECT max(e.aggregate_version) INTO last_version FROM events AS e WHERE e.lane_id = lane AND e.aggregate_id = stream;
  last_version := coalesce(last_version, row_of_stream.first_version - 1, 0);
  IF row_of_stream.deleted_at IS NOT NULL THEN
    RAISE EXCEPTION 'stream "%" is deleted: undelete it, or reuse it, before appending', stream
      USING ERRCODE = 'object_not_in_prerequisite_state';
  END IF;
  IF row_of_stream.aggregate_type <> stream_type THEN
    RAISE EXCEPTION 'stream "%" is of type "%", not "%"', stream, row_of_stream.aggregate_type, stream_type
      USING ERRCODE = 'invalid_parameter_value';
  END IF;
  IF expected_version <> last_version THEN
    RAISE EXCEPTION 'conflict: stream "%" is at version %, expected %', stream, last_version, expected_version
      USING ERRCODE = 'P0001', HINT = 'Read the stream again, and decide anew.';
  END IF;
  SELECT e.position, e.event_timestamp INTO append_to_stream.position, last_time
    FROM events AS e WHERE e.lane_id = lane ORDER BY e.position DESC LIMIT 1;
  IF NOT FOUND THEN
    SELECT l.floor INTO append_to_stream.position FROM lanes AS l WHERE l.lane_id = lane;
  END IF;

  append_to_stream.position := append_to_stream.position + 1;
  append_to_stream.aggregate_version := last_version + 1;
  now_here := greatest(clock_timestamp(), last_time);
  IF row_of_stream.aggregate_id IS NULL THEN
    INSERT INTO streams (lane_id, aggregate_id, aggregate_type, created_at, updated_at)
      VALUES (lane, stream, stream_type, now_here, now_here);
  END IF;
  INSERT INTO events (lane_id, position, event_id, aggregate_id, aggregate_type, aggregate_version, event_type, event_version,
      event_timestamp, actor, actor_type, source, causation_id, correlation_id, data, metadata, tags)
    VALUES (lane, append_to_stream.position, coalesce(append_to_stream.event_id, gen_random_uuid()), stream, stream_type,
      append_to_stream.aggregate_version, append_to_stream.event_type, append_to_stream.event_version, now_here,
      append_to_stream.actor, append_to_stream.actor_type, append_to_stream.source, append_to_stream.causation_id,
      append_to_stream.correlation_id, append_to_stream.data, append_to_stream.metadata, tags_json);
  INSERT INTO event_tags (lane_id, tag, position)
    SELECT lane, t.tag, append_to_stream.position FROM unnest(sorted_tags) AS t(tag);
END;
$$;
COMMENT ON FUNCTION append_to_stream IS
  'Appends an event. The expected version is 0 for a stream that must not exist yet, and null for any.';
