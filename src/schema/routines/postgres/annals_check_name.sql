CREATE FUNCTION annals_check_name(what text, name text) RETURNS void
LANGUAGE plpgsql IMMUTABLE AS $$
BEGIN
  IF name IS NULL OR octet_length(name) NOT BETWEEN 1 AND 255 THEN
    RAISE EXCEPTION 'invalid %: a name has 1 to 255 bytes', what USING ERRCODE = 'invalid_parameter_value';
  END IF;
  IF name ~ '[\u0001-\u001f\u007f-\u009f]' THEN
    RAISE EXCEPTION 'invalid %: it contains a control character', what USING ERRCODE = 'invalid_parameter_value';
  END IF;
  IF name ~ '^[\u0020\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]'
    OR name ~ '[\u0020\u00a0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000]$' THEN
    RAISE EXCEPTION 'invalid %: it begins or ends with white space', what USING ERRCODE = 'invalid_parameter_value';
  END IF;
END;
$$;
COMMENT ON FUNCTION annals_check_name IS 'Raises an error unless the text can be a name.';
