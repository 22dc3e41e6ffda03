"""Journeys are cut as the reference says, and credit is conserved to the last minor unit."""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from fractions import Fraction
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as some

from closedloop.attribution.journeys import Conversion, Journey, Touch, journeys
from closedloop.attribution.rules import RULES, Weigh, credit, credit_by, last_non_direct, milestones, time_decay, whole

CASES = json.loads((Path(__file__).parents[1] / "vectors/attribution.json").read_text())["cases"]
WON = datetime(2026, 10, 30, tzinfo=UTC)


def a_journey(path: Sequence[str], value: int, number: int = 0) -> Journey:
    touches = tuple(Touch(WON - timedelta(hours=len(path) - i), f"e{i}", channel) for i, channel in enumerate(path))
    return Journey(Conversion(f"d{number}", "p", WON, value), touches)


def a_touch(days_before: float, channel: str = "A") -> Touch:
    return Touch(WON - timedelta(days=days_before), f"e{days_before}{channel}", channel)


@pytest.mark.parametrize("rule", sorted(RULES))
@pytest.mark.parametrize("case", CASES, ids=[case["name"] for case in CASES])
def test_credit_is_what_the_reference_works_out(case: dict[str, Any], rule: str) -> None:
    found = credit([a_journey(p["path"], p["value"], i) for i, p in enumerate(case["paths"])], RULES[rule])
    assert {channel: (share.conversions, share.value) for channel, share in found.items()} == {
        channel: (Fraction(part), value) for channel, (part, value) in case[rule].items()
    }


PATHS = some.lists(
    some.tuples(some.lists(some.sampled_from("ABCDE"), max_size=8), some.integers(-(10**12), 10**15)), max_size=30
)


@given(PATHS, some.sampled_from(sorted(RULES)))
def test_every_rule_conserves_deals_and_value(paths: list[tuple[list[str], int]], rule: str) -> None:
    found = credit([a_journey(path, value, i) for i, (path, value) in enumerate(paths)], RULES[rule])
    assert sum((share.conversions for share in found.values()), Fraction(0)) == len(paths)
    assert sum(share.value for share in found.values()) == sum(value for _, value in paths)


@given(PATHS, some.randoms())
def test_credit_does_not_depend_on_the_order_of_the_deals(paths: list[tuple[list[str], int]], order: Any) -> None:
    cut = [a_journey(path, value, i) for i, (path, value) in enumerate(paths)]
    mixed = list(cut)
    order.shuffle(mixed)
    assert credit(cut, RULES["linear"]) == credit(mixed, RULES["linear"])


def weights(touches: Sequence[Touch], weigh: Weigh) -> list[Fraction]:
    return list(weigh(Journey(Conversion("d", "p", WON, 100), tuple(touches))))


def test_time_decay_halves_the_credit_for_each_half_life_as_the_reference_works_out() -> None:
    touches = [a_touch(days, channel) for days, channel in ((21, "A"), (14, "B"), (7, "B"), (0, "C"))]
    journey = Journey(Conversion("d", "p", WON, 1500), tuple(touches))
    found = credit_by([journey], time_decay(timedelta(days=7)))
    assert {channel: share.value for channel, share in found.items()} == {"A": 100, "B": 600, "C": 800}
    assert [float(found[channel].conversions) for channel in "ABC"] == pytest.approx([1 / 15, 6 / 15, 8 / 15])


def test_time_decay_does_not_sink_to_nothing_when_all_was_long_ago() -> None:
    assert weights([a_touch(80_000), a_touch(80_000, "B")], time_decay(timedelta(days=1))) == [Fraction(1, 2)] * 2


@pytest.mark.parametrize(
    ("days", "prospect", "opportunity", "expected"),
    [
        ((5, 4, 3, 2, 1), 4, 2, ["3/10", "3/10", "1/20", "3/10", "1/20"]),
        ((5, 4, 3), 5, 5, ["9/10", "1/20", "1/20"]),
        ((5, 4, 3), 4, 3, ["1/3", "1/3", "1/3"]),
        ((5, 4, 3), 3.5, None, ["3/7", "3/7", "1/7"]),
        ((5,), None, None, ["1"]),
        ((5, 4), 6, None, ["3/4", "1/4"]),
    ],
    ids=[
        "the reference's five", "both on the first", "no rest", "no opportunity, prospect between two touchpoints",
        "one touchpoint", "a prospect before anything was met",
    ],
)
def test_milestones_weigh_three_tenths_each_and_what_is_missing_is_left_out(
    days: Sequence[float], prospect: float | None, opportunity: float | None, expected: list[str]
) -> None:
    at = [{} if day is None else {"d": WON - timedelta(days=day)} for day in (prospect, opportunity)]
    assert weights([a_touch(day) for day in days], milestones(*at)) == [Fraction(weight) for weight in expected]


@pytest.mark.parametrize(
    ("path", "credited"), [("A direct", "A"), ("A B Direct (direct)", "B"), ("direct", "direct"), ("direct A", "A")]
)
def test_direct_gives_way_to_what_was_met_before_it(path: str, credited: str) -> None:
    found = credit_by([a_journey(path.split(), 7)], last_non_direct())
    assert {channel: share.value for channel, share in found.items()} == {credited: 7}


WEIGHINGS = {
    "time decay": time_decay(), "last but direct": last_non_direct(frozenset("a")),
    "milestones": milestones({f"d{i}": WON - timedelta(hours=2) for i in range(0, 30, 2)}, {"d0": WON, "d3": WON}),
}


@given(PATHS, some.sampled_from(sorted(WEIGHINGS)))
def test_every_weighing_by_time_or_name_conserves_deals_and_value(
    paths: list[tuple[list[str], int]], weighing: str
) -> None:
    found = credit_by([a_journey(path, value, i) for i, (path, value) in enumerate(paths)], WEIGHINGS[weighing])
    assert sum((share.conversions for share in found.values()), Fraction(0)) == len(paths)
    assert sum(share.value for share in found.values()) == sum(value for _, value in paths)


@given(some.lists(some.fractions(-1000, 1000, max_denominator=97), max_size=20))
def test_rounding_keeps_the_sum_and_moves_no_share_by_a_whole_unit(shares: list[Fraction]) -> None:
    rounded = whole(shares)
    assert sum(rounded) == round(sum(shares, Fraction(0)))
    assert all(abs(one - share) <= 1 for one, share in zip(rounded, shares, strict=True))


def test_a_touchpoint_older_than_the_lookback_takes_no_part() -> None:
    touches = (a_touch(91, "old"), a_touch(90, "edge"), a_touch(0, "now"))
    (journey,) = journeys([Conversion("d", "p", WON)], {"p": touches})
    assert journey.path == ("edge", "now")


def test_what_comes_after_a_deal_begins_the_next_journey() -> None:
    ends = [Conversion("d1", "p", WON - timedelta(days=10)), Conversion("d2", "p", WON)]
    first, second = journeys(ends, {"p": (a_touch(20, "A"), a_touch(10, "B"), a_touch(5, "C"), a_touch(-1, "D"))})
    assert (first.path, second.path) == (("A", "B"), ("C",))


def test_two_deals_at_one_moment_share_no_touchpoint_twice() -> None:
    first, second = journeys([Conversion("d2", "p", WON), Conversion("d1", "p", WON)], {"p": (a_touch(1),)})
    assert (first.conversion.id, first.path, second.path) == ("d1", ("A",), ())


def test_nobody_s_deal_has_an_empty_journey() -> None:
    (journey,) = journeys([Conversion("d", "", WON)], {"p": (a_touch(1),)})
    assert journey.path == ()
