-- How many advances have no transition behind them?
SELECT count(*) AS advances
FROM decisions v
LEFT JOIN (SELECT DISTINCT path, gate FROM decisions WHERE kind = 'transition') t
  ON t.path = v.path AND t.gate = v.gate
WHERE v.kind = 'verdict' AND v.outcome = 'advance' AND t.path IS NULL
