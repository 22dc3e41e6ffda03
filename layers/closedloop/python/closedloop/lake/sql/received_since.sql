-- What was received since the former report that speaks of days which it had already shown?
SELECT CASE WHEN e.retracts <> '' THEN 'List Row Retracted'
            WHEN e.name <> '' THEN e.name ELSE e.type END AS name,
       e.currency, count(DISTINCT e.id) AS facts, sum(e.amount_minor) AS amount_minor
FROM (
  SELECT id, min(received_at) AS received_at, min(occurred_at) AS occurred_at, min(name) AS name, min(type) AS type,
         min(currency) AS currency, min(amount_minor) AS amount_minor, min(retracts) AS retracts, min(door) AS door,
         min(cost_day) AS cost_day
  FROM events_delivered d
  JOIN sites_asked s ON s.site = d.site
  GROUP BY id
) e
CROSS JOIN asked a
WHERE e.received_at > a.former_as_of AND e.received_at <= a.as_of
  AND (e.occurred_at < a.former_until OR e.retracts <> ''
       OR (e.door = 'operator' AND e.name IN ('Persons Merged', 'Persons Split'))
       OR (e.cost_day <> '' AND e.cost_day < a.former_day))
GROUP BY 1, 2
ORDER BY 1, 2
