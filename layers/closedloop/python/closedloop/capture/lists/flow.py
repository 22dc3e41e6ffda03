"""Imports a list and takes an import back: planned whole, noted, then written, so that nothing is half imported.

A row is one event in one packet. Its id is made of the source, the row's key and its words, so the same file a second
time changes nothing. When the words under a key change, the former version is retracted and the new one stands; undoing
an import retracts its events and brings back the versions that it had replaced. Nothing is ever changed or removed.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Literal, Protocol

from closedloop.capture.lists.mapping import Mapping as ListMapping
from closedloop.capture.lists.plan import CHANGES, People, Planned, Version, plan
from closedloop.capture.lists.reading import CsvFile, Reject
from closedloop.capture.lists.rows import RowReader
from closedloop.errors import NotFound, TryAgain
from closedloop.events.event import ROW_RETRACTED, Door, EventType
from closedloop.events.identifiers import Hasher
from closedloop.events.packet import Packet
from closedloop.events.times import iso, parse
from closedloop.sites.definition import Site, version_of

BATCH = 1000
MATCHES_SHOWN = 50
State = Literal["writing", "done", "undoing", "undone"]
Progress = Callable[[str, int, int], None]


@dataclass(frozen=True, slots=True)
class Head:
    """One import as the journal knows it.

    Shapes: `name` is what it is undone by; `content` names file and mapping, so that the same file is known again;
    `received_at` is when its facts were received, `undone_at` when they were retracted.
    """

    name: str
    content: str
    site: str
    kind: str
    source: str
    state: State
    received_at: str
    counts: Mapping[str, int] = field(default_factory=dict)
    undone_at: str = ""


class Journal(Protocol):
    """Which imports there were and what each wrote."""

    def heads(self, site: str = "", kind: str = "", source: str = "") -> list[Head]: ...
    def put_head(self, head: Head) -> None: ...
    def put_rows(self, head: Head, rows: Iterable[Mapping[str, Any]]) -> None: ...
    def rows(self, head: Head) -> Iterator[Mapping[str, Any]]: ...


class Claims(Protocol):
    """Lets one import of a source write at a time.

    Errors: TryAgain while another one does.
    """

    def claim(self, source: str, name: str, now: datetime) -> None: ...
    def release(self, source: str, name: str) -> None: ...


class Ledger(Protocol):
    """Takes facts for good and reads them back."""

    def append(self, packets: Sequence[Packet]) -> None: ...
    def packets(self, node: str) -> Iterator[Packet]: ...


@dataclass(frozen=True, slots=True)
class Doors:
    """What an import is handed."""

    ledger: Ledger
    journal: Journal
    claims: Claims
    people: People
    pepper: bytes
    now: Callable[[], datetime]


@dataclass(slots=True)
class Report:
    """What an import did, or would do.

    Shapes: `state` is planned, imported, nothing new, imported before, undone or undone before; `matches` are the first
    rows with whom they are about and why; `gone` counts replaced versions that the ledger holds no longer.
    """

    name: str
    kind: str
    source: str
    state: str
    encoding: str = ""
    counts: Counter[str] = field(default_factory=Counter)
    why: Counter[str] = field(default_factory=Counter)
    matches: list[tuple[int, str, str, str]] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        counted = ("rows", "new", "corrected", "unchanged", "doubled", "rejected")
        return {
            "import": self.name, "kind": self.kind, "source": self.source, "state": self.state,
            "encoding": self.encoding, **{name: self.counts[name] for name in counted}, "matched": dict(self.why),
            "matches": [
                {"line": line, "change": change, "person": person, "why": why}
                for line, change, person, why in self.matches
            ],
            "rejects": [
                {"line": one.line, "column": one.column, "reason": one.reason} for one in self.rejects[:MATCHES_SHOWN]
            ],
        }


def take_list(
    content: bytes, mapping: ListMapping, site: Site, doors: Doors, *, dry_run: bool,
    on_match: Callable[[Planned], None] = lambda one: None, progress: Progress = lambda what, done, of: None,
) -> Report:
    """Import a file of a source, or with `dry_run` say what importing it would change.

    Errors: BadShape when no row of the file can be read; TryAgain while another import of the source is not finished.
    """
    file = CsvFile(content, mapping)
    named = f"{site.site}|{version_of(mapping)}|".encode()
    same = hashlib.sha256(named + content).hexdigest()[:12]
    heads = doors.journal.heads(site.site, mapping.kind, mapping.source)
    alike = [head for head in heads if head.content == same]
    undone = sum(head.state == "undone" for head in alike)
    name = f"{same}-{undone + 1}" if undone else same
    report = Report(name, mapping.kind, mapping.source, "planned", file.encoding)
    own = next((head for head in alike if head.state != "undone"), None)
    if own is not None and own.state == "done":
        report.state = "imported before"
        return report
    _check_finished(heads, name)
    claimed = _claimed(site.site, mapping.kind, mapping.source)
    if not dry_run:
        doors.claims.claim(claimed, name, doors.now())
    received = parse(own.received_at) if own is not None else parse(iso(doors.now()))
    before = _standing(doors.journal, [head for head in heads if head.state == "done"])
    reader = RowReader(mapping, site, Hasher(doors.pepper, site.list_name), file.header, received)
    planned = plan(file.rows(), reader, mapping.kind, before, doors.people)
    writes = _Writes()
    lines = content.count(b"\n") + 1
    for one in _counted(planned, report, lambda line: progress("planning", line, lines)):
        on_match(one)
        if not dry_run:
            writes.add(one)
    if dry_run:
        return report
    if not writes.entries:
        doors.claims.release(claimed, name)
        report.state = "nothing new"
        return report
    head = Head(name, same, site.site, mapping.kind, mapping.source, "writing", iso(received), dict(report.counts))
    doors.journal.put_rows(head, writes.entries)
    doors.journal.put_head(head)
    done = 0
    for packets in writes.packets(head, received):
        doors.claims.claim(claimed, name, doors.now())
        doors.ledger.append(packets)
        done += len(packets)
        progress("writing", done, writes.count)
    doors.journal.put_head(replace(head, state="done"))
    doors.claims.release(claimed, name)
    report.state = "imported"
    return report


def _counted(
    planned: Iterable[Planned | Reject], report: Report, on_line: Callable[[int], None]
) -> Iterator[Planned]:
    """What is to be written, while everything is counted."""
    rejected: set[int] = set()
    line = 0
    for number, one in enumerate(planned, 1):
        line = one.line if isinstance(one, Reject) else one.fact.line
        if number % BATCH == 0:
            on_line(line)
        if isinstance(one, Reject):
            report.rejects.append(one)
            rejected.add(line)
            continue
        report.counts[one.change] += 1
        if one.change in CHANGES:
            report.why[one.why] += 1
            if len(report.matches) < MATCHES_SHOWN:
                report.matches.append((line, one.change, one.person, one.why))
            yield one
    report.counts["rejected"] = len(rejected)
    report.counts["rows"] = sum(report.counts.values())
    on_line(line)


class _Writes:
    """What an import will write: its lines of the journal, and its facts, packed until their turn comes."""

    def __init__(self) -> None:
        self.entries: list[dict[str, Any]] = []
        self._packed: list[bytes] = []
        self._batch: list[tuple[str, Mapping[str, Any], Mapping[str, Mapping[str, str]]]] = []
        self._replaced: list[Version] = []

    def add(self, one: Planned) -> None:
        self.entries.append(_entry(one))
        self._batch.append((one.fact.node, one.fact.record, one.fact.contact))
        if one.was is not None:
            self._replaced.append(one.was)
        if len(self._batch) == BATCH:
            self._pack()

    def _pack(self) -> None:
        # Most of a thousand records is alike.
        self._packed.append(zlib.compress(json.dumps(self._batch, ensure_ascii=False).encode(), 1))
        self._batch = []

    @property
    def count(self) -> int:
        return len(self.entries) + len(self._replaced)

    def packets(self, head: Head, received: datetime) -> Iterator[list[Packet]]:
        """The facts, and then the retractions of those that they replace."""
        self._pack()
        for packed in self._packed:
            facts = json.loads(zlib.decompress(packed))
            yield [_packet(head, node, record, contact, received) for node, record, contact in facts]
        for start in range(0, len(self._replaced), BATCH):
            yield [_retraction(head, version, received) for version in self._replaced[start : start + BATCH]]


def take_back(name: str, doors: Doors, progress: Progress = lambda what, done, of: None) -> Report:
    """Undo an import: its facts are retracted, and the versions that it had replaced stand again.

    Errors: NotFound; TryAgain while another import of the source is not finished.
    """
    every = doors.journal.heads()
    head = next((head for head in every if head.name == name), None)
    if head is None:
        raise NotFound(f"no import {name!r} is known; `closedloop import list` names them")
    report = Report(name, head.kind, head.source, "undone")
    if head.state == "undone":
        report.state = "undone before"
        return report
    heads = [one for one in every if (one.site, one.kind, one.source) == (head.site, head.kind, head.source)]
    _check_finished(heads, name)
    claimed = _claimed(head.site, head.kind, head.source)
    doors.claims.claim(claimed, name, doors.now())
    undone_at = parse(head.undone_at) if head.undone_at else parse(iso(doors.now()))
    head = replace(head, state="undoing", undone_at=iso(undone_at))
    doors.journal.put_head(head)
    others = sorted((one for one in heads if one.state == "done" and one.name != name), key=_order)
    older = _standing(doors.journal, [one for one in others if _order(one) < _order(head)])
    newer = _standing(doors.journal, [one for one in others if _order(one) > _order(head)])
    entries = list(doors.journal.rows(head))
    for start in range(0, len(entries), BATCH):
        doors.claims.claim(claimed, name, doors.now())
        packets = []
        for entry in entries[start : start + BATCH]:
            if entry["key"] in newer:
                # A later correction retracted it already, and stands.
                continue
            packets.append(_retraction(head, _version(entry), undone_at))
            report.counts["retracted"] += 1
            former = older.get(entry["key"])
            if former is not None:
                found = _again(former, doors.ledger, undone_at)
                packets += found
                report.counts["brought back" if found else "gone"] += 1
        if packets:
            doors.ledger.append(packets)
        progress("undoing", min(start + BATCH, len(entries)), len(entries))
    doors.journal.put_head(replace(head, state="undone"))
    doors.claims.release(claimed, name)
    return report


def _claimed(site: str, kind: str, source: str) -> str:
    return f"{site}#{kind}#{source}"


def _order(head: Head) -> tuple[str, str]:
    return head.received_at, head.name


def _check_finished(heads: Iterable[Head], name: str) -> None:
    """What an unfinished import wrote is not known for certain, so nothing is planned upon it."""
    for head in heads:
        if head.state in ("writing", "undoing") and head.name != name:
            raise TryAgain(
                f"import {head.name} of {head.source} is not finished: wait, or, if it was cut off, import its file "
                f"again or run `closedloop import undo {head.name}`"
            )


def _standing(journal: Journal, heads: Iterable[Head]) -> dict[str, Version]:
    """The version of each row that these imports leave standing."""
    versions: dict[str, Version] = {}
    for head in sorted(heads, key=_order):
        versions.update((entry["key"], _version(entry)) for entry in journal.rows(head))
    return versions


def _entry(one: Planned) -> dict[str, Any]:
    record = one.fact.record
    entry = {"key": one.fact.key, "id": one.fact.id, "node": one.fact.node, "ids": record["ids"]}
    if "deal" in record:
        entry["deal"] = record["deal"]
    return entry


def _version(entry: Mapping[str, Any]) -> Version:
    return Version(entry["id"], entry["node"], tuple(entry["ids"]), entry.get("deal"))


def _packet(
    head: Head, node: str, record: Mapping[str, Any], contact: Mapping[str, Mapping[str, str]], received: datetime
) -> Packet:
    record = {**record, "properties": {**record["properties"], "import": head.name}}
    return Packet(_subject(node), head.site, Door.LIST, received, (record,), contact)


def _subject(node: str) -> str:
    return "D#" + node.removeprefix("deal:").replace(":", "#", 1) if node.startswith("deal:") else f"I#{node}"


def _retraction(head: Head, version: Version, at: datetime) -> Packet:
    """The fact that an event of a list no longer stands, in the partition of that event."""
    name = hashlib.sha256(f"{version.id}|{iso(at)}".encode()).hexdigest()[:24]
    record: dict[str, Any] = {
        "id": f"{head.site}/list/gone-{name}", "type": EventType.TRACK.value, "name": ROW_RETRACTED, "at": iso(at),
        "ids": list(version.ids), "properties": {"retracts": version.id, "list": head.source, "import": head.name},
    }
    if version.deal is not None:
        record["deal"] = version.deal
    return Packet(_subject(version.node), head.site, Door.LIST, at, (record,))


def _again(version: Version, ledger: Ledger, at: datetime) -> list[Packet]:
    """A former version as it was told, received anew; nothing where the ledger holds it no longer."""
    for packet in ledger.packets(version.node):
        if packet.door is Door.LIST and packet.records[0]["id"] == version.id:
            return [replace(packet, received_at=at)]
    return []
