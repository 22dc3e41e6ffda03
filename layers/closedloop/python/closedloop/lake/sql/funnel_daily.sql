-- Day by day: who entered, advanced, was held or excluded at each stage, and the revenue, by where they first came from?
WITH moved AS (
  SELECT d.day, t.person, t.from_stage, t.to_stage
  FROM decisions t
  JOIN days d ON t.decided_at >= d.starts_at AND t.decided_at < d.ends_at
  WHERE t.kind = 'transition'
), held AS (
  SELECT DISTINCT d.day, v.person, g.from_stage
  FROM decisions v
  JOIN gates_asked g ON g.gate = v.gate
  JOIN days d ON v.decided_at >= d.starts_at AND v.decided_at < d.ends_at
  WHERE v.kind = 'verdict' AND v.outcome = 'hold'
), facts AS (
  SELECT day, person, to_stage AS stage, 1 AS entered, 0 AS advanced, 0 AS held, 0 AS excluded, 0 AS revenue_minor,
         '' AS currency
  FROM moved
  UNION ALL
  SELECT day, person, from_stage, 0, CASE WHEN to_stage IN ('excluded', 'lost', 'recycled') THEN 0 ELSE 1 END, 0,
         CASE WHEN to_stage = 'excluded' THEN 1 ELSE 0 END, 0, ''
  FROM moved WHERE from_stage <> ''
  UNION ALL
  SELECT day, person, from_stage, 0, 0, 1, 0, 0, '' FROM held
  UNION ALL
  SELECT day, person, stage, 0, 0, 0, 0, revenue_minor, currency FROM won_deals
)
SELECT coalesce(o.site, a.home_site) AS site, f.day, a.loop, f.stage, coalesce(o.source, '') AS source,
       coalesce(o.medium, '') AS medium, coalesce(o.campaign, '') AS campaign,
       sum(f.entered) AS entered, sum(f.advanced) AS advanced, sum(f.held) AS held, sum(f.excluded) AS excluded,
       sum(f.revenue_minor) AS revenue_minor, coalesce(nullif(f.currency, ''), a.currency) AS currency
FROM facts f
CROSS JOIN asked a
LEFT JOIN origins o ON o.person = f.person
GROUP BY coalesce(o.site, a.home_site), f.day, a.loop, f.stage, coalesce(o.source, ''), coalesce(o.medium, ''),
         coalesce(o.campaign, ''), coalesce(nullif(f.currency, ''), a.currency)
ORDER BY site, f.day, f.stage, source, medium, campaign, currency
