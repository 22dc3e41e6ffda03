"""The deal door: what a CRM or shop says of opportunities and orders, once it has shown who it is."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, Protocol

from closedloop.capture import wire
from closedloop.capture.crm import hubspot, salesforce, standard
from closedloop.capture.crm.told import Message, Told
from closedloop.capture.flow import Doors
from closedloop.capture.request import Answer, Request
from closedloop.errors import BadShape, NotFound, TooLarge
from closedloop.events.event import Door
from closedloop.events.identifiers import Hasher, safe
from closedloop.events.packet import Entry, pack
from closedloop.events.times import iso
from closedloop.sites.definition import Site

NAME = re.compile(r"[a-z0-9-]{1,40}\Z")
Secrets = Callable[[str], Mapping[str, Any]]


class Provider(Protocol):
    """How one CRM shows who it is, and what it says."""

    def verify(self, request: Request, secrets: Sequence[str], now: datetime) -> None: ...
    def read(self, request: Request, site: Site, hasher: Hasher) -> Message: ...


PROVIDERS: Mapping[str, Provider] = {"standard": standard, "hubspot": hubspot, "salesforce": salesforce}


def accept_deal(request: Request, doors: Doors, secrets: Secrets) -> Answer:
    """Take what a CRM says of deals, once its secret holds; what it says in vain is kept as failed events.

    Errors: BadSignature; BadShape when nothing of the message can be kept.
    """
    if len(request.body) > wire.BODY_BYTES:
        raise TooLarge(f"the body is over {wire.BODY_BYTES // 1024} KB")
    name, provider = request.query.get("site", ""), request.path_values.get("provider", "")
    site = doors.keys.site(name) if NAME.match(name) else None
    if site is None or provider not in site.webhooks.deals:
        raise NotFound("no such site takes deals from such a provider; the site's file names them under webhooks.deals")
    received = doors.now()
    live = [str(one) for one in secrets(site.site).get(f"deals_{provider}", ()) if one]
    PROVIDERS[provider].verify(request, live, received)
    return take_deals(request, doors, provider, site, received)


def take_deals(request: Request, doors: Doors, provider: str, site: Site, received: datetime) -> Answer:
    """Keep what a CRM says of deals, which is proven.

    Errors: BadShape when nothing of the message can be kept.
    """
    hasher = Hasher(doors.pepper, site.list_name)
    message = PROVIDERS[provider].read(request, site, hasher)
    if message.bad and not message.facts:
        raise BadShape(message.bad[0].reason)
    if message.facts:
        doors.facts.append(pack(
            [_entry(told, site, hasher, received) for told in message.facts], site=site.site, door=Door.DEAL,
            received_at=received, headers={},
        ))
    if message.bad:
        stated = {"provider": provider, "type": request.headers.get("content-type", "")}
        doors.fail(site.site, Door.DEAL.value, [replace(one, sent=stated) for one in message.bad], received)
    return replace(message.answer, facts={
        "site": site.site, "door": Door.DEAL.value, "stored": len(message.facts), "failed": len(message.bad),
    })


def _entry(told: Told, site: Site, hasher: Hasher, received: datetime) -> Entry:
    """A fact of a deal as the ledger keeps it: under the deal, with the buyer's keyed hashes."""
    deal = told.deal.replace("\x00", "")
    named = (hasher.address(told.email) if told.email else None, hasher.user(told.user_id) if told.user_id else None)
    identifiers = [identifier for identifier in named if identifier]
    at, _ = wire.happened(told.at, None, received, may_backfill=True)
    said = {
        "amount_minor": told.amount_minor, "currency": told.currency, "stage_is_open": told.open or None,
        "stage": told.stage.replace("\x00", "")[:100] if told.stage else None,
        "product": told.product.replace("\x00", "") if told.product else None,
    }
    entry: dict[str, Any] = {
        "id": f"{site.site}/crm/{told.id}", "type": "track", "name": told.name, "at": iso(at), "deal": deal,
        "ids": identifiers, "properties": {name: value for name, value in said.items() if value is not None},
    }
    contact = {identifiers[0]: {"email": told.email}} if named[0] and told.email else {}
    return f"D#{site.site}#{safe(deal)}", entry, contact
