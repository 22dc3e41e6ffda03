"""The official SDKs of Segment and RudderStack for servers, unmodified: every call becomes one event.

That nothing is even stored twice while nothing goes wrong is asked in test_clients.py. Here a client's patience may end
before a busy emulator has answered; then it sends the same ids again, and one event is told twice.
"""

from __future__ import annotations

import pytest
from rudderstack.analytics.client import Client as RudderClient
from segment.analytics.client import Client

from tests.system.conftest import System, node

pytestmark = pytest.mark.system
KEY = "pk_demo_4f1c2a9b"


def arrived(system: System, prefix: str) -> set[str]:
    """The distinct message ids with this prefix in the ledger."""
    ids = (str(record["id"]).removeprefix("demo/beacon/") for record in system.records())
    return {name for name in ids if name.startswith(prefix)}


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
    assert arrived(system, name) == {*(f"{name}{number}" for number in range(60)), f"{name}identify"}


def test_every_event_of_the_node_sdk_arrives_once(system: System) -> None:
    node("send.mjs", system.deployed.endpoint, KEY, "60")
    assert arrived(system, "node-") == {*(f"node-{number}" for number in range(60)), "node-identify", "node-page"}


def test_every_event_of_rudders_node_sdk_arrives_once(system: System) -> None:
    node("send_rudder.mjs", system.deployed.endpoint, KEY, "25", "rudder-node-")
    assert arrived(system, "rudder-node-") == {
        f"rudder-node-{name}" for name in (*range(25), "identify", "group", "page")
    }


def test_every_event_of_rudders_python_sdk_arrives_once(system: System) -> None:
    problems: list[object] = []
    client = RudderClient(
        KEY, host=system.deployed.endpoint, upload_size=10, on_error=lambda error, batch: problems.append(error)
    )
    for number in range(25):
        client.track(anonymous_id=f"rudder-py-v{number % 4}", event="Manual Read", message_id=f"rudder-py-{number}")
    client.flush()
    client.join()
    assert problems == []
    assert arrived(system, "rudder-py-") == {f"rudder-py-{number}" for number in range(25)}
