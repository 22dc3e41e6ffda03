-- Which facts do we have, each once, with the grade that it and all others together give it?
SELECT e.id, e.site, e.door, e.type, e.name, e.visitor, e.known_id, e.ids_text, e.deal, e.occurred_at, e.received_at,
       e.late, e.channel, e.medium, e.source, e.utm_campaign, coalesce(j.grade, e.grade) AS grade, e.amount_minor,
       e.currency, e.deal_is_open, e.of_list, e.form, e.told_campaign, e.of_loop, e.cost_day, e.traits
FROM distinct_events e
LEFT JOIN judged j ON j.id = e.id
