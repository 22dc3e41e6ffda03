"""Fit: how much somebody is like the wanted people, from what is known of them and nothing else."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closedloop.profiles.fit import fit_ledger, fit_of
from closedloop.sites.definition import Site

WANTED: tuple[dict[str, Any], ...] = (
    {"attribute": "industry", "is_one_of": ["water", "food", "化学"], "points": 60},
    {"attribute": "employees", "at_least": 100, "points": 40},
    {"attribute": "industry", "is_one_of": ["student"], "points": -100},
)


def a_site(*wanted: dict[str, Any]) -> Site:
    return Site.model_validate({
        "site": "demo", "title": "Demo", "write_key": "pk_demo_12345678", "origins": ["https://a.example"],
        "target_attributes": list(wanted or WANTED),
    })


@pytest.mark.parametrize(("attributes", "fit", "lines"), [
    ({}, 0, []),
    ({"industry": "water"}, 60, [("industry is water", 60)]),
    ({"industry": " WATER ", "employees": "250"}, 100, [("industry is  WATER ", 60), ("employees is 250", 40)]),
    ({"industry": "ｆｏｏｄ", "employees": "２５０"}, 100, [("industry is ｆｏｏｄ", 60), ("employees is ２５０", 40)]),
    ({"industry": "化学"}, 60, [("industry is 化学", 60)]),
    ({"industry": "student", "employees": 500}, 0, [("employees is 500", 40), ("industry is student", -100)]),
    ({"industry": "watermelons"}, 0, []),
    ({"hobby": "water"}, 0, []),
])
def test_fit_is_the_sum_of_its_lines_between_0_and_100(
    attributes: dict[str, Any], fit: int, lines: list[tuple[str, int]]
) -> None:
    assert (fit_of(attributes, a_site()), list(fit_ledger(attributes, a_site()))) == (fit, lines)


@pytest.mark.parametrize(("value", "counts"), [
    (100, True), (99.99, False), ("100", True), ("1,200", True), ("1,200,000", True), ("100.0", True), (" 100 ", True),
    ("1,20", False), ("1_000", False), ("about 200", False), ("100+", False), ("", False), (True, False), (None, False),
    (float("nan"), False), (float("inf"), False), ("inf", False), ("nan", False), ("1e9", False), (10**400, True),
    ("9" * 5000, False), ([100], False), ("٢٠٠", False),
])
def test_only_what_is_a_number_is_held_against_a_number(value: Any, counts: bool) -> None:
    assert (fit_of({"employees": value}, a_site()) == 40) is counts


def test_a_yes_is_no_one() -> None:
    wanted = {"attribute": "employees", "at_least": 1, "points": 40}
    assert [fit_of({"employees": value}, a_site(wanted)) for value in (1, True, "1", "true")] == [40, 0, 40, 0]


def test_points_beyond_the_scale_end_at_its_ends() -> None:
    much = [{"attribute": name, "is_one_of": ["yes"], "points": 80} for name in ("a", "b")]
    little = [{"attribute": "a", "is_one_of": ["yes"], "points": -80}]
    assert fit_of({"a": "yes", "b": "yes"}, a_site(*much)) == 100
    assert fit_of({"a": "yes"}, a_site(*little)) == 0


VALUES = st.none() | st.booleans() | st.integers(-10**400, 10**400) | st.floats() | st.text(max_size=8)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(["industry", "employees", "hobby"]), VALUES))
def test_whatever_somebody_says_of_themselves_has_a_fit(attributes: dict[str, Any]) -> None:
    lines = list(fit_ledger(attributes, a_site()))
    assert fit_of(attributes, a_site()) == max(0, min(100, sum(points for _, points in lines)))
