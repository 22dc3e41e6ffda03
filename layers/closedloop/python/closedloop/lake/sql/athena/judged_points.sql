WITH told AS (
  SELECT
    d.gate,
    COALESCE(m.person, d.person) AS person,
    d.outcome,
    d.hold_kind,
    d.arm,
    d.decided_at,
    d.detail,
    ROW_NUMBER() OVER (
      PARTITION BY d.gate, COALESCE(m.person, d.person)
      ORDER BY CASE d.outcome WHEN 'advance' THEN 0 WHEN 'exclude' THEN 1 ELSE 2 END, d.decided_at DESC, d.id DESC
    ) AS place
  FROM $decisions AS d
  LEFT JOIN $person_map AS m
    ON m.node = d.anchor
  WHERE
    d.kind = 'verdict'
), wins AS (
  SELECT
    person,
    MAX(won_at) AS won_at
  FROM $winners AS winners
  GROUP BY
    person
)
SELECT
  t.gate,
  t.person,
  t.outcome,
  t.hold_kind,
  t.arm,
  t.decided_at,
  t.detail,
  COALESCE(w.won_at >= t.decided_at, FALSE) AS won
FROM told AS t
LEFT JOIN wins AS w
  ON w.person = t.person
WHERE
  t.place = 1
ORDER BY
  t.gate,
  t.person
