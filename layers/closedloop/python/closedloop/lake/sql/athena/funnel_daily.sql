WITH moved AS (
  SELECT
    d.day,
    t.person,
    t.from_stage,
    t.to_stage
  FROM $decisions AS t
  JOIN $days AS d
    ON t.decided_at >= d.starts_at AND t.decided_at < d.ends_at
  WHERE
    t.kind = 'transition'
), held AS (
  SELECT DISTINCT
    d.day,
    v.person,
    g.from_stage
  FROM $decisions AS v
  JOIN $gates_asked AS g
    ON g.gate = v.gate
  JOIN $days AS d
    ON v.decided_at >= d.starts_at AND v.decided_at < d.ends_at
  WHERE
    v.kind = 'verdict' AND v.outcome = 'hold'
), facts AS (
  SELECT
    day,
    person,
    to_stage AS stage,
    1 AS entered,
    0 AS advanced,
    0 AS held,
    0 AS excluded,
    0 AS revenue_minor,
    '' AS currency
  FROM moved
  UNION ALL
  SELECT
    day,
    person,
    from_stage,
    0,
    CASE WHEN to_stage IN ('excluded', 'lost', 'recycled') THEN 0 ELSE 1 END,
    0,
    CASE WHEN to_stage = 'excluded' THEN 1 ELSE 0 END,
    0,
    ''
  FROM moved
  WHERE
    from_stage <> ''
  UNION ALL
  SELECT
    day,
    person,
    from_stage,
    0,
    0,
    1,
    0,
    0,
    ''
  FROM held
  UNION ALL
  SELECT
    day,
    person,
    stage,
    0,
    0,
    0,
    0,
    revenue_minor,
    currency
  FROM $won_deals AS won_deals
)
SELECT
  COALESCE(o.site, a.home_site) AS site,
  f.day,
  a.loop,
  f.stage,
  COALESCE(o.source, '') AS source,
  COALESCE(o.medium, '') AS medium,
  COALESCE(o.campaign, '') AS campaign,
  SUM(f.entered) AS entered,
  SUM(f.advanced) AS advanced,
  SUM(f.held) AS held,
  SUM(f.excluded) AS excluded,
  SUM(f.revenue_minor) AS revenue_minor,
  COALESCE(NULLIF(f.currency, ''), a.currency) AS currency
FROM facts AS f
CROSS JOIN $asked AS a
LEFT JOIN $origins AS o
  ON o.person = f.person
GROUP BY
  COALESCE(o.site, a.home_site),
  f.day,
  a.loop,
  f.stage,
  COALESCE(o.source, ''),
  COALESCE(o.medium, ''),
  COALESCE(o.campaign, ''),
  COALESCE(NULLIF(f.currency, ''), a.currency)
ORDER BY
  site,
  f.day,
  f.stage,
  source,
  medium,
  campaign,
  currency
