"""Moves by hand and the balance of a past day."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from closedloop.errors import BadShape
from closedloop.events.times import iso
from closedloop.loops.decide import Position, decide
from closedloop.loops.moves import BECAME_ONE, REASON_CHARS, balance, by_hand, furthest, taking_over
from tests.unit.test_decide import NOW, a_loop, a_profile, at


@pytest.mark.parametrize("stage", ["problem", "customer", "recycled", "lost", "excluded"])
def test_somebody_is_moved_forward_or_off_the_path_with_the_reason_and_no_mail(stage: str) -> None:
    before = at("research", standing={"interested": "x"}, version=4)
    decision = by_hand(a_loop(), before, stage, "  met at\n the fair ", NOW)
    after = decision.after
    assert (after.stage, after.version, after.since, after.unit) == (stage, 5, iso(NOW), "p-ada")
    assert (decision.before, decision.verdicts, decision.campaigns) == (before, (), ())
    assert decision.reason == "moved by hand: met at the fair"


def test_who_is_moved_back_is_judged_afresh() -> None:
    back = by_hand(a_loop(), at("proposal", standing={"bought": "x"}), "problem", "asked for too early", NOW).after
    assert (back.stage, back.standing) == ("problem", ())
    assert decide(a_loop(), a_profile(fit=10), back, NOW).verdicts[0].gate == "asks"
    again = by_hand(a_loop(), at("excluded"), "research", "was no student", NOW).after
    assert again.stage == "research"


@pytest.mark.parametrize(("position", "stage", "reason", "words"), [
    (at("research"), "problme", "x", "expected one of the stages research, problem, proposal, customer, excluded, "
     "recycled or lost, found 'problme'; did you mean problem?"),
    (at("research"), "research", "x", "they stand at research already"),
    (Position("p-ada", "autumn"), "problem", "x", "they have not entered loop autumn yet; the next run brings them in"),
    (at("research"), "problem", " \n ", "expected a reason of 1 to 300 characters; it is kept with the move"),
    (at("research"), "problem", "x" * (REASON_CHARS + 1),
     "expected a reason of 1 to 300 characters; it is kept with the move"),
])
def test_an_illegal_move_is_refused_with_words(position: Position, stage: str, reason: str, words: str) -> None:
    with pytest.raises(BadShape) as refused:
        by_hand(a_loop(), position, stage, reason, NOW)
    assert words in str(refused.value)


def test_who_became_one_goes_on_from_the_furthest_place_by_a_move_of_its_own() -> None:
    own = at("research", standing={"interested": "x"}, version=3)
    other = replace(at("problem", standing={"asks": "y"}, version=7), person="p-former", unit="p-first", since=iso(NOW))
    taken = taking_over([own, other], a_loop())
    assert taken is not None
    assert (taken.before, taken.verdicts, taken.campaigns, taken.reason) == (own, (), (), BECAME_ONE)
    after = taken.after
    assert (after.person, after.stage, after.version, after.unit) == ("p-ada", "problem", 4, "p-first")
    assert (after.standing, after.since, after.took_over) == ((("asks", "y"),), iso(NOW), ("p-former",))
    assert taking_over([after, other], a_loop()) is None
    assert taking_over([own], a_loop()) is None


def test_who_was_moved_back_stays_there_whatever_a_former_id_did() -> None:
    other = replace(at("proposal", version=7), person="p-former")
    taken = taking_over([at("research"), other], a_loop())
    assert taken is not None
    back = by_hand(a_loop(), taken.after, "research", "asked for too early", NOW).after
    assert furthest([back, other], a_loop()).stage == "research"
    third = replace(at("problem", version=2), person="p-third")
    assert furthest([back, other, third], a_loop()).stage == "problem"


def a_move(person: str, to: str, days: int, number: int = 0, loop: str = "autumn") -> dict[str, Any]:
    moment = iso(datetime(2026, 9, 1, tzinfo=UTC) + timedelta(days=days))
    return {"kind": "transition", "loop": loop, "person": person, "to_stage": to, "at": moment, "id": f"{number:06}"}


def test_the_balance_is_that_of_the_day_and_who_became_one_counts_once() -> None:
    rows = [
        a_move("p1", "research", 0), a_move("p1", "problem", 5), a_move("p1", "research", 9),
        a_move("p2", "research", 1), a_move("p3", "research", 2), a_move("p3", "problem", 6),
        a_move("p4", "research", 0, loop="winter"), {**a_move("p5", "research", 0), "kind": "verdict"},
    ]
    present = {"p3": "p2"}
    told = [dict(balance(rows, "autumn", datetime(2026, 9, 1, tzinfo=UTC) + timedelta(days=days),
                         lambda person: present.get(person, person))) for days in (-1, 0, 5, 7, 9)]
    assert told == [{}, {"research": 1}, {"problem": 1, "research": 1}, {"problem": 2}, {"problem": 1, "research": 1}]


@given(st.permutations([a_move("p1", stage, 3, number) for number, stage in enumerate(("research", "problem", "won"))]))
def test_of_moves_in_one_moment_the_last_written_counts_in_whatever_order_they_are_read(rows: list[Any]) -> None:
    assert balance(rows, "autumn", datetime(2026, 9, 9, tzinfo=UTC), str) == {"won": 1}
