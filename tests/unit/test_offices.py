"""People who are hard to tell apart, with the truth at hand: how well they are, and what a wrong merge leaves."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from closedloop.events.event import DECISION_UNDONE, Door
from closedloop.events.identifiers import Hasher
from closedloop.events.packet import Packet
from closedloop.events.times import iso
from closedloop.identity.decisions import merge
from closedloop.identity.evidence import Link, links_of
from closedloop.profiles.check import folded
from closedloop.world.offices import Offices, offices, resolved
from tests.builders import a_site

UNTIL = datetime(2026, 11, 24, 6, tzinfo=UTC)
HASHER = Hasher(b"pepper", "demo")
SITES = {"demo": a_site("demo")}


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_persons_are_resolved_with_known_precision_and_recall(seed: int) -> None:
    found = resolved(offices(600, seed, UNTIL, HASHER))
    assert found.people == 600
    assert found.precision >= 0.96, found
    assert found.recall >= 0.85, found


def test_gluing_by_whatever_is_shared_would_be_seen() -> None:
    """The measure itself: who believes every telephone and browser is far from the floor."""
    world = offices(600, 1, UNTIL, HASHER)
    right = resolved(world)
    one_office = replace(world, who={event: person // 6 for event, person in world.who.items()})
    assert resolved(one_office).recall < 0.5 < right.recall


def test_the_same_numbers_tell_the_same_and_every_case_is_in_it() -> None:
    world = offices(600, 1, UNTIL, HASHER)
    assert world == offices(600, 1, UNTIL, HASHER)
    assert {event.door for event in world.events} == {Door.FORM, Door.BEACON, Door.LINK, Door.LIST}
    users: dict[str, set[int]] = {}
    for event in world.events:
        for name in (*event.identifiers, event.visitor or ""):
            users.setdefault(name, set()).add(world.who[event.id])
    shared = {name.partition(":")[0].partition("-")[0] for name, who in users.items() if name and len(who) > 1}
    assert {"phone", "user", "pc", "email"} <= shared


class Told:
    """The evidence of a world."""

    def __init__(self, world: Offices) -> None:
        self._links: dict[str, list[Link]] = {}
        for event in world.events:
            for link in links_of(event):
                for end in {link.node, link.strong}:
                    self._links.setdefault(end, []).append(link)

    def links(self, node: str) -> list[Link]:
        return self._links.get(node, [])


def test_a_wrong_merge_is_undone_to_the_byte() -> None:
    world = offices(40, 5, UNTIL, HASHER)

    def profiles(*more: Packet) -> dict[str, str]:
        return {one.person: one.as_text() for one in folded([*world.packets, *more], SITES)[0]}

    before, evidence = profiles(), Told(world)
    unverified = [
        name for name in sorted({event.identifiers[0] for event in world.events if event.identifiers})
        if name.startswith("email:") and not any(link.node == link.strong for link in evidence.links(name))
    ]
    one, other = unverified[:2]
    wrong = merge(one, other, "demo", "looked alike", evidence, UNTIL).packet
    merged = profiles(wrong)
    assert len(merged) == len(before) - 1
    later = UNTIL + timedelta(days=3)
    record = {
        "id": "demo/operator/undo-1", "type": "track", "name": DECISION_UNDONE, "at": iso(later), "ids": [one, other],
        "properties": {"retracts": wrong.records[0]["id"]},
    }
    assert profiles(wrong, replace(wrong, records=(record,), received_at=later)) == before
