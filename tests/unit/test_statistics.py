"""The worked examples of the analytics reference, section 4, and what must never happen."""

from __future__ import annotations

from math import isfinite

import pytest
from hypothesis import given
from hypothesis import strategies as some

from closedloop.reports.statistics import (
    Interval,
    always_valid,
    always_valid_evidence,
    detectable,
    newcombe,
    sample_ratio,
    share,
    wilson,
)


def near(interval: Interval | None, low: float, high: float, within: float = 5e-5) -> bool:
    assert interval is not None
    return interval.low == pytest.approx(low, abs=within) and interval.high == pytest.approx(high, abs=within)


def test_wilson_gives_the_reference_s_intervals() -> None:
    assert near(wilson(120, 1000), 0.10130, 0.14161, 1e-5)
    assert near(wilson(90, 1000), 0.07380, 0.10934, 1e-5)


def test_newcombe_gives_the_reference_s_interval_and_the_published_one() -> None:
    assert near(newcombe(120, 1000, 90, 1000), 0.00310, 0.05701, 1e-5)
    assert near(newcombe(56, 70, 48, 80), 0.0524, 0.3339)


def test_the_always_valid_interval_is_the_reference_s() -> None:
    interval = always_valid(120, 1000, 90, 1000, effect=0.001**0.5)
    assert interval is not None
    assert (interval.high - interval.low) / 2 == pytest.approx(0.0418, abs=5e-5)
    assert always_valid_evidence(120, 1000, 90, 1000, effect=0.001**0.5) == pytest.approx(2.999, abs=5e-4)


def test_uneven_arms_are_refused_as_in_the_reference() -> None:
    assert sample_ratio(860, 140, 0.1) == pytest.approx(2.5e-5, rel=0.03)


def test_small_arms_are_judged_by_the_exact_binomial() -> None:
    # Ten drawn at one half: 0 or 10 in an arm have probability 2/1024.
    assert sample_ratio(0, 9, 0.5) == pytest.approx(2 / 512)
    assert sample_ratio(8, 2, 0.2) == pytest.approx(1.0)
    assert sample_ratio(9, 0, 0.5) == sample_ratio(0, 9, 0.5)


def test_a_small_loop_detects_only_large_effects() -> None:
    assert detectable(400, 100, 0.2) == pytest.approx(0.125, abs=5e-4)


def test_nobody_counted_is_no_number() -> None:
    assert share(0, 0) is wilson(0, 0) is newcombe(1, 2, 0, 0) is always_valid(0, 0, 1, 2) is None
    assert sample_ratio(0, 0, 0.2) is detectable(0, 5, 0.1) is None


COUNT = some.integers(0, 50_000)


@given(COUNT, COUNT, COUNT, COUNT, some.floats(0.0001, 0.5))
def test_figures_are_finite_and_intervals_hold_their_point(a: int, b: int, c: int, d: int, held: float) -> None:
    (x1, n1), (x2, n2) = sorted((a, b)), sorted((c, d))
    for interval, point in (
        (wilson(x1, n1), x1 / n1 if n1 else 0.0),
        (newcombe(x1, n1, x2, n2), x1 / n1 - x2 / n2 if n1 and n2 else 0.0),
        (always_valid(x1, n1, x2, n2), x1 / n1 - x2 / n2 if n1 and n2 else 0.0),
    ):
        if interval is not None:
            assert isfinite(interval.low) and isfinite(interval.high)
            assert interval.low <= point + 1e-12 and point - 1e-12 <= interval.high
    p = sample_ratio(n1, n2, held)
    assert p is None or 0 <= p <= 1
    evidence = always_valid_evidence(x1, n1, x2, n2)
    assert evidence is None or isfinite(evidence)
