-- How many people looked at the pages, week by week?
SELECT c.week, count(DISTINCT CASE WHEN c.subject <> '' THEN c.subject END) AS unique_users, count(*) AS page_views
FROM acts c
CROSS JOIN asked a
WHERE c.viewed = 1 AND c.occurred_at >= a.starts_at AND c.occurred_at < a.until
GROUP BY c.week
ORDER BY c.week
