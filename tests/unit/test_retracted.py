"""What a list told and took back: it falls with its retraction, and stands when it is told again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as some

from closedloop.events.event import ROW_RETRACTED, Door
from closedloop.events.packet import Packet, standing
from closedloop.identity.evidence import links_of
from tests.builders import JANE, SITE, minutes, user


def told(name: str, minute: float, door: Door = Door.LIST) -> Packet:
    record = {"id": name, "type": "identify", "at": "2026-11-24T06:00:00.000Z", "ids": [JANE, user()]}
    return Packet(f"I#{JANE}", SITE, door, minutes(minute), (record,))


def taken_back(name: str, minute: float, door: Door = Door.LIST) -> Packet:
    record = {
        "id": f"gone-{name}-{minute}", "type": "track", "name": ROW_RETRACTED, "at": "2026-11-24T06:00:00.000Z",
        "ids": [JANE, user()], "properties": {"retracts": name},
    }
    return Packet(f"I#{JANE}", SITE, door, minutes(minute), (record,))


@pytest.mark.parametrize(("packets", "left"), [
    ([told("a", 0)], ["a"]),
    ([told("a", 0), taken_back("a", 5)], []),
    ([told("a", 0), taken_back("a", 0)], []),
    ([told("a", 0), told("b", 0), taken_back("a", 5)], ["b"]),
    ([told("a", 0), taken_back("a", 5), told("a", 6)], ["a"]),
    ([told("a", 0), taken_back("a", 5), told("a", 6), taken_back("a", 9)], []),
    ([taken_back("never told", 5)], []),
    ([told("a", 0), taken_back("a", 5, Door.BEACON)], ["a", "gone-a-5"]),
    ([told("a", 0, Door.FORM), taken_back("a", 5)], ["a"]),
])
def test_what_was_retracted_falls_and_what_is_told_afterwards_stands(packets: list[Packet], left: list[str]) -> None:
    assert [packet.records[0]["id"] for packet in standing(packets)] == left


SAID = some.tuples(some.sampled_from("ab"), some.integers(0, 9), some.booleans())


@given(some.lists(SAID, max_size=12), some.randoms())
def test_neither_order_nor_repetition_changes_what_stands(
    said: Sequence[tuple[str, int, bool]], chance: Random
) -> None:
    packets = [taken_back(name, minute) if back else told(name, minute) for name, minute, back in said]
    shuffled = [*packets, *packets]
    chance.shuffle(shuffled)
    assert {packet.id for packet in standing(shuffled)} == {packet.id for packet in standing(packets)}


def test_a_retraction_touches_whom_the_row_named_and_is_evidence_of_nothing() -> None:
    (event,) = taken_back("a", 5).events
    assert set(event.nodes) == {JANE, user()}
    assert links_of(event) == []
    assert links_of(replace(event, door=Door.BEACON)) != []
