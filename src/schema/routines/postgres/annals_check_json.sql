CREATE FUNCTION annals_check_json(what text, document json) RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $$
DECLARE
  brackets text;
BEGIN
  -- Without its strings, a document is as deep as its brackets; each pass takes the innermost pairs away.
  brackets := regexp_replace(document::text, '"(\\.|[^"\\])*"', '', 'g');
  brackets := regexp_replace(brackets, '[^][{}]', '', 'g');
  FOR level IN 1..128 LOOP
    EXIT WHEN brackets = '';
    brackets := regexp_replace(brackets, '\[\]|\{\}', '', 'g');
  END LOOP;
  IF brackets <> '' THEN
    RAISE EXCEPTION 'invalid %: it is nested deeper than 128 levels', what USING ERRCODE = 'invalid_parameter_value';
  END IF;
END;
$$;
COMMENT ON FUNCTION annals_check_json IS 'Raises an error if the document is nested too deeply for readers.';
