"""Clients as people install them, unmodified, against the real handlers: every event once, whatever the way is like."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import pytest
from rudderstack.analytics.client import Client as RudderClient
from segment.analytics.client import Client as SegmentClient

from tests.accounts import Account
from tests.browsers import KEY as WRITE_KEY
from tests.browsers import Browser, Site
from tests.functions.gateway import KEY, basic
from tests.system.conftest import NODE_MODULES, node
from tests.system.gateway import OUTAGES, Gateway, Outage

NODE_CALLS = ("identify", "group", "page")


def ids(account: Account) -> Counter[str]:
    """How often each message id stands in the ledger."""
    return Counter(str(record["id"]).split("/", 2)[2] for record in account.records())


# Segment for servers.


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
def test_every_event_of_segments_python_sdk_arrives_once(gateway: Gateway, account: Account, packed: bool) -> None:
    assert through_segment_python(gateway, gzip=packed) == []
    assert ids(account) == Counter(f"s-{number}" for number in range(25))
    assert all(post.body.startswith(b"\x1f\x8b") is packed for post in gateway.posts)


def through_segment_python(gateway: Gateway, **options: Any) -> list[Exception]:
    problems: list[Exception] = []
    client = SegmentClient(
        KEY, host=gateway.by_number, upload_size=10, on_error=lambda error, batch: problems.append(error), **options
    )
    for number in range(25):
        client.track(anonymous_id=f"s-v{number % 4}", event="Manual Read", message_id=f"s-{number}")
    client.flush()
    client.join()
    return problems


def test_every_event_of_segments_node_sdk_arrives_once(gateway: Gateway, account: Account) -> None:
    node("send.mjs", gateway.by_number, KEY, "25")
    assert ids(account) == Counter([*(f"node-{number}" for number in range(25)), "node-identify", "node-page"])


# RudderStack for servers.


def test_every_event_of_rudders_node_sdk_arrives_once(gateway: Gateway, account: Account) -> None:
    node("send_rudder.mjs", gateway.by_number, KEY, "25", "r-")
    assert ids(account) == Counter([*(f"r-{number}" for number in range(25)), *(f"r-{call}" for call in NODE_CALLS)])
    for post in gateway.posts:
        assert post.path == "/v1/batch"
        assert post.headers["content-type"] == "application/x-www-form-urlencoded", "and yet it is packed JSON"
        assert post.body.startswith(b"\x1f\x8b")
        assert post.headers["authorization"] == basic(KEY)


@pytest.mark.parametrize("packed", [True, False], ids=["gzip, as it is set", "plain"])
def test_every_event_of_rudders_python_sdk_arrives_once(gateway: Gateway, account: Account, packed: bool) -> None:
    assert through_rudder_python(gateway, gzip=packed) == []
    assert ids(account) == Counter([*(f"p-{number}" for number in range(25)), "p-identify"])
    assert all(post.body.startswith(b"\x1f\x8b") is packed for post in gateway.posts)
    assert all(post.headers["authorization"] == basic(KEY) for post in gateway.posts)


def through_rudder_python(gateway: Gateway, key: str = KEY, **options: Any) -> list[Exception]:
    problems: list[Exception] = []
    client = RudderClient(
        key, host=gateway.by_number, upload_size=10, on_error=lambda error, batch: problems.append(error), **options
    )
    for number in range(25):
        client.track(anonymous_id=f"p-v{number % 4}", event="Manual Read", message_id=f"p-{number}")
    client.identify(user_id="p-user", traits={"email": "p@sdk.example"}, message_id="p-identify")
    client.flush()
    client.join()
    return problems


@pytest.mark.parametrize("outages", OUTAGES.values(), ids=OUTAGES)
@pytest.mark.parametrize("sdk", ["Segment Node", "Segment Python", "RudderStack Node", "RudderStack Python"])
def test_an_outage_costs_a_server_nothing_and_makes_no_event_two(
    gateway: Gateway, account: Account, sdk: str, outages: list[Outage]
) -> None:
    gateway.outages.extend(outages)
    match sdk:
        case "Segment Node":
            node("send.mjs", gateway.by_number, KEY, "5")
            expected = {*(f"node-{number}" for number in range(5)), "node-identify", "node-page"}
        case "Segment Python":
            assert through_segment_python(gateway) == []
            expected = {f"s-{number}" for number in range(25)}
        case "RudderStack Node":
            node("send_rudder.mjs", gateway.by_number, KEY, "5", "r-")
            expected = {*(f"r-{number}" for number in range(5)), *(f"r-{call}" for call in NODE_CALLS)}
        case _:
            assert through_rudder_python(gateway) == []
            expected = {*(f"p-{number}" for number in range(25)), "p-identify"}
    assert set(ids(account)) == expected
    assert sorted(post.status for post in gateway.posts if post.status != 200) == sorted(
        outage.status for outage in outages
    )


def test_a_refusal_tells_rudders_python_sdk_why_and_is_not_repeated(gateway: Gateway) -> None:
    problems = through_rudder_python(gateway, key="pk_nobody_12345678")
    assert {post.status for post in gateway.posts} == {401}
    assert len(gateway.posts) == len(problems) == 3, "one for each batch"
    assert "this write key belongs to no site" in str(problems[0])


# Segment's SDK for browsers, as `npm install @segment/analytics-next` brings it.

UMD = NODE_MODULES / "@segment/analytics-next/dist/umd"
BATCHING = "deliveryStrategy: {strategy: 'batching', config: {size: 6, timeout: 300}}"
ONE_BY_ONE = "deliveryStrategy: {config: {}}"


class Shop:
    """Pages that load the SDK, pointed at the gateway; `setting` is what the page tells it of Segment.io."""

    def __init__(self, browser: Browser, pages: Site, gateway: Gateway) -> None:
        self.browser, self.pages, self.gateway = browser, pages, gateway
        for bundle in UMD.glob("*.js"):
            pages.script(f"/{bundle.name}", bundle.read_text(encoding="utf-8"))

    def open(self, path: str, setting: str = ONE_BY_ONE, then: str = "analytics.page()") -> None:
        script = f"""
            window.analytics = AnalyticsNext.AnalyticsBrowser.load(
              {{writeKey: '{WRITE_KEY}', cdnURL: '{self.gateway.url}'}},
              {{integrations: {{'Segment.io': {{apiHost: '{self.gateway.host}/v1', protocol: 'http', {setting}}}}}}});
            {then}
        """
        head = f'<script src="/index.js"></script><script>{script}</script>'
        self.browser.open(self.pages.page(path, head))

    def arrived(self, account: Account, count: int) -> list[Mapping[str, Any]]:
        """The records, once so many distinct events have been told."""
        self.gateway.until(lambda: len(ids(account)) >= count)
        return account.records()


@pytest.fixture
def shop(
    browser: Browser, site: Site, gateway: Gateway, account: Account, declare: Callable[..., None]
) -> Shop:
    declare()
    return Shop(browser, site, gateway)


CALLS = """
    analytics.page('Pumps');
    for (let number = 0; number < 10; number++) analytics.track('Manual Read', {number});
    analytics.identify('u-7', {industry: 'water'});
    analytics.group('northwind-kk', {industry: 'water'});
    analytics.alias('u-7');
"""


@pytest.mark.browser
@pytest.mark.parametrize("setting", [ONE_BY_ONE, BATCHING], ids=["one by one", "batching"])
def test_every_event_of_segments_browser_sdk_arrives_once(shop: Shop, account: Account, setting: str) -> None:
    shop.open("/products/pumps", setting, CALLS)
    records = shop.arrived(account, 14)

    assert set(ids(account).values()) == {1}
    kinds = {"page": 1, "track": 10, "identify": 1, "group": 1, "alias": 1}
    by = {kind: [one for one in records if one["type"] == kind] for kind in kinds}
    assert {kind: len(found) for kind, found in by.items()} == kinds
    assert sorted(one["properties"]["number"] for one in by["track"]) == list(range(10))
    assert by["page"][0]["context"]["page"]["path"] == "/products/pumps"
    assert "previous" not in by["alias"][0], "an alias of oneself is no merge"
    assert len({one["visitor"] for one in records}) == 1
    assert len({one["ids"][0] for one in records if "ids" in one}) == 1

    posts = shop.gateway.posts
    assert {post.path[4:] for post in posts} == (set("b") if setting is BATCHING else set("ptiga"))
    assert {post.status for post in posts} == {200}
    assert {post.headers["content-type"] for post in posts} == {"text/plain"}
    assert {post.headers["authorization"] for post in posts} == {basic(WRITE_KEY)}
    assert all(f'"writeKey":"{WRITE_KEY}"' in post.body.decode() for post in posts)
    asked = [one for one in shop.gateway.asked if one.method == "OPTIONS"]
    assert asked
    assert all(one.status == 204 and one.answer["access-control-max-age"] == "86400" for one in asked)
    assert [one.status for one in shop.gateway.asked if one.path.endswith("/settings")] == [200]


@pytest.mark.browser
def test_what_waits_when_a_page_is_left_goes_out_with_it(shop: Shop, account: Account) -> None:
    waits = "deliveryStrategy: {strategy: 'batching', config: {size: 100, timeout: 600000}}"
    shop.open("/products/pumps", waits, "analytics.track('Last Word').then(() => { window.told = true })")
    shop.browser.until("return window.told")
    assert shop.gateway.posts == []
    shop.browser.open(shop.pages.page("/elsewhere"))
    assert [one["name"] for one in shop.arrived(account, 1)] == ["Last Word"]


@pytest.mark.browser
@pytest.mark.parametrize("setting", [ONE_BY_ONE, BATCHING], ids=["one by one", "batching"])
@pytest.mark.parametrize("outages", OUTAGES.values(), ids=OUTAGES)
def test_an_outage_costs_segments_browser_sdk_nothing_and_makes_no_event_two(
    shop: Shop, account: Account, setting: str, outages: list[Outage]
) -> None:
    shop.browser.may_complain = True
    shop.gateway.outages.extend(outages)
    shop.open("/", setting, "analytics.track('Manual Read')")
    shop.gateway.until(lambda: len(shop.gateway.posts) > len(outages))

    posts = shop.gateway.posts
    assert [post.status for post in posts] == [*(outage.status for outage in outages), 200]
    assert [post.headers.get("x-retry-count") for post in posts] == [None, *map(str, range(1, len(posts)))]
    assert len({re.search(rb'"messageId":"([^"]+)"', post.body)[1] for post in posts}) == 1
    assert len(ids(account)) == 1
    assert all(one.status == 204 for one in shop.gateway.asked if one.method == "OPTIONS")


@pytest.mark.browser
def test_where_consent_comes_first_the_sdk_says_it_by_a_middleware(
    shop: Shop, account: Account, declare: Callable[..., None]
) -> None:
    declare(consent="opt_in")
    shop.open("/", then="""
        analytics.page('Before').then(() => analytics.addSourceMiddleware(({payload, next}) => {
            payload.obj.context.consent = {analytics: 'granted', marketing: 'denied'};
            next(payload);
        })).then(() => analytics.page('After'));
    """)
    after, before = sorted(shop.arrived(account, 2), key=lambda one: str(one["name"]))
    assert "visitor" not in before
    assert after["visitor"]
    assert after["context"]["consent"] == {"analytics": "granted", "marketing": "denied"}
