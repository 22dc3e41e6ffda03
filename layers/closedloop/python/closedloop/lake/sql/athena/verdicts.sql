WITH ranked AS (
  SELECT
    gate,
    person,
    outcome,
    hold_kind,
    reason,
    ROW_NUMBER() OVER (
      PARTITION BY gate, person
      ORDER BY CASE outcome WHEN 'advance' THEN 0 WHEN 'exclude' THEN 1 ELSE 2 END, decided_at DESC, id DESC
    ) AS place
  FROM $decisions AS decisions
  WHERE
    kind = 'verdict'
)
SELECT
  gate,
  outcome,
  hold_kind,
  CASE WHEN outcome = 'exclude' THEN reason ELSE '' END AS reason,
  COUNT(*) AS people
FROM ranked
WHERE
  place = 1
GROUP BY
  gate,
  outcome,
  hold_kind,
  CASE WHEN outcome = 'exclude' THEN reason ELSE '' END
ORDER BY
  gate,
  outcome,
  hold_kind,
  reason
