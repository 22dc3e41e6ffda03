"""The Events stream to profiles: one bad record spoils no other, an outage names its own, hot people are woken."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from closedloop.errors import ProfileMoved
from closedloop.events.event import Door
from closedloop.events.packet import Entry, Packet, pack
from closedloop.profiles.flow import project
from closedloop.profiles.profile import Stored, profile_from
from closedloop.store.ledger import packet_item
from functions.project_profiles import handler
from tests.accounts import EVENTS, MACHINE, STATE, Account
from tests.functions.gateway import CHROME, Context
from tests.functions.streams import a_batch, ids, number_of

NOW = datetime(2026, 11, 24, 6, 10, tzinfo=UTC)


def a_packet(
    name: str, *, site: str = "demo", event: str = "Form Submitted", contact: str = "", **words: Any
) -> Packet:
    """What one person did: they filled in a form."""
    identifier = f"email:{name}"
    record = {
        "id": f"{site}/form/{name}",
        "type": "track",
        "name": event,
        "at": "2026-11-24T06:09:00.000Z",
        "ids": [identifier],
        "visitor": f"browser-of-{name}",
        "traits": {"employees": 200},
        "properties": {},
        "context": {"page": {"path": "/products/pumps"}},
        **words,
    }
    entry: Entry = (f"V#{site}#browser-of-{name}", record, {identifier: {"email": contact}} if contact else {})
    return pack([entry], site=site, door=Door.FORM, received_at=NOW, headers={"agent": CHROME})[0]


def stored(account: Account, packets: Sequence[Packet]) -> list[dict[str, Any]]:
    """The packets in the ledger, and as the stream shows them."""
    account.ledger.append(packets)
    return [packet_item(packet) for packet in packets]


def poison(item: dict[str, Any], kind: int) -> dict[str, Any]:
    """Seven ways for a stored packet to be unusable."""
    text = item["body"]
    content = {
        0: {"body": {"S": "{"}},
        1: {"body": {"B": b"no zlib"}},
        2: {"body": {"S": '{"records": 5}'}},
        3: {"schema": {"S": "x"}},
        4: {"door": {"S": "window"}},
        5: {"site": {"S": "nobody"}},
        6: {"body": {"S": json.dumps({"records": [{"type": "track"}], "contact": {}, "headers": {}})}},
    }[kind]
    return {**item, "body": text, **content}


def runs(states: Any) -> list[dict[str, Any]]:
    return list(states.list_executions(stateMachineArn=MACHINE)["executions"])


def test_seven_bad_records_of_a_hundred_are_kept_and_the_others_become_profiles(
    account: Account, machine: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    items = stored(account, [a_packet(f"p{n % 5}", event="Seen", id=f"demo/form/s{n}") for n in range(100)])
    bad = [3, 17, 18, 40, 77, 98, 99]
    for kind, place in enumerate(bad):
        items[place] = poison(items[place], kind)
    batch = a_batch(items)
    assert handler.handle(batch, Context()) == {"batchItemFailures": []}
    profiles = [
        profile_from(Stored(item["body"]["S"], item["more"]["B"]))
        for item in account.items(STATE) if item["sk"]["S"] == "PROFILE"
    ]
    # The ledger's own copies of the seven are whole: what is told is that the fold ran for everybody else's records.
    assert len(profiles) == 5
    failed = account.failed()
    assert len(failed) == 7
    assert {one.handler for one in failed} == {"project_profiles"}
    assert sorted(json.loads(one.payload)["sk"]["S"] for one in failed) == sorted(
        items[place]["sk"]["S"] for place in bad
    )
    line = next(json.loads(line) for line in capsys.readouterr().out.splitlines() if '"projected"' in line)
    assert (line["packets"], line["unusable"], line["changed"]) == (93, 7, 5)

    handler.handle({"Records": [batch["Records"][place] for place in bad]}, Context())
    assert len(account.failed()) == 7, "a batch delivered again keeps nothing twice"


def test_a_batch_of_poison_alone_is_done(account: Account) -> None:
    items = [poison(item, 0) for item in stored(account, [a_packet(f"p{n}") for n in range(3)])]
    assert handler.handle(a_batch(items), Context()) == {"batchItemFailures": []}
    assert len(account.failed()) == 3


def test_a_packet_that_breaks_the_fold_is_kept_alone(account: Account, machine: Any) -> None:
    """A stored fact may be readable and yet be one that no fold expects."""
    packets = [a_packet(f"p{n}", event="Seen") for n in range(9)]
    packets[4] = a_packet("p4", event="Seen", traits=["no", "mapping"])
    assert handler.handle(a_batch(stored(account, packets)), Context()) == {"batchItemFailures": []}
    assert len([item for item in account.items(STATE) if item["sk"]["S"] == "PROFILE"]) == 8
    [failed] = account.failed()
    assert failed.reason == "AttributeError"
    assert json.loads(failed.payload)["pk"]["S"] == "V#demo#browser-of-p4"


def test_an_outage_returns_only_the_records_it_hit(account: Account) -> None:
    packets = [a_packet(f"p{n}", event="Seen") for n in range(5)]
    stored(account, packets)

    class Contended:
        """A State table in which somebody else is always faster for one person."""

        def __getattr__(self, name: str) -> Any:
            return getattr(account.state, name)

        def put_profile(self, profile: Any, *words: Any, **named: Any) -> None:
            if "email:p2" in profile.nodes:
                raise ProfileMoved(profile.person)
            account.state.put_profile(profile, *words, **named)

    arrived = [(number_of(n), packet, packet.events) for n, packet in enumerate(packets, 1)]
    projected = project(arrived, Contended(), account.ledger, account.state.sites(), lambda: NOW)  # type: ignore[arg-type]
    assert projected.again == {number_of(3)}
    assert len(projected.changed) == 4


def test_a_ledger_that_cannot_be_read_returns_every_record(account: Account) -> None:
    items = stored(account, [a_packet("p0"), a_packet("p1")])
    account.loses(EVENTS)
    assert ids(handler.handle(a_batch(items), Context())) == [number_of(1), number_of(2)]


def test_a_site_that_was_declared_a_moment_ago_is_known(account: Account) -> None:
    handler.handle(a_batch(stored(account, [a_packet("p0", event="Seen")])), Context())
    young = account.state.site("demo")
    assert young is not None
    account.state.put_site(
        young.model_copy(update={"site": "young", "write_key": "pk_young_12345678", "origins": ("https://y.example",)})
    )
    handler.handle(a_batch(stored(account, [a_packet("p1", site="young", event="Seen")])), Context())
    assert account.failed() == []
    assert len([item for item in account.items(STATE) if item["sk"]["S"] == "PROFILE"]) == 2


def test_a_hot_event_wakes_the_workflow_once_however_often_it_is_delivered(account: Account, machine: Any) -> None:
    batch = a_batch(stored(account, [a_packet("jane"), a_packet("ken", event="Seen")]))
    handler.handle(batch, Context())
    handler.handle(batch, Context())
    [run] = runs(machine)
    assert run["name"].startswith("hot-")
    given = json.loads(machine.describe_execution(executionArn=run["executionArn"])["input"])
    assert len(given["persons"]) == 1
    assert (given["run"], set(given)) == (run["name"], {"run", "at", "persons"})


def test_nothing_but_new_packets_is_looked_at(account: Account) -> None:
    [item] = stored(account, [a_packet("p0")])
    batch = a_batch([item])
    batch["Records"][0]["eventName"] = "MODIFY"
    removed = {"eventName": "REMOVE", "dynamodb": {"SequenceNumber": number_of(2), "OldImage": item}}
    failed = {**item, "kind": {"S": "failed"}}
    assert handler.handle({"Records": [*batch["Records"], removed, *a_batch([failed], 3)["Records"]]}, Context()) == {
        "batchItemFailures": []
    }
    assert not [item for item in account.items(STATE) if item["sk"]["S"] == "PROFILE"]


def test_the_clear_address_goes_to_the_contact_and_never_to_the_log(
    account: Account, machine: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    handler.handle(a_batch(stored(account, [a_packet("jane", contact="jane@example.jp")])), Context())
    holding = [item["sk"]["S"] for item in account.items(STATE) if "jane@example.jp" in json.dumps(item, default=str)]
    assert holding == ["CONTACT"]
    assert "jane@" not in capsys.readouterr().out
