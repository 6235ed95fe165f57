CREATE FUNCTION annals_json_key(document json, path text[]) RETURNS text
LANGUAGE plpgsql IMMUTABLE PARALLEL SAFE AS $$
DECLARE
  text_of_document text := document::text;
  found json := document;
  key text;
  value text;
BEGIN
  -- What no text can hold makes the functions below fail: an escaped NUL, and half of a surrogate pair. A backslash
  -- that is escaped itself begins no escape. There is no EXCEPTION clause, because it would forbid parallel queries.
  IF strpos(text_of_document, '\u') > 0 AND (
    text_of_document ~ '(^|[^\\])(\\\\)*\\u0000'
    OR text_of_document ~ '(^|[^\\])(\\\\)*\\u[dD][89abAB][0-9a-fA-F]{2}(?!\\u[dD][c-fC-F])'
    OR regexp_replace(text_of_document, '(^|[^\\])((\\\\)*)\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}', '\1\2 ', 'g')
      ~ '(^|[^\\])(\\\\)*\\u[dD][c-fC-F]') THEN
    RETURN NULL;
  END IF;
  FOREACH key IN ARRAY path LOOP
    IF found IS NULL OR json_typeof(found) <> 'object' THEN
      RETURN NULL;
    END IF;
    found := found -> key;
  END LOOP;
  CASE json_typeof(found)
    WHEN 'null' THEN
      RETURN 'z';
    WHEN 'boolean' THEN
      RETURN 'b' || (found #>> '{}');
    WHEN 'number' THEN
      value := found #>> '{}';
      -- Far inside what numeric can hold, and short enough for an index.
      IF length(value) > 300 OR value ~ '[eE][+-]?0*[1-9][0-9]{2}' THEN
        RETURN NULL;
      END IF;
      RETURN 'n' || trim_scale(value::numeric);
    WHEN 'string' THEN
      value := found #>> '{}';
      -- An entry of an index has to fit on a third of a page.
      IF octet_length(value) > 1000 THEN
        RETURN 'h' || encode(sha256(convert_to(value, 'UTF8')), 'hex');
      END IF;
      RETURN 's' || value;
    ELSE
      RETURN NULL;
  END CASE;
END;
$$;
COMMENT ON FUNCTION annals_json_key IS
  'The value at a path of keys as a text that tells types apart, for comparing and for indexes; a hash for a long text, null for arrays, objects and what is not there or can''t be compared.';
