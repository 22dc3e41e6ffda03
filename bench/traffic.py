"""What is sent: the events of `web/tracker.js` on the pages of the example site, by seed, in batches of any size."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec

from closedloop.events.event import Door, Event
from closedloop.events.event import EventType as Type
from closedloop.events.identifiers import Hasher
from closedloop.loops.definition import Loop
from closedloop.sites.definition import Definition, Site
from closedloop.sites.document import Document
from closedloop.world.catalogue import ALL_PAGES, PHONES, PUMP_SEARCHES, WINDOWS

ROOT = Path(__file__).resolve().parent.parent
NOW = datetime(2026, 11, 24, 6, tzinfo=UTC)
PEPPER = b"the pepper of the benchmarks"
ORIGIN = "https://www.northwind.example"
ADDRESS = "198.51.100.23"

Defined = TypeVar("Defined", bound=Definition)
Json = dict[str, Any]


def _example(path: str, model: type[Defined]) -> Defined:
    return Document((ROOT / "examples" / path).read_text(encoding="utf-8"), path).read_as(model)


@cache
def site() -> Site:
    return _example("sites/demo.yaml", Site)


@cache
def loop() -> Loop:
    return _example("loops/autumn-pumps.yaml", Loop)


def identity(rng: Random) -> str:
    """A random UUID of version 4, as browsers make it."""
    digits = f"{rng.getrandbits(128):032x}"
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def visit(rng: Random, visitor: str, count: int, begin: datetime) -> list[Json]:
    """The events of one browser in order: pages, and how long each was read."""
    locale = rng.choice(("ja-JP", "ja-JP", "en-US"))
    referrer = rng.choice(PUMP_SEARCHES).referrer
    at = begin
    events: list[Json] = []
    context: Json = {}
    while len(events) < count:
        common = {"messageId": identity(rng), "timestamp": _browser_time(at), "anonymousId": visitor}
        if len(events) % 2 == 0:
            page = rng.choice(ALL_PAGES)
            url = ORIGIN + page.path
            title = page.title(locale)
            context = {
                "page": {"path": page.path, "referrer": referrer, "search": "", "title": title, "url": url},
                "consent": {"analytics": "granted", "marketing": "unknown"}, "locale": locale,
                "timezone": "Asia/Tokyo", "library": {"name": "closedloop.js", "version": "0.1.0"},
            }
            events.append({"type": "page", **common, "context": context, "properties": {}})
            referrer = url
            at += timedelta(seconds=rng.randint(3, 120))
        else:
            properties = {"engaged_seconds": rng.randint(1, 120), "scroll_percent": rng.randint(1, 100)}
            events.append({
                "type": "track", **common, "context": context, "event": "Page Engaged", "properties": properties,
            })
    return events


def _browser_time(at: datetime) -> str:
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def body(events: Sequence[Json], write_key: str) -> str:
    """A batch as the tracker sends it."""
    text = {"batch": events, "writeKey": write_key, "sentAt": events[-1]["timestamp"]}
    return json.dumps(text, ensure_ascii=False, separators=(",", ":"))


def gateway_event(text: str, visitor: str, content_type: str, agent: str) -> Json:
    """A beacon as an HTTP API hands it to a function.

    Source: Amazon API Gateway, "Working with AWS Lambda proxy integrations for HTTP APIs", format 2.0.
    """
    return {
        "version": "2.0", "routeKey": "POST /v1/batch", "rawPath": "/v1/batch", "rawQueryString": "",
        "cookies": [f"_cl_vid={visitor}"],
        "headers": {
            "accept": "*/*", "accept-encoding": "gzip, deflate, br", "accept-language": "ja,en;q=0.8",
            "content-length": str(len(text.encode())), "content-type": content_type, "origin": ORIGIN,
            "referer": ORIGIN + "/", "user-agent": agent, "x-forwarded-for": ADDRESS, "x-forwarded-proto": "https",
        },
        "requestContext": {
            "accountId": "123456789012", "apiId": "bench", "domainName": "bench.example", "domainPrefix": "bench",
            "http": {
                "method": "POST", "path": "/v1/batch", "protocol": "HTTP/1.1", "sourceIp": ADDRESS, "userAgent": agent,
            },
            "requestId": "JKJaXmPLvHcESHA=", "routeKey": "POST /v1/batch", "stage": "$default",
            "time": "24/Nov/2026:06:00:00 +0000", "timeEpoch": int(NOW.timestamp() * 1000),
        },
        "body": text, "isBase64Encoded": False,
    }


def webhook_event(key: ec.EllipticCurvePrivateKey, now: datetime) -> Json:
    """Ten events of SendGrid, signed as it does, as an HTTP API hands them to a function.

    Source: Twilio SendGrid, "Getting started with the Event Webhook security features".
    """
    events = [
        {
            "email": f"person{number}@example.jp", "timestamp": int(now.timestamp()), "event": "delivered",
            "sg_event_id": f"event-{number}", "sg_message_id": f"message-{number}", "loop": "autumn-pumps",
            "campaign": "case-mail",
        }
        for number in range(10)
    ]
    text, moment = json.dumps(events), str(int(now.timestamp()))
    signature = base64.b64encode(key.sign((moment + text).encode(), ec.ECDSA(hashes.SHA256()))).decode()
    event = gateway_event(text, "", "application/json", "SendGrid Event API")
    event["headers"] |= {
        "x-twilio-email-event-webhook-signature": signature, "x-twilio-email-event-webhook-timestamp": moment,
    }
    del event["headers"]["origin"]
    route = "/v1/webhooks/email/sendgrid"
    event["requestContext"]["http"]["path"] = route
    return event | {
        "routeKey": "POST /v1/webhooks/email/{provider}", "rawPath": route, "rawQueryString": f"site={site().site}",
        "queryStringParameters": {"site": site().site}, "pathParameters": {"provider": "sendgrid"}, "cookies": [],
    }


def requests(count: int, size: int, seed: int, begin: datetime = NOW) -> Iterator[tuple[str, str, list[Json], str]]:
    """Requests of as many events each: the visitor, the body, its events, the browser."""
    rng = Random(seed)
    key = site().write_key
    for _ in range(count):
        visitor = identity(rng)
        events = visit(rng, visitor, size, begin)
        yield visitor, body(events, key), events, rng.choice(WINDOWS + PHONES)


def sent_facts(events: Sequence[Mapping[str, Any]]) -> list[list[str]]:
    """What must lie in the table afterwards, whichever side stored it: id, type and visitor of each event."""
    return sorted([event["messageId"], event["type"], event["anonymousId"]] for event in events)


def known_person(number: int, count: int, seed: int = 7) -> tuple[list[Event], tuple[str, ...]]:
    """The events of somebody who gave an address on the first visit, as the projector reads them, and their nodes.

    Shapes: visits of up to ten events over the weeks before; some ask for prices, some have a deal.
    """
    rng = Random(seed * 1_000_003 + number)
    declared = site()
    visitor, node = identity(rng), Hasher(PEPPER, declared.list_name).address(f"person{number}@company.example") or ""
    agent = rng.choice(WINDOWS)
    at = NOW - timedelta(days=rng.uniform(1, 60))
    gap = (NOW - at) / (count // 10 + 2)
    events: list[Event] = []

    def happened(kind: Type, name: str, moment: datetime, door: Door = Door.BEACON, **more: Any) -> None:
        packet, received = f"{rng.getrandbits(64):016x}", moment + timedelta(seconds=1)
        events.append(Event(
            id=f"{declared.site}/{door.value}/{identity(rng)}", site=declared.site, type=kind, name=name,
            identifiers=more.pop("identifiers", ()), deal=more.pop("deal", None), occurred_at=moment,
            received_at=received, door=door, packet=packet, visitor=None if door is Door.DEAL else visitor,
            properties=more.pop("properties", {}), traits=more.pop("traits", {}),
            context={"agent": agent, **more.pop("context", {})},
        ))

    traits = {"industry": rng.choice(("water", "food", "retail", "student")), "employees": rng.choice((20, 150, 900))}
    happened(Type.TRACK, "Form Submitted", at, Door.FORM, identifiers=(node,), traits=traits,
             properties={"form": "guide", "topic": "pumps"})
    while len(events) < count:
        at += gap
        for sent in visit(rng, visitor, min(10, count - len(events)), at):
            happened(Type(sent["type"]), sent.get("event", ""), datetime.fromisoformat(sent["timestamp"]),
                     context=sent["context"], properties=sent["properties"])
        if len(events) < count and rng.random() < 0.2:
            happened(Type.TRACK, "Price List Viewed", at + timedelta(minutes=5))
        if len(events) < count and rng.random() < 0.05:
            happened(Type.TRACK, rng.choice(("Deal Opened", "Deal Won")), at, Door.DEAL, identifiers=(node,),
                     deal=f"{number}", properties={"amount_minor": 3_500_000, "currency": "JPY"})
    return events, (node,)
