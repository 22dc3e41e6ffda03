SELECT
  c.person,
  c.traits
FROM $acts AS c
JOIN $new_persons AS n
  ON n.person = c.person
WHERE
  c.traits <> '' AND c.traits <> '{}'
ORDER BY
  c.person,
  c.occurred_at,
  c.id
