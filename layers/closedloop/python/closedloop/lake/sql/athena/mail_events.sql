SELECT
  c.told_campaign AS campaign,
  c.name,
  CASE WHEN c.grade = 'machine' THEN 1 ELSE 0 END AS machine,
  COUNT(DISTINCT CASE WHEN c.subject <> '' THEN c.subject ELSE c.id END) AS people
FROM $acts AS c
CROSS JOIN $asked AS a
WHERE
  c.name IN (
    'Email Sent',
    'Email Delivered',
    'Email Opened',
    'Email Link Clicked',
    'Email Bounced',
    'Email Marked As Spam',
    'Email Unsubscribed'
  )
  AND c.of_loop IN ('', a.loop)
  AND c.occurred_at >= a.starts_at
  AND c.occurred_at <= a.as_of
  AND c.told_campaign IN (
    SELECT
      campaign
    FROM $campaigns_asked AS campaigns_asked
  )
GROUP BY
  c.told_campaign,
  c.name,
  CASE WHEN c.grade = 'machine' THEN 1 ELSE 0 END
ORDER BY
  c.told_campaign,
  c.name,
  machine
