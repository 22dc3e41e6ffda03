"""Who comes back: recency, frequency and money of what somebody bought, and whether somebody still is a customer."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

from closedloop.events.deals import WON
from closedloop.events.times import parse
from closedloop.profiles.ownership import quintiles
from closedloop.profiles.profile import DealState

LOYAL = 4
DAY_S = 86_400


class Purchase(NamedTuple):
    """One deal that was won and not wholly given back.

    Units: `paid_minor` in minor units of `currency`, refunds taken off.
    """

    at: datetime
    worth_minor: int
    currency: str


def purchases_of(deals: Mapping[str, DealState], as_of: datetime) -> list[Purchase]:
    """What somebody had bought by a moment and kept, oldest first."""
    found = (
        Purchase(parse(deal.won_at or deal.at), deal.amount_minor - deal.refunded_minor, deal.currency)
        for deal in deals.values() if deal.state == WON and deal.standing != "refunded"
    )
    return sorted(purchase for purchase in found if purchase.at <= as_of)


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a customer stands among all customers, each in fifths, 5 the best.

    Units: `days` since the last purchase; `worth_minor` in minor units of the currency that was asked for.
    """

    person: str
    days: int
    purchases: int
    worth_minor: int
    recency: int
    frequency: int
    money: int
    of: int

    @property
    def loyal(self) -> bool:
        """Bought lately and often, as customers go here.

        Source: analytics reference 5.5.
        """
        return self.recency >= LOYAL and self.frequency >= LOYAL

    @property
    def words(self) -> str:
        """The evidence in words."""
        times = "once" if self.purchases == 1 else f"{self.purchases} times"
        said = f"bought {times}, last {self.days} days ago: R {self.recency}, F {self.frequency} of {self.of} customers"
        return f"loyal: {said}" if self.loyal else said


def standings(
    customers: Iterable[tuple[str, Sequence[Purchase]]], currency: str, as_of: datetime
) -> list[Standing]:
    """Recency, frequency and money of everybody who bought, the best first.

    Shapes: money in other currencies is no money here, as none can be added to another.
    """
    bought = [(person, purchases) for person, purchases in customers if purchases]
    lasts = [max(one.at for one in purchases) for _, purchases in bought]
    counts = [len(purchases) for _, purchases in bought]
    worths = [sum(one.worth_minor for one in purchases if one.currency == currency) for _, purchases in bought]
    fifths = [quintiles(values) for values in ([at.timestamp() for at in lasts], counts, worths)]
    found = [
        Standing(person, int((as_of - last).total_seconds() // DAY_S), count, worth, r, f, m, len(bought))
        for (person, _), last, count, worth, r, f, m in zip(bought, lasts, counts, worths, *fifths, strict=True)
    ]
    return sorted(found, key=lambda one: (-one.recency - one.frequency, -one.money, -one.worth_minor, one.person))


class BetaGeometric(NamedTuple):
    """How customers of one list buy and stop to: the four parameters of BG/NBD."""

    r: float
    alpha: float
    a: float
    b: float


def alive(repeats: int, last: float, observed: float, how: BetaGeometric) -> float:
    """How likely a customer still is one, who bought again so often, the last time so long after the first.

    Units: `last` and `observed` are times since the first purchase, in the unit of the parameters.
    Source: Fader, Hardie, Lee, Marketing Science 2005; analytics reference 5.5.
    """
    if not repeats:
        return 1.0
    odds: float = how.a / (how.b + repeats - 1) * ((how.alpha + observed) / (how.alpha + last)) ** (how.r + repeats)
    return 1 / (1 + odds)
