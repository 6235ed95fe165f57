CREATE FUNCTION read_stream_forward(
  stream text,
  from_version bigint DEFAULT 1,
  max_events bigint DEFAULT 1000,
  topic text DEFAULT 'default'
) RETURNS SETOF events
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
  SELECT e.*
    FROM streams AS s INNER JOIN events AS e ON e.lane_id = s.lane_id AND e.aggregate_id = s.aggregate_id
    WHERE s.lane_id = annals_lane(read_stream_forward.topic) AND s.aggregate_id = stream AND s.deleted_at IS NULL
      AND e.aggregate_version >= greatest(from_version, s.first_version)
    ORDER BY e.aggregate_version
    LIMIT max_events;
$$;
COMMENT ON FUNCTION read_stream_forward IS 'Returns events of a stream in order, from a version on; none of a deleted one.';
