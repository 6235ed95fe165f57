CREATE FUNCTION get_event_stream(stream text, topic text DEFAULT 'default') RETURNS SETOF events
LANGUAGE sql STABLE SET search_path FROM CURRENT AS $$
  SELECT * FROM read_stream_forward(stream, 1, NULL, get_event_stream.topic);
$$;
COMMENT ON FUNCTION get_event_stream IS 'Returns all events of a stream in order; none of a deleted one.';
