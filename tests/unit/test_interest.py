"""Interest that fades: exact sums, one order at every moment, and no date that breaks it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.profiles.interest import LANDMARK, falls_below, score, share, weight

TWO_WEEKS = timedelta(days=14)
MOMENTS = st.datetimes(datetime(2025, 6, 1), datetime(2029, 12, 31), timezones=st.just(UTC))


def day(count: float) -> datetime:
    return LANDMARK + timedelta(days=count)


def test_ten_points_and_five_two_weeks_later_are_twenty_as_of_the_landmark() -> None:
    total = weight(10, day(0), half_life=TWO_WEEKS) + weight(5, day(14), half_life=TWO_WEEKS)
    assert total == 20_000_000
    assert [score(total, day(days), half_life=TWO_WEEKS) for days in (14, 28)] == [10, 5]


def test_it_is_known_when_a_score_will_fall_below_a_threshold() -> None:
    falls = falls_below(20_000_000, 4, half_life=TWO_WEEKS)
    assert falls is not None
    assert (falls - LANDMARK) / timedelta(days=1) == pytest.approx(32.507, abs=0.001)
    assert score(20_000_000, falls, half_life=TWO_WEEKS) == pytest.approx(4)


@pytest.mark.parametrize("total", [0, -5])
def test_what_is_worth_nothing_never_falls(total: int) -> None:
    assert falls_below(total, 1) is None


@given(st.lists(st.tuples(st.floats(0.1, 1000), MOMENTS), max_size=40), st.randoms())
def test_sums_are_whole_numbers_so_no_order_changes_a_bit(earned: list[tuple[float, datetime]], chance: Random) -> None:
    weights = [weight(points, at) for points, at in earned]
    assert all(isinstance(each, int) for each in weights)
    chance.shuffle(weights)
    assert sum(weights) == sum(weight(points, at) for points, at in earned)


@given(st.floats(1, 1000), MOMENTS, MOMENTS)
def test_points_fade_from_their_moment_on(points: float, earned: datetime, now: datetime) -> None:
    faded = points * 2 ** (-((now - earned) / timedelta(days=30)))
    assert score(weight(points, earned), now) == pytest.approx(faded, rel=1e-3, abs=1e-4)


@given(st.integers(1, 10**12), st.integers(1, 10**12), MOMENTS)
def test_the_order_of_two_sums_is_the_order_of_their_scores_at_every_moment(
    one: int, other: int, now: datetime
) -> None:
    assert (one > other) == (score(one, now) > score(other, now)) or score(one, now) == score(other, now)


@pytest.mark.parametrize("year", [1, 1970, 2026, 2500, 9999])
@pytest.mark.parametrize("points", [0.5, 1000.0])
def test_no_date_breaks_a_score(year: int, points: float) -> None:
    at = datetime(year, 12, 31, 23, 59, 59, tzinfo=UTC)
    total = weight(points, at) + weight(1, day(0))
    assert total >= 0
    for then in (at, day(0), datetime(9999, 12, 31, tzinfo=UTC), datetime(1, 1, 1, tzinfo=UTC)):
        assert score(total, then) >= 0
    falls_below(total, 0.001)
    falls_below(total, 1_000_000)


def test_the_share_of_a_topic_is_the_same_at_every_moment() -> None:
    totals = {"pumps": 3_000_000, "valves": 1_000_000}
    assert (share(totals, "pumps"), share(totals, "filters"), share({}, "pumps")) == (0.75, 0, 0)
    now = day(200)
    assert score(totals["pumps"], now) / sum(score(total, now) for total in totals.values()) == pytest.approx(0.75)
