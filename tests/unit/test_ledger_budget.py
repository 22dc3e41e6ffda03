"""How long the ledger tries: on a clock of its own, a write that goes on failing is given up within its time."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from closedloop.errors import NotDurable, TryAgain
from closedloop.events.packet import Packet
from closedloop.store.ledger import BATCH, BUDGET_S, ROUNDS, Item, Ledger
from tests.builders import a_packet, a_record


class Slow:
    """A table whose every call takes its time, and which leaves undone all of a batch or nothing."""

    def __init__(self, call_s: float, takes: bool = False) -> None:
        self.call_s, self.takes = call_s, takes
        self.now, self.calls, self.waits = 0.0, 0, list[int]()

    def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        assert operation == "BatchWriteItem"
        self.calls, self.now = self.calls + 1, self.now + self.call_s
        return {} if self.takes else {"UnprocessedItems": parameters["RequestItems"]}

    def wait(self, attempt: int) -> None:
        self.waits.append(attempt)
        self.now += pause_s(attempt)


def pause_s(attempt: int) -> float:
    """The longest that `clock.wait` may take."""
    return 0.05 * 2 ** (attempt - 1)


def packets(count: int) -> list[Packet]:
    return [a_packet(a_record(f"e{number}", visitor=f"visitor-{number}")) for number in range(count)]


CASES = [(0.0, ROUNDS), (0.3, ROUNDS), (0.9, 4), (1.4, 3), (2.9, 2), (3.1, 1), (60.0, 1)]


@pytest.mark.parametrize(("call_s", "calls"), CASES)
def test_what_stays_undone_is_spilled_once_the_time_is_over(call_s: float, calls: int) -> None:
    table, kept = Slow(call_s), list[tuple[int, str]]()
    Ledger(
        table, "Events", table.wait, lambda items, why: kept.append((len(items), why)), lambda: table.now
    ).append(packets(BATCH))
    assert kept == [(BATCH, "UnprocessedItems")]
    assert (table.calls, table.waits) == (calls, list(range(1, calls)))
    # Only a wait and a call that were begun in time go past it.
    assert table.now <= BUDGET_S + pause_s(ROUNDS - 1) + call_s


@pytest.mark.parametrize(("call_s", "calls"), CASES)
def test_without_a_spill_the_sender_is_told_to_try_again(call_s: float, calls: int) -> None:
    table = Slow(call_s)
    with pytest.raises(NotDurable) as told:
        Ledger(table, "Events", table.wait, clock=lambda: table.now).append(packets(BATCH))
    assert isinstance(told.value, TryAgain)
    assert table.calls == calls


@pytest.mark.parametrize(("call_s", "calls", "spilled"), [(1.0, 4, 0), (1.6, 2, 2 * BATCH), (4.0, 1, 3 * BATCH)])
def test_what_a_slow_table_has_not_been_asked_for_in_time_is_spilled_unasked(
    call_s: float, calls: int, spilled: int
) -> None:
    table, kept = Slow(call_s, takes=True), list[Item]()
    Ledger(table, "Events", table.wait, lambda items, why: kept.extend(items), lambda: table.now).append(
        packets(4 * BATCH)
    )
    assert (table.calls, len(kept)) == (calls, spilled)
