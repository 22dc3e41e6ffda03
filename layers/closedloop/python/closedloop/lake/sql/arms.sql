-- Who was drawn into which arm of each experiment, and how many of each arm won a deal afterwards?
-- A gate's holdout draws the ready, its reverse holdout the refused, the loop's universal holdout whoever enters; those
-- whom the latter keeps out are in no other. `first` are the treated or let through, `second` the holdout or refused.
WITH told AS (
  SELECT CASE WHEN d.kind = 'transition' THEN 'universal'
              WHEN d.arm IN ('let through', 'refused') THEN 'reverse' ELSE 'holdout' END AS kind,
         CASE WHEN d.kind = 'transition' THEN '' ELSE d.gate END AS gate,
         d.person, d.arm, d.decided_at
  FROM decisions d
  WHERE d.arm NOT IN ('', 'kept out') AND (d.kind = 'verdict' OR (d.kind = 'transition' AND d.from_stage = ''))
), drawn AS (
  SELECT kind, gate, person, bool_or(arm IN ('treated', 'let through')) AS first,
         bool_or(arm IN ('holdout', 'refused')) AS second, min(decided_at) AS drawn_at
  FROM told
  GROUP BY kind, gate, person
), wins AS (
  SELECT d.kind, d.gate, d.person, max(CASE WHEN w.won_at >= d.drawn_at THEN 1 ELSE 0 END) AS won
  FROM drawn d
  LEFT JOIN winners w ON w.person = d.person
  GROUP BY d.kind, d.gate, d.person
), eligible AS (
  SELECT e.kind, e.gate, count(DISTINCT v.person) AS people
  FROM experiments_asked e
  JOIN decisions v ON (
    (e.kind = 'universal' AND v.kind = 'transition' AND v.from_stage = '')
    OR (e.kind = 'holdout' AND v.kind = 'verdict' AND v.gate = e.gate AND v.arm NOT IN ('kept out', 'let through')
        AND (v.outcome = 'advance' OR v.hold_kind IN ('holdout', 'capacity')))
    OR (e.kind = 'reverse' AND v.kind = 'verdict' AND v.gate = e.gate AND v.arm <> 'kept out'
        AND ((v.outcome = 'hold' AND v.hold_kind NOT IN ('holdout', 'capacity')) OR v.arm = 'let through'))
  )
  GROUP BY e.kind, e.gate
)
SELECT e.kind, e.gate, coalesce(max(l.people), 0) AS eligible,
       count(CASE WHEN d.first AND NOT d.second THEN 1 END) AS first,
       count(CASE WHEN d.second AND NOT d.first THEN 1 END) AS second,
       count(CASE WHEN d.first AND d.second THEN 1 END) AS mixed,
       count(CASE WHEN d.first AND NOT d.second AND w.won = 1 THEN 1 END) AS first_won,
       count(CASE WHEN d.second AND NOT d.first AND w.won = 1 THEN 1 END) AS second_won
FROM experiments_asked e
LEFT JOIN drawn d ON d.kind = e.kind AND d.gate = e.gate
LEFT JOIN wins w ON w.kind = d.kind AND w.gate = d.gate AND w.person = d.person
LEFT JOIN eligible l ON l.kind = e.kind AND l.gate = e.gate
GROUP BY e.kind, e.gate
ORDER BY e.gate, e.kind
