"""A batch of stream records: what is usable goes on, what is not is kept with its bytes, what failed is named."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, TypeVar

from closedloop.errors import BadShape, ClosedLoopError, Refused, Unstorable
from closedloop.events.erased import cut, gone
from closedloop.events.event import Event
from closedloop.events.failed import FailedEvent, FailedKind
from closedloop.events.packet import Packet
from closedloop.events.times import parse
from closedloop.runtime import clock, doors, observe
from closedloop.sites.definition import Site
from closedloop.store import schema
from closedloop.store.ledger import packet_of

Record = tuple[str, dict[str, Any]]
Arrival = tuple[str, Packet, Sequence[Event]]
Result = TypeVar("Result")
# What the same bytes and the same code will always end in; everything else is an outage, and is delivered again.
PERMANENT = (Refused, Unstorable, ValueError, TypeError, LookupError, AttributeError, ArithmeticError, RecursionError)


def images(event: Mapping[str, Any]) -> Iterator[Record]:
    """The number and the new item of each record that has one."""
    for record in event.get("Records", ()):
        image = record.get("dynamodb", {}).get("NewImage")
        if image and record.get("eventName") == "INSERT":
            yield record["dynamodb"]["SequenceNumber"], image


class Batch:
    """One delivered batch for one function.

    Shapes: `arrived` are its readable packets of known sites; `sites` are those and all others; `failed` counts the
    records that no retry will mend, which are kept as failed events and counted as done.
    """

    def __init__(self, records: Sequence[Record], handler: str) -> None:
        self._images = dict(records)
        self._handler = handler
        self.failed = 0
        self.sites: dict[str, Site] = dict(doors.sites())
        self.arrived: list[Arrival] = []
        for number, image in records:
            if image.get(schema.KIND, {}).get("S") == schema.PACKET:
                try:
                    packet = packet_of(image)
                    events = packet.events
                    self._know(packet.site)
                except PERMANENT as error:
                    self._fail(number, error, FailedKind.UNREADABLE)
                else:
                    self.arrived.append((number, packet, events))

    def _know(self, name: str) -> None:
        """A site may be younger than what we read of the sites last.

        Errors: BadShape when there is none of this name.
        """
        if name not in self.sites:
            site = doors.state().site(name)
            if site is None:
                raise BadShape("the site of this packet is not declared")
            self.sites[name] = site

    def carry(self, work: Callable[[Sequence[Arrival]], Result]) -> list[Result]:
        """Do the work for all packets at once; where it breaks, halve, until the packet that breaks it stands alone.

        Shapes: the work must be safe to repeat; the results are those of the parts that went through.
        """
        return list(self._carried(self.arrived, work)) if self.arrived else []

    def _carried(self, part: Sequence[Arrival], work: Callable[[Sequence[Arrival]], Result]) -> Iterator[Result]:
        try:
            result = work(part)
        except PERMANENT as error:
            if len(part) == 1:
                unstorable = isinstance(error, Unstorable)
                self._fail(part[0][0], error, FailedKind.UNSTORABLE if unstorable else FailedKind.UNWORKABLE)
                return
            half = len(part) // 2
            yield from self._carried(part[:half], work)
            yield from self._carried(part[half:], work)
        else:
            yield result

    def _fail(self, number: str, error: Exception, kind: FailedKind) -> None:
        image = self._images[number]
        payload = json.dumps(image, default=str).encode()
        site, door = (_text(image, name) for name in ("site", "door"))
        doors.ledger().fail(FailedEvent(
            kind, words_of(error), site, door, self._handler, doors.CODE_VERSION, _received(image), payload
        ))
        self.failed += 1


def _received(image: Mapping[str, Any]) -> datetime:
    """When the packet came in, so that a batch delivered again keeps the same failed event, not one more."""
    try:
        return parse(image["received_at"]["S"])
    except PERMANENT:
        return clock.now()


def words_of(error: Exception) -> str:
    """An error as a reason; the words of one that is not ours may quote what was sent."""
    return f"{type(error).__name__}: {error}" if isinstance(error, ClosedLoopError) else type(error).__name__


def _text(image: Mapping[str, Any], name: str) -> str:
    try:
        return str(image[name]["S"])
    except PERMANENT:
        return ""


def living(part: Sequence[Arrival]) -> list[Arrival]:
    """The arrivals without those that name somebody who was erased; of these the ledger keeps only what names others.

    Shapes: what is kept comes again by itself, as a packet of its own.
    """
    tombstones = doors.tombstones()
    if not tombstones:
        return list(part)
    alive = []
    for number, packet, events in part:
        left = cut(packet, lambda event: gone(event, tombstones))
        if left == [packet]:
            alive.append((number, packet, events))
        else:
            doors.ledger().empty(packet, left, clock.now())
    return alive


def response(again: Iterable[str]) -> dict[str, Any]:
    """The records to deliver again.

    Source: AWS Lambda, "Configuring partial batch response with DynamoDB and Lambda".
    """
    return {"batchItemFailures": [{"itemIdentifier": number} for number in sorted(again)]}


def told(context: Any, what: str, batch: Batch, **facts: int) -> None:
    """One line about a batch, and the metric of failed events when there are any."""
    observe.note(context, what, packets=len(batch.arrived), unusable=batch.failed, **facts)
    if batch.failed:
        observe.count("FailedEvents", batch.failed)
