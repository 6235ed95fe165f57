CREATE FUNCTION annals_lane(of_topic text) RETURNS bigint
LANGUAGE plpgsql STABLE SET search_path FROM CURRENT AS $$
DECLARE
  found_lanes bigint[];
BEGIN
  SELECT array_agg(l.lane_id) INTO found_lanes FROM lanes AS l WHERE l.topic = of_topic;
  IF found_lanes IS NULL THEN
    RAISE EXCEPTION 'topic "%" does not exist', of_topic USING ERRCODE = 'no_data_found';
  END IF;
  IF cardinality(found_lanes) > 1 THEN
    RAISE EXCEPTION 'topic "%" has several lanes: use the library, which knows which of them a stream lies in', of_topic
      USING ERRCODE = 'feature_not_supported';
  END IF;
  RETURN found_lanes[1];
END;
$$;
COMMENT ON FUNCTION annals_lane IS 'Returns the lane of a topic that has only one.';
