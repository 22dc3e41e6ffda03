WITH told AS (
  SELECT
    CASE
      WHEN d.kind = 'transition'
      THEN 'universal'
      WHEN d.arm IN ('let through', 'refused')
      THEN 'reverse'
      ELSE 'holdout'
    END AS kind,
    CASE WHEN d.kind = 'transition' THEN '' ELSE d.gate END AS gate,
    d.person,
    d.arm,
    d.decided_at
  FROM $decisions AS d
  WHERE
    NOT d.arm IN ('', 'kept out')
    AND (
      d.kind = 'verdict' OR (
        d.kind = 'transition' AND d.from_stage = ''
      )
    )
), drawn AS (
  SELECT
    kind,
    gate,
    person,
    BOOL_OR(arm IN ('treated', 'let through')) AS first,
    BOOL_OR(arm IN ('holdout', 'refused')) AS second,
    MIN(decided_at) AS drawn_at
  FROM told
  GROUP BY
    kind,
    gate,
    person
), wins AS (
  SELECT
    d.kind,
    d.gate,
    d.person,
    MAX(CASE WHEN w.won_at >= d.drawn_at THEN 1 ELSE 0 END) AS won
  FROM drawn AS d
  LEFT JOIN $winners AS w
    ON w.person = d.person
  GROUP BY
    d.kind,
    d.gate,
    d.person
), eligible AS (
  SELECT
    e.kind,
    e.gate,
    COUNT(DISTINCT v.person) AS people
  FROM $experiments_asked AS e
  JOIN $decisions AS v
    ON (
      (
        e.kind = 'universal' AND v.kind = 'transition' AND v.from_stage = ''
      )
      OR (
        e.kind = 'holdout'
        AND v.kind = 'verdict'
        AND v.gate = e.gate
        AND NOT v.arm IN ('kept out', 'let through')
        AND (
          v.outcome = 'advance' OR v.hold_kind IN ('holdout', 'capacity')
        )
      )
      OR (
        e.kind = 'reverse'
        AND v.kind = 'verdict'
        AND v.gate = e.gate
        AND v.arm <> 'kept out'
        AND (
          (
            v.outcome = 'hold' AND NOT v.hold_kind IN ('holdout', 'capacity')
          )
          OR v.arm = 'let through'
        )
      )
    )
  GROUP BY
    e.kind,
    e.gate
)
SELECT
  e.kind,
  e.gate,
  COALESCE(MAX(l.people), 0) AS eligible,
  COUNT(CASE WHEN d.first AND NOT d.second THEN 1 END) AS first,
  COUNT(CASE WHEN d.second AND NOT d.first THEN 1 END) AS second,
  COUNT(CASE WHEN d.first AND d.second THEN 1 END) AS mixed,
  COUNT(CASE WHEN d.first AND NOT d.second AND w.won = 1 THEN 1 END) AS first_won,
  COUNT(CASE WHEN d.second AND NOT d.first AND w.won = 1 THEN 1 END) AS second_won
FROM $experiments_asked AS e
LEFT JOIN drawn AS d
  ON d.kind = e.kind AND d.gate = e.gate
LEFT JOIN wins AS w
  ON w.kind = d.kind AND w.gate = d.gate AND w.person = d.person
LEFT JOIN eligible AS l
  ON l.kind = e.kind AND l.gate = e.gate
GROUP BY
  e.kind,
  e.gate
ORDER BY
  e.gate,
  e.kind
