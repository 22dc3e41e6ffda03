"""Every kind of bad input at every capture door: an answer with a reason, nothing raised, lost or told.

The inputs are data: `tests/vectors/malformed.json`.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import hmac
import json
import re
import tracemalloc
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from closedloop.capture.deals import accept_deal
from closedloop.capture.flow import Doors, accept_beacon, cors
from closedloop.capture.forms import accept_form
from closedloop.capture.wire import Bad
from closedloop.events.packet import Packet
from closedloop.lake.rows import event_row
from closedloop.profiles.fold import fold
from closedloop.runtime import http
from closedloop.sites.definition import Site
from closedloop.store.ledger import packet_item, packet_of
from functions.archive_events import handler as archive_events
from functions.capture_beacon import handler as capture_beacon
from functions.capture_form import handler as capture_form
from functions.project_profiles import handler as project_profiles
from tests.accounts import DEALS_SECRET, SITES, STATE, Account
from tests.functions.gateway import ADDRESS_OF_SENDER, KEY, ORIGIN, Context, a_request
from tests.functions.streams import a_batch

CORPUS: Mapping[str, Any] = json.loads(Path("tests/vectors/malformed.json").read_text())
CANARIES = ("canary.jane", "secret.example", "0000-4711", ADDRESS_OF_SENDER)
NOW = datetime(2026, 11, 24, 6, 10, tzinfo=UTC)
DOORS = ("beacon", "form", "deal")
SUBJECT = re.compile(
    r"V#demo#~\d{4}-\d\d-\d\d-[0-9a-f]\Z|V#demo#[A-Za-z0-9_.-]{1,64}\Z|I#(email|user):[0-9a-f]{32}\Z|D#demo#[A-Za-z0-9_.-]{1,64}\Z"
)
EVENT_ID = re.compile(r"demo/(beacon|form|crm|order)/[A-Za-z0-9_.-]{1,64}\Z")
SITE = Site.model_validate(SITES[0][0])


# The language of the corpus.


def made(words: Any) -> bytes:
    """The bytes that an entry describes."""
    if isinstance(words, str):
        return words.encode()
    if "gzip" in words:
        raw = gzip.compress(made(words["gzip"]), mtime=0)
        raw = raw[: -words["cut"]] if "cut" in words else raw
        if "flip" in words:
            raw = raw[: words["flip"]] + bytes([raw[words["flip"]] ^ 255]) + raw[words["flip"] + 1 :]
        raw = raw + raw if words.get("again") else raw
    elif "bomb" in words:
        raw = bomb(words["bomb"])
    elif "hex" in words:
        raw = bytes.fromhex(words["hex"])
    elif "repeat" in words:
        before, unit, times, after = words["repeat"]
        raw = f"{before}{unit * times}{after}".encode()
    elif "names" in words:
        raw = json.dumps({f"n{number}": number for number in range(words["names"])}).encode()
    else:
        raw = words["text"].encode()
    return raw + words.get("then", "").encode()


def closed(words: Mapping[str, Any], inside: Any) -> bytes:
    times = inside["repeat"][2] if isinstance(inside, dict) and "repeat" in inside else 0
    return made(inside) + (words.get("close", "") * times).encode()


@cache
def bomb(mebibytes: int) -> bytes:
    """Gzip of so many mebibytes of zeros, out of one packed mebibyte repeated."""
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(2**20)) + packer.flush(zlib.Z_FULL_FLUSH)
    return bytes.fromhex("1f8b0800000000000203") + block * mebibytes + packer.flush()


# The doors, with nothing behind them but lists.


@dataclass
class Behind:
    """What a door handed on."""

    packets: list[Packet] = field(default_factory=list)
    bad: list[Bad] = field(default_factory=list)

    def append(self, packets: Sequence[Packet]) -> None:
        # As the ledger keeps it, and as everybody reads it.
        self.packets += [packet_of(packet_item(packet)) for packet in packets]

    def fail(self, site: str, door: str, bad: Sequence[Bad], received: datetime) -> None:
        self.bad += bad

    def site_of_key(self, hashed: str) -> tuple[Site, bool] | None:
        return SITE, False

    def site(self, name: str) -> Site | None:
        return SITE

    def site_of_origin(self, origin: str) -> str | None:
        return "demo"


def ask(door: str, body: bytes, **more: Any) -> tuple[dict[str, Any], Behind]:
    behind = Behind()
    doors = Doors(behind, behind, behind.fail, b"pepper", lambda: NOW, lambda: "a-new-browser")
    flows = {
        "beacon": lambda request: accept_beacon(request, doors),
        "form": lambda request: accept_form(request, doors),
        "deal": lambda request: accept_deal(request, doors, lambda site: {"deals_standard": [DEALS_SECRET]}),
    }
    event = event_of(door, body, NOW, **more)
    reply = http.answered(event, Context(), flows[door], lambda request, answer: cors(request, answer, lambda _: True))
    return reply, behind


def event_of(door: str, body: bytes, at: datetime, *, flag: bool | None = None, **headers: str) -> dict[str, Any]:
    paths = {"beacon": "/v1/batch", "form": "/v1/forms/guide", "deal": "/v1/webhooks/deals/standard"}
    sent = {"origin": ORIGIN, "content-type": "application/json", **headers}
    if door == "deal":
        stamp = str(int(at.timestamp()))
        secret = base64.b64decode(DEALS_SECRET.removeprefix("whsec_"))
        mac = base64.b64encode(hmac.digest(secret, f"m-1.{stamp}.".encode() + body, hashlib.sha256)).decode()
        sent = {**sent, "webhook-id": "m-1", "webhook-timestamp": stamp, "webhook-signature": f"v1,{mac}"}
    event = a_request(
        "POST",
        paths[door],
        body,
        headers=sent,
        query={"site": "demo", "writeKey": KEY},
        parts={"form": "guide", "provider": "standard"},
        base64_flag=True,
    )
    if flag is not None:
        event |= {"isBase64Encoded": flag, "body": body.decode()}
    return event


def request_of(door: str, value: bytes) -> bytes:
    """A good request with a value of JSON in one of its places."""
    canary = b'"email":"canary.jane@secret.example"'
    return {
        "beacon": b'{"batch":[{"type":"track","event":"Seen","messageId":"m-1","anonymousId":"jane","traits":{'
        + canary
        + b'},"properties":{"value":'
        + value
        + b'}},{"type":"page","messageId":"m-2","anonymousId":"jane"}],"writeKey":"k"}',
        "form": b'{"fields":{' + canary + b',"company":"x","industry":' + value + b'},"submission_id":"s-1"}',
        "deal": b'{"type":"deal.won","data":{"id":"d-1",' + canary + b',"stage":' + value + b"}}",
    }[door]


def text_request_of(door: str, text: str) -> bytes:
    """A request with a text in every place that takes text."""
    page = dict.fromkeys(("path", "referrer", "search", "title", "url"), text)
    context = {
        "page": page,
        "campaign": dict.fromkeys(("source", "medium", "name", "term", text), text),
        "topic": text,
        "locale": text,
        "timezone": text,
        "consent": {"marketing": text, text: "granted"},
        "userAgent": text,
        "library": {"name": text},
        "traits": {text: text},
    }
    return json.dumps(
        {
            "beacon": {
                "batch": [
                    {
                        "type": kind,
                        "event": text or "x",
                        "name": text,
                        "properties": {text: text, "employees": text},
                        "traits": {text: text, "company": {text: text}},
                        "context": context,
                        **dict.fromkeys(("messageId", "anonymousId", "userId", "previousId", "groupId"), text),
                    }
                    for kind in ("track", "page", "identify", "group", "alias")
                ],
                "writeKey": KEY,
            },
            "form": {
                "fields": {"email": "jane@example.jp", "company": text, "industry": text, text: text},
                "page": page,
                "submission_id": text,
                "anonymousId": text,
                "consent": {"analytics": text},
            },
            "deal": {"type": "deal.won", "data": {"id": text, "email": text, "user_id": text, "stage": text}},
        }[door]
    ).encode()


def check(reply: Mapping[str, Any], behind: Behind, log: str) -> None:
    """What must hold whatever was sent."""
    assert reply["statusCode"] in (200, 400, 401, 403, 404, 413)
    content = json.loads(reply["body"])
    if reply["statusCode"] != 200:
        assert content["reason"]
        assert not behind.packets
    assert len(content.get("bad", ())) == len(behind.bad)
    assert all(one["reason"] for one in content.get("bad", ()))
    assert "Traceback" not in log
    told = log + "".join(one.reason for one in behind.bad) + json.dumps([reply["headers"], reply.get("cookies")])
    for packet in behind.packets:
        assert SUBJECT.match(packet.subject), packet.subject
        told += packet.subject + packet.id + json.dumps([packet.headers.get("network")])
        for record in packet.records:
            told += json.dumps([record["id"], record.get("visitor"), record.get("ids"), record.get("previous")])
            assert EVENT_ID.match(record["id"]), record["id"]
        assert "\\u0000" not in json.dumps([packet.records, packet.contact]).replace("\\\\u0000", "")
        for event in packet.events:
            event_row(event, SITE, 1)
            fold([event], ["email:0"], {"demo": SITE})
    for canary in CANARIES:
        assert canary not in told
    lines = [json.loads(line) for line in log.splitlines()]
    assert all(isinstance(line, dict) for line in lines), "one JSON object a line, whatever was sent"


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("words", CORPUS["bodies"], ids=lambda words: words["name"])
def test_a_body_that_cannot_be_read_is_refused_with_a_reason(
    words: Mapping[str, Any], door: str, capsys: pytest.CaptureFixture[str]
) -> None:
    body = made(words) + (words.get("close", "") * (words["repeat"][2] if "repeat" in words else 0)).encode()
    headers = {"content-encoding": words["encoding"]} if "encoding" in words else {}
    reply, behind = ask(door, body, flag=words.get("flag"), **headers)
    check(reply, behind, capsys.readouterr().out)
    assert reply["statusCode"] in (400, 401, 413)
    assert not behind.bad


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("words", CORPUS["values"], ids=lambda words: words["name"])
def test_a_value_that_cannot_be_kept_is_named_and_spoils_nothing_else(
    words: Mapping[str, Any], door: str, capsys: pytest.CaptureFixture[str]
) -> None:
    reply, behind = ask(door, request_of(door, closed(words, words["json"])))
    check(reply, behind, capsys.readouterr().out)
    if door == "beacon":
        if words.get("refused"):
            assert reply["statusCode"] in (400, 413) or [one.index for one in behind.bad] == [0]
        if reply["statusCode"] == 200:
            assert "demo/beacon/m-2" in [record["id"] for packet in behind.packets for record in packet.records]


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("words", [*CORPUS["texts"], *CORPUS["long_texts"]], ids=lambda words: ascii(made(words)[:30]))
def test_a_text_is_only_ever_a_text(words: Any, door: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = made(words).decode()
    headers = {"user-agent": text, "referer": text, "cookie": f"_cl_vid={text}"} if len(text) < 8000 else {}
    reply, behind = ask(door, text_request_of(door, text), **headers)
    check(reply, behind, capsys.readouterr().out)


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.parametrize("words", CORPUS["times"], ids=lambda words: words["json"])
def test_a_time_that_no_clock_can_mean_is_named(
    words: Mapping[str, Any], door: str, capsys: pytest.CaptureFixture[str]
) -> None:
    stamp = words["json"].encode()
    body = {
        "beacon": b'{"batch":[{"type":"track","event":"Seen","anonymousId":"jane","timestamp":'
        + stamp
        + b'}],"writeKey":"k"}',
        "form": b'{"fields":{"email":"jane@example.jp","company":"x"},"timestamp":' + stamp + b"}",
        "deal": b'{"type":"deal.won","data":{"id":"d-1"},"timestamp":' + stamp + b"}",
    }[door]
    reply, behind = ask(door, body)
    check(reply, behind, capsys.readouterr().out)
    empty = door == "form" and words["json"] in ('""', "[]", "{}")
    assert bool(behind.packets) is (not words["refused"] or empty)


def test_a_bomb_is_refused_in_little_memory() -> None:
    body = bomb(400)
    assert len(body) < 500 * 1024
    tracemalloc.start()
    try:
        for door in DOORS:
            reply, _ = ask(door, body)
            # A deal's signature is over text, so packed bytes prove nothing.
            assert reply["statusCode"] == (401 if door == "deal" else 413)
        assert tracemalloc.get_traced_memory()[1] < 16 * 2**20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize(
    "headers",
    [
        {"user-agent": ""},
        {"cookie": "x" * 8000},
        {"cookie": ";;;=;_cl_vid"},
        {"x-forwarded-for": "canary.jane@secret.example"},
        {"x-forwarded-for": "1.2.3.4, 203.0.113.77"},
        {"Origin": ORIGIN, "USER-AGENT": "x"},
        {"authorization": "Basic"},
        {"authorization": "Basic !!!"},
        {"authorization": "Basic /w=="},
        {"authorization": "é" * 100},
        {"content-type": "\x00"},
        {"content-encoding": "gzip, br"},
        {"sec-gpc": "yes"},
        {"content-length": "-1"},
        {"webhook-id": "é"},
    ],
)
@pytest.mark.parametrize("door", DOORS)
def test_headers_of_any_kind_are_answered(
    headers: dict[str, str], door: str, capsys: pytest.CaptureFixture[str]
) -> None:
    reply, behind = ask(door, request_of(door, b'"water"'), **headers)
    check(reply, behind, capsys.readouterr().out)


def test_headers_and_parameters_without_values_are_as_good_as_none() -> None:
    event = event_of("beacon", request_of("beacon", b"1"), NOW)
    event["headers"] |= {"user-agent": None, "origin": None, "cookie": "\ud800"}
    event["queryStringParameters"] = None
    behind = Behind()
    doors = Doors(behind, behind, behind.fail, b"pepper", lambda: NOW, lambda: "new")
    reply = http.answered(
        event, Context(), lambda request: accept_beacon(request, doors), lambda request, answer: answer
    )
    assert reply["statusCode"] == 200


def test_whatever_was_taken_from_bad_input_becomes_profiles_and_rows(
    account: Account, machine: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    """The whole way: through the real doors to the tables, and through the stream to State and the lake."""
    handlers = {"beacon": capture_beacon.handle, "form": capture_form.handle}
    for door, handle in handlers.items():
        for words in CORPUS["values"]:
            handle(event_of(door, request_of(door, closed(words, words["json"])), NOW), Context())
        for text in CORPUS["texts"]:
            handle(event_of(door, text_request_of(door, text), NOW), Context())
    log = capsys.readouterr().out
    stored = [item for item in account.items() if item["kind"]["S"] == "packet"]
    refused = len(account.failed())
    assert len(stored) > 100
    for handle_batch in (archive_events.handle, project_profiles.handle):
        assert handle_batch(a_batch(stored[:60]), Context()) == {"batchItemFailures": []}
    assert len(account.failed()) == refused, "nothing that was taken proved unusable later"
    assert any(item["sk"]["S"] == "PROFILE" for item in account.items(STATE))
    log += capsys.readouterr().out
    keys = json.dumps([[item["pk"], item["sk"], item.get("reason")] for item in account.items()])
    for canary in CANARIES:
        assert canary not in log
        assert canary not in keys
