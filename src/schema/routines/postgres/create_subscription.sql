CREATE FUNCTION create_subscription(
  name text,
  stream text DEFAULT NULL,
  metadata json DEFAULT NULL,
  topic text DEFAULT 'default'
) RETURNS void
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
DECLARE
  lane bigint := annals_lane(create_subscription.topic);
BEGIN
  PERFORM annals_check_name('subscription', create_subscription.name);
  IF stream IS NOT NULL THEN
    PERFORM annals_check_name('stream', stream);
  END IF;
  INSERT INTO subscriptions (name, lane_id, aggregate_id, metadata, created_at, updated_at)
    VALUES (create_subscription.name, lane, stream, create_subscription.metadata, clock_timestamp(), clock_timestamp());
END;
$$;
COMMENT ON FUNCTION create_subscription IS 'Creates a subscription at the beginning of the log, to one stream or to all.';
