"""Suppressions, erasures and tombstones: what operators change is kept, what is erased is gone whole or goes on."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from closedloop.errors import BadShape, TryAgain
from closedloop.events.erased import tombstone_of
from closedloop.events.failed import FailedEvent, FailedKind
from closedloop.events.times import iso
from closedloop.identity.persons import person_id
from closedloop.store.ledger import Ledger, packet_item
from closedloop.store.rights import Erasure, is_of, renamed, reworded
from closedloop.store.state import State
from tests.builders import JANE, KEN, NOW, SITE, a_packet, a_profile, a_record, minutes

BROWSER = f"v:{SITE}:jane-laptop"
ERASURE = Erasure(
    JANE, "e1", SITE, person_id(JANE), iso(NOW), "asked", "person", {JANE: "email:random", BROWSER: f"v:{SITE}:random"},
    {person_id(JANE): "p_random"}, (f"v:{SITE}:office",), {"email": ("jane@acme.example",)},
    ((BROWSER, JANE, "told", iso(NOW), "northwind/form/f1"),), {"packets": 2},
)


def test_an_operators_changes_are_kept_beside_what_stands(state: State) -> None:
    assert state.add_suppression(JANE, "by phone", NOW)
    assert not state.add_suppression(JANE, "again", minutes(1))
    assert state.suppressed([JANE]) == "manual"
    assert [(one.identifier, one.reason) for one in state.suppressions()] == [(JANE, "manual")]
    assert state.lift_suppression(JANE, "wishes mails again", minutes(2))
    assert not state.lift_suppression(JANE, "again", minutes(3))
    assert (state.suppressed([JANE]), list(state.suppressions())) == ("", [])
    assert [(one["what"], one["why"]) for one in state.suppression_facts(JANE)] == [
        ("added", "by phone"), ("removed", "wishes mails again"),
    ]


@pytest.mark.parametrize("reason", ["bounced", "complained", "erased"])
def test_what_stands_for_good_is_not_taken_back(state: State, reason: str) -> None:
    state.suppress(JANE, reason, NOW)
    with pytest.raises(BadShape, match="nobody takes that back"):
        state.lift_suppression(JANE, "please", minutes(1))
    assert state.suppressed([JANE]) == reason
    assert state.suppression_facts(JANE) == []


def test_an_erasure_goes_on_with_what_it_began_with(state: State) -> None:
    assert state.erasing(JANE) is None
    state.begin_erasure(ERASURE)
    with pytest.raises(TryAgain):
        state.begin_erasure(replace(ERASURE, name="e2"))
    assert state.erasing(JANE) == ERASURE
    state.bury(ERASURE)
    state.bury(ERASURE)
    assert state.tombstones() == {tombstone_of(node): NOW for node in (JANE, BROWSER, person_id(JANE))}
    assert state.suppressed([JANE]) == "erased"
    state.end_erasure(ERASURE, minutes(5))
    assert state.erasing(JANE) is None
    (done,) = state.erasures()
    assert (done["erasure"], done["began_at"], done["ended_at"], done["counts"]) == (
        "e1", iso(NOW), iso(minutes(5)), {"packets": 2},
    )


def test_whoever_folds_somebody_who_is_erased_meanwhile_starts_again(state: State) -> None:
    jane = a_profile(person_id(JANE), (JANE,))
    state.put_profile(jane, 0, NOW, {"email": "jane@acme.example"})
    for _ in range(2):
        state.forget_person(jane.person)
        assert (state.profile(jane.person).version, state.profile(jane.person).profile) == (2, None)
    assert list(state.due(minutes(1))) == []
    state.forget_person("p_nobody")
    assert state.profile("p_nobody").version == 0


def test_everything_is_gone_through_and_taken_out_item_by_item(state: State) -> None:
    state.put_profile(a_profile(person_id(JANE), (JANE,)), 0, NOW, {"email": "jane@acme.example"})
    state.put_profile(a_profile(person_id(KEN), (KEN,)), 0, NOW)
    of_jane = {JANE, person_id(JANE)}
    for item in list(state.everything()):
        if is_of(item, of_jane):
            state.remove(item)
    assert [item for item in state.everything() if is_of(item, of_jane)] == []
    assert state.profile(person_id(KEN)).profile is not None


def test_a_mention_in_anothers_item_is_replaced_unless_that_changed_meanwhile(state: State) -> None:
    state.put_profile(a_profile(person_id(KEN), (KEN,), attributes={"brought_by": person_id(JANE)}), 0, NOW)
    (item,) = [one for one in state.everything() if reworded(one, ERASURE.persons)]
    state.rewrite(item, reworded(item, ERASURE.persons))
    profile = state.profile(person_id(KEN)).profile
    assert profile is not None
    assert profile.attributes == {"brought_by": "p_random"}
    with pytest.raises(TryAgain):
        state.rewrite(item, reworded(item, ERASURE.persons))


def test_a_name_is_replaced_only_where_it_is_a_whole_string() -> None:
    text = '{"a": "v1", "b": "v12", "c": "{\\"d\\": \\"v1\\"}"}'
    assert renamed(text, {"v1": "x"}) == '{"a": "x", "b": "v12", "c": "{\\"d\\": \\"x\\"}"}'


def test_a_packet_gives_way_to_what_stays_of_it(
    ledger: Ledger, tables: tuple[str, str], rows: Callable[[str], list[dict[str, Any]]]
) -> None:
    whole = a_packet(a_record("e1", visitor="office"), a_record("e2", visitor="office"))
    part = replace(whole, records=whole.records[:1])
    ledger.append([whole])
    for _ in range(2):
        ledger.replace(packet_item(whole), [part])
        assert list(ledger.packets(f"v:{SITE}:office")) == [part]
    assert list(ledger.every_item()) == rows(tables[0])
    ledger.replace(packet_item(part), [])
    assert list(ledger.every_item()) == []


def test_a_failed_event_goes_with_all_its_parts(ledger: Ledger) -> None:
    payload = random.Random(7).randbytes(800_000)
    one, other = (
        FailedEvent(FailedKind.REFUSED, "no", SITE, "beacon", "capture_beacon", "1", NOW, body)
        for body in (payload, b"x")
    )
    ledger.fail(one)
    ledger.fail(other)
    assert len(list(ledger.every_item())) == 4
    ledger.forget_failed(one)
    ledger.forget_failed(one)
    assert ledger.failed("2026-11-24") == [other]
    assert len(list(ledger.every_item())) == 1


def test_of_a_packet_that_came_too_late_only_a_key_is_left_that_expires(
    ledger: Ledger, tables: tuple[str, str], rows: Callable[[str], list[dict[str, Any]]]
) -> None:
    late = a_packet(a_record("e1", ids=[JANE], visitor="jane-laptop"), contact={JANE: {"email": "jane@acme.example"}})
    ledger.append([late])
    for _ in range(2):
        ledger.empty(late, [], minutes(1))
        (item,) = rows(tables[0])
        assert set(item) == {"pk", "sk", "kind", "expires_at"}
        assert (item["kind"]["S"], int(item["expires_at"]["N"])) == ("emptied", int(minutes(1).timestamp()))
    assert list(ledger.packets(BROWSER)) == list(ledger.every_packet()) == []
