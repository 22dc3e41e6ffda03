SELECT
  c.week,
  COUNT(DISTINCT CASE WHEN c.subject <> '' THEN c.subject END) AS unique_users,
  COUNT(*) AS page_views
FROM $acts AS c
CROSS JOIN $asked AS a
WHERE
  c.viewed = 1 AND c.occurred_at >= a.starts_at AND c.occurred_at < a.until
GROUP BY
  c.week
ORDER BY
  c.week
