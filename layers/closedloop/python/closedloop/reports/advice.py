"""What a report advises for the next loop. The dataclasses below are the shape of proposal.json.

A point says what was found about one thing, how sure that is, and whether the draft changes it. Its figures are kept
apart from its words, so that the page says it in either language and the draft in English.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from pydantic import TypeAdapter

from closedloop.reports.allocation import Spend
from closedloop.reports.bottleneck import Leak
from closedloop.reports.forecast import Compared
from closedloop.reports.next_test import NextTest

SCHEMA = 1


class Evidence(StrEnum):
    """How strong a finding is.

    Source: analytics reference 2.5.
    """

    HOLDOUT = "A"
    BASE_ROW = "B"
    MODEL = "C"
    COUNTED = "D"
    ASSUMED = "E"


class Answer(StrEnum):
    """What follows from a point: the draft changes something, keeps it, or somebody should look."""

    CHANGE = "change"
    KEEP = "keep"
    LOOK = "look"


@dataclass(frozen=True, slots=True)
class Told:
    """One figure of a point.

    Shapes: `kind` is text, count, number, money, share or points, as in tables.py, p, gap (a difference without a
    sign), metric or step.
    """

    value: str | int | float | None
    kind: str = "text"


@dataclass(frozen=True, slots=True)
class Point:
    """One thing that was found; `says` is the key of its sentence, empty evidence means that nothing is claimed."""

    says: str
    about: str
    answer: Answer
    evidence: Evidence | None
    figures: Mapping[str, Told]


@dataclass(frozen=True, slots=True)
class Forecast:
    """What an objective likely reaches.

    Shapes: `missing` says why nothing can be told; `rests_on` is pace, plan or result.
    """

    metric: str
    target: int
    money: bool
    rests_on: str
    missing: str = ""
    middle: float | None = None
    low: float | None = None
    high: float | None = None
    probability: float | None = None


@dataclass(frozen=True, slots=True)
class BesideLift:
    """What a model credits to the campaigns behind a holdout, beside what the holdout measured.

    Units: deals; `kept` is the part of the credit that the holdout confirms, the rest would have come anyhow.
    """

    kind: str
    gate: str
    model: str
    credited: float
    measured: float | None
    low: float | None
    high: float | None
    kept: float | None


@dataclass(frozen=True, slots=True)
class Changed:
    """One thing that the draft says otherwise than the present loop, in words."""

    place: str
    reason: str


@dataclass(frozen=True, slots=True)
class Advice:
    """What a report advises: how the loop will end, where it leaks, and the draft of the next one."""

    schema: int
    loop: str
    loop_version: str
    as_of: str
    currency: str
    next_loop: str
    forecasts: tuple[Forecast, ...]
    next_forecasts: tuple[Forecast, ...]
    leaks: tuple[Leak, ...]
    worth_minor: float | None
    budget: tuple[Spend, ...]
    budget_probability: float | None
    beside_lift: tuple[BesideLift, ...]
    test: NextTest | None
    points: tuple[Point, ...]
    changes: tuple[Changed, ...]
    carried_over: Mapping[str, int]
    calibration: tuple[Compared, ...]
    coverage: float | None
    problems: tuple[str, ...] = ()


ADVICE = TypeAdapter(Advice)
