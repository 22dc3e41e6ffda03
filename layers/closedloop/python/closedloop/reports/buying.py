"""How the customers of one list buy and stop to, fitted to what they bought: the parameters behind P(alive)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import lgamma
from typing import Any, NamedTuple

import numpy as np

from closedloop.profiles.loyalty import BetaGeometric

LEAST_CUSTOMERS = 100
LEAST_AGAIN = 20
ROUNDS = 2000
CLOSE = 1e-7


class Bought(NamedTuple):
    """How often somebody bought again, when last, and how long we have seen them.

    Units: weeks since the first purchase.
    """

    repeats: int
    last: float
    observed: float


def fitted(customers: Sequence[Bought]) -> BetaGeometric | None:
    """The parameters that explain these customers best; nothing where too few came back to say.

    Source: Fader, Hardie, Lee, Marketing Science 2005; the search is that of Nelder and Mead, 1965.
    """
    if len(customers) < LEAST_CUSTOMERS or sum(one.repeats > 0 for one in customers) < LEAST_AGAIN:
        return None
    repeats, place = np.unique([one.repeats for one in customers], return_inverse=True)
    last, observed = (np.array([getattr(one, name) for one in customers]) for name in ("last", "observed"))
    again = repeats[place] > 0

    def misfit(logs: Any) -> float:
        r, alpha, a, b = np.exp(np.clip(logs, -12, 12))
        # What depends on the count alone is computed once a count.
        shared = np.array([lgamma(r + x) - lgamma(r) + r * np.log(alpha) for x in repeats])[place]
        stays = np.array([_log_beta(a, b + x) - _log_beta(a, b) for x in repeats])[place]
        left = np.array([_log_beta(a + 1, b + x - 1) - _log_beta(a, b) if x else 0.0 for x in repeats])[place]
        power = r + repeats[place]
        stays = stays - power * np.log(alpha + observed)
        left = np.where(again, left - power * np.log(alpha + last), -np.inf)
        return -float(np.sum(shared + np.logaddexp(stays, left)))

    return BetaGeometric(*(float(value) for value in np.exp(np.clip(_least(misfit, np.zeros(4)), -12, 12))))


def _log_beta(a: float, b: float) -> float:
    return lgamma(a) + lgamma(b) - lgamma(a + b)


def _least(misfit: Callable[[Any], float], start: Any) -> Any:
    """Where a function is least, by a simplex that walks downhill without any derivative."""
    points = [start, *(start + step for step in np.eye(len(start)))]
    found = sorted((misfit(point), tuple(point)) for point in points)
    for _ in range(ROUNDS):
        if found[-1][0] - found[0][0] < CLOSE:
            break
        worst = np.array(found[-1][1])
        middle = np.mean([point for _, point in found[:-1]], axis=0)

        def tried(factor: float, middle: Any = middle, worst: Any = worst) -> tuple[float, tuple[float, ...]]:
            point = middle + factor * (middle - worst)
            return misfit(point), tuple(point)

        new = tried(1)
        if new < found[0]:
            new = min(new, tried(2))
        elif new >= found[-2]:
            new = min(tried(0.5), tried(-0.5))
        if new < found[-1]:
            found[-1] = new
        else:
            best = np.array(found[0][1])
            shrunk = ((np.array(point) + best) / 2 for _, point in found[1:])
            found[1:] = [(misfit(point), tuple(point)) for point in shrunk]
        found.sort()
    return np.array(found[0][1])
