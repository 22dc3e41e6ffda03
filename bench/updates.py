"""What a profile's update costs: reads and writes of State for k events of one visitor in a batch of the stream.

Counted on moto's tables with all their conditions, nothing is timed: somebody of thirty events comes back. With a name
in every event as an app sends it, or by the cookie alone; in one packet, or in as many as there are events.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import boto3
from moto import mock_aws

from bench import traffic
from bench.endpoint import Endpoint
from bench.protocol import Figure, Row
from bench.rebuild import template
from bench.units import item_bytes, write_units
from closedloop.events.packet import Packet
from closedloop.profiles.flow import project
from closedloop.store import schema
from closedloop.store.boto import BotoCalls
from closedloop.store.ledger import Ledger
from closedloop.store.state import State

SIZES = (1, 2, 5, 10, 25)
READS, WRITES = frozenset(("GetItem", "Query")), frozenset(("PutItem", "UpdateItem", "TransactWriteItems"))


class Counted:
    """A table's calls, counted, and what the written items weigh."""

    def __init__(self, dynamo: BotoCalls) -> None:
        self._dynamo = dynamo
        self.reads = self.writes = self.units = 0

    def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        self.reads += operation in READS
        if operation in WRITES:
            # A transaction is prepared and committed: each of its items is written twice.
            puts = [write["Put"] for write in parameters.get("TransactItems", ())] or [parameters]
            self.writes += len(puts)
            self.units += sum(write_units(item_bytes(put.get("Item", {}))) for put in puts) * (1 + (len(puts) > 1))
        return self._dynamo.call(operation, parameters)


def _come_back(person: int, size: int, named: bool, alone: bool) -> list[Packet]:
    """A visit of so many events, a week after the last; in one packet or each alone."""
    browser, node, before = template(person)
    begin = before[-1].received_at + timedelta(days=7)
    records = [
        {
            "id": f"demo/beacon/{sent['messageId']}", "type": sent["type"], "name": sent.get("event", ""),
            "at": sent["timestamp"], "visitor": browser, **({"ids": [node]} if named else {}),
            "properties": sent["properties"], "context": sent["context"],
        }
        for sent in traffic.visit(Random(person), browser, size, begin)
    ]
    parts = [[record] for record in records] if alone else [records]
    return [
        Packet(before[-1].subject, "demo", before[-1].door, begin + timedelta(minutes=5), tuple(part),
               headers={"agent": "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/131.0.0.0 Safari/537.36"})
        for part in parts
    ]


def _update(client: Any, person: int, packets: Sequence[Packet]) -> tuple[int, int, int]:
    """Reads, writes and write units of State for a batch, after what was known of the person before."""
    counted = Counted(BotoCalls(client))
    state, ledger = State(counted, "state", lambda: traffic.PEPPER), Ledger(BotoCalls(client), "events", lambda _: None)
    sites, now = {"demo": traffic.site()}, packets[-1].received_at
    for batch in (template(person)[2], packets):
        ledger.append(batch)
        counted.reads = counted.writes = counted.units = 0
        arrived = [(str(number), packet, packet.events) for number, packet in enumerate(batch)]
        assert not project(arrived, state, ledger, sites, lambda: now).again
    return counted.reads, counted.writes, counted.units


def tables(client: Any) -> None:
    texts = (schema.PK, schema.SK, schema.DUE, schema.DUE_AT)
    keys = [{"AttributeName": name, "KeyType": kind} for name, kind in zip(texts, ("HASH", "RANGE") * 2, strict=True)]
    for table in ("events", "state"):
        client.create_table(
            TableName=table, BillingMode="PAY_PER_REQUEST", KeySchema=keys[:2],
            AttributeDefinitions=[{"AttributeName": name, "AttributeType": "S"} for name in texts],
            GlobalSecondaryIndexes=[{
                "IndexName": schema.BY_DUE, "KeySchema": keys[2:], "Projection": {"ProjectionType": "ALL"},
            }],
        )


def rows(samples: int, work: Path, endpoint: Endpoint) -> list[Row]:
    found, person = [], 0
    with mock_aws():
        client = boto3.client(
            "dynamodb", region_name="eu-central-1", aws_access_key_id="testing", aws_secret_access_key="testing"
        )
        tables(client)
        for named, alone, how in (
            (False, False, "by the cookie, one packet"), (False, True, "by the cookie, k packets"),
            (True, True, "named in each, k packets"),
        ):
            for size in SIZES:
                costs = []
                for _ in range(samples):
                    costs.append(_update(client, person, _come_back(person, size, named, alone)))
                    person += 1
                reads, writes, units = (tuple(float(cost[part]) / size for cost in costs) for part in range(3))
                case, most = f"k = {size}, {how}", 1 / size + 0.01
                found += [
                    Row("updates", case, "writes/event", Figure("ours", writes), None, ("value", "<=", most)),
                    Row("updates", case, "WRU/event", Figure("ours", units)),
                    Row("updates", case, "reads/event", Figure("ours", reads)),
                ]
    return found
