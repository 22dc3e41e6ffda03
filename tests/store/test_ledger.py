"""The Events table: facts go in once, whole and in order, and come out so."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from closedloop.errors import NotDurable
from closedloop.events.event import Door
from closedloop.events.failed import FailedEvent, FailedKind
from closedloop.events.identifiers import deal_node, visitor_node
from closedloop.events.packet import Packet
from closedloop.store import schema
from closedloop.store.calls import CallFailed, Dynamo
from closedloop.store.ledger import Item, Ledger, subject_of
from tests.builders import JANE, NOW, SITE, a_deal, a_packet, a_record, minutes

LAPTOP = visitor_node(SITE, "jane-laptop")
Rows = Callable[[str], list[dict[str, Any]]]


@pytest.mark.parametrize("count", [1, 25, 60])
def test_what_is_appended_is_read_back_in_order_of_receipt(ledger: Ledger, count: int) -> None:
    packets = [
        a_packet(
            a_record(f"e{number}", visitor="jane-laptop", properties={"note": "ポンプ" * 20 * (number % 30)}),
            received_at=minutes(number),
        )
        for number in range(count)
    ]
    ledger.append(list(reversed(packets)))
    assert list(ledger.packets(LAPTOP)) == packets


def test_a_large_packet_lies_compressed_and_comes_back_whole(
    ledger: Ledger, tables: tuple[str, str], rows: Rows
) -> None:
    packet = a_packet(
        *(a_record(f"e{number}", visitor="jane-laptop", properties={"text": "pump " * 400}) for number in range(25))
    )
    ledger.append([packet])
    (item,) = rows(tables[0])
    assert len(item[schema.BODY]["B"]) < 5_000
    assert list(ledger.packets(LAPTOP)) == [packet]


def test_a_packet_too_large_for_a_page_of_answers_does_not_hide_the_next(ledger: Ledger) -> None:
    # One page of a query holds 1 MB; each of these is a fifth of it, whatever compression does.
    noise = "".join(chr(0x4E00 + number * 7919 % 20000) for number in range(60_000))
    packets = [
        a_packet(
            a_record(f"e{number}", visitor="jane-laptop", properties={"noise": noise[number:]}),
            received_at=minutes(number),
        )
        for number in range(8)
    ]
    ledger.append(packets)
    assert [packet.records[0]["id"] for packet in ledger.packets(LAPTOP)] == [
        packet.records[0]["id"] for packet in packets
    ]


def test_the_same_packet_twice_is_one_item(ledger: Ledger, tables: tuple[str, str], rows: Rows) -> None:
    packet, other = a_packet(), a_packet(a_record("e2", visitor="jane-laptop"))
    ledger.append([packet])
    ledger.append([packet, other, packet])
    assert len(rows(tables[0])) == 2


def test_contact_and_headers_are_kept_with_the_packet(ledger: Ledger) -> None:
    packet = a_packet(door=Door.FORM, contact={JANE: {"email": "jane@acme.example", "last_name": "ジェーン"}})
    ledger.append([packet])
    assert list(ledger.packets(LAPTOP)) == [packet]


def test_a_deal_a_browser_and_an_address_have_partitions_of_their_own(ledger: Ledger) -> None:
    page, deal, stated = a_packet(), a_packet(a_deal()), a_packet(a_record("e3", ids=[JANE]))
    ledger.append([page, deal, stated])
    assert list(ledger.packets(LAPTOP)) == [page]
    assert list(ledger.packets(deal_node(SITE, "D-7"))) == [deal]
    assert list(ledger.packets(JANE)) == [stated]
    assert sorted(packet.id for packet in ledger.every_packet()) == sorted([page.id, deal.id, stated.id])


def test_two_sites_with_the_same_visitor_never_see_each_other(ledger: Ledger) -> None:
    own, foreign = a_packet(), a_packet(site="contoso")
    ledger.append([own, foreign])
    assert list(ledger.packets(visitor_node(SITE, "jane-laptop"))) == [own]
    assert list(ledger.packets(visitor_node("contoso", "jane-laptop"))) == [foreign]


@pytest.mark.parametrize("odd", ["D#7", "D|7", "../D-7", "D-7#2026", "northwind#D-7", "D:7", "D 7", "取引7"])
def test_odd_signs_in_an_id_stay_within_its_own_partition(ledger: Ledger, odd: str) -> None:
    node = deal_node(SITE, odd)
    assert subject_of(node).count("#") == 2
    packet = a_packet(a_deal(deal=odd), subject=subject_of(node))
    ledger.append([packet, a_packet(a_deal(deal="D-7"))])
    assert list(ledger.packets(node)) == [packet]


def test_a_packet_forgets_itself_after_thirteen_months(ledger: Ledger, tables: tuple[str, str], rows: Rows) -> None:
    ledger.append([a_packet()])
    (item,) = rows(tables[0])
    assert int(item[schema.TTL]["N"]) == int((NOW + timedelta(days=396)).timestamp())


def test_an_item_that_cannot_be_read_hides_no_other(
    ledger: Ledger, engine: tuple[Dynamo, Any], tables: tuple[str, str]
) -> None:
    first, last = (
        a_packet(received_at=minutes(0)),
        a_packet(a_record("e2", visitor="jane-laptop"), received_at=minutes(2)),
    )
    ledger.append([first, last])
    engine[1].put_item(
        TableName=tables[0],
        Item={
            schema.PK: {"S": first.subject},
            schema.SK: {"S": "2026-11-24T06:01:00.000Z#broken"},
            schema.KIND: {"S": schema.PACKET},
            schema.BODY: {"B": b"no zlib"},
            "site": {"S": SITE},
            "door": {"S": "beacon"},
            "received_at": {"S": "2026-11-24T06:01:00.000Z"},
            "schema": {"N": "1"},
        },
    )
    assert list(ledger.packets(LAPTOP)) == [first, last]


# What failed.


def a_failed_event(payload: bytes = b"{}", received_at: datetime = NOW, **words: Any) -> FailedEvent:
    failed = FailedEvent(
        *(FailedKind.REFUSED, "type: is missing", SITE, "beacon", "capture_beacon", "0.1.0", received_at, payload),
        {"agent": "curl/8"},
    )
    return replace(failed, **words)


@pytest.mark.parametrize("size", [0, 1, 1_000_000])
def test_all_bytes_of_a_failed_event_are_kept_whatever_an_item_holds(ledger: Ledger, size: int) -> None:
    failed = a_failed_event(random.Random(size).randbytes(size))
    ledger.fail(failed)
    assert ledger.failed("2026-11-24") == [failed]
    assert ledger.failed("2026-11-24", failed.name[:6]) == [failed]
    assert list(ledger.every_packet()) == []


def test_a_failed_event_with_a_part_still_on_its_way_is_not_shown_half(
    ledger: Ledger, engine: tuple[Dynamo, Any], tables: tuple[str, str], rows: Rows
) -> None:
    whole, other = a_failed_event(random.Random(1).randbytes(800_000)), a_failed_event(b"2")
    ledger.fail(whole)
    ledger.fail(other)
    part = next(row for row in rows(tables[0]) if row[schema.KIND]["S"] == schema.FAILED_PART)
    engine[1].delete_item(TableName=tables[0], Key={name: part[name] for name in (schema.PK, schema.SK)})
    assert ledger.failed("2026-11-24") == [other]
    engine[1].put_item(TableName=tables[0], Item=part)
    assert len(ledger.failed("2026-11-24")) == 2


def test_a_failed_event_that_was_told_again_is_marked_once_and_stays(ledger: Ledger) -> None:
    failed = a_failed_event()
    ledger.fail(failed)
    for number in (5, 9):
        ledger.mark_replayed(failed, minutes(number))
    assert ledger.failed("2026-11-24") == [replace(failed, replayed_at=minutes(5))]
    with pytest.raises(CallFailed):
        ledger.mark_replayed(a_failed_event(b"never kept"), NOW)


@pytest.mark.parametrize(
    ("reason", "handler", "kind", "site", "door"),
    [
        ("northwind: type: is missing", "capture_beacon", FailedKind.REFUSED, SITE, "beacon"),
        ("BadShape: no packet", "project_profiles", FailedKind.UNREADABLE, "", ""),
    ],
)
def test_what_failed_before_failed_events_had_a_type_is_read_too(
    *, ledger: Ledger, engine: tuple[Dynamo, Any], tables: tuple[str, str], reason: str, handler: str,
    kind: FailedKind, site: str, door: str,
) -> None:
    item = {
        schema.PK: {"S": "X#2026-11-24#a"}, schema.SK: {"S": "2026-11-24T06:00:00.000Z#abc"},
        schema.KIND: {"S": "failed"}, "reason": {"S": reason}, "handler": {"S": handler},
        "code_version": {"S": "0.0.9"}, "received_at": {"S": "2026-11-24T06:00:00.000Z"},
        schema.BODY: {"B": b"no zlib"},
    }
    engine[1].put_item(TableName=tables[0], Item=item)
    (failed,) = ledger.failed("2026-11-24")
    assert (failed.kind, failed.site, failed.door, failed.payload) == (kind, site, door, b"no zlib")


def test_what_failed_is_listed_by_its_day_with_its_bytes_and_the_reason(ledger: Ledger) -> None:
    failed = [a_failed_event(f'{{"n":{number}}}'.encode() + b"\xff\x00", minutes(number)) for number in range(5)]
    for one in failed:
        ledger.fail(one)
        ledger.fail(one)
    assert ledger.failed("2026-11-24") == failed
    assert ledger.failed("2026-11-25") == []


def test_a_failed_event_is_no_packet(ledger: Ledger) -> None:
    ledger.fail(a_failed_event())
    assert list(ledger.every_packet()) == []


# What DynamoDB leaves undone.


class LeavesUndone:
    """Takes only some of a batch, as often as told."""

    def __init__(self, dynamo: Dynamo, times: int, taken: int) -> None:
        self._dynamo, self._times, self._taken = dynamo, times, taken

    def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        if operation != "BatchWriteItem" or not self._times:
            return self._dynamo.call(operation, parameters)
        self._times -= 1
        ((table, puts),) = parameters["RequestItems"].items()
        if self._taken:
            self._dynamo.call(operation, {"RequestItems": {table: puts[: self._taken]}})
        return {"UnprocessedItems": {table: puts[self._taken :]}}


@pytest.mark.parametrize(("times", "taken"), [(1, 24), (3, 0), (4, 5)])
def test_what_is_left_unprocessed_is_sent_again_after_a_wait(
    engine: tuple[Dynamo, Any], tables: tuple[str, str], rows: Rows, times: int, taken: int
) -> None:
    waits: list[int] = []
    packets = [a_packet(a_record(f"e{number}", visitor=f"visitor-{number}")) for number in range(25)]
    Ledger(LeavesUndone(engine[0], times, taken), tables[0], waits.append).append(packets)
    assert len(rows(tables[0])) == 25
    assert waits == list(range(1, times + 1))


def test_what_stays_unprocessed_is_not_durable(engine: tuple[Dynamo, Any], tables: tuple[str, str]) -> None:
    waits: list[int] = []
    ledger = Ledger(LeavesUndone(engine[0], 1000, 0), tables[0], waits.append)
    with pytest.raises(NotDurable):
        ledger.append([a_packet(a_record(f"e{number}", visitor=f"visitor-{number}")) for number in range(3)])
    assert waits == [1, 2, 3, 4]


def visitors(count: int) -> list[Packet]:
    return [a_packet(a_record(f"e{number}", visitor=f"visitor-{number}")) for number in range(count)]


@pytest.mark.parametrize(("times", "taken", "spilled"), [(1000, 0, 60), (1000, 5, 35), (3, 0, 0)])
def test_what_stays_unprocessed_is_spilled_and_nothing_else_is(
    engine: tuple[Dynamo, Any], tables: tuple[str, str], rows: Rows, times: int, taken: int, spilled: int
) -> None:
    kept: list[Item] = []
    ledger = Ledger(
        *(LeavesUndone(engine[0], times, taken), tables[0], lambda attempt: None),
        lambda items, why: kept.extend(items),
    )
    ledger.append(visitors(60))
    assert (len(kept), len(rows(tables[0]))) == (spilled, 60 - spilled)
    Ledger(engine[0], tables[0], lambda attempt: None).store(kept)
    assert len(rows(tables[0])) == 60


class Fails:
    """Takes so many calls, then none."""

    def __init__(self, dynamo: Dynamo, after: int) -> None:
        self._dynamo, self._after = dynamo, after

    def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        self._after -= 1
        if self._after < 0:
            raise CallFailed("ThrottlingException")
        return self._dynamo.call(operation, parameters)


@pytest.mark.parametrize(("after", "spilled"), [(0, 60), (1, 35), (2, 10), (3, 0)])
def test_a_table_that_fails_in_the_middle_is_asked_no_more_and_the_rest_is_spilled(
    engine: tuple[Dynamo, Any], tables: tuple[str, str], after: int, spilled: int
) -> None:
    kept: list[Item] = []
    failing = Fails(engine[0], after)
    Ledger(failing, tables[0], lambda attempt: None, lambda items, why: kept.extend(items)).append(visitors(60))
    assert len(kept) == spilled
    assert failing._after == -(spilled > 0)


def test_a_failed_event_is_spilled_like_a_packet(engine: tuple[Dynamo, Any], tables: tuple[str, str]) -> None:
    kept: list[Item] = []
    ledger = Ledger(Fails(engine[0], 0), tables[0], lambda attempt: None, lambda items, why: kept.extend(items))
    failed = a_failed_event()
    ledger.fail(failed)
    whole = Ledger(engine[0], tables[0], lambda attempt: None)
    whole.store(kept)
    assert whole.failed("2026-11-24") == [failed]


def test_a_table_that_is_not_there_is_not_durable(engine: tuple[Dynamo, Any]) -> None:
    lost = Ledger(engine[0], "NoSuchTable", lambda attempt: None)
    for packets in ([a_packet()], [a_packet(), a_packet(a_record("e2", visitor="ken-phone"))]):
        with pytest.raises(NotDurable):
            lost.append(packets)
    with pytest.raises(CallFailed):
        list(lost.packets(LAPTOP))


def test_a_packet_over_the_item_limit_is_not_durable(ledger: Ledger) -> None:
    # Every sign another one, so that no compression saves it.
    noise = "".join(chr(0x4E00 + (number * number * 31 + number) % 20000) for number in range(400_000))
    with pytest.raises(NotDurable):
        ledger.append([replace(a_packet(), headers={"agent": noise})])
