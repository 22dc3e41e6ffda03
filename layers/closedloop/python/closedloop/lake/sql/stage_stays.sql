-- How long did people stay at each stage, and how did it end? The n-th way out of a stage ends the n-th way in.
-- Who became one with somebody goes on as that one: how they would have ended is not known.
WITH ins AS (
  SELECT path, to_stage AS stage, decided_at,
         row_number() OVER (PARTITION BY path, to_stage ORDER BY decided_at, id) AS turn
  FROM decisions
  WHERE kind = 'transition'
), outs AS (
  SELECT path, from_stage AS stage, to_stage, kind, decided_at,
         row_number() OVER (PARTITION BY path, from_stage ORDER BY decided_at, id) AS turn
  FROM decisions
  WHERE kind IN ('transition', 'joined') AND from_stage <> ''
), stays AS (
  SELECT i.stage,
         CASE WHEN o.path IS NULL THEN 'still' WHEN o.kind = 'joined' THEN 'joined'
              WHEN b.stage IS NOT NULL THEN 'lost' ELSE 'moved' END AS ending,
         CAST(floor(date_diff('second', i.decided_at, coalesce(o.decided_at, a.as_of)) / 3600.0) AS BIGINT) AS hours
  FROM ins i
  CROSS JOIN asked a
  LEFT JOIN outs o ON o.path = i.path AND o.stage = i.stage AND o.turn = i.turn
  LEFT JOIN beside_the_path b ON b.stage = o.to_stage
)
SELECT stage, ending, hours, count(*) AS people
FROM stays
GROUP BY stage, ending, hours
ORDER BY stage, ending, hours
