"""The Events table: facts are appended here and never changed.

pk is the subject of a packet, V#site#visitor, I#identifier or D#site#deal; sk is received_at#packet_id. What could
not be used lies under X#day#shard.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from closedloop.errors import BadShape, NotDurable
from closedloop.events.packet import Packet, decode, encode
from closedloop.events.times import iso
from closedloop.store import schema
from closedloop.store.calls import CallFailed, Dynamo, binary

BATCH = 25
# How often what DynamoDB leaves undone of one batch is sent again, and how long a request may try in all.
ROUNDS = 5
BUDGET_S = 3.0

Item = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class FailedEvent:
    """Something accepted that proved unusable: its bytes, why, and which code said so.

    Shapes: `payload` is the outside bytes or the stored item as JSON.
    """

    reason: str
    handler: str
    code_version: str
    received_at: datetime
    payload: bytes


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
        """Keep what cannot be used, with its bytes and the reason, so that nothing is lost."""
        name = hashlib.sha256(failed.payload).hexdigest()[:32]
        day, shard = f"{failed.received_at:%Y-%m-%d}", name[0]
        item = {
            schema.PK: {"S": f"X#{day}#{shard}"},
            schema.SK: {"S": f"{iso(failed.received_at)}#{name}"},
            schema.KIND: {"S": schema.FAILED},
            "reason": {"S": failed.reason[:1000]},
            "handler": {"S": failed.handler},
            "code_version": {"S": failed.code_version},
            "received_at": {"S": iso(failed.received_at)},
            schema.BODY: {"B": failed.payload[:350_000]},
            schema.TTL: {"N": str(int((failed.received_at + schema.FAILED_TTL).timestamp()))},
        }
        self.store([item])

    def failed(self, day: str) -> Iterator[FailedEvent]:
        """What failed on a day, as 2026-11-24."""
        for shard in "0123456789abcdef":
            for item in self._items(f"X#{day}#{shard}"):
                yield FailedEvent(
                    item["reason"]["S"],
                    item["handler"]["S"],
                    item["code_version"]["S"],
                    datetime.fromisoformat(item["received_at"]["S"]),
                    binary(item[schema.BODY]),
                )


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
