"""A batch of stream records: what is usable goes on, what is not is kept with its bytes, what failed is named."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from closedloop.errors import BadShape
from closedloop.events.event import Event
from closedloop.events.packet import Packet
from closedloop.runtime import clock, doors
from closedloop.store import schema
from closedloop.store.ledger import FailedEvent, packet_of

Record = Mapping[str, Any]


def images(event: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    """The number and the new item of each record that has one."""
    for record in event.get("Records", ()):
        image = record.get("dynamodb", {}).get("NewImage")
        if image and record.get("eventName") == "INSERT":
            yield record["dynamodb"]["SequenceNumber"], image


def packets(records: Iterable[tuple[str, dict[str, Any]]], handler: str) -> list[tuple[str, Packet, list[Event]]]:
    """The packets of a batch; a record that cannot be read is kept as a failed event, and the rest goes on."""
    good = []
    for number, image in records:
        if image.get(schema.KIND, {}).get("S") != schema.PACKET:
            continue
        try:
            packet = packet_of(image)
            good.append((number, packet, packet.events))
        except BadShape as error:
            failed(error, handler, image)
    return good


def failed(error: Exception, handler: str, image: Mapping[str, Any]) -> None:
    """Keep a record that no retry will mend."""
    payload = json.dumps(image, default=str).encode()
    reason = f"{type(error).__name__}: {error}"
    doors.ledger().fail(FailedEvent(reason, handler, doors.CODE_VERSION, clock.now(), payload))


def response(again: Iterable[str]) -> dict[str, Any]:
    """The records to deliver again.

    Source: AWS Lambda, "Configuring partial batch response with DynamoDB and Lambda".
    """
    return {"batchItemFailures": [{"itemIdentifier": number} for number in sorted(again)]}
