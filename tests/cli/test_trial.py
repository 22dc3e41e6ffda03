"""closedloop loop try: a plan held against the past, with nothing written."""

from __future__ import annotations

from datetime import timedelta

import pytest

from closedloop.loops.flow import decide_shard
from closedloop.runtime import doors
from tests.cli.conftest import AT, EVENTS, LOOP, STATE, Cloud, Run, a_file, a_person

PLAN = LOOP.read_text()
# Whoever reads much more than Ada did.
STRICT = PLAN.replace("at_least: 8", "at_least: 80")
# S3 says by its own clock when an object was written.
LONG = ("--since", "2000-01-01")


@pytest.fixture
def looked_at(applied: Cloud) -> tuple[Cloud, str]:
    """Ada was looked at once, and went through the first gate."""
    person = a_person()
    doors.runs().put_people("tick", [person])
    at = AT + timedelta(minutes=1)
    decide_shard("tick", 0, doors.state(), doors.runs(), doors.loops(), doors.sites(), at)
    assert doors.state().position(person, "autumn-pumps").stage == "problem"
    return applied, person


def test_the_running_plan_comes_to_the_same_and_another_says_who_differs(
    looked_at: tuple[Cloud, str], run: Run
) -> None:
    cloud, person = looked_at
    before = cloud.items(STATE), cloud.items(EVENTS)
    same = run("loop", "try", LOOP, *LONG, "--json").json
    given = len([one for one in doors.state().decisions(person) if one["kind"] in ("verdict", "transition")])
    assert (same["differ"], same["given"], same["again"], same["unexplained"]) == ([], given, given, 0)
    assert same["plan"] == same["running"]
    strict = a_file("strict.yaml", STRICT)
    other = run("loop", "try", strict, *LONG, "--json").json
    assert other["plan"] != other["running"]
    (interested,) = (gate for gate in other["gates"] if gate["gate"] == "interested")
    assert (interested["plan"]["hold"], interested["running"]["advance"]) == (1, 1)
    assert interested["only_running"] == {"people": 1, "bought": 0, "may_buy": 0, "won_minor": {}}
    assert [(one["person"], one["gate"], one["running"], one["plan"]) for one in other["differ"]] == [
        (person, "asks", "hold: has not acted yet", ""), (person, "interested", "advance", "hold: not enough interest"),
    ]
    said = run("loop", "try", strict, *LONG)
    assert said.status == 0, said.err
    told = f"{given} of {given} given, 0 others"
    for words in ("trial of autumn-pumps", told, "1 moved, none bought since, 0 with an open deal", "0 / 1"):
        assert words in said.out
    assert "deciding anew" in said.err
    assert "Nobody differs." in run("loop", "try", LOOP, *LONG).out
    assert (cloud.items(STATE), cloud.items(EVENTS)) == before


def test_what_cannot_be_tried_is_said_with_its_place(applied: Cloud, run: Run) -> None:
    bad = run("loop", "try", a_file("bad.yaml", PLAN.replace("topic: pumps", "topic: pump")), *LONG)
    assert (bad.status, bad.out) == (2, "")
    assert bad.err.startswith("bad.yaml:") and "; did you mean " in bad.err
    nobody = run("loop", "try", LOOP, *LONG)
    assert (nobody.status, nobody.out) == (2, "")
    assert "no run has looked at anybody since then, so there is nothing to try a plan on" in nobody.err
    when = run("loop", "try", LOOP, "--since", "last summer")
    assert (when.status, when.err.strip()) == (
        2, "--since: expected days such as 90d, or a day such as 2026-10-01, found 'last summer'"
    )
