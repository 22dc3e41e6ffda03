"""Tracks: each is walked as a loop of its own, and a loop that has none is as it was."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closedloop.loops.changes import changes
from closedloop.loops.decide import ENTERS, Position, decide
from closedloop.loops.definition import Loop
from closedloop.loops.experiments import draw
from closedloop.loops.proposal import draft
from closedloop.loops.ready import Ready
from closedloop.profiles.interest import weight
from closedloop.sites.definition import version_of
from tests.builders import NOW, a_loop, a_profile

VALVES: dict[str, Any] = {
    "track": "valves", "enter": {"interest": {"topic": "valves", "at_least": 3}},
    "stages": ["research", "customer"],
    "campaigns": [{"name": "valve-guide", "stage": "research", "touchpoint": "form"}],
    "gates": [{"name": "valves-bought", "from": "research", "to": "customer", "when": {"deal": "won"}, "holdout": 0.2}],
}


def with_tracks(**more: Any) -> Loop:
    return a_loop(tracks=[{**VALVES, **more}])


def test_a_loop_without_tracks_is_the_version_that_it_was_and_its_only_lane() -> None:
    loop = a_loop()
    assert version_of(loop) == "342d20a19ffd"
    assert loop.lanes == (loop,)


def test_a_track_is_a_loop_of_its_own_that_runs_when_and_where_its_loop_does() -> None:
    loop = with_tracks()
    first, valves = loop.lanes
    assert first == loop
    assert (valves.loop, valves.stages, valves.lanes) == ("autumn_valves", ("research", "customer"), (valves,))
    assert [gate.name for gate in valves.gates] == ["valves-bought"]
    kept = ("sites", "period", "time_zone", "currency", "objectives", "policies", "universal_holdout")
    assert all(getattr(valves, name) == getattr(loop, name) for name in kept)
    assert version_of(valves) not in (version_of(loop), version_of(a_loop()))


def test_what_another_track_says_is_no_other_version_of_this_one() -> None:
    one, other = with_tracks(), with_tracks().model_copy(update={"gates": a_loop().gates[:1]})
    assert version_of(one.lanes[1]) == version_of(other.lanes[1])


@settings(deadline=None)
@given(points=st.sampled_from([0.0, 2.99, 3.0, 50.0]))
def test_only_who_meets_what_a_track_asks_for_enters_it_and_everybody_enters_the_loop(points: float) -> None:
    profile = a_profile(interest={"valves": weight(points, NOW)})
    loop, valves = with_tracks().lanes
    assert decide(loop, profile, Position(profile.person, loop.loop), NOW).after.stage == "research"
    decision = decide(valves, profile, Position(profile.person, valves.loop), NOW)
    assert decision.changes is (points >= 3)
    assert (Ready(valves, NOW).news(profile, decision.before) is not None) is decision.changes
    if decision.changes:
        assert (decision.after.stage, decision.reason) == ("research", ENTERS)


def test_arms_of_two_tracks_say_nothing_of_each_other() -> None:
    places = [(draw("closed-loop", "autumn", "g", unit), draw("closed-loop", "autumn_valves", "g", unit))
              for unit in map(str, range(500))]
    both = sum(one < 0.5 and other < 0.5 for one, other in places)
    assert 90 < both < 160


@pytest.mark.parametrize(("more", "said"), [
    ({}, ()),
    ({"stages": ["research", "client"], "gates": [{**VALVES["gates"][0], "to": "client"}]}, (
        "track valves, stages: [research, customer] → [research, client]",
        "track valves, gate valves-bought, to: customer → client",
    )),
    ({"enter": None}, ("track valves, enter: gone, was {interest: {topic: valves, at_least: 3}}",)),
    ({"campaigns": [{"name": "valve-fair", "stage": "research", "touchpoint": "exhibition"}]}, (
        "track valves, campaign valve-guide is gone", "track valves, campaign valve-fair is new",
    )),
])
def test_what_changed_on_a_track_is_said_in_words(more: dict[str, Any], said: tuple[str, ...]) -> None:
    assert changes(with_tracks(), with_tracks(**more)) == said


def test_a_new_track_and_one_that_is_gone_are_named() -> None:
    assert changes(a_loop(), with_tracks()) == ("track valves is new",)
    assert changes(with_tracks(), a_loop()) == ("track valves is gone",)


def test_the_draft_after_a_loop_has_its_tracks_and_that_after_a_track_is_a_loop_by_itself() -> None:
    objective = {"metric": "deals_won", "target": 3, "by": "2026-12-31"}
    loop = with_tracks(objectives=[objective])
    after = draft(loop, (), loop.period.end)
    assert (after.loop, after.follows) == ("autumn-2", "autumn")
    assert after.tracks[0].objectives[0].by == after.period.end
    assert [lane.loop for lane in after.lanes] == ["autumn-2", "autumn-2_valves"]
    assert after.lanes[1].follows == "autumn_valves"
    alone = draft(after.lanes[1], (), loop.period.end)
    assert (alone.loop, alone.follows, alone.stages) == ("autumn-2-valves-2", None, ("research", "customer"))
