"""The lift that a report claims, against the lift that is true in the world: how often does its interval hold it?

Each loop has other people of the world; who is held out is drawn by the loop itself, and who buys, mailed or not, is
the truth that nobody but the world knows.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from itertools import islice
from math import sqrt

import pytest

from closedloop.loops.experiments import holdout_draw
from closedloop.reports.facts import ArmCount
from closedloop.reports.metrics import Experiment, measure
from closedloop.world.people import CASE_MAIL_EFFECT, Person, chance, draw_person
from tests.unit.test_reconcile import AS_OF, LOOP, a_fact, credits_of

LOOPS, PEOPLE, STATED, LOOKS = 150, 100, 0.95, 4
GATE = next(gate for gate in LOOP.gates if gate.holdout)


@pytest.fixture(scope="module")
def audiences() -> list[list[Person]]:
    """Those whom the case mail moves, as many for each loop."""
    people = (draw_person(chance(7, "person", number), number, None) for number in range(10**6))
    moved = (person for person in people if person.keen and person.reachable)
    return [list(islice(moved, PEOPLE)) for _ in range(LOOPS)]


def reported(loop: int, people: Iterable[Person], as_of: datetime) -> Experiment:
    """What the report of a loop says of these people."""
    arms = {True: [0, 0], False: [0, 0]}
    for person in people:
        _, held = holdout_draw(f"{LOOP.loop}-{loop}", GATE.model_copy(update={"holdout": 0.3}), person.id)
        arms[held][0] += 1
        arms[held][1] += person.would_buy_anyway if held else person.would_buy_if_mailed
    (treated, treated_won), (holdout, holdout_won) = arms[False], arms[True]
    count = ArmCount("holdout", GATE.name, treated + holdout, treated, holdout, 0, treated_won, holdout_won)
    planned = LOOP.model_copy(update={"gates": tuple(
        gate.model_copy(update={"holdout": 0.3}) if gate is GATE else gate for gate in LOOP.gates
    )})
    facts = a_fact(arms=(count,))
    (experiment,) = measure(planned, facts, as_of, credits_of(planned, facts, as_of)).experiments
    return experiment


def holds(experiment: Experiment) -> bool:
    """Whether the claim is true; who claims nothing, claims nothing wrong."""
    return experiment.interval is None or experiment.interval.low <= CASE_MAIL_EFFECT <= experiment.interval.high


def test_the_true_lift_lies_inside_the_interval_at_the_stated_rate(audiences: list[list[Person]]) -> None:
    after = datetime.combine(LOOP.period.end, AS_OF.timetz()) + timedelta(days=2)
    experiments = [reported(loop, people, after) for loop, people in enumerate(audiences)]
    assert {one.method for one in experiments} == {"newcombe"}
    share = sum(map(holds, experiments)) / LOOPS
    # Not below what is stated by more than chance gives so many loops; and no interval so wide that it says nothing.
    assert share >= STATED - 2 * sqrt(STATED * (1 - STATED) / LOOPS)
    assert sum(one.answer == "better" for one in experiments) > LOOPS / 2
    assert not any(one.answer == "worse" for one in experiments)


def test_whoever_looks_again_and_again_while_the_loop_runs_is_told_no_more_wrong_things(
    audiences: list[list[Person]],
) -> None:
    wrong = better = 0
    for loop, people in enumerate(audiences):
        looks = [reported(loop, people[:PEOPLE * look // LOOKS], AS_OF) for look in range(1, LOOKS + 1)]
        assert {one.method for one in looks} == {"always_valid"}
        wrong += not all(map(holds, looks))
        better += looks[-1].answer == "better"
    assert wrong / LOOPS <= 1 - STATED
    assert better
