"""What is bought after what: how much more often, how sure that is, and to whom it may be offered now."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from closedloop.reports.statistics import Interval, newcombe

LEAST_BOTH = 20
# The first time that somebody bought each thing, by what it is called.
History = Mapping[str, datetime]


@dataclass(frozen=True, slots=True)
class CrossSell:
    """How often owners of one thing buy another within the horizon, beside everybody else.

    Shapes: `owners` had the first and not yet the second, and were seen for the whole horizon; `others` are all other
    customers; `difference` is of the two shares.
    """

    first: str
    then: str
    both: int
    owners: int
    others_bought: int
    others: int
    lift: float
    difference: Interval

    @property
    def enough(self) -> bool:
        """Whether there are enough who bought both to say anything.

        Source: analytics reference 5.5.
        """
        return self.both >= LEAST_BOTH

    @property
    def proven(self) -> bool:
        """Whether owners really buy it more often."""
        return self.enough and self.difference.low > 0

    @property
    def words(self) -> str:
        """What may be said."""
        if not self.enough:
            return f"not enough evidence: {self.both} bought both, {LEAST_BOTH} are needed"
        if self.proven:
            return "bought more often"
        return "bought less often" if self.difference.high < 0 else "no difference is shown"


@dataclass(frozen=True, slots=True)
class Candidate:
    """Somebody who owns the first thing, not the second, and is still within the horizon."""

    person: str
    pair: CrossSell
    since: datetime


def cross_sell(customers: Iterable[History], as_of: datetime, horizon: timedelta) -> list[CrossSell]:
    """Every two things that somebody bought one after the other, the highest lift first among those with evidence.

    Only what was bought after the first counts, and only owners whose horizon has passed: whoever bought too lately is
    left out, whoever had the second thing before or at the same moment is one of the others. The others are counted
    over all the time, so that the lift is rather too low than too high.

    Source: analytics reference 5.5.
    """
    everybody = [bought for history in customers if (bought := _until(history, as_of))]
    buyers: dict[str, int] = {}
    seen: dict[str, int] = {}
    late: dict[str, int] = {}
    # Of those who had the second before the first, and who bought it afterwards: seen for the whole horizon, or late.
    before: dict[tuple[str, str, bool], int] = {}
    after: dict[tuple[str, str, bool], int] = {}
    both: dict[tuple[str, str], int] = {}
    for bought in everybody:
        for first, since in bought.items():
            buyers[first] = buyers.get(first, 0) + 1
            whole = since <= as_of - horizon
            of = seen if whole else late
            of[first] = of.get(first, 0) + 1
            for then, at in bought.items():
                if then == first:
                    continue
                order = before if at <= since else after
                order[first, then, whole] = order.get((first, then, whole), 0) + 1
                if whole and since < at <= since + horizon:
                    both[first, then] = both.get((first, then), 0) + 1
    found = []
    for first, then in both:
        owners = seen[first] - before.get((first, then, True), 0)
        others = len(everybody) - owners - late.get(first, 0) + before.get((first, then, False), 0)
        others_bought = buyers[then] - after.get((first, then, True), 0) - after.get((first, then, False), 0)
        count = both[first, then]
        difference = newcombe(count, owners, others_bought, others)
        if difference is not None:
            usual = (count + others_bought) / (owners + others)
            found.append(CrossSell(
                first, then, count, owners, others_bought, others, count / owners / usual, difference
            ))
    return sorted(found, key=lambda one: (not one.enough, -one.lift, one.first, one.then))


def _until(history: History, as_of: datetime) -> dict[str, datetime]:
    return {name: at for name, at in history.items() if at <= as_of}


def candidates(
    customers: Iterable[tuple[str, History]], pairs: Sequence[CrossSell], as_of: datetime, horizon: timedelta
) -> list[Candidate]:
    """To whom what is proven to follow may be offered now: they own the first and not the second, not too long ago."""
    proven = [pair for pair in pairs if pair.proven]
    found = []
    for person, history in customers:
        owned = _until(history, as_of)
        for pair in proven:
            since = owned.get(pair.first)
            if since is not None and pair.then not in owned and as_of < since + horizon:
                found.append(Candidate(person, pair, since))
    return sorted(found, key=lambda one: (-one.pair.lift, one.since, one.person))
