"""Both streams to the lake: what arrived lies there once for each delivery, without any clear address."""

from __future__ import annotations

import gzip
import json
from collections.abc import Mapping
from typing import Any

import pytest
from botocore.exceptions import ClientError

from closedloop.events.failed import FailedEvent, FailedKind
from functions.archive_events import handler
from functions.capture_beacon import handler as beacon
from functions.capture_form import handler as form
from tests.accounts import LAKE, Account
from tests.functions.gateway import KEY, ORIGIN, Context, a_request
from tests.functions.streams import a_batch
from tests.functions.test_project_profiles import NOW, a_packet, poison, stored


def rows(account: Account, prefix: str) -> list[Mapping[str, Any]]:
    return [
        json.loads(line)
        for key, body in sorted(account.texts_of(LAKE).items())
        if key.startswith(prefix)
        for line in gzip.decompress(body).splitlines()
    ]


def test_events_lie_under_the_day_of_receipt_in_one_object_a_batch(account: Account) -> None:
    batch = a_batch(stored(account, [a_packet(f"p{n}") for n in range(5)]), first=7)
    assert handler.handle(batch, Context()) == {"batchItemFailures": []}
    assert list(account.texts_of(LAKE)) == ["events/dt=2026-11-24/000000000000000000007.ndjson.gz"]
    assert sorted(row["id"] for row in rows(account, "events/")) == [f"demo/form/p{n}" for n in range(5)]


def test_a_batch_delivered_again_writes_the_same_objects(account: Account) -> None:
    batch = a_batch(stored(account, [a_packet(f"p{n}") for n in range(5)]))
    handler.handle(batch, Context())
    before = account.texts_of(LAKE)
    handler.handle(batch, Context())
    assert account.texts_of(LAKE) == before


def test_no_clear_address_phone_or_network_reaches_the_lake(account: Account) -> None:
    page = {"path": "/hello/jane@example.jp", "url": f"{ORIGIN}/hello/jane@example.jp?email=jane@example.jp"}
    beacon.handle(
        a_request(
            "POST",
            "/v1/identify",
            json.dumps(
                {
                    "writeKey": KEY,
                    "anonymousId": "jane",
                    "userId": "jane@example.jp",
                    "context": {"page": page, "ip": "203.0.113.77"},
                    "traits": {
                        "email": "jane@example.jp",
                        "phone": "090-1234-5678",
                        "firstName": "Jane",
                        "industry": "water",
                    },
                }
            ),
            headers={"origin": ORIGIN},
        ),
        Context(),
    )
    form.handle(
        a_request(
            "POST",
            "/v1/forms/guide",
            json.dumps(
                {
                    "fields": {
                        "email": "jane@example.jp",
                        "company": "Northwind",
                        "first_name": "Jane",
                        "phone": "090-1234-5678",
                    }
                }
            ),
            headers={"origin": ORIGIN, "content-type": "application/json"},
            parts={"form": "guide"},
        ),
        Context(),
    )
    handler.handle(a_batch(account.items()), Context())
    found = rows(account, "events/")
    assert len(found) == 2
    text = json.dumps(found) + json.dumps(list(account.texts_of(LAKE)))
    for clear in ("jane@", "1234-5678", "Jane", "203.0.113"):
        assert clear not in text


def test_a_record_that_cannot_be_read_is_kept_and_the_others_are_archived(
    account: Account, capsys: pytest.CaptureFixture[str]
) -> None:
    items = stored(account, [a_packet(f"p{n}") for n in range(10)])
    for kind in range(7):
        items[kind] = poison(items[kind], kind)
    assert handler.handle(a_batch(items), Context()) == {"batchItemFailures": []}
    assert sorted(row["id"] for row in rows(account, "events/")) == ["demo/form/p7", "demo/form/p8", "demo/form/p9"]
    assert {one.handler for one in account.failed()} == {"archive_events"}
    assert len(account.failed()) == 7
    line = next(json.loads(line) for line in capsys.readouterr().out.splitlines() if '"archived"' in line)
    assert (line["events"], line["unusable"]) == (3, 7)


def test_a_record_that_breaks_its_row_is_kept_alone_and_delivered_again_changes_nothing(account: Account) -> None:
    packets = [a_packet(f"p{n}") for n in range(6)]
    packets[2] = a_packet("p2", context={"page": {"url": "https://[::1"}})
    batch = a_batch(stored(account, packets))
    for _ in range(2):
        handler.handle(batch, Context())
    found = [row["id"] for row in rows(account, "events/")]
    assert set(found) >= {f"demo/form/p{n}" for n in (0, 1, 3, 4, 5)}
    assert len(found) == len(set(found))
    assert len(account.failed()) + len(found) == 6


def test_a_site_that_was_declared_a_moment_ago_is_archived(account: Account) -> None:
    handler.handle(a_batch(stored(account, [a_packet("p0")])), Context())
    young = account.state.site("demo")
    assert young is not None
    account.state.put_site(
        young.model_copy(update={"site": "young", "write_key": "pk_young_12345678", "origins": ("https://y.example",)})
    )
    handler.handle(a_batch(stored(account, [a_packet("p1", site="young")]), first=9), Context())
    assert sorted(row["id"] for row in rows(account, "events/")) == ["demo/form/p0", "young/form/p1"]


def test_failed_events_go_to_the_lake_with_their_bytes(account: Account) -> None:
    account.ledger.fail(FailedEvent(
        *(FailedKind.REFUSED, "type: is missing", "demo", "beacon", "capture_beacon", "0.1.0", NOW, b'{"dance": 1}')
    ))
    handler.handle(a_batch(account.items()), Context())
    [row] = rows(account, "failed/")
    assert (row["reason"], row["handler"], row["payload"]) == (
        "type: is missing",
        "capture_beacon",
        "eyJkYW5jZSI6IDF9",
    )


def test_a_lake_that_takes_nothing_has_the_batch_delivered_again(account: Account) -> None:
    batch = a_batch(stored(account, [a_packet("p0")]))
    account.client("s3").delete_bucket(Bucket=LAKE)
    account.declared = set()
    with pytest.raises(ClientError):
        handler.handle(batch, Context())


def test_an_empty_batch_is_done(account: Account) -> None:
    assert handler.handle({"Records": []}, Context()) == {"batchItemFailures": []}
