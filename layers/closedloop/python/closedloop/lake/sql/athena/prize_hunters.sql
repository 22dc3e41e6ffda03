WITH prizes AS (
  SELECT DISTINCT
    id
  FROM $events_delivered AS events_delivered
  WHERE
    incentive AND name = 'Form Submitted'
), contacts AS (
  SELECT
    c.person,
    c.day,
    CASE WHEN c.name = 'Form Submitted' THEN 1 ELSE 0 END AS is_form,
    CASE WHEN NOT p.id IS NULL THEN 1 ELSE 0 END AS is_prize
  FROM $acts AS c
  JOIN $new_persons AS n
    ON n.person = c.person
  LEFT JOIN prizes AS p
    ON p.id = c.id
  CROSS JOIN $asked AS a
  WHERE
    c.active = 1
    AND c.occurred_at <= a.as_of
    AND (
      c.type IN ('page', 'screen')
      OR (
        c.type = 'track'
        AND c.door IN (
          SELECT
            door
          FROM $contact_doors AS contact_doors
        )
      )
    )
), prize_days AS (
  SELECT DISTINCT
    person,
    day
  FROM contacts
  WHERE
    is_prize = 1
)
SELECT
  c.person
FROM contacts AS c
LEFT JOIN prize_days AS d
  ON d.person = c.person AND d.day = c.day
GROUP BY
  c.person
HAVING
  MAX(c.is_prize) = 1
  AND MAX(
    CASE
      WHEN (
        c.is_form = 1 AND c.is_prize = 0
      ) OR (
        c.is_form = 0 AND d.day IS NULL
      )
      THEN 1
      ELSE 0
    END
  ) = 0
ORDER BY
  c.person
