SELECT
  COUNT(DISTINCT CASE WHEN c.person <> '' THEN c.person END) AS known,
  COUNT(DISTINCT CASE WHEN c.person = '' AND c.visitor <> '' THEN c.visitor END) AS anonymous,
  COUNT(*) AS page_views,
  COUNT(CASE WHEN c.visitor = '' AND c.person = '' THEN 1 END) AS page_views_of_nobody
FROM $acts AS c
CROSS JOIN $asked AS a
WHERE
  c.viewed = 1 AND c.occurred_at >= a.starts_at AND c.occurred_at < a.until
