SELECT
  (
    SELECT
      COUNT(DISTINCT person)
    FROM $person_map AS person_map
  ) AS known,
  (
    SELECT
      COUNT(DISTINCT person)
    FROM $decisions AS decisions
    WHERE
      kind = 'transition'
  ) AS in_loop,
  (
    SELECT
      COUNT(DISTINCT path)
    FROM $decisions AS decisions
    WHERE
      kind = 'transition'
  ) AS paths
