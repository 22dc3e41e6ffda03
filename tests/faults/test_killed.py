"""Every function killed before and after each of its calls to AWS, then called again: the same end, nothing twice."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Any

import pytest

from closedloop.identity.persons import person_id
from closedloop.runtime import clock, doors
from closedloop.store.calls import CallFailed, Dynamo
from closedloop.store.ledger import packet_item
from functions.archive_events import handler as archive_events
from functions.close_run import handler as close_run
from functions.decide_stages import handler as decide_stages
from functions.drain_spill import handler as drain_spill
from functions.notify_sales import handler as notify_sales
from functions.perform_actions import handler as perform_actions
from functions.project_profiles import handler as project_profiles
from functions.select_people import handler as select_people
from tests.accounts import EVENTS, LAKE, MACHINE, STATE, Account, Spill, forget
from tests.faults.nemesis import Disturbed, Nemesis
from tests.functions.every_door import PROMISING, WAYS, beacon, brought
from tests.functions.gateway import Context
from tests.functions.streams import a_batch
from tests.functions.test_notices import Sales, plan, receiver, sales
from tests.functions.test_project_profiles import a_packet, stored
from tests.functions.test_workflow_tasks import mailing, people, sent

__all__ = ["mailing", "receiver", "sales"]
YES = (200, 302)
# How many boundaries each function has at least, started cold; the sum is what the walk covers.
FLOOR = {
    "beacon": 8, "form": 6, "email": 8, "deal": 8, "click": 6, "open": 6, "unsubscribe": 6, "spilling beacon": 12,
    "drain": 8, "project": 44, "archive": 16, "select": 22, "decide": 24, "perform": 30, "close": 12,
    "hand over": 20, "notify": 16,
}
WALKED: dict[str, int] = {}


class DisturbedClient:
    """A client of boto3 behind a nemesis, which may only kill: any failure of it ends the function too."""

    def __init__(self, client: Any, nemesis: Nemesis) -> None:
        self._client, self._nemesis = client, nemesis

    def __getattr__(self, name: str) -> Any:
        got = getattr(self._client, name)
        if name in ("exceptions", "meta", "get_paginator") or not callable(got):
            return got
        return lambda **words: self._nemesis.around(lambda: got(**words), may_fail=False)


class FullOf:
    """DynamoDB whose one table takes nothing while it is full."""

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo, self.full = dynamo, False

    def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        if self.full and EVENTS in (parameters.get("TableName"), *parameters.get("RequestItems", ())):
            raise CallFailed("ThrottlingException")
        return self._dynamo.call(operation, parameters)


class Walk:
    """Kills a function at one boundary after another, until a life is too short for it."""

    def __init__(self, account: Account, monkeypatch: pytest.MonkeyPatch) -> None:
        self._account, self.nemesis = account, Nemesis(0)
        self.nemesis.at_rest, self.nemesis.throttle, self.nemesis.lose = True, 0.0, 0.0
        self.events: list[FullOf] = []
        self.full = False
        caller, spilling, boto = doors._caller, doors.spilling, doors.boto
        monkeypatch.setattr(clock, "wait", lambda attempt: None)
        monkeypatch.setattr(doors, "_caller", lambda service: Disturbed(self._table(caller(service)), self.nemesis))
        monkeypatch.setattr(doors, "spilling", lambda service: Disturbed(spilling(service), self.nemesis))
        monkeypatch.setattr(doors, "boto", lambda service: DisturbedClient(boto(service), self.nemesis))

    def _table(self, dynamo: Dynamo) -> Dynamo:
        table = FullOf(dynamo)
        table.full = self.full
        return table

    def __call__(
        self, what: str, act: Callable[[int], Any], ended: Callable[[int], Any], *, tidy: bool = False
    ) -> set[Any]:
        """Kill at every boundary, call again undisturbed; how it ended, which has to be one way.

        Shapes: `tidy` forgets each life's people once it has ended, since moto slows down with every item.
        """
        ends = set()
        boundary, died = 0, True
        while died:
            number = boundary
            self._rest(False)
            died = self.nemesis.dies_at(boundary, lambda number=number: act(number))  # type: ignore[misc]
            self._rest(True)
            if died:
                act(number)
            ends.add(ended(number))
            boundary += 1
            if tidy:
                self._forget_people()
        WALKED[what] = boundary - 1
        assert WALKED[what] >= FLOOR[what]
        return ends

    def _forget_people(self) -> None:
        for table in (EVENTS, STATE):
            for item in self._account.items(table):
                if item["pk"]["S"][:2] in ("P#", "N#", "G#", "V#", "I#"):
                    key = {name: item[name] for name in ("pk", "sk")}
                    self._account.client("dynamodb").delete_item(TableName=table, Key=key)

    def _rest(self, at_rest: bool) -> None:
        # Each life is a cold one, so that looking up keys and settings are boundaries too.
        self.nemesis.at_rest, self.nemesis.boundary = at_rest, None
        forget()


@pytest.fixture
def walk(account: Account, monkeypatch: pytest.MonkeyPatch) -> Walk:
    return Walk(account, monkeypatch)


@pytest.mark.parametrize("way", WAYS)
def test_a_door(way: str, account: Account, walk: Walk) -> None:
    knock, count = WAYS[way]

    def act(number: int) -> None:
        assert knock(f"m{number}")["statusCode"] in YES

    def ended(number: int) -> Any:
        found = brought(way, f"m{number}", account.records())
        told = {json.dumps([one["name"], one["type"], one["properties"]]).replace(f"m{number}", "m") for one in found}
        # A link that is followed again is followed twice; everything else is the same fact.
        assert len({one["id"] for one in found}) == count or way not in PROMISING[:-1]
        return frozenset(told)

    assert len(walk(way, act, ended)) == 1


def test_a_door_that_spills_and_the_drain(account: Account, spill: Spill, walk: Walk) -> None:
    walk.full = True

    def act(number: int) -> None:
        assert beacon(f"m{number}", bad=True)["statusCode"] == 200

    walk("spilling beacon", act, lambda number: None)
    lives = WALKED["spilling beacon"] + 1
    walk.full = False
    assert account.records() == []

    def drain(number: int) -> None:
        # The queue gives out again what was not done.
        assert drain_spill.handle(batch, Context()) == {"batchItemFailures": []}

    batch = {"Records": spill.batch()["Records"][:4]}
    walk("drain", drain, lambda number: None)
    assert spill.deliver(drain_spill.handle, Context()) == []
    ids = {record["id"] for record in account.records()}
    assert ids == {f"demo/beacon/m{number}-{end}" for number in range(lives) for end in ("a", "b")}
    assert len(account.failed()) >= lives


def test_the_projector(account: Account, machine: Any, walk: Walk) -> None:
    def act(number: int) -> None:
        # What is in the stream is in the table.
        account.ledger.append(packets(number))
        items = [packet_item(packet) for packet in packets(number)]
        assert project_profiles.handle(a_batch(items, 10 * number + 1), Context()) == {"batchItemFailures": []}

    def packets(number: int) -> list[Any]:
        """Somebody with a customer number reads, and then tells an address with it: two ids become one."""
        name = f"p{number:03d}"
        seen = a_packet(name, event="Seen", id=f"demo/form/{name}-0", ids=[f"user:{name}"])
        told = a_packet(name, contact=f"{name}@acme.example", ids=[f"email:{name}", f"user:{name}"])
        return [seen, told]

    def ended(number: int) -> Any:
        name = f"p{number:03d}"
        person = person_id(f"email:{name}")
        text = doors.state().profile(person).profile.as_text()  # type: ignore[union-attr]
        contact = json.dumps(doors.state().contact(person))
        return text.replace(person, "PERSON").replace(name, "NAME"), contact.replace(name, "NAME")

    assert len(walk("project", act, ended, tidy=True)) == 1
    runs = machine.list_executions(stateMachineArn=MACHINE, maxResults=1000)["executions"]
    assert len({run["name"] for run in runs}) == len(runs)
    assert len([one for one in runs if one["name"].startswith("hot-")]) == WALKED["project"] + 1


def test_the_archiver(account: Account, walk: Walk) -> None:
    def act(number: int) -> None:
        items = stored(account, [a_packet(f"p{number}"), a_packet(f"q{number}", site="nowhere")])
        failed = [item for item in account.items() if item["kind"]["S"] == "failed"][:1]
        assert archive_events.handle(a_batch([*items, *failed], 10 * number + 1), Context()) == {
            "batchItemFailures": []
        }

    def ended(number: int) -> Any:
        lines = [line for key, line in texts(account).items() if key.startswith("events/") for line in line]
        return {row["id"]: row["name"] for row in lines if row["id"] == f"demo/form/p{number}"} == {
            f"demo/form/p{number}": "Form Submitted"
        }

    assert walk("archive", act, ended) == {True}
    assert {one.reason for one in account.failed()} == {"BadShape: the site of this packet is not declared"}
    assert len(account.failed()) == WALKED["archive"] + 1


def texts(account: Account) -> dict[str, list[dict[str, Any]]]:
    files = doors.lake()
    return {key: files.get_rows(key) for key in account.texts_of(LAKE) if key.endswith(".ndjson.gz")}


# The workflow.


class Tasks:
    """The tasks of the workflow for one person each; what comes before the task walked is done at rest, and once."""

    def __init__(self, account: Account, walk: Walk) -> None:
        self.account, self.walk = account, walk
        self._shards: dict[int, Any] = {}

    def once(self, number: int, task: Callable[[Any], Any], *before: Callable[[Any], Any]) -> None:
        nemesis = self.walk.nemesis
        if number not in self._shards:
            at_rest, boundary, nemesis.at_rest = nemesis.at_rest, nemesis.boundary, True
            people(self.account, f"p{number}")
            words = {"run": f"tick-{number}", "persons": [the_person(number)]}
            (shard,) = json.loads(doors.lake().get(select_people.handle(words, Context())["manifest"]))
            self._shards[number] = shard
            for step in before:
                step(shard)
            forget()
            nemesis.at_rest, nemesis.boundary = at_rest, boundary
        task(self._shards[number])

    def rows(self, number: int) -> tuple[str, ...]:
        """What was decided and done for a person, without names and times."""
        kinds = ("T#", "V#", "POS#", "A#", "M#")
        mine = self.account.client("dynamodb").query(
            TableName=STATE, KeyConditionExpression="pk = :pk",
            ExpressionAttributeValues={":pk": {"S": f"P#{the_person(number)}"}},
        )["Items"]
        return tuple(sorted(
            f"{item['sk']['S']} {item.get('outcome', item.get('stage', {})).get('S', '')}" for item in mine
            if item["sk"]["S"].startswith(kinds)
        ))


@pytest.fixture
def tasks(mailing: Account, walk: Walk) -> Tasks:
    return Tasks(mailing, walk)


def the_person(number: int) -> str:
    return person_id(f"email:p{number}")


def decide(shard: Any) -> None:
    assert decide_stages.handle(shard, Context())["outcome"] == "decided"


def perform(shard: Any) -> None:
    assert perform_actions.handle(shard, Context())["outcome"] == "performed"


def close(shard: Any) -> None:
    assert close_run.handle({"run": shard["run"]}, Context())["outcome"] == "balanced"


def test_selecting_people(mailing: Account, walk: Walk) -> None:
    def choose(number: int) -> None:
        assert select_people.handle({"run": f"tick-{number}"}, Context())["outcome"] == "selected"

    people(mailing, "jane")
    ends = walk("select", choose, lambda number: tuple(doors.runs().people(f"tick-{number}", 0)))
    assert ends == {(person_id("email:jane"),)}


def test_deciding_stages(tasks: Tasks) -> None:
    ends = tasks.walk("decide", lambda number: tasks.once(number, decide), tasks.rows, tidy=True)
    (end,) = ends
    assert len([row for row in end if row.startswith("T#")]) == 2
    assert len([row for row in end if row.startswith("A#")]) == 1


def test_performing_actions(tasks: Tasks) -> None:
    mails: list[int] = []

    def ended(number: int) -> None:
        address = f"'p{number}@example.jp'"
        mails.append(sum(address in str(mail.destinations) for mail in sent(tasks.account)))

    tasks.walk("perform", lambda number: tasks.once(number, perform, decide), ended, tidy=True)
    # Killed after the claim and before the answer was kept, a mail may have left: it is never sent blindly again.
    assert set(mails) <= {0, 1}
    assert mails[-1] == 1
    assert mails.count(0) <= 2


def test_handing_over_and_notifying(tasks: Tasks, sales: Sales, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed anywhere, every notice comes at least once, and always by the same name."""
    plan(tasks.account, "call_task", to=["crm"])
    now = clock.now

    def later(number: int) -> None:
        """Once nobody is at it any more, the next run and the next delivery do what is left."""
        monkeypatch.setattr(clock, "now", lambda: now() + timedelta(minutes=5))
        perform(tasks._shards[number])
        monkeypatch.setattr(clock, "now", now)

    def handed(number: int) -> Any:
        later(number)
        events = [one["detail"] for one in sales.events() if one["detail"]["person"] == the_person(number)]
        open_tasks = [task for task in tasks.account.state.tasks("autumn-pumps") if task.person == the_person(number)]
        return len({json.dumps(one) for one in events}), len(open_tasks), tasks.rows(number)[-3:]

    assert len({(told, calls) for told, calls, _ in tasks.walk(
        "hand over", lambda number: tasks.once(number, perform, decide), handed, tidy=True,
    )}) == 1

    events: dict[int, Any] = {}

    def notify(number: int) -> None:
        if number not in events:
            tasks.once(1000 + number, lambda shard: None, decide, perform)
            (events[number],) = sales.events()
        else:
            # The bus delivers again after minutes, when whoever died over it has lost it.
            monkeypatch.setattr(clock, "now", lambda: now() + timedelta(minutes=5))
        notify_sales.handle(events[number], Context())
        monkeypatch.setattr(clock, "now", now)

    def told(number: int) -> Any:
        names = {headers["webhook-id"] for _, headers, _ in sales.receiver.came}
        sales.receiver.came.clear()
        return len(names)

    assert tasks.walk("notify", notify, told) == {1}


def test_closing_a_run(tasks: Tasks) -> None:
    def ended(number: int) -> str:
        return str(close_run.handle({"run": f"tick-{number}"}, Context())["outcome"])

    ends = tasks.walk("close", lambda number: tasks.once(number, close, decide, perform), ended, tidy=True)
    assert ends == {"balanced"}


def test_the_walk_covers_every_function_that_writes() -> None:
    if WALKED.keys() != FLOOR.keys() and not os.environ.get("CI"):
        pytest.skip("only where all of this file runs in one process")
    assert WALKED.keys() == FLOOR.keys()
    assert sum(WALKED.values()) > 150
