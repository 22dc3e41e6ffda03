"""What changed between two versions of a loop, and what a loop that has started keeps."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.loops.changes import changes, has_started, in_force, kept
from closedloop.loops.definition import Loop
from tests.builders import NOW, a_loop, minutes

MAIL = {"subject": "Pumps", "text": "Hello, read {{ link }}", "link": "https://www.northwind.example/pumps"}
VISITED, DID = {"visited": {"path": "/pumps"}}, {"did": {"event": "Form Submitted"}}


def plain(loop: Loop) -> dict[str, Any]:
    return loop.model_dump(by_alias=True)


def changed(**more: Any) -> tuple[str, ...]:
    return changes(a_loop(), a_loop(**more))


def gates(**first: Any) -> list[dict[str, Any]]:
    known = plain(a_loop())["gates"]
    return [{**known[0], **first}, *known[1:]]


def campaigns(**first: Any) -> list[dict[str, Any]]:
    known = plain(a_loop())["campaigns"]
    return [{**known[0], **first}, *known[1:]]


CASES: tuple[tuple[dict[str, Any], tuple[str, ...]], ...] = (
    ({}, ()),
    ({"strategy": "Meet shipyards"}, ("strategy: Meet manufacturers → Meet shipyards",)),
    ({"strategy": "Meet " + "shipyards and " * 20}, ("strategy: other words",)),
    ({"budget": {"amount_minor": 5000}}, ("budget: new, {amount_minor: 5000}",)),
    ({"gates": gates(holdout=0.2)}, ("gate interested, holdout: new, 0.2",)),
    ({"gates": gates(when={"visited": {"path": "/valves"}})},
     ("gate interested, when, visited, path: /pumps → /valves",)),
    ({"gates": gates(when=DID)}, (
        "gate interested, when, visited: gone, was {path: /pumps}",
        "gate interested, when, did: new, {event: Form Submitted}",
    )),
    ({"gates": gates(when={"any": [VISITED, DID]})}, (
        "gate interested, when, visited: gone, was {path: /pumps}",
        "gate interested, when, any: new, [{visited: {path: /pumps}}, {did: {event: Form Submitted}}]",
    )),
    ({"gates": gates(name="keen")}, ("gate interested is gone", "gate keen is new")),
    ({"campaigns": campaigns(mail={**MAIL, "subject": "Valves"})},
     ("campaign welcome, mail, subject: Pumps → Valves",)),
    ({"campaigns": [*campaigns(), {"name": "fair", "stage": "research", "touchpoint": "exhibition"}]},
     ("campaign fair is new",)),
    ({"campaigns": campaigns()[::-1]}, ("campaigns: in another order",)),
    ({"objectives": [{"metric": "deals_won", "target": 4, "by": "2026-12-31"}]},
     ("objective deals_won, target: 3 → 4",)),
    ({"objectives": [{"metric": "deals_won", "target": 4, "by": day} for day in ("2026-12-01", "2026-12-31")]}, (
        "objectives, target: 3 → 4", "objectives, by: 2026-12-31 → 2026-12-01",
        "objectives: also {metric: deals_won, target: 4, by: 2026-12-31}",
    )),
    ({"sites": ["northwind", "contoso"]}, ("sites: [northwind] → [northwind, contoso]",)),
)


@pytest.mark.parametrize(("more", "said"), CASES, ids=[str(number) for number in range(len(CASES))])
def test_what_changed_is_said_in_words(more: dict[str, Any], said: tuple[str, ...]) -> None:
    assert changed(**more) == said


def test_conditions_that_are_joined_are_compared_one_by_one() -> None:
    old = a_loop(gates=gates(when={"all": [VISITED, {"fit": {"at_least": 60}}]}))
    new = a_loop(gates=gates(when={"all": [{"fit": {"at_least": 40}}, VISITED, {"deal": "opened"}]}))
    turned = a_loop(gates=gates(when={"all": [{"fit": {"at_least": 60}}, VISITED]}))
    assert changes(old, new) == (
        "gate interested, when, all, fit, at_least: 60 → 40", "gate interested, when, all: also {deal: opened}",
    )
    assert changes(new, old)[-1] == "gate interested, when, all: no longer {deal: opened}"
    assert changes(old, turned) == ("gate interested, when, all: in another order",)


FREELY = st.fixed_dictionaries({}, optional={
    "strategy": st.sampled_from(["Meet shipyards", "Meet mills"]),
    "budget": st.builds(lambda amount: {"amount_minor": amount}, st.integers(1, 9)),
    "gates": st.sampled_from([gates(when=DID), gates(when={"not": VISITED}), [*gates(), {
        "name": "walk-in", "from": "research", "to": "customer", "when": {"deal": "won"},
    }]]),
    "campaigns": st.sampled_from([
        campaigns(visitors=7), campaigns(audience={"fit": {"at_least": 1}}), campaigns()[:2],
    ]),
    "stages": st.just(["research", "problem", "proposal", "trial", "customer"]),
})


@given(FREELY, FREELY)
def test_loops_that_differ_are_told_apart_and_equal_ones_are_not(one: dict[str, Any], other: dict[str, Any]) -> None:
    loops = []
    for more in (one, other):
        if "stages" in more:
            way = {"name": "tries", "from": "proposal", "to": "trial", "when": {"deal": "opened"}}
            on = {"name": "stays", "from": "trial", "to": "customer", "when": {"deal": "won"}}
            more = {**more, "gates": [*more.get("gates", gates()), way, on]}
        loops.append(a_loop(**more))
    before, after = loops
    assert (changes(before, after) == ()) == (before == after)
    # None of this is kept from changing, but a stage that was added stays.
    assert [place for place, _ in kept([before], after)] == [("stages",)] * ("stages" in one and "stages" not in other)


# Once it has started.

START = datetime(2026, 10, 31, 15, 0, tzinfo=UTC)


def test_a_loop_starts_with_its_first_day_where_it_is() -> None:
    assert has_started(a_loop(), START)
    assert not has_started(a_loop(), START.replace(hour=14, minute=59))


def test_only_versions_by_which_people_were_decided_about_bind_the_next() -> None:
    first, second, third = (a_loop(strategy=words) for words in ("one", "two", "three"))
    history = [(datetime(2026, 10, day, tzinfo=UTC), loop) for day, loop in ((1, first), (20, second))]
    assert in_force(history, datetime(2026, 10, 25, tzinfo=UTC)) == ()
    assert in_force(history, NOW) == (second,)
    assert in_force([*history, (NOW, third)], minutes(1)) == (second, third)
    assert in_force([], NOW) == ()


def test_before_it_starts_everything_may_change() -> None:
    assert list(kept((), a_loop(currency="USD", gates=gates(holdout=0.5)))) == []


def test_a_gate_that_was_left_out_does_not_come_back_as_another() -> None:
    held, without = a_loop(gates=gates(holdout=0.2)), a_loop(gates=gates(name="keen", when=DID))
    assert list(kept([held], without)) == []
    assert [place for place, _ in kept([held, without], a_loop(gates=gates(holdout=0.3)))] == [("gates", 0, "holdout")]
    assert list(kept([held, without], held)) == []
