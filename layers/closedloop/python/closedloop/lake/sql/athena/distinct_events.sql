WITH delivered AS (
  SELECT
    d.*
  FROM $events_delivered AS d
  CROSS JOIN $asked AS a
  JOIN $sites_asked AS s
    ON s.site = d.site
  WHERE
    d.received_at <= a.as_of
), gone AS (
  SELECT
    retracts AS id,
    MAX(received_at) AS until
  FROM delivered
  WHERE
    retracts <> ''
  GROUP BY
    retracts
)
SELECT
  id,
  site,
  door,
  type,
  name,
  visitor,
  known_id,
  ids_text,
  deal,
  occurred_at,
  received_at,
  late,
  channel,
  medium,
  source,
  utm_campaign,
  grade,
  grade_reason,
  amount_minor,
  currency,
  deal_is_open,
  of_list,
  form,
  told_campaign,
  of_loop,
  message_id,
  link,
  hidden,
  cost_day,
  traits
FROM (
  SELECT
    d.*,
    ROW_NUMBER() OVER (
      PARTITION BY d.id
      ORDER BY d.received_at, d.packet, d.visitor DESC, d.ids_text DESC
    ) AS copy
  FROM delivered AS d
  LEFT JOIN gone AS g
    ON g.id = d.id AND d.received_at <= g.until
  WHERE
    g.id IS NULL AND d.retracts = ''
) AS copies
WHERE
  copy = 1
