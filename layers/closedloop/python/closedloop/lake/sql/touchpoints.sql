-- Where did the company meet those whose journeys count? Arrivals, clicks in mails, forms, and what was attended.
WITH theirs AS (
  SELECT c.person, c.id, c.site, c.occurred_at, c.type, c.name, c.channel, c.source, c.utm_campaign, c.told_campaign,
         c.form, c.grade, c.known_id,
         lag(c.occurred_at) OVER (PARTITION BY c.person, c.visitor ORDER BY c.occurred_at, c.id) AS act_before
  FROM acts c
  JOIN converted w ON w.person = c.person
  CROSS JOIN asked a
  WHERE c.active = 1 AND c.occurred_at >= a.lookback_starts_at AND c.occurred_at <= a.as_of
)
SELECT t.person, t.id, t.occurred_at,
       CASE WHEN t.name = 'Form Submitted' THEN 'form'
            WHEN t.name = 'Email Link Clicked' THEN 'email'
            WHEN k.kind IS NOT NULL THEN k.kind
            WHEN t.type IN ('page', 'screen') THEN 'arrival'
            ELSE 'told' END AS kind,
       CASE WHEN t.name = 'Form Submitted' THEN coalesce(f.campaign, nullif(t.told_campaign, ''), t.utm_campaign)
            WHEN t.told_campaign <> '' THEN t.told_campaign
            ELSE t.utm_campaign END AS campaign,
       CASE WHEN t.name = 'Form Submitted' THEN t.form ELSE t.channel END AS channel,
       CASE WHEN t.name = 'Form Submitted' THEN '' ELSE t.source END AS source
FROM theirs t
LEFT JOIN touch_names k ON k.name = t.name
LEFT JOIN form_campaigns f ON f.site = t.site AND f.form = t.form
WHERE t.name IN ('Form Submitted', 'Email Link Clicked')
   OR k.kind IS NOT NULL
   OR (t.type = 'track' AND t.told_campaign <> '')
   OR (t.type IN ('page', 'screen') AND lower(t.channel) NOT IN ('', 'internal', 'direct'))
   OR (t.type IN ('page', 'screen') AND lower(t.channel) = 'direct'
       AND (t.act_before IS NULL OR date_diff('minute', t.act_before, t.occurred_at) >= 30))
ORDER BY t.person, t.occurred_at, t.id
