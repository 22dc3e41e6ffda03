"""The rebuild gives the live profiles byte for byte, from whatever State still has, in any pages, on every engine."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import pytest

from closedloop.profiles.flow import project
from closedloop.profiles.rebuild import Rebuild
from closedloop.store.calls import Dynamo
from closedloop.store.ledger import Ledger, packet_of
from closedloop.store.state import State
from tests.builders import NOW, SITE, a_site, the_pepper
from tests.faults.a_world import a_world

SITES = {SITE: a_site()}
Items = dict[tuple[str, str], Any]


class Paged:
    """DynamoDB, whose scans end after a few items as they do after a megabyte."""

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo
        self.writes = 0

    def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        self.writes += operation in ("PutItem", "TransactWriteItems", "UpdateItem", "DeleteItem")
        return self._dynamo.call(operation, {**parameters, "Limit": 3} if operation == "Scan" else parameters)


@pytest.fixture
def paged(engine: tuple[Dynamo, Any]) -> Paged:
    return Paged(engine[0])


@pytest.fixture
def ledger(paged: Paged, tables: tuple[str, str]) -> Ledger:
    return Ledger(paged, tables[0], lambda attempt: None)


@pytest.fixture
def state(paged: Paged, tables: tuple[str, str]) -> State:
    return State(paged, tables[1], the_pepper)


@pytest.fixture
def live(paged: Paged, state: State, ledger: Ledger) -> State:
    """A world as the projector saw it, fact by fact."""
    facts = a_world(3)
    random.Random(3).shuffle(facts)
    for number, fact in enumerate(facts):
        ledger.append([fact.packet])
        project([(str(number), fact.packet, fact.packet.events)], state, ledger, SITES, lambda: NOW)
    return state


def rebuild(state: State, ledger: Ledger, parts: int = 1) -> tuple[int, int]:
    work = Rebuild(state, ledger, lambda: NOW)
    for part in range(parts):
        place = None
        while True:
            page, place = ledger.page(part, parts, place)
            packets = [packet_of(item) for item in page]
            assert not work.fold([(packet.id, packet, packet.events) for packet in packets], SITES).again
            if place is None:
                break
    return work.persons, work.changed


@pytest.fixture
def kept(rows: Callable[[str], list[dict[str, Any]]], tables: tuple[str, str]) -> Callable[[], Items]:
    """What State holds, but for versions, which only count writes, and for those who were somebody else on the way."""

    def look() -> Items:
        return {
            (item["pk"]["S"], item["sk"]["S"]): {name: value for name, value in item.items() if name != "version"}
            for item in rows(tables[1]) if "moved_to" not in item and item.get("body") != {"S": "{}"}
        }

    return look


def test_only_what_is_damaged_or_missing_is_written(
    engine: tuple[Dynamo, Any], tables: tuple[str, str], paged: Paged, live: State, ledger: Ledger,
    kept: Callable[[], Items],
) -> None:
    before, paged.writes = kept(), 0
    persons, changed = rebuild(live, ledger, parts=2)
    assert (changed, paged.writes, kept()) == (0, 0, before)
    assert persons >= sum(sk == "PROFILE" for _, sk in before)
    one, other = [key for key in sorted(before) if key[1] == "PROFILE"][:2]
    link = next(key for key in sorted(before) if key[1].startswith("E#"))
    where = [{"pk": {"S": pk}, "sk": {"S": sk}} for pk, sk in (one, other, link)]
    engine[1].update_item(
        TableName=tables[1], Key=where[0], UpdateExpression="SET body = :body",
        ExpressionAttributeValues={":body": {"S": "["}},
    )
    engine[1].delete_item(TableName=tables[1], Key=where[1])
    engine[1].delete_item(TableName=tables[1], Key=where[2])
    assert rebuild(live, ledger)[1] == 2
    assert kept() == before


def test_of_a_table_that_was_lost_all_comes_back_byte_for_byte_and_by_new_rules_as_they_say(
    engine: tuple[Dynamo, Any], tables: tuple[str, str], live: State, ledger: Ledger, kept: Callable[[], Items],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    before = kept()
    for pk, sk in before:
        engine[1].delete_item(TableName=tables[1], Key={"pk": {"S": pk}, "sk": {"S": sk}})
    assert kept() == {}
    monkeypatch.setitem(SITES, SITE, a_site(points={"form": 20}))
    assert rebuild(live, ledger)[1] > 0
    assert kept().keys() == before.keys()
    assert kept() != before
    assert rebuild(live, ledger)[1] == 0
    monkeypatch.undo()
    rebuild(live, ledger)
    assert kept() == before
