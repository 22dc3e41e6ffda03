"""Clients as people install them, unmodified, against the real handlers: every event once, whatever the way is like."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

import pytest
from rudderstack.analytics.client import Client as RudderClient

from tests.functions.conftest import Account
from tests.functions.gateway import KEY, basic
from tests.system.conftest import node
from tests.system.gateway import Gateway, Outage

NODE_CALLS = ("identify", "group", "page")


def ids(account: Account) -> Counter[str]:
    """How often each message id stands in the ledger."""
    return Counter(str(record["id"]).removeprefix("demo/beacon/") for record in account.records())


# RudderStack for servers.


def test_every_event_of_rudders_node_sdk_arrives_once(gateway: Gateway, account: Account) -> None:
    node("send_rudder.mjs", gateway.url, KEY, "25", "r-")
    assert ids(account) == Counter([*(f"r-{number}" for number in range(25)), *(f"r-{call}" for call in NODE_CALLS)])
    for post in gateway.posts:
        assert post.path == "/v1/batch"
        assert post.headers["content-type"] == "application/x-www-form-urlencoded", "and yet it is packed JSON"
        assert post.body.startswith(b"\x1f\x8b")
        assert post.headers["authorization"] == basic(KEY)


@pytest.mark.parametrize("packed", [True, False], ids=["gzip, as it is set", "plain"])
def test_every_event_of_rudders_python_sdk_arrives_once(gateway: Gateway, account: Account, packed: bool) -> None:
    problems, _ = through_rudder_python(gateway, gzip=packed)
    assert problems == []
    assert ids(account) == Counter([*(f"p-{number}" for number in range(25)), "p-identify"])
    assert all(post.body.startswith(b"\x1f\x8b") is packed for post in gateway.posts)
    assert all(post.headers["authorization"] == basic(KEY) for post in gateway.posts)


def through_rudder_python(gateway: Gateway, key: str = KEY, **options: Any) -> tuple[list[Exception], Any]:
    problems: list[Exception] = []
    client = RudderClient(
        key, host=gateway.url, upload_size=10, on_error=lambda error, batch: problems.append(error), **options
    )
    for number in range(25):
        client.track(anonymous_id=f"p-v{number % 4}", event="Manual Read", message_id=f"p-{number}")
    client.identify(user_id="p-user", traits={"email": "p@sdk.example"}, message_id="p-identify")
    client.flush()
    client.join()
    return problems, client


OUTAGES = [
    pytest.param([Outage(429, "1"), Outage(429)], id="busy, with and without Retry-After"),
    pytest.param([Outage(503, "1"), Outage(500)], id="down"),
    pytest.param([Outage(503, "1", stored=True)], id="stored, but the answer is lost"),
]


@pytest.mark.parametrize("outages", OUTAGES)
@pytest.mark.parametrize("sdk", ["node", "python"])
def test_an_outage_costs_rudders_sdks_nothing_and_makes_no_event_two(
    gateway: Gateway, account: Account, sdk: str, outages: list[Outage]
) -> None:
    gateway.outages.extend(outages)
    if sdk == "node":
        node("send_rudder.mjs", gateway.url, KEY, "5", "r-")
        expected = {*(f"r-{number}" for number in range(5)), *(f"r-{call}" for call in NODE_CALLS)}
    else:
        assert through_rudder_python(gateway)[0] == []
        expected = {*(f"p-{number}" for number in range(25)), "p-identify"}
    assert set(ids(account)) == expected
    assert [post.status for post in gateway.posts][: len(outages)] == [outage.status for outage in outages]


def test_a_refusal_tells_rudders_python_sdk_why_and_is_not_repeated(gateway: Gateway) -> None:
    problems, _ = through_rudder_python(gateway, key="pk_nobody_12345678")
    assert {post.status for post in gateway.posts} == {401}
    assert len(gateway.posts) == len(problems) == 3, "one for each batch"
    assert "this write key belongs to no site" in str(problems[0])
