"""What any CRM says of a deal, in our words."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from closedloop.capture import wire
from closedloop.capture.request import Answer, as_json
from closedloop.capture.wire import Bad
from closedloop.errors import BadShape
from closedloop.events import event as names
from closedloop.events.money import minor_units
from closedloop.sites.definition import Site

NAMES = {
    "opened": names.DEAL_OPENED, "changed": names.DEAL_CHANGED, "won": names.DEAL_WON, "lost": names.DEAL_LOST,
    "paid": names.DEAL_PAID, "refunded": names.DEAL_REFUNDED,
}
STORED = as_json(200, {"success": True})


@dataclass(frozen=True, slots=True)
class Told:
    """One thing said of a deal.

    Shapes: `id` is the same on every delivery; `at` is None where the sender names no time; `open` is true where the
    CRM's own stage says that the deal is open.
    Units: money in minor units of `currency`.
    """

    id: str
    name: str
    deal: str
    at: datetime | None
    amount_minor: int | None = None
    currency: str | None = None
    stage: str | None = None
    open: bool = False
    email: str | None = None
    user_id: str | None = None
    product: str | None = None


@dataclass(frozen=True, slots=True)
class Message:
    """A request as read: what can be kept, what cannot, and what the CRM wants to hear when it is stored.

    Shapes: the payload of what cannot be kept is a message by itself, so that it can be told again.
    """

    facts: tuple[Told, ...]
    bad: tuple[Bad, ...] = ()
    answer: Answer = STORED


class CrmDeal(BaseModel):
    """A deal as a CRM's fields say it; money as a decimal number, in the site's currency when none is named."""

    model_config = ConfigDict(extra="ignore", hide_input_in_errors=True)

    id: Annotated[wire.TextId, Field(min_length=1, max_length=200)]
    at: wire.Moment
    stage: Annotated[wire.TextId, Field(max_length=300)] | None = None
    amount: Any = None
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$")] | None = None
    email: Annotated[str, Field(max_length=300)] | None = None
    user_id: Annotated[wire.TextId, Field(max_length=1000)] | None = None
    product: Annotated[str, Field(max_length=300)] | None = None

    def told(self, event_id: str, site: Site, usual: Mapping[str, str]) -> Told:
        """What this says, the stage read as the site's file and then as the CRM's usual names have it.

        Errors: BadShape names the field.
        """
        step = "changed"
        if self.stage:
            step = site.webhooks.deal_stages.get(self.stage) or usual.get(self.stage) or "changed"
        currency, amount = self.currency or site.currency, None
        # The amount of a CRM's deal is its price: a stage that means refunded gives back all of it.
        if self.amount not in (None, "") and step != "refunded":
            if currency is None:
                raise BadShape("currency: the message names none, and the site's file has no currency")
            amount = minor_units(self.amount, currency, "amount")
        return Told(
            id=event_id, name=NAMES[step], deal=self.id, at=wire.aware(self.at), amount_minor=amount,
            currency=currency if amount is not None else self.currency or None, stage=self.stage or None,
            open=bool(self.stage) and step in ("opened", "changed"), email=self.email or None,
            user_id=self.user_id or None, product=self.product or None,
        )
