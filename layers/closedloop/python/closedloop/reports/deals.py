"""Deals as of a moment, folded from what was said of them."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime

from closedloop.events.deals import STEPS, Word, fold_deal


@dataclass(frozen=True, slots=True)
class DealFact:
    """One thing said of a deal; `amount_minor` is None where no sum was named, `open`, `teller`, `day` as in `Word`."""

    deal: str
    site: str
    name: str
    person: str
    at: datetime
    amount_minor: int | None
    currency: str
    event: str
    open: bool = False
    teller: str = ""
    day: date = date.min


@dataclass(frozen=True, slots=True)
class Deal:
    """An opportunity as it stands.

    Shapes: `person` is empty while nobody is known to buy; `opened_at` is the first word of it; `won_at` and `lost_at`
    are None unless it stands so; `mixed` says that other currencies were named, whose refunds were not taken off.
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
    mixed: bool = False

    @property
    def revenue_minor(self) -> int:
        """What it brought, refunds taken off."""
        return self.value_minor - self.refunded_minor if self.won_at is not None else 0


def fold_deals(facts: Iterable[DealFact]) -> list[Deal]:
    """Each deal as its facts leave it, whatever order they came in.

    Whoever a step named last buys; who is named by a payment or refund alone may be anybody who handled it.
    """
    of_deal: dict[tuple[str, str], list[DealFact]] = {}
    for fact in facts:
        of_deal.setdefault((fact.site, fact.deal), []).append(fact)
    return [deal for (site, name), said in sorted(of_deal.items()) if (deal := _fold(site, name, said)) is not None]


def _fold(site: str, name: str, said: list[DealFact]) -> Deal | None:
    stands = fold_deal(
        Word(f.at, f.event, f.name, f.amount_minor, f.currency, f.open, f.teller, f.day) for f in said
    )
    if stands is None:
        return None
    named = [fact for fact in sorted(said, key=lambda fact: (fact.at, fact.event)) if fact.person]
    buyers = [fact.person for fact in named if fact.name in STEPS] or [fact.person for fact in named]
    return Deal(
        deal=name, site=site, person=buyers[-1] if buyers else "", opened_at=stands.opened_at, won_at=stands.won_at,
        lost_at=stands.lost_at, value_minor=stands.amount_minor, refunded_minor=stands.refunded_minor,
        currency=stands.currency, mixed=stands.mixed,
    )
