SELECT
  e.id,
  e.site,
  e.door,
  e.type,
  e.name,
  e.visitor,
  e.known_id,
  e.deal,
  e.occurred_at,
  e.received_at,
  e.late,
  e.channel,
  e.medium,
  e.source,
  e.utm_campaign,
  e.grade,
  e.amount_minor,
  e.currency,
  e.deal_is_open,
  e.of_list,
  e.form,
  e.told_campaign,
  e.of_loop,
  e.cost_day,
  e.traits,
  d.day,
  d.week,
  COALESCE(told.person, named.person, shared.person, browser.person, buyer.person, '') AS person,
  COALESCE(told.person, named.person, shared.person, browser.person, buyer.person, e.visitor) AS subject,
  CASE
    WHEN e.grade <> 'machine'
    AND p.name IS NULL
    AND NOT (
      e.door = 'list' AND e.type = 'identify'
    )
    THEN 1
    ELSE 0
  END AS active,
  CASE WHEN e.grade <> 'machine' AND e.type IN ('page', 'screen') THEN 1 ELSE 0 END AS viewed
FROM $events AS e
LEFT JOIN $days AS d
  ON e.occurred_at >= d.starts_at AND e.occurred_at < d.ends_at
LEFT JOIN $passive_names AS p
  ON p.name = e.name
LEFT JOIN $person_map AS named
  ON named.node = e.known_id
LEFT JOIN $shared_names AS shared
  ON shared.node = e.known_id
  AND e.occurred_at >= shared.since
  AND e.occurred_at < shared.until
LEFT JOIN $person_map AS browser
  ON browser.node = e.visitor
  AND e.occurred_at >= browser.since
  AND e.occurred_at < browser.until
LEFT JOIN $person_map AS buyer
  ON buyer.node = e.deal
LEFT JOIN $person_map AS told
  ON told.node = e.deal AND (
    e.known_id <> '' OR e.visitor = ''
  )
WHERE
  NOT (
    e.door = 'operator' AND e.name IN ('Persons Merged', 'Persons Split')
  )
