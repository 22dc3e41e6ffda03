"""How long something takes when not everybody has got there yet: whoever is still on the way counts as such."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from math import sqrt

from closedloop.reports.statistics import Z_95, Interval

HALF = 0.5
# Products of shares carry rounding in their last digits: a half may come out a little above.
ROUNDING = 1e-12


@dataclass(frozen=True, slots=True)
class Wait:
    """People who waited equally long; `end` is what ended it, empty while they still wait."""

    time: float
    end: str
    people: int = 1


@dataclass(frozen=True, slots=True)
class Point:
    """From `time` on: the share still waiting, with its standard error, or the share that had reached an end.

    Shapes: `waiting` is how many people were waiting until then.
    """

    time: float
    share: float
    error: float = 0.0
    waiting: int = 0

    @property
    def interval(self) -> Interval:
        return Interval(max(0.0, self.share - Z_95 * self.error), min(1.0, self.share + Z_95 * self.error))


def still_waiting(waits: Iterable[Wait], ends: Collection[str]) -> tuple[Point, ...]:
    """The share that has reached none of the ends, a point for each time at which somebody did.

    Whoever still waits, or left by another way, counts as waiting until then and no longer.
    Source: Kaplan and Meier, JASA 1958, with Greenwood's error; analytics reference 5.2.
    """
    points: list[Point] = []
    share, spread = 1.0, 0.0
    for time, waiting, happened in _counted(waits):
        ended = sum(people for end, people in happened.items() if end in ends)
        if ended:
            share *= 1 - ended / waiting
            spread += ended / (waiting * (waiting - ended)) if ended < waiting else 0.0
            points.append(Point(time, share, share * sqrt(spread), waiting))
    return tuple(points)


def reached(waits: Iterable[Wait], end: str) -> tuple[Point, ...]:
    """The share that has reached one end while others were possible, a point for each time at which somebody did.

    Source: Aalen and Johansen, Scandinavian Journal of Statistics 1978; analytics reference 5.2.
    """
    points: list[Point] = []
    waiting_share, share = 1.0, 0.0
    for time, waiting, happened in _counted(waits):
        if happened.get(end):
            share += waiting_share * happened[end] / waiting
            points.append(Point(time, share, waiting=waiting))
        waiting_share *= 1 - sum(happened.values()) / waiting
    return tuple(points)


def _counted(waits: Iterable[Wait]) -> Iterable[tuple[float, int, dict[str, int]]]:
    """Each time at which something ended: how many were waiting until then, and how many came to which end."""
    ends: dict[float, dict[str, int]] = {}
    leaving: dict[float, int] = {}
    for wait in waits:
        leaving[wait.time] = leaving.get(wait.time, 0) + wait.people
        if wait.end and wait.people:
            of_time = ends.setdefault(wait.time, {})
            of_time[wait.end] = of_time.get(wait.end, 0) + wait.people
    waiting = sum(leaving.values())
    for time in sorted(leaving):
        if time in ends:
            yield time, waiting, ends[time]
        waiting -= leaving[time]


def median(points: Iterable[Point]) -> float | None:
    """When half had got there; nothing while fewer have."""
    return next((point.time for point in points if point.share <= HALF + ROUNDING), None)


def median_interval(points: Iterable[Point]) -> tuple[float | None, float | None]:
    """How sure that is: when the interval around the share still waiting begins and ceases to hold a half.

    Source: Brookmeyer and Crowley, Biometrics 1982, with plain intervals; the second is None while it is not reached.
    """
    known = tuple(points)
    low = next((point.time for point in known if point.interval.low <= HALF + ROUNDING), None)
    high = next((point.time for point in known if point.interval.high <= HALF + ROUNDING), None)
    return low, high


def at(points: Iterable[Point], time: float, before: float) -> Point:
    """A curve at a moment; `before` is the share before its first point."""
    return max((point for point in points if point.time <= time), key=lambda point: point.time,
               default=Point(0.0, before))


def is_known_at(waits: Iterable[Wait], time: float) -> bool:
    """Whether anybody waited so long, or nobody was left to wait: else the curves say nothing of that moment."""
    listed = [wait for wait in waits if wait.people]
    last = max((wait.time for wait in listed), default=0.0)
    return bool(listed) and (last >= time or not any(not wait.end and wait.time == last for wait in listed))
