"""The part of a loop's period that is over, and whose money counts in its sums."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from zoneinfo import ZoneInfo

from closedloop.loops.definition import Loop
from closedloop.reports.deals import Deal


@dataclass(frozen=True, slots=True)
class Window:
    """The part of the period that is over, in the loop's days."""

    first: date
    last: date
    today: date
    zone: ZoneInfo

    def day(self, moment: datetime) -> date:
        return moment.astimezone(self.zone).date()

    def holds(self, moment: datetime | None) -> bool:
        return moment is not None and self.first <= self.day(moment) <= self.last


def window(loop: Loop, as_of: datetime) -> Window:
    zone = ZoneInfo(loop.time_zone)
    today = as_of.astimezone(zone).date()
    return Window(loop.period.start, min(loop.period.end, today), today, zone)


def own_currency(deal: Deal, loop: Loop) -> bool:
    """Whether a deal counts in the loop's sums; one that names no currency is taken to be in the loop's."""
    return deal.currency in ("", loop.currency)
