-- Of the people first seen in each week of the period, how many were active in that week and in each one after it?
WITH seen AS (
  SELECT subject, min(occurred_at) AS first_at
  FROM acts
  WHERE active = 1 AND subject <> ''
  GROUP BY subject
), active_weeks AS (
  SELECT DISTINCT c.subject, c.week
  FROM acts c
  JOIN seen s ON s.subject = c.subject
  CROSS JOIN asked a
  WHERE c.active = 1 AND c.week IS NOT NULL AND s.first_at >= a.starts_at AND s.first_at < a.until
    AND c.occurred_at <= a.as_of
), first_weeks AS (
  SELECT subject, min(week) AS first_week
  FROM active_weeks
  GROUP BY subject
)
SELECT f.first_week, CAST(date_diff('day', f.first_week, w.week) / 7 AS BIGINT) AS weeks_after, count(*) AS people
FROM first_weeks f
JOIN active_weeks w ON w.subject = f.subject
GROUP BY f.first_week, date_diff('day', f.first_week, w.week)
ORDER BY f.first_week, weeks_after
