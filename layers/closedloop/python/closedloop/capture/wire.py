"""Segment's wire language: bodies in, records of events out.

Source: Segment, "HTTP Tracking API" and "Spec: Common Fields"; the clients' behaviour is in the user experience
reference, section 1.3.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import isfinite
from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BaseModel, BeforeValidator, ConfigDict, TypeAdapter, ValidationError
from pydantic_core import from_json

from closedloop.errors import BadShape, TooLarge
from closedloop.events.event import ORDERS
from closedloop.events.failed import FailedKind
from closedloop.events.identifiers import Hasher, legal, safe
from closedloop.events.packet import Entry
from closedloop.events.times import effective, iso
from closedloop.sites.definition import ConsentMode, Site

EVENT_BYTES = 32 * 1024
BODY_BYTES = 500 * 1024
GZIP = b"\x1f\x8b"
# What DynamoDB, Athena and a double all hold; a longer number is an error of the sender's.
MOST = 10**38
# Before it no browser sent an event; .NET's empty time is the year 1.
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)

TYPES = {"t": "track", "p": "page", "s": "screen", "i": "identify", "g": "group", "a": "alias", "b": "batch"}

# Words that say who somebody is. They leave the record for the contact, the one place that may hold them.
PERSONAL = frozenset((
    "email", "phone", "name", "firstname", "first_name", "lastname", "last_name", "address", "street", "birthday",
    "username", "avatar", "kana", "last_name_kana", "first_name_kana", "ip", "mobile", "tel",
))
# The same inside nested values, where `name` and `address` may also be a company's.
PERSONAL_WITHIN = frozenset(("email", "phone", "mobile", "tel", "ip", "birthday"))
ADDRESS_LIKE = re.compile(
    r"[^\s/?&=#;,@<>\"'%]{1,64}(?:@|%40)"
    r"[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,24}(?![A-Za-z0-9])"
)
PAGE_FIELDS = ("path", "referrer", "search", "title", "url")
CONTEXT_FIELDS = ("topic", "locale", "timezone")
# Google's names for what we call analytics and marketing; ours win.
CONSENT_NAMES = (
    ("analytics_storage", "analytics"), ("ad_storage", "marketing"),
    ("analytics", "analytics"), ("marketing", "marketing"),
)
CONSENT_KEPT = frozenset((
    "analytics", "marketing", "analytics_storage", "ad_storage", "ad_user_data", "ad_personalization", "version",
    "source",
))
CONSENT_UPDATED = "Consent Updated"
# Parameters of a page's address that tell where a visit came from; all others may hold anything and are left out.
ARRIVAL = frozenset((
    "gclid", "gbraid", "wbraid", "fbclid", "msclkid", "ttclid", "twclid", "li_fat_id", "yclid", "gad_source",
    "cl_campaign",
))
SEARCH_WORDS = frozenset((
    "q", "p", "mt", "qt", "query", "search", "text", "wd", "word", "kw", "keyword", "k", "s", "ei", "ie", "va",
))


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
    messageId: TextId | None = None
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


class _Single(WireEvent):
    writeKey: str | None = None


BATCH = TypeAdapter(_Batch)
EVENT = TypeAdapter(WireEvent)
SINGLE = TypeAdapter(_Single)
TIME: TypeAdapter[datetime | None] = TypeAdapter(Moment | None)
# U+0000 as JSON writes it: after an even number of backslashes, so that a written-out "\\\\u0000" stays.
NUL = re.compile(r"((?<!\\)(?:\\\\)*)\\u0000")
HALF_SIGN = "a text holds half a sign (a lone surrogate), as when it was cut in the middle of one"
NO_NUMBER = "a number that JSON has no word for (NaN or infinity)"
LONG_NUMBER = "a number of more than 38 digits"


@dataclass(frozen=True, slots=True)
class Bad:
    """An event that cannot be kept as such: its place in the batch, the reason, its bytes.

    Shapes: `sent` is what the door knew of the sender beside the bytes, for telling the event again.
    """

    index: int
    reason: str
    payload: bytes
    kind: FailedKind = FailedKind.REFUSED
    sent: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Sent:
    """A body as read: the events that have a shape, those that have none, and the key it names itself.

    Shapes: `careful` is false when no event of this body can be over its cap or hold a character that no table keeps.
    """

    events: tuple[tuple[int, WireEvent], ...]
    bad: tuple[Bad, ...]
    write_key: str
    sent_at: datetime | None
    careful: bool = True


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
    careful = len(text) > EVENT_BYTES or b"\\u0000" in text
    if kind == "batch":
        try:
            whole = BATCH.validate_json(text)
        except ValidationError:
            return _one_by_one(text)
        return Sent(tuple(enumerate(whole.batch)), (), whole.writeKey or "", whole.sentAt, careful)
    if len(text) > EVENT_BYTES:
        raise TooLarge(f"an event is over {EVENT_BYTES // 1024} KB")
    try:
        event = SINGLE.validate_json(text)
    except ValidationError as error:
        raise BadShape(problem(error)) from error
    return Sent(((0, event.model_copy(update={"type": kind})),), (), event.writeKey or "", event.sentAt, careful)


def _one_by_one(text: bytes) -> Sent:
    """A batch with something wrong in it: the good events are kept, each bad one is named."""
    whole = _parsed(text)
    if not isinstance(whole, dict) or not isinstance(whole.get("batch"), list):
        raise BadShape("batch: expected a list of events")
    events, bad = [], []
    for index, entry in enumerate(whole["batch"]):
        try:
            raw = json.dumps(entry, ensure_ascii=False, separators=(",", ":")).encode()
        except UnicodeEncodeError:
            bad.append(Bad(index, HALF_SIGN, json.dumps(entry).encode()))
            continue
        try:
            events.append((index, EVENT.validate_python(entry)))
        except ValidationError as error:
            bad.append(Bad(index, problem(error), raw))
    key = whole.get("writeKey")
    try:
        sent = TIME.validate_python(whole.get("sentAt"))
    except ValidationError:
        sent = None
    return Sent(tuple(events), tuple(bad), key if isinstance(key, str) and key.isascii() else "", sent)


def _parsed(text: bytes) -> Any:
    """JSON in which single events may hold what JSON has no word for, so that they spoil no other.

    Errors: BadShape.
    """
    try:
        return from_json(text)
    except ValueError as error:
        cause = error
    if b"\\ud" not in text and b"\\uD" not in text:
        raise BadShape(f"the body is no JSON: {_cause(cause)}") from cause
    try:
        # A text cut in the middle of a sign leaves half of it; only the standard library reads on.
        whole = json.loads(text)
        from_json(json.dumps(whole, ensure_ascii=False).encode("utf-8", "replace"))
    except (ValueError, RecursionError) as error:
        raise BadShape(f"the body is no JSON: {_cause(cause)}") from error
    return whole


def problem(error: ValidationError) -> str:
    """The first thing wrong, with its field, in one line."""
    detail = error.errors(include_url=False, include_input=False)[0]
    place = ".".join(str(step) for step in detail["loc"])
    return f"{place}: {detail['msg']}" if place else str(detail["msg"])


def _cause(error: ValueError) -> str:
    return str(error).splitlines()[0][:200]


def basic_key(authorization: str) -> str:
    """The write key in a Basic header: the user name, with an empty password; empty when there is none."""
    scheme, _, encoded = authorization.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(encoded, validate=True).decode().partition(":")[0]
    except ValueError:
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


def record(
    event: WireEvent, sender: Sender, source: str, received: datetime, sent: datetime | None
) -> tuple[str, dict[str, Any], dict[str, dict[str, str]]]:
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
    stated = consent_of(context.get("consent"))
    unknown = stays_unknown(site, stated, objects=sender.objects)
    # A refusal is linked to the one who refuses, or it could never be honoured: it alone keeps its subject.
    withdraws = unknown and is_withdrawal(event, stated) and not sender.objects
    contact: dict[str, str] = {}
    # The traits of a group call are of the company: its name and address are not the person's.
    company: dict[str, str] = {} if event.type == "group" else contact
    traits: dict[str, Any] = {}
    properties: dict[str, Any] = {}
    for fields, kept, told in (
        (event.traits, traits, company), (context.get("traits"), traits, contact),
        (event.properties, properties, contact),
    ):
        for name, value in _mapping(fields).items():
            if name.lower() in PERSONAL:
                if isinstance(value, str) and value:
                    told[name.lower()] = value[:300]
            else:
                kept[name] = value if type(value) is str else _kept(value)
    if company is not contact and "name" in company:
        contact["company"] = company["name"]
    if traits:
        # A trait is a word about a person; whole texts would make profiles that no table holds.
        traits = {name[:100]: value[:500] if isinstance(value, str) else value for name, value in traits.items()}
    identifiers: list[str] = []
    visitor = ""
    if withdraws or not unknown:
        visitor = _visitor(event, sender, "" if withdraws else sender.new_visitor)
        named = (sender.hasher.address(contact["email"]) if "email" in contact else None,
                 sender.hasher.user(event.userId) if event.userId else None,
                 sender.hasher.phone(contact["phone"]) if "phone" in contact else None)
        identifiers = list(dict.fromkeys(identifier for identifier in named if identifier))
        if event.userId and "@" in event.userId and identifiers and "email" not in contact:
            contact["email"] = event.userId[:300]
    if not (visitor or identifiers or unknown or event.anonymousId is not None or event.userId is not None):
        raise BadShape("anonymousId or userId: one of them is needed")
    original = aware(event.originalTimestamp or event.timestamp)
    at, late = happened(original, aware(event.sentAt or sent), received, may_backfill=sender.may_backfill)
    entry: dict[str, Any] = {
        "id": f"{site.site}/{source}/{_message_id(event, sender, received)}", "type": event.type,
        "name": (event.event or event.name or "")[:200], "at": iso(at), "properties": properties, "traits": traits,
        "context": kept_context(context),
    }
    if stated:
        entry["context"]["consent"] = stated
    if visitor:
        entry["visitor"] = visitor
    if identifiers:
        entry["ids"] = identifiers
    if not visitor and not identifiers:
        # Somebody who is only counted: nothing that could tell them apart is kept.
        entry["properties"], entry["traits"] = {}, {}
    elif event.groupId:
        entry["group"] = event.groupId[:200]
    previous = sender.hasher.user(event.previousId) if event.previousId and not unknown else None
    if previous and previous not in identifiers:
        entry["previous"] = previous
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
    clear = {identifiers[0]: contact} if identifiers and contact else {}
    subject = _subject(site.site, visitor, identifiers, entry["id"], received)
    if sender.may_backfill and event.event in ORDERS and event.type == "track" and (visitor or identifiers):
        # Only a server tells orders, so no page waits for what they need.
        from closedloop.capture.orders import book

        booked = book(entry, site)
        subject = booked if identifiers else subject
    return subject, entry, clear


def _kept(value: Any) -> Any:
    """A value of a property or trait as it is kept: numbers that a table can hold, nested words without personal data.

    Errors: BadShape.
    """
    if isinstance(value, float):
        if not isfinite(value):
            raise BadShape(NO_NUMBER)
    elif isinstance(value, int):
        if not -MOST < value < MOST:
            raise BadShape(LONG_NUMBER)
    elif isinstance(value, dict):
        return {name: _kept(within) for name, within in value.items() if name.lower() not in PERSONAL_WITHIN}
    elif isinstance(value, list):
        return [_kept(within) for within in value]
    return value


def _subject(site: str, visitor: str, identifiers: list[str], event_id: str, received: datetime) -> str:
    if visitor:
        return f"V#{site}#{visitor}"
    if identifiers:
        return f"I#{identifiers[0]}"
    # Somebody who must stay unknown: only counted, spread over sixteen partitions a day.
    return f"V#{site}#~{received:%Y-%m-%d}-{hashlib.sha256(event_id.encode()).hexdigest()[0]}"


def consent_of(stated: Any) -> dict[str, str]:
    """What was said of consent, in our two words and Google's, with the text's version and where it was said.

    Source: Google, "Consent mode": analytics_storage and ad_storage, granted or denied.
    """
    said = {
        name: word[:100] for name, word in _mapping(stated).items() if name in CONSENT_KEPT and isinstance(word, str)
    }
    for theirs, ours in CONSENT_NAMES:
        if said.get(theirs) in ("granted", "denied"):
            said[ours] = said[theirs] if theirs == ours else said.get(ours, said[theirs])
    return said


def stays_unknown(site: Site, consent: Mapping[str, str], *, objects: bool) -> bool:
    """Whether nobody may be told apart here: they object or refuse, or were asked nothing where asking comes first."""
    analytics = consent.get("analytics")
    return objects or analytics == "denied" or (site.consent is ConsentMode.OPT_IN and analytics != "granted")


def is_withdrawal(event: WireEvent, consent: Mapping[str, str]) -> bool:
    """Whether this event takes consent back."""
    return event.type == "track" and event.event == CONSENT_UPDATED and consent.get("analytics") == "denied"


def _visitor(event: WireEvent, sender: Sender, new: str) -> str:
    """Which browser: our own cookie first, then the id that the client keeps, then one that we give now."""
    own = event.anonymousId or ""
    return sender.visitor or (safe(own) if legal(own) else "") or new


def names_nobody(event: WireEvent) -> bool:
    """Whether an id of this event is refused: "null" and its kin, which some clients send for whom they do not know."""
    visitor, user = event.anonymousId, event.userId
    return (visitor is not None and not legal(visitor)) or (user is not None and not legal(user))


def _message_id(event: WireEvent, sender: Sender, received: datetime) -> str:
    if event.messageId:
        return safe(event.messageId)
    # Without an id the content is the name; without a time of its own, the minute of receipt tells two apart.
    content = event.model_dump_json(exclude={"sentAt", "writeKey"})
    minute = "" if event.timestamp or event.originalTimestamp else f"{received:%Y-%m-%dT%H:%M}"
    return sender.hasher.digest(f"{content}{minute}")


def aware(moment: datetime | None) -> datetime | None:
    """A sender's time in UTC; without a zone it is taken as UTC.

    Errors: BadShape when it lies before 1970, or past the end of the calendar.
    """
    if moment is None:
        return None
    try:
        moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:
        raise BadShape("timestamp: expected a time between 1970 and 9999") from error
    if moment < EARLIEST:
        raise BadShape("timestamp: expected a time between 1970 and 9999")
    return moment


def happened(
    original: datetime | None, sent: datetime | None, received: datetime, *, may_backfill: bool
) -> tuple[datetime, bool]:
    """When a thing really happened, and whether it came late; a clock that is centuries off tells nothing."""
    at, late = effective(original, sent, received, may_backfill=may_backfill)
    return (at, late) if at >= EARLIEST else (received, True)


def kept_context(context: Mapping[str, Any]) -> dict[str, Any]:
    """The parts of a context that are kept, without parameters that may hold personal data; consent is kept apart."""
    kept: dict[str, Any] = {}
    for name in CONTEXT_FIELDS:
        value = context.get(name)
        if isinstance(value, str) and value:
            kept[name] = _unnamed(value[:100])
    campaign = _mapping(context.get("campaign"))
    if campaign:
        kept["campaign"] = {
            name[:40]: _unnamed(str(word)[:300]) for name, word in list(campaign.items())[:20]
            if isinstance(word, str | int) and word != ""
        }
    library = _mapping(context.get("library")).get("name")
    if isinstance(library, str):
        # Who speaks: a server's library tells of people who are not at its keyboard.
        kept["library"] = {"name": library[:100]}
    page = _mapping(context.get("page"))
    if page:
        cut = {name: _unnamed(page[name][:2000]) for name in PAGE_FIELDS if _is_text(page.get(name))}
        for name in ("url", "search"):
            if "?" in cut.get(name, ""):
                cut[name] = without_secrets(cut[name], ARRIVAL)
        if "?" in cut.get("referrer", ""):
            cut["referrer"] = without_secrets(cut["referrer"], SEARCH_WORDS)
        kept["page"] = {name: text for name, text in cut.items() if name not in ("url", "referrer") or _is_url(text)}
    return kept


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and value != ""


def _unnamed(text: str) -> str:
    """A text of a page without any address of a person, which some sites write into paths, titles and campaigns."""
    return ADDRESS_LIKE.sub("[address]", text) if "@" in text or "%40" in text else text


def _is_url(text: str) -> bool:
    """Whether an address can be taken apart by those who read the event later; nearly all are seen at a glance."""
    if text.isascii() and "[" not in text and "]" not in text:
        return True
    try:
        urlsplit(text)
    except ValueError:
        return False
    return True


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
    """What JSON says in braces; everything else says nothing. A dict is asked for, which is five times faster."""
    return value if isinstance(value, dict) else {}


def checked(
    entries: Iterable[tuple[int, WireEvent]], sender: Sender, source: str, received: datetime, sent: datetime | None,
    *, careful: bool = True,
) -> tuple[list[Entry], list[Bad]]:
    """Every event that can be kept, and every one that cannot with its reason.

    Shapes: numbers that JSON has no word for (1e999 is read as infinity), characters that no table keeps, and events
    over 32 KB are bad by themselves and spoil no other; `careful` false spares the look at size and characters.
    """
    good: list[Entry] = []
    bad: list[Bad] = []
    for index, event in entries:
        try:
            subject, entry, contact = record(event, sender, source, received, sent)
            if careful:
                entry, contact = _held(event, entry, contact)
        except (BadShape, TooLarge) as error:
            bad.append(Bad(index, error.reason, _bytes(event)))
        else:
            good.append((subject, entry, contact))
    return good, bad


def _held(
    event: WireEvent, entry: dict[str, Any], contact: dict[str, dict[str, str]]
) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """A record that the ledger can hold: not over the cap as it was sent, and without U+0000.

    Errors: TooLarge.
    """
    text = json.dumps([entry, contact], ensure_ascii=False, separators=(",", ":"))
    if len(text) > EVENT_BYTES // 4 and len(_bytes(event)) > EVENT_BYTES:
        raise TooLarge(f"an event is over {EVENT_BYTES // 1024} KB")
    return without_nul(entry, contact) if "\\u0000" in text else (entry, contact)


def without_nul(
    entry: dict[str, Any], contact: dict[str, dict[str, str]]
) -> tuple[dict[str, Any], dict[str, dict[str, str]]]:
    """A record and its contact without U+0000, which databases and their readers stumble over."""
    entry, contact = json.loads(NUL.sub(r"\1", json.dumps([entry, contact], ensure_ascii=False)))
    return entry, contact


def _bytes(event: WireEvent) -> bytes:
    return event.model_dump_json(exclude_none=True, exclude={"writeKey"}).encode()
