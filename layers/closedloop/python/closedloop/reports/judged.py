"""What gates read of people when they judged them: points of interest or engagement, and what was asked for.

A gate's threshold and the carry-over to the next loop rest on it; decisions keep the reading, so a report asks nobody.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import log2
from typing import Any

from closedloop.loops.definition import Condition, Gate
from closedloop.loops.gates import HoldKind, Outcome
from closedloop.profiles.interest import HALF_LIFE
from closedloop.reports.threshold import Bucket

# Steps of a threshold: a proposal moves it by one.
STEPS = (0.0, 0.5, 1.0, 1.5, 2.0, 3.0, 4.0)
_ASKED = re.compile(r"(?:interest in .+|engagement) at least ([0-9.e+-]+?)(?: and .+)?")
_FOUND = re.compile(r"([0-9.]+)")


@dataclass(frozen=True, slots=True)
class Judged:
    """The last word of one gate about one person, with the points that it read, None where it read none.

    Shapes: `arm` is the verdict's; `won` says that a deal came afterwards.
    """

    gate: str
    person: str
    outcome: str
    hold_kind: str
    arm: str
    at: datetime
    points: float | None
    least: float | None
    won: bool


def read(detail: str) -> tuple[float | None, float | None]:
    """The points that a verdict read and those that it asked for, by the first such question in its record."""
    return next(_readings(json.loads(detail or "{}")), (None, None))


def _readings(answer: Mapping[str, Any]) -> Iterator[tuple[float, float]]:
    asked, found = _ASKED.fullmatch(answer.get("question", "")), _FOUND.match(answer.get("found", ""))
    if asked and found:
        yield float(found[1]), float(asked[1])
    for part in answer.get("parts", ()):
        yield from _readings(part)


def interested_until(points: float, least: float, at: datetime) -> datetime:
    """When points that nobody adds to have faded below what was asked for; before `at` where they are below already.

    Source: analytics reference 3.1.
    """
    if points <= 0 or least <= 0:
        return at
    return at + max(HALF_LIFE * log2(points / least), timedelta(days=-400))


def carried_over(judged: Iterable[Judged], as_of: datetime) -> dict[str, int]:
    """How many people each gate holds whose interest, as last read, has not faded yet.

    Shapes: whoever advanced at any gate since is held no more; the wrong target is not carried over.
    """
    last: dict[str, Judged] = {}
    points: dict[str, Judged] = {}
    for one in sorted(judged, key=lambda j: (j.at, j.gate)):
        last[one.person] = one
        if one.points is not None:
            points[one.person] = one
    found: dict[str, int] = {}
    for person, one in sorted(last.items()):
        seen = points.get(person)
        if one.outcome != Outcome.HOLD or one.hold_kind == HoldKind.FIT or seen is None:
            continue
        assert seen.points is not None and seen.least is not None
        if interested_until(seen.points, seen.least, seen.at) > as_of:
            found[one.gate] = found.get(one.gate, 0) + 1
    return found


def threshold_of(gate: Gate) -> tuple[tuple[str | int, ...], float] | None:
    """Where in its condition a gate asks for points, and for how many; nothing unless it asks exactly once."""
    places = list(_thresholds(gate.when, ()))
    return places[0] if len(places) == 1 else None


def _thresholds(when: Condition, place: tuple[str | int, ...]) -> Iterator[tuple[tuple[str | int, ...], float]]:
    if when.interest is not None:
        yield (*place, "interest", "at_least"), when.interest.at_least
    if when.engagement is not None:
        yield (*place, "engagement", "at_least"), when.engagement.at_least
    for at, part in enumerate(when.all or ()):
        yield from _thresholds(part, (*place, "all", at))


def buckets(judged: Sequence[Judged], gate: Gate, least: float) -> list[Bucket]:
    """A gate's people by the points that it read of them, in steps of what it asks for.

    Shapes: below the threshold only those tell anything whom the reverse holdout let through; each stands for as many
    as it was drawn from.
    """
    mine = [one for one in judged if one.gate == gate.name and one.points is not None]
    found = []
    for step, above in zip(STEPS, (*STEPS[1:], float("inf")), strict=True):
        here = [one for one in mine if step * least <= (one.points or 0) < above * least]
        told = [one for one in here if one.outcome == Outcome.ADVANCE]
        # Everybody here would come through at this threshold, the held for lack of points too.
        passing = [one for one in here if one.outcome == Outcome.ADVANCE
                   or one.hold_kind in (HoldKind.HOLDOUT, HoldKind.INTEREST)]
        found.append(Bucket(step * least, len(passing), sum(one.won for one in told), len(told)))
    return found
