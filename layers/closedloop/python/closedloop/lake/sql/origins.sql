-- From where did each person of the loop, and each buyer, first arrive?
WITH people AS (
  SELECT coalesce(m.person, d.person) AS person FROM decisions d LEFT JOIN person_map m ON m.node = d.anchor
  UNION
  SELECT person FROM converted
), arrivals AS (
  SELECT c.person, c.site, c.source, c.medium, c.utm_campaign,
         row_number() OVER (PARTITION BY c.person ORDER BY
           CASE WHEN lower(c.channel) IN ('', 'internal') THEN 1 ELSE 0 END, c.occurred_at, c.id) AS place,
         CASE WHEN lower(c.channel) IN ('', 'internal') THEN 0 ELSE 1 END AS told
  FROM acts c
  JOIN people p ON p.person = c.person
)
SELECT person, site, CASE WHEN told = 1 THEN source ELSE '' END AS source,
       CASE WHEN told = 1 THEN medium ELSE '' END AS medium,
       CASE WHEN told = 1 THEN utm_campaign ELSE '' END AS campaign
FROM arrivals
WHERE place = 1
