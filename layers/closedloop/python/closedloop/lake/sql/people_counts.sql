-- How many persons are known at all, and how many of them are in the loop?
SELECT (SELECT count(DISTINCT person) FROM person_map) AS known,
       (SELECT count(DISTINCT person) FROM decisions WHERE kind = 'transition') AS in_loop,
       (SELECT count(DISTINCT path) FROM decisions WHERE kind = 'transition') AS paths
