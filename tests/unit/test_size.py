"""What a beacon costs that can be counted: calls, write units, modules. Nothing here looks at a clock."""

from __future__ import annotations

import json
import subprocess
import sys
import sysconfig
from collections.abc import Mapping
from typing import Any

import pytest

from bench import wru
from bench.endpoint import Endpoint
from bench.packages import ROOT
from bench.traffic import PEPPER, gateway_event, requests, sent_facts, site
from bench.units import item_bytes, write_units

SEEDS = range(20)
TOO_DEAR = {
    "altair", "aws_xray_sdk", "boto3", "botocore", "django", "duckdb", "jinja2", "multiprocessing", "numpy", "pandas",
    "pyarrow", "s3transfer", "scipy", "vl_convert",
}


def units(items: list[Mapping[str, Any]]) -> int:
    return sum(write_units(item_bytes(item)) for item in items)


@pytest.mark.parametrize(
    ("item", "size"),
    [
        ({"pk": {"S": "V#demo"}}, 8),
        ({"pk": {"S": "水"}}, 5),
        ({"n": {"N": "1779494400"}}, 7),
        ({"n": {"N": "-12.5"}}, 4),
        ({"b": {"B": b"12345"}}, 6),
        ({"b": {"B": "MTIzNDU="}}, 6),
        ({"t": {"BOOL": True}, "z": {"NULL": True}}, 4),
        ({"m": {"M": {"a": {"S": "b"}}}}, 7),
        ({"l": {"L": [{"S": "ab"}, {"S": "c"}]}}, 9),
    ],
)
def test_an_item_weighs_what_the_developer_guide_says(item: dict[str, Any], size: int) -> None:
    assert item_bytes(item) == size


@pytest.mark.parametrize(("size", "expected"), [(1, 1), (1024, 1), (1025, 2), (3072, 3)])
def test_a_started_kilobyte_is_a_whole_unit(size: int, expected: int) -> None:
    assert write_units(size) == expected


@pytest.mark.parametrize("size", [1, 10, 25])
def test_a_beacon_writes_once(size: int) -> None:
    for seed in SEEDS:
        assert [operation for operation, _ in wru.captured(size, seed).calls] == ["PutItem"]


@pytest.mark.parametrize(("size", "most"), [(1, 2), (10, 2), (25, 4)])
def test_a_beacons_packet_stays_small(size: int, most: int) -> None:
    for seed in SEEDS:
        assert units(wru.captured(size, seed).put) <= most


def test_ten_events_and_the_profile_they_change_cost_half_a_unit_each() -> None:
    for seed in SEEDS:
        written = [*wru.captured(10, seed).put, wru.profile_item(wru.profile(wru.USUAL, seed))]
        assert units(written) <= 0.5 * 10


def test_a_first_beacon_imports_nothing_that_a_cold_start_must_not_pay_for() -> None:
    visitor, text, events, agent = next(requests(1, 10, seed=1))
    event = gateway_event(text, visitor, "text/plain;charset=UTF-8", agent)
    folders = [ROOT / "functions/capture_beacon", ROOT / "layers/closedloop/python", sysconfig.get_path("purelib")]
    program = f"""
import json, sys
sys.path[:0] = {[str(folder) for folder in folders]!r}
import handler
answer = handler.handle(json.loads(sys.stdin.read()), None)
print()
print(json.dumps([answer["statusCode"], sorted(sys.modules)]))
"""
    with Endpoint(site().model_dump_json(by_alias=True), site().site, PEPPER.decode()) as endpoint:
        done = subprocess.run(
            [sys.executable, "-I", "-S", "-B", "-c", program], input=json.dumps(event), text=True, check=True,
            capture_output=True, env=endpoint.environment(),
        )
        stored = endpoint.taken()
    status, modules = json.loads(done.stdout.splitlines()[-1])
    assert status == 200
    assert stored["facts"] == sent_facts(events)
    assert sum(stored["calls"].values()) == 1
    assert not [name for name in modules if name.startswith(("closedloop.loops", "closedloop.profiles", "msgspec"))]
    tops = {name.partition(".")[0] for name in modules}
    assert not tops & TOO_DEAR
    assert not [name for name in modules if name.startswith("aws_lambda_powertools.") and "event_handler" in name]
