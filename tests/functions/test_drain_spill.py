"""When the Events table takes nothing, every door keeps what it accepts elsewhere, and the drain brings it back."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from functions.capture_beacon import handler as capture_beacon
from functions.drain_spill import handler
from tests.accounts import EVENTS, LAKE, Account, Spill
from tests.functions.every_door import PROMISING, WAYS, beacon, brought
from tests.functions.gateway import KEY, ORIGIN, Context, a_request, said


def test_every_door_accepts_while_the_table_is_gone_and_the_drain_stores_all_of_it_once(
    account: Account, spill: Spill, capsys: pytest.CaptureFixture[str]
) -> None:
    for way, (knock, _) in WAYS.items():
        knock(f"warm-{way}")
    account.loses(EVENTS)
    for way, (knock, _) in WAYS.items():
        assert knock(f"m-{way}")["statusCode"] in (200, 302), way
    lines = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert len([line for line in lines if line.get("message") == "spilled"]) == len(WAYS)
    assert sum(line["Spilled"][0] for line in lines if "Spilled" in line) == len(WAYS) + 1
    assert spill.deliver(handler.handle, Context())
    account.create(EVENTS)
    before = spill.batch()
    assert spill.deliver(handler.handle, Context()) == []
    assert spill.batch() == {"Records": []}
    # A message may come twice, as from any queue.
    handler.handle(before, Context())
    for way, (_, count) in WAYS.items():
        assert len(brought(way, f"m-{way}", account.records())) == count, way


@pytest.mark.parametrize("way", WAYS)
def test_what_is_spilled_is_the_same_item_as_would_have_been_stored(account: Account, spill: Spill, way: str) -> None:
    knock, count = WAYS[way]
    knock("warm")
    account.loses(EVENTS)
    knock("m-1")
    account.create(EVENTS)
    spill.deliver(handler.handle, Context())
    records = brought(way, "m-1", account.records())
    assert len(records) == count
    assert all(packet.received_at for packet in account.packets())
    assert {item["expires_at"]["N"] > "0" for item in account.items()} == {True}


@pytest.mark.parametrize("way", PROMISING)
def test_without_table_and_spill_no_door_says_yes(
    account: Account, monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    knock, _ = WAYS[way]
    knock("warm")
    account.loses(EVENTS)
    monkeypatch.setenv("SPILL_QUEUE", f"{account.url}/123456789012/no-such-queue")
    reply = knock("m-1")
    assert reply["statusCode"] == 503
    assert 1 <= int(reply["headers"]["retry-after"]) <= 300


def test_a_bad_event_of_a_batch_is_spilled_with_the_good_ones(account: Account, spill: Spill) -> None:
    beacon("warm")
    account.loses(EVENTS)
    reply = beacon("m", bad=True)
    assert (reply["statusCode"], [one["index"] for one in said(reply)["bad"]]) == (200, [2])
    account.create(EVENTS)
    spill.deliver(handler.handle, Context())
    assert len(account.failed()) == 1
    assert len(account.records()) == 2


def loud(name: str, events: int) -> dict[str, Any]:
    """Events of one visitor that no compression makes small."""
    rng = random.Random(name)
    batch = [
        {
            "type": "track", "event": "Said", "messageId": f"{name}-{number}", "anonymousId": name,
            "properties": {"noise": "".join(chr(rng.randrange(0x4E00, 0x9FFF)) for _ in range(9_000))},
        }
        for number in range(events)
    ]
    body = json.dumps({"batch": batch, "writeKey": KEY}, ensure_ascii=False)
    return a_request("POST", "/v1/batch", body, headers={"origin": ORIGIN})


def test_what_is_too_large_for_the_queue_waits_in_the_lake(
    account: Account, spill: Spill, monkeypatch: pytest.MonkeyPatch
) -> None:
    beacon("warm")
    account.loses(EVENTS)
    monkeypatch.setattr("closedloop.runtime.spill.MESSAGE_BYTES", 60_000)
    assert capture_beacon.handle(loud("big", 9), Context())["statusCode"] == 200
    (record,) = spill.batch()["Records"]
    assert list(account.texts_of(LAKE)) == [json.loads(record["body"])["key"]]
    assert json.loads(record["body"])["key"].startswith("spill/")
    account.create(EVENTS)
    assert spill.deliver(handler.handle, Context()) == []
    assert len(account.records()) == 9


def test_many_packets_are_few_messages_none_over_the_queues_limit(
    account: Account, spill: Spill, monkeypatch: pytest.MonkeyPatch
) -> None:
    beacon("warm")
    account.loses(EVENTS)
    monkeypatch.setattr("closedloop.runtime.spill.MESSAGE_BYTES", 20_000)
    batch = [{"type": "page", "messageId": f"m{n}", "anonymousId": f"v{n}"} for n in range(120)]
    body = json.dumps({"batch": batch, "writeKey": KEY})
    event = a_request("POST", "/v1/batch", body, headers={"origin": ORIGIN})
    assert capture_beacon.handle(event, Context())["statusCode"] == 200
    waiting = spill.batch()["Records"]
    assert 2 <= len(waiting) <= 6
    assert all(len(one["body"]) <= 20_000 for one in waiting)
    account.create(EVENTS)
    assert spill.deliver(handler.handle, Context()) == []
    assert len(account.records()) == 120


def test_only_what_cannot_be_read_stays_in_the_queue(
    account: Account, spill: Spill, capsys: pytest.CaptureFixture[str]
) -> None:
    beacon("warm")
    account.loses(EVENTS)
    beacon("m-1")
    account.create(EVENTS)
    poison = ['{"items": [', '{"items": [{"pk": {"S": "X"}}]}', '{"items": 5}', "[]", '{"key": "spill/none.json"}']
    for body in poison[:4]:
        spill.queues.send_message(QueueUrl=spill.url, MessageBody=body)
    assert len(spill.deliver(handler.handle, Context())) == 4
    assert sorted(one["body"] for one in spill.batch()["Records"]) == sorted(poison[:4])
    assert len(account.records()) == 2
    assert "Traceback" not in capsys.readouterr().out


def test_an_object_that_cannot_be_had_leaves_its_message_where_it_is(account: Account, spill: Spill) -> None:
    spill.queues.send_message(QueueUrl=spill.url, MessageBody='{"key": "spill/2026-11-24/none.json"}')
    assert len(spill.deliver(handler.handle, Context())) == 1
