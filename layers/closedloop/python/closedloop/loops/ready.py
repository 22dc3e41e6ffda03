"""Who is to be decided about at all: a loop's gates read once, and asked of everybody without a word of explanation.

A nightly sweep finds most people where they were left. What is written about the others is decided by `decide` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import NamedTuple

from closedloop.loops.decide import Position, digest_of, is_late
from closedloop.loops.definition import Condition, Gate, Loop
from closedloop.loops.experiments import Arm, holdout_draw, is_kept_out, reverse_draw
from closedloop.loops.gates import NAMED_FIRST, Answer, HoldKind, Outcome, ask, has_deal, is_wanted, since, times_in
from closedloop.profiles.interest import least_total, remaining, share
from closedloop.profiles.profile import Asked

# An answer in one number: above zero it holds, below it does not; the number is the place of what it is about among the
# kinds of hold, from one on, so that the one to be named first is nearest to zero.
Question = Callable[[Asked], int]
FIT, INTEREST, ACTION = (NAMED_FIRST.index(kind) + 1 for kind in (HoldKind.FIT, HoldKind.INTEREST, HoldKind.ACTION))
LAST = len(NAMED_FIRST)
HELD, REFUSED, KEPT_OUT = (
    tuple(digest_of(Outcome.HOLD, kind, "", drawn) for kind in NAMED_FIRST)
    for drawn in (None, Arm.REFUSED, Arm.KEPT_OUT)
)
HELD_OUT = digest_of(Outcome.HOLD, HoldKind.HOLDOUT, "", Arm.HOLDOUT)


class _Step(NamedTuple):
    """One gate, with the questions who is excluded and who is ready."""

    gate: Gate
    exclude: tuple[Question, ...]
    when: Question
    lets_through: bool


class Ready:
    """A loop as of one moment: says whether deciding about somebody would change anything, and at which gates."""

    def __init__(self, loop: Loop, now: datetime) -> None:
        self._now = now
        self._loop, self._keeps_out = loop, loop.universal_holdout > 0
        self._enters = None if loop.enter is None else _question(loop.enter, now)
        self._steps = {stage: tuple(_step(gate, now) for gate in loop.gates_from(stage)) for stage in loop.stages}

    def news(self, person: Asked, position: Position) -> Sequence[Gate] | None:
        """The gates that would say something new of a person who stands there; None when nothing would change.

        Shapes: deciding by these gates alone is deciding by all; there are none for who only enters or only stands too
        long. Whoever is ready for a stage with a capacity is news, as there may be room.
        Errors: BadShape when the person's stored text cannot be read.
        """
        if not position.stage:
            return () if self._enters is None or self._enters(person) > 0 else None
        steps = self._steps.get(position.stage)
        late = bool(self._loop.service_levels) and is_late(self._loop, position, self._now)
        if not steps:
            return () if late else None
        standing, capacities = dict(position.standing), self._loop.capacities
        kept_out = self._keeps_out and is_kept_out(self._loop, position.unit)
        new: list[Gate] = []
        for gate, exclude, when, lets_through in steps:
            for excluded in exclude:
                if excluded(person) > 0:
                    return [*new, gate]
            answer = when(person)
            if answer < 0 and lets_through and not kept_out:
                if reverse_draw(self._loop.loop, gate, position.unit)[1]:
                    new.append(gate)
                    # Where there may be no room, the gates behind this one are asked too.
                    if gate.to in capacities:
                        continue
                    return new
                told = REFUSED[-answer - 1]
            elif answer < 0:
                told = (KEPT_OUT if kept_out else HELD)[-answer - 1]
            elif gate.holdout and not kept_out and holdout_draw(self._loop.loop, gate, position.unit)[1]:
                told = HELD_OUT
            else:
                new.append(gate)
                if gate.to in capacities:
                    continue
                return new
            if standing.get(gate.name) != told:
                new.append(gate)
        return new if new or late else None


def _step(gate: Gate, now: datetime) -> _Step:
    exclude = tuple(_question(rule.when, now) for rule in gate.exclude)
    return _Step(gate, exclude, _question(gate.when, now), gate.reverse_holdout > 0)


def _question(condition: Condition, now: datetime) -> Question:
    """A condition as a question of one person after the other."""
    if condition.all is not None:
        return _joined(condition.all, now, 1)
    if condition.any is not None:
        return _joined(condition.any, now, -1)
    if condition.not_ is not None:
        return _not(_question(condition.not_, now))
    return _single(condition, now)


def _joined(conditions: Sequence[Condition], now: datetime, sign: int) -> Question:
    """All of the conditions; with -1 any of them, since one holds unless all are missing."""
    # What is about fit goes first: nothing is named before it, so it may end the asking.
    in_order = sorted(conditions, key=lambda one: one.fit is None and one.attribute is None)
    parts = tuple(_question(one, now) for one in in_order)

    def question(person: Asked) -> int:
        holding, missing = LAST, 0
        for part in parts:
            answer = sign * part(person)
            if answer == -FIT:
                return -sign * FIT
            if answer > 0:
                if answer < holding:
                    holding = answer
            elif answer > missing or not missing:
                missing = answer
        return sign * (missing or holding)

    return question


def _place(answer: Answer) -> int:
    place = NAMED_FIRST.index(answer.about) + 1
    return place if answer.holds else -place


def _not(part: Question) -> Question:
    return lambda person: -part(person)


def _single(condition: Condition, now: datetime) -> Question:
    if (interest := condition.interest) is not None:
        topic, points, part = interest.topic, interest.at_least, interest.share
        least = least_total(points, now)

        def cares(person: Asked) -> int:
            totals = person.interest
            enough = totals.get(topic, 0) >= least and round(share(totals, topic), 3) >= part
            if enough and topic in person.ignored:
                enough = remaining(totals.get(topic, 0), person.ignored[topic], now) >= points
            return INTEREST if enough else -INTEREST

        return cares
    if condition.engagement is not None:
        least_engaged = least_total(condition.engagement.at_least, now)
        return lambda person: INTEREST if person.engagement >= least_engaged else -INTEREST
    if condition.fit is not None:
        least_fit = condition.fit.at_least
        return lambda person: FIT if person.fit >= least_fit else -FIT
    if (visited := condition.visited) is not None:
        path, visits, in_days = visited.path, visited.times, since(visited.within_days, now)

        def came(person: Asked) -> int:
            return INTEREST if sum(times_in(seen, in_days) for seen in person.pages(path)) >= visits else -INTEREST

        return came
    if (did := condition.did) is not None:
        event, times, window = did.event, did.times, since(did.within_days, now)

        def acted(person: Asked) -> int:
            seen = person.done(event)
            return ACTION if seen is not None and times_in(seen, window) >= times else -ACTION

        return acted
    if (deal := condition.deal) is not None:
        return lambda person: ACTION if has_deal(person.deal_states(), deal) else -ACTION
    if condition.attribute is None:
        # What few gates ask is asked in words: nothing is to be gained.
        return lambda person: _place(ask(condition, person, now))
    wanted = tuple(condition.attribute.items())

    def alike(person: Asked) -> int:
        known = person.attributes
        for name, values in wanted:
            if not is_wanted(known.get(name), values):
                return -FIT
        return FIT

    return alike
