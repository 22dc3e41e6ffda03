SELECT
  COUNT(*) AS advances
FROM $decisions AS v
LEFT JOIN (
  SELECT DISTINCT
    path,
    gate
  FROM $decisions AS decisions
  WHERE
    kind = 'transition'
) AS t
  ON t.path = v.path AND t.gate = v.gate
WHERE
  v.kind = 'verdict' AND v.outcome = 'advance' AND t.path IS NULL
