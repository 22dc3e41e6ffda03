"""What joins and what does not: verified addresses, shared logins and phones, and what an operator decided."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from functools import cached_property
from itertools import count
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from closedloop.events.event import (
    CONSENT_CONFIRMED,
    DECISION_UNDONE,
    EMAIL_CLICKED,
    PERSONS_MERGED,
    PERSONS_SPLIT,
    Door,
    Event,
)
from closedloop.events.packet import Packet, standing
from closedloop.identity.evidence import Link, Strength, links_of, verified_by
from closedloop.identity.flow import gather
from closedloop.identity.persons import Persons, anchor_of, person_id
from closedloop.profiles.flow import events_of
from tests.builders import HASHER, JANE, KEN, a_packet, a_record, address, minutes, user

LI = address("li@acme.example")
LOGIN, OTHER_LOGIN = user("office"), user("office-2")
NUMBER = HASHER.customer("77", "dealer") or ""
DESK, MOBILE = HASHER.phone("+81312345678") or "", HASHER.phone("+819012345678") or ""
NUMBERS = count(1)


def said(ids: Sequence[str], at: float = 0, *, visitor: str = "", door: Door = Door.FORM, name: str = "") -> Packet:
    """One event that names somebody, stored where its door would store it."""
    record = a_record(str(next(NUMBERS)), "track", name or "Told", minutes(at), ids=ids, visitor=visitor)
    return a_packet(record, door=door, received_at=minutes(at))


def confirmed(who: str, at: float = 0) -> Packet:
    return said([who], at, door=Door.LINK, name=CONSENT_CONFIRMED)


def decided(name: str, one: str, two: str, at: float = 0) -> Packet:
    return said([one, two], at, door=Door.OPERATOR, name=name)


def merged(one: str, two: str, at: float = 0) -> Packet:
    return decided(PERSONS_MERGED, one, two, at)


def split(one: str, two: str, at: float = 0) -> Packet:
    return decided(PERSONS_SPLIT, one, two, at)


def undone(packet: Packet, at: float) -> Packet:
    record = a_record(str(next(NUMBERS)), "track", DECISION_UNDONE, minutes(at), ids=packet.records[0]["ids"],
                      properties={"retracts": packet.records[0]["id"]})
    return a_packet(record, door=Door.OPERATOR, received_at=minutes(at))


class World:
    """All that was told, as the ledger and the evidence of the State table have it."""

    def __init__(self, packets: Iterable[Packet]) -> None:
        self._packets: defaultdict[str, list[Packet]] = defaultdict(list)
        for packet in packets:
            first = packet.events[0]
            self._packets[first.nodes[0]].append(packet)
        stand = [packet for own in self._packets.values() for packet in standing(own)]
        self.events = [event for packet in stand for event in packet.events]
        self.all_links = [link for event in self.events for link in links_of(event)]
        # The table keeps the earliest of each kind.
        self._links: dict[tuple[str, str, str], Link] = {}
        for link in sorted(self.all_links, key=lambda link: (link.at, link.event)):
            self._links.setdefault((link.node, link.strong, link.kind), link)

    def packets(self, node: str) -> Iterator[Packet]:
        return iter(self._packets[node])

    def links(self, node: str) -> list[Link]:
        return [link for link in self._links.values() if node in (link.node, link.strong)]

    @property
    def names(self) -> set[str]:
        return {name for event in self.events for name in event.identifiers}

    @cached_property
    def persons(self) -> Persons:
        return Persons(self.all_links, self.names)

    @property
    def groups(self) -> set[frozenset[str]]:
        return {frozenset(nodes) for nodes in self.persons.nodes.values()}

    def owner(self, event: Event) -> str | None:
        return self.persons.owner_of(event)


def groups(*packets: Packet) -> set[frozenset[str]]:
    return World(packets).groups


def sets(*names: Iterable[str]) -> set[frozenset[str]]:
    return {frozenset(each) for each in names}


# Verified addresses.


def test_an_address_is_verified_by_the_button_of_a_mail_and_by_a_mailed_link_where_it_was_told() -> None:
    told = said([JANE], visitor="laptop")
    here, there = (said([JANE], 5, visitor=one, door=Door.LINK, name=EMAIL_CLICKED) for one in ("laptop", "phone"))
    for packets, verified in (
        ([told], False), ([told, there], False), ([here], False), ([told, here], True), ([confirmed(JANE)], True),
    ):
        found = verified_by(JANE, World(packets).links(JANE))
        assert (found is not None) is verified
        assert found is None or found.strength >= Strength.CLICK


@pytest.mark.parametrize("shared", [LOGIN, NUMBER])
def test_a_shared_id_joins_two_addresses_until_both_are_verified(shared: str) -> None:
    told = [said([JANE, shared], 1), said([KEN, shared], 2)]
    assert groups(*told) == groups(*told, confirmed(JANE)) == sets([JANE, KEN, shared])
    assert groups(*told, confirmed(JANE), confirmed(KEN)) == sets([JANE], [KEN])


def test_a_contested_id_is_whoevers_was_named_with_it_last() -> None:
    alone = [said([LOGIN], at) for at in (0, 3, 9)]
    world = World([
        said([JANE, LOGIN], 1), said([KEN, LOGIN], 5), said([JANE, LOGIN], 7), confirmed(JANE), confirmed(KEN), *alone,
    ])
    # Counted from the first time for each: that Jane was named again at 7 says no more.
    assert [world.owner(packet.events[0]) for packet in alone] == [
        person_id(JANE), person_id(JANE), person_id(KEN),
    ]


def test_verified_addresses_are_not_joined_along_several_ids_either() -> None:
    chain = [said([JANE, LOGIN], 1), said([LOGIN, NUMBER], 2), said([KEN, NUMBER], 3), said([KEN, OTHER_LOGIN], 4)]
    assert groups(*chain) == sets([JANE, LOGIN, NUMBER, KEN, OTHER_LOGIN])
    assert groups(*chain, confirmed(JANE), confirmed(KEN)) == sets([JANE], [KEN, OTHER_LOGIN])


# Phones.


def test_a_phone_alone_names_a_person_and_later_joins_who_tells_an_address_with_it() -> None:
    assert groups(said([MOBILE])) == sets([MOBILE])
    world = World([said([MOBILE]), said([JANE, MOBILE], 2)])
    assert world.groups == sets([JANE, MOBILE])
    assert world.owner(world.events[0]) == person_id(JANE)


def test_a_phone_joins_an_address_and_a_customer_number_that_were_never_named_together() -> None:
    assert groups(said([NUMBER, MOBILE]), said([JANE, MOBILE], 2)) == sets([NUMBER, MOBILE, JANE])


@pytest.mark.parametrize(("one", "two"), [
    (JANE, KEN), (NUMBER, HASHER.customer("78", "dealer") or ""), (LOGIN, OTHER_LOGIN),
])
def test_a_company_phone_glues_no_two_people(one: str, two: str) -> None:
    world = World([said([one, DESK], 1), said([two, DESK], 2), said([DESK], 3), said([DESK], 0)])
    assert world.groups == sets([one], [two])
    assert {world.owner(event) for event in world.events if event.identifiers == (DESK,)} == {
        person_id(one), person_id(two),
    }


def test_what_a_phone_of_more_than_twenty_did_was_nobody_of_them() -> None:
    people = [address(f"person{number}@acme.example") for number in range(21)]
    call = said([DESK], 50)
    for many, nobody in ((people[:20], False), (people, True)):
        world = World([*(said([one, DESK], at) for at, one in enumerate(many)), call])
        assert (world.owner(call.events[0]) is None) is nobody


def test_a_browser_is_whose_address_a_form_tells_though_a_shared_phone_stands_beside_it() -> None:
    pages = [said([], at, visitor="laptop", name="Page") for at in (0, 6)]
    world = World([*pages, said([KEN, DESK], 1), said([JANE, DESK], 5, visitor="laptop"), said([LI, DESK], 5.5)])
    assert {world.owner(page.events[0]) for page in pages} == {person_id(JANE)}


# What an operator decided.


def test_a_merge_joins_what_no_evidence_does_and_stands_when_both_are_verified_later() -> None:
    told = [said([JANE]), said([KEN])]
    assert groups(*told, merged(JANE, KEN)) == sets([JANE, KEN])
    assert groups(*told, merged(JANE, KEN), confirmed(JANE), confirmed(KEN)) == sets([JANE, KEN])


def test_a_split_parts_two_addresses_and_their_login_is_contested() -> None:
    told = [said([JANE, LOGIN], 1), said([KEN, LOGIN], 2)]
    assert groups(*told) == sets([JANE, KEN, LOGIN])
    assert groups(*told, split(JANE, KEN)) == sets([JANE], [KEN])


def test_a_split_parts_an_address_and_a_number_that_were_told_together() -> None:
    assert groups(said([JANE, NUMBER])) == sets([JANE, NUMBER])
    assert groups(said([JANE, NUMBER]), split(JANE, NUMBER)) == sets([JANE], [NUMBER])


@pytest.mark.parametrize("decision", [merged(JANE, KEN, 3), split(JANE, LOGIN, 3)])
def test_what_was_decided_and_undone_is_as_if_it_never_was(decision: Packet) -> None:
    told = [said([JANE, LOGIN], 1), said([KEN], 2)]
    assert groups(*told, decision) != groups(*told)
    assert groups(*told, decision, undone(decision, 4)) == groups(*told)


# Any world.

NAMES = [JANE, KEN, LI, LOGIN, OTHER_LOGIN, NUMBER, DESK, MOBILE]


@some.composite
def a_world(draw: some.DrawFn) -> list[Packet]:
    packets: list[Packet] = []
    for _ in range(draw(some.integers(1, 14))):
        at = draw(some.integers(0, 9))
        kind = draw(some.sampled_from(["told", "told", "told", "confirmed", "clicked", "merged", "split"]))
        if kind == "confirmed":
            packets.append(confirmed(draw(some.sampled_from([JANE, KEN, LI])), at))
        elif kind == "clicked":
            packets.append(said([draw(some.sampled_from([JANE, KEN, LI]))], at, visitor="pc", door=Door.LINK))
        elif kind in ("merged", "split"):
            one, two = draw(some.permutations(NAMES))[:2]
            packets.append(merged(one, two, at) if kind == "merged" else split(one, two, at))
        else:
            named = draw(some.lists(some.sampled_from(NAMES), min_size=1, max_size=3, unique=True))
            packets.append(said(sorted(named, key=NAMES.index), at, visitor=draw(some.sampled_from(["", "", "pc"]))))
    undo = draw(some.sampled_from([packet for packet in packets if packet.door is Door.OPERATOR] or [None]))
    return packets if undo is None or draw(some.booleans()) else [*packets, undone(undo, 9)]


@settings(max_examples=100, deadline=None)
@given(a_world(), some.randoms())
def test_no_order_and_no_copy_changes_who_is_who(packets: list[Packet], chance: Random) -> None:
    shuffled = [*packets, *packets]
    chance.shuffle(shuffled)
    one, two = World(packets), World(shuffled)
    assert one.groups == two.groups
    assert {event.id: one.owner(event) for event in one.events} == {event.id: two.owner(event) for event in two.events}


@settings(max_examples=100, deadline=None)
@given(a_world())
def test_two_verified_addresses_are_one_only_where_an_operator_said_so(packets: list[Packet]) -> None:
    world = World(packets)
    if any(event.name == PERSONS_MERGED for event in world.events):
        return
    for names in world.groups:
        verified = [name for name in names if name.startswith("email:") and verified_by(name, world.links(name))]
        assert len(verified) <= 1
        phones = [name for name in names if name in (DESK, MOBILE)]
        for phone in phones:
            told = {link.other(phone) for link in world.links(phone) if link.strength is Strength.PHONE}
            assert len([name for name in told if name.startswith("email:")]) < 2


@settings(max_examples=100, deadline=None)
@given(a_world())
def test_whom_everybody_is_asked_alone_agrees_with_all_asked_at_once(packets: list[Packet]) -> None:
    world = World(packets)
    persons = world.persons
    theirs: dict[str, set[str]] = {}
    for name in world.names:
        nearby = gather(name, world)
        assert (not nearby.strong) == (name not in {one for nodes in persons.nodes.values() for one in nodes})
        if nearby.strong:
            person = person_id(anchor_of(nearby.strong))
            assert set(persons.nodes[person]) == nearby.strong
            theirs[person] = {event.id for event in events_of(nearby, world)}
    expected: defaultdict[str, set[str]] = defaultdict(set)
    for event in world.events:
        owner = world.owner(event)
        if owner is not None and event.door is not Door.OPERATOR:
            expected[owner].add(event.id)
    assert {person: own for person, own in theirs.items() if own} == dict(expected)
