"""What the ledger does not take now waits in a queue, or where it is too large for one in S3, until the ledger does."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from closedloop.errors import BadShape, NotDurable, TryAgain
from closedloop.lake import layout
from closedloop.runtime import clock, doors, observe, settings
from closedloop.store import schema
from closedloop.store.calls import CallFailed, binary
from closedloop.store.ledger import Item
from closedloop.store.signed import S3, SQS

# SQS takes 256 KB everywhere (1 MB in some places); the rest is room for the frame.
MESSAGE_BYTES = 250_000
UNREADABLE = (ValueError, TypeError, LookupError, AttributeError)


def keep(items: Sequence[Item], why: str) -> None:
    """Keep items durably until the ledger takes them.

    Shapes: `why` is the code of what the ledger answered. Errors: NotDurable when there is no such place now either.
    """
    queue = settings.settings().get(settings.SPILL_QUEUE, "")
    if not queue:
        raise NotDurable(f"the ledger did not take {len(items)} items ({why}), and nothing else is there to keep them")
    size = 0
    try:
        for text in _messages(items):
            size += len(text)
            body = text if len(text) <= MESSAGE_BYTES else json.dumps({"key": _beside(text)})
            doors.spilling(SQS).call("SendMessage", {"QueueUrl": queue, "MessageBody": body})
    except CallFailed as error:
        raise NotDurable(f"neither the ledger ({why}) nor the spill ({error.code}) took {len(items)} items") from error
    observe.alarming(None, "spilled", items=len(items), bytes=size, why=why)
    observe.count("Spilled", len(items))


def _messages(items: Sequence[Item]) -> Iterator[str]:
    """The items as JSON in ASCII, as few messages as the queue's limit allows, none cut."""
    group: list[str] = []
    size = 0
    for item in items:
        text = json.dumps(item, separators=(",", ":"), default=_base64)
        if group and size + len(text) > MESSAGE_BYTES - 100:
            yield _together(group)
            group, size = [], 0
        group.append(text)
        size += len(text) + 1
    yield _together(group)


def _together(group: Sequence[str]) -> str:
    return f'{{"items":[{",".join(group)}]}}'


def _base64(value: object) -> str:
    if not isinstance(value, bytes):
        raise TypeError(f"{type(value).__name__} has no place in an item")
    return base64.b64encode(value).decode()


def _beside(text: str) -> str:
    body = text.encode()
    key = layout.spilled(clock.now().date(), hashlib.sha256(body).hexdigest())
    doors.spilling(S3).put(f"/{settings.settings()[settings.LAKE_BUCKET]}/{key}", body)
    return key


def drain(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Put into the ledger what waits in the queue; a message stays there until the ledger has all of it.

    Source: AWS Lambda, "Implementing partial batch responses" for Amazon SQS.
    """
    records = event.get("Records", ())
    busy: tuple[type[Exception], ...] = (TryAgain, *doors.outages())
    again: list[str] = []
    unreadable = stored = 0
    for place, record in enumerate(records):
        try:
            items = _items_of(record["body"])
            doors.ledger().store(items)
        except busy:
            # The table is busy still: the other messages wait too, instead of adding to it.
            again += [one["messageId"] for one in records[place:]]
            break
        except (BadShape, *UNREADABLE):
            # No retry mends it: after its last delivery it lies among the dead letters, whole, and alarms.
            unreadable += 1
            again.append(record["messageId"])
        else:
            stored += len(items)
    observe.note(context, "drained", messages=len(records), items=stored, again=len(again), unreadable=unreadable)
    return {"batchItemFailures": [{"itemIdentifier": name} for name in again]}


def _items_of(body: str) -> list[Item]:
    """The items of a message, with their bytes as bytes.

    Errors: BadShape when the message is none of ours.
    """
    content = json.loads(body)
    if "key" in content:
        content = json.loads(doors.lake().get(content["key"]))
    items = content["items"]
    for item in items:
        if item[schema.KIND]["S"] not in (schema.PACKET, schema.FAILED) or not item[schema.PK]["S"]:
            raise BadShape("a spilled item is neither a packet nor a failed event")
        if "B" in item[schema.BODY]:
            item[schema.BODY] = {"B": binary(item[schema.BODY])}
    return list(items)
