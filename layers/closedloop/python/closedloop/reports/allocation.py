"""The budget between campaigns: moved until the last unit of money brings the same everywhere.

Source: analytics reference 6.3; response a·s^b, a Thompson portfolio over draws of a and b.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator

Draws = np.ndarray[Any, Any]

DRAWS = 2_000
MOST_MOVED = 0.3
EXPONENT, EXPONENT_SPREAD = 0.5, 0.15
LEAST_EXPONENT, MOST_EXPONENT = 0.1, 0.9
HALVINGS = 80
# Credit is written with six places: what is less is none.
LEAST_CREDIT = 1e-6


@dataclass(frozen=True, slots=True)
class Spend:
    """One campaign's money: what it cost and brought, and what it should get.

    Units: minor units; `deals` are incremental where a holdout measured them, else credited; a marginal cost is that
    of one deal more.
    """

    campaign: str
    now_minor: int
    proposed_minor: int
    deals: float
    marginal_cost_minor: float | None


@dataclass(frozen=True, slots=True)
class Split:
    """A budget between campaigns, with the probability that it brings more than the present one."""

    spends: tuple[Spend, ...]
    probability: float


def optimum(a: Draws, b: Draws, worth: Draws, low: Draws, high: Draws, budget: float) -> Draws:
    """The spends of equal marginal value that sum to a budget, each within its bounds.

    Shapes: rows are draws, columns campaigns; the bounds sum to at most and at least the budget.
    """
    # The marginal value a·b·s^(b-1)·v falls as the spend grows: its logarithm is bisected.
    scale = np.log(np.maximum(a * b * worth, 1e-300))
    least = (scale + (b - 1) * np.log(np.maximum(high, 1e-9))).min(axis=1)
    most = (scale + (b - 1) * np.log(np.maximum(low, 1e-9))).max(axis=1)

    def spends(level: Draws) -> Draws:
        wanted: Draws = np.exp(np.clip((scale - level[:, None]) / (1 - b), -700, 700))
        return wanted.clip(low, high)

    for _ in range(HALVINGS):
        middle = (least + most) / 2
        over = spends(middle).sum(axis=1) > budget
        least, most = np.where(over, middle, least), np.where(over, most, middle)
    return spends(most)


def split(
    campaigns: Sequence[tuple[str, int, float, float]], budget: int, random: Generator, *,
    most_moved: float = MOST_MOVED,
) -> Split | None:
    """Share a budget out; nothing where it cannot be reached within what may be moved in one loop.

    Shapes: each campaign with its spend in minor units, above zero, its deals, and what one of them is worth.
    """
    if not campaigns:
        return None
    now = np.array([spend for _, spend, _, _ in campaigns], dtype=float)
    low, high = np.ceil(now * (1 - most_moved)), np.floor(now * (1 + most_moved))
    if not low.sum() <= budget <= high.sum():
        return None
    deals = np.array([won for _, _, won, _ in campaigns])
    worth = np.tile([value for _, _, _, value in campaigns], (DRAWS, 1))
    exponent = random.normal(EXPONENT, EXPONENT_SPREAD, (DRAWS, 1)).clip(LEAST_EXPONENT, MOST_EXPONENT)
    b = np.tile(exponent, (1, len(campaigns)))
    a = random.gamma(deals + 0.5, size=(DRAWS, len(campaigns))) / now**b
    mean = optimum(a, b, worth, low, high, float(budget)).mean(axis=0)
    proposed = _whole(mean, low, high, budget)
    even = now * (budget / now.sum())
    gained = (a * proposed**b * worth).sum(axis=1) - (a * even**b * worth).sum(axis=1)
    return Split(tuple(
        Spend(name, spend, int(share), float(won),
              float(share / (EXPONENT * expected)) if expected >= LEAST_CREDIT else None)
        for (name, spend, won, _), share, expected in zip(
            campaigns, proposed, deals * (proposed / now) ** EXPONENT, strict=True,
        )
    ), float((gained > 0).mean()))


def _whole(mean: Draws, low: Draws, high: Draws, budget: int) -> Draws:
    """Whole minor units that sum to the budget, each within its bounds."""
    shares = np.clip(np.floor(mean), low, high)
    missing = int(budget - shares.sum())
    for at in np.argsort(-(mean - shares), kind="stable"):
        step = min(max(missing, int(low[at] - shares[at])), int(high[at] - shares[at]))
        shares[at] += step
        missing -= step
    return shares
