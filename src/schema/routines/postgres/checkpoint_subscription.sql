CREATE FUNCTION checkpoint_subscription(name text, new_position bigint, topic text DEFAULT 'default') RETURNS bigint
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
  lane bigint := annals_lane(checkpoint_subscription.topic);
  event events%ROWTYPE;
  reached bigint;
BEGIN
  SELECT * INTO event FROM events AS e WHERE e.lane_id = lane AND e.position = new_position;
  IF NOT FOUND AND new_position > (SELECT l.floor FROM lanes AS l WHERE l.lane_id = lane) THEN
    RAISE EXCEPTION 'topic "%" has no position %', checkpoint_subscription.topic, new_position USING ERRCODE = 'no_data_found';
  END IF;
  UPDATE subscriptions AS s
    SET position = new_position, event_id = event.event_id, aggregate_version = event.aggregate_version,
      updated_at = clock_timestamp()
    WHERE s.name = checkpoint_subscription.name AND s.lane_id = lane AND s.position < new_position;
  SELECT s.position INTO reached FROM subscriptions AS s WHERE s.name = checkpoint_subscription.name AND s.lane_id = lane;
  IF NOT FOUND THEN
    RAISE EXCEPTION 'subscription "%" does not exist', checkpoint_subscription.name USING ERRCODE = 'no_data_found';
  END IF;
  RETURN reached;
END;
$$;
COMMENT ON FUNCTION checkpoint_subscription IS
  'Notes how far a subscription has come, and returns it; it never moves back.';
