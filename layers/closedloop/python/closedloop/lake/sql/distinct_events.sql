-- Which facts do we have, each once? Of copies that differ, the one received first counts. What a list told and took back
-- by the moment of the report is none; told again later, it stands. A copy that names nobody, as it came after its person
-- was erased, gives way to one that names them at random.
WITH delivered AS (
  SELECT d.*
  FROM events_delivered d
  CROSS JOIN asked a
  JOIN sites_asked s ON s.site = d.site
  WHERE d.received_at <= a.as_of
), gone AS (
  SELECT retracts AS id, max(received_at) AS until
  FROM delivered
  WHERE retracts <> ''
  GROUP BY retracts
)
SELECT id, site, door, type, name, visitor, known_id, ids_text, deal, occurred_at, received_at, late, channel, medium,
       source, utm_campaign, grade, grade_reason, amount_minor, currency, deal_is_open, of_list, form, told_campaign,
       of_loop, message_id, link, hidden, cost_day, traits
FROM (
  SELECT d.*, row_number() OVER (PARTITION BY d.id ORDER BY d.received_at, d.packet, d.visitor DESC, d.ids_text DESC) AS copy
  FROM delivered d
  LEFT JOIN gone g ON g.id = d.id AND d.received_at <= g.until
  WHERE g.id IS NULL AND d.retracts = ''
) copies
WHERE copy = 1
