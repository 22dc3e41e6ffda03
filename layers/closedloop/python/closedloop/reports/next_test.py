"""The one gate to test next: where knowing what the campaigns behind it add is worth most, and how large a holdout."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil, exp, pi, sqrt
from statistics import NormalDist

from closedloop.reports.statistics import Z_95, Z_POWER_80, detectable

SHARES = (0.05, 0.1, 0.15, 0.2)
# A test is meant to see whether the campaigns behind a gate bring at least half of the deals.
PART_TO_SEE = 0.5
_NORMAL = NormalDist()


@dataclass(frozen=True, slots=True)
class NextTest:
    """A gate with the share to hold out.

    Units: `value` in minor units, or deals where nothing is known of their worth; `needed` and `ready` are people;
    `detects` is the smallest difference of shares that this many show in 8 of 10 cases.
    """

    gate: str
    holdout: float
    value: float
    ready: int
    needed: int
    detects: float | None


@dataclass(frozen=True, slots=True)
class Testable:
    """A gate with campaigns behind it: who is ready there, the share of them that wins, and what is known of the lift.

    Shapes: the lift and its error are None where no holdout measured it.
    """

    __test__ = False

    gate: str
    ready: int
    base: float
    lift: float | None = None
    error: float | None = None


def value_of_knowing(ready: float, worth: float, lift: float, error: float) -> float:
    """What it would be worth to know a lift before deciding about what brings it.

    Source: the normal loss: n·v·(s·φ(m/s) − |m|·Φ(−|m|/s)).
    """
    if error <= 0:
        return 0.0
    far = abs(lift) / error
    density = exp(-far * far / 2) / sqrt(2 * pi)
    return max(0.0, ready * worth * (error * density - abs(lift) * _NORMAL.cdf(-far)))


def people_needed(base: float, effect: float, holdout: float) -> int:
    """How many ready people a holdout of this share needs to show an effect in 8 of 10 cases.

    Units: `base` is the share without the treatment, `effect` what it adds. Source: analytics reference 4.5.
    """
    treated = base + effect
    spread = treated * (1 - treated) / (1 - holdout) + base * (1 - base) / holdout
    return ceil((Z_95 + Z_POWER_80) ** 2 * spread / effect**2)


def next_test(gates: Sequence[Testable], worth: float) -> NextTest | None:
    """The gate whose answer is worth most; nothing where no gate has anything to answer."""
    valued = [
        # Without a measured lift all that the gate's people bring is in dispute.
        (value_of_knowing(g.ready, worth, g.lift or 0.0, g.base if g.error is None else g.error), g)
        for g in gates if g.ready and 0 < g.base < 1
    ]
    asked = [(value, g) for value, g in valued if value > 0]
    if not asked:
        return None
    value, gate = max(asked, key=lambda pair: (pair[0], pair[1].gate))
    effect = gate.base * PART_TO_SEE
    needs = {share: people_needed(gate.base - effect, effect, share) for share in SHARES}
    holdout = next((share for share in SHARES if needs[share] <= gate.ready), SHARES[-1])
    held = round(gate.ready * holdout)
    return NextTest(
        gate.gate, holdout, value, gate.ready, needs[holdout], detectable(gate.ready - held, held, gate.base),
    )
