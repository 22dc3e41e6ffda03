"""Holdouts: who is kept back at a gate, by a hash that gives the same unit the same arm for ever."""

from __future__ import annotations

import hashlib
from enum import StrEnum


class Arm(StrEnum):
    """Whether somebody who passed a gate meets the campaign behind it."""

    TREATED = "treated"
    HOLDOUT = "holdout"


def draw(salt: str, loop: str, gate: str, unit: str) -> float:
    """A unit's place between 0 and 1 at one gate: random from unit to unit, the same at each asking.

    Source: analytics reference 4.1; sha256 of "salt:loop:gate:unit", first 16 hex digits over 2^64.
    """
    digest = hashlib.sha256(f"{salt}:{loop}:{gate}:{unit}".encode()).hexdigest()
    return int(digest[:16], 16) / 2**64


def arm(place: float, holdout: float) -> Arm:
    """The arm of a place when this share is held out."""
    return Arm.HOLDOUT if place < holdout else Arm.TREATED
