"""The beacon's door when DynamoDB throttles, loses answers or the function dies: no 2xx without a durable copy."""

from __future__ import annotations

import json
from datetime import datetime
from typing import Any

import pytest

from closedloop.capture.flow import Doors, accept_beacon
from closedloop.capture.request import Answer, Request, later
from closedloop.errors import TryAgain
from closedloop.events.event import Event, distinct
from closedloop.events.failed import FailedEvent
from closedloop.store.calls import Dynamo
from closedloop.store.ledger import Ledger
from closedloop.store.state import State
from tests.builders import NOW, PEPPER, SITE, a_site, minutes
from tests.faults.nemesis import Disturbed, Nemesis

SITES = a_site()


class Door:
    """The function behind the beacon's route, with the nemesis between it and its tables."""

    def __init__(self, seed: int, dynamo: Dynamo, tables: tuple[str, str]) -> None:
        self.nemesis = Nemesis(seed)
        disturbed = Disturbed(dynamo, self.nemesis)
        self.ledger = Ledger(disturbed, tables[0], lambda attempt: None)
        self.calm = Ledger(dynamo, tables[0], lambda attempt: None)
        self.times = 0
        State(dynamo, tables[1]).put_site(SITES)
        self.doors = Doors(
            keys=State(disturbed, tables[1]),
            facts=self.ledger,
            fail=self.fail,
            pepper=PEPPER,
            now=self.now,
            new_id=lambda: "a-new-visitor",
        )

    def now(self) -> datetime:
        self.times += 1
        return minutes(self.times)

    def fail(self, site: str, door: str, bad: Any, received: datetime) -> None:
        for one in bad:
            handler = f"capture_{door}"
            self.ledger.fail(FailedEvent(one.kind, one.reason, site, door, handler, "0.1.0", received, one.payload))

    def ask(self, body: dict[str, Any]) -> Answer:
        request = Request("POST", "/v1/batch", {"user-agent": "Mozilla/5.0"}, body=json.dumps(body).encode())
        try:
            return accept_beacon(request, self.doors)
        except TryAgain as error:
            return later(error)

    def events(self) -> list[Event]:
        return [event for packet in self.calm.every_packet() for event in packet.events]


def a_batch(name: str = "m") -> dict[str, Any]:
    """Four good events of three visitors, and one that is none."""
    good = [
        {
            "type": "page",
            "messageId": f"{name}{number}",
            "anonymousId": f"{name}-visitor-{number % 3}",
            "timestamp": NOW.isoformat(),
        }
        for number in range(4)
    ]
    return {
        "writeKey": SITES.write_key,
        "batch": [*good, {"type": "track", "messageId": f"{name}-bad", "anonymousId": "x"}],
    }


def ids(name: str = "m") -> set[str]:
    return {f"{SITE}/beacon/{name}{number}" for number in range(4)}


def test_a_door_killed_at_any_call_says_yes_only_to_what_is_stored(dynamo: Dynamo, tables: tuple[str, str]) -> None:
    door = Door(0, dynamo, tables)
    door.nemesis.throttle = door.nemesis.lose = 0.0
    boundary, died = 0, True
    while died:
        name = f"m{boundary}-"
        answers: list[Answer] = []

        def ask(name: str = name, answers: list[Answer] = answers) -> None:
            answers.append(door.ask(a_batch(name)))

        died = door.nemesis.dies_at(boundary, ask)
        stored = {event.id for event in door.events()} & ids(name)
        assert [answer.status for answer in answers] == ([] if died else [200])
        assert died or stored == ids(name)
        # The tracker keeps what nobody confirmed and sends it again.
        door.nemesis.boundary = None
        assert door.ask(a_batch(name)).status == 200
        told = [event for event in door.events() if event.id in ids(name)]
        assert {event.id for event in told} == ids(name)
        assert len(distinct(told)) == 4
        boundary += 1
    assert boundary >= 6


@pytest.mark.parametrize("seed", range(5))
def test_under_throttles_and_lost_answers_every_yes_is_durable_and_every_event_counts_once(
    seed: int, dynamo: Dynamo, tables: tuple[str, str]
) -> None:
    door = Door(seed, dynamo, tables)
    door.nemesis.throttle, door.nemesis.lose = 0.3, 0.1
    statuses = []
    for number in range(12):
        name = f"m{number}-"
        while True:
            answer = door.ask(a_batch(name))
            statuses.append(answer.status)
            if answer.status == 200:
                break
            assert answer.status == 503
            assert answer.headers["retry-after"]
        assert ids(name) <= {event.id for event in door.events()}
    assert 503 in statuses
    assert len(distinct(door.events())) == 12 * 4
    assert len({one.payload for one in door.calm.failed("2026-11-24")}) == 12


def test_a_table_that_throttles_for_ever_is_never_answered_with_yes(dynamo: Dynamo, tables: tuple[str, str]) -> None:
    door = Door(0, dynamo, tables)
    door.nemesis.throttle = 1.0
    assert {door.ask(a_batch()).status for _ in range(10)} == {503}
    assert door.events() == []
