"""Capacity: how many people may come to a stage in a day, a week or the period, and what room is left now.

Whoever comes takes a numbered slot of the window, written once and with their move: so no two runs let more through
than there are slots, and nothing is counted up or down.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo

from closedloop.loops.definition import Capacity, Loop


class Room(NamedTuple):
    """The room at a stage: its capacity, the window that it is for, and how many slots of it are taken.

    Shapes: `window` is the first day of the day or week, or `period`.
    """

    stage: str
    capacity: Capacity
    window: str
    taken: int

    @property
    def free(self) -> bool:
        return self.taken < self.capacity.people

    @property
    def slot(self) -> int:
        """The number of the next slot, from 1."""
        return self.taken + 1

    @property
    def said(self) -> str:
        """How much of it is taken, in words."""
        since = "in the period" if self.window == "period" else f"since {self.window}"
        return f"{self.taken} of {self.capacity.people} came to {self.stage} {since}"

    def as_json(self) -> dict[str, Any]:
        """The inputs, as a condition beside those of the gate."""
        question = f"room at {self.stage} for {self.capacity.people} a {self.capacity.per}"
        return {"holds": self.free, "question": question, "found": self.said}


# What is left at a stage of a loop, as far as is known now.
Rooms = Callable[[Loop, str], Room]


def window_of(loop: Loop, stage: str, now: datetime) -> str:
    """The window of a stage's capacity in which a moment lies, by the loop's clock."""
    per = loop.capacities[stage].per
    if per == "period":
        return per
    today = now.astimezone(ZoneInfo(loop.time_zone)).date()
    return (today - timedelta(days=today.weekday() if per == "week" else 0)).isoformat()
