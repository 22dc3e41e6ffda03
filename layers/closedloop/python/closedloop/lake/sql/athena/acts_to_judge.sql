WITH busy AS (
  SELECT
    visitor
  FROM $distinct_events AS distinct_events
  WHERE
    visitor <> ''
  GROUP BY
    visitor
  HAVING
    COUNT(*) > 20 OR MAX(CASE WHEN door = 'link' THEN 1 ELSE 0 END) = 1
)
SELECT
  e.id,
  e.occurred_at,
  e.name,
  CASE WHEN e.type IN ('page', 'screen') THEN 1 ELSE 0 END AS page,
  CASE WHEN e.grade_reason = 'stated by a signed source' THEN '' ELSE e.visitor END AS browser,
  e.site,
  e.ids_text,
  e.of_loop,
  e.told_campaign,
  e.message_id,
  e.link,
  e.door,
  CASE WHEN e.door = 'link' AND e.hidden = 'true' THEN 1 ELSE 0 END AS hidden,
  e.grade
FROM $distinct_events AS e
WHERE
  (
    e.door IN ('email', 'link') AND e.name LIKE 'Email %'
  )
  OR e.visitor IN (
    SELECT
      visitor
    FROM busy
  )
