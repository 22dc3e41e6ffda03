WITH named AS (
  SELECT
    person,
    MIN(occurred_at) AS named_at
  FROM $acts AS acts
  WHERE
    known_id <> '' AND person <> '' AND grade <> 'machine'
  GROUP BY
    person
), new_ones AS (
  SELECT
    n.person,
    n.named_at,
    d.day,
    d.week
  FROM named AS n
  CROSS JOIN $asked AS a
  JOIN $days AS d
    ON n.named_at >= d.starts_at AND n.named_at < d.ends_at
  WHERE
    n.named_at >= a.starts_at AND n.named_at < a.until
)
SELECT
  o.person,
  o.named_at,
  o.day,
  o.week,
  MAX(
    CASE
      WHEN c.active = 1
      AND DATE_DIFF('DAY', DATE_TRUNC('DAY', o.day), DATE_TRUNC('DAY', c.day)) BETWEEN 1 AND 29
      THEN 1
      ELSE 0
    END
  ) AS back_30
FROM new_ones AS o
JOIN $acts AS c
  ON c.person = o.person
GROUP BY
  o.person,
  o.named_at,
  o.day,
  o.week
ORDER BY
  o.named_at,
  o.person
