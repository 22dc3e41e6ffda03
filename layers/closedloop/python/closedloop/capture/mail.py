"""What mail providers report of the mails that were sent: each report becomes a fact about the person written to.

Signatures and the providers' own words are the provider door's work; here a report gets its id, its subject and its
record. A clear address goes no further than its hash.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Protocol
from urllib.parse import unquote, urlsplit

from pydantic_core import from_json

from closedloop.capture.flow import Doors
from closedloop.capture.request import Answer, Request, as_json
from closedloop.capture.wire import Bad
from closedloop.errors import BadShape, NotFound, TooLarge
from closedloop.events import event as names
from closedloop.events.event import Door, EventType
from closedloop.events.identifiers import SAFE, Hasher, safe
from closedloop.events.packet import Entry, pack
from closedloop.events.times import effective, iso, parse
from closedloop.sites.definition import Site

# SendGrid posts up to 768 KB at once, so the beacon's cap would lose whole batches of it.
BODY_BYTES = 1024 * 1024
ASKING_BYTES = 4096

PROVIDERS = frozenset((
    "amazon_ses", "brevo", "mailersend", "mailgun", "mailjet", "mailtrap", "mandrill", "postal", "postmark", "resend",
    "sendgrid", "sparkpost", "unisender_go",
))

# anymail's word for what happened, and ours. "Email Sent" is what our own workflow says of itself.
NAMES: Mapping[str, str] = {
    "delivered": names.EMAIL_DELIVERED, "opened": names.EMAIL_OPENED, "clicked": names.EMAIL_CLICKED,
    "bounced": names.EMAIL_BOUNCED, "complained": names.EMAIL_COMPLAINED, "unsubscribed": names.EMAIL_UNSUBSCRIBED,
    "deferred": "Email Deferred", "rejected": "Email Rejected", "failed": "Email Failed", "queued": "Email Queued",
    "sent": names.EMAIL_ACCEPTED, "autoresponded": "Email Autoresponded", "subscribed": "Email Subscribed",
}
OTHER = "Email Reported"
# Of all else that has an agent, it is that of a mail server.
BY_A_READER = frozenset(("opened", "clicked", "unsubscribed"))
UNDELIVERED = frozenset(("bounced", "deferred", "rejected", "failed"))

# Providers that name each report once and for ever; of the others, some name the envelope, which differs by delivery.
OWN_IDS = frozenset(("sendgrid", "sparkpost", "resend", "mailersend", "postal"))
ENVELOPE_IDS = frozenset(("amazon_ses", "mailgun", "mailtrap"))

CARRIED = ("campaign", "loop", "person", "topic")
# A tag that carries for us where a provider gives no metadata back: "loop=autumn;campaign=guide".
PAIR = re.compile(r"(campaign|loop|person|topic)=([^;=]{1,200})")
LINK_CHARS = 4096
TAGS, TAG_CHARS = 20, 1000
STATUS = re.compile(r"(?<![\d.])[245]\.\d{1,3}\.\d{1,3}(?!\d|\.\d)")
CLASS = re.compile(r"[A-Za-z]{1,30}: [A-Za-z]{1,30}")
SPARKPOST_HARD = frozenset(("10", "30", "90"))


@dataclass(frozen=True, slots=True)
class MailEvent:
    """One thing that a provider says happened to one mail.

    Shapes: `kind` is django-anymail's word, such as "bounced"; `recipient` is the clear address; `at` is None where
    the provider gives no time; `reject` and `response` say why a mail did not arrive; `metadata` is what our own mail
    carried, `tags` the words it was marked with; `raw` is the report in the provider's words. Texts are empty where the
    provider says nothing.
    """

    kind: str
    recipient: str
    at: datetime | None = None
    message_id: str = ""
    event_id: str = ""
    link: str = ""
    agent: str = ""
    reject: str = ""
    response: str = ""
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: Sequence[str] = ()
    raw: Mapping[str, Any] = field(default_factory=dict)


class ProviderDoor(Protocol):
    """Knows each provider's signature and words.

    Errors: BadSignature when the sender cannot show who it is; BadShape when the body is not one of the provider's;
    NotDurable when something needed for the check could not be had, so that the provider asks again.
    """

    def events(
        self, provider: str, request: Request, site: Site, received: datetime
    ) -> Sequence[MailEvent | Bad]: ...


def accept_mail(request: Request, doors: Doors, provider_door: ProviderDoor) -> Answer:
    """Take a provider's reports, once its signature is found right."""
    if len(request.body) > BODY_BYTES:
        raise TooLarge(f"the body is over {BODY_BYTES // 1024} KB")
    provider, site = _addressed(request, doors)
    if request.method != "POST" or _only_asks(provider, request.body):
        # Before a provider keeps an address it looks whether somebody answers there; nobody is believed by that.
        return as_json(200, {"success": True})
    received = doors.now()
    hasher = Hasher(doors.pepper, site.list_name)
    good: list[Entry] = []
    bad: list[Bad] = []
    for index, event in enumerate(provider_door.events(provider, request, site, received)):
        if isinstance(event, Bad):
            bad.append(event)
            continue
        try:
            good.append(record(event, provider, site, hasher, received))
        except BadShape as error:
            bad.append(Bad(index, error.reason, _bytes(event.raw)))
    if good:
        doors.facts.append(pack(good, site=site.site, door=Door.EMAIL, received_at=received, headers={}))
    if bad:
        stated = {"provider": provider, "type": request.headers.get("content-type", "")}
        doors.fail(site.site, Door.EMAIL.value, [replace(one, sent=stated) for one in bad], received)
    content: dict[str, Any] = {"success": True, "events": len(good)}
    if bad:
        content["bad"] = [{"index": one.index, "reason": one.reason} for one in bad]
    return as_json(200, content)


def _only_asks(provider: str, body: bytes) -> bool:
    """MailerSend asks by POST, before it tells anybody the secret that it signs with.

    Source: MailerSend, "Webhooks", "Security".
    """
    if provider != "mailersend" or len(body) > ASKING_BYTES:
        return False
    try:
        asked = from_json(body)
    except ValueError:
        return False
    return isinstance(asked, dict) and asked.get("type") == "webhook.test"


def _addressed(request: Request, doors: Doors) -> tuple[str, Site]:
    provider, name = request.path_values.get("provider", ""), request.query.get("site", "")
    if provider in PROVIDERS and SAFE.match(name):
        site = doors.keys.site(name)
        if site is not None and provider in site.webhooks.email:
            return provider, site
    raise NotFound("no such webhook: name a provider that webhooks.email of the site's file lists, and ?site=SITE")


def record(event: MailEvent, provider: str, site: Site, hasher: Hasher, received: datetime) -> Entry:
    """One report as the ledger keeps it: subject, record, and no contact, since the address is known already.

    Errors: BadShape when it names nobody.
    """
    identifier = hasher.address(_text(event.recipient))
    if identifier is None:
        raise BadShape("recipient: no mail address")
    if event.kind == "unknown":
        event = replace(event, kind=UNKNOWN_TO_ANYMAIL.get((provider, _own_word(event.raw)), event.kind))
    stated = _stated_time(event, provider)
    at, _ = effective(stated, None, received, may_backfill=True)
    entry: dict[str, Any] = {
        "id": f"{site.site}/{provider}/{_event_id(event, provider, identifier, stated)}", "type": EventType.TRACK.value,
        "name": NAMES.get(event.kind, OTHER), "at": iso(at), "ids": [identifier],
        "properties": _properties(event, provider), "traits": {},
        "context": {"agent": _text(event.agent)[:300]} if event.agent and event.kind in BY_A_READER else {},
    }
    return f"I#{identifier}", entry, {}


def _properties(event: MailEvent, provider: str) -> dict[str, Any]:
    carried = {**_tagged(event, provider), **dict(event.metadata)}
    properties: dict[str, Any] = {"message_id": _message_id(event, provider)}
    for name in CARRIED:
        if isinstance(carried.get(name), str) and carried[name]:
            properties[name] = _text(carried[name])[:200]
    if event.link:
        properties["link"] = place(event.link)
    if event.kind in UNDELIVERED:
        properties |= _why(event)
    if event.kind == "bounced" and SOFT.get(provider, _never)(event.raw):
        properties["soft"] = True
    for kind, flag in (("opened", "machine_open"), ("clicked", "machine_click")):
        if event.kind == kind and MACHINES.get(provider, _never)(event.raw):
            properties[flag] = True
    return {name: value for name, value in properties.items() if value != ""}


def _why(event: MailEvent) -> dict[str, str]:
    """Why a mail did not arrive, in words that cannot name anybody: mail servers like to quote the address."""
    told = CLASS.fullmatch(event.response.partition("\n")[0])
    status = STATUS.search(event.response[:2000])
    return {"reason": told.group() if told else _text(event.reject)[:50], "status": status.group() if status else ""}


def place(link: str) -> str:
    """Where a link leads, by host and path; the query may hold anything, and an address in the path is left out."""
    try:
        parts = urlsplit(_text(link[:LINK_CHARS]))
        host = parts.hostname
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not host:
        return ""
    path = "/".join("-" if "@" in unquote(step) else step for step in parts.path.split("/"))
    return f"{host}{path}"[:500]


def _message_id(event: MailEvent, provider: str) -> str:
    named = event.raw.get("sg_message_id") if provider == "sendgrid" else None
    # SendGrid adds the route to the id that it gave when it took the mail.
    text = named.partition(".")[0] if isinstance(named, str) and named else event.message_id
    return _text(text).strip("<>")[:200]


def _stated_time(event: MailEvent, provider: str) -> datetime | None:
    """When it happened, by the provider's clock; SES's own time rather than that of the envelope."""
    at = _ses_time(event) if provider == "amazon_ses" else None
    at = at or event.at
    if at is None:
        return None
    try:
        return at.replace(tzinfo=UTC) if at.tzinfo is None else at.astimezone(UTC)
    except OverflowError:
        return None


def _ses_time(event: MailEvent) -> datetime | None:
    kind = str(event.raw.get("eventType") or event.raw.get("notificationType") or "").lower()
    told = next((value for name, value in event.raw.items() if name.lower() == kind), None)
    for part in (told, event.raw.get("mail") if kind == "send" else None):
        if isinstance(part, Mapping) and isinstance(part.get("timestamp"), str):
            try:
                return parse(part["timestamp"])
            except (ValueError, OverflowError):
                return None
    return None


def _tagged(event: MailEvent, provider: str) -> dict[str, Any]:
    """What a mail's tags say: in SES each name has a list of values, in Resend one; elsewhere they are plain words."""
    named = _within(event.raw, *{"amazon_ses": ("mail", "tags"), "resend": ("data", "tags")}.get(provider, ("",)))
    if isinstance(named, Mapping):
        return {
            name: value[0] if isinstance(value, list) else value for name, value in named.items() if value != []
        }
    return {name: value for tag in event.tags[:TAGS] for name, value in PAIR.findall(tag[:TAG_CHARS])}


def _own_word(raw: Mapping[str, Any]) -> Any:
    """What the provider itself calls the report."""
    return next((raw[name] for name in ("eventType", "event", "type") if isinstance(raw.get(name), str)), "")


def _event_id(event: MailEvent, provider: str, identifier: str, at: datetime | None) -> str:
    """The report's name, the same on every delivery of it: the provider's own, or one made of what it says.

    Source: reliability reference, 2.1. The recipient goes in as the keyed hash, so that nobody can guess it back.
    """
    if provider in OWN_IDS and event.event_id:
        return safe(_text(event.event_id))
    # Mailgun's id is unique within a day only; with the time it is for ever.
    data = event.raw.get("event-data") if provider == "mailgun" else None
    own = data.get("id", "") if isinstance(data, Mapping) else "" if provider in ENVELOPE_IDS else event.event_id
    moment = iso(at) if at is not None else hashlib.sha256(_bytes(event.raw)).hexdigest()
    parts = [event.message_id, event.kind, identifier, moment, event.link, own]
    return hashlib.sha256(json.dumps(parts, default=str).encode()).hexdigest()[:40]


def _text(value: object) -> str:
    """Outside text as tables keep it: without U+0000, and without halves of characters."""
    return str(value).replace("\0", "").encode("utf-8", "replace").decode()


def _bytes(raw: Mapping[str, Any]) -> bytes:
    return json.dumps(raw, sort_keys=True, default=str).encode()


def _within(raw: Mapping[str, Any], *steps: str) -> Any:
    value: Any = raw
    for step in steps:
        value = value.get(step) if isinstance(value, Mapping) else None
    return value


def _sparkpost(raw: Mapping[str, Any], name: str) -> Any:
    """SparkPost wraps a report into its class: {"msys": {"track_event": {...}}}."""
    inside = _within(raw, "msys")
    return next((_within(part, name) for part in inside.values()), None) if isinstance(inside, Mapping) else None


# Reports that anymail has no word for.
UNKNOWN_TO_ANYMAIL: Mapping[tuple[str, str], str] = {
    ("amazon_ses", "DeliveryDelay"): "deferred", ("mailersend", "activity.deferred"): "deferred",
    ("mandrill", "delivered"): "delivered", ("postal", "MessageLoaded"): "opened",
}


def _never(raw: Mapping[str, Any]) -> bool:
    return False


# A bounce after which the address may still be good, as each provider says it.
SOFT: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "amazon_ses": lambda raw: _within(raw, "bounce", "bounceType") != "Permanent",
    "brevo": lambda raw: raw.get("event") == "soft_bounce",
    "mailersend": lambda raw: _within(raw, "data", "type") == "soft_bounced",
    "mailjet": lambda raw: raw.get("hard_bounce") is not True,
    "mandrill": lambda raw: raw.get("event") == "soft_bounce",
    "postmark": lambda raw: raw.get("Type") != "HardBounce",
    "resend": lambda raw: _within(raw, "data", "bounce", "type") in ("Transient", "Undetermined"),
    "sendgrid": lambda raw: raw.get("type") == "blocked",
    "sparkpost": lambda raw: str(_sparkpost(raw, "bounce_class")) not in SPARKPOST_HARD,
}

# A picture fetched or a link followed by a machine, as far as the provider says so. What Mailgun calls Gmail's is the
# cache through which people open.
MACHINES: Mapping[str, Callable[[Mapping[str, Any]], bool]] = {
    "brevo": lambda raw: raw.get("event") in ("proxy_open", "unique_proxy_open"),
    "mailgun": lambda raw: _within(raw, "event-data", "client-info", "bot") in ("apple", "generic"),
    "sendgrid": lambda raw: raw.get("sg_machine_open") is True,
    "sparkpost": lambda raw: _sparkpost(raw, "is_prefetched") is True,
}
