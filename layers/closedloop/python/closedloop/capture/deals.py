"""The deal door: what a CRM or shop says of opportunities and orders, signed by Standard Webhooks.

Source: the Standard Webhooks specification: webhook-id, webhook-timestamp and webhook-signature over the raw body.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError
from standardwebhooks.webhooks import Webhook, WebhookVerificationError

from closedloop.capture import wire
from closedloop.capture.flow import Doors
from closedloop.capture.request import Answer, Request, as_json
from closedloop.errors import BadShape, BadSignature, NotFound
from closedloop.events import event as names
from closedloop.events.event import Door
from closedloop.events.identifiers import Hasher, safe
from closedloop.events.packet import pack
from closedloop.events.times import effective, iso

NAMES = {
    "deal.opened": names.DEAL_OPENED, "deal.changed": names.DEAL_CHANGED, "deal.won": names.DEAL_WON,
    "deal.lost": names.DEAL_LOST, "deal.refunded": names.DEAL_REFUNDED,
}
Secrets = Callable[[str], Mapping[str, Any]]


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool | float):
        raise ValueError("expected money as a whole number of minor units")  # noqa: TRY004  the field's problem
    return value


class Deal(BaseModel):
    """An opportunity as the CRM knows it; money in minor units, so 100 yen are 100 and one euro is 100."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    id: Annotated[str, Field(min_length=1, max_length=200)]
    email: str | None = None
    user_id: str | None = None
    amount_minor: Annotated[int, BeforeValidator(_no_bool), Field(ge=0, le=10**15)] | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    stage: str | None = None


class DealMessage(BaseModel):
    """One message about a deal."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    type: Literal["deal.opened", "deal.changed", "deal.won", "deal.lost", "deal.refunded"]
    timestamp: datetime | None = None
    data: Deal


MESSAGE = TypeAdapter(DealMessage)


def accept_deal(request: Request, doors: Doors, secrets: Secrets) -> Answer:
    """Take what a CRM says of a deal, once its signature holds."""
    provider = request.path_values.get("provider", "")
    site = doors.keys.site(request.query.get("site", ""))
    if site is None or provider not in site.webhooks.deals or provider != "standard":
        raise NotFound("no such site takes deals from such a provider; the site's file names them under webhooks.deals")
    _verify(request, secrets(site.site))
    try:
        message = MESSAGE.validate_json(wire.plain(request.body))
    except ValidationError as error:
        raise BadShape(wire.problem(error)) from error
    received = doors.now()
    deal = message.data
    hasher = Hasher(doors.pepper, site.list_name)
    named = (hasher.address(deal.email) if deal.email else None, hasher.user(deal.user_id) if deal.user_id else None)
    at, _ = effective(wire.aware(message.timestamp), None, received, may_backfill=True)
    money = {"amount_minor": deal.amount_minor, "currency": deal.currency, "stage": deal.stage and deal.stage[:100]}
    identifiers = [identifier for identifier in named if identifier]
    entry: dict[str, Any] = {
        "id": f"{site.site}/crm/{safe(request.headers['webhook-id'])}", "type": "track", "name": NAMES[message.type],
        "at": iso(at), "deal": deal.id, "ids": identifiers,
        "properties": {name: value for name, value in money.items() if value is not None},
    }
    contact = {identifiers[0]: {"email": deal.email}} if named[0] and deal.email else {}
    doors.facts.append(pack(
        [(f"D#{site.site}#{safe(deal.id)}", entry, contact)], site=site.site, door=Door.DEAL, received_at=received, headers={},
    ))
    return as_json(200, {"success": True})


def _verify(request: Request, secrets: Mapping[str, Any]) -> None:
    """Hold the signature against every live secret, so that one can be exchanged without a gap."""
    for secret in secrets.get("deals_standard", ()):
        try:
            Webhook(str(secret)).verify(request.body, dict(request.headers))
        except (WebhookVerificationError, ValueError, KeyError, TypeError):
            continue
        return
    raise BadSignature("the signature of this message does not hold")
