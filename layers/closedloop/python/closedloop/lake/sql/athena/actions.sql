WITH ranked AS (
  SELECT
    campaign,
    person,
    outcome,
    ROW_NUMBER() OVER (
      PARTITION BY campaign, person
      ORDER BY CASE outcome WHEN 'sent' THEN 0 WHEN 'pending' THEN 2 ELSE 1 END, decided_at DESC, id DESC
    ) AS place
  FROM $decisions AS decisions
  WHERE
    kind = 'action'
)
SELECT
  campaign,
  outcome,
  COUNT(*) AS people
FROM ranked
WHERE
  place = 1
GROUP BY
  campaign,
  outcome
ORDER BY
  campaign,
  outcome
