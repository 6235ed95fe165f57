CREATE FUNCTION get_latest_snapshot(stream text, topic text DEFAULT 'default') RETURNS SETOF snapshots
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
  SELECT n.*
    FROM streams AS s INNER JOIN snapshots AS n ON n.lane_id = s.lane_id AND n.aggregate_id = s.aggregate_id
    WHERE s.lane_id = annals_lane(get_latest_snapshot.topic) AND s.aggregate_id = stream AND s.deleted_at IS NULL
      AND n.aggregate_version >= s.first_version
    ORDER BY n.aggregate_version DESC
    LIMIT 1;
$$;
COMMENT ON FUNCTION get_latest_snapshot IS 'Returns the newest snapshot of a stream, if it has one.';
