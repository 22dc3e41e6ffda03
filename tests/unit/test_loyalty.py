"""Who comes back: fifths among all customers, evidence in words, and the chance that somebody still is a customer."""

from __future__ import annotations

import json
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from closedloop.events.times import iso
from closedloop.profiles.loyalty import BetaGeometric, Purchase, alive, purchases_of, standings
from closedloop.profiles.profile import DealState
from tests.builders import NOW, minutes

VECTOR = json.loads(Path("tests/vectors/customers.json").read_text())["alive"]
CDNOW = BetaGeometric(VECTOR["r"], VECTOR["alpha"], VECTOR["a"], VECTOR["b"])


def bought(*days_ago: int, worth: int = 100, currency: str = "JPY") -> list[Purchase]:
    return [Purchase(NOW - timedelta(days=days), worth, currency) for days in days_ago]


def test_what_was_won_and_kept_is_a_purchase_when_it_was_won() -> None:
    deals = {
        "a/1": DealState("won", 500, "JPY", iso(minutes(5)), refunded_minor=100, won_at=iso(minutes(1))),
        "a/2": DealState("won", 500, "JPY", iso(minutes(2)), refunded_minor=500),
        "a/3": DealState("opened", 500, "JPY", iso(minutes(3))), "a/4": DealState("lost", 500, "JPY", iso(minutes(4))),
        "a/5": DealState("won", 0, "", iso(minutes(0))), "a/6": DealState("won", 9, "JPY", iso(minutes(99))),
    }
    assert purchases_of(deals, minutes(10)) == [Purchase(minutes(0), 0, ""), Purchase(minutes(1), 400, "JPY")]


def test_loyal_is_who_bought_lately_and_often_as_customers_go_here() -> None:
    customers = [(f"p{n}", bought(*range(n, 100, 20 * n))) for n in range(1, 6)]
    found = {one.person: one for one in standings(customers, "JPY", NOW)}
    assert [(one.recency, one.frequency, one.money) for one in (found["p1"], found["p5"])] == [(5, 5, 5), (1, 1, 1)]
    assert found["p1"].words == "loyal: bought 5 times, last 1 days ago: R 5, F 5 of 5 customers"
    assert found["p5"].words == "bought once, last 5 days ago: R 1, F 1 of 5 customers"
    assert [one.person for one in found.values() if one.loyal] == ["p1", "p2"]


def test_nobody_is_loyal_where_all_are_alike_or_there_is_one_alone() -> None:
    assert not any(one.loyal for one in standings([("p1", bought(1, 2, 3))], "JPY", NOW))
    assert not any(one.loyal for one in standings([(f"p{n}", bought(1)) for n in range(20)], "JPY", NOW))


def test_whoever_never_bought_is_no_customer_and_other_money_is_none() -> None:
    (one,) = standings([("p0", []), ("p1", bought(1, currency="EUR") + bought(2, worth=7))], "JPY", NOW)
    assert (one.person, one.of, one.purchases, one.worth_minor) == ("p1", 1, 2, 7)


def test_the_chance_to_be_alive_is_the_published_one() -> None:
    found = alive(VECTOR["repeats"], VECTOR["last"], VECTOR["observed"], CDNOW)
    assert found == pytest.approx(VECTOR["chance"], abs=5e-5)


@given(st.integers(0, 50), st.floats(0, 200), st.floats(0, 200))
def test_the_longer_a_customer_is_silent_the_less_likely_they_are_one(repeats: int, last: float, silent: float) -> None:
    chance = alive(repeats, last, last + silent, CDNOW)
    assert 0 <= chance <= 1
    assert alive(repeats, last, last + silent + 1, CDNOW) <= chance
