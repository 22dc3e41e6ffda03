"""Who comes back, week by week: of the people first seen in one week, how many are active in each week after it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import date, timedelta

from closedloop.reports.facts import CohortWeek
from closedloop.reports.window import Window

# More columns than these no page shows.
MOST_WEEKS = 12
WEEK = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Cohort:
    """The people first seen in one week, named after its Monday.

    Shapes: `active` is how many of them were active one week later, two weeks later, ...; weeks that are over, alone.
    """

    week: date
    people: int
    active: tuple[int, ...]


def cohorts(counted: Iterable[CohortWeek], seen: Window) -> tuple[Cohort, ...]:
    """A cohort for each week of the period so far, with the weeks after it that are over."""
    if seen.last < seen.first:
        return ()
    of_week = {(one.week, one.after): one.people for one in counted}
    found = []
    week = seen.first - timedelta(days=seen.first.weekday())
    while week <= seen.last:
        over = max(0, (seen.today - week).days // 7 - 1)
        found.append(Cohort(
            week, of_week.get((week, 0), 0),
            tuple(of_week.get((week, after), 0) for after in range(1, min(over, MOST_WEEKS) + 1)),
        ))
        week += WEEK
    return tuple(found)
