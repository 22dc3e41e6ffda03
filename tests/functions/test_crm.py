"""HubSpot and Salesforce at the deal door: what each sends becomes our words, and who proves nothing leaves no trace.

The messages are data: `tests/vectors/deals/`.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import pytest

from closedloop.capture.crm import hubspot, salesforce
from closedloop.capture.deals import accept_deal
from closedloop.capture.flow import Doors
from closedloop.capture.request import Answer, Request
from closedloop.capture.wire import Bad
from closedloop.errors import BadShape, BadSignature, TooLarge
from closedloop.events.deals import Word, fold_deal
from closedloop.events.packet import Packet
from closedloop.lake.rows import event_row
from closedloop.profiles.fold import fold
from closedloop.runtime import clock
from closedloop.sites.definition import Site
from closedloop.store.ledger import packet_item, packet_of
from functions.capture_deal import handler
from tests.accounts import DEMO_SECRETS, EVENTS, HUBSPOT_SECRET, SALESFORCE_SECRET, SITES, Account
from tests.functions.gateway import Context, a_request, said
from tests.functions.test_bad_input import CORPUS, closed, made

FOLDER = Path("tests/vectors/deals")
HUBSPOT, SALESFORCE = (json.loads((FOLDER / f"{name}.json").read_text("utf-8")) for name in ("hubspot", "salesforce"))
OUTBOUND = (FOLDER / "salesforce-won.xml").read_bytes()
NOW = datetime(2026, 11, 24, 6, 10, tzinfo=UTC)
HOST = "c.northwind.example"
WON = json.dumps(HUBSPOT[0]["body"]).encode()


def signed(
    body: bytes, *, at: datetime | None = None, secret: str = HUBSPOT_SECRET, query: str = "site=demo"
) -> dict[str, str]:
    """HubSpot's headers over a body, as its documents say to make them."""
    stamp = str(int((at or clock.now()).timestamp() * 1000))
    text = b"POSThttps://" + f"{HOST}/v1/webhooks/deals/hubspot?{query}".encode() + body + stamp.encode()
    mac = base64.b64encode(hmac.new(secret.encode(), text, hashlib.sha256).digest()).decode()
    return {
        "content-type": "application/json", "x-hubspot-signature-v3": mac, "x-hubspot-request-timestamp": stamp,
        "host": HOST,
    }


def post(
    provider: str, body: bytes, headers: Mapping[str, str], *, flag: bool | None = None, **query: str
) -> dict[str, Any]:
    path = f"/v1/webhooks/deals/{provider}"
    event = a_request(
        "POST", path, body, headers=headers, query={"site": "demo", **query}, parts={"provider": provider},
        base64_flag=flag,
    )
    return handler.handle(event, Context())


class Behind:
    """What lies behind the door, as lists."""

    def __init__(self, **changes: Any) -> None:
        self.site_words = Site.model_validate({**SITES[0][0], **changes})
        self.packets: list[Packet] = []
        self.bad: list[Bad] = []

    def site_of_key(self, hashed: str) -> tuple[Site, bool] | None:
        return None

    def site(self, name: str) -> Site | None:
        return self.site_words

    def site_of_origin(self, origin: str) -> str | None:
        return None

    def append(self, packets: Sequence[Packet]) -> None:
        self.packets += packets

    def fail(self, site: str, door: str, bad: Sequence[Bad], received: datetime) -> None:
        self.bad += bad

    @property
    def records(self) -> list[Mapping[str, Any]]:
        return [record for packet in self.packets for record in packet.records]


def accept(
    provider: str, body: bytes, *, age: timedelta = timedelta(0), secrets: Any = None, by: str | None = None,
    **changes: Any,
) -> tuple[Behind, Answer]:
    behind = Behind(**changes)
    doors = Doors(behind, behind, behind.fail, b"pepper", lambda: NOW, lambda: "new")
    if provider == "hubspot":
        headers = signed(body, at=NOW - age, secret=HUBSPOT_SECRET if by is None else by)
    else:
        headers = {"authorization": f"Bearer {SALESFORCE_SECRET if by is None else by}"}
    request = Request(
        "POST", f"/v1/webhooks/deals/{provider}", headers, {"site": "demo"}, {"provider": provider}, body=body,
        query_text="site=demo",
    )
    kept = {f"deals_{provider}": secrets} if secrets is not None else DEMO_SECRETS
    return behind, accept_deal(request, doors, lambda site: kept)


def body_of(case: Mapping[str, Any]) -> bytes:
    if "file" in case:
        return (FOLDER / case["file"]).read_bytes()
    return case["text"].encode() if "text" in case else json.dumps(case["body"], ensure_ascii=False).encode()


CASES = [
    pytest.param(provider, case, id=f"{provider}: {case['what']}")
    for provider, cases in (("hubspot", HUBSPOT), ("salesforce", SALESFORCE)) for case in cases
]


@pytest.mark.parametrize(("provider", "case"), CASES)
def test_what_a_crm_says_becomes_our_words(provider: str, case: Mapping[str, Any]) -> None:
    if case.get("unproven"):
        with pytest.raises(BadSignature):
            accept(provider, body_of(case))
        return
    if "refused" in case:
        with pytest.raises(BadShape, match=case["refused"]):
            accept(provider, body_of(case))
        return
    behind, _ = accept(provider, body_of(case))
    stored = [
        {name: record[name] for name in ("name", "deal", "at", "properties")}
        | ({"buyer": True} if record["ids"] else {}) for record in behind.records
    ]
    assert stored == [{name: value for name, value in fact.items() if name != "id"} for fact in case["facts"]]
    for record, fact in zip(behind.records, case["facts"], strict=True):
        assert record["id"].startswith(f"demo/crm/{provider}-") and record["id"] == fact.get("id", record["id"])
    assert "jane@" not in json.dumps([packet.records for packet in behind.packets])
    again, _ = accept(provider, body_of(case))
    assert [record["id"] for record in again.records] == [record["id"] for record in behind.records]
    assert len({record["id"] for record in behind.records}) == len(behind.records)
    if "stands" in case:
        events = [event for packet in behind.packets for event in packet.events]
        deal = fold_deal(
            Word(e.occurred_at, e.id, e.name, e.properties.get("amount_minor"), e.properties.get("currency", ""))
            for e in events
        )
        assert {name: getattr(deal, name) for name in case["stands"]} == case["stands"]


def test_a_change_that_cannot_be_read_spoils_no_other_and_is_kept() -> None:
    changes = [*HUBSPOT[3]["body"][:2], {"subscriptionType": "deal.propertyChange", "objectId": 1}, 7]
    behind, answer = accept("hubspot", json.dumps(changes).encode())
    assert [record["name"] for record in behind.records] == ["Deal Opened", "Deal Changed"]
    assert [(bad.index, json.loads(bad.payload)) for bad in behind.bad] == [(2, [changes[2]]), (3, [7])]
    assert (answer.status, answer.facts["stored"], answer.facts["failed"]) == (200, 2, 2)


def test_an_opportunity_that_cannot_be_read_spoils_no_other_and_is_kept() -> None:
    behind, answer = accept("salesforce", OUTBOUND.replace(b"250000.0", b"much"))
    assert [record["deal"] for record in behind.records] == ["0065g00000Wk3TzAAJ", "0065g00000Wk3U1AAJ"]
    [bad] = behind.bad
    assert (bad.index, "amount" in bad.reason, b"0065g00000Wk3U0AAJ" in bad.payload) == (1, True, True)
    assert "<Ack>true</Ack>" in answer.body


@pytest.mark.parametrize(
    ("provider", "body"), [("hubspot", json.dumps(HUBSPOT[3]["body"]).encode()), ("salesforce", OUTBOUND)]
)
def test_what_could_not_be_kept_is_the_same_fact_when_it_is_told_again(provider: str, body: bytes) -> None:
    poor, _ = accept(provider, body, currency=None)
    assert poor.bad and poor.records
    again = [record for bad in poor.bad for record in accept(provider, bad.payload)[0].records]
    whole, _ = accept(provider, body)
    by_id = {record["id"]: record for record in [*poor.records, *again]}
    assert by_id == {record["id"]: record for record in whole.records}


def test_money_without_any_currency_is_refused_rather_than_guessed() -> None:
    with pytest.raises(BadShape, match="currency"):
        accept("salesforce", body_of(SALESFORCE[2]).replace(b'"IsWon"', b'"Amount": 5, "IsWon"'), currency=None)


def test_a_stage_that_means_refunded_gives_back_everything() -> None:
    stages = {"deals": ["hubspot"], "deal_stages": {"refunded": "refunded"}}
    body = {"hs_object_id": 1, "amount": 500, "hs_lastmodifieddate": 1763964000000}
    won, _ = accept("hubspot", json.dumps({**body, "dealstage": "closedwon"}).encode(), webhooks=stages)
    back, _ = accept("hubspot", json.dumps({**body, "dealstage": "refunded"}).encode(), webhooks=stages)
    events = [event for behind in (won, back) for packet in behind.packets for event in packet.events]
    named = [{**record, "ids": ["email:jane"]} for record in [*won.records, *back.records]]
    assert [(record["name"], record["properties"].get("amount_minor")) for record in named] == [
        ("Deal Won", 500), ("Deal Refunded", None),
    ]
    profile = fold(events, ["email:jane"], {"demo": won.site_words})
    assert profile is not None
    assert profile.deals["demo/1"].standing == "refunded"


# Whatever stands in a message.

PROVIDERS = pytest.mark.parametrize("provider", ["hubspot", "salesforce"])


def taken(provider: str, body: bytes) -> Behind:
    """A message answered by our own words, whatever it says, and what was kept of it can be read."""
    try:
        behind, answer = accept(provider, body)
    except (BadShape, BadSignature, TooLarge) as error:
        assert error.reason
        return Behind()
    assert answer.status == 200
    for packet in behind.packets:
        assert "\\u0000" not in json.dumps(packet.records).replace("\\\\u0000", "")
        for event in packet_of(packet_item(packet)).events:
            event_row(event, behind.site_words, 1)
            fold([event], ["email:0"], {"demo": behind.site_words})
    return behind


@PROVIDERS
@pytest.mark.parametrize("words", CORPUS["bodies"], ids=lambda words: words["name"])
def test_a_body_that_cannot_be_read_is_refused(provider: str, words: Mapping[str, Any]) -> None:
    body = made(words) + (words.get("close", "") * (words["repeat"][2] if "repeat" in words else 0)).encode()
    assert not taken(provider, body).packets


@PROVIDERS
@pytest.mark.parametrize("words", CORPUS["values"], ids=lambda words: words["name"])
def test_no_value_in_any_place_breaks_the_door(provider: str, words: Mapping[str, Any]) -> None:
    module = {"hubspot": hubspot.PROPERTIES, "salesforce": salesforce.FIELDS}[provider]
    value = closed(words, words["json"])
    deal = {"OrganizationId": "00D5g000007Xy9K", **dict.fromkeys(module, 1)}
    for name in module:
        text = json.dumps({**deal, name: "HERE"}).encode().replace(b'"HERE"', value)
        taken(provider, text)
        if provider == "hubspot":
            change = {"subscriptionType": "deal.propertyChange", "objectId": 1, "occurredAt": 1763964000000}
            text = json.dumps([{**change, "propertyName": name, "propertyValue": "HERE"}]).encode()
            taken(provider, text.replace(b'"HERE"', value))


@PROVIDERS
@pytest.mark.parametrize("words", CORPUS["texts"], ids=lambda words: ascii(made(words)[:30]))
def test_a_text_in_any_place_is_only_a_text(provider: str, words: Any) -> None:
    text = made(words).decode()
    if provider == "salesforce":
        outbound = OUTBOUND.decode()
        for place in ("受注", "0065g00000Wk3TzAAJ", "04l5g00001BpQxRAAV", "jane@example.jp", "1.2E7"):
            taken(provider, outbound.replace(place, escape(text)).encode("utf-8", "replace"))
    else:
        deal = {"hs_object_id": text, "dealstage": text, "email": text, "user_id": text, "hs_lastmodifieddate": 1}
        taken(provider, json.dumps(deal).encode())


def test_no_flood_of_tags_takes_long_or_much_memory() -> None:
    for flood in (b"<a>" * 160_000, b"<a>" * 70_000 + b"</a>" * 70_000, b"<a " + b"x" * 400_000 + b"='1'/>"):
        assert not taken("salesforce", flood).packets


# Who proves nothing.


def test_hubspots_own_example_of_a_signature_holds() -> None:
    """The address, body, secret and signature are those of HubSpot's client library for Python."""
    headers = {
        "host": "www.example.com", "x-hubspot-request-timestamp": "15000000",
        "x-hubspot-signature-v3": "HPW73RUtKmcYoEDADG0s6MmGFWUzWJKAW07r8RDgcQw=",
    }
    request = Request("POST", "/webhook_uri", headers, body=b"{'example_field':'example_value'}")
    at = datetime.fromtimestamp(15000, UTC)
    hubspot.verify(request, ["yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyy"], at)
    for wrong in ("yyyyyyyy-yyyy-yyyy-yyyy-yyyyyyyyyyyx", ""):
        with pytest.raises(BadSignature):
            hubspot.verify(request, [wrong], at)


def test_an_address_is_decoded_as_hubspot_decodes_it_before_it_signs() -> None:
    sent = "site=demo&back=https%3A%2F%2Fa.example%2f%3Fq%3D1%26x%20y%40%21%24%27%28%29%2A%2C%3B"
    decoded = "site=demo&back=https://a.example/?q%3D1%26x%20y@!$'()*,;"
    headers = signed(WON, at=NOW, query=decoded)
    request = Request(
        "POST", "/v1/webhooks/deals/hubspot", headers, {"site": "demo"}, {"provider": "hubspot"}, body=WON,
        query_text=sent,
    )
    hubspot.verify(request, [HUBSPOT_SECRET], NOW)


def unproven(name: str) -> tuple[bytes, dict[str, str]]:
    headers = signed(WON)
    old, ahead = (signed(WON, at=clock.now() + timedelta(seconds=shift)) for shift in (-301, 302))
    signature, stamp = "x-hubspot-signature-v3", "x-hubspot-request-timestamp"
    v2 = hashlib.sha256(f"{HUBSPOT_SECRET}POSThttps://{HOST}/v1/webhooks/deals/hubspot?site=demo".encode() + WON)
    return {
        "one byte more": (WON + b" ", headers),
        "another line end": (WON.replace(b", ", b",\r\n"), headers),
        "another key order": (json.dumps(json.loads(WON), sort_keys=True).encode(), headers),
        "another secret": (WON, signed(WON, secret="somebody-elses")),
        "an empty secret": (WON, signed(WON, secret="")),
        "301 seconds old": (WON, old),
        "302 seconds ahead": (WON, ahead),
        "no signature": (WON, {k: v for k, v in headers.items() if k != signature}),
        "no timestamp": (WON, {k: v for k, v in headers.items() if k != stamp}),
        "empty signature": (WON, {**headers, signature: ""}),
        "signature that is no ASCII": (WON, {**headers, signature: "подпись"}),
        "timestamp in other digits": (WON, {**headers, stamp: "１７６３９６４６０００００"}),
        "timestamp of a thousand digits": (WON, {**headers, stamp: "1" * 1000}),
        "another host": (WON, {**headers, "host": "evil.example"}),
        "another query": (WON, signed(WON, query="site=rival")),
        "only the older signatures": (WON, {
            **{k: v for k, v in headers.items() if k != signature}, "x-hubspot-signature": v2.hexdigest(),
            "x-hubspot-signature-version": "v2",
        }),
        "no body": (b"", headers),
    }[name]


UNPROVEN = (
    "one byte more", "another line end", "another key order", "another secret", "an empty secret", "301 seconds old",
    "302 seconds ahead", "no signature", "no timestamp", "empty signature", "signature that is no ASCII",
    "timestamp in other digits", "timestamp of a thousand digits", "another host", "another query",
    "only the older signatures", "no body",
)


@pytest.mark.parametrize("name", UNPROVEN)
def test_what_hubspot_did_not_sign_is_refused_with_the_same_words_and_leaves_nothing(
    account: Account, name: str
) -> None:
    body, headers = unproven(name)
    reply = post("hubspot", body, headers)
    assert (reply["statusCode"], said(reply)["reason"]) == (401, "the signature of this message does not hold")
    assert account.items(EVENTS) == []


@pytest.mark.parametrize("age_s", [-300, 0, 300])
def test_a_message_of_hubspots_last_five_minutes_is_taken(age_s: int) -> None:
    assert len(accept("hubspot", WON, age=timedelta(seconds=age_s))[0].packets) == 1


@pytest.mark.parametrize("secrets", [(), ("",), (None,), ("wrong", "")])
@pytest.mark.parametrize("provider", ["hubspot", "salesforce"])
def test_a_secret_that_is_missing_or_empty_proves_nothing(provider: str, secrets: Any) -> None:
    for by in (None, "", "None"):
        with pytest.raises(BadSignature):
            accept(provider, WON, secrets=secrets, by=by)


@pytest.mark.parametrize(
    ("headers", "query"),
    [
        ({}, {}),
        ({}, {"token": ""}),
        ({}, {"token": "b2a1c4-token-of-the-owne"}),
        ({}, {"token": f"{SALESFORCE_SECRET} "}),
        ({}, {"token": "токен"}),
        ({"authorization": "Bearer "}, {}),
        ({"authorization": "Bearer токен"}, {}),
        ({"authorization": f"Basic {SALESFORCE_SECRET}"}, {}),
        ({"authorization": "Bearer somebody-elses"}, {"token": SALESFORCE_SECRET}),
        ({"authorization": f"Bearer {HUBSPOT_SECRET}"}, {}),
    ],
)
def test_a_message_without_salesforces_secret_is_refused_and_leaves_nothing(
    account: Account, headers: dict[str, str], query: dict[str, str]
) -> None:
    reply = post("salesforce", OUTBOUND, {"content-type": "text/xml; charset=utf-8", **headers}, **query)
    assert (reply["statusCode"], said(reply)["reason"]) == (401, "the signature of this message does not hold")
    assert account.items(EVENTS) == []


def test_another_organizations_message_is_refused_and_leaves_nothing(account: Account) -> None:
    foreign = OUTBOUND.replace(b"00D5g000007Xy9KEAS", b"00D5g000009ZzzzEAS")
    reply = post("salesforce", foreign, {"content-type": "text/xml"}, token=SALESFORCE_SECRET)
    assert reply["statusCode"] == 401
    assert account.items(EVENTS) == []


def test_the_error_of_a_forged_message_repeats_none_of_it(account: Account, capsys: pytest.CaptureFixture[str]) -> None:
    reply = post("salesforce", OUTBOUND, {"content-type": "text/xml"}, token="a-token-that-is-wrong")
    assert "a-token-that-is-wrong" not in json.dumps(reply) + capsys.readouterr().out
    reply = post("salesforce", OUTBOUND, {"content-type": "text/xml"}, token=SALESFORCE_SECRET)
    assert reply["statusCode"] == 200
    told = json.dumps(reply) + capsys.readouterr().out
    assert SALESFORCE_SECRET not in told and "jane" not in told


# Through the gateway.


@pytest.mark.parametrize("flag", [True, False])
def test_raw_bytes_are_what_is_signed_however_the_gateway_carries_them(account: Account, flag: bool) -> None:
    deal = {**HUBSPOT[0]["body"], "dealname": "ポンプ 🚰 é"}
    body = json.dumps(deal, ensure_ascii=False, indent=1).replace("\n", "\r\n").encode() + b"\r\n"
    assert post("hubspot", body, signed(body), flag=flag)["statusCode"] == 200
    assert len(account.records()) == 1


@pytest.mark.parametrize("flag", [True, False])
@pytest.mark.parametrize("by_address", [True, False])
def test_an_outbound_message_is_acknowledged_as_salesforce_asks(account: Account, flag: bool, by_address: bool) -> None:
    body = OUTBOUND.replace(b"\n", b"\r\n")
    secret = {"token": SALESFORCE_SECRET} if by_address else {}
    headers = {} if by_address else {"authorization": f"Bearer {SALESFORCE_SECRET}"}
    reply = post("salesforce", body, {"content-type": "text/xml; charset=utf-8", **headers}, flag=flag, **secret)
    assert (reply["statusCode"], reply["headers"]["content-type"]) == (200, "text/xml; charset=utf-8")
    assert '<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>true</Ack>' in reply["body"]
    assert {packet.subject for packet in account.packets()} == {
        f"D#demo#0065g00000Wk3{name}AAJ" for name in ("Tz", "U0", "U1")
    }
    [contact] = [packet.contact for packet in account.packets() if packet.contact]
    assert list(contact.values()) == [{"email": "jane@example.jp"}]


@pytest.mark.parametrize("provider", ["hubspot", "salesforce"])
def test_a_message_sent_again_changes_no_profile(account: Account, provider: str) -> None:
    def send() -> None:
        headers = signed(WON) if provider == "hubspot" else {"authorization": f"Bearer {SALESFORCE_SECRET}"}
        body = WON if provider == "hubspot" else OUTBOUND
        assert post(provider, body, headers)["statusCode"] == 200

    def profile() -> str:
        events = [event for packet in account.packets() for event in packet.events]
        (jane,) = {node for event in events for node in event.identifiers}
        folded = fold(events, [jane], {"demo": Site.model_validate(SITES[0][0])})
        assert folded is not None
        return folded.as_text()

    send()
    before = profile()
    for _ in range(3):
        send()
    assert profile() == before


def test_old_and_new_client_secrets_are_both_good_so_that_one_can_be_exchanged(account: Account) -> None:
    for secret in DEMO_SECRETS["deals_hubspot"]:
        assert post("hubspot", WON, signed(WON, secret=secret))["statusCode"] == 200


def test_many_opportunities_in_one_message_are_all_stored(account: Account) -> None:
    start, end = OUTBOUND.index(b"<Notification>"), OUTBOUND.index(b"</Notification>") + len(b"</Notification>")
    one = OUTBOUND[start:end]
    many = b"".join(
        one.replace(b"04l5g00001BpQxRAAV", b"04l%015d" % number).replace(b"0065g00000Wk3TzAAJ", b"006%015d" % number)
        for number in range(60)
    )
    body = OUTBOUND[:start] + many + OUTBOUND[OUTBOUND.rindex(b"</Notification>") + len(b"</Notification>"):]
    for _ in range(2):
        assert post("salesforce", body, {"content-type": "text/xml"}, token=SALESFORCE_SECRET)["statusCode"] == 200
    assert len({packet.subject for packet in account.packets()}) == 60
    assert len({record["id"] for record in account.records()}) == 60


def test_a_message_over_the_cap_is_refused_before_anything_is_looked_up(account: Account) -> None:
    for provider in ("hubspot", "salesforce"):
        assert post(provider, b" " * 600_000, {})["statusCode"] == 413
