CREATE FUNCTION delete_subscription(name text, topic text DEFAULT 'default') RETURNS boolean
LANGUAGE plpgsql VOLATILE SET search_path FROM CURRENT AS $$
#variable_conflict use_column
BEGIN
  DELETE FROM subscriptions AS s
    WHERE s.name = delete_subscription.name AND s.lane_id = annals_lane(delete_subscription.topic);
  RETURN FOUND;
END;
$$;
COMMENT ON FUNCTION delete_subscription IS 'Deletes a subscription, and returns whether there was one.';
