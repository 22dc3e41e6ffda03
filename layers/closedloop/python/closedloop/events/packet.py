"""The packet: the events of one accepted request about one subject, stored as one item.

A packet's text is JSON; above one kilobyte it is compressed, since the ledger bills by the kilobyte.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from closedloop.errors import BadShape
from closedloop.events.event import Door, Event, EventType
from closedloop.events.times import parse

SCHEMA = 1
COMPRESS_ABOVE = 1024
PACKET_BYTES = 300_000
# Whose facts may be taken back by another of the same door.
RETRACTABLE = frozenset((Door.LIST, Door.OPERATOR))

Entry = tuple[str, Mapping[str, Any], Mapping[str, Mapping[str, str]]]


@dataclass(frozen=True, slots=True)
class Packet:
    """The events of one request about one subject.

    Shapes: `subject` is a partition of the ledger; `records` are events as `event_of` reads them; `contact` maps an
    identifier to the clear contact fields that came with it, the only place of the ledger that may hold them;
    `headers` are the allow-listed ones and the address cut to its network.
    """

    subject: str
    site: str
    door: Door
    received_at: datetime
    records: tuple[Mapping[str, Any], ...]
    contact: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    headers: Mapping[str, str] = field(default_factory=dict)
    schema: int = SCHEMA

    @property
    def id(self) -> str:
        """The packet's name: the same request stored twice is the same packet."""
        return hashlib.sha256("\n".join(record["id"] for record in self.records).encode()).hexdigest()[:16]

    @property
    def events(self) -> list[Event]:
        """The packet's events."""
        name = self.id
        return [event_of(self, record, name) for record in self.records]


def event_of(packet: Packet, record: Mapping[str, Any], name: str = "") -> Event:
    """One stored record as the event that it says.

    Shapes: `name` is the packet's id, where it is known already.
    Errors: BadShape when the record is not one that we wrote.
    """
    try:
        return Event(
            id=record["id"],
            site=packet.site,
            type=EventType(record["type"]),
            name=record.get("name", ""),
            visitor=record.get("visitor"),
            identifiers=tuple(record.get("ids", ())),
            deal=record.get("deal"),
            occurred_at=parse(record["at"]),
            received_at=packet.received_at,
            door=packet.door,
            packet=name or packet.id,
            properties=record.get("properties", {}),
            traits=record.get("traits", {}),
            context={"agent": packet.headers.get("agent", ""), **record.get("context", {})},
            late=record.get("late", False),
            group=record.get("group", ""),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadShape(f"a stored record of packet {packet.id} cannot be read: {error}") from error


def standing(packets: Iterable[Packet]) -> list[Packet]:
    """The packets that still stand: without what a list or an operator took back, and without the retractions.

    Shapes: a row of a list, or a decision, is one packet of one event, and its retraction lies in the same partition.
    What was received up to the retraction falls; the same words told again afterwards stand.
    """
    every = list(packets)
    if all(packet.door not in RETRACTABLE for packet in every):
        return every
    until: dict[str, datetime] = {}
    for packet in every:
        for retracted in retracted_by(packet):
            until[retracted] = max(packet.received_at, until.get(retracted, packet.received_at))
    return [packet for packet in every if packet.door not in RETRACTABLE or _stands(packet, until)]


def retracted_by(packet: Packet) -> list[str]:
    """The ids of the events that a packet says stand no longer; only lists and operators may say so."""
    if packet.door not in RETRACTABLE:
        return []
    told = (record.get("properties", {}).get("retracts") for record in packet.records)
    return [retracted for retracted in told if isinstance(retracted, str)]


def _stands(packet: Packet, until: Mapping[str, datetime]) -> bool:
    if retracted_by(packet):
        return False
    fallen = until.get(packet.records[0]["id"]) if packet.records else None
    return fallen is None or packet.received_at > fallen


def encode(packet: Packet) -> str | bytes:
    """A packet's records, contact and headers as one text, compressed where that saves storage."""
    text = json.dumps(
        {"records": packet.records, "contact": packet.contact, "headers": packet.headers},
        ensure_ascii=False,
        separators=(",", ":"),
        allow_nan=False,
    )
    return zlib.compress(text.encode(), 1) if len(text) > COMPRESS_ABOVE else text


def decode(body: str | bytes, *, subject: str, site: str, door: str, received_at: str, schema: int) -> Packet:
    """Read a stored packet of any schema that we ever wrote.

    Errors: BadShape.
    """
    try:
        content = json.loads(zlib.decompress(body) if isinstance(body, bytes) else body)
        if not all(isinstance(record["id"], str) for record in content["records"]):
            raise ValueError("a record has no id")
        return Packet(
            subject=subject,
            site=site,
            door=Door(door),
            received_at=parse(received_at),
            records=tuple(content["records"]),
            contact=content["contact"],
            headers=content["headers"],
            schema=schema,
        )
    except (ValueError, KeyError, TypeError, zlib.error) as error:
        raise BadShape(f"a packet of {subject} cannot be read: {error}") from error


def pack(
    entries: Iterable[Entry],
    *,
    site: str,
    door: Door,
    received_at: datetime,
    headers: Mapping[str, str],
    small: bool = False,
) -> list[Packet]:
    """Gather the events of a request into as few packets as subjects and the item limit allow.

    Shapes: each entry is the subject, the record, and the clear contact fields by identifier; `small` says that all of
    them are known to fit one item.
    """
    groups: dict[str, list[Entry]] = {}
    for entry in entries:
        groups.setdefault(entry[0], []).append(entry)
    packets = []
    for subject, group in groups.items():
        # An event is capped at 32 KB, so nine always fit, as does a small request; more are cut by their true size.
        step = len(group) if small or len(group) <= 9 else _fitting(group)
        for start in range(0, len(group), step):
            part = group[start : start + step]
            packets.append(
                Packet(
                    subject=subject,
                    site=site,
                    door=door,
                    received_at=received_at,
                    records=tuple(record for _, record, _ in part),
                    contact=_joined(contact for _, _, contact in part),
                    headers=headers,
                )
            )
    return packets


def _joined(contacts: Iterable[Mapping[str, Mapping[str, str]]]) -> dict[str, dict[str, str]]:
    joined: dict[str, dict[str, str]] = {}
    for contact in contacts:
        for identifier, fields in contact.items():
            joined.setdefault(identifier, {}).update(fields)
    return joined


def _fitting(entries: list[Entry]) -> int:
    """How many events go into one packet so that the largest packet stays under the item limit."""
    sizes = [len(json.dumps([record, contact], ensure_ascii=False).encode()) for _, record, contact in entries]
    if sum(sizes) <= PACKET_BYTES:
        return len(entries)
    return max(1, PACKET_BYTES // max(sizes))
