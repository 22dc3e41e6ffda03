WITH known AS (
  SELECT
    c.id,
    c.kind,
    COALESCE(m.person, c.person) AS person,
    c.person AS path,
    c.anchor,
    c.loop,
    c.version,
    c.gate,
    c.campaign,
    c.from_stage,
    c.to_stage,
    c.outcome,
    c.hold_kind,
    c.reason,
    c.arm,
    c.decided_at,
    c.run,
    c.detail
  FROM (
    SELECT
      d.*,
      ROW_NUMBER() OVER (PARTITION BY d.id ORDER BY d.decided_at, d.run) AS copy
    FROM $decisions_delivered AS d
    CROSS JOIN $asked AS a
    WHERE
      d.loop = a.loop AND d.decided_at <= a.as_of
  ) AS c
  LEFT JOIN $person_map AS m
    ON m.node = c.anchor
  WHERE
    c.copy = 1
), last_moves AS (
  SELECT
    person,
    path,
    anchor,
    loop,
    version,
    to_stage,
    decided_at,
    run,
    ROW_NUMBER() OVER (PARTITION BY path ORDER BY decided_at DESC, id DESC) AS turn
  FROM known
  WHERE
    kind = 'transition'
), ranked AS (
  SELECT
    person,
    path,
    anchor,
    loop,
    version,
    to_stage,
    decided_at,
    run,
    ROW_NUMBER() OVER (
      PARTITION BY person
      ORDER BY CASE WHEN path = person THEN 0 ELSE 1 END, decided_at DESC, path
    ) AS place
  FROM last_moves
  WHERE
    turn = 1
), joined AS (
  SELECT
    r.person,
    r.path,
    r.anchor,
    r.loop,
    r.version,
    r.to_stage,
    r.run,
    COALESCE(MIN(k.decided_at), r.decided_at) AS decided_at
  FROM ranked AS r
  JOIN ranked AS p
    ON p.person = r.person AND p.place = 1
  LEFT JOIN known AS k
    ON k.path = p.path AND k.decided_at > r.decided_at
  WHERE
    r.place > 1
  GROUP BY
    r.person,
    r.path,
    r.anchor,
    r.loop,
    r.version,
    r.to_stage,
    r.run,
    r.decided_at
)
SELECT
  id,
  kind,
  person,
  path,
  anchor,
  loop,
  version,
  gate,
  campaign,
  from_stage,
  to_stage,
  outcome,
  hold_kind,
  reason,
  arm,
  decided_at,
  run,
  detail
FROM known
UNION ALL
SELECT
  CONCAT(COALESCE(CAST(path AS VARCHAR), ''), COALESCE(CAST('|joined' AS VARCHAR), '')) AS id,
  'joined' AS kind,
  person,
  path,
  anchor,
  loop,
  version,
  '' AS gate,
  '' AS campaign,
  to_stage AS from_stage,
  '' AS to_stage,
  '' AS outcome,
  '' AS hold_kind,
  '' AS reason,
  '' AS arm,
  decided_at,
  run,
  '' AS detail
FROM joined
