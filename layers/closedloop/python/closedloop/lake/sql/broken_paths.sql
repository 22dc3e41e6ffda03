-- How many ids have moves that do not form one path that begins outside and ends at one stage?
WITH moves AS (
  SELECT path, to_stage AS stage, 1 AS step, CASE WHEN from_stage = '' THEN 1 ELSE 0 END AS entry
  FROM decisions WHERE kind = 'transition'
  UNION ALL
  SELECT path, from_stage AS stage, -1 AS step, 0 AS entry
  FROM decisions WHERE kind = 'transition' AND from_stage <> ''
), at_stage AS (
  SELECT path, stage, sum(step) AS net, sum(entry) AS entries
  FROM moves
  GROUP BY path, stage
), of_path AS (
  SELECT path, sum(entries) AS entries, count(CASE WHEN net = 1 THEN 1 END) AS ends,
         count(CASE WHEN net NOT IN (0, 1) THEN 1 END) AS odd
  FROM at_stage
  GROUP BY path
)
SELECT count(CASE WHEN entries <> 1 OR ends <> 1 OR odd > 0 THEN 1 END) AS broken, count(*) AS paths
FROM of_path
