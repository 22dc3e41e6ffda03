"""How a deal stands: what was said of it, folded the same way for profiles and for reports."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, datetime
from typing import NamedTuple
from zoneinfo import ZoneInfo

from closedloop.events import event as names
from closedloop.events.event import Door, Event

OPENED, CHANGED, WON, LOST = "opened", "changed", "won", "lost"
# What an event says of a deal: a step of its own, or money that came in or went back.
STEPS = {
    names.DEAL_OPENED: OPENED, names.DEAL_CHANGED: CHANGED, names.DEAL_WON: WON, names.DEAL_LOST: LOST,
    names.ORDER_COMPLETED: WON, names.ORDER_UPDATED: CHANGED, names.ORDER_CANCELLED: LOST,
}
REFUNDS = frozenset((names.DEAL_REFUNDED, names.ORDER_REFUNDED))
# Whoever these name may only have handled the money.
HANDLED = REFUNDS | {names.DEAL_PAID}


class Word(NamedTuple):
    """One thing said of a deal.

    Shapes: `event` is the event's id, which settles ties of time; `amount_minor` is None and `currency` empty where
    none was named; `open` is true where the CRM's own stage says that the deal is open now; `teller` is the door or
    list that said it, and `day` the site's own day of it.
    """

    at: datetime
    event: str
    name: str
    amount_minor: int | None = None
    currency: str = ""
    open: bool = False
    teller: str = ""
    day: date = date.min


def word_of(event: Event, time_zone: str) -> Word:
    """What an event says of its deal."""
    told = event.properties
    amount = told.get("amount_minor")
    return Word(
        event.occurred_at, event.id, event.name, amount if isinstance(amount, int) else None,
        str(told.get("currency") or ""), told.get("stage_is_open") is True, teller(event.door, told.get("list")),
        day_of(event.occurred_at, time_zone),
    )


def teller(door: str, of_list: object) -> str:
    """Who says something of a deal: a door, and of lists which one."""
    return f"{door} {of_list}" if door == Door.LIST else door


def day_of(at: datetime, time_zone: str) -> date:
    """The day of a moment where the site keeps its books."""
    return at.astimezone(ZoneInfo(time_zone)).date()


@dataclass(frozen=True, slots=True)
class Standing:
    """A deal as its words leave it.

    Shapes: `state` is opened, won or lost; `opened_at` is the first step and `at` the last one; `won_at` and `lost_at`
    are None unless it stands so; `mixed` is true when other currencies than `currency` were named.
    Units: money in minor units of `currency`; what was refunded is never more than the deal brought.
    """

    state: str
    amount_minor: int
    currency: str
    opened_at: datetime
    at: datetime
    won_at: datetime | None
    lost_at: datetime | None
    refunded_minor: int
    paid_minor: int
    mixed: bool


def fold_deal(said: Iterable[Word]) -> Standing | None:
    """A deal as its words leave it, in whatever order and however often they came; None while no step was told.

    The last word on winning and losing counts, and the last sum named with its currency. What was won stays won until
    it is lost or the CRM's stage says that it is open again: a late message about the opening takes nothing back. A
    refund without a sum gives back everything, and counts even when its sender's clock puts it before the sale. One sum
    that a CRM and a list tell of one day is one payment or refund; told twice by one of them, it is two.
    """
    words = sorted(set(said), key=lambda word: (word.at, word.event))
    steps = [word for word in words if word.name in STEPS]
    if not steps:
        return None
    amount, currency = 0, ""
    won_at: datetime | None = None
    lost_at: datetime | None = None
    for word in steps:
        step = STEPS[word.name]
        if step != LOST and word.amount_minor is not None:
            amount, currency = word.amount_minor, word.currency or currency
        if step == WON:
            won_at, lost_at = won_at or word.at, None
        elif step == LOST:
            won_at, lost_at = None, word.at
        elif word.open:
            won_at, lost_at = None, None
        elif step == OPENED:
            lost_at = None
    return Standing(
        state=WON if won_at else LOST if lost_at else OPENED, amount_minor=amount, currency=currency,
        opened_at=steps[0].at, at=steps[-1].at, won_at=won_at, lost_at=lost_at,
        refunded_minor=min(amount, _sum(words, REFUNDS, currency, otherwise=amount)),
        paid_minor=_sum(words, {names.DEAL_PAID}, currency, otherwise=0),
        mixed=bool(currency) and any(word.currency not in ("", currency) for word in words),
    )


def _sum(words: Iterable[Word], of: Iterable[str], currency: str, *, otherwise: int) -> int:
    """What these words come to in one currency, as none is taken off another; `otherwise` where no sum was named."""
    told = Counter(
        (word.teller, word.day, otherwise if word.amount_minor is None else word.amount_minor)
        for word in words if word.name in of and (not currency or word.currency in ("", currency))
    )
    times: dict[tuple[date, int], int] = {}
    for (_, day, amount), count in told.items():
        times[day, amount] = max(count, times.get((day, amount), 0))
    return sum(amount * count for (_, amount), count in times.items())
