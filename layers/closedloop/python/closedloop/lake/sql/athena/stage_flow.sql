WITH moves AS (
  SELECT
    path,
    to_stage AS stage,
    1 AS entered,
    0 AS gone
  FROM $decisions AS decisions
  WHERE
    kind = 'transition'
  UNION ALL
  SELECT
    path,
    from_stage AS stage,
    0 AS entered,
    1 AS gone
  FROM $decisions AS decisions
  WHERE
    kind IN ('transition', 'joined') AND from_stage <> ''
), at_stage AS (
  SELECT
    path,
    stage,
    SUM(entered) AS entered,
    SUM(gone) AS gone
  FROM moves
  GROUP BY
    path,
    stage
)
SELECT
  stage,
  SUM(entered) AS entered,
  SUM(gone) AS gone,
  COUNT(CASE WHEN entered > gone THEN 1 END) AS stand_now
FROM at_stage
GROUP BY
  stage
ORDER BY
  stage
