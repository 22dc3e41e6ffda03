"""The Events table: facts are appended here and never changed.

pk is the subject of a packet, V#site#visitor, I#identifier or D#site#deal; sk is received_at#packet_id. What could
not be used lies under X#day#shard.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any

from closedloop.errors import BadShape, NotDurable
from closedloop.events.failed import FailedEvent, FailedKind
from closedloop.events.packet import Packet, decode, encode
from closedloop.events.times import iso, parse
from closedloop.store import schema
from closedloop.store.calls import CallFailed, Dynamo, binary

BATCH = 25
# How often what DynamoDB leaves undone of one batch is sent again, and how long a request may try in all.
ROUNDS = 5
BUDGET_S = 3.0
# An item holds 400 KB; the bytes of a failed event that are more, even packed, go on in further items.
PART_BYTES = 350_000

Item = Mapping[str, Any]


def subject_of(node: str) -> str:
    """The partition of a node's own packets."""
    if node.startswith("v:"):
        return "V#" + node[2:].replace(":", "#", 1)
    if node.startswith("deal:"):
        return "D#" + node[5:].replace(":", "#", 1)
    return f"I#{node}"


class Ledger:
    """Appends packets and reads them back by subject.

    Shapes: `spill` keeps items durably elsewhere when the table does not take them now; without it they are refused.
    Units: `clock` in seconds.
    Errors: NotDurable when the facts could not be stored; CallFailed on reading.
    """

    def __init__(
        self, dynamo: Dynamo, table: str, wait: Callable[[int], None],
        spill: Callable[[Sequence[Item], str], None] | None = None, clock: Callable[[], float] = lambda: 0.0,
    ) -> None:
        self._dynamo = dynamo
        self._table = table
        self._wait = wait
        self._spill = spill
        self._clock = clock

    def append(self, packets: Sequence[Packet]) -> None:
        """Store packets durably, in one call for up to 25 of them."""
        self.store([packet_item(packet) for packet in packets])

    def store(self, items: Sequence[Item]) -> None:
        """Store items durably; whatever the table has not taken when it fails, or when time is over, is spilled."""
        # BatchWriteItem refuses the same key twice; the same request repeated within itself is one packet.
        left = list({(item[schema.PK]["S"], item[schema.SK]["S"]): item for item in items}.values())
        began, attempt = self._clock(), 0
        while left:
            try:
                undone = self._put(left[:BATCH])
            except CallFailed as error:
                self._put_elsewhere(left, error.code, error)
                return
            left = [*undone, *left[BATCH:]]
            attempt = attempt + 1 if undone else 0
            if left and (attempt == ROUNDS or self._clock() - began > BUDGET_S):
                self._put_elsewhere(left, "UnprocessedItems")
                return
            if attempt:
                self._wait(attempt)

    def _put(self, items: Sequence[Item]) -> list[Item]:
        """Write up to 25 items; those that DynamoDB left undone."""
        if len(items) == 1:
            self._dynamo.call("PutItem", {"TableName": self._table, "Item": items[0]})
            return []
        puts = {self._table: [{"PutRequest": {"Item": item}} for item in items]}
        undone = self._dynamo.call("BatchWriteItem", {"RequestItems": puts}).get("UnprocessedItems") or {}
        return [one["PutRequest"]["Item"] for one in undone.get(self._table, ())]

    def _put_elsewhere(self, items: Sequence[Item], why: str, cause: Exception | None = None) -> None:
        if self._spill is None:
            raise NotDurable(f"the ledger did not take {len(items)} items: {why}") from cause
        self._spill(items, why)

    def packets(self, node: str) -> Iterator[Packet]:
        """Every packet of a node, in order of receipt, as it is at this moment.

        Shapes: what cannot be read is left out; it was kept as a failed event when it arrived, and one such packet
        must not hold up all that a person does later.
        """
        yield from _readable(self._items(subject_of(node)))

    def page(self, part: int, parts: int, after: Item | None = None) -> tuple[list[Item], Item | None]:
        """One page of all items of a part of the table, and after which key the next begins; for a rebuild alone."""
        scan: dict[str, Any] = {
            "TableName": self._table, "ConsistentRead": True, "Segment": part, "TotalSegments": parts,
        }
        answer = self._dynamo.call("Scan", {**scan, "ExclusiveStartKey": after} if after else scan)
        return list(answer.get("Items", ())), answer.get("LastEvaluatedKey") or None

    def about(self) -> int:
        """About how many items the table holds, as it was counted in the last hours."""
        return int(self._dynamo.call("DescribeTable", {"TableName": self._table})["Table"].get("ItemCount", 0))

    def every_packet(self) -> Iterator[Packet]:
        """All packets there are, by a scan: for an operator's checks and replays, never on a path of its own."""
        scan: dict[str, Any] = {
            "TableName": self._table,
            "ConsistentRead": True,
            "FilterExpression": "#kind = :packet",
            "ExpressionAttributeNames": {"#kind": schema.KIND},
            "ExpressionAttributeValues": {":packet": {"S": schema.PACKET}},
        }
        while True:
            answer = self._dynamo.call("Scan", scan)
            yield from _readable(answer.get("Items", ()))
            if not answer.get("LastEvaluatedKey"):
                return
            scan["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def every_item(self) -> Iterator[Item]:
        """All items there are, by a scan: for an operator's export or erasure alone."""
        scan: dict[str, Any] = {"TableName": self._table, "ConsistentRead": True}
        while True:
            answer = self._dynamo.call("Scan", scan)
            yield from answer.get("Items", ())
            if not answer.get("LastEvaluatedKey"):
                return
            scan["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def replace(self, item: Item, packets: Sequence[Packet]) -> None:
        """Take an item out, and put in first what stays of it, perhaps in its own place."""
        key = {name: item[name] for name in (schema.PK, schema.SK)}
        kept = [packet_item(packet) for packet in packets]
        for one in kept:
            self._put([one])
        if not any(key.items() <= one.items() for one in kept):
            self._dynamo.call("DeleteItem", {"TableName": self._table, "Key": key})

    def empty(self, packet: Packet, packets: Sequence[Packet], now: datetime) -> None:
        """Leave nothing of a packet but its key, which the table forgets by itself, and put in first what stays of it.

        Shapes: functions may not delete; DynamoDB removes what has expired within days.
        """
        for one in packets:
            self._put([packet_item(one)])
        kept = {name: value for name, value in packet_item(packet).items() if name in (schema.PK, schema.SK)}
        self._put([{**kept, schema.KIND: {"S": schema.EMPTIED}, schema.TTL: {"N": str(int(now.timestamp()))}}])

    def forget_failed(self, failed: FailedEvent) -> None:
        """Take a failed event out, with all its bytes."""
        begins = f"{iso(failed.received_at)}#{failed.name}"
        # The head goes last: as long as it is there, the event is found again.
        for item in sorted(self._items(_failed_pk(failed)), key=lambda item: str(item[schema.SK]["S"]), reverse=True):
            if item[schema.SK]["S"].startswith(begins):
                self.replace(item, ())

    def _items(self, pk: str) -> Iterator[Mapping[str, Any]]:
        query: dict[str, Any] = {
            "TableName": self._table,
            "ConsistentRead": True,
            "KeyConditionExpression": "#pk = :pk",
            "ExpressionAttributeNames": {"#pk": schema.PK},
            "ExpressionAttributeValues": {":pk": {"S": pk}},
        }
        while True:
            answer = self._dynamo.call("Query", query)
            yield from answer.get("Items", ())
            if not answer.get("LastEvaluatedKey"):
                return
            query["ExclusiveStartKey"] = answer["LastEvaluatedKey"]

    def fail(self, failed: FailedEvent) -> None:
        """Keep what cannot be used, with all its bytes and the reason, so that nothing is lost."""
        packed = zlib.compress(failed.payload)
        parts = [packed[start : start + PART_BYTES] for start in range(0, len(packed), PART_BYTES)]
        key = {schema.PK: {"S": _failed_pk(failed)}, schema.TTL: {"N": str(_until(failed))}}
        head = {
            **key,
            schema.SK: {"S": f"{iso(failed.received_at)}#{failed.name}"},
            schema.KIND: {"S": schema.FAILED},
            "why": {"S": failed.kind.value},
            "reason": {"S": failed.reason[:1000]},
            "site": {"S": failed.site},
            "door": {"S": failed.door},
            "handler": {"S": failed.handler},
            "code_version": {"S": failed.code_version},
            "received_at": {"S": iso(failed.received_at)},
            "sent": {"S": json.dumps(dict(failed.sent))},
            "parts": {"N": str(len(parts))},
            schema.BODY: {"B": parts[0]},
        }
        more = [
            {**key, schema.SK: {"S": f"{iso(failed.received_at)}#{failed.name}#{number}"}, schema.BODY: {"B": part},
             schema.KIND: {"S": schema.FAILED_PART}}
            for number, part in enumerate(parts[1:], 1)
        ]
        self.store([*more, head])

    def failed(self, day: str, name: str = "") -> list[FailedEvent]:
        """What failed on a day, as 2026-11-24, in order of receipt; or what of it has a name that begins so."""
        found = []
        for shard in name[:1] or "0123456789abcdef":
            items = {item[schema.SK]["S"]: item for item in self._items(f"X#{day}#{shard}")}
            for key, head in items.items():
                keys = [key, *(f"{key}#{number}" for number in range(1, _parts(head)))]
                # One of whose bytes a part is still on its way is told when it has come.
                if key.count("#") == 1 and key.partition("#")[2].startswith(name) and items.keys() >= set(keys):
                    found.append(failed_of([items[one] for one in keys]))
        return sorted(found, key=lambda one: (one.received_at, one.name))

    def mark_replayed(self, failed: FailedEvent, now: datetime) -> None:
        """Note that a failed event was told again with success; it stays until it is forgotten like all of them."""
        update = {
            "TableName": self._table,
            "Key": {
                schema.PK: {"S": _failed_pk(failed)},
                schema.SK: {"S": f"{iso(failed.received_at)}#{failed.name}"},
            },
            "UpdateExpression": "SET replayed_at = if_not_exists(replayed_at, :now)",
            "ConditionExpression": "attribute_exists(#pk)",
            "ExpressionAttributeNames": {"#pk": schema.PK},
            "ExpressionAttributeValues": {":now": {"S": iso(now)}},
        }
        self._dynamo.call("UpdateItem", update)


def _failed_pk(failed: FailedEvent) -> str:
    return f"X#{failed.received_at:%Y-%m-%d}#{failed.name[0]}"


def _until(failed: FailedEvent) -> int:
    return int((failed.received_at + schema.FAILED_TTL).timestamp())


def _parts(item: Item) -> int:
    return int(item["parts"]["N"]) if "parts" in item else 1


def failed_of(items: Sequence[Item]) -> FailedEvent:
    """The failed event of an item and of those that its bytes go on in.

    Shapes: what was kept before failed events had a type is read too. Errors: BadShape.
    """
    head = items[0]
    try:
        body = b"".join(binary(item[schema.BODY]) for item in items)
        if "parts" in head:
            return FailedEvent(
                FailedKind(head["why"]["S"]), head["reason"]["S"], head["site"]["S"], head["door"]["S"],
                head["handler"]["S"], head["code_version"]["S"], parse(head["received_at"]["S"]),
                _unpacked(body), json.loads(head["sent"]["S"]),
                parse(head["replayed_at"]["S"]) if "replayed_at" in head else None,
            )
        reason, handler = head["reason"]["S"], head["handler"]["S"]
        site, _, words = reason.partition(": ")
        door = handler.removeprefix("capture_") if handler.startswith("capture_") else ""
        kind = FailedKind.REFUSED if door else FailedKind.UNREADABLE
        return FailedEvent(
            kind, words if door else reason, site if door else "", door, handler, head["code_version"]["S"],
            parse(head["received_at"]["S"]), body,
        )
    except (KeyError, TypeError, ValueError, zlib.error) as error:
        raise BadShape(f"an item of the failed events cannot be read: {error!r}") from error


def _unpacked(body: bytes) -> bytes:
    """The bytes; of a first part alone, as a stream shows it, those that it holds."""
    return zlib.decompressobj().decompress(body)


def packet_item(packet: Packet) -> dict[str, Any]:
    """A packet as an item of the ledger."""
    body = encode(packet)
    return {
        schema.PK: {"S": packet.subject},
        schema.SK: {"S": f"{iso(packet.received_at)}#{packet.id}"},
        schema.KIND: {"S": schema.PACKET},
        "site": {"S": packet.site},
        "door": {"S": packet.door.value},
        "received_at": {"S": iso(packet.received_at)},
        "schema": {"N": str(packet.schema)},
        schema.BODY: {"B": body} if isinstance(body, bytes) else {"S": body},
        schema.TTL: {"N": str(int((packet.received_at + schema.EVENTS_TTL).timestamp()))},
    }


def packet_of(item: Mapping[str, Any]) -> Packet:
    """An item of the ledger, or of its stream, as the packet it is.

    Errors: BadShape.
    """
    try:
        body = item[schema.BODY]
        return decode(
            body["S"] if "S" in body else binary(body),
            subject=item[schema.PK]["S"],
            site=item["site"]["S"],
            door=item["door"]["S"],
            received_at=item["received_at"]["S"],
            schema=int(item["schema"]["N"]),
        )
    except (KeyError, TypeError, ValueError) as error:
        raise BadShape(f"an item of the ledger is no packet: {error!r}") from error


def _readable(items: Iterable[Mapping[str, Any]]) -> Iterator[Packet]:
    for item in items:
        try:
            yield packet_of(item)
        except BadShape:
            continue
