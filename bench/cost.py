"""What a nightly run over a million people costs, by the requests that a run really makes and a dated price list.

The run is the product's own select, decide and close, on moto's tables and files: counted for a tenth of a shard, not
timed. How long a call to DynamoDB takes in AWS is an input, as nobody can know it here.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from math import ceil
from pathlib import Path
from typing import Any

import boto3
from moto import mock_aws

from bench import traffic
from bench.endpoint import Endpoint
from bench.packages import ROOT
from bench.protocol import Figure, Row
from bench.units import item_bytes, write_units
from bench.updates import tables
from bench.wru import profile
from closedloop.lake.files import Files
from closedloop.lake.runs import SHARD, RunFiles
from closedloop.loops.flow import close, decide_shard, select
from closedloop.store import schema
from closedloop.store.boto import BotoCalls
from closedloop.store.state import State

MILLION = 1_000_000
# USD, us-east-1, list prices of 2026-11-23 (Lambda on arm64), free tiers not counted.
# Source: performance reference 4.2 and 6.
READ_UNIT, WRITE_UNIT = 0.125 / MILLION, 0.625 / MILLION
PUT, GET = 5.0 / MILLION, 0.4 / MILLION
TRANSITION, EXPRESS, EXPRESS_GB_S = 25.0 / MILLION, 1.0 / MILLION, 0.00001667
LAMBDA, LAMBDA_GB_S = 0.2 / MILLION, 0.0000133334
# Milliseconds of one call to DynamoDB from Lambda, with its own work: assumed, not measured.
CALL_MS = 5.0
DECIDE_GB = 1.0
EXPRESS_GB = 0.064
WANTED = 0.10
PEOPLE, A_SHARD_IS = SHARD // 10, 10
MACHINE = ROOT / "infra" / "workflows" / "stage_transitions.asl.json"


class Counted:
    """A table's calls, and the read and write units that they are billed with."""

    def __init__(self, dynamo: BotoCalls) -> None:
        self._dynamo = dynamo
        self.spent: Counter[str] = Counter()

    def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        answer = self._dynamo.call(operation, parameters)
        self.spent["calls"] += 1
        if operation in ("GetItem", "Query"):
            items = answer.get("Items", [answer["Item"]] if "Item" in answer else [])
            size = sum(map(item_bytes, items))
            self.spent["bytes"] += size
            pages = max(1, ceil(size / 4096))
            self.spent["read units"] += pages if parameters.get("ConsistentRead") else pages / 2
        elif operation == "TransactWriteItems":
            # Prepared and committed: each is written twice, a checked item too.
            for write in parameters["TransactItems"]:
                self.spent["write units"] += 2 * _units(next(iter(write.values())))
        elif operation in ("PutItem", "UpdateItem"):
            self.spent["write units"] += _units(parameters)
        else:
            raise AssertionError(f"a run calls {operation}")
        return answer


def _units(write: Mapping[str, Any]) -> int:
    """Write units of one write; a due mark put on or taken off is written in its index too."""
    touches_index = schema.DUE in write.get("Item", {}) or "REMOVE" in write.get("UpdateExpression", "")
    return write_units(max(1, item_bytes(write.get("Item", {})))) + touches_index


def transitions() -> tuple[float, float, float]:
    """State transitions of a child, those of a whole run, and how many shards a child takes, by the definition."""
    states = json.loads(MACHINE.read_text())["States"]
    shards = states["EachShard"]
    child = shards["ItemProcessor"]
    batch = float(shards.get("ItemBatcher", {}).get("MaxItemsPerBatch", 1))
    on_the_way = sum(state["Type"] != "Fail" for state in child["States"].values())
    # A substitution, for an interpreter that knows no Express children; what is deployed is Express.
    express = child["ProcessorConfig"]["ExecutionType"] != "STANDARD"
    ends = sum(state["Type"] != "Fail" and name != "NobodyDue" for name, state in states.items())
    return (1.0 if express else 1.0 + on_the_way), float(ends), batch


def _night(client: Any, s3: Any, people: int, changed: int) -> dict[str, float]:
    """What a shard of one night spends, of whose people so many in a tenth of it have just come in."""
    counted = Counted(BotoCalls(client))
    state, files = State(counted, "state", lambda: traffic.PEPPER), RunFiles(Files(s3, "lake"))
    now = traffic.NOW
    loops, sites = [traffic.loop()], {"demo": traffic.site()}
    for number in range(people):
        one = profile(1 + number % 60, number)
        state.put_profile(one, 0, now)
    everybody = sorted(state.people(sites["demo"].list_name))
    # The evening before everybody was decided, but for those who are new.
    select("evening", everybody[changed:], state, files, now)
    decide_shard("evening", 0, state, files, loops, sites, now)
    for person in everybody[:changed]:
        state.settle(person, 1, now)
    counted.spent.clear()
    asked: Counter[str] = Counter()

    def note(model: Any, **_: Any) -> None:
        asked[model.name] += 1

    s3.meta.events.register("before-call.s3", note, unique_id="cost")
    selected = select("night", (), state, files, now, [sites["demo"].list_name])
    # Long pages are read of a long list, so their bytes count; the due and the run's own record weigh nothing.
    listed = counted.spent["bytes"] / 4096
    counted.spent.clear()
    decided = decide_shard("night", 0, state, files, loops, sites, now)
    # The mails and notices themselves are no matter of the run.
    for person in files.to_act_on("night", 0):
        state.to_do(person)
    each = Counter({name: A_SHARD_IS * units for name, units in counted.spent.items()})
    files.put_performed("night", 0, {"counts": {}})
    close("night", state, files, now)
    s3.meta.events.unregister("before-call.s3", unique_id="cost")
    assert selected["selected"] == people and decided["counts"]["unchanged"] == people - changed, decided
    return {**each, "read units": each["read units"] + A_SHARD_IS * listed,
            "puts": asked["PutObject"] - 1, "gets": asked["GetObject"] - 1}


def _dollars(spent: Mapping[str, float]) -> dict[str, float]:
    """What a million people cost, by what is paid for, when a thousand spend this."""
    shards = MILLION / SHARD
    child, whole, batch = transitions()
    seconds = spent["calls"] * CALL_MS / 1000
    express = child == 1.0
    return {
        "reads": spent["read units"] * READ_UNIT * shards,
        "writes": spent.get("write units", 0) * WRITE_UNIT * shards,
        "files": (spent["puts"] * PUT + spent["gets"] * GET) * shards,
        "transitions": (child / batch * shards + whole) * TRANSITION
        + (EXPRESS / batch + seconds * EXPRESS_GB * EXPRESS_GB_S) * shards * express,
        "functions": (2 * LAMBDA / batch + seconds * DECIDE_GB * LAMBDA_GB_S) * shards,
    }


def rows(samples: int, work: Path, endpoint: Endpoint) -> list[Row]:
    found = []
    for changed, wanted in ((0, ("value", "<=", WANTED)), (PEOPLE // 20, None)):
        with mock_aws():
            session = boto3.Session(
                aws_access_key_id="testing", aws_secret_access_key="testing", region_name="us-east-1"
            )
            client, s3 = session.client("dynamodb"), session.client("s3")
            tables(client)
            s3.create_bucket(Bucket="lake")
            parts = _dollars(_night(client, s3, PEOPLE, changed))
        case = f"{100 * changed / PEOPLE:g} % have just come in, the others stay where they are"
        found += [
            Row("cost", case, "USD/million people", Figure("ours", (sum(parts.values()),)), None, wanted),
            *(Row("cost", f"- {name}", "USD/million people", Figure("ours", (part,))) for name, part in parts.items()),
        ]
    child, whole, batch = transitions()
    per_thousand = (child / batch * (MILLION / SHARD) + whole) / (MILLION / 1000)
    found.append(Row("cost", "state transitions for a thousand people, of a million", "transitions",
                     Figure("ours", (per_thousand,))))
    return found
