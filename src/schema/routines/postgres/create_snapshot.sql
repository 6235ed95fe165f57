CREATE FUNCTION create_snapshot(
  stream text,
  at_version bigint,
  state json,
  snapshot_version integer DEFAULT 1,
  topic text DEFAULT 'default'
) RETURNS uuid
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
  lane bigint := annals_lane(create_snapshot.topic);
  stream_type text;
  newest bigint;
  id uuid := gen_random_uuid();
BEGIN
  PERFORM annals_check_json('state', create_snapshot.state);
  PERFORM 1 FROM lanes WHERE lane_id = lane FOR NO KEY UPDATE;
  SELECT e.aggregate_type INTO stream_type FROM events AS e
    WHERE e.lane_id = lane AND e.aggregate_id = stream AND e.aggregate_version = at_version;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'stream "%" has no version %', stream, at_version USING ERRCODE = 'no_data_found';
  END IF;
  SELECT max(s.aggregate_version) INTO newest FROM snapshots AS s WHERE s.lane_id = lane AND s.aggregate_id = stream;
  IF newest > at_version THEN
    RAISE EXCEPTION 'conflict: the snapshot of stream "%" is at version % already', stream, newest USING ERRCODE = 'P0001';
  END IF;
  INSERT INTO snapshots (lane_id, aggregate_id, aggregate_version, snapshot_id, aggregate_type, snapshot_version,
      snapshot_timestamp, state)
    VALUES (lane, stream, at_version, id, stream_type, create_snapshot.snapshot_version, clock_timestamp(), create_snapshot.state)
    ON CONFLICT (lane_id, aggregate_id, aggregate_version) DO UPDATE
      SET snapshot_id = EXCLUDED.snapshot_id, snapshot_version = EXCLUDED.snapshot_version,
        snapshot_timestamp = EXCLUDED.snapshot_timestamp, state = EXCLUDED.state;
  RETURN id;
END;
$$;
COMMENT ON FUNCTION create_snapshot IS 'Saves the state of a stream at a version, never before the newest snapshot. Returns its id.';
