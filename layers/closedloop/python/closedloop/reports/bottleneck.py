"""Where people leak: what each gate would bring if it passed as many as it should, and how sure that is.

Source: analytics reference 6.1 and 6.4.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.random import Generator

Draws = np.ndarray[Any, Any]
Reach = Callable[[Sequence[Draws]], Draws]

DRAWS = 10_000
JEFFREYS = (0.5, 0.5)
LIGHTEST, HEAVIEST = 2.0, 200.0
OWN_LOOPS = 5


@dataclass(frozen=True, slots=True)
class Passage:
    """One gate as it was counted, and the share that it should let through.

    Shapes: `assumed` says that the target comes from no measured loop; `prior` is a Beta's two counts.
    """

    gate: str
    passed: int
    of: int
    target: float
    assumed: bool = False
    prior: tuple[float, float] = JEFFREYS


@dataclass(frozen=True, slots=True)
class Leak:
    """What a gate at its target would bring besides, and how likely it is the gate that would bring most.

    Units: the gains in what a final unit is worth; `low` and `high` hold it in 90 of 100 cases.
    """

    gate: str
    rate: float
    target: float
    assumed: bool
    gain: float
    low: float
    high: float
    largest: float


def seeded(*names: str) -> Generator:
    """The chance of one report: the same loop as of the same moment draws the same numbers."""
    return np.random.default_rng(int.from_bytes(hashlib.sha256("|".join(names).encode()).digest()[:8]))


def prior(rates: Sequence[float]) -> tuple[float, float]:
    """What past loops say of a rate before it is measured again; Jeffreys' prior where they cannot say.

    Source: Beta by moments, 2 to 200 people heavy.
    """
    if len(rates) < 2:
        return JEFFREYS
    mean = sum(rates) / len(rates)
    spread = sum((rate - mean) ** 2 for rate in rates) / (len(rates) - 1)
    return by_moments(mean, spread)


def by_moments(mean: float, spread: float) -> tuple[float, float]:
    """A Beta of this mean and variance, 2 to 200 people heavy."""
    if not 0 < mean < 1:
        return JEFFREYS
    weight = min(HEAVIEST, max(LIGHTEST, mean * (1 - mean) / spread - 1)) if spread > 0 else HEAVIEST
    return mean * weight, (1 - mean) * weight


def target(own: Sequence[float], same_kind: Sequence[float], stated: float | None, table: float) -> tuple[float, bool]:
    """The share that a gate should let through, and whether it is assumed.

    Shapes: `own` are its rates in past loops, newest last; `same_kind` those of gates that ask for the same. Without
    either what the plan states, else a rule of thumb.
    """
    known = [median(own[-OWN_LOOPS:])] if own else []
    known += [float(np.quantile(same_kind, 0.75))] if same_kind else []
    if known:
        return max(known), False
    return (table if stated is None else stated), True


def chain(entrants: float) -> Reach:
    """How many come out of gates that stand one behind the other."""

    def reach(rates: Sequence[Draws]) -> Draws:
        out = np.full_like(rates[0], entrants)
        for rate in rates:
            out = out * rate
        return out

    return reach


def drawn(passages: Sequence[Passage], random: Generator, draws: int = DRAWS) -> list[Draws]:
    """What each gate's true rate may be, given what was counted."""
    return [
        random.beta(one.passed + one.prior[0], one.of - one.passed + one.prior[1], draws) for one in passages
    ]


def leaks(passages: Sequence[Passage], reach: Reach, worth: float, random: Generator) -> tuple[Leak, ...]:
    """What each gate would bring at its target, the likeliest bottleneck first.

    Shapes: `reach` says how many come out at the end for given rates, sales capacity held against them. Where no gate
    would bring anything, none is the largest.
    """
    if not passages:
        return ()
    rates = drawn(passages, random)
    now = reach(rates)
    gains = np.stack([
        worth * (reach([*rates[:at], np.maximum(rate, passages[at].target), *rates[at + 1:]]) - now)
        for at, rate in enumerate(rates)
    ])
    best = np.where(gains.max(axis=0) > 0, gains.argmax(axis=0), -1)
    low, high = np.quantile(gains, (0.05, 0.95), axis=1)
    found = [
        Leak(
            one.gate, float(rates[at].mean()), one.target, one.assumed, float(gains[at].mean()), float(low[at]),
            float(high[at]), float((best == at).mean()),
        )
        for at, one in enumerate(passages)
    ]
    return tuple(sorted(found, key=lambda leak: (-leak.largest, -leak.gain, leak.gate)))


def history(rates: Mapping[str, Sequence[float]], kinds: Mapping[str, str], gate: str) -> list[float]:
    """The past rates of all gates that ask for the same as this one."""
    return [rate for name, known in rates.items() if kinds.get(name) == kinds.get(gate) for rate in known]
