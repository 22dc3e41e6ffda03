WITH told AS (
  SELECT
    id,
    site,
    visitor,
    ids_text,
    deal,
    occurred_at,
    CASE
      WHEN door = 'operator' AND name = 'Persons Merged'
      THEN 'merged'
      WHEN door = 'operator' AND name = 'Persons Split'
      THEN 'split'
      WHEN door = 'link' AND name = 'Consent Confirmed'
      THEN 'confirmed'
      WHEN door = 'link'
      THEN 'click'
      ELSE 'told'
    END AS kind,
    deal <> '' AND name IN ('Deal Refunded', 'Order Refunded', 'Deal Paid') AS of_refund
  FROM $events AS events
  WHERE
    ids_text <> ''
), placed AS (
  SELECT
    id,
    site,
    visitor,
    ids_text,
    deal,
    occurred_at,
    kind,
    of_refund,
    LAG(ids_text) OVER (PARTITION BY visitor, kind ORDER BY occurred_at, id) AS before_on_browser,
    LAG(ids_text) OVER (PARTITION BY deal, kind, of_refund ORDER BY occurred_at, id) AS before_on_deal,
    ROW_NUMBER() OVER (PARTITION BY ids_text, kind ORDER BY occurred_at, id) AS time_named
  FROM told
)
SELECT
  id,
  site,
  visitor,
  ids_text,
  deal,
  occurred_at,
  kind,
  of_refund
FROM placed
WHERE
  time_named = 1
  OR (
    visitor <> '' AND COALESCE(before_on_browser, '') <> ids_text
  )
  OR (
    deal <> '' AND COALESCE(before_on_deal, '') <> ids_text
  )
ORDER BY
  occurred_at,
  id
