"""Interest that fades: forward decay as exact integer sums, readable at any time without folding again.

What was shown to somebody in vain has sums of its own, which fade more slowly; reading takes them off.

Source: G. Cormode, V. Shkapenyuk, D. Srivastava, B. Xu, Forward Decay, ICDE 2009.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from functools import lru_cache

import msgspec

from closedloop.events.times import iso

LANDMARK = datetime(2026, 1, 1, tzinfo=UTC)
HALF_LIFE = timedelta(days=30)
IGNORED_HALF_LIFE = timedelta(days=180)
SCALE = 1_000_000
MOST_HALVES = 900.0


class Ignored(msgspec.Struct, frozen=True, array_like=True, gc=False):
    """What somebody was shown of a topic without a reaction: what is settled, and what a later reaction may still undo.

    Shapes: `waiting` are the moments, as ISO texts, at which more will count, each with what it adds.
    Units: millionths of a point as of the landmark, fading by `IGNORED_HALF_LIFE`.
    """

    settled: int
    waiting: tuple[tuple[str, int], ...] = ()

    def total(self, at: datetime) -> int:
        """What counts at a moment."""
        now = iso(at)
        return self.settled + sum(adds for due, adds in self.waiting if due <= now)


def weight(points: float, at: datetime, landmark: datetime = LANDMARK, half_life: timedelta = HALF_LIFE) -> int:
    """What points earned at a moment add to a sum, so that older sums need no rewriting.

    Units: points in, millionths of a point as of the landmark out.
    """
    return round(points * math.exp2(_halves(at, landmark, half_life)) * SCALE)


def _halves(at: datetime, landmark: datetime, half_life: timedelta) -> float:
    """How many half-lives lie between landmark and moment, within what a float can hold."""
    return max(-MOST_HALVES, min(MOST_HALVES, (at - landmark) / half_life))


def score(total: int, at: datetime, landmark: datetime = LANDMARK, half_life: timedelta = HALF_LIFE) -> float:
    """What a sum is worth at a moment, in points."""
    return total / SCALE * _worth(at, landmark, half_life)


@lru_cache(256)
def _worth(at: datetime, landmark: datetime, half_life: timedelta) -> float:
    """What a point of the landmark is worth at a moment; scores are asked for at one moment, of many people."""
    return math.exp2(-_halves(at, landmark, half_life))


def shown(total: int, at: datetime) -> float:
    """What a sum is worth at a moment as it is shown and held against what is asked for: in hundredths of a point."""
    return round(score(total, at), 2)


def remaining(total: int, ignored: Ignored | None, at: datetime) -> float:
    """How much somebody cares about a topic at a moment, in hundredths of a point: earned, less shown in vain.

    Shapes: never less than nothing.
    """
    return shown(total, at) if ignored is None else max(0.0, balance(total, ignored.total(at), at))


def balance(earned: int, lost: int, at: datetime) -> float:
    """What two sums leave of each other at a moment, in hundredths of a point; it may be less than nothing."""
    return round(score(earned, at) - score(lost, at, half_life=IGNORED_HALF_LIFE), 2)


def least_total(points: float, at: datetime) -> int:
    """The least sum that shows so many points at a moment: the threshold moves, the sums do not.

    Source: analytics reference 3.1, consequence 2.
    """
    # No rounding on the way turns the order of two sums round, so the border can be searched for.
    fade = score(SCALE, at)
    near, margin = round(points / fade * SCALE), round(0.02 / fade * SCALE) + 2
    low, high = near - margin, near + margin
    while high - low > 1:
        middle = (low + high) // 2
        if shown(middle, at) >= points:
            high = middle
        else:
            low = middle
    return high


def falls_below(
    total: int, threshold: float, landmark: datetime = LANDMARK, half_life: timedelta = HALF_LIFE
) -> datetime | None:
    """When a sum will be worth less than a threshold; nothing when it never is worth anything.

    Units: `threshold` in points, above zero.
    """
    if total <= 0:
        return None
    return landmark + half_life * math.log2(total / SCALE / threshold)


def share(totals: Mapping[str, int], topic: str) -> float:
    """What part of all that was earned one topic has, from 0 to 1; the same at every moment, as all fade alike."""
    everything = sum(totals.values())
    return totals.get(topic, 0) / everything if everything else 0.0
