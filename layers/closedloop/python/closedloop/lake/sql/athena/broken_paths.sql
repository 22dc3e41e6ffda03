WITH moves AS (
  SELECT
    path,
    to_stage AS stage,
    1 AS step,
    CASE WHEN from_stage = '' THEN 1 ELSE 0 END AS entry
  FROM $decisions AS decisions
  WHERE
    kind = 'transition'
  UNION ALL
  SELECT
    path,
    from_stage AS stage,
    -1 AS step,
    0 AS entry
  FROM $decisions AS decisions
  WHERE
    kind = 'transition' AND from_stage <> ''
), at_stage AS (
  SELECT
    path,
    stage,
    SUM(step) AS net,
    SUM(entry) AS entries
  FROM moves
  GROUP BY
    path,
    stage
), of_path AS (
  SELECT
    path,
    SUM(entries) AS entries,
    COUNT(CASE WHEN net = 1 THEN 1 END) AS ends,
    COUNT(CASE WHEN NOT net IN (0, 1) THEN 1 END) AS odd
  FROM at_stage
  GROUP BY
    path
)
SELECT
  COUNT(CASE WHEN entries <> 1 OR ends <> 1 OR odd > 0 THEN 1 END) AS broken,
  COUNT(*) AS paths
FROM of_path
