"""What it takes to fold everybody anew: profiles per core-second and the memory of a fresh process, at 100,000 people.

DynamoDB is answered in the process: the ledger is made of two hundred people under ever new names, State is in a file.
State is empty at first, so that all evidence and every profile is written. The second pass finds nothing to write.
"""

from __future__ import annotations

import json
import pickle
import resource
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from bench import traffic
from bench.endpoint import Endpoint
from bench.packages import ROOT
from bench.protocol import Figure, Row
from closedloop.events.event import Event
from closedloop.events.packet import Packet
from closedloop.events.times import iso
from closedloop.profiles.rebuild import Rebuild
from closedloop.store.ledger import Ledger, packet_item, packet_of
from closedloop.store.state import State

# A tenth of them tells whether memory grows with their number.
PEOPLE = (10_000, 100_000)
EVENTS = 30
TEMPLATES = 200
# A page of a scan holds a megabyte.
PAGE = 60
# What one more person may cost in memory: the names that are remembered as done.
MOST_MB = 300.0


def _record(event: Event) -> dict[str, Any]:
    told = {
        "id": event.id, "type": event.type.value, "name": event.name, "at": iso(event.occurred_at),
        "visitor": event.visitor, "ids": list(event.identifiers), "properties": dict(event.properties),
        "traits": dict(event.traits), "context": dict(event.context),
    }
    return {name: value for name, value in told.items() if value}


@cache
def template(number: int) -> tuple[str, str, tuple[Packet, ...]]:
    """A person without a deal: their browser, their address, and their packets, up to ten events each."""
    events, nodes = traffic.known_person(number, EVENTS)
    own = [event for event in events if event.deal is None]
    browser = own[0].visitor or ""
    packets = []
    for start in range(0, len(own), 10):
        part = [event for event in own[start : start + 10] if event.door is own[start].door]
        packets.append(Packet(
            f"V#demo#{browser}", "demo", part[0].door, part[-1].received_at, tuple(map(_record, part)),
            {nodes[0]: {"email": f"person{number}@company.example"}} if not start else {},
        ))
    return browser, nodes[0], tuple(packets)


@cache
def bodies(number: int) -> tuple[tuple[str, dict[str, Any]], ...]:
    """The packets of a template as items, each with its text."""
    return tuple(
        (json.dumps({"records": packet.records, "contact": packet.contact, "headers": packet.headers}),
         packet_item(packet))
        for packet in template(number)[2]
    )


def items_of(person: int) -> list[dict[str, Any]]:
    """The packets of a person: a template's under another name."""
    browser, node, _ = template(person % TEMPLATES)
    here, name = f"{person:08d}{browser[8:]}", f"{node[:6]}{person:08d}{node[14:]}"
    return [
        {**item, "pk": {"S": f"V#demo#{here}"}, "body": {"S": text.replace(browser, here).replace(node, name)}}
        for text, item in bodies(person % TEMPLATES)
    ]


class Tables:
    """Both tables, as far as a rebuild asks them; nobody else writes, so every condition holds."""

    def __init__(self, people: int, file: Path) -> None:
        self._people = people
        self._rows = sqlite3.connect(file, isolation_level=None)
        self._rows.executescript(
            "PRAGMA journal_mode=OFF; PRAGMA synchronous=OFF;"
            "CREATE TABLE state (pk, sk, item, PRIMARY KEY (pk, sk)) WITHOUT ROWID;"
        )
        self.writes = 0

    def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return dict(getattr(self, f"_{operation}")(parameters))

    def _Scan(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        start = int(asked["ExclusiveStartKey"]["n"]["N"]) if "ExclusiveStartKey" in asked else 0
        end = min(start + PAGE, self._people)
        page = [item for person in range(start, end) for item in items_of(person)]
        return {"Items": page, **({"LastEvaluatedKey": {"n": {"N": str(end)}}} if end < self._people else {})}

    def _Query(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        pk, sk = (asked["ExpressionAttributeValues"].get(name, {"S": ""})["S"] for name in (":pk", ":sk"))
        if asked["TableName"] == "events":
            return {"Items": items_of(int(pk[7:15])) if pk.startswith("V#") else []}
        found = self._rows.execute(
            "SELECT item FROM state WHERE pk = ? AND sk >= ? AND sk < ? ORDER BY sk", (pk, sk, f"{sk}\U0010ffff")
        )
        return {"Items": [pickle.loads(row[0]) for row in found]}

    def _GetItem(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        where = asked["Key"]["pk"]["S"], asked["Key"]["sk"]["S"]
        row = self._rows.execute("SELECT item FROM state WHERE pk = ? AND sk = ?", where).fetchone()
        return {"Item": pickle.loads(row[0])} if row else {}

    def _PutItem(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        item = asked["Item"]
        self.writes += 1
        self._rows.execute(
            "REPLACE INTO state VALUES (?, ?, ?)", (item["pk"]["S"], item["sk"]["S"], pickle.dumps(item))
        )
        return {}

    def _TransactWriteItems(self, asked: Mapping[str, Any]) -> dict[str, Any]:
        for write in asked["TransactItems"]:
            self._PutItem(write["Put"])
        return {}


def _passes(people: int, tables: Tables) -> Iterator[float]:
    """Seconds of a core that each of two passes takes."""
    state, ledger = State(tables, "state", lambda: traffic.PEPPER), Ledger(tables, "events", lambda attempt: None)
    sites = {"demo": traffic.site()}
    for wanted in (people, 0):
        began, work, place = time.process_time(), Rebuild(state, ledger, lambda: traffic.NOW), None
        tables.writes = 0
        while True:
            page, place = ledger.page(0, 1, place)
            packets = [packet_of(item) for item in page]
            assert not work.fold([(packet.id, packet, packet.events) for packet in packets], sites).again
            if place is None:
                break
        assert (work.persons, work.changed, bool(tables.writes)) == (people, wanted, bool(wanted)), vars(work)
        yield time.process_time() - began


def measured() -> None:
    """Rebuild in this process; one line of JSON with seconds and megabytes."""
    people, file = int(sys.argv[1]), Path(sys.argv[2])
    for number in range(TEMPLATES):
        bodies(number)
    before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    first_s, again_s = _passes(people, Tables(people, file))
    print(json.dumps({
        "first": people / first_s, "again": people / again_s, "before_mb": before_mb,
        "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }))


def rows(samples: int, work: Path, endpoint: Endpoint) -> list[Row]:
    found = []
    for people in PEOPLE:
        file = work / f"state-{people}"
        command = [sys.executable, "-c", "from bench.rebuild import measured; measured()", str(people), str(file)]
        # Minutes long and of many thousand alike: one sample says it.
        told = json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True).stdout)
        file.unlink()
        case = f"{people:,} people of {EVENTS} events"
        found += [
            Row("rebuild", f"{case}, State lost", "profiles/core-s", Figure("ours", (told["first"],))),
            Row("rebuild", f"{case}, nothing to write", "profiles/core-s", Figure("ours", (told["again"],))),
            Row("rebuild", f"{case}: peak memory", "MB", Figure("ours", (told["mb"],)), None,
                ("value", "<=", MOST_MB)),
        ]
    return found
