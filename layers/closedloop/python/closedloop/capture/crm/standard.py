"""A CRM or shop that speaks our own words, signed by Standard Webhooks.

Source: the Standard Webhooks specification: webhook-id, webhook-timestamp and webhook-signature over the raw body.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, TypeAdapter, ValidationError, model_validator
from standardwebhooks.webhooks import EmptyWebhookSecretError, Webhook

from closedloop.capture import wire
from closedloop.capture.crm.told import NAMES, Message, Told
from closedloop.capture.request import Request
from closedloop.errors import BadShape, BadSignature
from closedloop.events.identifiers import Hasher, safe
from closedloop.events.money import digits
from closedloop.sites.definition import Site

TOLERANCE_S = 300
SECONDS = re.compile(r"[0-9]{1,11}\Z")


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
    product: Annotated[str, Field(max_length=300)] | None = None

    @model_validator(mode="after")
    def _money_has_its_currency(self) -> Deal:
        if self.amount_minor is not None and self.currency is None:
            raise ValueError("currency: is needed beside amount_minor, as three letters")
        if self.currency is not None and digits(self.currency) is None:
            raise ValueError("currency: expected a currency of ISO 4217")
        return self


class DealMessage(BaseModel):
    """One message about a deal; a payment or refund names its own sum, everything else the deal's."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    type: Literal["deal.opened", "deal.changed", "deal.won", "deal.lost", "deal.paid", "deal.refunded"]
    timestamp: wire.Moment | None = None
    data: Deal

    @model_validator(mode="after")
    def _a_payment_has_a_sum(self) -> DealMessage:
        if self.type == "deal.paid" and self.data.amount_minor is None:
            raise ValueError("data.amount_minor: is needed, since it is what was paid")
        return self


MESSAGE = TypeAdapter(DealMessage)


def verify(request: Request, secrets: Sequence[str], now: datetime) -> None:
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
    for secret in secrets:
        try:
            expected = Webhook(secret).sign(message, sent, request.body.decode())
        except (ValueError, EmptyWebhookSecretError):
            # A secret that was written down wrongly, or a body that is no text: neither proves anything.
            continue
        if any(hmac.compare_digest(expected.encode(), one) for one in stated):
            return
    raise refused


def read(request: Request, site: Site, hasher: Hasher) -> Message:
    """The one thing that a message says; its webhook-id names it.

    Errors: BadShape names the field.
    """
    try:
        message = MESSAGE.validate_json(request.body)
    except ValidationError as error:
        raise BadShape(wire.problem(error)) from error
    deal = message.data
    return Message((Told(
        id=safe(request.headers["webhook-id"]), name=NAMES[message.type.removeprefix("deal.")], deal=deal.id,
        at=wire.aware(message.timestamp), amount_minor=deal.amount_minor, currency=deal.currency, stage=deal.stage,
        email=deal.email, user_id=deal.user_id, product=deal.product,
    ),))
