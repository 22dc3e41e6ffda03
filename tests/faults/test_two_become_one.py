"""Somebody known by a number tells an address: one person, who goes on where they stood and is mailed once."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from msgspec import structs

from closedloop.events.packet import Packet
from closedloop.identity.decisions import merge, undo
from closedloop.identity.evidence import Link
from closedloop.identity.persons import ids_of
from closedloop.lake.files import Files
from closedloop.lake.runs import RunFiles
from closedloop.loops.actions import Links, WrittenMail
from closedloop.loops.decide import Position
from closedloop.loops.flow import MailDoors, decide_shard, perform_shard, select
from closedloop.loops.moves import furthest
from closedloop.profiles.flow import MOST_FORMER, project, refold
from closedloop.store.calls import Dynamo
from closedloop.store.ledger import Ledger
from closedloop.store.state import State
from tests.builders import (
    JANE,
    KEN,
    SITE,
    a_form,
    a_link,
    a_loop,
    a_packet,
    a_record,
    a_site,
    address,
    minutes,
    the_pepper,
    user,
)
from tests.faults.nemesis import Disturbed, Nemesis

SITES = {SITE: a_site()}
LOOP = a_loop()
NUMBER = user()
NOW_ID, FORMER = ids_of([JANE, NUMBER])
CONTACT = {JANE: {"email": "jane@acme.example"}}


class There:
    """Projector and workflow, one after the other, with a post that notes what it sent."""

    def __init__(self, dynamo: Dynamo, tables: tuple[str, str], files: Files) -> None:
        self.state = State(dynamo, tables[1], the_pepper)
        self.ledger = Ledger(dynamo, tables[0], lambda attempt: None)
        self.runs = RunFiles(files)
        self.mails: list[tuple[str, str]] = []

    def send(self, mail: WrittenMail) -> str:
        self.mails.append((mail.to, mail.tags["campaign"]))
        return "m-1"

    def tell(self, *packets: Packet) -> None:
        self.ledger.append(packets)
        arrived = [(str(number), packet, packet.events) for number, packet in enumerate(packets)]
        assert project(arrived, self.state, self.ledger, SITES, lambda: minutes(60)).again == set()

    def decide(self) -> dict[str, int]:
        at = minutes(90)
        selected = select("tick", (), self.state, self.runs, at)
        if selected["outcome"] == "nobody":
            return {}
        counts: dict[str, int] = decide_shard("tick", 0, self.state, self.runs, [LOOP], SITES, at)["counts"]
        return counts

    def perform(self) -> dict[str, int]:
        links: Callable[..., Links] = lambda *_: Links("https://go", "https://seen", "https://stop", "https://bait")  # noqa: E731
        doors = MailDoors(self, links, lambda *_: None, lambda _: None, {LOOP.loop: LOOP}, SITES, lambda: minutes(91))
        performed: dict[str, int] = perform_shard("tick", 0, self.state, self.runs, doors)["counts"]
        return performed

    def moves(self, person: str) -> list[tuple[str, str]]:
        return [
            (row["from_stage"], row["to_stage"]) for row in self.state.decisions(person) if row["kind"] == "transition"
        ]


@pytest.fixture
def there(dynamo: Dynamo, tables: tuple[str, str], files: Files) -> There:
    return There(dynamo, tables, files)


def by_number() -> Packet:
    """The customer with the number looked at a pump."""
    return a_packet(a_record("e1", ids=[NUMBER], at=minutes(1)))


def both_told() -> Packet:
    """One form names the address and the number."""
    return a_packet(a_form(ids=[JANE, NUMBER], at=minutes(2)), contact=CONTACT, received_at=minutes(2))


def test_they_go_on_where_they_stood_and_enter_no_second_time(there: There) -> None:
    there.tell(by_number())
    there.decide()
    there.perform()
    assert there.moves(FORMER) == [("", "research"), ("research", "problem")]
    there.tell(both_told())
    there.decide()
    # The id that goes on has one path of its own: to where the other stood, and on from there.
    assert there.moves(NOW_ID) == [("", "problem"), ("problem", "proposal")]
    assert there.moves(FORMER) == [("", "research"), ("research", "problem")]
    assert there.state.position(NOW_ID, "autumn").unit == FORMER


def test_with_nothing_new_to_decide_they_only_go_on_under_the_one_id(there: There) -> None:
    there.tell(by_number())
    there.decide()
    there.tell(a_packet(a_record("e2", "identify", ids=[JANE, NUMBER], at=minutes(2)), contact=CONTACT))
    assert there.decide()["moved"] == 1
    assert there.moves(NOW_ID) == [("", "problem")]
    assert there.decide()["unchanged"] == 1


def test_a_mail_that_waited_under_the_number_goes_to_the_address_once(there: There) -> None:
    there.tell(by_number())
    there.decide()
    there.tell(both_told())
    there.decide()
    assert there.perform() == {"sent": 3}
    assert sorted(there.mails) == [("jane@acme.example", name) for name in ("guide", "offer", "welcome")]
    there.decide()
    assert there.decide() == {}


def test_a_mail_that_both_wait_for_goes_out_once(there: There) -> None:
    there.tell(by_number(), a_packet(a_record("e2", ids=[JANE], at=minutes(2)), contact=CONTACT))
    there.decide()
    assert there.moves(FORMER) == there.moves(NOW_ID) == [("", "research"), ("research", "problem")]
    there.tell(both_told())
    there.decide()
    there.perform()
    assert sorted(campaign for _, campaign in there.mails) == ["guide", "offer", "welcome"]


def test_a_run_that_selected_the_former_id_decides_nothing_about_it(there: There) -> None:
    there.tell(by_number())
    select("tick", (), there.state, there.runs, minutes(90))
    there.tell(both_told())
    assert decide_shard("tick", 0, there.state, there.runs, [LOOP], SITES, minutes(90))["counts"]["unchanged"] == 1
    assert there.state.decisions(FORMER) == []


def test_a_slow_fold_of_the_number_alone_cannot_write_it_again(there: There) -> None:
    class Slow(State):
        """Reads the number's profile and evidence; before it goes on, the address is told."""

        late = False

        def links(self, node: str) -> list[Link]:
            found = super().links(node)
            if not self.late:
                self.late = True
                there.tell(both_told())
            return found

    there.ledger.append([by_number()])
    slow = Slow(there.state._dynamo, there.state._table)
    profile, _, _ = refold(NUMBER, slow, there.ledger, SITES, lambda: minutes(60))
    assert slow.late
    assert profile is not None
    assert profile.person == NOW_ID
    assert there.state.profile(FORMER).moved_to == NOW_ID


def test_a_third_id_that_comes_later_leads_on_from_both(there: There) -> None:
    second = min(address(f"jane{number}@acme.example") for number in range(50))
    assert second < JANE
    there.tell(by_number())
    there.decide()
    there.tell(both_told())
    there.tell(a_packet(a_record("e3", "identify", ids=[second, NUMBER], at=minutes(3))))
    now_id = ids_of([second, JANE, NUMBER])[0]
    assert there.state.profile(FORMER).moved_to == now_id
    assert there.state.profile(NOW_ID).moved_to == now_id
    there.decide()
    assert there.moves(now_id) == [("", "problem"), ("problem", "proposal")]
    assert sorted(there.state.people(SITE)) == [now_id]


@pytest.mark.parametrize("dies_after", [0, 1, 2])
def test_somebody_of_more_ids_than_one_write_takes_leaves_none_behind(there: There, dies_after: int) -> None:
    numbers = [user(f"C-{number:03d}") for number in range(2 * MOST_FORMER + 5)]
    there.tell(*(a_packet(a_record(f"e{number}", ids=[name])) for number, name in enumerate(numbers)))
    assert len(list(there.state.people(SITE))) == len(numbers)

    class Dying(State):
        """Has written so many profiles when the function is killed."""

        left = dies_after

        def put_profile(self, *args: Any, **named: Any) -> None:
            if not self.left:
                raise TimeoutError
            self.left -= 1
            super().put_profile(*args, **named)

    there.ledger.append([
        a_packet(a_record(f"j{number}", "identify", ids=[JANE, name], at=minutes(5)))
        for number, name in enumerate(numbers)
    ])
    arrived = [(packet.id, packet, packet.events) for packet in there.ledger.packets(JANE)]
    with pytest.raises(TimeoutError):
        project(arrived, Dying(there.state._dynamo, there.state._table, the_pepper), there.ledger, SITES,
                lambda: minutes(60))
    assert project(arrived, there.state, there.ledger, SITES, lambda: minutes(60)).again == set()
    now_id, *former = ids_of([JANE, *numbers])
    assert {there.state.profile(one).moved_to for one in former} == {now_id}
    assert list(there.state.people(SITE)) == [now_id]
    profile = there.state.profile(now_id).profile
    assert profile is not None
    assert set(profile.nodes) == {JANE, *numbers}


@pytest.mark.parametrize("boundary", range(6))
def test_address_and_number_see_each_other_from_both_ends_or_from_none(
    dynamo: Dynamo, tables: tuple[str, str], boundary: int
) -> None:
    nemesis, state = Nemesis(0), State(dynamo, tables[1], the_pepper)
    nemesis.throttle = nemesis.lose = 0.0
    nemesis.dies_at(boundary, lambda: State(Disturbed(dynamo, nemesis), tables[1]).put_link(a_link(NUMBER, JANE)))
    assert state.links(JANE) == state.links(NUMBER)


def test_stages_follow_an_operators_merge_and_its_undo_leaves_each_where_they_stood(there: There) -> None:
    ken = {KEN: {"email": "ken@acme.example"}}
    first, second = (ids_of([name])[0] for name in sorted((JANE, KEN)))
    there.tell(
        a_packet(a_record("e1", ids=[JANE], at=minutes(1)), contact=CONTACT),
        a_packet(a_record("e2", ids=[KEN], path="/about", at=minutes(2)), contact=ken),
    )
    there.decide()
    before = {person: there.state.profile(person).profile for person in there.state.people(SITE)}
    assert set(before) == {first, second}
    decision = merge(KEN, JANE, SITE, "one desk, one voice", there.state, minutes(30))
    there.tell(decision.packet)
    assert list(there.state.people(SITE)) == [first]
    assert there.state.profile(second).moved_to == first
    assert furthest([there.state.position(one, "autumn") for one in (first, second)], LOOP).stage == "problem"
    there.tell(undo(JANE, KEN, "two voices", there.state, minutes(40)).packet)
    assert {person: there.state.profile(person).profile for person in there.state.people(SITE)} == before
    stages = {person: there.state.position(person, "autumn").stage for person in (first, second)}
    assert stages == {ids_of([JANE])[0]: "problem", ids_of([KEN])[0]: "research"}


def test_an_undo_after_a_run_gives_each_their_own_stage_back_and_mails_nobody_twice(there: There) -> None:
    # The one whose id goes on stood behind; as one they reach a stage that neither reached alone.
    first, second = sorted((JANE, KEN))
    now_id, former = (ids_of([name])[0] for name in (first, second))
    contact = {name: {"email": f"{number}@acme.example"} for number, name in enumerate((first, second))}
    there.tell(
        a_packet(a_record("e1", ids=[first], path="/about", at=minutes(1)), contact={first: contact[first]}),
        a_packet(a_record("e2", ids=[second], at=minutes(2)), contact={second: contact[second]}),
    )
    there.decide()
    there.perform()
    before = {person: there.state.position(person, "autumn") for person in (now_id, former)}
    assert [position.stage for position in before.values()] == ["research", "problem"]
    there.tell(merge(first, second, SITE, "one desk", there.state, minutes(30)).packet)
    there.tell(a_packet(a_form("e3", ids=[second], at=minutes(31))))
    there.decide()
    there.perform()
    assert there.moves(now_id) == [("", "research"), ("research", "problem"), ("problem", "proposal")]
    there.tell(undo(first, second, "two voices", there.state, minutes(40)).packet)
    there.decide()
    there.perform()
    # What the other asked for is the other's.
    assert there.moves(now_id)[3:] == [("proposal", "research")]
    assert there.moves(former) == [("", "research"), ("research", "problem"), ("problem", "proposal")]
    after = there.state.position(now_id, "autumn")
    assert (after.stage, after.unit, after.since, after.took_over) == ("research", now_id, before[now_id].since, ())
    # On their own facts they go where those lead, past a mail they had.
    there.tell(a_packet(a_record("e4", ids=[first], at=minutes(50))))
    assert there.decide()["moved"] == 1
    there.perform()
    assert there.state.position(now_id, "autumn").stage == "problem"
    assert max(Counter(there.mails).values()) == 1
    assert there.decide() == {}


# The rule by itself.

OUTSIDE = Position("p_now", "autumn")


@pytest.mark.parametrize(
    ("stages", "stage"),
    [
        (("", "problem", "research"), "problem"),
        (("proposal", "problem"), "proposal"),
        (("research", "proposal"), "proposal"),
        (("", ""), ""),
        (("proposal", "excluded"), "excluded"),
        (("excluded", "customer"), "excluded"),
    ],
)
def test_the_furthest_place_counts_and_exclusion_stands(stages: tuple[str, ...], stage: str) -> None:
    positions = [
        structs.replace(OUTSIDE, person=f"p_{number}", stage=name, version=number + 3, unit=f"u_{number}")
        for number, name in enumerate(stages)
    ]
    found = furthest(positions, LOOP)
    assert (found.person, found.stage, found.version) == ("p_0", stage, 3)
    assert found.unit == f"u_{stages.index(stage)}"
