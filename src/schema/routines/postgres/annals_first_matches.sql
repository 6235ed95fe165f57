CREATE FUNCTION annals_first_matches(
  lane bigint,
  numbers integer[],
  afters bigint[],
  types text[],
  tags text[],
  more_tags text[]
) RETURNS TABLE (number integer, "position" bigint)
LANGUAGE sql STABLE AS $$
  SELECT a.number, min(m.position)
    FROM unnest($2, $3, $4, $5, $6) AS a(number, after, types, tag, more)
    CROSS JOIN LATERAL (
      (SELECT t.position FROM event_tags AS t
        WHERE a.tag IS NOT NULL AND t.lane_id = $1 AND t.tag = a.tag AND t.position > a.after
          AND (a.types IS NULL OR (SELECT e.event_type FROM events AS e
            WHERE e.lane_id = $1 AND e.position = t.position) = ANY (string_to_array(a.types, E'\x1f')))
          AND NOT EXISTS (SELECT FROM unnest(string_to_array(a.more, E'\x1f')) AS n(tag)
            WHERE NOT EXISTS (SELECT FROM event_tags AS o
              WHERE o.lane_id = $1 AND o.tag = n.tag AND o.position = t.position))
        ORDER BY t.position LIMIT 1)
      UNION ALL
      (SELECT e.position FROM events AS e
        WHERE a.tag IS NULL AND e.lane_id = $1 AND e.event_type = a.types AND e.position > a.after
        ORDER BY e.position LIMIT 1)) AS m
    GROUP BY a.number;
$$;
COMMENT ON FUNCTION annals_first_matches IS
  'The first event that matches each of some append conditions, by their numbers; none where no event does. A row of the arrays is an alternative: an event after a position that has the tag, all of more_tags and one of the types; or, without a tag, the type. Lists within a text are separated by U+001F, which no name holds.';
