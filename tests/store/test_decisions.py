"""Decisions and actions: once, whole, on the position and the profile that were seen."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from closedloop.errors import StageMoved
from closedloop.loops.capacity import Room
from closedloop.loops.decide import Decision, Position, Verdict
from closedloop.loops.gates import HoldKind, Outcome
from closedloop.profiles.profile import profile_from
from closedloop.sites.definition import version_of
from closedloop.store import schema
from closedloop.store.actions import Action
from closedloop.store.calls import CallFailed
from closedloop.store.state import State
from closedloop.store.table import key
from tests.builders import JANE, KEN, NOW, a_loop, a_profile, minutes

LOOP = a_loop()
OUTSIDE = Position("p_jane", "autumn")
ENTERED = Position("p_jane", "autumn", "research", 1, "p_jane")
AHEAD = Position("p_jane", "autumn", "problem", 2, "p_jane", (("interested", "0123456789ab"),))
ENTRY = Decision(OUTSIDE, ENTERED, (), ("welcome",), "became known")
ADVANCE = Decision(
    ENTERED,
    AHEAD,
    (Verdict("interested", Outcome.ADVANCE, "all conditions hold", None, None, 0.25, {"holds": True}),),
    ("guide",),
    "all conditions hold",
)


@pytest.fixture
def known(state: State) -> State:
    """A state that knows Jane."""
    state.put_profile(a_profile(), 0, NOW)
    return state


def write(state: State, decision: Decision, seen: int | None = 1) -> None:
    state.write_decision(decision, LOOP, JANE, "tick-1", NOW, seen)


def kinds(state: State, person: str = "p_jane") -> list[str]:
    return sorted(row["kind"] for row in state.decisions(person))


def test_a_decision_is_a_position_a_transition_a_verdict_and_an_action(known: State) -> None:
    assert known.position("p_jane", "autumn") == OUTSIDE
    write(known, ENTRY)
    write(known, ADVANCE)
    assert known.position("p_jane", "autumn") == AHEAD
    assert kinds(known) == ["action", "action", "transition", "transition", "verdict"]
    verdict = next(row for row in known.decisions("p_jane") if row["kind"] == "verdict")
    assert (verdict["gate"], verdict["outcome"], verdict["draw"], verdict["detail"]) == (
        "interested",
        "advance",
        0.25,
        '{"holds":true}',
    )
    assert verdict["anchor"] == JANE
    moves = [(row["from_stage"], row["to_stage"]) for row in known.decisions("p_jane") if row["kind"] == "transition"]
    assert sorted(moves) == [("", "research"), ("research", "problem")]
    assert sorted(action.campaign for action in known.actions("p_jane")) == ["guide", "welcome"]


def test_whose_places_an_id_took_over_and_what_it_gave_up_is_read_back(known: State) -> None:
    entered = structs.replace(ENTERED, took_over=("p_former", "p_older"), own=("", "", ""))
    write(known, Decision(OUTSIDE, entered, (), (), "is one with them"))
    assert known.position("p_jane", "autumn") == entered
    own = structs.replace(AHEAD, took_over=("p_former",), own=("research", "p_jane", "2026-11-24T06:00:00.000Z"))
    write(known, Decision(entered, own, (), (), "moved"))
    assert known.position("p_jane", "autumn") == own
    parted = structs.replace(AHEAD, version=3)
    write(known, Decision(own, parted, (), (), "moved"))
    assert known.position("p_jane", "autumn") == parted


def test_who_comes_to_a_stage_again_moves_and_gets_no_second_action(known: State) -> None:
    write(known, ENTRY)
    write(known, ADVANCE)
    back = structs.replace(ENTERED, version=3)
    write(known, Decision(AHEAD, back, (), (), "moved by hand"))
    again = structs.replace(ADVANCE, before=back, after=structs.replace(AHEAD, version=4), campaigns=("guide", "offer"))
    write(known, again)
    assert known.position("p_jane", "autumn") == again.after
    assert sorted(row["campaign"] for row in known.decisions("p_jane") if row["kind"] == "action") == [
        "guide", "offer", "welcome"
    ]
    with pytest.raises(StageMoved):
        write(known, again)


def test_a_repeated_decision_is_refused_and_changes_nothing(
    known: State, tables: tuple[str, str], rows: Callable[[str], list[Any]]
) -> None:
    write(known, ENTRY)
    before = rows(tables[1])
    with pytest.raises(StageMoved):
        write(known, ENTRY)
    assert rows(tables[1]) == before


def test_a_decision_on_a_stale_position_is_refused_whole(known: State) -> None:
    write(known, ENTRY)
    write(known, ADVANCE)
    elsewhere = structs.replace(AHEAD, stage="excluded")
    with pytest.raises(StageMoved):
        write(known, Decision(ENTERED, elsewhere, (), ("offer",), "too late"))
    assert known.position("p_jane", "autumn") == AHEAD
    assert kinds(known) == ["action", "action", "transition", "transition", "verdict"]


def test_a_decision_is_all_or_nothing_when_one_of_its_facts_was_written_before(known: State) -> None:
    write(known, ENTRY)
    written = key("P#p_jane", "V#autumn#000002#interested")
    known._put({**written, schema.KIND: {"S": "verdict"}})
    with pytest.raises(StageMoved):
        write(known, ADVANCE)
    assert known.position("p_jane", "autumn") == ENTERED
    assert kinds(known) == ["action", "transition", "verdict"]


def test_a_decision_on_a_profile_that_was_folded_again_is_refused(known: State) -> None:
    known.put_profile(a_profile(events=3), 1, NOW)
    with pytest.raises(StageMoved):
        write(known, ENTRY, seen=1)
    write(known, ENTRY, seen=2)


@pytest.mark.parametrize("seen", [1, None])
def test_nothing_is_decided_under_an_id_that_moved(known: State, seen: int | None) -> None:
    known.put_profile(a_profile("p_a"), 0, NOW, None, {"p_jane": 1})
    with pytest.raises(StageMoved):
        write(known, ENTRY, seen)
    assert known.decisions("p_jane") == []


def test_a_hold_is_a_verdict_without_a_transition(known: State) -> None:
    write(known, ENTRY)
    hold = Verdict("interested", Outcome.HOLD, "visited /pumps: 0 times", HoldKind.INTEREST, None, None, {})
    write(known, Decision(ENTERED, structs.replace(ENTERED, version=2), (hold,), (), hold.reason))
    assert kinds(known) == ["action", "transition", "verdict"]
    assert known.position("p_jane", "autumn").stage == "research"


@pytest.mark.parametrize("consistent", [True, False])
def test_one_read_gives_the_profile_and_where_the_id_stands_on_every_loop(known: State, consistent: bool) -> None:
    write(known, ENTRY)
    unread = known.unread("p_jane", consistent=consistent)
    assert unread.stored is not None and profile_from(unread.stored) == known.profile("p_jane").profile
    assert (unread.version, unread.is_due) == (1, True)
    assert (unread.position("autumn"), unread.position("spring").stage) == (ENTERED, "")
    assert known.settle("p_jane", 1, NOW) and not known.unread("p_jane", consistent=consistent).is_due


def test_an_id_that_moved_or_never_was_has_nothing_to_read(known: State) -> None:
    known.put_profile(a_profile("p_ken"), 0, NOW, former={"p_jane": 1})
    assert known.unread("p_jane", consistent=True).stored is None
    assert known.unread("p_nobody", consistent=True).version == 0


def test_a_slot_of_a_capacity_is_taken_once_and_with_the_move(known: State) -> None:
    known.put_profile(a_profile("p_ken", nodes=(KEN,)), 0, NOW)
    narrow = a_loop(capacities={"problem": {"people": 2}})

    def comes(person: str, taken: int, window: str = "2026-11-23") -> None:
        before = known.position(person, "autumn")
        after = structs.replace(before, stage="problem", version=before.version + 1, unit=person)
        room = Room("problem", narrow.capacities["problem"], window, taken)
        known.write_decision(Decision(before, after, (), (), "ready", room=room), narrow, JANE, "r", NOW, 1)

    assert known.slots_taken("autumn", "problem", "2026-11-23") == 0
    comes("p_jane", 0)
    with pytest.raises(StageMoved):
        comes("p_ken", 0)
    assert known.position("p_ken", "autumn").stage == ""
    assert known.slots_taken("autumn", "problem", "2026-11-23") == 1
    comes("p_ken", 1)
    assert known.slots_taken("autumn", "problem", "2026-11-23") == 2
    others = (("autumn_valves", "problem", "2026-11-23"), ("autumn", "customer", "2026-11-23"),
              ("autumn", "problem", "2026-11-30"))
    assert [known.slots_taken(*other) for other in others] == [0, 0, 0]


def test_loops_and_people_stand_apart(known: State) -> None:
    known.put_profile(a_profile("p_jane2"), 0, NOW)
    write(known, ENTRY)
    assert known.position("p_jane", "autumn2").stage == ""
    assert known.position("p_jane2", "autumn").stage == ""
    assert known.actions("p_jane2") == []
    assert sorted(row["person"] for row in known.every_decision()) == ["p_jane", "p_jane"]


# Actions.


@pytest.fixture
def action(known: State) -> Action:
    write(known, ENTRY)
    known.settle("p_jane", 1, NOW)
    (action,) = known.actions("p_jane")
    return action


def test_an_action_is_due_until_it_ended(state: State, action: Action) -> None:
    assert action == Action("p_jane", "autumn", version_of(LOOP), "welcome", "pending", NOW)
    assert state.action_status("p_jane", action.key) == "pending"
    assert list(state.due(NOW)) == ["p_jane"]
    assert state.claim(action, [JANE], NOW)
    assert list(state.due(NOW)) == ["p_jane"]
    state.end(replace(action, status="claimed"), "sent", JANE, "", "m-1", "tick-1", NOW)
    assert list(state.due(NOW)) == []
    assert state.actions("p_jane") == []
    assert state.action_status("p_jane", action.key) == "sent"
    assert state.action_status("p_ken", action.key) == ""


def test_an_action_is_claimed_by_one_alone(state: State, action: Action) -> None:
    assert [state.claim(action, [JANE], minutes(number)) for number in range(3)] == [True, False, False]
    assert state.actions("p_jane") == [replace(action, status="claimed", claimed_at=NOW)]


def test_no_action_is_claimed_for_an_address_that_nobody_may_mail(state: State, action: Action) -> None:
    state.suppress(JANE, "unsubscribed", NOW)
    assert not state.claim(action, [KEN, JANE], NOW)
    assert state.actions("p_jane") == [action]
    assert state.claim(action, [KEN], NOW)


def test_a_mail_that_was_counted_meanwhile_is_counted_again_before_it_is_claimed(state: State, action: Action) -> None:
    read = state.mailed([JANE, KEN])
    assert [(one.version, one.sent) for one in read] == [(0, {}), (0, {})]
    assert state.claim(action, [JANE, KEN], NOW, read)
    assert [(one.identifier, one.version, one.sent) for one in state.mailed([JANE, KEN])] == [
        (address, 1, {action.key: NOW}) for address in (JANE, KEN)
    ]
    other = replace(action, campaign="other")
    state.release(action)
    assert not state.claim(action, [JANE], minutes(1), read[:1])
    assert state.claim(action, [JANE], minutes(1), state.mailed([JANE]))
    assert [(one.version, one.sent) for one in state.mailed([JANE])] == [(2, {action.key: minutes(1)})]
    assert not state.claim(other, [JANE], minutes(1), state.mailed([JANE]))


def test_an_action_given_back_can_be_claimed_again(state: State, action: Action) -> None:
    assert state.claim(action, [JANE], NOW)
    state.release(action)
    assert state.actions("p_jane") == [action]
    assert state.claim(action, [JANE], minutes(1))


def test_an_action_that_nobody_holds_cannot_be_given_back(state: State, action: Action) -> None:
    with pytest.raises(CallFailed):
        state.release(action)


def test_how_an_action_ended_is_written_once(state: State, action: Action) -> None:
    assert state.claim(action, [JANE], NOW)
    claimed = replace(action, status="claimed")
    state.end(claimed, "sent", JANE, "", "m-1", "tick-1", NOW)
    state.end(claimed, "unknown", JANE, "never told", "", "tick-2", minutes(20))
    (ended,) = [row for row in state.decisions("p_jane") if row["id"].startswith("P#p_jane|M#")]
    assert (ended["outcome"], ended["detail"], ended["run"]) == ("sent", "m-1", "tick-1")
    assert state.action_status("p_jane", action.key) == "sent"


def test_who_saw_it_pending_cannot_end_what_another_claimed(state: State, action: Action) -> None:
    assert state.claim(action, [JANE], NOW)
    state.end(action, "failed", JANE, "no address is held", "", "tick-2", NOW)
    assert state.action_status("p_jane", action.key) == "claimed"
    assert not [row for row in state.decisions("p_jane") if row["outcome"] == "failed"]


def test_what_people_are_to_do_is_written_with_why_and_a_mail_is_written_as_ever(
    known: State, tables: tuple[str, str], rows: Callable[[str], list[Any]]
) -> None:
    campaigns = [
        {"name": "guide", "stage": "problem", "touchpoint": "call", "sales_notice": {"to": ["crm"]}},
        {"name": "welcome", "stage": "research", "touchpoint": "email", "mail": {
            "subject": "Pumps", "text": "Hello", "link": "https://www.northwind.example/pumps"}},
    ]
    loop = a_loop(campaigns=campaigns)
    for decision in (ENTRY, ADVANCE):
        known.write_decision(decision, loop, JANE, "tick-1", NOW, 1)
    notice, mail = sorted(known.actions("p_jane"), key=lambda action: action.campaign)
    assert (notice.kind, notice.about) == ("sales_notice", {"gate": "interested", "position": 2})
    assert (mail.kind, mail.about) == ("mail", {})
    item = next(one for one in rows(tables[1]) if one["sk"]["S"] == f"A#{mail.key}")
    assert not {"action", "body"} & set(item)
