"""Tells failed events again, as of when they came: at the door that refused them, or to those who work on packets."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from closedloop.capture.deals import take_deals
from closedloop.capture.flow import Doors, accept_beacon
from closedloop.capture.forms import accept_form
from closedloop.capture.mail import MailEvent, accept_mail
from closedloop.capture.request import Request
from closedloop.capture.wire import Bad
from closedloop.errors import BadShape, NotDurable
from closedloop.events.event import Door
from closedloop.events.failed import FailedEvent
from closedloop.lake.archive import archive_packets
from closedloop.profiles.flow import project
from closedloop.runtime import anymail, clock, doors, stream
from closedloop.sites.definition import Site
from closedloop.store.ledger import packet_of

# A key that stands for whoever sent it at first; who that was is known.
AGAIN = "Basic YWdhaW46"


@dataclass(frozen=True, slots=True)
class Known:
    """The one site that a failed event came to, whatever key is shown."""

    declared: Site
    secret: bool

    def site_of_key(self, hashed: str) -> tuple[Site, bool]:
        return self.declared, self.secret

    def site(self, name: str) -> Site:
        return self.declared

    def site_of_origin(self, origin: str) -> None:
        return None


class Believed:
    """Reads a provider's report whose signature was found right when it first came."""

    def events(self, provider: str, request: Request, site: Site, received: datetime) -> Sequence[MailEvent | Bad]:
        return anymail.read_again(provider, request)


def tell_again(failed: FailedEvent) -> str:
    """Tell one failed event again; why it fails still, and nothing when everything of it is stored now.

    Shapes: told twice it is the same facts. Errors: TryAgain when the tables or the lake are out of reach.
    """
    try:
        return (_at_the_door if failed.handler.startswith("capture_") else _to_the_readers)(failed)
    except stream.PERMANENT as error:
        return stream.words_of(error)


def _at_the_door(failed: FailedEvent) -> str:
    site = doors.state().site(failed.site)
    if site is None:
        raise BadShape(f"site {failed.site!r} is not declared")
    bad: list[Bad] = []
    secret = failed.sent.get("secret") == "yes" or failed.door == Door.FORM.value
    opened = replace(
        doors.capture(), keys=Known(site, secret), facts=doors.ledger(), now=lambda: failed.received_at,
        fail=lambda site, door, still, received: bad.extend(still),
    )
    reasons = []
    for body in WAYS_TO_SAY[failed.door](failed.payload, site):
        bad.clear()
        try:
            DOORS[failed.door](failed, body, site, opened)
        except stream.PERMANENT as error:
            reasons.append(stream.words_of(error))
            continue
        if not bad:
            return ""
        reasons.append(bad[0].reason)
    return reasons[0]


def _beacon(failed: FailedEvent, body: bytes, site: Site, opened: Doors) -> None:
    headers = {"user-agent": failed.sent.get("agent", ""), "authorization": AGAIN}
    whole = {"batch": json.loads(body), "sentAt": failed.sent.get("sent_at")}
    text = json.dumps(whole).encode()
    accept_beacon(Request("POST", "/v1/batch", headers, body=text, network=failed.sent.get("network", "")), opened)


def _form(failed: FailedEvent, body: bytes, site: Site, opened: Doors) -> None:
    headers = {"content-type": "application/json", "authorization": AGAIN}
    name = {"form": str(json.loads(body)["form"])}
    accept_form(Request("POST", "/v1/forms/again", headers, path_values=name, body=body), opened, vouched=True)


def _email(failed: FailedEvent, body: bytes, site: Site, opened: Doors) -> None:
    asked = Request(
        "POST", "/v1/webhooks/email/again", {"content-type": failed.sent.get("type", "")}, {"site": site.site},
        {"provider": failed.sent.get("provider", "")}, body=body,
    )
    accept_mail(asked, opened, Believed())


def _deal(failed: FailedEvent, body: bytes, site: Site, opened: Doors) -> None:
    asked = Request("POST", "/v1/webhooks/deals/again", {"content-type": failed.sent.get("type", "")}, body=body)
    take_deals(asked, opened, failed.sent.get("provider", ""), site, failed.received_at)


DOORS: Mapping[str, Callable[[FailedEvent, bytes, Site, Doors], None]] = {
    "beacon": _beacon, "form": _form, "email": _email, "deal": _deal,
}


def _as_list(payload: bytes, site: Site) -> Iterable[bytes]:
    # One event by itself, or many of a request that was full of them.
    yield payload if payload.startswith(b"[") else b"[" + payload + b"]"


def _alone_or_in_a_list(payload: bytes, site: Site) -> Iterable[bytes]:
    # What was kept is the request, or one report out of the list that it was.
    yield payload
    yield b"[" + payload + b"]"


def _as_a_crm_says_it(payload: bytes, site: Site) -> Iterable[bytes]:
    if not payload.startswith(b"<"):
        yield from _alone_or_in_a_list(payload, site)
        return
    # Salesforce's notification, out of its envelope.
    for organization in site.webhooks.salesforce_organizations:
        head = f"<Envelope><Body><notifications><OrganizationId>{organization}</OrganizationId>"
        yield head.encode() + payload + b"</notifications></Body></Envelope>"


WAYS_TO_SAY: Mapping[str, Callable[[bytes, Site], Iterable[bytes]]] = {
    "beacon": _as_list, "form": lambda payload, site: (payload,), "email": _alone_or_in_a_list,
    "deal": _as_a_crm_says_it,
}


def _to_the_readers(failed: FailedEvent) -> str:
    """A packet lies in the ledger already: fold whom it touches, and archive it, whichever of the two failed."""
    image: dict[str, Any] = json.loads(failed.payload)
    packet = packet_of(image)
    events = packet.events
    site = doors.state().site(packet.site)
    if site is None:
        raise BadShape("the site of this packet is not declared")
    sites = {**doors.sites(), packet.site: site}
    if project(stream.living([("again", packet, events)]), doors.state(), doors.ledger(), sites, clock.now).again:
        raise NotDurable("the profiles are busy; tell it again later")
    archive_packets([packet], sites, f"again-{failed.name}", doors.lake(), doors.tombstones())
    return ""
