-- What did each gate last say of each person, with what it read of them, and did they buy afterwards?
WITH told AS (
  SELECT d.gate, coalesce(m.person, d.person) AS person, d.outcome, d.hold_kind, d.arm, d.decided_at, d.detail,
         row_number() OVER (PARTITION BY d.gate, coalesce(m.person, d.person) ORDER BY
           CASE d.outcome WHEN 'advance' THEN 0 WHEN 'exclude' THEN 1 ELSE 2 END, d.decided_at DESC, d.id DESC) AS place
  FROM decisions d
  LEFT JOIN person_map m ON m.node = d.anchor
  WHERE d.kind = 'verdict'
), wins AS (
  SELECT person, max(won_at) AS won_at
  FROM winners
  GROUP BY person
)
SELECT t.gate, t.person, t.outcome, t.hold_kind, t.arm, t.decided_at, t.detail,
       coalesce(w.won_at >= t.decided_at, false) AS won
FROM told t
LEFT JOIN wins w ON w.person = t.person
WHERE t.place = 1
ORDER BY t.gate, t.person
