"""Deals as of a moment, folded from what was said of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime

from closedloop.events.event import DEAL_CHANGED, DEAL_LOST, DEAL_OPENED, DEAL_REFUNDED, DEAL_WON


@dataclass(frozen=True, slots=True)
class DealFact:
    """One thing said of a deal; `amount_minor` is None where no sum was named."""

    deal: str
    site: str
    name: str
    person: str
    at: datetime
    amount_minor: int | None
    currency: str
    event: str


@dataclass(frozen=True, slots=True)
class Deal:
    """An opportunity as it stands.

    Shapes: `person` is empty while nobody is known to buy; `opened_at` is the first word of it; `won_at` and `lost_at`
    are None unless it stands so.
    Units: `value_minor` and `refunded_minor` are in minor units of `currency`.
    """

    deal: str
    site: str
    person: str
    opened_at: datetime
    won_at: datetime | None
    lost_at: datetime | None
    value_minor: int
    refunded_minor: int
    currency: str

    @property
    def revenue_minor(self) -> int:
        """What it brought, refunds taken off."""
        return self.value_minor - self.refunded_minor if self.won_at is not None else 0


def fold_deals(facts: Iterable[DealFact]) -> list[Deal]:
    """Each deal as its facts leave it, whatever order they came in.

    The last word on winning and losing counts, and the last sum named; a refund without a sum gives back everything.
    """
    of_deal: dict[str, list[DealFact]] = {}
    for fact in facts:
        of_deal.setdefault(fact.deal, []).append(fact)
    return [_fold(name, sorted(said, key=lambda f: (f.at, f.event))) for name, said in sorted(of_deal.items())]


def _fold(name: str, said: list[DealFact]) -> Deal:
    value = 0
    refunded: int | None = 0
    currency = ""
    won_at: datetime | None = None
    lost_at: datetime | None = None
    for fact in said:
        if fact.name == DEAL_REFUNDED:
            # None: everything is given back, whatever it comes to.
            refunded = None if fact.amount_minor is None or refunded is None else refunded + fact.amount_minor
            continue
        if fact.amount_minor is not None and fact.name in (DEAL_OPENED, DEAL_CHANGED, DEAL_WON):
            value = fact.amount_minor
            currency = fact.currency or currency
        if fact.name == DEAL_WON:
            won_at, lost_at = won_at or fact.at, None
        elif fact.name == DEAL_LOST:
            won_at, lost_at = None, fact.at
        elif fact.name == DEAL_OPENED and lost_at is not None:
            lost_at = None
    persons = [fact.person for fact in said if fact.person]
    return Deal(
        deal=name, site=said[0].site, person=persons[-1] if persons else "", opened_at=said[0].at, won_at=won_at,
        lost_at=lost_at, value_minor=value, refunded_minor=value if refunded is None else refunded, currency=currency,
    )
