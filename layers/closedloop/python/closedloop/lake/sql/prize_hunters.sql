-- Which of the new persons took a prize and did nothing else: no other form, and nothing on any other day?
WITH prizes AS (
  SELECT DISTINCT id FROM events_delivered WHERE incentive AND name = 'Form Submitted'
), contacts AS (
  SELECT c.person, c.day, CASE WHEN c.name = 'Form Submitted' THEN 1 ELSE 0 END AS is_form,
         CASE WHEN p.id IS NOT NULL THEN 1 ELSE 0 END AS is_prize
  FROM acts c
  JOIN new_persons n ON n.person = c.person
  LEFT JOIN prizes p ON p.id = c.id
  CROSS JOIN asked a
  WHERE c.active = 1 AND c.occurred_at <= a.as_of
    AND (c.type IN ('page', 'screen') OR (c.type = 'track' AND c.door IN (SELECT door FROM contact_doors)))
), prize_days AS (
  SELECT DISTINCT person, day FROM contacts WHERE is_prize = 1
)
SELECT c.person
FROM contacts c
LEFT JOIN prize_days d ON d.person = c.person AND d.day = c.day
GROUP BY c.person
HAVING max(c.is_prize) = 1
   AND max(CASE WHEN (c.is_form = 1 AND c.is_prize = 0) OR (c.is_form = 0 AND d.day IS NULL) THEN 1 ELSE 0 END) = 0
ORDER BY c.person
