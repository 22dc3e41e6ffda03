SELECT
  (
    SELECT
      COUNT(DISTINCT person)
    FROM $person_map AS person_map
  ) AS known,
  (
    SELECT
      COUNT(DISTINCT COALESCE(m.person, d.person))
    FROM $decisions AS d
    LEFT JOIN $person_map AS m
      ON m.node = d.anchor
    WHERE
      d.kind = 'transition'
  ) AS in_loop,
  (
    SELECT
      COUNT(DISTINCT person)
    FROM $decisions AS decisions
    WHERE
      kind = 'transition'
  ) AS paths
