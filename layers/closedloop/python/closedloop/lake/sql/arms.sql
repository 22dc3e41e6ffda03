-- Who was drawn into which arm at each gate, and how many of each arm won a deal afterwards?
WITH drawn AS (
  SELECT v.gate, coalesce(m.person, v.person) AS person, min(v.arm) AS least, max(v.arm) AS most,
         min(v.decided_at) AS drawn_at
  FROM decisions v
  LEFT JOIN person_map m ON m.node = v.anchor
  WHERE v.kind = 'verdict' AND v.arm <> ''
  GROUP BY v.gate, coalesce(m.person, v.person)
), wins AS (
  SELECT d.gate, d.person, max(CASE WHEN w.won_at >= d.drawn_at THEN 1 ELSE 0 END) AS won
  FROM drawn d
  LEFT JOIN winners w ON w.person = d.person
  GROUP BY d.gate, d.person
), eligible AS (
  SELECT v.gate, count(DISTINCT coalesce(m.person, v.person)) AS people
  FROM decisions v
  JOIN gates_asked g ON g.gate = v.gate
  LEFT JOIN person_map m ON m.node = v.anchor
  WHERE v.kind = 'verdict' AND g.holdout > 0 AND (v.outcome = 'advance' OR v.hold_kind = 'holdout')
  GROUP BY v.gate
)
SELECT g.gate, coalesce(max(e.people), 0) AS eligible,
       count(CASE WHEN d.most = 'treated' AND d.least = 'treated' THEN 1 END) AS treated,
       count(CASE WHEN d.most = 'holdout' AND d.least = 'holdout' THEN 1 END) AS holdout,
       count(CASE WHEN d.least <> d.most THEN 1 END) AS mixed,
       count(CASE WHEN d.most = 'treated' AND d.least = 'treated' AND w.won = 1 THEN 1 END) AS treated_won,
       count(CASE WHEN d.most = 'holdout' AND d.least = 'holdout' AND w.won = 1 THEN 1 END) AS holdout_won
FROM gates_asked g
LEFT JOIN drawn d ON d.gate = g.gate
LEFT JOIN wins w ON w.gate = d.gate AND w.person = d.person
LEFT JOIN eligible e ON e.gate = g.gate
WHERE g.holdout > 0
GROUP BY g.gate
ORDER BY g.gate
