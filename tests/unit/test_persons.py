"""Who is who: resolved from evidence in any order, without gluing two people by one browser."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.events.event import EMAIL_CLICKED, Door, Event
from closedloop.events.identifiers import visitor_node
from closedloop.identity.evidence import EvidenceKind, Link, links_of
from closedloop.identity.flow import gather, strong_nodes
from closedloop.identity.persons import Persons, anchor_of, ids_of, person_id
from tests.builders import JANE, KEN, SITE, a_link, address, an_event, minutes, user

LAPTOP, PHONE = visitor_node(SITE, "jane-laptop"), visitor_node(SITE, "jane-phone")
NUMBER = user()
EVENTS = [
    an_event("e1", visitor="office-pc", at=minutes(1)),
    an_event("f1", type="track", name="Form Submitted", visitor="office-pc", ids=[JANE], at=minutes(2)),
    an_event("e2", visitor="office-pc", at=minutes(3)),
    an_event("f2", type="track", name="Form Submitted", visitor="office-pc", ids=[KEN], at=minutes(4)),
    an_event("e3", visitor="office-pc", at=minutes(5)),
    an_event("i1", type="identify", ids=[JANE, NUMBER], at=minutes(6)),
    an_event("e4", visitor="jane-phone", ids=[NUMBER], at=minutes(7)),
    an_event("e5", visitor="jane-phone", at=minutes(0)),
    an_event("c1", Door.LINK, type="track", name=EMAIL_CLICKED, visitor="office-pc", ids=[KEN], at=minutes(0)),
    an_event("d1", type="track", name="Deal Opened", deal="D-7", ids=[JANE], at=minutes(8)),
    an_event("d2", type="track", name="Deal Won", deal="D-7", at=minutes(9)),
]


def persons_of(events: Iterable[Event]) -> Persons:
    told = list(events)
    return Persons(
        (link for event in told for link in links_of(event)), {node for event in told for node in event.identifiers}
    )


def owners(events: Iterable[Event]) -> dict[str, str | None]:
    told = list(events)
    persons = persons_of(told)
    return {event.id: persons.owner_of(event) for event in told}


@given(st.permutations(EVENTS), st.lists(st.sampled_from(EVENTS), max_size=8))
def test_no_order_and_no_copy_changes_who_is_who(order: list[Event], copies: list[Event]) -> None:
    assert owners([*copies, *order]) == owners(EVENTS)


def test_a_shared_browser_is_split_by_the_time_at_which_each_named_themselves() -> None:
    found, jane, ken = owners(EVENTS), person_id(JANE), person_id(KEN)
    of_office = {name: found[f"northwind/beacon/{name}"] for name in ("e1", "f1", "e2", "f2", "e3")}
    assert of_office == {"e1": jane, "f1": jane, "e2": jane, "f2": ken, "e3": ken}


def test_an_anonymous_past_joins_who_names_themselves_later() -> None:
    assert owners(EVENTS)["northwind/beacon/e5"] == person_id(JANE)


def test_a_browser_where_nobody_told_a_name_is_nobodys() -> None:
    assert owners([an_event("e1", visitor="unknown")]) == {"northwind/beacon/e1": None}


def test_one_browser_never_glues_two_addresses() -> None:
    assert persons_of(EVENTS[:5]).nodes == {person_id(JANE): (JANE,), person_id(KEN): (KEN,)}


def test_one_event_that_names_two_addresses_does_not_glue_them() -> None:
    event = an_event("e1", visitor="jane-laptop", ids=[JANE, KEN])
    assert {(link.node, link.strong) for link in links_of(event)} == {(LAPTOP, JANE), (LAPTOP, KEN)}
    assert len(persons_of([event]).nodes) == 2


def test_an_address_and_a_number_named_together_are_one_person_named_after_the_address() -> None:
    persons = persons_of([EVENTS[5]])
    assert persons.nodes == {person_id(JANE): tuple(sorted((JANE, NUMBER)))}
    assert persons.owner(NUMBER, minutes(0)) == person_id(JANE)


def test_a_click_on_a_mailed_link_owns_a_browser_where_nobody_told_a_name() -> None:
    clicked = an_event("c1", Door.LINK, type="track", name=EMAIL_CLICKED, visitor="ken-phone", ids=[KEN], at=minutes(5))
    page = an_event("e1", visitor="ken-phone", at=minutes(1))
    assert set(owners([page, clicked]).values()) == {person_id(KEN)}


def test_a_click_on_a_forwarded_mail_is_no_proof_where_somebody_told_a_name() -> None:
    told = an_event("f1", type="track", name="Form Submitted", visitor="jane-laptop", ids=[JANE], at=minutes(1))
    clicked = an_event(
        "c1", Door.LINK, type="track", name=EMAIL_CLICKED, visitor="jane-laptop", ids=[KEN], at=minutes(2)
    )
    page = an_event("e2", visitor="jane-laptop", at=minutes(3))
    assert owners([told, clicked, page]) == {
        told.id: person_id(JANE),
        clicked.id: person_id(KEN),
        page.id: person_id(JANE),
    }


def test_what_a_deal_does_later_is_whose_deal_it_is() -> None:
    assert owners(EVENTS)["northwind/beacon/d2"] == person_id(JANE)


@given(st.permutations(range(4)))
def test_a_deal_is_whole_its_last_buyers_and_no_longer_the_formers(order: list[int]) -> None:
    said = [
        an_event(name, Door.DEAL, type="track", name=kind, deal="D-7", ids=ids, at=minutes(at))
        for name, kind, ids, at in (
            ("d1", "Deal Opened", [JANE], 1), ("d2", "Deal Changed", [KEN], 2), ("d3", "Deal Won", [], 3),
            ("d4", "Deal Paid", [JANE], 4),
        )
    ]
    assert set(owners(said[place] for place in order).values()) == {person_id(KEN)}


def test_what_a_browser_alone_says_of_a_deal_lies_with_the_browser() -> None:
    named = an_event("f1", type="track", name="Form Submitted", visitor="jane-laptop", ids=[JANE], at=minutes(1))
    order = an_event("o1", type="track", name="Order Completed", visitor="jane-laptop", deal="D-7", at=minutes(2))
    won = an_event("d1", Door.DEAL, type="track", name="Deal Won", deal="D-7", ids=[KEN], at=minutes(3))
    assert owners([named, order, won])[order.id] == person_id(JANE)


def test_a_refund_is_the_buyers_whoever_handled_it() -> None:
    won = an_event("d1", Door.DEAL, type="track", name="Deal Won", deal="D-7", ids=[JANE], at=minutes(2))
    refunds = [
        an_event(name, Door.DEAL, type="track", name=kind, deal="D-7", ids=[KEN], at=minutes(at))
        for name, kind, at in (("r1", "Deal Refunded", 1), ("r2", "Order Refunded", 3), ("p1", "Deal Paid", 5))
    ]
    lost = an_event("d2", Door.DEAL, type="track", name="Deal Lost", deal="D-7", at=minutes(4))
    assert set(owners([*refunds, won, lost]).values()) == {person_id(JANE)}
    # Where nothing else names the buyer, a refund or payment does.
    assert set(owners(refunds).values()) == {person_id(KEN)}


@pytest.mark.parametrize("nodes", list(permutations([NUMBER, JANE, user("A-1")])))
def test_a_person_is_named_after_the_least_address_whatever_the_order(nodes: tuple[str, ...]) -> None:
    assert anchor_of(nodes) == JANE
    assert ids_of(nodes)[0] == person_id(JANE)
    assert set(ids_of(nodes)) == {person_id(node) for node in nodes}


# Gathering.


class Evidence:
    """Evidence as a table would give it: by node, from both ends."""

    def __init__(self, links: Iterable[Link]) -> None:
        self._links = list(links)
        self.asked: list[str] = []

    def links(self, node: str) -> list[Link]:
        self.asked.append(node)
        return [link for link in self._links if node in (link.node, link.strong)]


def test_gathering_goes_over_strong_nodes_and_stops_at_a_shared_browser() -> None:
    evidence = Evidence(
        [
            a_link(LAPTOP, JANE),
            a_link(LAPTOP, KEN, minutes(5)),
            a_link(JANE, NUMBER),
            a_link(PHONE, NUMBER),
            a_link(visitor_node(SITE, "ken-phone"), KEN),
        ]
    )
    nearby = gather(JANE, evidence)
    assert nearby.strong == {JANE, NUMBER}
    assert nearby.near == {LAPTOP, PHONE}
    assert {link.strong for link in nearby.links if link.node == LAPTOP} == {JANE, KEN}
    assert gather(NUMBER, evidence).strong == {JANE, NUMBER}


def test_who_a_browser_touches_is_everybody_who_told_a_name_on_it() -> None:
    evidence = Evidence([a_link(LAPTOP, JANE), a_link(LAPTOP, KEN, minutes(5), EvidenceKind.CLICK)])
    assert strong_nodes([LAPTOP, NUMBER], evidence) == {JANE, KEN, NUMBER}
    assert strong_nodes([visitor_node(SITE, "unknown")], evidence) == set()


def test_what_has_more_than_five_hundred_nodes_is_left_out_not_followed_for_ever() -> None:
    evidence = Evidence(a_link(visitor_node(SITE, f"kiosk-{number}"), JANE) for number in range(2_000))
    nearby = gather(JANE, evidence)
    assert len(nearby.strong) + len(nearby.near) <= 500
    assert len(evidence.asked) <= 501


def test_every_address_of_a_list_is_another_node() -> None:
    assert len({address(f"person{number}@acme.example") for number in range(500)}) == 500
