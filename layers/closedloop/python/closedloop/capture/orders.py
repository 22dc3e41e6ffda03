"""A shop's orders, as its server tells them in Segment's words: each is a deal.

Source: Segment, "Spec: V2 Ecommerce Events": order_id, total, revenue, currency of Order Completed, Updated, Cancelled
and Refunded.
"""

from __future__ import annotations

from typing import Any

from closedloop.errors import BadShape
from closedloop.events.event import ORDER_COMPLETED
from closedloop.events.identifiers import safe
from closedloop.events.money import minor_units
from closedloop.sites.definition import Site

# What the customer pays in all comes first, since refunds are told in the same sum.
SUMS = ("total", "revenue", "value")
MOST_CHARS = 200


def book(entry: dict[str, Any], site: Site) -> str:
    """Make an order's record that of a deal; gives back the deal's partition, where its refunds lie too.

    A page's key is public, so what a browser says of an order is only a claim and never comes here: anybody could
    send it. For the same reason the record gets an id that no browser can take first.

    Errors: BadShape names the property.
    """
    said = entry["properties"]
    order = said.get("order_id")
    order = str(order).replace("\x00", "") if isinstance(order, str | int) and not isinstance(order, bool) else ""
    if not order or len(order) > MOST_CHARS:
        raise BadShape("order_id: expected the order's number, as text of at most 200 characters")
    stated = next(((name, said[name]) for name in SUMS if said.get(name) is not None), None)
    if stated is None and entry["name"] == ORDER_COMPLETED:
        raise BadShape("total: is missing, what the order came to")
    if stated is not None:
        currency = said.get("currency") or site.currency
        if not isinstance(currency, str):
            raise BadShape("currency: the order names none, and the site's file has no currency")
        said["currency"] = currency.upper()
        said["amount_minor"] = minor_units(stated[1], said["currency"], stated[0])
    else:
        said.pop("amount_minor", None)
    entry["deal"] = order
    entry["id"] = f"{site.site}/order/{entry['id'].rpartition('/')[2]}"
    return f"D#{site.site}#{safe(order)}"
