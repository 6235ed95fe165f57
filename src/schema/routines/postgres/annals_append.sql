CREATE FUNCTION annals_append(
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
