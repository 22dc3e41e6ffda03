"""A shop's orders at the beacon: what its server says becomes a deal, what a browser says stays a claim."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from segment.analytics.client import Client

from closedloop.events.event import Event
from closedloop.events.identifiers import Hasher
from closedloop.lake.rows import event_row
from closedloop.profiles.fold import fold
from closedloop.profiles.profile import DealState, Profile
from closedloop.sites.definition import Site
from functions.capture_beacon import handler
from tests.accounts import PEPPER, SITES, Account
from tests.functions.gateway import KEY, ORIGIN, SECRET_KEY, Context, a_request, basic, said

DEMO = Site.model_validate(SITES[0][0])
JANE = Hasher(PEPPER.encode(), "demo").user("jane") or ""
COMPLETED: dict[str, Any] = {
    "type": "track", "event": "Order Completed", "messageId": "order-1042", "userId": "jane",
    "timestamp": "2026-11-24T06:00:00Z",
    "properties": {
        "order_id": "1042", "total": 27.5, "revenue": 25.0, "shipping": 2.5, "currency": "EUR", "coupon": "autumn",
        "products": [{"product_id": "p-200", "price": 12.5, "quantity": 2}],
    },
}
REFUNDED: dict[str, Any] = {
    **COMPLETED, "event": "Order Refunded", "messageId": "refund-1", "timestamp": "2026-11-24T07:00:00Z",
    "properties": {"order_id": "1042", "total": 10, "currency": "EUR"},
}


def tell(*events: dict[str, Any], key: str = SECRET_KEY, **headers: str) -> dict[str, Any]:
    body = json.dumps({"batch": events})
    return said(handler.handle(
        a_request("POST", "/v1/batch", body, headers={"authorization": basic(key), **headers}), Context()
    ))


def order(event: dict[str, Any] = COMPLETED, **properties: Any) -> dict[str, Any]:
    said = {**event["properties"], **properties}
    return {**event, "properties": {name: value for name, value in said.items() if value is not None}}


def facts(account: Account) -> list[Event]:
    return [event for packet in account.packets() for event in packet.events]


def profile(events: Sequence[Event]) -> Profile:
    folded = fold(events, [JANE], {"demo": DEMO})
    assert folded is not None
    return folded


def test_a_servers_order_is_a_deal_of_the_person_who_bought(account: Account) -> None:
    assert tell(COMPLETED) == {"success": True}
    [packet] = account.packets()
    [record] = packet.records
    assert packet.subject == "D#demo#1042"
    assert (record["id"], record["name"], record["deal"], record["ids"]) == (
        "demo/order/order-1042", "Order Completed", "1042", [JANE],
    )
    assert (record["properties"]["amount_minor"], record["properties"]["currency"]) == (2750, "EUR")
    assert profile(packet.events).deals == {"demo/1042": DealState("won", 2750, "EUR", "2026-11-24T06:00:00.000Z")}
    assert profile(packet.events).done("Order Completed") is not None
    row = event_row(packet.events[0], DEMO, 1)
    assert (row["deal"], row["amount_minor"], row["currency"]) == ("deal:demo:1042", 2750, "EUR")


@pytest.mark.parametrize(
    ("told", "standing", "amount", "refunded"),
    [
        ([REFUNDED], "partly refunded", 2750, 1000),
        ([REFUNDED, {**REFUNDED, "messageId": "refund-2"}], "partly refunded", 2750, 2000),
        ([order(REFUNDED, total=None)], "refunded", 2750, 2750),
        ([{**order(total=20), "event": "Order Updated", "messageId": "u"}], "won", 2000, 0),
        ([{**order(total=None, revenue=None), "event": "Order Cancelled", "messageId": "c",
           "timestamp": "2026-11-24T08:00:00Z"}], "lost", 2750, 0),
        ([order(REFUNDED, currency="USD")], "won", 2750, 0),
    ],
)
def test_what_happens_to_an_order_later_is_folded_in_any_order(
    account: Account, told: list[dict[str, Any]], standing: str, amount: int, refunded: int
) -> None:
    told = [{**one, "timestamp": one["timestamp"].replace("06:", "09:")} for one in told]
    tell(*reversed([COMPLETED, *told, *told]))
    tell(*told, COMPLETED)
    deal = profile(facts(account)).deals["demo/1042"]
    assert (deal.standing, deal.amount_minor, deal.refunded_minor) == (standing, amount, refunded)
    assert deal.mixed is any(one["properties"].get("currency") == "USD" for one in told)


def test_a_browsers_order_stays_a_claim_and_books_nothing(account: Account) -> None:
    """The key of a page is public: whoever reads it could order anything for anybody."""
    assert tell(COMPLETED, key=KEY, origin=ORIGIN) == {"success": True}
    assert tell({**COMPLETED, "messageId": "from-nowhere"}, key=KEY) == {"success": True}
    for event in facts(account):
        assert (event.deal, event.id.split("/")[1]) == (None, "beacon")
        assert event_row(event, DEMO, 1)["deal"] == ""
    assert profile(facts(account)).deals == {}
    assert profile(facts(account)).done("Order Completed") is not None


def test_a_browser_cannot_take_an_orders_place_by_sending_its_id_first(account: Account) -> None:
    tell(order(total=0.01), key=KEY, origin=ORIGIN)
    tell(COMPLETED)
    assert profile(facts(account)).deals["demo/1042"].amount_minor == 2750


@pytest.mark.parametrize(
    ("properties", "amount", "currency"),
    [
        ({"total": 1200, "currency": "JPY"}, 1200, "JPY"),
        ({"total": 1200, "currency": None}, 1200, "JPY"),
        ({"total": "1200", "currency": "jpy"}, 1200, "JPY"),
        ({"total": 1.234, "currency": "BHD"}, 1234, "BHD"),
        ({"total": 29.990000000000002, "currency": "USD"}, 2999, "USD"),
        ({"total": 1.15, "currency": "USD"}, 115, "USD"),
        ({"total": None, "revenue": 19.99}, 1999, "EUR"),
        ({"total": None, "revenue": None, "value": 19.99}, 1999, "EUR"),
        ({"total": 0}, 0, "EUR"),
        ({"order_id": 1042}, 2750, "EUR"),
        ({"amount_minor": 1}, 2750, "EUR"),
    ],
)
def test_an_orders_money_is_whole_minor_units(
    account: Account, properties: dict[str, Any], amount: int, currency: str
) -> None:
    assert tell(order(**properties)) == {"success": True}
    [record] = account.records()
    assert (record["properties"]["amount_minor"], record["properties"]["currency"]) == (amount, currency)
    assert record["deal"] == "1042"


@pytest.mark.parametrize(
    ("properties", "field"),
    [
        ({"order_id": None}, "order_id"), ({"order_id": ""}, "order_id"), ({"order_id": True}, "order_id"),
        ({"order_id": "x" * 201}, "order_id"), ({"order_id": ["1"]}, "order_id"), ({"order_id": 1.5}, "order_id"),
        ({"total": None, "revenue": None}, "total"), ({"total": -1}, "total"), ({"total": True}, "total"),
        ({"total": "1,200"}, "total"), ({"total": [1]}, "total"), ({"total": 10**16}, "total"),
        ({"total": None, "revenue": "much"}, "revenue"), ({"currency": "ABC"}, "currency"),
        ({"currency": 978}, "currency"), ({"currency": "€"}, "currency"),
    ],
)
def test_an_order_that_cannot_be_booked_is_named_and_kept_and_spoils_no_other(
    account: Account, properties: dict[str, Any], field: str
) -> None:
    page = {"type": "page", "messageId": "m-2", "userId": "jane"}
    reply = tell(order(**properties), page)
    assert [one["index"] for one in reply["bad"]] == [0]
    assert reply["bad"][0]["reason"].startswith(f"{field}:")
    assert [record["id"] for record in account.records()] == ["demo/beacon/m-2"]
    [failed] = account.failed()
    assert json.loads(failed.payload)["event"] == "Order Completed"


def test_an_order_of_a_site_without_currency_that_names_none_is_not_guessed(account: Account) -> None:
    words = {"site": "shop", "title": "Shop", "write_key": "pk_shop_12345678", "origins": ["https://shop.example"]}
    account.state.put_site(Site.model_validate(words), ("sk_shop_owner_only",))
    reply = tell(order(currency=None), key="sk_shop_owner_only")
    assert "currency" in reply["bad"][0]["reason"]


def test_an_order_of_somebody_unknown_lies_with_their_browser(account: Account) -> None:
    tell({**COMPLETED, "userId": None, "anonymousId": "jane-laptop"})
    [packet] = account.packets()
    assert (packet.subject, packet.records[0]["deal"]) == ("V#demo#jane-laptop", "1042")
    [event] = packet.events
    assert event.nodes == ("v:demo:jane-laptop", "deal:demo:1042")


def test_whoever_was_asked_for_no_consent_is_told_of_no_order(account: Account) -> None:
    words = {**SITES[0][0], "site": "asked", "write_key": "pk_asked_12345678", "consent": "opt_in", "forms": {}}
    account.state.put_site(Site.model_validate(words), ("sk_asked_owner_only",))
    assert tell(COMPLETED, key="sk_asked_owner_only") == {"success": True}
    agreed = {**COMPLETED, "messageId": "m-2", "context": {"consent": {"analytics": "granted"}}}
    assert tell(agreed, key="sk_asked_owner_only") == {"success": True}
    assert sorted(str(record.get("deal")) for record in account.records()) == ["1042", "None"]
    assert next(record for record in account.records() if "deal" not in record)["properties"] == {}


def test_an_order_by_segments_own_python_client(account: Account) -> None:
    sent: list[dict[str, Any]] = []
    client = Client(SECRET_KEY, send=False, sync_mode=False)
    for event in (COMPLETED, REFUNDED):
        _, message = client.track(
            "jane", event["event"], event["properties"], message_id=event["messageId"]
        )
        sent.append(json.loads(json.dumps(message, default=str)))
    assert tell(*sent) == {"success": True}
    assert profile(facts(account)).deals["demo/1042"].standing == "partly refunded"
