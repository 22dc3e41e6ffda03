WITH ins AS (
  SELECT
    person,
    to_stage AS stage,
    decided_at,
    ROW_NUMBER() OVER (PARTITION BY person, to_stage ORDER BY decided_at, id) AS turn
  FROM $decisions AS decisions
  WHERE
    kind = 'transition'
), outs AS (
  SELECT
    person,
    from_stage AS stage,
    to_stage,
    decided_at,
    ROW_NUMBER() OVER (PARTITION BY person, from_stage ORDER BY decided_at, id) AS turn
  FROM $decisions AS decisions
  WHERE
    kind = 'transition' AND from_stage <> ''
), stays AS (
  SELECT
    i.stage,
    CASE
      WHEN o.person IS NULL
      THEN 'still'
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
    ON o.person = i.person AND o.stage = i.stage AND o.turn = i.turn
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
