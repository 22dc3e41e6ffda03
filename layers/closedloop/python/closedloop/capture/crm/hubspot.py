"""HubSpot: the webhook of a workflow tells a whole deal, an app's subscriptions tell one property each.

Source: HubSpot, "Validating requests" (signature v3), "Webhooks API" (the array of changes), "Use webhooks with
HubSpot workflows" (the body that the owner puts together).
"""

from __future__ import annotations

import base64
import hmac
import json
import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any
from urllib.parse import unquote

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import from_json

from closedloop.capture import wire
from closedloop.capture.crm.told import CrmDeal, Message, Told
from closedloop.capture.request import Request
from closedloop.capture.wire import Bad
from closedloop.errors import BadShape, BadSignature
from closedloop.events import event as names
from closedloop.events.identifiers import Hasher
from closedloop.sites.definition import Site

TOLERANCE_MS = 300_000
MILLISECONDS = re.compile(r"[0-9]{1,14}\Z")
# What HubSpot has decoded in an address before it signs it; everything else stays as it was sent.
DECODED = re.compile(r"%(?:3A|2F|3F|40|21|24|27|28|29|2A|2C|3B)", re.IGNORECASE)
DEALS = "0-3"
USUAL = {"closedwon": "won", "closedlost": "lost"}
# HubSpot's own names of a deal's properties, and three that the owner adds: who buys, and what.
PROPERTIES = {
    "hs_object_id": "id", "hs_lastmodifieddate": "at", "dealstage": "stage", "amount": "amount",
    "deal_currency_code": "currency", "email": "email", "user_id": "user_id", "product": "product",
}
FIELDS = {ours: theirs for theirs, ours in PROPERTIES.items()}


class Change(BaseModel):
    """One thing that happened to one object, as a subscription tells it."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    subscriptionType: str
    objectTypeId: str = ""
    objectId: wire.TextId
    occurredAt: wire.Moment
    eventId: wire.TextId = ""
    propertyName: str = ""
    propertyValue: Any = None


def verify(request: Request, secrets: Sequence[str], now: datetime) -> None:
    """Hold HubSpot's signature v3 against the app's client secret.

    Errors: BadSignature, which does not say what was wrong.
    Source: HubSpot: base64 of HMAC-SHA256 over method, address, body and milliseconds; five minutes. The older
    signatures v1 and v2 carry no time and are not accepted.
    """
    stated = request.headers.get("x-hubspot-signature-v3", "").encode()
    stamp = request.headers.get("x-hubspot-request-timestamp", "")
    refused = BadSignature("the signature of this message does not hold")
    if not MILLISECONDS.match(stamp) or abs(now.timestamp() * 1000 - int(stamp)) > TOLERANCE_MS:
        raise refused
    query = f"?{request.query_text}" if request.query_text else ""
    address = f"https://{request.headers.get('host', '')}{request.path}{query}"
    decoded = DECODED.sub(lambda found: unquote(found[0]), address)
    signed = f"{request.method}{decoded}".encode() + request.body + stamp.encode()
    for secret in secrets:
        expected = base64.b64encode(hmac.digest(secret.encode(), signed, "sha256"))
        if hmac.compare_digest(expected, stated):
            return
    raise refused


def read(request: Request, site: Site, hasher: Hasher) -> Message:
    """A workflow's whole deal, or the changes of a subscription; a change that cannot be read spoils no other.

    Errors: BadShape names the field of HubSpot's.
    """
    try:
        content = from_json(request.body)
    except ValueError as error:
        raise BadShape("the body is no JSON") from error
    if isinstance(content, dict):
        return Message((_deal(content, site, f"hubspot-{hasher.digest(_text(content))}"),))
    if not isinstance(content, list):
        raise BadShape("expected one deal, or a list of changes")
    facts, bad = [], []
    for index, one in enumerate(content):
        try:
            told = _change(one, site, hasher)
        except BadShape as error:
            bad.append(Bad(index, error.reason, _text([one]).encode()))
        else:
            facts += [told] if told is not None else []
    return Message(tuple(facts), tuple(bad))


def _text(content: Any) -> str:
    return json.dumps(content, sort_keys=True)


def _deal(properties: Mapping[str, Any], site: Site, event_id: str) -> Told:
    try:
        deal = CrmDeal.model_validate({
            ours: properties[theirs] for theirs, ours in PROPERTIES.items() if properties.get(theirs) not in (None, "")
        })
    except ValidationError as error:
        field, _, said = wire.problem(error).partition(": ")
        raise BadShape(f"{FIELDS.get(field, field)}: {said}") from error
    return deal.told(event_id, site, USUAL)


def _change(stated: Any, site: Site, hasher: Hasher) -> Told | None:
    """One change in our words; None where it is about nothing that makes a deal.

    The id is made of what the change says, since HubSpot does not promise that its event ids are unique; a second
    attempt says the same.
    """
    try:
        change = Change.model_validate(stated)
    except ValidationError as error:
        raise BadShape(wire.problem(error)) from error
    kind, _, what = change.subscriptionType.partition(".")
    if kind != "deal" and (kind, change.objectTypeId) != ("object", DEALS):
        return None
    event_id = "hubspot-" + hasher.digest(_text([
        change.subscriptionType, change.eventId, change.objectId, change.occurredAt.isoformat(), change.propertyName,
        change.propertyValue,
    ]))
    if what in ("creation", "deletion"):
        # A deleted deal brings nothing any more.
        name = names.DEAL_OPENED if what == "creation" else names.DEAL_LOST
        return Told(id=event_id, name=name, deal=change.objectId, at=wire.aware(change.occurredAt))
    if what != "propertyChange" or change.propertyName not in PROPERTIES:
        return None
    properties = {
        change.propertyName: change.propertyValue, "hs_object_id": change.objectId,
        "hs_lastmodifieddate": change.occurredAt,
    }
    return _deal(properties, site, event_id)
