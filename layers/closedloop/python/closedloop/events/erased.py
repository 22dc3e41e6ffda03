"""People who were erased: their identifiers name nobody any more, whatever still comes in with them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Set
from dataclasses import replace
from datetime import datetime
from typing import Any

from closedloop.events.event import Door, Event
from closedloop.events.packet import Packet, event_of
from closedloop.events.times import iso

# What people do there themselves after they were erased is a new acquaintance; all other doors tell of the old one.
OWN_DOORS = frozenset((Door.BEACON, Door.FORM))
NOBODY: Set[str] = frozenset()

Tombstones = Mapping[str, datetime]


def tombstone_of(node: str) -> str:
    """The name by which an erased identifier is known again, and by which nobody can say what it was."""
    return hashlib.sha256(node.encode()).hexdigest()[:40]


def gone(event: Event, tombstones: Tombstones) -> Set[str]:
    """The nodes of an event that name somebody who was erased, and whoever else it names who was: who brought a guest.

    Shapes: an event that happened before the erasure and arrives late names nobody, nor does what a list, a mail
    provider or a customer system tells of an erased address, whenever it is told.
    """
    if not tombstones:
        return NOBODY
    found = set()
    for node in event.nodes:
        at = tombstones.get(tombstone_of(node))
        if at is not None and (event.door not in OWN_DOORS or event.occurred_at <= at):
            found.add(node)
    referrer = event.properties.get("referrer")
    if isinstance(referrer, str) and tombstone_of(referrer) in tombstones:
        found.add(referrer)
    return found


def is_past(person: str, at: str, tombstones: Tombstones) -> bool:
    """Whether what was decided of a person at a moment belongs to somebody who was erased since."""
    erased = tombstones.get(tombstone_of(person))
    return erased is not None and at <= iso(erased)


def cut(packet: Packet, gone_of: Callable[[Event], Set[str]]) -> list[Packet]:
    """What stays of a packet when nodes of its events name nobody: the packet itself where nothing goes.

    Shapes: an event without anybody left is left out, and one that still names somebody else lies with them.
    """
    kept: dict[str, list[Mapping[str, Any]]] = {}
    named: set[str] = set()
    for record in packet.records:
        event = event_of(packet, record)
        missing = gone_of(event)
        named |= missing
        remaining = [node for node in event.nodes if node not in missing]
        if not missing:
            kept.setdefault(packet.subject, []).append(record)
        elif remaining:
            subject = packet.subject
            if subject.startswith(("V#", "I#")) and _of_subject(subject) in missing:
                subject = _subject(remaining, event)
            kept.setdefault(subject, []).append(_without(record, missing, event))
    if not named:
        return [packet]
    contact = {identifier: fields for identifier, fields in packet.contact.items() if identifier not in named}
    return [
        replace(packet, subject=subject, records=tuple(records), contact=contact) for subject, records in kept.items()
    ]


def _of_subject(subject: str) -> str:
    return "v:" + subject[2:].replace("#", ":", 1) if subject.startswith("V#") else subject[2:]


def _subject(nodes: list[str], event: Event) -> str:
    """The partition that an event lies in, by those who are left of its nodes."""
    strong = [node for node in nodes if node in event.identifiers]
    if strong:
        return f"I#{strong[0]}"
    return f"D#{event.site}#{event.deal}" if event.deal else f"V#{event.site}#{event.visitor}"


def _without(record: Mapping[str, Any], missing: Set[str], event: Event) -> dict[str, Any]:
    kept = {name: value for name, value in record.items() if name not in ("ids", "visitor", "previous")}
    ids = [identifier for identifier in event.identifiers if identifier not in missing]
    if ids:
        kept["ids"] = ids
    if event.visitor and f"v:{event.site}:{event.visitor}" not in missing:
        kept["visitor"] = event.visitor
    if str(record.get("properties", {}).get("referrer")) in missing:
        kept["properties"] = {name: value for name, value in record["properties"].items() if name != "referrer"}
    # What somebody said of themselves goes with them.
    return kept if event.identifiers == tuple(ids) else {**kept, "traits": {}}
