"""The packet: what was stored once is readable for ever, and no request makes one that is too large."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.errors import BadShape
from closedloop.events.event import Door
from closedloop.events.packet import COMPRESS_ABOVE, SCHEMA, Packet, decode, encode, pack
from closedloop.events.times import iso
from closedloop.store.ledger import packet_item, packet_of
from tests.builders import CHROME, JANE, NOW, SITE, a_deal, a_form, a_packet, a_record

VECTORS = Path(__file__).parent.parent / "vectors" / "packet-v1.json"
JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def read(body: str | bytes, packet: Packet) -> Packet:
    return decode(
        body,
        subject=packet.subject,
        site=packet.site,
        door=packet.door.value,
        received_at=iso(packet.received_at),
        schema=packet.schema,
    )


def test_a_packet_comes_back_as_it_was() -> None:
    packet = a_packet(a_form(visitor="jane-laptop"), door=Door.FORM, contact={JANE: {"email": "jane@acme.example"}})
    assert read(encode(packet), packet) == packet


@given(st.dictionaries(st.text(max_size=8), JSON, max_size=4))
def test_whatever_was_said_comes_back_as_it_was_said(properties: dict[str, Any]) -> None:
    packet = a_packet(a_record(visitor="jane-laptop", properties=properties))
    assert read(encode(packet), packet) == packet


def test_only_what_is_over_a_kilobyte_is_compressed() -> None:
    small = a_packet()
    large = a_packet(a_record(visitor="jane-laptop", properties={"text": "pump " * COMPRESS_ABOVE}))
    assert isinstance(encode(small), str)
    assert isinstance(encode(large), bytes)
    assert read(encode(large), large) == large


def test_a_packet_is_named_after_its_events_alone() -> None:
    assert a_packet().id == a_packet(agent="another").id
    assert a_packet().id != a_packet(a_record("e2", visitor="jane-laptop")).id


@pytest.mark.parametrize(
    "body",
    [
        "",
        "{",
        "[]",
        "null",
        '"x"',
        "{}",
        '{"records":1,"contact":{},"headers":{}}',
        '{"records":[{"at":"now"}],"contact":{},"headers":{}}',
        b"",
        b"x\x9c",
        b"\x00",
    ],
)
def test_what_is_no_packet_is_told_so(body: str | bytes) -> None:
    with pytest.raises(BadShape):
        read(body, a_packet())


@pytest.mark.parametrize("change", [{"id": 7}, {"type": "teleport"}, {"at": "yesterday"}, {"at": 5}, {"ids": 7}])
def test_a_record_that_is_no_event_is_told_so(change: dict[str, Any]) -> None:
    packet = a_packet({**a_record(visitor="jane-laptop"), **change})
    with pytest.raises(BadShape):
        _ = read(json.dumps({"records": packet.records, "contact": {}, "headers": {}}), packet).events


# How a request becomes packets.


def entries(count: int, size: int = 10, visitor: str = "jane-laptop") -> list[Any]:
    return [
        (f"V#{SITE}#{visitor}", a_record(f"{visitor}-{number}", visitor=visitor, properties={"text": "x" * size}), {})
        for number in range(count)
    ]


def packed(given: list[Any]) -> list[Packet]:
    return pack(given, site=SITE, door=Door.BEACON, received_at=NOW, headers={"agent": CHROME})


def test_the_events_of_one_subject_are_one_packet() -> None:
    assert [len(packet.records) for packet in packed(entries(20) + entries(3, visitor="ken-phone"))] == [20, 3]


@pytest.mark.parametrize(("count", "size"), [(1, 32_000), (9, 32_000), (10, 32_000), (60, 8_000), (1000, 400)])
def test_no_packet_is_over_the_item_limit_and_no_event_is_lost(count: int, size: int) -> None:
    packets = packed(entries(count, size))
    assert all(len(json.dumps(packet.records)) < 400_000 for packet in packets)
    told = [record["id"] for packet in packets for record in packet.records]
    assert told == [record["id"] for _, record, _ in entries(count, size)]


def test_contact_fields_of_one_person_are_gathered() -> None:
    subject = f"V#{SITE}#jane-laptop"
    given = [
        (subject, a_form("f1"), {JANE: {"email": "jane@acme.example", "last_name": "J"}}),
        (subject, a_form("f2"), {JANE: {"last_name": "Jane"}}),
    ]
    (packet,) = packed(given)
    assert packet.contact == {JANE: {"email": "jane@acme.example", "last_name": "Jane"}}


# For ever.


def the_first_packets() -> dict[str, Packet]:
    """One packet through each kind of door, as schema 1 wrote them."""
    return {
        "page": a_packet(a_record(visitor="jane-laptop", late=True)),
        "form": a_packet(
            a_form(
                visitor="jane-laptop", traits={"industry": "製造"}, properties={"form": "contact", "incentive": False}
            ),
            door=Door.FORM,
            contact={JANE: {"email": "jane@acme.example", "last_name": "ジェーン"}},
        ),
        "deal": a_packet(a_deal(ids=[JANE]), door=Door.DEAL),
        "batch": a_packet(
            *(a_record(f"e{number}", visitor="jane-laptop", path=f"/pumps/{number}") for number in range(25))
        ),
    }


@pytest.mark.parametrize("name", ["page", "form", "deal", "batch"])
def test_items_of_schema_1_are_readable_for_ever(name: str) -> None:
    # The file is never written again: a new schema gets a file of its own beside it.
    item = json.loads(VECTORS.read_text("utf-8"))[name]
    packet = the_first_packets()[name]
    assert packet_of(item) == packet
    assert packet_of(item).events == packet.events


def test_what_is_written_now_is_of_the_schema_that_the_golden_file_holds() -> None:
    assert SCHEMA == 1
    item = packet_item(a_packet())
    golden = json.loads(VECTORS.read_text("utf-8"))["page"]
    assert set(item) == set(golden)


def test_an_item_reads_alike_from_the_service_and_from_boto3() -> None:
    item = packet_item(the_first_packets()["batch"])
    assert isinstance(item["body"]["B"], bytes)
    from_the_service = {**item, "body": {"B": base64.b64encode(item["body"]["B"]).decode()}}
    assert packet_of(item) == packet_of(from_the_service) == the_first_packets()["batch"]
