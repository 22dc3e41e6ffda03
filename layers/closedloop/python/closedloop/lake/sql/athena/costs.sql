WITH told AS (
  SELECT
    c.told_campaign AS campaign,
    c.cost_day,
    c.currency,
    c.amount_minor,
    ROW_NUMBER() OVER (
      PARTITION BY c.site, c.told_campaign, c.cost_day, c.currency
      ORDER BY c.received_at DESC, c.id DESC
    ) AS newest
  FROM $acts AS c
  WHERE
    c.name = 'Campaign Cost Reported' AND NOT c.amount_minor IS NULL
)
SELECT
  t.campaign,
  t.currency,
  SUM(t.amount_minor) AS amount_minor
FROM told AS t
CROSS JOIN $asked AS a
WHERE
  t.newest = 1 AND t.cost_day >= a.first_day AND t.cost_day <= a.last_day
GROUP BY
  t.campaign,
  t.currency
ORDER BY
  t.campaign,
  t.currency
