-- How many entered each stage, left it, and stand there now? Now is found path by path, not by subtraction.
WITH moves AS (
  SELECT path, to_stage AS stage, 1 AS entered, 0 AS gone FROM decisions WHERE kind = 'transition'
  UNION ALL
  SELECT path, from_stage AS stage, 0 AS entered, 1 AS gone
  FROM decisions WHERE kind IN ('transition', 'joined') AND from_stage <> ''
), at_stage AS (
  SELECT path, stage, sum(entered) AS entered, sum(gone) AS gone
  FROM moves
  GROUP BY path, stage
)
SELECT stage, sum(entered) AS entered, sum(gone) AS gone, count(CASE WHEN entered > gone THEN 1 END) AS stand_now
FROM at_stage
GROUP BY stage
ORDER BY stage
