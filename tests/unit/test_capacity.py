"""Capacity and service levels: who is over a capacity waits, who stands too long is told of once."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from closedloop.events.times import iso
from closedloop.loops.capacity import Room, window_of
from closedloop.loops.decide import Position, decide
from closedloop.loops.definition import Loop
from closedloop.loops.experiments import Arm
from closedloop.loops.gates import HoldKind, Outcome
from closedloop.loops.ready import Ready
from closedloop.profiles.around import Around
from closedloop.profiles.profile import Excerpt, Profile, Seen
from tests.builders import NOW, a_loop, a_profile
from tests.unit.test_ready import GATES, PLACES, PROFILES, SITES
from tests.unit.test_ready import a_loop as any_loop

READY = a_profile(visited={"/pumps": Seen(1, (iso(NOW),))})


def the_loop(people: int = 2, per: str = "week", **more: Any) -> Loop:
    return a_loop(capacities={"problem": {"people": people, "per": per}}, **more)


def at(stage: str, *, unit: str = "p_jane", days: int = 0) -> Position:
    return Position("p_jane", "autumn", stage, 1, unit, since=iso(NOW - timedelta(days=days)))


def room(loop: Loop, taken: int) -> Room:
    return Room("problem", loop.capacities["problem"], window_of(loop, "problem", NOW), taken)


@pytest.mark.parametrize(("per", "at", "window"), [
    # In Tokyo it is Tuesday the 24th from 15:00 UTC of the 23rd on.
    ("day", datetime(2026, 11, 23, 14, 59, tzinfo=UTC), "2026-11-23"),
    ("day", datetime(2026, 11, 23, 15, 0, tzinfo=UTC), "2026-11-24"),
    ("week", datetime(2026, 11, 22, 14, 59, tzinfo=UTC), "2026-11-16"),
    ("week", datetime(2026, 11, 22, 15, 0, tzinfo=UTC), "2026-11-23"),
    ("period", datetime(2026, 11, 22, 15, 0, tzinfo=UTC), "period"),
])
def test_a_window_begins_with_the_day_or_the_monday_where_the_loop_is(per: str, at: datetime, window: str) -> None:
    assert window_of(the_loop(per=per), "problem", at) == window


def test_who_is_over_the_capacity_is_held_with_the_inputs_and_goes_on_when_there_is_room() -> None:
    loop = the_loop()
    full = decide(loop, READY, at("research"), NOW, rooms=lambda _, __: room(loop, 2))
    (verdict,) = full.verdicts
    assert (verdict.outcome, verdict.hold_kind, full.after.stage, full.room) == (
        Outcome.HOLD, HoldKind.CAPACITY, "research", None)
    assert verdict.reason == "ready, but there is no room: 2 of 2 came to problem since 2026-11-23"
    assert verdict.why["holds"] is False
    assert [part["holds"] for part in verdict.why["parts"]] == [True, False]
    again = decide(loop, READY, full.after, NOW, rooms=lambda _, __: room(loop, 2))
    assert not again.changes, "the same hold is no news"
    free = decide(loop, READY, full.after, NOW, rooms=lambda _, __: room(loop, 1))
    assert (free.after.stage, free.room, free.verdicts[0].why["holds"]) == ("problem", room(loop, 1), True)
    assert free.room is not None
    assert free.room.slot == 2


def test_who_waits_for_room_is_in_the_arm_that_they_were_drawn_into_and_a_holdout_takes_no_room() -> None:
    gates = [gate.model_dump(by_alias=True) | ({"holdout": 0.5} if gate.name == "interested" else {})
             for gate in a_loop().gates]
    loop, asked = the_loop(gates=gates), list[str]()

    def rooms(_: Loop, stage: str) -> Room:
        asked.append(stage)
        return room(loop, 2)

    told = {unit: decide(loop, READY, at("research", unit=unit), NOW, rooms=rooms).verdicts[0]
            for unit in map(str, range(40))}
    kinds = {(verdict.arm, verdict.hold_kind) for verdict in told.values()}
    assert kinds == {(Arm.TREATED, HoldKind.CAPACITY), (Arm.HOLDOUT, HoldKind.HOLDOUT)}
    assert len(asked) == sum(verdict.arm is Arm.TREATED for verdict in told.values())


def test_a_gate_that_is_full_keeps_nobody_from_another() -> None:
    gates = [*(gate.model_dump(by_alias=True) for gate in a_loop().gates),
             {"name": "walk-in", "from": "research", "to": "proposal", "when": {"visited": {"path": "/pumps"}}}]
    loop = a_loop(gates=gates, capacities={"proposal": {"people": 1}})
    full = Room("proposal", loop.capacities["proposal"], "2026-11-23", 1)
    ready, position = Ready(loop, NOW), at("research")
    decision = decide(loop, READY, position, NOW, ready.news(READY, position), lambda _, __: full)
    assert decision.after.stage == "problem"
    assert [verdict.gate for verdict in decision.verdicts] == ["walk-in", "interested"]


@settings(deadline=None)
@given(st.lists(st.booleans(), max_size=30), st.integers(1, 6))
def test_whatever_the_order_no_more_come_than_there_is_room_for_and_as_many_as_can(
    ready: list[bool], people: int
) -> None:
    loop, taken, came = the_loop(people), 0, 0
    for is_ready in ready:
        left = room(loop, taken)
        profile = READY if is_ready else a_profile()
        decision = decide(loop, profile, at("research"), NOW, rooms=lambda *_, left=left: left)
        if decision.room is not None:
            taken = decision.room.slot
        came += decision.after.stage == "problem"
    assert came == taken == min(people, sum(ready))


def late_loop(**more: Any) -> Loop:
    return a_loop(service_levels={"research": {"days": 3}}, **more)


@pytest.mark.parametrize(("days", "late"), [(3, False), (4, True)])
def test_who_stands_at_a_stage_too_long_is_told_of_once_in_a_stay(days: int, late: bool) -> None:
    loop, nobody = late_loop(), a_profile()
    position = decide(loop, nobody, at("research"), NOW - timedelta(days=1)).after
    position = replace(position, since=iso(NOW - timedelta(days=days)))
    ready = Ready(loop, NOW)
    assert (ready.news(nobody, position) is not None) is late
    decision = decide(loop, nobody, position, NOW)
    assert (decision.late, decision.changes, decision.after.stage) == (late, late, "research")
    assert not decision.verdicts
    assert ready.news(nobody, decision.after) is None
    assert not decide(loop, nobody, decision.after, NOW).changes
    back = replace(decision.after, since=iso(NOW - timedelta(days=days + 1)))
    assert decide(loop, nobody, back, NOW).late, "another stay"


def test_who_is_held_anew_and_late_has_both_and_the_holdout_of_the_loop_is_left_alone() -> None:
    decision = decide(late_loop(), a_profile(), at("research", days=9), NOW)
    assert (decision.late, [verdict.outcome for verdict in decision.verdicts]) == (True, [Outcome.HOLD])
    kept_out = late_loop(universal_holdout=0.2)
    units = [str(unit) for unit in range(60)]
    late = [unit for unit in units if decide(kept_out, a_profile(), at("research", unit=unit, days=9), NOW).late]
    assert 30 < len(late) < 60


def test_at_the_last_stage_which_no_gate_leaves_they_are_late_too() -> None:
    loop = a_loop(service_levels={"customer": {"days": 3}})
    position = at("customer", days=9)
    assert Ready(loop, NOW).news(a_profile(), position) == ()
    assert decide(loop, a_profile(), position, NOW, ()).late


@settings(max_examples=150, deadline=None)
@given(GATES, PROFILES, PLACES, st.integers(0, 29), st.integers(0, 2), st.integers(0, 5), st.sampled_from([0.0, 0.2]))
def test_the_quick_question_leaves_nobody_out_whether_there_is_room_or_not_and_whoever_is_late(
    gates: list[dict[str, Any]], profile: Profile, stage: str, unit: int, taken: int, days: int, kept_out: float
) -> None:
    plain = any_loop(gates, kept_out)
    limits = {"problem": {"people": 1, "per": "day"}, "customer": {"people": 2, "per": "period"}}
    levels = {stage: {"days": 2} for stage in plain.stages}
    loop = Loop.model_validate({**plain.model_dump(by_alias=True), "capacities": limits, "service_levels": levels})

    def rooms(of: Loop, stage: str) -> Room:
        return Room(stage, of.capacities[stage], window_of(of, stage, NOW), taken)

    position = Position("p-ada", "autumn", stage, 1 if stage else 0, f"p-{unit}",
                        since=iso(NOW - timedelta(days=days)) if stage else "")
    ready, known = Ready(loop, NOW), Excerpt(profile.stored(), Around(SITES))
    for _ in range(len(loop.stages) + 2):
        known.around.since = position.since
        decision = decide(loop, known, position, NOW, rooms=rooms)
        asked = ready.news(known, position)
        assert asked is not None or not decision.changes
        assert asked is None or decide(loop, known, position, NOW, asked, rooms) == decision
        for verdict in decision.verdicts:
            if verdict.hold_kind is HoldKind.CAPACITY:
                assert not verdict.why["holds"]
        position = decision.after
