"""Rules that share the credit of a deal among its touchpoints: first, last, linear.

They keep accounts and prove no effect; the page that shows them says so. Credit is counted in exact fractions, and
money is rounded once for all channels together, so that it sums to the revenue to the last minor unit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from closedloop.attribution.journeys import NONE, Journey

Rule = Callable[[int], tuple[Fraction, ...]]


def first(touches: int) -> tuple[Fraction, ...]:
    """All credit to what was met first."""
    return (Fraction(1), *(Fraction(0),) * (touches - 1))


def last(touches: int) -> tuple[Fraction, ...]:
    """All credit to what was met last."""
    return (*(Fraction(0),) * (touches - 1), Fraction(1))


def linear(touches: int) -> tuple[Fraction, ...]:
    """The same credit to every touchpoint; repeats count."""
    return (Fraction(1, touches),) * touches


RULES: Mapping[str, Rule] = {"first": first, "last": last, "linear": linear}


@dataclass(frozen=True, slots=True)
class Credit:
    """What one channel is credited with by one rule.

    Units: `conversions` is exact and without unit; `value` is in minor units.
    """

    conversions: Fraction
    value: int


def credit(journeys: Iterable[Journey], rule: Rule) -> dict[str, Credit]:
    """Share the conversions and their value among the channels, conserving both exactly.

    Shapes: one entry per channel that was met; `(none)` holds the conversions without a touchpoint.
    Source: analytics reference 2.1, 2.2.
    """
    conversions: dict[str, Fraction] = {}
    values: dict[str, Fraction] = {}
    for journey in journeys:
        path = journey.path or (NONE,)
        for channel, weight in zip(path, rule(len(path)), strict=True):
            if weight:
                conversions[channel] = conversions.get(channel, Fraction(0)) + weight
                values[channel] = values.get(channel, Fraction(0)) + weight * journey.conversion.value
    channels = sorted(conversions)
    rounded = whole([values[channel] for channel in channels])
    return {channel: Credit(conversions[channel], value) for channel, value in zip(channels, rounded, strict=True)}


def whole(shares: Sequence[Fraction]) -> list[int]:
    """Round shares to whole numbers whose sum is the rounded sum of the shares.

    Each share moves by less than 1; of equal remainders the earlier one is rounded up.
    Source: the method of largest remainder (Hare-Niemeyer).
    """
    floors = [share.__floor__() for share in shares]
    missing = round(sum(shares, Fraction(0))) - sum(floors)
    by_remainder = sorted(range(len(shares)), key=lambda i: (floors[i] - shares[i], i))
    for place in by_remainder[:missing]:
        floors[place] += 1
    return floors
