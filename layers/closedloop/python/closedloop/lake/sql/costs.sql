-- What did each campaign cost in the period? A newer figure for the same campaign and day replaces the older.
WITH told AS (
  SELECT c.told_campaign AS campaign, c.cost_day, c.currency, c.amount_minor,
         row_number() OVER (PARTITION BY c.site, c.told_campaign, c.cost_day, c.currency
                            ORDER BY c.received_at DESC, c.id DESC) AS newest
  FROM acts c
  WHERE c.name = 'Campaign Cost Reported' AND c.amount_minor IS NOT NULL
)
SELECT t.campaign, t.currency, sum(t.amount_minor) AS amount_minor
FROM told t
CROSS JOIN asked a
WHERE t.newest = 1 AND t.cost_day >= a.first_day AND t.cost_day <= a.last_day
GROUP BY t.campaign, t.currency
ORDER BY t.campaign, t.currency
