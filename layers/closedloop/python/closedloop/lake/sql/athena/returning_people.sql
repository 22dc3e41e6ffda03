WITH seen AS (
  SELECT
    subject,
    MIN(occurred_at) AS first_at
  FROM $acts AS acts
  WHERE
    active = 1 AND subject <> ''
  GROUP BY
    subject
), active_days AS (
  SELECT DISTINCT
    c.subject,
    c.day,
    c.week
  FROM $acts AS c
  JOIN seen AS s
    ON s.subject = c.subject
  CROSS JOIN $asked AS a
  WHERE
    c.active = 1
    AND NOT c.day IS NULL
    AND s.first_at >= a.starts_at
    AND s.first_at < a.until
), first_days AS (
  SELECT
    subject,
    MIN(day) AS first_day,
    MIN(week) AS first_week
  FROM active_days
  GROUP BY
    subject
), returns AS (
  SELECT
    f.subject,
    f.first_day,
    f.first_week,
    MAX(
      CASE
        WHEN DATE_DIFF('DAY', DATE_TRUNC('DAY', f.first_day), DATE_TRUNC('DAY', d.day)) BETWEEN 1 AND 6
        THEN 1
        ELSE 0
      END
    ) AS back_7,
    MAX(
      CASE
        WHEN DATE_DIFF('DAY', DATE_TRUNC('DAY', f.first_day), DATE_TRUNC('DAY', d.day)) BETWEEN 1 AND 29
        THEN 1
        ELSE 0
      END
    ) AS back_30
  FROM first_days AS f
  JOIN active_days AS d
    ON d.subject = f.subject
  GROUP BY
    f.subject,
    f.first_day,
    f.first_week
)
SELECT
  first_day,
  first_week,
  COUNT(*) AS people,
  SUM(back_7) AS back_7,
  SUM(back_30) AS back_30
FROM returns
GROUP BY
  first_day,
  first_week
ORDER BY
  first_day
