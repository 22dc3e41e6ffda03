WITH met AS (
  SELECT
    c.subject,
    c.person,
    c.occurred_at,
    CASE
      WHEN c.name = 'Form Submitted'
      THEN COALESCE(f.campaign, NULLIF(c.told_campaign, ''), c.utm_campaign)
      WHEN c.told_campaign <> ''
      THEN c.told_campaign
      ELSE c.utm_campaign
    END AS campaign
  FROM $acts AS c
  LEFT JOIN $form_campaigns AS f
    ON f.site = c.site AND f.form = c.form
  CROSS JOIN $asked AS a
  WHERE
    c.active = 1
    AND c.subject <> ''
    AND c.occurred_at >= a.starts_at
    AND c.occurred_at < a.until
    AND (
      c.type IN ('page', 'screen')
      OR c.name IN ('Form Submitted', 'Email Link Clicked')
      OR (
        c.type = 'track' AND c.told_campaign <> ''
      )
    )
), first_met AS (
  SELECT
    m.campaign,
    m.subject,
    MIN(m.occurred_at) AS met_at
  FROM met AS m
  JOIN $campaigns_asked AS g
    ON g.campaign = m.campaign
  GROUP BY
    m.campaign,
    m.subject
), named AS (
  SELECT
    person,
    MIN(occurred_at) AS named_at
  FROM $acts AS acts
  WHERE
    known_id <> '' AND person <> '' AND grade <> 'machine'
  GROUP BY
    person
)
SELECT
  f.campaign,
  COUNT(*) AS people,
  COUNT(CASE WHEN n.named_at < f.met_at THEN 1 END) AS known
FROM first_met AS f
LEFT JOIN named AS n
  ON n.person = f.subject
GROUP BY
  f.campaign
ORDER BY
  f.campaign
