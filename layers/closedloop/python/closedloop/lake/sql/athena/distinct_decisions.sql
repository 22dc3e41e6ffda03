SELECT
  id,
  kind,
  person,
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
FROM (
  SELECT
    d.*,
    ROW_NUMBER() OVER (PARTITION BY d.id ORDER BY d.decided_at, d.run) AS copy
  FROM $decisions_delivered AS d
  CROSS JOIN $asked AS a
  WHERE
    d.loop = a.loop AND d.decided_at <= a.as_of
) AS copies
WHERE
  copy = 1
