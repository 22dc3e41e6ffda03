WITH seen AS (
  SELECT
    subject,
    MIN(occurred_at) AS first_at
  FROM $acts AS acts
  WHERE
    active = 1 AND subject <> ''
  GROUP BY
    subject
), active_weeks AS (
  SELECT DISTINCT
    c.subject,
    c.week
  FROM $acts AS c
  JOIN seen AS s
    ON s.subject = c.subject
  CROSS JOIN $asked AS a
  WHERE
    c.active = 1
    AND NOT c.week IS NULL
    AND s.first_at >= a.starts_at
    AND s.first_at < a.until
    AND c.occurred_at <= a.as_of
), first_weeks AS (
  SELECT
    subject,
    MIN(week) AS first_week
  FROM active_weeks
  GROUP BY
    subject
)
SELECT
  f.first_week,
  CAST(CAST(DATE_DIFF('DAY', DATE_TRUNC('DAY', f.first_week), DATE_TRUNC('DAY', w.week)) AS DOUBLE) / 7 AS BIGINT) AS weeks_after,
  COUNT(*) AS people
FROM first_weeks AS f
JOIN active_weeks AS w
  ON w.subject = f.subject
GROUP BY
  f.first_week,
  DATE_DIFF('DAY', DATE_TRUNC('DAY', f.first_week), DATE_TRUNC('DAY', w.week))
ORDER BY
  f.first_week,
  weeks_after
