"""How long something takes: published and hand-made vectors, and what holds of every curve."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from closedloop.reports.survival import (
    Wait,
    at,
    is_known_at,
    median,
    median_interval,
    reached,
    still_waiting,
)

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/survival.json").read_text(encoding="utf-8"))
END = some.sampled_from(["moved", "lost", ""])
WAITS = some.lists(some.builds(Wait, some.integers(0, 20), END, some.integers(1, 9)))


@pytest.mark.parametrize("vector", VECTORS, ids=[vector["name"] for vector in VECTORS])
def test_curves_are_the_published_ones(vector: dict[str, Any]) -> None:
    waits = [Wait(time, end) for time, end in vector["waits"]]
    found = still_waiting(waits, ("moved",))
    assert [(point.time, pytest.approx(point.share, abs=6e-4), pytest.approx(point.error, abs=6e-4)) for point in found
            ] == [tuple(point) for point in vector["still_waiting"]]
    assert median(found) == vector["median"]
    for end, points in vector.get("reached", {}).items():
        assert [(point.time, pytest.approx(point.share, abs=6e-4)) for point in reached(waits, end)] == [
            tuple(point) for point in points]


def test_the_interval_of_a_median_says_when_half_may_have_got_there() -> None:
    aml = still_waiting([Wait(time, end) for time, end in VECTORS[1]["waits"]], ("moved",))
    # Plain intervals: 0.614 less 1.96 errors falls below a half at 18, and the upper one at 48.
    assert median_interval(aml) == (18, 48)
    assert median_interval(()) == (None, None)


@given(WAITS)
def test_all_ends_and_those_still_waiting_make_everybody(waits: list[Wait]) -> None:
    anyhow = still_waiting(waits, ("moved", "lost"))
    for time in range(22):
        ends = sum(at(reached(waits, end), time, 0.0).share for end in ("moved", "lost"))
        assert ends + at(anyhow, time, 1.0).share == pytest.approx(1.0, abs=1e-9)


@given(WAITS)
def test_without_anybody_still_waiting_a_curve_is_the_share_counted(waits: list[Wait]) -> None:
    done = [wait for wait in waits if wait.end]
    everybody = sum(wait.people for wait in done)
    for point in reached(done, "moved"):
        moved = sum(wait.people for wait in done if wait.end == "moved" and wait.time <= point.time)
        assert point.share == pytest.approx(moved / everybody)


@given(WAITS, some.randoms())
def test_the_order_of_people_changes_no_curve_and_shares_only_fall(waits: list[Wait], order: Any) -> None:
    mixed = list(waits)
    order.shuffle(mixed)
    curve = still_waiting(waits, ("moved",))
    assert curve == still_waiting(mixed, ("moved",))
    shares = [1.0, *(point.share for point in curve)]
    assert shares == sorted(shares, reverse=True) and all(0 <= share <= 1 for share in shares)
    assert all(0 <= point.interval.low <= point.share <= point.interval.high <= 1 for point in curve)


@pytest.mark.parametrize(("waits", "known"), [
    ([Wait(30, "")], True), ([Wait(29, "")], False), ([Wait(3, "moved"), Wait(4, "lost")], True),
    ([Wait(3, "moved"), Wait(3, "")], False), ([], False),
])
def test_a_curve_says_nothing_of_days_that_nobody_could_reach(waits: list[Wait], known: bool) -> None:
    assert is_known_at(waits, 30) is known
