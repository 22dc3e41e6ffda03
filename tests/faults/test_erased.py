"""An erasure killed before each of its writes, then run again: the same end, whatever was done before."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from datetime import date
from itertools import count
from typing import Any

import pytest

from closedloop.events.event import Door
from closedloop.events.failed import FailedEvent, FailedKind
from closedloop.events.identifiers import Hasher
from closedloop.events.packet import event_of
from closedloop.lake.archive import archive_packets
from closedloop.lake.compact import closed, compact, stale
from closedloop.profiles.flow import project
from closedloop.runtime import clock, doors, rights
from closedloop.store.calls import Dynamo
from tests.accounts import EVENTS, LAKE, PEPPER, STATE, Account, forget
from tests.builders import NOW, a_deal, a_packet, a_record, minutes
from tests.faults.nemesis import Nemesis

HASHER = Hasher(PEPPER.encode(), "demo")
JANE, KEN = (HASHER.address(f"{name}@acme.example") or "" for name in ("jane", "ken"))
WRITES = ("PutItem", "DeleteItem", "UpdateItem", "TransactWriteItems", "BatchWriteItem")
FLOOR = 25


class Writes:
    """DynamoDB, of which only the writes are boundaries: between two reads nothing changes."""

    def __init__(self, dynamo: Dynamo, nemesis: Nemesis) -> None:
        self._dynamo, self._nemesis = dynamo, nemesis

    def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        def act() -> dict[str, Any]:
            return self._dynamo.call(operation, parameters)

        return self._nemesis.around(act, may_fail=False) if operation in WRITES else act()


class S3Writes:
    """S3 in the same way."""

    def __init__(self, client: Any, nemesis: Nemesis) -> None:
        self._client, self._nemesis = client, nemesis

    def __getattr__(self, name: str) -> Any:
        got = getattr(self._client, name)
        if name not in ("put_object", "delete_object"):
            return got
        return lambda **words: self._nemesis.around(lambda: got(**words), may_fail=False)


def a_small_world() -> None:
    """Jane read, asked and bought; Ken shares a browser with her; something of hers failed, and a list names her."""
    contact = {JANE: {"email": "jane@acme.example", "last_name": "Jane"}}
    told: dict[str, Any] = {"type": "identify", "at": minutes(2)}
    packets = [
        a_packet(a_record("e1", visitor="laptop"), a_record("e2", ids=[JANE], visitor="laptop", **told), site="demo",
                 contact=contact),
        a_packet(a_record("e3", visitor="office"), a_record("e4", ids=[JANE], visitor="office", **told),
                 a_record("e5", "identify", at=minutes(9), ids=[KEN], visitor="office"), site="demo"),
        a_packet(a_deal(ids=[JANE]), site="demo", door=Door.DEAL),
    ]
    doors.ledger().append(packets)
    # What was not archived yet is archived by the erasure itself.
    archive_packets(packets[:2], doors.sites(), "1", doors.lake())
    for day in stale(doors.lake(), closed(doors.lake(), date.max)):
        compact(doors.lake(), day)
    arrived = [(str(number), packet, [event_of(packet, record) for record in packet.records])
               for number, packet in enumerate(packets)]
    project(arrived, doors.state(), doors.ledger(), doors.sites(), lambda: NOW)
    doors.ledger().fail(FailedEvent(
        FailedKind.REFUSED, "no name", "demo", "beacon", "capture_beacon", "1", NOW, b'{"mail":"jane@acme.example"}'
    ))
    doors.lake().put("imports/people/demo/desk/a.csv", b"mail\njane@acme.example\nken@acme.example\n")


class Shelf:
    """All that lies in the account, to be put back for the next life."""

    def __init__(self, account: Account) -> None:
        self._account, self._s3 = account, account.client("s3")
        self.kept = self.now()

    def now(self) -> tuple[list[Any], list[Any], dict[str, bytes]]:
        tables = (sorted(self._account.items(table), key=lambda item: (item["pk"]["S"], item["sk"]["S"]))
                  for table in (EVENTS, STATE))
        return next(tables), next(tables), self._account.texts_of(LAKE)

    def versions(self) -> list[tuple[str, str]]:
        found = self._s3.list_object_versions(Bucket=LAKE).get("Versions", ())
        return [(one["Key"], one["VersionId"]) for one in found]

    def put_back(self) -> None:
        dynamo = self._account.client("dynamodb")
        for table, kept in zip((EVENTS, STATE), self.kept, strict=False):
            for item in self._account.items(table):
                if item not in kept:
                    dynamo.delete_item(TableName=table, Key={"pk": item["pk"], "sk": item["sk"]})
            here = self._account.items(table)
            for item in kept:
                if item not in here:
                    dynamo.put_item(TableName=table, Item=item)
        for key, version in self.versions():
            self._s3.delete_object(Bucket=LAKE, Key=key, VersionId=version)
        for key, body in self.kept[2].items():
            self._s3.put_object(Bucket=LAKE, Key=key, Body=body)


def test_killed_before_any_write_and_run_again_it_comes_to_the_same_end(
    account: Account, monkeypatch: pytest.MonkeyPatch
) -> None:
    nemesis = Nemesis(0)
    caller, boto = doors._caller, doors.boto
    dice = count()

    def secret(size: int = 24) -> bytes:
        return hashlib.sha256(str(next(dice)).encode()).digest()[:size]

    monkeypatch.setattr(clock, "now", lambda: minutes(20))
    monkeypatch.setattr(clock, "sleep", lambda seconds: None)
    monkeypatch.setattr(clock, "new_secret", secret)
    monkeypatch.setattr(doors, "_caller", lambda service: Writes(caller(service), nemesis))
    monkeypatch.setattr(doors, "boto", lambda service: S3Writes(boto(service), nemesis))
    nemesis.at_rest = True
    account.client("s3").put_bucket_versioning(Bucket=LAKE, VersioningConfiguration={"Status": "Enabled"})
    a_small_world()
    shelf = Shelf(account)

    def life() -> None:
        nonlocal dice
        dice = count()
        forget()
        site = doors.state().site("demo")
        assert site is not None
        subject = rights.whom(JANE, site, clock.now(), "asked", "person")
        if doors.state().erasing(JANE) is None:
            subject = rights.counted(subject, rights.held(subject))
        if subject.erasure.counts:
            rights.erase(subject)

    def lives(boundary: int | None) -> tuple[bool, Any]:
        shelf.put_back()
        died = False
        if boundary is not None:
            nemesis.at_rest = False
            died = nemesis.dies_at(boundary, life)
            nemesis.at_rest, nemesis.boundary = True, None
        if died or boundary is None:
            life()
        return died, (*shelf.now(), sorted(key for key, _ in shelf.versions()))

    _, whole = lives(None)
    assert "jane" not in str(whole).lower()
    ends = 0
    for number in count():
        died, end = lives(2 * number)
        if not died:
            break
        ends += 1
        assert end == whole, f"killed before write {number}"
    assert ends >= FLOOR
    _again(life, shelf, whole)


def _again(life: Callable[[], None], shelf: Shelf, whole: Any) -> None:
    life()
    assert (*shelf.now(), sorted(key for key, _ in shelf.versions())) == whole
