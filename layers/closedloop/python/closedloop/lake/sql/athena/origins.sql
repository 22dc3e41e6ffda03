WITH people AS (
  SELECT
    COALESCE(m.person, d.person) AS person
  FROM $decisions AS d
  LEFT JOIN $person_map AS m
    ON m.node = d.anchor
  UNION
  SELECT
    person
  FROM $converted AS converted
), arrivals AS (
  SELECT
    c.person,
    c.site,
    c.source,
    c.medium,
    c.utm_campaign,
    ROW_NUMBER() OVER (
      PARTITION BY c.person
      ORDER BY CASE WHEN LOWER(c.channel) IN ('', 'internal') THEN 1 ELSE 0 END, c.occurred_at, c.id
    ) AS place,
    CASE WHEN LOWER(c.channel) IN ('', 'internal') THEN 0 ELSE 1 END AS told
  FROM $acts AS c
  JOIN people AS p
    ON p.person = c.person
)
SELECT
  person,
  site,
  CASE WHEN told = 1 THEN source ELSE '' END AS source,
  CASE WHEN told = 1 THEN medium ELSE '' END AS medium,
  CASE WHEN told = 1 THEN utm_campaign ELSE '' END AS campaign
FROM arrivals
WHERE
  place = 1
