"""Experiments: who is kept back or let through, by a hash that gives the same unit the same arm for ever.

A gate's holdout keeps back a share of the ready, to measure what the campaigns behind it add. Its reverse holdout lets
a share of the refused through, to price the filter. A universal holdout meets no campaign of the loop at all and goes
on through the stages by itself; at no gate is it drawn again.
"""

from __future__ import annotations

import hashlib
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from closedloop.loops.definition import Gate, Loop


class Arm(StrEnum):
    """Which part of an experiment somebody is in.

    Shapes: treated or holdout of those who are ready, or who enter a loop; let through or refused of those who are not
    ready; kept out at the gates of a loop in whose universal holdout somebody is.
    """

    TREATED = "treated"
    HOLDOUT = "holdout"
    LET_THROUGH = "let through"
    REFUSED = "refused"
    KEPT_OUT = "kept out"


# A salt of its own for each kind of experiment, so that none says anything about another.
SALT, REVERSE_SALT, UNIVERSAL_SALT = "closed-loop", "closed-loop-reverse", "loop"


def draw(salt: str, loop: str, gate: str, unit: str) -> float:
    """A unit's place between 0 and 1 at one gate: random from unit to unit, the same at each asking.

    Source: analytics reference 4.1; sha256 of "salt:loop:gate:unit", first 16 hex digits over 2^64.
    """
    digest = hashlib.sha256(f"{salt}:{loop}:{gate}:{unit}".encode()).hexdigest()
    return int(digest[:16], 16) / 2**64


def arm(place: float, holdout: float) -> Arm:
    """The arm of a place when this share is held out."""
    return Arm.HOLDOUT if place < holdout else Arm.TREATED


def experiments_of(loop: Loop) -> list[tuple[str, str, float]]:
    """The experiments of a loop: universal, holdout or reverse, its gate, and the share drawn into the second arm.

    Shapes: the gate is empty for the universal holdout; the second arm is the holdout, or those refused.
    """
    found = [("universal", "", loop.universal_holdout)] if loop.universal_holdout else []
    for gate in loop.gates:
        if gate.holdout:
            found.append(("holdout", gate.name, gate.holdout))
        if gate.reverse_holdout:
            found.append(("reverse", gate.name, 1 - gate.reverse_holdout))
    return found


def entry_draw(loop: Loop, unit: str) -> float | None:
    """A unit's place for the universal holdout of a loop; None where a loop has none."""
    return draw(UNIVERSAL_SALT, loop.loop, "", unit) if loop.universal_holdout else None


def is_kept_out(loop: Loop, unit: str) -> bool:
    """Whether a unit is in the universal holdout of a loop."""
    place = entry_draw(loop, unit)
    return place is not None and arm(place, loop.universal_holdout) is Arm.HOLDOUT


def holdout_draw(loop: str, gate: Gate, unit: str) -> tuple[float, bool]:
    """A ready unit's place at a gate, and whether it is held out."""
    place = draw(SALT, loop, gate.name, unit)
    return place, place < gate.holdout


def reverse_draw(loop: str, gate: Gate, unit: str) -> tuple[float, bool]:
    """A refused unit's place at a gate, and whether it is let through."""
    place = draw(REVERSE_SALT, loop, gate.name, unit)
    return place, place < gate.reverse_holdout
