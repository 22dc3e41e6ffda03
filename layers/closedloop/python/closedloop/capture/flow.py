"""The way in: who sent it, what it says, stored in one write, answered.

Order of work: caps, key or signature, origin, decode, parse, one write, answer. 2xx only when the ledger has it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from closedloop.capture import wire
from closedloop.capture.request import Answer, Request, as_json
from closedloop.capture.wire import Bad, Sender, Sent
from closedloop.errors import BadShape, ForeignOrigin, NotFound, UnknownKey
from closedloop.events.event import Door
from closedloop.events.identifiers import SAFE, Hasher
from closedloop.events.packet import Packet, pack
from closedloop.events.times import iso
from closedloop.sites.definition import Site, key_hash

COOKIE = "_cl_vid"
COOKIE_AGE_S = 34_128_000
MOST_EVENTS = 1000
# So many bad events of one request are kept one by one; more are kept together.
MOST_BAD = 25
GATHERED_BYTES = 250_000
ORIGIN_CHARS = 300
PIXEL = "R0lGODlhAQABAIAAAAAAAP///yH5BAEAAAAALAAAAAABAAEAAAIBRAA7"


class Keys(Protocol):
    """Looks up whose write key something is, from a short-lived cache."""

    def site_of_key(self, hashed: str) -> tuple[Site, bool] | None: ...

    def site(self, name: str) -> Site | None: ...

    def site_of_origin(self, origin: str) -> str | None: ...


class Facts(Protocol):
    """Takes facts for good.

    Errors: NotDurable.
    """

    def append(self, packets: Sequence[Packet]) -> None: ...


@dataclass(frozen=True, slots=True)
class Doors:
    """What a capture function is handed: keys, ledger, failed events, pepper, clock and ids.

    Shapes: `fail` keeps the bytes of bad events: the site, the door, each bad event, the time of receipt.
    """

    keys: Keys
    facts: Facts
    fail: Callable[[str, str, Sequence[Bad], datetime], None]
    pepper: bytes
    now: Callable[[], datetime]
    new_id: Callable[[], str]


def accept_beacon(request: Request, doors: Doors) -> Answer:
    """Take events from pages, apps and servers in Segment's words."""
    if request.method == "OPTIONS":
        return Answer(204)
    if request.path.endswith("/pixel.gif"):
        return _pixel(request, doors)
    if request.path.endswith("/settings"):
        return _settings(request, doors)
    kind = request.path.rpartition("/")[2]
    kind = wire.TYPES.get(kind, kind)
    sent = wire.read(kind, request.body)
    site, secret = _site(request, doors, wire.basic_key(request.headers.get("authorization", "")) or sent.write_key)
    _check_origin(request, site)
    return _store(request, doors, site, secret, sent, whole=kind == "batch")


def _store(request: Request, doors: Doors, site: Site, secret: bool, sent: Sent, *, whole: bool) -> Answer:
    received = doors.now()
    browser = "origin" in request.headers or request.path.endswith(".gif")
    own = request.cookies.get(COOKIE, "")
    sender = Sender(
        site=site, hasher=Hasher(doors.pepper, site.list_name), may_backfill=secret,
        visitor=own if SAFE.match(own) and not secret else "", new_visitor=doors.new_id() if browser else "",
        objects=request.headers.get("sec-gpc") == "1",
    )
    if len(sent.events) > MOST_EVENTS:
        raise BadShape(f"batch: at most {MOST_EVENTS} events a request")
    good, bad = wire.checked(sent.events, sender, Door.BEACON.value, received, sent.sent_at, careful=sent.careful)
    bad = sorted([*sent.bad, *bad], key=lambda one: one.index)
    if not whole and bad:
        raise BadShape(bad[0].reason)
    known = [record for _, record, _ in good if "visitor" in record or "ids" in record]
    if good:
        doors.facts.append(pack(
            good, site=site.site, door=Door.BEACON, received_at=received,
            headers={**kept_headers(request, with_network=len(known) == len(good)), **_sent_at(sent)},
            small=not sent.careful,
        ))
    if bad:
        known_of_sender = _sender_words(request, sent, secret=secret)
        kept = [replace(one, sent=known_of_sender) for one in _gathered(bad)]
        doors.fail(site.site, Door.BEACON.value, kept, received)
    content: dict[str, Any] = {"success": True}
    if bad:
        content["bad"] = [{"index": one.index, "reason": one.reason} for one in bad]
    cookies = _cookies(site, known) if browser and not secret else ()
    facts: dict[str, str | int] = {
        "site": site.site, "door": Door.BEACON.value, "stored": len(good), "failed": len(bad),
    }
    if nobody := sum(wire.names_nobody(event) for _, event in sent.events):
        facts["refused_ids"] = nobody
    return Answer(200, as_json(200, content).body, cookies=cookies, facts=facts)


def _sent_at(sent: Sent) -> dict[str, str]:
    """When a request was sent by its sender's clock; a clock that tells no real time tells nothing."""
    try:
        moment = wire.aware(sent.sent_at)
    except BadShape:
        return {}
    return {"sent_at": iso(moment)} if moment else {}


def _sender_words(request: Request, sent: Sent, *, secret: bool) -> dict[str, str]:
    """What is known of a sender beside its events: agent and network, by its clock when, by which kind of key."""
    stated = {**kept_headers(request), **_sent_at(sent), "secret": "yes" if secret else ""}
    return {name: value for name, value in stated.items() if value}


def _cookies(site: Site, records: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """The browser's id; taken back when the person takes consent back; nothing for those who stay unknown."""
    visitor = ""
    for record in records:
        if record["context"].get("consent", {}).get("analytics") == "denied":
            return (cookie(site, ""),)
        visitor = visitor or record.get("visitor", "")
    return (cookie(site, visitor),) if visitor else ()


def _gathered(bad: list[Bad]) -> list[Bad]:
    """Bad events as they are kept: each by itself, or, when a request is full of them, many in one JSON list."""
    if len(bad) <= MOST_BAD:
        return bad
    gathered: list[Bad] = []
    group: list[Bad] = []
    size = 0
    for one in bad:
        if group and size + len(one.payload) > GATHERED_BYTES:
            gathered.append(_together(group))
            group, size = [], 0
        group.append(one)
        size += len(one.payload) + 1
    return [*gathered, _together(group)]


def _together(group: list[Bad]) -> Bad:
    payload = b"[" + b",".join(one.payload for one in group) + b"]"
    return Bad(group[0].index, f"{len(group)} events of a batch, the first: {group[0].reason}", payload)


def _site(request: Request, doors: Doors, key: str) -> tuple[Site, bool]:
    if not key:
        raise UnknownKey("no write key: send it as the Basic user name or as writeKey in the body")
    found = doors.keys.site_of_key(key_hash(key))
    if found is None:
        raise UnknownKey("this write key belongs to no site")
    return found


def _check_origin(request: Request, site: Site) -> None:
    """A browser tells the page's origin itself; a key on a foreign page is no use."""
    origin = request.headers.get("origin")
    if origin is not None and origin not in site.origins:
        raise ForeignOrigin(f"pages of {origin[:100]} are not of this site; add it to origins in the site's file")


def _check_page(page: str, site: Site) -> None:
    """The pixel carries no Origin; where the browser tells the page, it must be one of the site's."""
    if page and not any(page == origin or page.startswith(f"{origin}/") for origin in site.origins):
        raise ForeignOrigin("this page is not of this site; add its origin to origins in the site's file")


def _pixel(request: Request, doors: Doors) -> Answer:
    """A page view of a page without script, told by the page's own address in the Referer."""
    site, _ = _site(request, doors, request.query.get("writeKey", ""))
    page = request.headers.get("referer", "")
    _check_page(page, site)
    asked = request.query
    event = {
        "type": "page", "name": asked.get("name", ""),
        "context": {"page": {"url": page, "referrer": asked.get("referrer", "")}, "topic": asked.get("topic")},
    }
    answer = _store(
        request, doors, site, False, Sent(((0, wire.EVENT.validate_python(event)),), (), "", None), whole=False
    )
    return Answer(200, PIXEL, "image/gif", {"cache-control": "no-store, max-age=0"}, answer.cookies, answer.facts)


def _settings(request: Request, doors: Doors) -> Answer:
    """What Segment's browser SDK asks before it starts."""
    key = request.path_values.get("key", "")
    if doors.keys.site_of_key(key_hash(key)) is None:
        raise NotFound("this write key belongs to no site")
    return as_json(200, {"integrations": {"Segment.io": {"apiKey": key}}}, {"cache-control": "public, max-age=300"})


def kept_headers(request: Request, *, with_network: bool = True) -> dict[str, str]:
    """The headers that a packet keeps: the agent, from which the grade is read, and the network of whom we may know."""
    kept = {"agent": request.headers.get("user-agent", "")[:300]}
    if request.network and with_network:
        kept["network"] = request.network
    return kept


def cookie(site: Site, visitor: str) -> str:
    """The cookie that names a browser; without a name it takes the cookie away."""
    domain = f"; Domain={site.cookie_domain}" if site.cookie_domain else ""
    age = COOKIE_AGE_S if visitor else 0
    return f"{COOKIE}={visitor}; Max-Age={age}; Path=/{domain}; Secure; SameSite=Lax; HttpOnly"


def cors(request: Request, answer: Answer, site_of_origin: Callable[[str], bool]) -> Answer:
    """The answer with what a browser on one of our sites' pages needs to be let read it."""
    origin = request.headers.get("origin", "")
    if not origin.startswith("http") or len(origin) > ORIGIN_CHARS or not site_of_origin(origin):
        return answer
    headers: dict[str, str] = {
        **answer.headers, "access-control-allow-origin": origin, "access-control-allow-credentials": "true",
        "access-control-expose-headers": "Retry-After", "vary": "Origin",
    }
    if request.method == "OPTIONS":
        headers |= {
            "access-control-allow-methods": "POST, GET, OPTIONS", "access-control-max-age": "86400",
            "access-control-allow-headers": "Authorization, Content-Type, X-Retry-Count",
        }
    return replace(answer, headers=headers)
