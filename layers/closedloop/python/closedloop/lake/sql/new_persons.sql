-- Who became known in the period, when, and was active again on days 2-30 after it?
WITH named AS (
  SELECT person, min(occurred_at) AS named_at
  FROM acts
  WHERE known_id <> '' AND person <> '' AND grade <> 'machine'
  GROUP BY person
), new_ones AS (
  SELECT n.person, n.named_at, d.day, d.week
  FROM named n
  CROSS JOIN asked a
  JOIN days d ON n.named_at >= d.starts_at AND n.named_at < d.ends_at
  WHERE n.named_at >= a.starts_at AND n.named_at < a.until
)
SELECT o.person, o.named_at, o.day, o.week,
       max(CASE WHEN c.active = 1 AND date_diff('day', o.day, c.day) BETWEEN 1 AND 29 THEN 1 ELSE 0 END) AS back_30
FROM new_ones o
JOIN acts c ON c.person = o.person
GROUP BY o.person, o.named_at, o.day, o.week
ORDER BY o.named_at, o.person
