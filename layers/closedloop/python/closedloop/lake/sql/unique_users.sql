-- How many people looked at the pages in the period?
SELECT count(DISTINCT CASE WHEN c.person <> '' THEN c.person END) AS known,
       count(DISTINCT CASE WHEN c.person = '' AND c.visitor <> '' THEN c.visitor END) AS anonymous,
       count(*) AS page_views,
       count(CASE WHEN c.visitor = '' AND c.person = '' THEN 1 END) AS page_views_of_nobody
FROM acts c
CROSS JOIN asked a
WHERE c.viewed = 1 AND c.occurred_at >= a.starts_at AND c.occurred_at < a.until
