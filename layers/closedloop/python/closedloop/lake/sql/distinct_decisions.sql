-- Which decisions of the loop do we have, each once, and about whom? `path` is the id that was decided under, `person`
-- who that is now. Of the ids of one person the present one says where they stand; the path of each other one ends, as a
-- row of kind joined, when that one goes on.
WITH known AS (
  SELECT c.id, c.kind, coalesce(m.person, c.person) AS person, c.person AS path, c.anchor, c.loop, c.version, c.gate,
         c.campaign, c.from_stage, c.to_stage, c.outcome, c.hold_kind, c.reason, c.arm, c.decided_at, c.run, c.detail
  FROM (
    SELECT d.*, row_number() OVER (PARTITION BY d.id ORDER BY d.decided_at, d.run) AS copy
    FROM decisions_delivered d
    CROSS JOIN asked a
    WHERE d.loop = a.loop AND d.decided_at <= a.as_of
  ) c
  LEFT JOIN person_map m ON m.node = c.anchor
  WHERE c.copy = 1
), last_moves AS (
  SELECT person, path, anchor, loop, version, to_stage, decided_at, run,
         row_number() OVER (PARTITION BY path ORDER BY decided_at DESC, id DESC) AS turn
  FROM known
  WHERE kind = 'transition'
), ranked AS (
  SELECT person, path, anchor, loop, version, to_stage, decided_at, run,
         row_number() OVER (
           PARTITION BY person ORDER BY CASE WHEN path = person THEN 0 ELSE 1 END, decided_at DESC, path
         ) AS place
  FROM last_moves
  WHERE turn = 1
), joined AS (
  SELECT r.person, r.path, r.anchor, r.loop, r.version, r.to_stage, r.run,
         coalesce(min(k.decided_at), r.decided_at) AS decided_at
  FROM ranked r
  JOIN ranked p ON p.person = r.person AND p.place = 1
  LEFT JOIN known k ON k.path = p.path AND k.decided_at > r.decided_at
  WHERE r.place > 1
  GROUP BY r.person, r.path, r.anchor, r.loop, r.version, r.to_stage, r.run, r.decided_at
)
SELECT id, kind, person, path, anchor, loop, version, gate, campaign, from_stage, to_stage, outcome, hold_kind, reason,
       arm, decided_at, run, detail
FROM known
UNION ALL
SELECT concat(path, '|joined') AS id, 'joined' AS kind, person, path, anchor, loop, version, '' AS gate,
       '' AS campaign, to_stage AS from_stage, '' AS to_stage, '' AS outcome, '' AS hold_kind, '' AS reason, '' AS arm,
       decided_at, run, '' AS detail
FROM joined
