"""Can the plan reach its objectives? Past rates, or stated ones, are carried through it: what it needs, what it gives.

Time is not asked about: whoever comes counts as having time enough to buy before the day of the objective.
Source: analytics reference 6.4; Jeffreys prior, 10,000 draws, seeded by the loop's name.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date
from typing import TYPE_CHECKING, Any

from closedloop.loops.definition import Condition, Gate, Loop, Metric, Objective, Rate
from closedloop.sites.words import listed

if TYPE_CHECKING:
    from numpy import ndarray
    from numpy.random import Generator

    Draws = ndarray[Any, Any]

DRAWS = 10_000
BEYOND_COUNTING = 10**10
# An assumption weighs no more than so many people, however many it says that it rests on.
HEAVIEST = 200
KNOWN, REPEAT = "visitor becomes known", "new person comes back"


@dataclass(frozen=True, slots=True)
class GateRate:
    """Of those whom a gate judged, how many were ready, those who were then held out among them."""

    from_stage: str
    to_stage: str
    ready: int
    judged: int


@dataclass(frozen=True, slots=True)
class Past:
    """What a report measured of the steps that a plan is made of.

    Units: pairs are so many of so many; `deal_value_minor` is the mean of the deals won, None where there was none.
    """

    loop: str
    day: date
    running: bool
    known: tuple[int, int]
    fit: tuple[int, int]
    fit_at_least: int
    repeat: tuple[int, int]
    gates: Mapping[str, GateRate] = field(default_factory=dict)
    deal_value_minor: int | None = None


@dataclass(frozen=True, slots=True)
class Range:
    """The middle of what may come, and the span that holds it in 90 of 100 cases."""

    middle: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the plan: how many of those before it go on, and what that rests on."""

    step: str
    rate: Range
    rests_on: str


@dataclass(frozen=True, slots=True)
class Chance:
    """One objective against the plan.

    Shapes: `missing` says in words why nothing can be told, and then the rest is empty. `needed` is in visitors,
    `planned` None where no campaign says how many it brings; `needed_at` is in people, by stage; `limit` says where
    sales capacity is too small.
    """

    metric: str
    target: int
    by: date
    missing: str = ""
    needed: Range | None = None
    planned: int | None = None
    needed_at: Mapping[str, int] = field(default_factory=dict)
    expected: Range | None = None
    probability: float | None = None
    limit: str = ""

    def __str__(self) -> str:
        about = f"{self.metric} {self.target:,} by {self.by}"
        if self.needed is None:
            return f"{about}: {self.missing}"
        need = f"needs {_people(self.needed)} visitors"
        if self.planned is None:
            return f"{about}: {need}; no campaign says how many visitors it is planned to bring{self.limit}"
        return f"{about}: {need}, {self.planned:,} planned; P(objective) {self.probability:.2f}{self.limit}"


@dataclass(frozen=True, slots=True)
class Feasibility:
    """What the plan rests on, and the chance of each of its objectives."""

    steps: tuple[Step, ...]
    chances: tuple[Chance, ...]


def feasibility(loop: Loop, past: Past | None = None) -> Feasibility:
    """Work each objective back through the plan, and the planned visitors forward through it.

    Shapes: `past` is the report whose rates are expected again; an assumption on the same step counts with it.
    """
    import numpy as np  # in the layer of the reports alone

    seed = int.from_bytes(hashlib.sha256(loop.loop.encode()).digest()[:8])
    plan = _Plan(loop, past, np.random.default_rng(seed))
    return Feasibility(tuple(plan.steps), tuple(plan.chance(objective) for objective in loop.objectives))


def stage_of(loop: Loop, state: str) -> str:
    """The first stage that nobody reaches without a deal that came so far; empty when there is none."""
    for stage in loop.stages[1:]:
        ways = [gate for gate in loop.gates if gate.to == stage]
        if ways and all(demands(gate.when, state) for gate in ways):
            return stage
    return ""


def demands(condition: Condition, state: str) -> bool:
    """Whether nobody passes without a deal that came so far."""
    if condition.all is not None:
        return any(demands(part, state) for part in condition.all)
    if condition.any is not None:
        return all(demands(part, state) for part in condition.any)
    return condition.deal == state or (state == "opened" and condition.deal == "won")


class _Plan:
    """A loop with a draw of each of its rates, ten thousand times."""

    def __init__(self, loop: Loop, past: Past | None, random: Generator) -> None:
        self.loop, self.past, self.random = loop, past, random
        self.rates: dict[str, Draws] = {}
        self.steps: list[Step] = []
        assumed = loop.assumptions
        self._rate(KNOWN, past.known if past else None, assumed.become_known)
        for fit in sorted({one.fit for one in loop.objectives if one.metric is Metric.NEW_PERSONS_WITH_FIT}):
            self._rate(_fits(fit), past.fit if past and past.fit_at_least == fit else None, assumed.fit)
        if any(one.metric is Metric.REPEAT for one in loop.objectives):
            self._rate(REPEAT, past.repeat if past else None, assumed.repeat)
        for gate in loop.gates:
            self._rate(_step(gate), self._measured(gate), assumed.gates.get(gate.name))
        stated = [campaign.visitors for campaign in loop.campaigns if campaign.visitors is not None]
        self.planned = sum(stated) if stated else 0 if assumed.people_already_known else None

    def _measured(self, gate: Gate) -> tuple[int, int] | None:
        found = self.past.gates.get(gate.name) if self.past else None
        same = found is not None and (found.from_stage, found.to_stage) == (gate.from_, gate.to)
        return (found.ready, found.judged) if found is not None and same else None

    def _rate(self, step: str, measured: tuple[int, int] | None, assumed: Rate | None) -> None:
        passed, of, rests_on = 0.0, 0.0, []
        if measured is not None and measured[1] and self.past is not None:
            passed, of = measured
            running = ", still running" if self.past.running else ""
            rests_on.append(f"{passed:,} of {of:,}, measured by {self.past.loop} on {self.past.day}{running}")
        # What a plan states as its report has measured it is the same people: they count once.
        if assumed is not None and (assumed.passed, assumed.of) != measured:
            weight = min(1.0, HEAVIEST / assumed.of)
            passed, of = passed + weight * assumed.passed, of + weight * assumed.of
            rests_on.append(f"{assumed.passed:,} of {assumed.of:,}, assumed")
        if rests_on:
            self.rates[step] = self.random.beta(passed + 0.5, of - passed + 0.5, DRAWS)
            self.steps.append(Step(step, _range(self.rates[step]), " and ".join(rests_on)))

    def chance(self, objective: Objective) -> Chance:
        """What one objective needs, and how likely the planned visitors reach it."""
        said = (objective.metric.value, objective.target, objective.by)
        to, missing = self._where(objective)
        if missing:
            return Chance(*said, missing=missing)
        known = self.loop.assumptions.people_already_known if to else 0
        at, already = self._shares(1.0, 0.0), self._shares(0.0, float(known))
        counted, share = to or self.loop.stages[0], self._share_of(objective)
        lacking = (objective.target / self._mean_worth(objective) / share - already[counted]).clip(0)
        visitors = lacking / at[counted].clip(1e-12)
        needed = _range(visitors)
        needed_at = {
            stage: round(_range(visitors * at[stage] + already[stage]).middle)
            for stage in self.loop.stages[:self.loop.stages.index(counted) + 1]
        }
        limit = self._limit(objective, needed_at)
        if self.planned is None:
            return Chance(*said, needed=needed, needed_at=needed_at, limit=limit)
        reached = self._reached(objective, to)
        return Chance(
            *said, needed=needed, planned=self.planned, needed_at=needed_at, expected=_range(reached),
            probability=float((reached >= objective.target).mean()), limit=limit,
        )

    def _where(self, objective: Objective) -> tuple[str, str]:
        """The stage that the objective counts, empty for new persons, and what is missing to tell."""
        if objective.metric in (Metric.NEW_PERSONS_WITH_FIT, Metric.REPEAT):
            to, steps = "", [KNOWN, _fits(objective.fit) if objective.metric is Metric.NEW_PERSONS_WITH_FIT else REPEAT]
        else:
            state = "opened" if objective.metric in (Metric.OPPORTUNITIES, Metric.EXPECTED_SALES) else "won"
            to = stage_of(self.loop, state)
            if not to:
                return "", f"no stage of the loop can only be reached by a deal that is {state}"
            steps = [KNOWN, *(_step(gate) for gate in self._towards(to))]
        lacking = [step for step in steps if step not in self.rates]
        if _is_money(objective) and not self._values():
            lacking.append("the value of a deal")
        return to, f"no past rates and no assumptions stated for {listed(lacking, 'and')}" if lacking else ""

    def _towards(self, to: str) -> list[Gate]:
        """The gates on every way to a stage."""
        before, gates = {to}, []
        for stage in reversed(self.loop.stages[:self.loop.stages.index(to) + 1]):
            ways = [gate for gate in self.loop.gates if gate.to == stage and stage in before]
            before |= {gate.from_ for gate in ways}
            gates += ways
        return gates[::-1]

    def _shares(self, visitors: float, already: float) -> dict[str, Draws]:
        """How many people stand at each stage, on the average of every draw."""
        at = dict.fromkeys(self.loop.stages, self.rates[KNOWN] * 0.0)
        at[self.loop.stages[0]] = self.rates[KNOWN] * visitors + already
        for stage in self.loop.stages:
            left = at[stage]
            for gate in self.loop.gates_from(stage):
                moved = left * self._passing(gate)
                at[gate.to], left = at[gate.to] + moved, left - moved
        return at

    def _passing(self, gate: Gate) -> Draws:
        return self.rates.get(_step(gate), self.rates[KNOWN] * 0.0) * (1 - gate.holdout)

    def _reached(self, objective: Objective, to: str) -> Draws:
        """What the planned visitors bring: every person by chance, through every gate."""
        known = self.random.binomial(self.planned or 0, self.rates[KNOWN])
        if not to:
            return self.random.binomial(known, self._share_of(objective))
        at = dict.fromkeys(self.loop.stages, known * 0)
        at[self.loop.stages[0]] = known + self.loop.assumptions.people_already_known
        for stage in self.loop.stages[:self.loop.stages.index(to)]:
            left = self._taken_on(at[stage], stage, objective)
            for gate in self.loop.gates_from(stage):
                moved = self.random.binomial(left, self._passing(gate))
                at[gate.to], left = at[gate.to] + moved, left - moved
        reached = self._taken_on(at[to], to, objective)
        if not _is_money(objective):
            return reached
        values = self._values()
        counts = self.random.multinomial(reached, [1 / len(values)] * len(values))
        return counts @ [float(value) for value in values]

    def _share_of(self, objective: Objective) -> Draws:
        if objective.metric is Metric.NEW_PERSONS_WITH_FIT:
            return self.rates[_fits(objective.fit)]
        return self.rates[REPEAT] if objective.metric is Metric.REPEAT else self.rates[KNOWN] * 0.0 + 1.0

    def _values(self) -> Sequence[int]:
        """What deals are worth: those that are stated, else the mean of those that were measured."""
        measured = self.past.deal_value_minor if self.past else None
        return self.loop.assumptions.deal_values_minor or ((measured,) if measured else ())

    def _mean_worth(self, objective: Objective) -> float:
        values = self._values() if _is_money(objective) else (1,)
        return sum(values) / len(values)

    def _capacity(self, objective: Objective) -> int:
        capacity, days = self.loop.sales_capacity, (objective.by - self.loop.period.start).days + 1
        return capacity.per_week * days // 7 if capacity else 0

    def _taken_on(self, people: Draws, stage: str, objective: Objective) -> Draws:
        capacity = self.loop.sales_capacity
        return people.clip(max=self._capacity(objective)) if capacity and capacity.stage == stage else people

    def _limit(self, objective: Objective, needed_at: Mapping[str, int]) -> str:
        capacity, most = self.loop.sales_capacity, self._capacity(objective)
        if capacity is None or needed_at.get(capacity.stage, 0) <= most:
            return ""
        need = f"{needed_at[capacity.stage]:,} are needed at {capacity.stage}"
        return f"; sales can take on {most:,} people until then, and {need}"


def _step(gate: Gate) -> str:
    return f"gate {gate.name}"


def _fits(fit: int) -> str:
    return f"new person has a fit of {fit}"


def _is_money(objective: Objective) -> bool:
    return objective.metric in (Metric.SALES, Metric.EXPECTED_SALES)


def _range(draws: Draws) -> Range:
    in_order = draws.copy()
    in_order.sort()
    return Range(*(float(in_order[int(place * (DRAWS - 1))]) for place in (0.5, 0.05, 0.95)))


def _people(needed: Range) -> str:
    """A number of people with its span, no more exact than it is."""
    middle, low, high = (_rounded(value) for value in (needed.middle, needed.low, needed.high))
    return f"{middle:,} ({low:,} to {high:,})" if high < BEYOND_COUNTING else f"more than {low:,}"


def _rounded(value: float) -> int:
    """Two digits that count; nobody plans for 4,137 visitors."""
    digits = len(str(int(value)))
    return int(round(value, 2 - digits)) if digits > 2 else round(value)
