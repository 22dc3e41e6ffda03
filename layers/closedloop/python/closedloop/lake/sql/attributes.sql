-- What did the new persons say of themselves, oldest first?
SELECT c.person, c.traits
FROM acts c
JOIN new_persons n ON n.person = c.person
WHERE c.traits <> '' AND c.traits <> '{}'
ORDER BY c.person, c.occurred_at, c.id
