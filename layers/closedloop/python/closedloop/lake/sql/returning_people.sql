-- Of the people first seen on each day of the period, how many were active again on days 2-7 and 2-30?
WITH seen AS (
  SELECT subject, min(occurred_at) AS first_at
  FROM acts
  WHERE active = 1 AND subject <> ''
  GROUP BY subject
), active_days AS (
  SELECT DISTINCT c.subject, c.day, c.week
  FROM acts c
  JOIN seen s ON s.subject = c.subject
  CROSS JOIN asked a
  WHERE c.active = 1 AND c.day IS NOT NULL AND s.first_at >= a.starts_at AND s.first_at < a.until
), first_days AS (
  SELECT subject, min(day) AS first_day, min(week) AS first_week
  FROM active_days
  GROUP BY subject
), returns AS (
  SELECT f.subject, f.first_day, f.first_week,
         max(CASE WHEN date_diff('day', f.first_day, d.day) BETWEEN 1 AND 6 THEN 1 ELSE 0 END) AS back_7,
         max(CASE WHEN date_diff('day', f.first_day, d.day) BETWEEN 1 AND 29 THEN 1 ELSE 0 END) AS back_30
  FROM first_days f
  JOIN active_days d ON d.subject = f.subject
  GROUP BY f.subject, f.first_day, f.first_week
)
SELECT first_day, first_week, count(*) AS people, sum(back_7) AS back_7, sum(back_30) AS back_30
FROM returns
GROUP BY first_day, first_week
ORDER BY first_day
