SELECT
  COUNT(*) AS advances
FROM $decisions AS v
LEFT JOIN (
  SELECT DISTINCT
    person,
    gate
  FROM $decisions AS decisions
  WHERE
    kind = 'transition'
) AS t
  ON t.person = v.person AND t.gate = v.gate
WHERE
  v.kind = 'verdict' AND v.outcome = 'advance' AND t.person IS NULL
