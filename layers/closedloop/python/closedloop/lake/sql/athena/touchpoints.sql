WITH theirs AS (
  SELECT
    c.person,
    c.id,
    c.site,
    c.occurred_at,
    c.type,
    c.name,
    c.channel,
    c.source,
    c.utm_campaign,
    c.told_campaign,
    c.form,
    c.grade,
    c.known_id,
    LAG(c.occurred_at) OVER (PARTITION BY c.person, c.visitor ORDER BY c.occurred_at, c.id) AS act_before
  FROM $acts AS c
  JOIN $converted AS w
    ON w.person = c.person
  CROSS JOIN $asked AS a
  WHERE
    c.active = 1
    AND c.occurred_at >= a.lookback_starts_at
    AND c.occurred_at <= a.as_of
)
SELECT
  t.person,
  t.id,
  t.occurred_at,
  CASE
    WHEN t.name = 'Form Submitted'
    THEN 'form'
    WHEN t.name = 'Email Link Clicked'
    THEN 'email'
    WHEN NOT k.kind IS NULL
    THEN k.kind
    WHEN t.type IN ('page', 'screen')
    THEN 'arrival'
    ELSE 'told'
  END AS kind,
  CASE
    WHEN t.name = 'Form Submitted'
    THEN COALESCE(f.campaign, NULLIF(t.told_campaign, ''), t.utm_campaign)
    WHEN t.told_campaign <> ''
    THEN t.told_campaign
    ELSE t.utm_campaign
  END AS campaign,
  CASE WHEN t.name = 'Form Submitted' THEN t.form ELSE t.channel END AS channel,
  CASE WHEN t.name = 'Form Submitted' THEN '' ELSE t.source END AS source
FROM theirs AS t
LEFT JOIN $touch_names AS k
  ON k.name = t.name
LEFT JOIN $form_campaigns AS f
  ON f.site = t.site AND f.form = t.form
WHERE
  t.name IN ('Form Submitted', 'Email Link Clicked')
  OR NOT k.kind IS NULL
  OR (
    t.type = 'track' AND t.told_campaign <> ''
  )
  OR (
    t.type IN ('page', 'screen')
    AND NOT LOWER(t.channel) IN ('', 'internal', 'direct')
  )
  OR (
    t.type IN ('page', 'screen')
    AND LOWER(t.channel) = 'direct'
    AND (
      t.act_before IS NULL
      OR DATE_DIFF('MINUTE', DATE_TRUNC('MINUTE', t.act_before), DATE_TRUNC('MINUTE', t.occurred_at)) >= 30
    )
  )
ORDER BY
  t.person,
  t.occurred_at,
  t.id
