-- Written by `annals migrate generate --dialect postgres` from src/schema: change the model there, not this file.


CREATE OR REPLACE FUNCTION annals_append(
  lane bigint,
  stream text,
  stream_type text,
  expected bigint,
  ids_given boolean,
  event_id uuid,
  event_type text,
  event_version integer,
  actor text,
  actor_type text,
  source text,
  causation_id uuid,
  correlation_id uuid,
  data json,
  metadata json,
  content_type text,
  tag_list json,
  hash bytea,
  tag_names text[] DEFAULT NULL,
  tag_events integer[] DEFAULT NULL,
  command_id uuid DEFAULT NULL,
  command_type text DEFAULT NULL,
  command_stream text DEFAULT NULL,
  command_stream_type text DEFAULT NULL,
  command_actor text DEFAULT NULL,
  command_source text DEFAULT NULL,
  command_data json DEFAULT NULL,
  request_hash bytea DEFAULT NULL,
  more_ids uuid[] DEFAULT NULL,
  more_types text[] DEFAULT NULL,
  more_versions integer[] DEFAULT NULL,
  more_actors text[] DEFAULT NULL,
  more_actor_types text[] DEFAULT NULL,
  more_sources text[] DEFAULT NULL,
  more_causation_ids uuid[] DEFAULT NULL,
  more_correlation_ids uuid[] DEFAULT NULL,
  more_data json[] DEFAULT NULL,
  more_metadata json[] DEFAULT NULL,
  more_content_types text[] DEFAULT NULL,
  more_tag_lists json[] DEFAULT NULL,
  more_hashes bytea[] DEFAULT NULL
) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_variable
DECLARE
  found_type text;
  found_deleted timestamptz;
  head bigint;
  last_time timestamptz;
  last_version bigint;
  now_here timestamptz;
  odd boolean;
  stale boolean;
BEGIN
  -- Alone in its statement: what is read below must be read in a snapshot that was taken after the lock was granted.
  PERFORM 1 FROM lanes AS l WHERE l.lane_id = lane FOR NO KEY UPDATE;

  SELECT s.aggregate_type, s.deleted_at INTO found_type, found_deleted
    FROM streams AS s WHERE s.lane_id = lane AND s.aggregate_id = stream;
  IF FOUND THEN
    SELECT e.aggregate_version INTO last_version FROM events AS e
      WHERE e.lane_id = lane AND e.aggregate_id = stream ORDER BY e.aggregate_version DESC LIMIT 1;
  ELSE
    last_version := 0;
  END IF;
  SELECT e.position, e.event_timestamp INTO head, last_time FROM events AS e
    WHERE e.lane_id = lane ORDER BY e.position DESC LIMIT 1;
  IF NOT FOUND THEN
    SELECT l.floor INTO head FROM lanes AS l WHERE l.lane_id = lane;
  END IF;
  -- A stream whose events are all gone has a row, and no version.
  odd := found_type <> stream_type OR found_deleted IS NOT NULL OR last_version IS NULL OR head IS NULL;
  IF command_id IS NOT NULL THEN
    odd := odd OR EXISTS (SELECT FROM commands AS c
      WHERE c.lane_id = lane AND c.command_id = annals_append.command_id);
  END IF;
  IF ids_given THEN
    odd := odd OR EXISTS (SELECT FROM unnest(annals_append.event_id || more_ids) AS n(id)
      CROSS JOIN LATERAL (SELECT FROM events AS e WHERE e.lane_id = lane AND e.event_id = n.id LIMIT 1) AS e);
  END IF;
  stale := (expected >= 0 AND expected <> last_version) OR (expected < 0 AND last_version = 0);
  IF odd OR stale THEN
    -- Nothing is stored, so that nobody has to wait for the disk.
    PERFORM set_config('synchronous_commit', 'off', TRUE);
    RETURN CASE WHEN odd THEN NULL ELSE ARRAY[-1, last_version] END;
  END IF;

  now_here := greatest(clock_timestamp(), last_time);
  IF found_type IS NULL THEN
    INSERT INTO streams (lane_id, aggregate_id, aggregate_type, created_at, updated_at)
      VALUES (lane, stream, stream_type, now_here, now_here);
  END IF;
  INSERT INTO events (lane_id, position, event_id, aggregate_id, aggregate_type, aggregate_version, event_type,
      event_version, event_timestamp, actor, actor_type, source, causation_id, correlation_id, data, metadata,
      content_type, tags, hash)
    VALUES (lane, head + 1, event_id, stream, stream_type, last_version + 1, event_type, event_version, now_here, actor,
      actor_type, source, causation_id, correlation_id, data, metadata, content_type, tag_list, hash);
  IF more_ids IS NOT NULL THEN
    INSERT INTO events (lane_id, position, event_id, aggregate_id, aggregate_type, aggregate_version, event_type,
        event_version, event_timestamp, actor, actor_type, source, causation_id, correlation_id, data, metadata,
        content_type, tags, hash)
      SELECT lane, head + 1 + n.number, n.id, stream, stream_type, last_version + 1 + n.number, n.type, n.version,
          now_here, n.actor, n.actor_type, n.source, n.causation, n.correlation, n.data, n.metadata, n.content_type,
          n.tag_list, n.hash
        FROM unnest(more_ids, more_types, more_versions, more_actors, more_actor_types, more_sources,
            more_causation_ids, more_correlation_ids, more_data, more_metadata, more_content_types, more_tag_lists,
            more_hashes)
          WITH ORDINALITY AS n(id, type, version, actor, actor_type, source, causation, correlation, data, metadata,
            content_type, tag_list, hash, number);
  END IF;
  IF tag_names IS NOT NULL THEN
    INSERT INTO event_tags (lane_id, tag, position)
      SELECT lane, t.name, head + t.event FROM unnest(tag_names, tag_events) AS t(name, event);
  END IF;
  IF command_id IS NOT NULL THEN
    INSERT INTO commands (lane_id, command_id, command_type, aggregate_id, aggregate_type, processed_at, actor, source,
        data, request_hash, first_position, last_position)
      VALUES (lane, command_id, command_type, command_stream, command_stream_type, now_here, command_actor,
        command_source, command_data, request_hash, head + 1, head + 1 + coalesce(cardinality(more_ids), 0));
  END IF;
  RETURN ARRAY[head + 1, last_version, (extract(epoch FROM now_here) * 1000000)::bigint];
END;
$$;
COMMENT ON FUNCTION annals_append IS
  'The library''s own append to one stream, in one call: returns the first position, the version before it, and the time of the events in microseconds since 1970. Else it stores nothing, and returns -1 and the version where nothing but the version is other than expected (null: any, -1: it exists); or null, where the library has to decide: the stream is deleted or of another type, the command or an event id is known. The search path must name the schema, and the transaction must be READ COMMITTED.';

CREATE OR REPLACE FUNCTION annals_append_batch(
  lane bigint,
  stream_ids text[],
  stream_types text[],
  stream_versions bigint[],
  stream_written boolean[],
  given_ids uuid[],
  new_commands uuid[],
  furthest_after bigint,
  condition_numbers integer[],
  condition_afters bigint[],
  condition_types text[],
  condition_tags text[],
  condition_more_tags text[],
  tag_names text[],
  tag_events bigint[],
  command_ids uuid[],
  command_types text[],
  command_streams text[],
  command_stream_types text[],
  command_actors text[],
  command_sources text[],
  command_data json[],
  request_hashes bytea[],
  command_firsts bigint[],
  command_lasts bigint[],
  event_streams integer[],
  event_offsets bigint[],
  event_ids uuid[],
  event_types text[],
  event_versions integer[],
  actors text[],
  actor_types text[],
  sources text[],
  causation_ids uuid[],
  correlation_ids uuid[],
  data json[],
  metadata json[],
  content_types text[],
  tag_lists json[],
  hashes bytea[]
) RETURNS bigint[]
LANGUAGE plpgsql VOLATILE AS $$
#variable_conflict use_variable
DECLARE
  head bigint;
  last_time timestamptz;
  now_here timestamptz;
  bases bigint[];
  known boolean[];
  odd boolean;
  stale boolean;
BEGIN
  -- Alone in its statement: what is read below must be read in a snapshot that was taken after the lock was granted.
  PERFORM 1 FROM lanes AS l WHERE l.lane_id = lane FOR NO KEY UPDATE;

  SELECT e.position, e.event_timestamp INTO head, last_time FROM events AS e
    WHERE e.lane_id = lane ORDER BY e.position DESC LIMIT 1;
  IF NOT FOUND THEN
    SELECT l.floor INTO head FROM lanes AS l WHERE l.lane_id = lane;
  END IF;
  SELECT array_agg(coalesce(v.version, 0) ORDER BY n.ordinal), array_agg(s.type IS NOT NULL ORDER BY n.ordinal),
      bool_or(s.type <> n.type OR s.deleted_at IS NOT NULL OR (s.type IS NOT NULL AND v.version IS NULL)),
      bool_or((n.version >= 0 AND n.version <> coalesce(v.version, 0)) OR (n.version < 0 AND v.version IS NULL))
    INTO bases, known, odd, stale
    FROM unnest(stream_ids, stream_types, stream_versions) WITH ORDINALITY AS n(id, type, version, ordinal)
    LEFT JOIN LATERAL (SELECT s.aggregate_type AS type, s.deleted_at FROM streams AS s
      WHERE s.lane_id = lane AND s.aggregate_id = n.id LIMIT 1) AS s ON TRUE
    LEFT JOIN LATERAL (SELECT e.aggregate_version AS version FROM events AS e
      WHERE e.lane_id = lane AND e.aggregate_id = n.id ORDER BY e.aggregate_version DESC LIMIT 1) AS v ON TRUE;
  -- A condition that looks beyond the head is left to the library, and so is a lane that does not exist.
  odd := odd OR head IS NULL OR furthest_after > head
    OR EXISTS (SELECT FROM unnest(new_commands) AS n(id)
      CROSS JOIN LATERAL (SELECT FROM commands AS c WHERE c.lane_id = lane AND c.command_id = n.id LIMIT 1) AS c)
    OR EXISTS (SELECT FROM unnest(given_ids) AS n(id)
      CROSS JOIN LATERAL (SELECT FROM events AS e WHERE e.lane_id = lane AND e.event_id = n.id LIMIT 1) AS e)
    OR EXISTS (SELECT FROM annals_first_matches(lane, condition_numbers, condition_afters, condition_types,
      condition_tags, condition_more_tags));
  IF odd OR stale OR (event_ids IS NULL AND command_ids IS NULL) THEN
    -- Nothing is stored, so that nobody has to wait for the disk.
    PERFORM set_config('synchronous_commit', 'off', TRUE);
  END IF;
  IF odd THEN
    RETURN NULL;
  ELSIF stale THEN
    RETURN -1 || bases;
  END IF;

  now_here := greatest(clock_timestamp(), last_time);
  IF FALSE = ANY (known) THEN
    INSERT INTO streams (lane_id, aggregate_id, aggregate_type, created_at, updated_at)
      SELECT lane, n.id, n.type, now_here, now_here
        FROM unnest(stream_ids, stream_types, stream_written, known) AS n(id, type, written, known)
        WHERE n.written AND NOT n.known;
  END IF;
  IF event_ids IS NOT NULL THEN
    INSERT INTO events (lane_id, position, event_id, aggregate_id, aggregate_type, aggregate_version, event_type,
        event_version, event_timestamp, actor, actor_type, source, causation_id, correlation_id, data, metadata,
        content_type, tags, hash)
      SELECT lane, head + n.number, n.id, stream_ids[n.stream], stream_types[n.stream], bases[n.stream] + n.place, n.type,
          n.version, now_here, n.actor, n.actor_type, n.source, n.causation, n.correlation, n.data, n.metadata,
          n.content_type, n.tag_list, n.hash
        FROM unnest(event_streams, event_offsets, event_ids, event_types, event_versions, actors, actor_types, sources,
            causation_ids, correlation_ids, data, metadata, content_types, tag_lists, hashes)
          WITH ORDINALITY AS n(stream, place, id, type, version, actor, actor_type, source, causation, correlation, data,
            metadata, content_type, tag_list, hash, number);
  END IF;
  IF tag_names IS NOT NULL THEN
    INSERT INTO event_tags (lane_id, tag, position)
      SELECT lane, t.name, head + t.event FROM unnest(tag_names, tag_events) AS t(name, event);
  END IF;
  IF command_ids IS NOT NULL THEN
    INSERT INTO commands (lane_id, command_id, command_type, aggregate_id, aggregate_type, processed_at, actor, source,
        data, request_hash, first_position, last_position)
      SELECT lane, c.id, c.type, c.stream, c.stream_type, now_here, c.actor, c.source, c.data, c.hash, head + c.first,
          head + c.last
        FROM unnest(command_ids, command_types, command_streams, command_stream_types, command_actors, command_sources,
          command_data, request_hashes, command_firsts, command_lasts)
          AS c(id, type, stream, stream_type, actor, source, data, hash, first, last);
  END IF;
  RETURN ARRAY[head, (extract(epoch FROM now_here) * 1000000)::bigint] || bases;
END;
$$;
COMMENT ON FUNCTION annals_append_batch IS
  'The library''s own append of several requests that it decided on suppositions: stores them where all suppositions hold, and returns the head before them, their time in microseconds since 1970, and the versions of the streams before them. Else it stores nothing, and returns -1 and the versions where nothing but versions is other than supposed, or null. Supposed are the versions of streams (null: any, -1: it exists), their types, that none is deleted, that commands and given event ids are new, and that no event matches a condition. Positions and versions of the rows count from what is found. The search path must name the schema, and the transaction must be READ COMMITTED.';

CREATE OR REPLACE FUNCTION append_to_stream(
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
DROP TABLE "holds";
