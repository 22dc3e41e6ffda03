"""The worked examples of the big loop, and what must hold for any numbers."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as some

from closedloop.loops.definition import Gate
from closedloop.loops.gates import ask
from closedloop.profiles.interest import HALF_LIFE, weight
from closedloop.reports import allocation
from closedloop.reports.bottleneck import (
    JEFFREYS,
    Passage,
    by_moments,
    chain,
    drawn,
    leaks,
    prior,
    seeded,
    target,
)
from closedloop.reports.judged import Judged, buckets, carried_over, interested_until, read, threshold_of
from closedloop.reports.next_test import Testable, next_test, people_needed, value_of_knowing
from closedloop.reports.threshold import Bucket, better, cut
from tests.builders import a_profile

VECTORS = json.loads((Path(__file__).parents[1] / "vectors/big_loop.json").read_text(encoding="utf-8"))
PASSAGES = [Passage(g["gate"], g["passed"], g["of"], g["target"]) for g in VECTORS["bottleneck"]["gates"]]
NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)


# Where people leak.


def test_the_bottleneck_of_the_reference() -> None:
    told = VECTORS["bottleneck"]
    found = leaks(PASSAGES, chain(told["entrants"]), told["worth"], seeded("L1"))
    assert [leak.gate for leak in found] == ["2", "1", "3"]
    for leak in found:
        wanted = next(gate for gate in told["gates"] if gate["gate"] == leak.gate)
        assert leak.largest == pytest.approx(wanted["largest"], abs=0.02)
        for name in ("gain", "low", "high"):
            assert getattr(leak, name) == pytest.approx(wanted[name], abs=0.35), name


def test_the_gains_of_certain_rates_are_those_of_the_reference() -> None:
    many = [Passage(p.gate, p.passed * 10**6, p.of * 10**6, p.target) for p in PASSAGES]
    found = {leak.gate: leak.gain for leak in leaks(many, chain(10_000), 1, seeded("L1"))}
    assert found == {g["gate"]: pytest.approx(g["point"], rel=0.01) for g in VECTORS["bottleneck"]["gates"]}


def test_the_same_loop_and_moment_draw_the_same_numbers() -> None:
    first, second, other = (leaks(PASSAGES, chain(10_000), 1, seeded(*of)) for of in ("at", "at", "bt"))
    assert first == second != other


def test_a_gain_beyond_what_sales_can_take_counts_nothing() -> None:
    def capped(rates: Any) -> Any:
        return chain(10_000)(rates).clip(max=20)

    assert [leak.gain for leak in leaks(PASSAGES, capped, 1, seeded("L1"))] == pytest.approx([0, 0, 0], abs=0.01)


@given(some.lists(some.tuples(some.integers(0, 50), some.integers(0, 50), some.floats(0, 1)), min_size=1, max_size=5))
@settings(max_examples=30, deadline=None)
def test_chances_of_being_the_largest_are_shares_and_gains_no_losses(counted: list[tuple[int, int, float]]) -> None:
    gates = [Passage(str(n), passed, passed + rest, wanted) for n, (passed, rest, wanted) in enumerate(counted)]
    found = leaks(gates, chain(1000), 1, seeded("any"))
    assert sum(leak.largest for leak in found) <= 1 + 1e-9
    for leak in found:
        assert 0 <= leak.largest <= 1 and 0 <= leak.rate <= 1
        assert 0 <= leak.low <= leak.high and leak.gain >= 0


@given(some.floats(0, 1), some.floats(0, 1))
@settings(max_examples=20, deadline=None)
def test_a_higher_target_never_brings_less(one: float, other: float) -> None:
    low, high = sorted((one, other))
    gains = [
        leaks([Passage("1", 30, 100, wanted)], chain(1000), 1, seeded("same"))[0].gain for wanted in (low, high)
    ]
    assert gains[0] <= gains[1]


def test_a_prior_weighs_what_the_reference_says_and_never_too_much() -> None:
    told = VECTORS["prior"]
    a, b = by_moments(told["mean"], told["spread"])
    assert a + b == pytest.approx(told["weight"]) and a / (a + b) == pytest.approx(told["mean"])
    assert sum(by_moments(0.2, 1e-9)) == pytest.approx(200) and sum(by_moments(0.5, 0.2)) == pytest.approx(2)
    assert prior([0.2]) == prior([]) == by_moments(0.0, 0.1) == JEFFREYS


def test_a_target_is_measured_before_it_is_stated_and_stated_before_it_is_assumed() -> None:
    assert target([0.1, 0.2, 0.3], [0.4, 0.4], 0.9, 0.5) == (0.4, False)
    assert target([9, 0.1, 0.2, 0.3, 0.4, 0.5], [], None, 0.5) == (0.3, False)
    assert target([], [], 0.15, 0.5) == (0.15, True)
    assert target([], [], None, 0.5) == (0.5, True)


# Thresholds under sales capacity.


def the_buckets() -> list[Bucket]:
    told = VECTORS["threshold"]["buckets"]
    return [Bucket(b["at_least"], b["people"], b["rate"] * b["people"], b["people"]) for b in told]


@pytest.mark.parametrize("wanted", VECTORS["threshold"]["cuts"])
def test_the_threshold_of_the_reference(wanted: dict[str, Any]) -> None:
    told = VECTORS["threshold"]
    found = cut(the_buckets(), [b["rate"] for b in told["buckets"]], told["worth"], told["cost"], wanted["capacity"])
    assert (found.at_least, found.value, found.shadow_price) == pytest.approx(
        (wanted["at_least"], wanted["value"], wanted["shadow_price"]))


def test_a_tighter_gate_is_better_only_where_sales_is_short() -> None:
    told = VECTORS["threshold"]
    short = better(the_buckets(), 50, 70, told["worth"], told["cost"], 150, seeded("L1"))
    roomy = better(the_buckets(), 50, 70, told["worth"], told["cost"], None, seeded("L1"))
    assert short > 0.9 and roomy < 0.1


@given(some.integers(1, 400), some.integers(1, 400))
@settings(max_examples=20, deadline=None)
def test_more_room_is_never_worth_less(one: int, other: int) -> None:
    told = VECTORS["threshold"]
    rates = [b["rate"] for b in told["buckets"]]
    less, more = (cut(the_buckets(), rates, told["worth"], told["cost"], room).value for room in sorted((one, other)))
    assert less <= more


# The budget.


def test_the_budget_of_the_reference() -> None:
    told = VECTORS["budget"]
    a, b = np.array([told["a"]], dtype=float), np.full((1, 2), told["b"])
    ends = np.array([1.0, 1.0]), np.array([1000.0, 1000.0])
    spends = allocation.optimum(a, b, np.ones((1, 2)), *ends, told["budget"])
    assert spends[0] == pytest.approx(told["spends"])
    assert float((a * spends**b).sum()) == pytest.approx(told["deals"], abs=0.01)
    assert float((a * 500.0**b).sum()) == pytest.approx(told["even"], abs=0.01)
    marginal = 1 / (a * b * spends ** (b - 1))
    assert marginal[0] == pytest.approx(2 * [told["marginal_cost"]], abs=0.01)


campaigns = some.lists(
    some.tuples(some.integers(1, 10**9), some.floats(0, 500), some.floats(1, 10**7)), min_size=1, max_size=6,
)


@given(campaigns, some.floats(0.75, 1.25))
@example([(1, 5e-324, 1.0)], 1.0)
@settings(max_examples=40, deadline=None)
def test_a_budget_is_spent_to_the_last_unit_and_no_campaign_moves_by_more_than_a_third(
    rows: list[tuple[int, float, float]], of_now: float
) -> None:
    now = sum(spend for spend, _, _ in rows)
    named = [(str(n), *row) for n, row in enumerate(rows)]
    budget = round(now * of_now)
    found = allocation.split(named, budget, seeded("any"))
    if found is None:
        # Whole units leave small spends no room to move.
        least, most = sum(-(-spend * 7 // 10) for spend, _, _ in rows), sum(spend * 13 // 10 for spend, _, _ in rows)
        assert not least <= budget <= most
        return
    assert sum(spend.proposed_minor for spend in found.spends) == budget
    for spend in found.spends:
        assert 0.7 * spend.now_minor - 1e-6 <= spend.proposed_minor <= 1.3 * spend.now_minor + 1e-6
    assert 0 <= found.probability <= 1


def test_a_budget_out_of_reach_is_not_shared_out() -> None:
    assert allocation.split([("a", 100, 5, 1)], 200, seeded("x")) is None
    assert allocation.split([], 200, seeded("x")) is None


def test_money_goes_to_the_campaign_that_brings_more_and_says_how_sure_that_is() -> None:
    far, near = (
        allocation.split([("good", 500, 40, 1), ("poor", 500, deals, 1)], 1000, seeded("x")) for deals in (10, 39)
    )
    assert far is not None and near is not None
    assert [spend.proposed_minor for spend in far.spends] == [650, 350] and far.probability > 0.95
    assert near.probability < 0.8


# The one test.


def test_the_size_of_a_test_is_that_of_the_reference() -> None:
    told = VECTORS["power"]
    assert people_needed(told["base"], told["effect"], told["holdout"]) == told["whole"]
    assert people_needed(told["base"], told["effect"], 0.5) == pytest.approx(2 * told["per_arm"], abs=1)


def test_what_is_known_already_is_worth_nothing_to_know() -> None:
    assert value_of_knowing(1000, 1, 0.3, 0.001) == pytest.approx(0)
    assert value_of_knowing(1000, 1, 0.03, 0) == 0
    assert value_of_knowing(1000, 1, 0.0, 0.02) < value_of_knowing(1000, 1, 0.0, 0.03)


def test_the_gate_whose_answer_is_worth_most_is_tested() -> None:
    gates = [Testable("small", 100, 0.2), Testable("large", 1000, 0.2), Testable("known", 9000, 0.2, 0.2, 0.001)]
    found = next_test(gates, 10)
    assert found is not None
    assert (found.gate, found.holdout) == ("large", 0.1) and found.needed <= 1000
    assert found.detects == pytest.approx(0.118, abs=0.001)
    few = next_test([Testable("small", 100, 0.2)], 10)
    assert few is not None and few.holdout == 0.2 and few.needed > few.ready
    assert next_test([Testable("none", 100, 0.0), Testable("empty", 0, 0.5)], 10) is None


# What gates read of people.


def the_gate(**when: Any) -> Gate:
    return Gate.model_validate({"name": "g", "from": "a", "to": "b", "when": when})


def test_a_reading_is_found_in_the_record_of_its_verdict() -> None:
    gate = the_gate(all=[{"fit": {"at_least": 0}}, {"interest": {"topic": "pumps", "at_least": 8, "share": 0.5}}])
    reader = a_profile(interest={"pumps": weight(12.5, NOW)})
    told = json.dumps(ask(gate.when, reader, NOW).as_json())
    assert read(told) == (12.5, 8.0)
    assert read(json.dumps(ask(the_gate(engagement={"at_least": 3}).when, reader, NOW).as_json())) == (0.0, 3.0)
    assert read(json.dumps(ask(the_gate(deal="won").when, reader, NOW).as_json())) == read("") == (None, None)


def test_where_a_gate_asks_for_points_is_known_when_it_asks_once() -> None:
    asks = {"interest": {"topic": "pumps", "at_least": 8}}
    assert threshold_of(the_gate(**asks)) == (("interest", "at_least"), 8)
    joined = the_gate(all=[{"fit": {"at_least": 6}}, {"engagement": {"at_least": 3}}])
    assert threshold_of(joined) == (("all", 1, "engagement", "at_least"), 3)
    assert threshold_of(the_gate(all=[asks, {"engagement": {"at_least": 3}}])) is None
    assert threshold_of(the_gate(any=[asks])) is None is threshold_of(the_gate(deal="won"))


def a_word(person: str, outcome: str = "hold", *, gate: str = "g", hold: str = "has not acted yet", days: float = 0,
           points: float | None = 16, won: bool = False) -> Judged:
    kind = hold if outcome == "hold" else ""
    return Judged(gate, person, outcome, kind, "", NOW - timedelta(days=days), points, 8 if points else None, won)


def test_interest_fades_below_what_was_asked_for_at_a_known_moment() -> None:
    assert interested_until(16, 8, NOW) == NOW + HALF_LIFE
    assert interested_until(4, 8, NOW) == NOW - HALF_LIFE
    assert interested_until(0, 8, NOW) == NOW


def test_whoever_is_held_and_still_interested_is_carried_over() -> None:
    words = [
        a_word("fresh"), a_word("faded", days=31), a_word("wrong", hold="wrong target"), a_word("gone", "advance"),
        a_word("cold", points=None), a_word("weak", points=4, hold="not enough interest"),
        # The gate before read the interest; the gate that holds asks for something else.
        a_word("seen", "advance", gate="f", days=10), a_word("seen", points=None, days=9),
    ]
    assert carried_over(words, NOW) == {"g": 2}


def test_people_are_counted_by_the_points_that_were_read_of_them() -> None:
    words = [
        a_word("a", "advance", points=9, won=True), a_word("b", "advance", points=13), a_word("c", points=5,
        hold="not enough interest"), a_word("d", "advance", points=5), a_word("e", points=20, hold="holdout"),
        a_word("f", "exclude", points=9), a_word("g", "advance", gate="other", points=9),
    ]
    found = {b.at_least: (b.people, b.won, b.of) for b in buckets(words, the_gate(deal="won"), 8.0)}
    assert found == {0.0: (0, 0, 0), 4.0: (2, 0, 1), 8.0: (1, 1, 1), 12.0: (1, 0, 1), 16.0: (1, 0, 0), 24.0: (0, 0, 0),
                     32.0: (0, 0, 0)}


def test_the_forecast_chain_of_the_reference() -> None:
    told, random = VECTORS["forecast"], seeded("L1")
    rates = drawn(PASSAGES, random)
    reached = np.full(len(rates[0]), 10_000)
    for rate in rates:
        reached = random.binomial(reached, rate)
    low, middle, high = (int(np.sort(reached)[int(place * (len(reached) - 1))]) for place in (0.05, 0.5, 0.95))
    assert low in told["low"] and high in told["high"] and middle == told["middle"]
    assert reached.mean() == pytest.approx(told["mean"], abs=0.3)
    assert (reached >= told["target"]).mean() == pytest.approx(told["probability"], abs=0.02)
