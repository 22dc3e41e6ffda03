-- How good are the data themselves?
SELECT (SELECT count(*) FROM events_delivered d CROSS JOIN asked a JOIN sites_asked s ON s.site = d.site
        WHERE d.received_at <= a.as_of) AS delivered,
       (SELECT count(DISTINCT d.id) FROM events_delivered d CROSS JOIN asked a JOIN sites_asked s ON s.site = d.site
        WHERE d.received_at <= a.as_of) AS distinct_ids,
       count(*) AS counted,
       count(CASE WHEN late THEN 1 END) AS late,
       count(CASE WHEN grade = 'machine' THEN 1 END) AS machine,
       count(CASE WHEN type IN ('page', 'screen') THEN 1 END) AS page_views,
       count(CASE WHEN type IN ('page', 'screen') AND grade <> 'machine' THEN 1 END) AS human_page_views,
       count(CASE WHEN type IN ('page', 'screen') AND grade <> 'machine' AND visitor = '' THEN 1 END) AS cookieless
FROM acts
