"""How high a gate's threshold should stand when sales can take on only so many.

Source: analytics reference 6.2.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator

DRAWS = 10_000


@dataclass(frozen=True, slots=True)
class Bucket:
    """People of about one score: the least of it, how many they are, and how many of those whom it was seen of won."""

    at_least: float
    people: float
    won: float
    of: float


@dataclass(frozen=True, slots=True)
class Cut:
    """A threshold, what passing those above it is worth, and what one place more at sales would be worth."""

    at_least: float
    value: float
    shadow_price: float


def cut(buckets: Sequence[Bucket], rates: Sequence[float], worth: float, cost: float, capacity: float | None) -> Cut:
    """The threshold that passes whoever is worth it, the best first, while sales has room.

    Shapes: the buckets' rates are given; no capacity means endless. A bucket passes whole or not at all.
    """
    order = sorted(range(len(buckets)), key=lambda at: -buckets[at].at_least)
    passed, value, least, shadow = 0.0, 0.0, float("inf"), 0.0
    for at in order:
        margin = rates[at] * worth - cost
        if margin <= 0:
            break
        if capacity is not None and passed + buckets[at].people > capacity:
            shadow = margin
            break
        passed, value, least = passed + buckets[at].people, value + buckets[at].people * margin, buckets[at].at_least
    return Cut(least, value, shadow)


def better(
    buckets: Sequence[Bucket], now: float, new: float, worth: float, cost: float, capacity: float | None,
    random: Generator,
) -> float:
    """The probability that another threshold brings more than the present one.

    Whom a threshold passes beyond capacity sales meets in no order, so all of them get the same part of its time.
    """
    rates = np.stack([random.beta(b.won + 0.5, b.of - b.won + 0.5, DRAWS) for b in buckets])
    return float((_worth_of(buckets, rates, new, worth, cost, capacity)
                  > _worth_of(buckets, rates, now, worth, cost, capacity)).mean())


def _worth_of(
    buckets: Sequence[Bucket], rates: Any, least: float, worth: float, cost: float, capacity: float | None
) -> Any:
    passed = np.array([b.people if b.at_least >= least else 0.0 for b in buckets])
    room = 1.0 if capacity is None or passed.sum() <= capacity else capacity / passed.sum()
    return ((rates * worth - cost) * passed[:, None]).sum(axis=0) * room
