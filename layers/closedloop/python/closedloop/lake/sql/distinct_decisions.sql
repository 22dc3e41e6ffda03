-- Which decisions of the loop do we have, each once?
SELECT id, kind, person, anchor, loop, version, gate, campaign, from_stage, to_stage, outcome, hold_kind, reason, arm,
       decided_at, run, detail
FROM (
  SELECT d.*, row_number() OVER (PARTITION BY d.id ORDER BY d.decided_at, d.run) AS copy
  FROM decisions_delivered d
  CROSS JOIN asked a
  WHERE d.loop = a.loop AND d.decided_at <= a.as_of
) copies
WHERE copy = 1
