"""The deal door: what a CRM or shop says of opportunities and orders, signed by Standard Webhooks.

Source: the Standard Webhooks specification: webhook-id, webhook-timestamp and webhook-signature over the raw body.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from closedloop.capture import wire
from closedloop.capture.flow import Doors
from closedloop.capture.request import Answer, Request, as_json
from closedloop.errors import BadShape, BadSignature, NotFound, TooLarge
from closedloop.events import event as names
from closedloop.events.event import Door
from closedloop.events.identifiers import Hasher, safe
from closedloop.events.packet import pack
from closedloop.events.times import iso

NAMES = {
    "deal.opened": names.DEAL_OPENED, "deal.changed": names.DEAL_CHANGED, "deal.won": names.DEAL_WON,
    "deal.lost": names.DEAL_LOST, "deal.refunded": names.DEAL_REFUNDED,
}
TOLERANCE_S = 300
NAME = re.compile(r"[a-z0-9-]{1,40}\Z")
SECONDS = re.compile(r"[0-9]{1,11}\Z")
Secrets = Callable[[str], Mapping[str, Any]]


def _no_bool(value: Any) -> Any:
    if isinstance(value, bool | float):
        raise ValueError("expected money as a whole number of minor units")  # noqa: TRY004  the field's problem
    return value


class Deal(BaseModel):
    """An opportunity as the CRM knows it; money in minor units, so 100 yen are 100 and one euro is 100."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    id: Annotated[wire.TextId, Field(min_length=1, max_length=200)]
    email: Annotated[str, Field(max_length=300)] | None = None
    user_id: Annotated[wire.TextId, Field(max_length=1000)] | None = None
    amount_minor: Annotated[int, BeforeValidator(_no_bool), Field(ge=0, le=10**15)] | None = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    stage: str | None = None

    @model_validator(mode="after")
    def _money_has_its_currency(self) -> Deal:
        if self.amount_minor is not None and self.currency is None:
            raise ValueError("currency: is needed beside amount_minor, as three letters")
        return self


class DealMessage(BaseModel):
    """One message about a deal."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    type: Literal["deal.opened", "deal.changed", "deal.won", "deal.lost", "deal.refunded"]
    timestamp: wire.Moment | None = None
    data: Deal


MESSAGE = TypeAdapter(DealMessage)


def accept_deal(request: Request, doors: Doors, secrets: Secrets) -> Answer:
    """Take what a CRM says of a deal, once its signature holds."""
    if len(request.body) > wire.BODY_BYTES:
        raise TooLarge(f"the body is over {wire.BODY_BYTES // 1024} KB")
    provider, name = request.path_values.get("provider", ""), request.query.get("site", "")
    site = doors.keys.site(name) if NAME.match(name) else None
    if site is None or provider not in site.webhooks.deals or provider != "standard":
        raise NotFound("no such site takes deals from such a provider; the site's file names them under webhooks.deals")
    received = doors.now()
    _verify(request, secrets(site.site), received)
    try:
        message = MESSAGE.validate_json(request.body)
    except ValidationError as error:
        raise BadShape(wire.problem(error)) from error
    deal = message.data
    deal_id = deal.id.replace("\x00", "")
    hasher = Hasher(doors.pepper, site.list_name)
    named = (hasher.address(deal.email) if deal.email else None, hasher.user(deal.user_id) if deal.user_id else None)
    at, _ = wire.happened(wire.aware(message.timestamp), None, received, may_backfill=True)
    stage = deal.stage.replace("\x00", "")[:100] if deal.stage else None
    money = {"amount_minor": deal.amount_minor, "currency": deal.currency, "stage": stage}
    identifiers = [identifier for identifier in named if identifier]
    entry: dict[str, Any] = {
        "id": f"{site.site}/crm/{safe(request.headers['webhook-id'])}", "type": "track", "name": NAMES[message.type],
        "at": iso(at), "deal": deal_id, "ids": identifiers,
        "properties": {name: value for name, value in money.items() if value is not None},
    }
    contact = {identifiers[0]: {"email": deal.email}} if named[0] and deal.email else {}
    doors.facts.append(pack(
        [(f"D#{site.site}#{safe(deal_id)}", entry, contact)], site=site.site, door=Door.DEAL, received_at=received,
        headers={},
    ))
    return Answer(
        200, as_json(200, {"success": True}).body, facts={"site": site.site, "door": Door.DEAL.value, "stored": 1}
    )


def _verify(request: Request, secrets: Mapping[str, Any], now: datetime) -> None:
    """Hold the signature against every live secret, so that one can be exchanged without a gap.

    Errors: BadSignature, which does not say what was wrong.
    Source: Standard Webhooks: `v1,` and the HMAC of id.timestamp.body, five minutes of tolerance either way.
    """
    message, stamp = request.headers.get("webhook-id", ""), request.headers.get("webhook-timestamp", "")
    stated = [one.encode() for one in request.headers.get("webhook-signature", "").split(" ") if one.startswith("v1,")]
    refused = BadSignature("the signature of this message does not hold")
    if not message or not SECONDS.match(stamp) or abs(now.timestamp() - int(stamp)) > TOLERANCE_S:
        raise refused
    sent = datetime.fromtimestamp(int(stamp), UTC)
    for secret in secrets.get("deals_standard", ()):
        try:
            expected = Webhook(str(secret)).sign(message, sent, request.body.decode())
        except (ValueError, EmptyWebhookSecretError):
            # A secret that was written down wrongly, or a body that is no text: neither proves anything.
            continue
        if any(hmac.compare_digest(expected.encode(), one) for one in stated):
            return
    raise refused
