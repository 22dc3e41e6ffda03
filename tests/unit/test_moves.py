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
from closedloop.loops.decide import Decision, Position, decide
from closedloop.loops.definition import Loop
from closedloop.loops.experiments import entry_draw
from closedloop.loops.moves import BECAME_ONE, PARTED, REASON_CHARS, balance, by_hand, settled
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


def moved(*positions: Position, loop: Loop | None = None) -> list[Decision]:
    return [*settled(positions, loop or a_loop(), NOW)]


def test_who_became_one_goes_on_from_the_furthest_place_by_a_move_of_its_own() -> None:
    own = at("research", standing={"interested": "x"}, version=3)
    other = replace(at("problem", standing={"asks": "y"}, version=7), person="p-former", unit="p-first", since=iso(NOW))
    (taken,) = moved(own, other)
    assert (taken.before, taken.verdicts, taken.campaigns, taken.reason) == (own, (), (), BECAME_ONE)
    after = taken.after
    assert (after.person, after.stage, after.version, after.unit) == ("p-ada", "problem", 4, "p-first")
    assert (after.standing, after.since, after.took_over) == ((("asks", "y"),), iso(NOW), ("p-former",))
    assert after.own == ("research", own.unit, own.since)
    assert moved(after, other) == moved(own) == []


def test_who_has_not_entered_the_loop_is_nobody_to_go_on_from() -> None:
    assert moved(at("research"), Position("p-former", "autumn")) == []


def test_of_equals_and_of_who_stood_behind_it_is_noted_whose_places_are_one_without_a_move() -> None:
    (noted,) = moved(at("problem", version=3), replace(at("research"), person="p-former"))
    assert (noted.after.stage, noted.after.version, noted.after.took_over) == ("problem", 3, ("p-former",))


def test_who_parts_goes_back_to_their_own_place_and_arm_whatever_was_reached_as_one() -> None:
    own = replace(at("research", version=3), since="2026-09-01T00:00:00.000Z")
    (taken,) = moved(own, replace(at("problem"), person="p-former", unit="p-first"))
    on = replace(taken.after, stage="proposal", version=5, standing=(("x", "y"),))
    (back,) = moved(on)
    assert (back.reason, back.campaigns, back.after) == (PARTED, (), replace(own, version=6))
    noted = moved(own, replace(at("research"), person="p-former"))[0].after
    assert moved(replace(noted, stage="customer", version=9))[0].after == replace(own, version=10)
    assert moved(noted)[0].after == own


def test_who_entered_by_anothers_place_goes_back_to_the_beginning_and_keeps_their_arm() -> None:
    loop = a_loop().model_copy(update={"universal_holdout": 0.5})
    (taken,) = moved(Position("p-ada", "autumn"), replace(at("problem"), person="p-former", unit="p-first"), loop=loop)
    assert taken.draw == entry_draw(loop, "p-first")
    (back,) = moved(taken.after, loop=loop)
    assert (back.after.stage, back.after.unit, back.after.since, back.draw) == ("research", "p-first", iso(NOW), None)


def test_of_several_who_became_one_the_rest_stays_when_one_parts() -> None:
    own, near = at("research"), replace(at("problem"), person="p-near", unit="u-near")
    (taken,) = moved(own, near, replace(at("proposal"), person="p-far", unit="u-far"))
    back, again = moved(taken.after, near)
    assert (back.after.stage, again.after.stage, again.after.unit) == ("research", "problem", "u-near")
    assert (again.after.took_over, again.after.own[0]) == (("p-near",), "research")
    # The one that leaves may have been joined to a former id, before that became one with this.
    (further,) = moved(own, replace(taken.after, person="p-mid"), near, replace(at("proposal"), person="p-far"))
    back, again = moved(further.after, replace(taken.after, person="p-mid"), near)
    assert (back.after.stage, again.after.stage) == ("research", "problem")


def test_who_was_moved_by_hand_stays_there_whatever_former_ids_did_and_if_they_part() -> None:
    other = replace(at("proposal", version=7), person="p-former")
    (taken,) = moved(at("research"), other)
    back = by_hand(a_loop(), taken.after, "problem", "asked for too early", NOW).after
    assert moved(back, other) == []
    third = replace(at("customer", version=2), person="p-third")
    assert [one.after.stage for one in moved(back, other, third)] == ["customer"]
    (parted,) = moved(replace(back, stage="proposal"))
    assert (parted.after.stage, parted.after.since) == ("problem", iso(NOW))


def a_move(person: str, to: str, days: int, number: int = 0, loop: str = "autumn") -> dict[str, Any]:
    moment = iso(datetime(2026, 9, 1, tzinfo=UTC) + timedelta(days=days))
    return {"kind": "transition", "loop": loop, "person": person, "to_stage": to, "at": moment, "id": f"{number:06}"}


def test_the_balance_is_that_of_the_day_and_who_became_one_counts_once() -> None:
    rows = [
        a_move("p1", "research", 0), a_move("p1", "problem", 5), a_move("p1", "research", 9),
        a_move("p2", "research", 1), a_move("p3", "research", 2), a_move("p3", "problem", 6),
        # Where a former id got to counts for nobody who stands somewhere by their own.
        a_move("p4", "research", 0, loop="winter"), {**a_move("p5", "research", 0), "kind": "verdict"},
    ]
    present = {"p3": "p2"}
    told = [dict(balance(rows, "autumn", datetime(2026, 9, 1, tzinfo=UTC) + timedelta(days=days),
                         lambda person: present.get(person, person))) for days in (-1, 0, 5, 7, 9)]
    assert told == [{}, {"research": 1}, {"problem": 1, "research": 1}, {"problem": 1, "research": 1}, {"research": 2}]


@given(st.permutations([a_move("p1", stage, 3, number) for number, stage in enumerate(("research", "problem", "won"))]))
def test_of_moves_in_one_moment_the_last_written_counts_in_whatever_order_they_are_read(rows: list[Any]) -> None:
    assert balance(rows, "autumn", datetime(2026, 9, 9, tzinfo=UTC), str) == {"won": 1}
