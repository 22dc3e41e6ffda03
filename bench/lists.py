"""What it takes to read, match and plan a list of 100,000 people: seconds of a core and memory of a fresh process.

DynamoDB is answered from memory: half of the people are known by their address, a tenth by their customer number. What
a run writes is not in it, nor the time that a real table takes to answer.
"""

from __future__ import annotations

import json
import random
import resource
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench import traffic
from bench.endpoint import Endpoint
from bench.packages import ROOT
from bench.protocol import Figure, Row
from closedloop.capture.lists.flow import Doors, Head, take_list
from closedloop.capture.lists.mapping import Mapping as ListMapping
from closedloop.events.identifiers import Hasher
from closedloop.identity.persons import person_id
from closedloop.sites.document import Document
from closedloop.store.lists import Lists

PEOPLE = 100_000
# Both hold for the whole run on two cores; one core does it all here.
MOST_S, MOST_MB = 30.0, 300.0
SURNAMES = ("佐藤", "鈴木", "高橋", "田中", "伊藤", "渡辺", "山本", "中村", "小林", "加藤")
NAMES = ("陽菜", "蓮", "結衣", "湊", "葵", "大和", "芽依", "悠真", "莉子", "朝陽")


def a_list(people: int) -> bytes:
    """A list of a group's company in its own code page, as `examples/imports/group-company.yaml` maps it."""
    rng = random.Random(7)
    lines = ["顧客番号,姓,名,セイ,メイ,会社名,法人番号,業種,従業員数,電話番号,メールアドレス,登録日,メール配信"]
    for number in range(people):
        day = f"{rng.randint(2001, 2025)}/{rng.randint(1, 12):02d}/{rng.randint(1, 28):02d}"
        lines.append(
            f"S-{number:06d},{rng.choice(SURNAMES)},{rng.choice(NAMES)},ｻﾄｳ,ﾊﾅｺ,㈱港{number % 4000}水道,"
            f"7000012050002,{rng.choice(('化学', '水道', '食品'))},{rng.randint(1, 3000)},"
            f"０３－{rng.randint(3000, 6999)}－{rng.randint(0, 9999):04d},"
            f"p{number}@company{number % 4000}.example,{day},"
            f"{rng.choice(('希望する', '希望しない'))}"
        )
    return ("\r\n".join(lines) + "\r\n").encode("cp932")


class Remembered:
    """DynamoDB as far as a plan asks it: which persons there are."""

    def __init__(self, persons: frozenset[str]) -> None:
        self._persons = persons

    def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        ((table, asked),) = parameters["RequestItems"].items()
        return {"Responses": {table: [item for item in asked["Keys"] if item["pk"]["S"] in self._persons]}}


class NoImports:
    """A journal without an entry."""

    def heads(self, site: str = "", kind: str = "", source: str = "") -> list[Head]:
        return []


def measured() -> None:
    """Plan the list in this process; one line of JSON with seconds and megabytes."""
    path = ROOT / "examples/imports/group-company.yaml"
    mapping = Document(path.read_bytes(), path.name).read_as(ListMapping)
    site, content = traffic.site(), Path(sys.argv[1]).read_bytes()
    hasher = Hasher(traffic.PEPPER, site.list_name)
    named = [hasher.address(f"p{number}@company{number % 4000}.example") for number in range(0, PEOPLE, 2)]
    named += [hasher.customer(f"S-{number:06d}", "northwind-service") for number in range(1, PEOPLE, 10)]
    lists = Lists(Remembered(frozenset(f"P#{person_id(name)}" for name in named if name)), "state")
    doors = Doors(None, NoImports(), lists, lists, traffic.PEPPER, lambda: traffic.NOW)  # type: ignore[arg-type]
    before_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    began_s, began_cpu_s = time.perf_counter(), time.process_time()
    report = take_list(content, mapping, site, doors, dry_run=True)
    assert report.counts["new"] == PEOPLE, report.counts
    assert report.why["by address"] == PEOPLE // 2, report.why
    print(json.dumps({
        "cpu_s": time.process_time() - began_cpu_s, "wall_s": time.perf_counter() - began_s, "before_mb": before_mb,
        "mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }))


def rows(samples: int, work: Path, endpoint: Endpoint) -> list[Row]:
    file = work / "list.csv"
    file.write_bytes(a_list(PEOPLE))
    command = [sys.executable, "-c", "from bench.lists import measured; measured()", str(file)]
    taken = [
        json.loads(subprocess.run(command, cwd=ROOT, capture_output=True, check=True).stdout) for _ in range(samples)
    ]
    case = f"{PEOPLE:,} people, {file.stat().st_size / 1e6:.0f} MB in code page 932, half of them known"
    cpu, peak = (Figure(name, tuple(one[name] for one in taken)) for name in ("cpu_s", "mb"))
    return [
        Row("lists", case, "core-s", cpu, None, ("value", "<=", MOST_S)),
        Row("lists", "the same: peak memory of the process", "MB", peak, None, ("value", "<=", MOST_MB)),
    ]
