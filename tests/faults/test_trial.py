"""A plan is tried on the past: the version that ran comes to the very verdicts that were given, another to its own."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from closedloop.events.event import DEAL_WON, FORM_SUBMITTED, Door
from closedloop.events.packet import Packet
from closedloop.identity.persons import ids_of
from closedloop.lake.files import Files
from closedloop.lake.runs import RunFiles
from closedloop.loops.definition import Loop
from closedloop.loops.flow import decide_shard, select
from closedloop.loops.gates import Outcome
from closedloop.loops.moves import moved_by_hand
from closedloop.loops.trial import Known, Look, Tried, try_plan
from closedloop.profiles.check import check
from closedloop.profiles.flow import project
from closedloop.store.calls import Dynamo
from closedloop.store.ledger import Ledger, subject_of
from closedloop.store.state import State
from tests.builders import JANE, KEN, NOW, SITE, a_deal, a_form, a_loop, a_packet, a_record, a_site, minutes, the_pepper
from tests.faults.a_world import a_world

SITES = {SITE: a_site()}
BATCHES = 12
# What passes with time alone, what fades, who is kept back and who is let through: all that a gate may rest on.
GATES: list[dict[str, Any]] = [
    {
        "name": "interested", "from": "research", "to": "problem", "holdout": 0.2, "reverse_holdout": 0.1,
        "when": {"all": [
            {"interest": {"topic": "pumps", "at_least": 2, "share": 0.3}},
            {"visited": {"path": "/pumps", "times": 2, "within_days": 2}},
        ]},
        "exclude": [{"when": {"kind": ["employee"]}, "reason": "works here"}],
    },
    {
        "name": "asked", "from": "problem", "to": "proposal",
        "when": {"any": [{"did": {"event": FORM_SUBMITTED, "within_days": 5}}, {"in_stage": {"at_least_days": 3}}]},
    },
    {"name": "bought", "from": "proposal", "to": "customer", "when": {"deal": "won"}},
]


class There:
    """Projector and workflow of an installation, one after the other, by a clock that is set."""

    def __init__(self, dynamo: Dynamo, tables: tuple[str, str], files: Files) -> None:
        self._dynamo, self._tables = dynamo, tables
        self.state = State(dynamo, tables[1], the_pepper)
        self.ledger = Ledger(dynamo, tables[0], lambda attempt: None)
        self.runs = RunFiles(files)
        self.loop = a_loop()
        self._run = 0

    def apply(self, loop: Loop, at: datetime) -> None:
        self.state.put_loop(loop, at)
        self.loop = loop
        for person in self.state.people(SITE):
            self.state.mark_due(person, at)

    def tell(self, *packets: Packet) -> None:
        self.ledger.append(packets)
        arrived = [(str(number), packet, packet.events) for number, packet in enumerate(packets)]
        assert project(arrived, self.state, self.ledger, SITES, lambda: packets[-1].received_at).again == set()

    def is_folded(self) -> None:
        """Nobody's profile is behind the facts, when no run is to see it behind."""
        assert check(self.ledger.every_packet(), lambda person: self.state.profile(person).profile, SITES).stale == ()

    def run(self, at: datetime, lists: tuple[str, ...] = ()) -> None:
        """Everybody who is due, or everybody on the lists; between two milliseconds, as clocks are."""
        self._run += 1
        name, at = f"tick-{self._run}", at + timedelta(microseconds=377)
        if select(name, (), self.state, self.runs, at, lists)["outcome"] == "selected":
            decide_shard(name, 0, self.state, self.runs, [self.loop], SITES, at)

    def by_hand(self, person: str, stage: str, at: datetime) -> None:
        profile = self.state.profile(person).profile
        assert profile is not None
        positions = [self.state.position(one, self.loop.loop) for one in ids_of(profile.nodes)]
        for decision in moved_by_hand(self.loop, positions, stage, "a call", at):
            self.state.write_decision(decision, self.loop, profile.anchor, "hand-1", at)
        self.state.mark_due(person, at)

    def tried(self, plan: Loop, since: datetime) -> Tried:
        shards = self.runs.decided(datetime.min.replace(tzinfo=UTC))
        looked = [self.runs.looked_at(*shard) for shard in shards]
        looks = [Look(at, person) for at, people in looked for person in people]
        return try_plan(
            plan, self.state.loop_history(plan.loop), self.ledger.every_packet(), looks, self.state.every_decision(),
            SITES, subject_of, since,
        )

    def everything(self) -> list[Mapping[str, Any]]:
        return [item for table in self._tables for item in self._dynamo.call("Scan", {"TableName": table})["Items"]]


@pytest.fixture
def there(dynamo: Dynamo, tables: tuple[str, str], files: Files) -> There:
    return There(dynamo, tables, files)


@pytest.fixture
def lived(there: There) -> Callable[[int], tuple[There, datetime]]:
    """A world that was lived through, with runs in between; the second version of its loop came at that moment."""

    def lives(seed: int) -> tuple[There, datetime]:
        rng, facts = random.Random(seed), sorted(a_world(seed), key=lambda fact: fact.event.occurred_at)
        there.apply(a_loop(gates=GATES, universal_holdout=0.1), minutes(-10))
        size, changed = len(facts) // BATCHES + 1, minutes(0)
        for number in range(BATCHES):
            batch = facts[number * size:(number + 1) * size]
            # A tenth comes late, and not in order.
            late = [fact for fact in batch if rng.random() < 0.1]
            facts += late
            told = [fact for fact in batch if fact not in late]
            at = minutes(30 * number + 30)
            if told:
                there.tell(*(
                    a_packet(fact.record, subject=fact.subject, door=fact.door, agent=fact.agent, contact=fact.contact,
                             received_at=at + timedelta(milliseconds=place)) for place, fact in enumerate(told)
                ))
            if number == BATCHES // 2:
                changed = at + timedelta(minutes=1)
                strict = [{**GATES[0], "when": {"visited": {"path": "/pumps", "times": 2}}}, *GATES[1:]]
                there.apply(a_loop(gates=strict, universal_holdout=0.1), changed)
            there.is_folded()
            there.run(at + timedelta(minutes=2))
        somebody = rng.choice(sorted(
            person for person in there.state.people(SITE) if there.state.position(person, "autumn").stage == "research"
        ))
        there.by_hand(somebody, "proposal", minutes(500))
        for day in range(1, 8):
            there.run(NOW + timedelta(days=day), (SITE,))
        return there, changed

    return lives


@pytest.mark.parametrize("seed", range(4))
def test_the_version_that_ran_comes_to_every_verdict_that_was_given_and_to_no_other(
    seed: int, lived: Callable[[int], tuple[There, datetime]]
) -> None:
    there, changed = lived(seed)
    tried = there.tried(there.loop, changed)
    assert tried.differ == ()
    assert tried.given > 10
    assert (tried.again, tried.unexplained) == (tried.given, 0)
    for gate in tried.gates:
        assert gate.plan == gate.running
        assert (gate.sooner, gate.later, gate.only_plan.people, gate.only_running.people) == (0, 0, 0, 0)
    # From the very beginning each verdict is come to by the version of its time, whatever the plan.
    tried = there.tried(there.loop, NOW - timedelta(days=1))
    assert (tried.again, tried.unexplained) == (tried.given, 0)
    rows = [row for row in there.state.every_decision() if row["kind"] in ("verdict", "transition")]
    assert tried.given == len(rows)
    assert {row["arm"] for row in rows} >= {"treated", "holdout"}


PLAIN = [gate.model_dump(by_alias=True, exclude_defaults=True) for gate in a_loop().gates]
BY_TWO = [{**PLAIN[0], "when": {"visited": {"path": "/pumps", "times": 2}}}, *PLAIN[1:]]


def test_who_moves_by_the_plan_alone_is_told_with_what_they_did_since_and_nothing_is_written(there: There) -> None:
    there.apply(a_loop(gates=BY_TWO), minutes(0))
    there.tell(
        a_packet(a_record("e1", ids=[JANE], at=minutes(1)), received_at=minutes(1)),
        a_packet(a_record("e2", ids=[KEN], at=minutes(1), path="/about"), received_at=minutes(1)),
    )
    there.run(minutes(2))
    won = a_deal(DEAL_WON, ids=[JANE], at=minutes(60))
    there.tell(a_packet(won, door=Door.DEAL, received_at=minutes(60)))
    there.run(minutes(61))
    before = there.everything()
    tried = there.tried(a_loop(), minutes(0))
    assert there.everything() == before
    (jane,), (ken,) = ids_of([JANE]), ids_of([KEN])
    assert [(one.person, one.gate, one.running, one.plan) for one in tried.differ] == [
        (jane, "asked", "", "hold: has not acted yet"), (jane, "interested", "hold: not enough interest", "advance"),
    ]
    assert tried.differ[1].known == Known("research", 1, 0, {"JPY": 500_000}, "")
    interested = tried.gates[0]
    assert (interested.gate, interested.only_plan.people, interested.only_plan.bought) == ("interested", 1, 1)
    assert interested.only_plan.won_minor == {"JPY": 500_000}
    assert (interested.plan[Outcome.ADVANCE], interested.running[Outcome.ADVANCE]) == (1, 0)
    assert (interested.plan[Outcome.HOLD], interested.running[Outcome.HOLD]) == (1, 2)
    assert (tried.people, tried.looks) == (2, 4)
    assert ken not in {one.person for one in tried.differ}


def test_whom_the_plan_moves_later_is_not_whom_it_leaves(there: There) -> None:
    there.apply(a_loop(), minutes(0))
    for number, at in enumerate((1, 10)):
        packet = a_packet(a_record(f"e{number}", ids=[JANE], at=minutes(at)), received_at=minutes(at))
        there.tell(packet)
        there.run(minutes(at + 1))
    interested = there.tried(a_loop(gates=BY_TWO), minutes(0)).gates[0]
    assert (interested.both, interested.later, interested.sooner, interested.only_running.people) == (1, 1, 0, 0)


def test_a_plan_that_was_never_declared_is_asked_whenever_anybody_was_looked_at(there: There) -> None:
    there.apply(a_loop(), minutes(0))
    there.tell(a_packet(a_form("f1", at=minutes(1)), received_at=minutes(1)))
    there.run(minutes(2))
    tried = there.tried(a_loop("winter"), minutes(0))
    assert (tried.people, tried.given, tried.unexplained) == (1, 0, 0)
    assert tried.gates[0].plan[Outcome.HOLD] == 1
    assert [(one.gate, one.running) for one in tried.differ] == [("interested", "")]
