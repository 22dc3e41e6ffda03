"""What a running loop will have reached by each objective's day, and how former forecasts compare with results.

Source: analytics reference 6.4: counts by Gamma-Poisson, money by draws of past deal values, late deals by the
velocity curve of 5.2.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from closedloop.reports.survival import Wait, at, still_waiting

if TYPE_CHECKING:
    from numpy.random import Generator

DRAWS = 10_000
EVENTS_OF_A_POSTERIOR = 0.5
CAME = "came"


@dataclass(frozen=True, slots=True)
class Outlook:
    """What is likely reached: the middle, the span that holds it in 90 of 100 cases, the chance of the target."""

    middle: float
    low: float
    high: float
    probability: float


def velocity(waits: Iterable[Wait], days: int) -> list[float]:
    """The share of people who have come so far within each number of days, those still open never counted as lost.

    Units: the waits in days; the answer has days + 1 entries.
    """
    points = still_waiting(waits, {CAME})
    return [1 - at(points, day, 1.0).share for day in range(days + 1)]


def still_to_come(over: int, whole: int, curve: Sequence[float] = ()) -> float:
    """How much more comes from now to the end, as a multiple of what came so far, at an even arrival of people.

    Shapes: `curve` is the share that has come within each number of days; those who arrived lately are not through.
    """
    if over <= 0:
        return 0.0
    within = [curve[min(day, len(curve) - 1)] if curve else 1.0 for day in range(whole)]
    so_far = sum(within[:over])
    return (sum(within) - so_far) / so_far if so_far > 0 else (whole - over) / over


def outlook(
    units: int, attained: int, target: int, more: float, random: Generator, values: Sequence[int] = ()
) -> Outlook:
    """What an objective reaches by its day.

    Shapes: `units` came so far and are worth `attained`; `more` is still_to_come; `values` are what past units were
    worth, one each where they are only counted.
    """
    if more <= 0:
        return Outlook(attained, attained, attained, float(attained >= target))
    coming = random.poisson(random.gamma(units + EVENTS_OF_A_POSTERIOR, size=DRAWS) * more)
    if values:
        worth = np.array(values, dtype=float)
        reached = attained + random.multinomial(coming, np.full(len(worth), 1 / len(worth))) @ worth
    else:
        reached = attained + coming.astype(float)
    return of_draws(reached, target)


def of_draws(reached: Any, target: int) -> Outlook:
    """The middle, the span and the chance of a target of what was drawn."""
    in_order = np.sort(reached)
    low, middle, high = (float(in_order[int(place * (len(in_order) - 1))]) for place in (0.05, 0.5, 0.95))
    return Outlook(middle, low, high, float((in_order >= target).mean()))


@dataclass(frozen=True, slots=True)
class Compared:
    """A former forecast beside what came of it; `place` is where the result lies in the forecast, 0 to 1."""

    loop: str
    metric: str
    target: int
    low: float
    middle: float
    high: float
    result: float
    place: float
    within: bool


def compared(loop: str, metric: str, target: int, span: tuple[float, float, float], result: float) -> Compared:
    """Hold a result against the forecast that was made of it.

    Shapes: the span is low, middle, high; between them the place is read off in straight lines, and the tenth outside
    is spread as wide as the near half of the span.
    """
    low, middle, high = span
    below, above = max(middle - low, 1e-9), max(high - middle, 1e-9)
    marks = [low - below, low, middle, high, high + above]
    place = float(np.interp(result, marks, [0.0, 0.05, 0.5, 0.95, 1.0]))
    return Compared(loop, metric, target, low, middle, high, result, place, low <= result <= high)


def coverage(results: Sequence[Compared]) -> float | None:
    """The share of results inside their 90 % spans; about 0.9 when the forecasts are honest."""
    return sum(one.within for one in results) / len(results) if results else None
