"""Journeys: the touchpoints that one buyer met on the way to one deal."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

LOOKBACK = timedelta(days=90)
NONE = "(none)"


@dataclass(frozen=True, slots=True, order=True)
class Touch:
    """One touchpoint of a buyer: when, through which channel, told by which event.

    Shapes: `channel` is the name of a loop's campaign where one is known, else how and from where the buyer came.
    """

    at: datetime
    event: str
    channel: str


@dataclass(frozen=True, slots=True)
class Conversion:
    """What a journey ends in: a deal won, or a person becoming known.

    Units: `value` is in minor units of one currency; it may be 0, and negative where more was refunded than paid.
    """

    id: str
    person: str
    at: datetime
    value: int = 0


@dataclass(frozen=True, slots=True)
class Journey:
    """The touchpoints in order, and what they led to.

    Shapes: `touches` is empty where nothing was met within the lookback; the credit then goes to `(none)`.
    """

    conversion: Conversion
    touches: tuple[Touch, ...]

    @property
    def path(self) -> tuple[str, ...]:
        """The channels in order."""
        return tuple(touch.channel for touch in self.touches)


def journeys(
    conversions: Iterable[Conversion], touches: Mapping[str, Iterable[Touch]], lookback: timedelta = LOOKBACK
) -> list[Journey]:
    """Cut each person's touchpoints into the journeys that end at their conversions, oldest first.

    A journey ends at its conversion, which it includes; what comes later belongs to the next one. A touchpoint older
    than the lookback belongs to none.
    Source: analytics reference 2.1.
    """
    of_person: dict[str, list[Conversion]] = {}
    for conversion in conversions:
        of_person.setdefault(conversion.person, []).append(conversion)
    cut = []
    for person, ends in of_person.items():
        met = sorted(touches.get(person, ()))
        moments = [touch.at for touch in met]
        start = 0
        for conversion in sorted(ends, key=lambda end: (end.at, end.id)):
            end = bisect_right(moments, conversion.at)
            first = max(start, bisect_left(moments, conversion.at - lookback))
            cut.append(Journey(conversion, tuple(met[first:end])))
            start = max(start, end)
    return sorted(cut, key=lambda journey: (journey.conversion.at, journey.conversion.id))
