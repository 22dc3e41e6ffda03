-- How many advances have no transition behind them?
SELECT count(*) AS advances
FROM decisions v
LEFT JOIN (SELECT DISTINCT person, gate FROM decisions WHERE kind = 'transition') t
  ON t.person = v.person AND t.gate = v.gate
WHERE v.kind = 'verdict' AND v.outcome = 'advance' AND t.person IS NULL
