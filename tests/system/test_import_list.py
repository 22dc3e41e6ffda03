"""A list dropped into the lake's bucket: S3 tells the queue, the queue calls the function, the profiles follow."""

from __future__ import annotations

import time
from typing import Any

import boto3
import pytest

from tests.system.conftest import ROOT, SITE, System

pytestmark = pytest.mark.system
EXAMPLES = ROOT / "examples/imports"


def imports(system: System, source: str, state: str, within_s: float = 120) -> list[dict[str, Any]]:
    """The imports of a source once one is in this state."""
    deadline = time.monotonic() + within_s
    while True:
        found = [one for one in system.closedloop("import", "list") if one["source"] == source]
        if any(one["state"] == state for one in found) or time.monotonic() > deadline:
            return found
        time.sleep(1)


def test_a_dropped_list_becomes_facts_and_an_undone_one_leaves_the_live_profiles_as_the_ledger_has_them(
    system: System,
) -> None:
    folder = system.closedloop("import", "mapping", str(EXAMPLES / "dealer.yaml"), "--site", SITE)["drop_files_into"]
    bucket, _, prefix = folder.removeprefix("s3://").partition("/")
    s3 = boto3.client(
        "s3", endpoint_url=system.deployed.aws_endpoint_url, region_name=system.deployed.region,
        aws_access_key_id="test", aws_secret_access_key="test",
    )
    s3.put_object(Bucket=bucket, Key=f"{prefix}slips.csv", Body=(EXAMPLES / "dealer.csv").read_bytes())
    (dropped,) = imports(system, "kanto-dealer", "done")
    assert (dropped["state"], dropped["counts"]["new"]) == ("done", 3)
    command = ("import", "people", str(EXAMPLES / "group-company.csv"), "--map", str(EXAMPLES / "group-company.yaml"))
    taken = system.closedloop(*command, "--site", SITE)
    assert taken["new"] == 3
    standing = system.closedloop("replay", "--wait-s", "120")
    assert (standing["stale"], standing["archived_events"]) == (0, standing["events"])
    hanako = ("person", "show", "--email", "hanako.mizuno@minato-water.example", "--site", SITE)
    assert {"industry", "corporate_number"} <= set(system.closedloop(*hanako)["attributes"])
    assert system.closedloop("import", "undo", taken["import"])["retracted"] == 3
    standing = system.closedloop("replay", "--wait-s", "120")
    assert (standing["stale"], standing["archived_events"]) == (0, standing["events"])
    shown = system.closedloop(*hanako)
    assert shown["attributes"] == {}
    assert len(shown["deals"]) == 2
