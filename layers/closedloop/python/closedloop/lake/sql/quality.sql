-- How good are the data themselves? Set aside are what a list took back, with its saying so, and operators' words on who
-- is who.
WITH arrived AS (
  SELECT d.*
  FROM events_delivered d
  CROSS JOIN asked a
  JOIN sites_asked s ON s.site = d.site
  WHERE d.received_at <= a.as_of
), gone AS (
  SELECT retracts AS id, max(received_at) AS until
  FROM arrived
  WHERE retracts <> ''
  GROUP BY retracts
), ids AS (
  SELECT c.id,
         min(CASE WHEN c.retracts <> '' OR c.received_at <= g.until
                    OR (c.door = 'operator' AND c.name IN ('Persons Merged', 'Persons Split')) THEN 1 ELSE 0 END) AS aside
  FROM arrived c
  LEFT JOIN gone g ON g.id = c.id
  GROUP BY c.id
)
SELECT (SELECT coalesce(sum(copies), 0) FROM arrived) AS delivered,
       (SELECT count(*) FROM ids) AS distinct_ids,
       count(*) AS counted,
       count(CASE WHEN late THEN 1 END) AS late,
       count(CASE WHEN grade = 'machine' THEN 1 END) AS machine,
       count(CASE WHEN type IN ('page', 'screen') THEN 1 END) AS page_views,
       count(CASE WHEN type IN ('page', 'screen') AND grade <> 'machine' THEN 1 END) AS human_page_views,
       count(CASE WHEN type IN ('page', 'screen') AND grade <> 'machine' AND visitor = '' THEN 1 END) AS cookieless,
       (SELECT coalesce(sum(aside), 0) FROM ids) AS set_aside
FROM acts
