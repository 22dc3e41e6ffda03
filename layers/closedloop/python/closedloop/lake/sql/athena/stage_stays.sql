WITH ins AS (
  SELECT
    path,
    to_stage AS stage,
    decided_at,
    ROW_NUMBER() OVER (PARTITION BY path, to_stage ORDER BY decided_at, id) AS turn
  FROM $decisions AS decisions
  WHERE
    kind = 'transition'
), outs AS (
  SELECT
    path,
    from_stage AS stage,
    to_stage,
    kind,
    decided_at,
    ROW_NUMBER() OVER (PARTITION BY path, from_stage ORDER BY decided_at, id) AS turn
  FROM $decisions AS decisions
  WHERE
    kind IN ('transition', 'joined') AND from_stage <> ''
), stays AS (
  SELECT
    i.stage,
    CASE
      WHEN o.path IS NULL
      THEN 'still'
      WHEN o.kind = 'joined'
      THEN 'joined'
      WHEN NOT b.stage IS NULL
      THEN 'lost'
      ELSE 'moved'
    END AS ending,
    CAST(FLOOR(
      CAST(DATE_DIFF(
        'SECOND',
        DATE_TRUNC('SECOND', i.decided_at),
        DATE_TRUNC('SECOND', COALESCE(o.decided_at, a.as_of))
      ) AS DOUBLE) / 3600.0
    ) AS BIGINT) AS hours
  FROM ins AS i
  CROSS JOIN $asked AS a
  LEFT JOIN outs AS o
    ON o.path = i.path AND o.stage = i.stage AND o.turn = i.turn
  LEFT JOIN $beside_the_path AS b
    ON b.stage = o.to_stage
)
SELECT
  stage,
  ending,
  hours,
  COUNT(*) AS people
FROM stays
GROUP BY
  stage,
  ending,
  hours
ORDER BY
  stage,
  ending,
  hours
