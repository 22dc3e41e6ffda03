"""What a new report says differently of days that a former one had shown, and what came in between that may be why."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING

from closedloop.events import event as names
from closedloop.events.times import parse

if TYPE_CHECKING:
    from closedloop.reports.facts import ReceivedSince
    from closedloop.reports.metrics import Report

WEEK = timedelta(days=7)
# What a fact received late means to a reader; any other name is a late fact like others.
MEANINGS = {
    names.DEAL_REFUNDED: "refund", names.ORDER_REFUNDED: "refund", names.ORDER_CANCELLED: "refund",
    names.DEAL_WON: "late_deal", names.DEAL_OPENED: "late_deal", names.DEAL_CHANGED: "late_deal",
    names.DEAL_LOST: "late_deal", names.DEAL_PAID: "late_deal", names.ORDER_COMPLETED: "late_deal",
    names.ORDER_UPDATED: "late_deal", names.PERSONS_MERGED: "merge", names.PERSONS_SPLIT: "split",
    names.COST_REPORTED: "late_cost", "List Row Retracted": "retracted",
}
LATE, ERASURE, DEFINITION, UNEXPLAINED = "late_fact", "erasure", "definition", "unexplained"


@dataclass(frozen=True, slots=True)
class Restated:
    """A figure of days that a former report had shown, as it was then and as it is now.

    Units: people, deals, or minor units of the loop's currency; `first` and `last` are the days that changed, or the
    Mondays of the weeks.
    """

    figure: str
    before: int
    now: int
    first: date
    last: date


@dataclass(frozen=True, slots=True)
class Reason:
    """Why figures may have changed: so many facts of a kind, and the sum that they name."""

    why: str
    facts: int
    amount_minor: int = 0
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Changes:
    """What changed since the former report, and why; nothing restated, no reason."""

    former: str
    former_as_of: str
    restated: tuple[Restated, ...]
    reasons: tuple[Reason, ...]


@dataclass(frozen=True, slots=True)
class Difference:
    """A key figure of two reports; None where one of them could not tell it."""

    figure: str
    money: bool
    before: int | None
    now: int | None


DAILY: Sequence[str] = ("deals_opened", "deals_won", "revenue_minor", "new_persons")
WEEKLY: Sequence[str] = ("unique_users", "first_seen")
# The figures by which two reports are compared, and whether they are money.
KEY_FIGURES: Sequence[tuple[str, bool, Callable[[Report], int | None]]] = (
    ("unique_users", False, lambda report: report.people.unique_users),
    ("new_persons", False, lambda report: report.people.new_persons),
    ("new_with_fit", False, lambda report: report.people.new_with_fit),
    ("persons_in_loop", False, lambda report: report.people.persons_in_loop),
    ("deals_opened", False, lambda report: report.money.deals_opened),
    ("deals_won", False, lambda report: report.money.deals_won),
    ("revenue_minor", True, lambda report: report.money.revenue_minor),
    ("refunded_minor", True, lambda report: report.money.refunded_minor),
    ("cost_minor", True, lambda report: report.money.cost_minor),
)


def changes(
    former: Report, report: Report, received: Iterable[ReceivedSince], erased: Iterable[datetime]
) -> Changes:
    """What a report says differently of the days before the former one, with what came in between.

    Only days that were over then are compared, and weeks that were: what goes on is no restatement.
    """
    restated = tuple(_restated(former, report))
    return Changes(former.version, former.as_of, restated,
                   tuple(_reasons(former, report, received, erased)) if restated else ())


def _restated(former: Report, report: Report) -> Iterable[Restated]:
    over = former.day
    for figure in DAILY:
        then = {one.day: int(getattr(one, figure)) for one in former.days if one.day < over}
        now = {one.day: int(getattr(one, figure)) for one in report.days if one.day < over}
        yield from _differing(figure, then, now)
    for figure in WEEKLY:
        then = {one.week: int(getattr(one, figure)) for one in former.weeks if one.week + WEEK <= over}
        now = {one.week: int(getattr(one, figure)) for one in report.weeks if one.week + WEEK <= over}
        yield from _differing(figure, then, now)


def _differing(figure: str, then: dict[date, int], now: dict[date, int]) -> Iterable[Restated]:
    other = [day for day in sorted(then.keys() & now.keys()) if then[day] != now[day]]
    if other:
        yield Restated(figure, sum(then[day] for day in other), sum(now[day] for day in other), other[0], other[-1])


def _reasons(
    former: Report, report: Report, received: Iterable[ReceivedSince], erased: Iterable[datetime]
) -> Iterable[Reason]:
    sums: dict[tuple[str, str], tuple[int, int]] = {}
    for one in received:
        key = MEANINGS.get(one.name, LATE), one.currency
        facts, amount = sums.get(key, (0, 0))
        sums[key] = facts + one.facts, amount + one.amount_minor
    gone = sum(parse(former.as_of) < at <= parse(report.as_of) for at in erased)
    if gone:
        sums[ERASURE, ""] = gone, 0
    if former.loop_version != report.loop_version:
        sums[DEFINITION, ""] = 1, 0
    for (why, currency), (facts, amount) in sorted(sums.items()):
        yield Reason(why, facts, amount, currency)
    if not sums:
        yield Reason(UNEXPLAINED, 0)


def differences(before: Report, now: Report) -> tuple[Difference, ...]:
    """The key figures of two reports that are not the same."""
    both = ((figure, money, of(before), of(now)) for figure, money, of in KEY_FIGURES)
    return tuple(Difference(*one) for one in both if one[2] != one[3])
