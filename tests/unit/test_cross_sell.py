"""What is bought after what: in the order of time, within the horizon, with an interval, or not said at all."""

from __future__ import annotations

import json
from datetime import datetime, timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.reports.cross_sell import LEAST_BOTH, CrossSell, candidates, cross_sell
from tests.builders import NOW

VECTOR = json.loads(Path("tests/vectors/customers.json").read_text())["cross_sell"]
YEAR = timedelta(days=365)
LONG_AGO = NOW - timedelta(days=1000)
SOON_AFTER = LONG_AGO + timedelta(days=30)


def the_pair(customers: list[dict[str, datetime]], first: str = "washer", then: str = "fridge") -> CrossSell:
    (found,) = [one for one in cross_sell(customers, NOW, YEAR) if (one.first, one.then) == (first, then)]
    return found


def many(both: int = 60, owners: int = 200, buyers: int = 150, customers: int = 1000) -> list[dict[str, datetime]]:
    return [
        *[{"washer": LONG_AGO, "fridge": SOON_AFTER}] * both, *[{"washer": LONG_AGO}] * (owners - both),
        *[{"fridge": LONG_AGO}] * (buyers - both), *[{"oven": LONG_AGO}] * (customers - owners - buyers + both),
    ]


def test_the_lift_and_its_interval_are_the_published_ones() -> None:
    pair = the_pair(many())
    assert (pair.both, pair.owners, pair.others_bought, pair.others) == (60, 200, 90, 800)
    assert pair.lift == pytest.approx(VECTOR["lift"])
    assert (pair.both / pair.owners, pair.others_bought / pair.others) == (VECTOR["share"], VECTOR["others_share"])
    assert pair.difference.low == pytest.approx(VECTOR["low"], abs=5e-4)
    assert pair.difference.high == pytest.approx(VECTOR["high"], abs=5e-4)
    assert (pair.proven, pair.words) == (True, "bought more often")


def test_fewer_than_twenty_who_bought_both_are_not_enough_evidence() -> None:
    pair = the_pair(many(both=LEAST_BOTH - 1, owners=19, buyers=19))
    assert (pair.enough, pair.proven) == (False, False)
    assert pair.words == "not enough evidence: 19 bought both, 20 are needed"
    assert the_pair(many(both=LEAST_BOTH, owners=20, buyers=20)).proven


def test_no_difference_is_said_to_be_none() -> None:
    assert the_pair(many(both=30, owners=200, buyers=150)).words == "no difference is shown"
    assert the_pair(many(both=20, owners=400, buyers=400)).words == "bought less often"


def test_what_was_bought_before_or_at_once_is_no_consequence() -> None:
    same = [{"washer": LONG_AGO, "fridge": LONG_AGO}] * 40
    before = [{"washer": SOON_AFTER, "fridge": LONG_AGO}] * 40
    assert cross_sell(same, NOW, YEAR) == []
    assert [(one.first, one.then) for one in cross_sell(before, NOW, YEAR)] == []
    pair = the_pair([*many(), *same, *before])
    assert (pair.both, pair.owners, pair.others_bought, pair.others) == (60, 200, 170, 880)


def test_whoever_bought_too_lately_to_be_judged_is_left_out() -> None:
    late = [{"washer": NOW - timedelta(days=10), "fridge": NOW - timedelta(days=5)}] * 50
    waiting = [{"washer": NOW - timedelta(days=10)}] * 50
    assert the_pair([*many(), *late, *waiting]) == the_pair(many())


def test_what_is_bought_after_the_horizon_is_no_consequence() -> None:
    long_after = [{"washer": LONG_AGO, "fridge": LONG_AGO + timedelta(days=500)}] * 10
    pair = the_pair([*many(), *long_after])
    assert (pair.both, pair.owners, pair.others_bought) == (60, 210, 90)


def test_what_happens_after_the_moment_is_not_known_yet() -> None:
    assert cross_sell([{"washer": LONG_AGO, "fridge": NOW + timedelta(days=1)}] * 30, NOW, YEAR) == []


HISTORIES = st.lists(st.dictionaries(
    st.sampled_from("abc"), st.integers(0, 900).map(lambda days: NOW - timedelta(days=days)), max_size=3
), max_size=40)


@given(HISTORIES, st.randoms())
def test_counts_balance_whatever_the_order(customers: list[dict[str, datetime]], chance: Random) -> None:
    mixed = list(customers)
    chance.shuffle(mixed)
    pairs = cross_sell(customers, NOW, YEAR)
    assert pairs == cross_sell(mixed, NOW, YEAR)
    for one in pairs:
        assert 0 < one.both <= one.owners
        assert 0 <= one.others_bought <= one.others
        assert one.owners + one.others <= len(customers)
        # Counted one by one.
        whole = [
            c for c in customers
            if one.first in c and c[one.first] <= NOW - YEAR and not c.get(one.then, NOW) <= c[one.first]
        ]
        assert len(whole) == one.owners
        bought = [c for c in whole if one.then in c and c[one.then] <= c[one.first] + YEAR]
        assert len(bought) == one.both
        rest = [
            c for c in customers
            if c and not (one.first in c and not (one.then in c and c[one.then] <= c[one.first]))
        ]
        assert (len(rest), sum(one.then in c for c in rest)) == (one.others, one.others_bought)


def test_it_is_offered_to_those_who_own_the_first_and_not_the_second_while_it_is_time() -> None:
    pairs = cross_sell(many(), NOW, YEAR)
    recent = NOW - timedelta(days=100)
    customers = [
        ("due", {"washer": recent}), ("has both", {"washer": recent, "fridge": recent}),
        ("too late", {"washer": LONG_AGO}), ("neither", {"oven": recent}),
        ("not yet", {"washer": NOW + timedelta(days=1)}),
    ]
    found = candidates(customers, pairs, NOW, YEAR)
    assert [(one.person, one.pair.then, one.since) for one in found] == [("due", "fridge", recent)]
    few = cross_sell(many(both=5, owners=5, buyers=5), NOW, YEAR)
    assert candidates(customers, few, NOW, YEAR) == []
