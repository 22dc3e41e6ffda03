SELECT
  c.deal,
  c.site,
  c.name,
  c.person,
  c.occurred_at,
  c.amount_minor,
  c.currency,
  c.id,
  c.deal_is_open,
  c.door,
  c.of_list
FROM $acts AS c
CROSS JOIN $asked AS a
WHERE
  c.deal <> '' AND c.occurred_at <= a.as_of
ORDER BY
  c.deal,
  c.occurred_at,
  c.id
