WITH told AS (
  SELECT
    c.known_id AS address,
    MAX(CASE WHEN c.name = 'Email Bounced' AND s.id IS NULL THEN 1 ELSE 0 END) AS bounced,
    MAX(CASE WHEN c.name = 'Email Marked As Spam' THEN 1 ELSE 0 END) AS complained,
    MAX(
      CASE
        WHEN c.name = 'Email Unsubscribed'
        OR (
          c.name = 'Mail Suppressed' AND c.door = 'operator'
        )
        THEN c.occurred_at
      END
    ) AS stopped_at,
    MAX(CASE WHEN c.name = 'Mail Allowed' AND c.door = 'operator' THEN c.occurred_at END) AS allowed_at
  FROM $acts AS c
  CROSS JOIN $asked AS a
  LEFT JOIN (
    SELECT DISTINCT
      id
    FROM $events_delivered AS events_delivered
    WHERE
      soft
  ) AS s
    ON s.id = c.id
  WHERE
    c.known_id LIKE 'email:%' AND c.occurred_at <= a.as_of
  GROUP BY
    c.known_id
), owners AS (
  SELECT
    node AS address,
    person
  FROM $person_map AS person_map
  WHERE
    node LIKE 'email:%'
  UNION
  SELECT
    node AS address,
    person
  FROM $shared_names AS shared_names
  WHERE
    node LIKE 'email:%'
), last_seen AS (
  SELECT
    o.address,
    MAX(c.occurred_at) AS seen_at
  FROM owners AS o
  JOIN $acts AS c
    ON c.person = o.person
  CROSS JOIN $asked AS a
  WHERE
    c.active = 1 AND c.occurred_at <= a.as_of
  GROUP BY
    o.address
), addresses AS (
  SELECT
    o.address,
    COALESCE(t.bounced, 0) AS bounced,
    COALESCE(t.complained, 0) AS complained,
    CASE
      WHEN NOT t.stopped_at IS NULL
      AND (
        t.allowed_at IS NULL OR t.allowed_at < t.stopped_at
      )
      THEN 1
      ELSE 0
    END AS stopped,
    CASE WHEN l.seen_at IS NULL OR l.seen_at < a.a_year_ago THEN 1 ELSE 0 END AS gone_quiet
  FROM (
    SELECT DISTINCT
      address
    FROM owners
  ) AS o
  CROSS JOIN $asked AS a
  LEFT JOIN told AS t
    ON t.address = o.address
  LEFT JOIN last_seen AS l
    ON l.address = o.address
)
SELECT
  COUNT(*) AS addresses,
  COUNT(CASE WHEN bounced = 1 THEN 1 END) AS bounced,
  COUNT(CASE WHEN bounced = 0 AND complained = 1 THEN 1 END) AS complained,
  COUNT(CASE WHEN bounced = 0 AND complained = 0 AND stopped = 1 THEN 1 END) AS stopped,
  COUNT(
    CASE
      WHEN bounced = 0 AND complained = 0 AND stopped = 0 AND gone_quiet = 1
      THEN 1
    END
  ) AS gone_quiet,
  COUNT(
    CASE
      WHEN bounced = 0 AND complained = 0 AND stopped = 0 AND gone_quiet = 0
      THEN 1
    END
  ) AS alive
FROM addresses
