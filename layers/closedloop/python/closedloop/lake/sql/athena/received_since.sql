SELECT
  CASE
    WHEN e.retracts <> ''
    THEN 'List Row Retracted'
    WHEN e.name <> ''
    THEN e.name
    ELSE e.type
  END AS name,
  e.currency,
  COUNT(DISTINCT e.id) AS facts,
  SUM(e.amount_minor) AS amount_minor
FROM (
  SELECT
    id,
    MIN(received_at) AS received_at,
    MIN(occurred_at) AS occurred_at,
    MIN(name) AS name,
    MIN(type) AS type,
    MIN(currency) AS currency,
    MIN(amount_minor) AS amount_minor,
    MIN(retracts) AS retracts,
    MIN(door) AS door,
    MIN(cost_day) AS cost_day
  FROM $events_delivered AS d
  JOIN $sites_asked AS s
    ON s.site = d.site
  GROUP BY
    id
) AS e
CROSS JOIN $asked AS a
WHERE
  e.received_at > a.former_as_of
  AND e.received_at <= a.as_of
  AND (
    e.occurred_at < a.former_until
    OR e.retracts <> ''
    OR (
      e.door = 'operator' AND e.name IN ('Persons Merged', 'Persons Split')
    )
    OR (
      e.cost_day <> '' AND e.cost_day < a.former_day
    )
  )
GROUP BY
  1,
  2
ORDER BY
  1,
  2
