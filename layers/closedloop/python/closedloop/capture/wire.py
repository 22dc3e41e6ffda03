"""Segment's wire language: bodies in, records of events out.

Source: Segment, "HTTP Tracking API" and "Spec: Common Fields"; the clients' behaviour is in the user experience
reference, section 1.3.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import from_json

from closedloop.errors import BadShape, TooLarge
from closedloop.events.identifiers import Hasher, legal, safe
from closedloop.events.packet import Entry
from closedloop.events.times import effective, iso
from closedloop.sites.definition import ConsentMode, Site

EVENT_BYTES = 32 * 1024
BODY_BYTES = 500 * 1024
GZIP = b"\x1f\x8b"
DEPTH = 64

TYPES = {"t": "track", "p": "page", "s": "screen", "i": "identify", "g": "group", "a": "alias", "b": "batch"}

# Words that say who somebody is. They leave the record for the contact, the one place that may hold them.
PERSONAL = frozenset((
    "email", "phone", "name", "firstname", "first_name", "lastname", "last_name", "address", "street", "birthday",
    "username", "avatar", "kana", "last_name_kana", "first_name_kana", "ip", "mobile", "tel",
))
PAGE_FIELDS = ("path", "referrer", "search", "title", "url")
CONTEXT_FIELDS = ("campaign", "topic", "consent", "locale", "timezone")
# Parameters of a page's address that tell where a visit came from; all others may hold anything and are left out.
ARRIVAL = frozenset((
    "gclid", "gbraid", "wbraid", "fbclid", "msclkid", "ttclid", "twclid", "li_fat_id", "yclid", "gad_source", "cl_campaign",
))
SEARCH_WORDS = frozenset(("q", "p", "mt", "qt", "query", "search", "text", "wd", "word", "kw", "keyword", "k", "s", "ei", "ie", "va"))


def _text_id(value: Any) -> Any:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _moment(value: Any) -> Any:
    """Times arrive as ISO text, as a number of seconds or of milliseconds."""
    if isinstance(value, bool):
        raise ValueError("expected a time")  # noqa: TRY004  pydantic turns a ValueError into the field's problem
    return value


TextId = Annotated[str, BeforeValidator(_text_id)]
Moment = Annotated[datetime, BeforeValidator(_moment)]


class WireEvent(BaseModel):
    """One call of the Segment specification, as the clients send it."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    type: Literal["track", "page", "screen", "identify", "group", "alias"] | None = None
    messageId: str | None = None
    anonymousId: TextId | None = None
    userId: TextId | None = None
    previousId: TextId | None = None
    groupId: TextId | None = None
    event: str | None = None
    name: str | None = None
    properties: dict[str, Any] | None = None
    traits: dict[str, Any] | None = None
    context: dict[str, Any] | None = None
    timestamp: Moment | None = None
    originalTimestamp: Moment | None = None
    sentAt: Moment | None = None


class _Batch(BaseModel):
    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    batch: list[WireEvent]
    sentAt: Moment | None = None
    writeKey: str | None = None
    context: dict[str, Any] | None = None


BATCH = TypeAdapter(_Batch)
EVENT = TypeAdapter(WireEvent)


@dataclass(frozen=True, slots=True)
class Bad:
    """An event that cannot be kept as such: its place in the batch, the reason, its bytes."""

    index: int
    reason: str
    payload: bytes


@dataclass(frozen=True, slots=True)
class Sent:
    """A body as read: the events that have a shape, those that have none, and the key it names itself."""

    events: tuple[tuple[int, WireEvent], ...]
    bad: tuple[Bad, ...]
    write_key: str
    sent_at: datetime | None


def plain(body: bytes) -> bytes:
    """The body without compression; the caps hold before and after.

    Errors: TooLarge over 500 KB; BadShape when the gzip is broken, truncated or nested.
    """
    if len(body) > BODY_BYTES:
        raise TooLarge(f"the body is over {BODY_BYTES // 1024} KB")
    if not body.startswith(GZIP):
        return body
    unpacker = zlib.decompressobj(31)
    try:
        text = unpacker.decompress(body, BODY_BYTES + 1)
    except zlib.error as error:
        raise BadShape("the body is broken gzip") from error
    if len(text) > BODY_BYTES:
        raise TooLarge(f"the body is over {BODY_BYTES // 1024} KB when unpacked")
    if not unpacker.eof or unpacker.unused_data:
        raise BadShape("the body is truncated gzip, or more than one")
    return text


def read(kind: str, body: bytes) -> Sent:
    """Read the body of a route: `batch`, or one call by its name.

    Errors: BadShape when it is no JSON or not of the route's shape at all; TooLarge.
    """
    text = plain(body)
    if kind == "batch":
        try:
            whole = BATCH.validate_json(text)
        except ValidationError:
            return _one_by_one(text)
        return Sent(tuple(enumerate(whole.batch)), (), whole.writeKey or "", whole.sentAt)
    if len(text) > EVENT_BYTES:
        raise TooLarge(f"an event is over {EVENT_BYTES // 1024} KB")
    try:
        event = EVENT.validate_json(text)
    except ValidationError as error:
        raise BadShape(problem(error)) from error
    return Sent(((0, event.model_copy(update={"type": kind})),), (), _key_of(text), event.sentAt)


def _key_of(text: bytes) -> str:
    key = from_json(text).get("writeKey")
    return key if isinstance(key, str) else ""


def _one_by_one(text: bytes) -> Sent:
    """A batch with something wrong in it: the good events are kept, each bad one is named."""
    try:
        whole = from_json(text, allow_inf_nan=False)
    except ValueError as error:
        raise BadShape(f"the body is no JSON: {_cause(error)}") from error
    if not isinstance(whole, dict) or not isinstance(whole.get("batch"), list):
        raise BadShape("batch: expected a list of events")
    events, bad = [], []
    for index, entry in enumerate(whole["batch"]):
        try:
            events.append((index, EVENT.validate_python(entry)))
        except ValidationError as error:
            bad.append(Bad(index, problem(error), json.dumps(entry, ensure_ascii=False).encode()))
    key, sent = whole.get("writeKey"), None
    try:
        sent = TypeAdapter(Moment | None).validate_python(whole.get("sentAt"))
    except ValidationError:
        sent = None
    return Sent(tuple(events), tuple(bad), key if isinstance(key, str) else "", sent)


def problem(error: ValidationError) -> str:
    """The first thing wrong, with its field, in one line."""
    detail = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(step) for step in detail["loc"])
    return f"{place}: {detail['msg']}" if place else str(detail["msg"])


def _cause(error: ValueError) -> str:
    return str(error).splitlines()[0][:200]


def basic_key(authorization: str) -> str:
    """The write key in a Basic header: the user name, with an empty password."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[0]
    except (binascii.Error, UnicodeDecodeError):
        return ""


@dataclass(frozen=True, slots=True)
class Sender:
    """Who sent a body, as far as the door could tell.

    Shapes: `visitor` is the browser's own cookie, empty when there was none; `may_backfill` is true for a secret
    key; `objects` is true when the browser says Sec-GPC.
    """

    site: Site
    hasher: Hasher
    may_backfill: bool = False
    visitor: str = ""
    new_visitor: str = ""
    objects: bool = False


def record(event: WireEvent, sender: Sender, source: str, received: datetime, sent: datetime | None) -> tuple[str, dict[str, Any], dict[str, dict[str, str]]]:
    """One event as the ledger keeps it: subject, record, and the contact fields that came with it.

    Shapes: `source` prefixes the event's id, so that no door takes another's.
    Errors: BadShape names the field.
    """
    site = sender.site
    if event.type is None:
        raise BadShape("type: is missing")
    if event.type == "track" and not event.event:
        raise BadShape("event: a track call needs the event's name")
    context = event.context or {}
    stated = _mapping(context.get("consent"))
    anonymous = _must_stay_unknown(site, stated, sender.objects)
    contact: dict[str, str] = {}
    traits: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    for fields, kept in ((event.traits, traits), (context.get("traits"), traits), (event.properties, properties)):
        for name, value in _mapping(fields).items():
            if name.lower() in PERSONAL:
                if isinstance(value, str) and value:
                    contact[name.lower()] = value[:300]
            else:
                kept[name] = value
    identifiers: list[str] = []
    visitor = ""
    if not anonymous:
        visitor = _visitor(event, sender)
        named = (sender.hasher.address(contact["email"]) if "email" in contact else None,
                 sender.hasher.user(event.userId) if event.userId else None)
        identifiers = list(dict.fromkeys(identifier for identifier in named if identifier))
        if event.userId and "@" in event.userId and identifiers and "email" not in contact:
            contact["email"] = event.userId[:300]
    if not visitor and not identifiers and not anonymous:
        raise BadShape("anonymousId or userId: one of them is needed")
    original = aware(event.originalTimestamp or event.timestamp)
    at, late = effective(original, aware(event.sentAt or sent), received, may_backfill=sender.may_backfill)
    entry: dict[str, Any] = {
        "id": f"{site.site}/{source}/{_message_id(event, received)}", "type": event.type,
        "name": (event.event or event.name or "")[:200], "at": iso(at), "properties": properties, "traits": traits,
        "context": kept_context(context),
    }
    if visitor:
        entry["visitor"] = visitor
    if identifiers:
        entry["ids"] = identifiers
    agent = context.get("userAgent")
    if isinstance(agent, str) and agent:
        entry["context"]["agent"] = agent[:300]
    elif sender.may_backfill:
        # The owner's server tells of somebody else; its own agent says nothing of them.
        entry["context"]["grade"] = "server"
    if late:
        entry["late"] = True
    if original is not None:
        entry["original"] = iso(original)
    if event.groupId:
        entry["group"] = event.groupId[:200]
    clear = {identifiers[0]: contact} if identifiers and contact else {}
    return _subject(site.site, visitor, identifiers, entry["id"], received), entry, clear


def _subject(site: str, visitor: str, identifiers: list[str], event_id: str, received: datetime) -> str:
    if visitor:
        return f"V#{site}#{visitor}"
    if identifiers:
        return f"I#{identifiers[0]}"
    # Somebody who must stay unknown: only counted, spread over sixteen partitions a day.
    return f"V#{site}#~{received:%Y-%m-%d}-{hashlib.sha256(event_id.encode()).hexdigest()[0]}"


def _must_stay_unknown(site: Site, stated: Mapping[str, Any], objects: bool) -> bool:
    analytics = stated.get("analytics", stated.get("analytics_storage"))
    if objects or analytics == "denied":
        return True
    return site.consent is ConsentMode.OPT_IN and analytics != "granted"


def _visitor(event: WireEvent, sender: Sender) -> str:
    """Which browser: our own cookie first, then the id that the client keeps, then one that we give now."""
    own = event.anonymousId or ""
    return sender.visitor or (safe(own) if legal(own) else "") or sender.new_visitor


def _message_id(event: WireEvent, received: datetime) -> str:
    if event.messageId:
        return safe(event.messageId)
    # Without an id the content is the name; without a time of its own, the minute of receipt tells two apart.
    content = event.model_dump_json(exclude={"sentAt"})
    minute = "" if event.timestamp or event.originalTimestamp else f"{received:%Y-%m-%dT%H:%M}"
    return hashlib.sha256(f"{content}{minute}".encode()).hexdigest()[:40]


def aware(moment: datetime | None) -> datetime | None:
    """A time without a zone is taken as UTC."""
    return moment.replace(tzinfo=UTC) if moment is not None and moment.tzinfo is None else moment


def kept_context(context: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a context that are kept, without parameters that may hold personal data."""
    kept = {name: context[name] for name in CONTEXT_FIELDS if context.get(name) is not None}
    if "consent" in kept and not isinstance(kept["consent"], Mapping):
        del kept["consent"]
    library = _mapping(context.get("library")).get("name")
    if isinstance(library, str):
        kept["library"] = {"name": library[:100]}
    page = _mapping(context.get("page"))
    if page:
        cut = {name: page[name][:2000] for name in PAGE_FIELDS if isinstance(page.get(name), str)}
        for name in ("url", "search"):
            if "?" in cut.get(name, ""):
                cut[name] = without_secrets(cut[name], ARRIVAL)
        if "?" in cut.get("referrer", ""):
            cut["referrer"] = without_secrets(cut["referrer"], SEARCH_WORDS)
        kept["page"] = cut
    return kept


def without_secrets(address: str, allowed: Iterable[str]) -> str:
    """An address with only those parameters that tell where a visit came from; others may hold personal data."""
    head, _, query = address.partition("?")
    query = query.partition("#")[0]
    # The percent-encoded bytes stay as they are, since the charset of a search word is judged later.
    kept = [pair for pair in query.split("&") if _is_arrival(pair.partition("=")[0].lower(), allowed)]
    return f"{head}?{'&'.join(kept)}" if kept else head


def _is_arrival(name: str, allowed: Iterable[str]) -> bool:
    return name.startswith("utm_") or name in allowed


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def checked(entries: Iterable[tuple[int, WireEvent]], sender: Sender, source: str, received: datetime, sent: datetime | None) -> tuple[list[Entry], list[Bad]]:
    """Every event that can be kept, and every one that cannot with its reason.

    Shapes: numbers that JSON has no word for (1e999 is read as infinity), characters that no table keeps, and events
    over 32 KB are bad by themselves and spoil no other.
    """
    good: list[Entry] = []
    bad: list[Bad] = []
    for index, event in entries:
        try:
            subject, entry, contact = record(event, sender, source, received, sent)
            text = json.dumps(entry, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
            if len(text) > EVENT_BYTES // 4 and len(text.encode()) > EVENT_BYTES:
                raise TooLarge(f"an event is over {EVENT_BYTES // 1024} KB")
            if "\\u0000" in text:
                entry = json.loads(text.replace("\\u0000", ""))
        except BadShape as error:
            bad.append(Bad(index, error.reason, _bytes(event)))
        except TooLarge as error:
            bad.append(Bad(index, error.reason, _bytes(event)))
        except ValueError:
            bad.append(Bad(index, "a number that JSON has no word for (NaN or infinity)", _bytes(event)))
        else:
            good.append((subject, entry, contact))
    return good, bad


def _bytes(event: WireEvent) -> bytes:
    return event.model_dump_json(exclude_none=True).encode()
