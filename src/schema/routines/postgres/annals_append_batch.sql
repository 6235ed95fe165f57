CREATE FUNCTION annals_append_batch(
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
