"""Whether a plan can reach its objectives: worked back to visitors, and forward to a chance."""

from __future__ import annotations

from datetime import date
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from closedloop.loops.definition import Loop
from closedloop.loops.feasibility import DRAWS, Chance, GateRate, Past, feasibility, stage_of

END = "2027-03-31"
GATES = [
    {"name": "interested", "from": "research", "to": "problem", "when": {"fit": {"at_least": 1}}},
    {"name": "bought", "from": "problem", "to": "customer", "when": {"deal": "won"}},
]
RATES = {"become_known": {"passed": 20, "of": 200}, "gates": {
    "interested": {"passed": 40, "of": 200}, "bought": {"passed": 40, "of": 200},
}}


def a_plan(metric: str = "deals_won", target: int = 45, *, visitors: int | None = 10_000, **more: Any) -> Loop:
    return Loop.model_validate({
        "loop": "autumn", "sites": ["northwind"], "strategy": "Meet manufacturers", "currency": "JPY",
        "period": {"start": "2026-09-01", "end": END}, "stages": ["research", "problem", "customer"],
        "objectives": [{"metric": metric, "target": target, "by": END}], "gates": GATES,
        "campaigns": [{"name": "ads", "stage": "research", "touchpoint": "ad", "visitors": visitors}], **more,
    })


def a_past(**more: Any) -> Past:
    """The counts of the analytics reference, 6.1: 10,000 → 1,000 → 200 → 40."""
    known = {
        "interested": GateRate("research", "problem", 200, 1000), "bought": GateRate("problem", "customer", 40, 200),
    }
    return Past(**{
        "loop": "spring", "day": date(2026, 8, 1), "running": False, "known": (1000, 10_000), "fit": (300, 1000),
        "fit_at_least": 50, "repeat": (250, 1000), "gates": known, "deal_value_minor": 1_000_000, **more,
    })


def the_chance(loop: Loop, past: Past | None = None) -> Chance:
    (chance,) = feasibility(loop, past).chances
    return chance


def test_the_example_of_the_analytics_reference() -> None:
    chance = the_chance(a_plan(), a_past())
    assert chance.expected is not None
    assert (chance.expected.middle, chance.expected.low) == (40, pytest.approx(26, abs=1))
    assert chance.expected.high == pytest.approx(56, abs=1)
    assert chance.probability == pytest.approx(0.31, abs=0.02)
    # 45 deals at one of 250 visitors.
    assert chance.needed is not None
    assert chance.needed.middle == pytest.approx(45 * 250, rel=0.02)
    assert chance.needed_at["customer"] == 45
    assert chance.needed_at["problem"] == pytest.approx(45 * 5, rel=0.02)
    assert str(chance) == (
        "deals_won 45 by 2027-03-31: needs 11,000 (8,800 to 15,000) visitors, 10,000 planned; P(objective) 0.31"
    )


def test_what_a_plan_rests_on_is_said_with_its_numbers() -> None:
    found = feasibility(a_plan(assumptions=RATES), a_past(gates={}, running=True))
    assert [(step.step, step.rests_on) for step in found.steps] == [
        ("visitor becomes known",
         "1,000 of 10,000, measured by spring on 2026-08-01, still running and 20 of 200, assumed"),
        ("gate interested", "40 of 200, assumed"), ("gate bought", "40 of 200, assumed"),
    ]
    for step, share in zip(found.steps, (0.1, 0.2, 0.2), strict=True):
        assert step.rate.low < share < step.rate.high


def test_an_assumption_weighs_no_more_than_two_hundred_people() -> None:
    bold = {**RATES, "become_known": {"passed": 1_000_000, "of": 10_000_000}}
    rates = [feasibility(a_plan(assumptions=told)).steps[0].rate for told in (bold, RATES)]
    assert (rates[0].low, rates[0].high) == pytest.approx((rates[1].low, rates[1].high))


def test_a_plan_that_states_what_was_measured_counts_nobody_twice() -> None:
    stated = {"become_known": {"passed": 1000, "of": 10_000}}
    bare, told = (feasibility(a_plan(assumptions=said), a_past()).steps[0] for said in ({}, stated))
    assert bare == told


@pytest.mark.parametrize(("assumptions", "lacks"), [
    ({}, "visitor becomes known, gate interested and gate bought"),
    ({"become_known": {"passed": 1, "of": 9}}, "gate interested and gate bought"),
    ({**RATES, "gates": {"interested": {"passed": 1, "of": 9}}}, "gate bought"),
])
def test_without_past_rates_and_assumptions_nothing_is_claimed(assumptions: dict[str, Any], lacks: str) -> None:
    chance = the_chance(a_plan(assumptions=assumptions))
    assert str(chance) == (
        f"deals_won 45 by 2027-03-31: no past rates and no assumptions stated for {lacks}"
    )
    assert (chance.needed, chance.expected, chance.probability) == (None, None, None)


def test_a_gate_that_leads_elsewhere_by_now_lends_no_rate() -> None:
    past = a_past(gates={"interested": GateRate("research", "customer", 9, 10), "bought": GateRate("", "", 9, 10)})
    assert the_chance(a_plan(), past).missing.endswith("for gate interested and gate bought")


def test_money_needs_the_value_of_a_deal() -> None:
    plan = a_plan("sales", 40_000_000)
    assert the_chance(plan, a_past(deal_value_minor=None)).missing.endswith("for the value of a deal")
    chance = the_chance(plan, a_past())
    assert chance.needed_at["customer"] == 40
    assert chance.expected is not None
    assert chance.expected.middle == pytest.approx(40_000_000, rel=0.03)
    spread = the_chance(a_plan("sales", 40_000_000, assumptions={"deal_values_minor": [100_000, 1_900_000]}), a_past())
    assert spread.expected is not None
    assert spread.expected.low < chance.expected.low
    assert spread.expected.high > chance.expected.high


def test_new_persons_and_those_who_come_back_are_counted_before_any_gate() -> None:
    known = the_chance(a_plan("new_persons_with_fit", 300), a_past())
    assert known.expected is not None
    assert known.expected.middle == pytest.approx(300, rel=0.03)
    assert set(known.needed_at) == {"research"}
    assert the_chance(a_plan("new_persons_with_fit", 300), a_past(fit_at_least=60)).missing
    back = the_chance(a_plan("repeat", 250, assumptions={"people_already_known": 5000}), a_past())
    assert back.expected is not None
    assert back.expected.middle == pytest.approx(250, rel=0.03)


def test_people_who_are_known_already_count_without_being_visitors() -> None:
    already = the_chance(a_plan(visitors=None, assumptions={"people_already_known": 1000}), a_past())
    assert already.planned == 0
    assert already.expected is not None
    assert already.expected.middle == pytest.approx(40, abs=1)
    assert the_chance(a_plan(target=1, assumptions={"people_already_known": 5000}), a_past()).needed_at["customer"] > 1


def test_nobody_says_how_many_come() -> None:
    chance = the_chance(a_plan(visitors=None), a_past())
    assert (chance.planned, chance.probability) == (None, None)
    assert str(chance).endswith("visitors; no campaign says how many visitors it is planned to bring")


def test_who_is_held_out_does_not_go_on() -> None:
    held = the_chance(a_plan(gates=[{**GATES[0], "holdout": 0.5}, GATES[1]]), a_past())
    assert held.expected is not None
    assert held.expected.middle == pytest.approx(20, abs=1)


def test_sales_takes_on_no_more_people_than_it_can() -> None:
    weeks = 212 / 7
    capacity = {"stage": "problem", "per_week": 3}
    chance = the_chance(a_plan(sales_capacity=capacity), a_past())
    most = int(3 * weeks)
    assert chance.limit == (
        f"; sales can take on {most} people until then, and {chance.needed_at['problem']} are needed at problem"
    )
    assert chance.expected is not None
    assert chance.expected.middle == pytest.approx(most * 0.2, abs=1)
    assert chance.probability == 0
    assert the_chance(a_plan(sales_capacity={"stage": "problem", "per_week": 30}), a_past()).limit == ""


def test_a_way_round_counts_with_the_way_through() -> None:
    around = {"name": "walk-in", "from": "research", "to": "customer", "when": {"deal": "won"}}
    past = a_past(gates={**a_past().gates, "walk-in": GateRate("research", "customer", 100, 1000)})
    chance = the_chance(a_plan(gates=[*GATES, around]), past)
    assert chance.expected is not None
    # A tenth goes round; of the others one of 25 comes through.
    assert chance.expected.middle == pytest.approx(100 + 900 / 25, rel=0.04)


@pytest.mark.parametrize(("gates", "stage"), [
    (GATES, "customer"),
    ([GATES[0], {**GATES[1], "when": {"all": [{"fit": {"at_least": 1}}, {"deal": "won"}]}}], "customer"),
    ([GATES[0], {**GATES[1], "when": {"any": [{"fit": {"at_least": 1}}, {"deal": "won"}]}}], ""),
    ([GATES[0], {**GATES[1], "when": {"not": {"deal": "won"}}}], ""),
    ([*GATES, {"name": "asks", "from": "research", "to": "customer", "when": {"deal": "opened"}}], ""),
])
def test_the_stage_of_a_won_deal_is_one_that_nothing_else_leads_to(gates: list[dict[str, Any]], stage: str) -> None:
    plan = a_plan(gates=gates)
    assert stage_of(plan, "won") == stage
    if not stage:
        assert the_chance(plan, a_past()).missing == "no stage of the loop can only be reached by a deal that is won"


def test_the_same_plan_has_the_same_chance_and_another_name_other_draws() -> None:
    assert feasibility(a_plan(), a_past()) == feasibility(a_plan(), a_past())
    assert feasibility(a_plan(loop="winter"), a_past()) != feasibility(a_plan(), a_past())


@settings(deadline=None, max_examples=25)
@given(st.data())
def test_whatever_was_counted_there_is_an_answer(data: st.DataObject) -> None:
    def rate() -> dict[str, int]:
        of = data.draw(st.integers(1, 10**9))
        return {"passed": data.draw(st.integers(0, of)), "of": of}

    metric = data.draw(st.sampled_from(["new_persons_with_fit", "repeat", "deals_won", "sales"]))
    chance = the_chance(a_plan(
        metric, data.draw(st.integers(1, 10**15)), visitors=data.draw(st.integers(0, 10**9)), assumptions={
            "become_known": rate(), "fit": rate(), "repeat": rate(),
            "gates": {"interested": rate(), "bought": rate()}, "deal_values_minor": [data.draw(st.integers(1, 10**15))],
            "people_already_known": data.draw(st.integers(0, 10**9)),
        },
    ))
    assert chance.needed is not None and chance.expected is not None and chance.probability is not None
    assert 0 <= chance.needed.low <= chance.needed.middle <= chance.needed.high
    assert 0 <= chance.expected.low <= chance.expected.middle <= chance.expected.high
    assert 0 <= chance.probability <= 1
    assert "needs" in str(chance)


def test_more_visitors_never_make_an_objective_less_likely() -> None:
    asked = [the_chance(a_plan(visitors=visitors), a_past()) for visitors in (2_000, 9_000, 12_000, 40_000)]
    chances = [chance.probability for chance in asked if chance.probability is not None]
    assert chances == sorted(chances)
    assert chances[0] == pytest.approx(0, abs=0.01)
    assert chances[-1] == pytest.approx(1, abs=0.01)
    assert DRAWS == 10_000
