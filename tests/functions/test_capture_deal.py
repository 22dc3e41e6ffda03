"""POST /v1/webhooks/deals/{provider}: what is signed is stored once, what is not leaves no trace."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from standardwebhooks import Webhook

from closedloop.capture.deals import accept_deal
from closedloop.capture.flow import Doors
from closedloop.capture.request import Request
from closedloop.errors import BadSignature, Refused
from closedloop.events.packet import Packet
from closedloop.runtime import clock
from closedloop.sites.definition import Site
from functions.capture_deal import handler
from tests.accounts import DEALS_SECRET, EVENTS, OLD_DEALS_SECRET, SITES, Account
from tests.functions.gateway import Context, a_request, said

NOW = datetime(2026, 11, 24, 6, 10, tzinfo=UTC)
OTHER_SECRET = "whsec_c29tZWJvZHktZWxzZXMtc2VjcmV0"
WON: dict[str, Any] = {
    "type": "deal.won",
    "timestamp": "2026-11-24T06:00:00Z",
    "data": {"id": "d-1", "email": "jane@example.jp", "amount_minor": 12_000_000, "currency": "JPY", "stage": "closed"},
}


def signed(
    body: bytes, *, secret: str = DEALS_SECRET, at: datetime | None = None, message: str = "msg-1"
) -> dict[str, str]:
    at = at or clock.now()
    return {
        "content-type": "application/json",
        "webhook-id": message,
        "webhook-timestamp": str(int(at.timestamp())),
        "webhook-signature": Webhook(secret).sign(message, at, body.decode()),
    }


def post(body: bytes, headers: Mapping[str, str], *, provider: str = "standard", site: str = "demo") -> dict[str, Any]:
    return handler.handle(
        a_request(
            "POST",
            f"/v1/webhooks/deals/{provider}",
            body,
            headers=headers,
            query={"site": site},
            parts={"provider": provider},
        ),
        Context(),
    )


def deal(**words: Any) -> bytes:
    return json.dumps({**WON, "data": {**WON["data"], **words}}).encode()


def test_a_signed_message_is_stored_once_under_its_deal(account: Account) -> None:
    body = deal()
    for _ in range(2):
        reply = post(body, signed(body))
        assert (reply["statusCode"], said(reply)) == (200, {"success": True})
    records = account.records()
    assert {record["id"] for record in records} == {"demo/crm/msg-1"}
    assert {packet.subject for packet in account.packets()} == {"D#demo#d-1"}
    assert records[0]["name"] == "Deal Won"
    assert records[0]["properties"] == {"amount_minor": 12_000_000, "currency": "JPY", "stage": "closed"}
    assert records[0]["at"] == "2026-11-24T06:00:00.000Z"
    assert "jane" not in json.dumps(records)
    assert account.packets()[0].contact == {records[0]["ids"][0]: {"email": "jane@example.jp"}}


def test_a_deal_may_say_what_is_bought(account: Account) -> None:
    body = deal(product="NP-200\x00")
    assert post(body, signed(body))["statusCode"] == 200
    assert account.records()[0]["properties"]["product"] == "NP-200"


def test_both_live_secrets_are_good_so_that_one_can_be_exchanged(account: Account) -> None:
    for secret in (OLD_DEALS_SECRET, DEALS_SECRET):
        assert post(deal(), signed(deal(), secret=secret))["statusCode"] == 200


def forged(name: str) -> tuple[bytes, dict[str, str]]:
    body, headers = deal(), signed(deal())
    return {
        "one byte more": (body + b" ", headers),
        "another key order": (json.dumps(json.loads(body), sort_keys=True).encode(), headers),
        "another line end": (body.replace(b", ", b",\r\n"), headers),
        "another secret": (body, signed(body, secret=OTHER_SECRET)),
        "no id": (body, {k: v for k, v in headers.items() if k != "webhook-id"}),
        "no timestamp": (body, {k: v for k, v in headers.items() if k != "webhook-timestamp"}),
        "no signature": (body, {k: v for k, v in headers.items() if k != "webhook-signature"}),
        "empty signature": (body, {**headers, "webhook-signature": ""}),
        "another version": (body, {**headers, "webhook-signature": headers["webhook-signature"].replace("v1,", "v2,")}),
        "signature that is no ASCII": (body, {**headers, "webhook-signature": "v1,подпись"}),
        "signature without a comma": (body, {**headers, "webhook-signature": "v1"}),
        "another id": (body, {**headers, "webhook-id": "msg-2"}),
        "timestamp that is no number": (body, {**headers, "webhook-timestamp": "now"}),
        "timestamp of a thousand digits": (body, {**headers, "webhook-timestamp": "1" * 1000}),
        "timestamp in other digits": (body, {**headers, "webhook-timestamp": "１７６３９６４６００"}),
        "body that is no text": (b"\xff" + body, headers),
        "no body": (b"", headers),
    }[name]


FORGED = (
    "one byte more",
    "another key order",
    "another line end",
    "another secret",
    "no id",
    "no timestamp",
    "no signature",
    "empty signature",
    "another version",
    "signature that is no ASCII",
    "signature without a comma",
    "another id",
    "timestamp that is no number",
    "timestamp of a thousand digits",
    "timestamp in other digits",
    "body that is no text",
    "no body",
)


@pytest.mark.parametrize("name", FORGED)
def test_what_is_not_signed_is_refused_with_the_same_words_and_leaves_nothing(account: Account, name: str) -> None:
    body, headers = forged(name)
    reply = post(body, headers)
    assert (reply["statusCode"], said(reply)["reason"]) == (401, "the signature of this message does not hold")
    assert account.items(EVENTS) == []


@pytest.mark.parametrize("flag", [True, False])
def test_raw_bytes_are_what_is_signed_however_the_gateway_carries_them(account: Account, flag: bool) -> None:
    body = json.dumps({**WON, "data": {**WON["data"], "stage": "受注 🚰"}}, ensure_ascii=False, indent=1)
    raw = body.replace("\n", "\r\n").encode() + b"\r\n"
    event = a_request(
        "POST", "/v1/webhooks/deals/standard", raw, headers=signed(raw), query={"site": "demo"},
        parts={"provider": "standard"}, base64_flag=flag,
    )
    assert handler.handle(event, Context())["statusCode"] == 200
    assert account.records()[0]["properties"]["stage"] == "受注 🚰"


def test_a_payment_names_what_was_paid(account: Account) -> None:
    body = json.dumps({**WON, "type": "deal.paid"}).encode()
    assert post(body, signed(body))["statusCode"] == 200
    assert account.records()[0]["name"] == "Deal Paid"
    body = json.dumps({"type": "deal.paid", "data": {"id": "d-1"}}).encode()
    reply = post(body, signed(body, message="msg-2"))
    assert (reply["statusCode"], "amount_minor" in said(reply)["reason"]) == (400, True)


def test_one_good_signature_among_several_is_enough(account: Account) -> None:
    headers = signed(deal())
    headers["webhook-signature"] = f"v1,bm90IHRoaXM= v1a,x {headers['webhook-signature']}"
    assert post(deal(), headers)["statusCode"] == 200


@pytest.mark.parametrize(
    ("provider", "site"),
    [
        ("standard", "asking"),
        ("standard", "nobody"),
        ("standard", ""),
        ("standard", "x" * 3000),
        ("standard", "demo#CURRENT"),
        ("hubspot", "rival"),
        ("../standard", "demo"),
    ],
)
def test_a_site_or_provider_that_is_not_declared_is_not_found(account: Account, provider: str, site: str) -> None:
    assert post(deal(), signed(deal()), provider=provider, site=site)["statusCode"] == 404


def test_a_site_whose_secret_was_never_set_takes_nothing(account: Account) -> None:
    assert post(deal(), signed(deal()), site="rival")["statusCode"] == 401
    assert account.items(EVENTS) == []


@pytest.mark.parametrize(
    ("words", "field"),
    [
        ({"amount_minor": True}, "amount_minor"),
        ({"amount_minor": 12.5}, "amount_minor"),
        ({"amount_minor": "12.5"}, "amount_minor"),
        ({"amount_minor": -1}, "amount_minor"),
        ({"amount_minor": 10**15 + 1}, "amount_minor"),
        ({"amount_minor": 10**38 + 1}, "amount_minor"),
        ({"amount_minor": "12,000"}, "amount_minor"),
        ({"currency": None}, "currency"),
        ({"currency": "yen"}, "currency"),
        ({"currency": "JPY\n"}, "currency"),
        ({"currency": "ABC"}, "currency"),
        ({"currency": "XAU"}, "currency"),
        ({"id": ""}, "id"),
        ({"id": "x" * 201}, "id"),
        ({"id": None}, "id"),
        ({"email": ["jane@example.jp"]}, "email"),
        ({"email": "j" * 301}, "email"),
    ],
)
def test_money_and_names_must_be_what_they_say(account: Account, words: dict[str, Any], field: str) -> None:
    reply = post(deal(**words), signed(deal(**words)))
    assert reply["statusCode"] == 400
    assert field in said(reply)["reason"]
    assert account.items(EVENTS) == []


@pytest.mark.parametrize(
    "words",
    [
        {"amount_minor": 0},
        {"amount_minor": "12000"},
        {"amount_minor": None, "currency": None},
        {"id": 4711},
        {"email": None},
        {"email": "no address"},
        {"user_id": 7},
        {"id": "a#b|c/../d"},
        {"stage": "x" * 5000},
    ],
)
def test_what_can_be_understood_is_taken(account: Account, words: dict[str, Any]) -> None:
    assert post(deal(**words), signed(deal(**words)))["statusCode"] == 200
    [packet] = account.packets()
    assert packet.subject.count("#") == 2
    assert len(packet.records[0]["properties"].get("stage", "")) <= 100


def test_a_message_over_the_cap_is_refused_before_anything_is_looked_up(account: Account) -> None:
    body = deal(stage="x" * 600_000)
    assert post(body, {})["statusCode"] == 413


def test_a_secret_store_that_is_down_is_answered_503(account: Account) -> None:
    account.loses("secret")
    assert post(deal(), signed(deal()))["statusCode"] == 503


# With a clock of our own.


class Demo:
    site_words = Site.model_validate(SITES[0][0])

    def site_of_key(self, hashed: str) -> tuple[Site, bool] | None:
        return None

    def site(self, name: str) -> Site | None:
        return self.site_words

    def site_of_origin(self, origin: str) -> str | None:
        return None


class Kept:
    def __init__(self) -> None:
        self.packets: list[Packet] = []

    def append(self, packets: Any) -> None:
        self.packets.extend(packets)


def accept(body: bytes, age: timedelta, secrets: Any = (DEALS_SECRET,)) -> Kept:
    kept = Kept()
    request = Request(
        "POST",
        "/v1/webhooks/deals/standard",
        signed(body, at=NOW - age),
        {"site": "demo"},
        {"provider": "standard"},
        body=body,
    )
    doors = Doors(Demo(), kept, lambda *_: None, b"pepper", lambda: NOW, lambda: "new")
    accept_deal(request, doors, lambda site: {"deals_standard": secrets})
    return kept


@pytest.mark.parametrize("age_s", [-300, 0, 299, 300])
def test_a_message_of_the_last_five_minutes_is_taken(age_s: int) -> None:
    assert len(accept(deal(), timedelta(seconds=age_s)).packets) == 1


@pytest.mark.parametrize("age_s", [-301, 301, 86_400])
def test_an_older_or_future_message_is_refused(age_s: int) -> None:
    with pytest.raises(BadSignature):
        accept(deal(), timedelta(seconds=age_s))


@pytest.mark.parametrize("secrets", [(), ("",), ("whsec_",), ("whsec_!!!",), ("ключ",), (OTHER_SECRET,)])
def test_a_secret_that_is_missing_or_broken_proves_nothing(secrets: Any) -> None:
    with pytest.raises(BadSignature):
        accept(deal(), timedelta(0), secrets)


@pytest.mark.parametrize(
    "stamp", ["0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "1969-12-31T23:59:59Z", True, "soon"]
)
def test_a_time_outside_the_calendar_is_refused(stamp: Any) -> None:
    with pytest.raises(Refused):
        accept(json.dumps({**WON, "timestamp": stamp}).encode(), timedelta(0))
