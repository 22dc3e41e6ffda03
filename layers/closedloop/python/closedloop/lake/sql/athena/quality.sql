WITH arrived AS (
  SELECT
    d.*
  FROM $events_delivered AS d
  CROSS JOIN $asked AS a
  JOIN $sites_asked AS s
    ON s.site = d.site
  WHERE
    d.received_at <= a.as_of
), gone AS (
  SELECT
    retracts AS id,
    MAX(received_at) AS until
  FROM arrived
  WHERE
    retracts <> ''
  GROUP BY
    retracts
), ids AS (
  SELECT
    c.id,
    MIN(
      CASE
        WHEN c.retracts <> ''
        OR c.received_at <= g.until
        OR (
          c.door = 'operator' AND c.name IN ('Persons Merged', 'Persons Split')
        )
        THEN 1
        ELSE 0
      END
    ) AS aside
  FROM arrived AS c
  LEFT JOIN gone AS g
    ON g.id = c.id
  GROUP BY
    c.id
)
SELECT
  (
    SELECT
      COALESCE(SUM(copies), 0)
    FROM arrived
  ) AS delivered,
  (
    SELECT
      COUNT(*)
    FROM ids
  ) AS distinct_ids,
  COUNT(*) AS counted,
  COUNT(CASE WHEN late THEN 1 END) AS late,
  COUNT(CASE WHEN grade = 'machine' THEN 1 END) AS machine,
  COUNT(CASE WHEN type IN ('page', 'screen') THEN 1 END) AS page_views,
  COUNT(CASE WHEN type IN ('page', 'screen') AND grade <> 'machine' THEN 1 END) AS human_page_views,
  COUNT(
    CASE
      WHEN type IN ('page', 'screen') AND grade <> 'machine' AND visitor = ''
      THEN 1
    END
  ) AS cookieless,
  (
    SELECT
      COALESCE(SUM(aside), 0)
    FROM ids
  ) AS set_aside
FROM $acts AS acts
