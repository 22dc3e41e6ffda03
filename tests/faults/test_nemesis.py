"""Everything delivered one to five times in any order, functions killed at any call, DynamoDB throttled: one State.

The plain model folds all distinct events at once, with no table between; the live State has to end as it says.
"""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from closedloop.errors import NotDurable
from closedloop.events.event import DECISION_UNDONE, EMAIL_UNSUBSCRIBED, PERSONS_MERGED, WHO_IS_WHO, Event
from closedloop.events.identifiers import is_strong
from closedloop.events.packet import Packet
from closedloop.identity.evidence import Link, links_of
from closedloop.identity.persons import Persons, ids_of
from closedloop.lake.files import Files
from closedloop.lake.runs import RunFiles
from closedloop.loops.actions import Links
from closedloop.loops.decide import Position, decide
from closedloop.loops.definition import Loop
from closedloop.loops.flow import MailDoors, close, decide_shard, perform_shard, select
from closedloop.loops.moves import BECAME_ONE, PARTED, settled
from closedloop.profiles.flow import Projected, project
from closedloop.profiles.fold import fold
from closedloop.profiles.profile import Profile
from closedloop.store.calls import Dynamo
from closedloop.store.ledger import Ledger
from closedloop.store.state import State
from tests.builders import HASHER, SITE, a_form, a_loop, a_packet, a_record, a_site, address, minutes, the_pepper, user
from tests.faults.a_world import Fact, a_world
from tests.faults.nemesis import Disturbed, DisturbedS3, Nemesis, Post

SITES = {SITE: a_site()}
LOOP = a_loop()
GIVES_UP_AFTER = 12
# A hundred at night: NEMESIS_SEEDS=100.
SEEDS = int(os.environ.get("NEMESIS_SEEDS", "20"))


@dataclass(frozen=True)
class Model:
    """The plain model: who is who, and everybody's profile, from all events at once."""

    persons: Persons
    profiles: dict[str, Profile]
    links: set[Link]


def the_model(events: list[Event]) -> Model:
    links = [link for event in events for link in links_of(event)]
    persons = Persons(links, {identifier for event in events for identifier in event.identifiers})
    own: dict[str, list[Event]] = defaultdict(list)
    for event in events:
        person = persons.owner_of(event)
        if person is not None and event.name not in WHO_IS_WHO:
            own[person].append(event)
    profiles = {person: fold(theirs, persons.nodes[person], SITES) for person, theirs in own.items()}
    earliest: dict[tuple[str, str, str], Link] = {}
    for link in sorted(links, key=lambda link: (link.at, link.event)):
        earliest.setdefault((link.node, link.strong, link.kind), link)
    return Model(persons, {person: profile for person, profile in profiles.items() if profile}, set(earliest.values()))


class Installation:
    """The functions of an installation, each called as Lambda calls it: again, until it comes through."""

    def __init__(self, seed: int, dynamo: Dynamo, tables: tuple[str, str], files: Files) -> None:
        self.nemesis = Nemesis(seed)
        self.rng = self.nemesis.rng
        disturbed = Disturbed(dynamo, self.nemesis)
        both = disturbed, dynamo
        self.ledger, self.calm_ledger = (Ledger(calls, tables[0], lambda attempt: None) for calls in both)
        self.state, self.calm_state = (State(calls, tables[1], the_pepper) for calls in both)
        self.runs = RunFiles(Files(DisturbedS3(files._s3, self.nemesis), files.bucket))
        self.post = Post(self.nemesis, self._is_suppressed)
        self.moment = minutes(400)
        self.balanced: list[str] = []
        self.nemesis.meanwhile = self._overlap
        self._run = 0
        self._delivered: set[tuple[str, datetime, str]] = set()

    def _is_suppressed(self, mail: str) -> bool:
        return bool(self.calm_state.suppressed([HASHER.address(mail) or ""]))

    def now(self) -> datetime:
        self.moment += timedelta(seconds=1)
        return self.moment

    def insist(self, work: Callable[[], Any]) -> Any:
        for _ in range(GIVES_UP_AFTER):
            result = self.nemesis.live(work)
            if result is not None:
                return result
        return None

    def send(self, facts: list[Fact]) -> None:
        """The doors: what one subject did goes into one packet; who gets no answer sends again."""
        packets = []
        by_door: dict[tuple[str, str, str], list[Fact]] = defaultdict(list)
        for fact in facts:
            by_door[fact.subject, fact.door, fact.agent].append(fact)
        for group in by_door.values():
            contact = {identifier: fields for fact in group for identifier, fields in fact.contact.items()}
            packets.append(
                a_packet(
                    *(fact.record for fact in group),
                    subject=group[0].subject,
                    door=group[0].door,
                    agent=group[0].agent,
                    contact=contact,
                    received_at=self.now(),
                )
            )
        while not self._is_acknowledged(packets):
            pass

    def _is_acknowledged(self, packets: list[Packet]) -> bool:
        def store() -> bool:
            self.ledger.append(packets)
            return True

        try:
            return bool(self.nemesis.live(store))
        except NotDurable:
            return False

    def stream(self) -> None:
        """The stream: what is new in the table, and some of what is old, in any order and in batches."""
        stored = {(packet.subject, packet.received_at, packet.id): packet for packet in self.calm_ledger.every_packet()}
        new = [key for key in stored if key not in self._delivered]
        old = self.rng.sample(sorted(self._delivered), min(2, len(self._delivered)))
        self._delivered |= set(new)
        records = [(f"{number:04d}", stored[key]) for number, key in enumerate(sorted([*new, *old]))]
        self.rng.shuffle(records)
        while records:
            batch, records = records[:6], records[6:]
            self._project(batch)

    def _project(self, batch: list[tuple[str, Packet]]) -> None:
        arrived = [(number, packet, packet.events) for number, packet in batch]
        result = self.nemesis.live(lambda: project(arrived, self.state, self.ledger, SITES, self.now))
        again = {number for number, _ in batch} if result is None else result.again
        if again:
            self._project([(number, packet) for number, packet in batch if number in again])

    def run(self) -> None:
        """The workflow: a task that dies is tried again; a run that fails for good is left to the next."""
        self._run += 1
        run = f"tick-{self._run}"
        doors = MailDoors(
            mailer=self.post,
            links=lambda *_: Links("https://go", "https://seen", "https://stop", "https://bait"),
            asks=lambda *_: None,
            tell=lambda _: None,
            loops={LOOP.loop: LOOP},
            sites=SITES,
            now=self.now,
        )
        selected = self.insist(lambda: select(run, (), self.state, self.runs, self.now()))
        if selected is None or selected["outcome"] == "nobody":
            return
        if self.insist(lambda: decide_shard(run, 0, self.state, self.runs, [LOOP], SITES, self.now())) is None:
            return
        if self.insist(lambda: perform_shard(run, 0, self.state, self.runs, doors)) is None:
            return
        closed = self.insist(lambda: close(run, self.state, self.runs, self.now()))
        if closed is not None:
            self.balanced.append(closed["outcome"])

    def _overlap(self) -> None:
        """What another function does meanwhile: the same stream or the same workflow, at the same time."""
        if self._delivered and self.rng.random() < 0.5:
            self.stream()
        else:
            self.run()

    def rest(self) -> None:
        """Undisturbed from now on: everything comes through, and what was left half done is told as unknown."""
        self.nemesis.at_rest = True
        self.stream()
        for _ in range(3):
            self.moment += timedelta(minutes=20)
            self.run()


def the_undo(merged: Fact) -> Fact:
    """A merge is taken back."""
    record = {**merged.record, "id": f"{merged.record['id']}-undone", "name": DECISION_UNDONE}
    return replace(merged, record={**record, "properties": {"retracts": merged.record["id"]}})


@pytest.fixture
def world_after(dynamo: Dynamo, tables: tuple[str, str], files: Files) -> Callable[..., tuple[Installation, Model]]:
    """A world that went through the nemesis, and the plain model of it; its merge may be undone in the end."""

    def after(seed: int, *, undone: bool = False) -> tuple[Installation, Model]:
        facts, there = a_world(seed), Installation(seed, dynamo, tables, files)
        deliveries = [fact for fact in facts for _ in range(there.rng.choice([1, 1, 1, 2, 2, 3, 5]))]
        there.rng.shuffle(deliveries)
        third = len(deliveries) // 3 + 1
        for start in range(0, len(deliveries), third):
            there.send(deliveries[start : start + third])
            there.stream()
            there.run()
        assert there.nemesis.overlaps
        if undone:
            (merged,) = (fact for fact in facts if fact.record["name"] == PERSONS_MERGED)
            there.send([the_undo(merged)])
            there.stream()
            there.run()
            facts.remove(merged)
        there.rest()
        return there, the_model([fact.event for fact in facts])

    return after


@pytest.mark.parametrize("seed", range(SEEDS))
def test_the_final_state_equals_the_plain_model(
    seed: int, world_after: Callable[[int], tuple[Installation, Model]], dynamo: Dynamo, tables: tuple[str, str]
) -> None:
    there, model = world_after(seed)

    # Facts: no event lost, none made up.
    stored = {event.id for packet in there.calm_ledger.every_packet() for event in packet.events}
    assert stored == {fact.record["id"] for fact in a_world(seed)}
    check_state(there, model, dynamo, tables[1])


@pytest.mark.parametrize("seed", range(5))
def test_people_who_were_made_one_and_parted_end_as_the_plain_model_of_who_never_were(
    seed: int, world_after: Callable[..., tuple[Installation, Model]], dynamo: Dynamo, tables: tuple[str, str]
) -> None:
    there, model = world_after(seed, undone=True)
    check_state(there, model, dynamo, tables[1])


def check_state(there: Installation, model: Model, dynamo: Dynamo, table: str) -> None:
    state = there.calm_state
    items = dynamo.call("Scan", {"TableName": table, "ConsistentRead": True})["Items"]
    assert len(there.nemesis.kills) >= 3

    # Who is who.
    for node in {end for link in model.links for end in (link.node, link.strong)}:
        assert set(state.links(node)) == {link for link in model.links if node in (link.node, link.strong)}

    # Profiles and contacts, byte by byte, and nobody besides.
    contacts = the_contacts(there.calm_ledger, model)
    for person, profile in model.profiles.items():
        live = state.profile(person).profile
        assert live is not None
        assert live.as_text() == profile.as_text()
        assert state.contact(person) == contacts.get(person, {})
        for former in ids_of(profile.nodes)[1:]:
            assert state.profile(former).moved_to == person
            assert state.contact(former) == {}
    living = {item["pk"]["S"][2:] for item in items if item["sk"]["S"] == "PROFILE" and "moved_to" not in item}
    assert living == set(model.profiles)
    assert set(state.people(SITE)) == living

    # Accounts: whoever's contact says so, and nobody who became another.
    acme = HASHER.account("domain", "acme.example")
    employed = {person for person in living if contacts.get(person, {}).get("company_domain")}
    assert {person for person, _ in state.members(acme)} == employed

    # Positions, history and mails.
    for profile in model.profiles.values():
        check_history(profile, state, LOOP, there.moment)
    check_mails(model, there)
    assert list(state.due(there.moment + timedelta(days=1))) == []
    assert set(there.balanced) == {"balanced"}


def the_contacts(ledger: Ledger, model: Model) -> dict[str, dict[str, str]]:
    contacts: dict[str, dict[str, str]] = defaultdict(dict)
    for packet in sorted(ledger.every_packet(), key=lambda packet: (packet.received_at, packet.id)):
        for identifier, fields in packet.contact.items():
            contacts[model.persons.owner(identifier, packet.received_at) or ""].update(fields)
    for contact in contacts.values():
        if contact["email"].endswith("@acme.example"):
            contact["company_domain"] = "acme.example"
    return contacts


def check_history(profile: Profile, state: State, loop: Loop, now: datetime) -> None:
    """No illegal move, every version told, each stage entered once under an id, and nothing left to decide."""
    legal = {("", loop.stages[0]), *((gate.from_, gate.to) for gate in loop.gates)}
    positions = [state.position(person, loop.loop) for person in ids_of(profile.nodes)]
    for position in positions:
        rows = [row for row in state.decisions(position.person) if row["kind"] in ("transition", "verdict")]
        versions: dict[int, list[dict[str, Any]]] = defaultdict(list)
        for row in rows:
            versions[int(row["id"].split("|")[1].split("#")[2])].append(row)
        assert sorted(versions) == list(range(1, position.version + 1))
        reached, ones = None, 0
        for version in sorted(versions):
            for move in (row for row in versions[version] if row["kind"] == "transition"):
                took_over, parted = ((move["gate"], move["reason"]) == ("", why) for why in (BECAME_ONE, PARTED))
                assert took_over or parted or (move["from_stage"], move["to_stage"]) in legal
                assert (reached or "") == move["from_stage"]
                reached = move["to_stage"]
                order = ["", *loop.stages]
                if took_over:
                    assert order.index(move["from_stage"]) < order.index(move["to_stage"])
                    ones += 1
                elif parted:
                    assert ones and order.index(move["from_stage"]) > order.index(move["to_stage"]) > 0
                    ones -= 1
                elif move["from_stage"]:
                    (verdict,) = (
                        row for row in versions[version] if row["gate"] == move["gate"] and row["kind"] == "verdict"
                    )
                    assert verdict["outcome"] == "advance"
        assert (reached or "") in ("", position.stage)
    # The present id alone says where they stand.
    assert [*settled(positions, loop, now)] == []
    assert {*positions[0].took_over} <= {position.person for position in positions}
    assert not decide(loop, profile, positions[0], now).changes
    assert place(loop, positions[0]) >= place(loop, walked(loop, profile, now))


def walked(loop: Loop, profile: Profile, now: datetime) -> Position:
    """Where all that is known of a person would bring them from nothing."""
    position = Position(profile.person, loop.loop)
    while (decision := decide(loop, profile, position, now)).changes:
        position = decision.after
    return position


def place(loop: Loop, position: Position) -> int:
    return loop.stages.index(position.stage)


def check_mails(model: Model, there: Installation) -> None:
    """At most one mail for a person and a campaign, none to who must not be mailed, and every mail has its record."""
    owner = {mail: model.persons.owner(HASHER.address(mail) or "", there.moment) for mail, _ in there.post.sent}
    mails = Counter((owner[mail], campaign) for mail, campaign in there.post.sent)
    assert not [mail for mail, times in mails.items() if times > 1]
    assert there.post.sent_in_vain == []
    for profile in model.profiles.values():
        ended = [
            row for person in ids_of(profile.nodes) for row in there.calm_state.decisions(person) if "|M#" in row["id"]
        ]
        told = Counter((row["campaign"], row["outcome"] in ("sent", "unknown")) for row in ended)
        for (person, campaign), times in mails.items():
            if person == profile.person:
                assert told[campaign, True] == times
        if profile.suppressed:
            assert there.calm_state.suppressed([node for node in profile.nodes if is_strong(node)]) != ""


# One boundary after another.


def a_customer_number(visitor: str, number: str) -> Packet:
    """Somebody with a customer number reads a page."""
    return a_packet(a_record(f"{visitor}-1", ids=[user(number)], visitor=visitor, at=minutes(1)))


def an_address_with_it(visitor: str, number: str, mail: str) -> Packet:
    """The same somebody tells an address with the number, and wants no mails."""
    ids = [address(mail), user(number)]
    return a_packet(
        a_form(f"{visitor}-2", ids=ids, at=minutes(2), visitor=visitor),
        a_record(f"{visitor}-3", "track", EMAIL_UNSUBSCRIBED, minutes(3), ids=ids, visitor=visitor),
        contact={ids[0]: {"email": mail}},
        received_at=minutes(5),
    )


def test_a_projection_killed_at_any_call_and_delivered_again_ends_in_the_same_state(
    dynamo: Dynamo, tables: tuple[str, str]
) -> None:
    nemesis = Nemesis(0)
    nemesis.throttle = nemesis.lose = 0.0
    state = State(Disturbed(dynamo, nemesis), tables[1], the_pepper)
    ledger = Ledger(dynamo, tables[0], lambda attempt: None)
    ends: set[tuple[str, ...]] = set()
    boundary, died = 0, True
    while died:
        visitor, number, mail = f"v-{boundary:03d}", f"C-{boundary:03d}", f"jane-{boundary:03d}@acme.example"
        first, second = a_customer_number(visitor, number), an_address_with_it(visitor, number, mail)
        ledger.append([first, second])
        nemesis.boundary = None
        project([("1", first, first.events)], state, ledger, SITES, lambda: minutes(10))

        def again(packet: Packet = second) -> Projected:
            return project([("2", packet, packet.events)], state, ledger, SITES, lambda: minutes(10))

        died = nemesis.dies_at(boundary, again)
        nemesis.boundary = None
        result = again()
        now_id, former = ids_of([address(mail), user(number)])
        assert result.again == set()
        assert result.hot == {now_id}
        profile, sign = state.profile(now_id).profile, state.profile(former)
        assert profile is not None
        told = profile.as_text()
        for name, value in (("ID", now_id), ("MAIL", address(mail)), ("NUMBER", user(number))):
            told = told.replace(value, name)
        ends.add((told, str(state.contact(now_id)).replace(mail, "MAIL"), state.suppressed([address(mail)])))
        assert (sign.moved_to, sign.profile, state.contact(former)) == (now_id, None, {})
        boundary += 1
    assert boundary >= 30
    contact = str({"company_domain": "acme.example", "email": "MAIL"})
    assert {(held, suppressed) for _, held, suppressed in ends} == {(contact, "unsubscribed")}
    assert len(ends) == 1
