"""What a report advises, and the draft of the next loop that comes of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from closedloop.attribution.journeys import Touch
from closedloop.lake.report_files import proposal
from closedloop.loops.changes import changes
from closedloop.loops.definition import Loop
from closedloop.loops.lint import problems_with
from closedloop.loops.proposal import KEPT, Note, draft, next_name, next_period, origin, written
from closedloop.reports.advice import ADVICE, Advice, Answer, Evidence
from closedloop.reports.credit import credits_of
from closedloop.reports.deals import Deal
from closedloop.reports.facts import (
    ArmCount,
    CampaignCost,
    Facts,
    NewPerson,
    Quality,
    StageCount,
    Users,
    VerdictCount,
)
from closedloop.reports.forecast import coverage, outlook, still_to_come, velocity
from closedloop.reports.improvement import Basis, advise, compared_with
from closedloop.reports.judged import Judged
from closedloop.reports.metrics import measure
from closedloop.reports.sentences import advice_tables, sentence
from closedloop.reports.survival import Wait
from closedloop.reports.words import Language, Words
from closedloop.sites.document import Document
from tests.unit.test_big_loop import VECTORS
from tests.unit.test_report_rows import the_loop, the_site

GOLDEN = Path(__file__).parents[1] / "vectors/proposals"
AS_OF = datetime(2027, 2, 1, 3, 0, tzinfo=UTC)
FIRST = datetime(2026, 9, 10, tzinfo=UTC)
ADS, GUIDE, PRIZE = "search-ads", "pump-guide", "prize-draw"


def the_facts(
    *, won: Sequence[tuple[str, int]] = (), costs: Sequence[tuple[str, int]] = (), arms: Sequence[ArmCount] = (),
    gates: dict[str, tuple[int, int]] | None = None, known: int = 0, users: int = 0,
) -> Facts:
    """A lake that was counted: so many deals by campaign, gates that let so many of so many through."""
    people = [f"p{n}" for n in range(max(known, len(won)))]
    deals = tuple(
        Deal(f"d{n}", "demo", f"p{n}", FIRST + timedelta(days=n % 60), FIRST + timedelta(days=10 + n % 90), None,
             value, 0, "JPY") for n, (_, value) in enumerate(won)
    )
    touches = {
        f"p{n}": (Touch(FIRST + timedelta(days=5 + n % 90), f"e{n}", campaign),) for n, (campaign, _) in enumerate(won)
    }
    verdicts = []
    for gate, (advanced, judged) in (gates or {}).items():
        verdicts += [VerdictCount(gate, "advance", "", "", advanced),
                     VerdictCount(gate, "hold", "has not acted yet", "", judged - advanced)]
    return Facts(
        users=Users(len(people), max(0, users - len(people)), users, 0), weeks=(), first_days=(),
        new_persons=tuple(
            NewPerson(name, FIRST, FIRST.date(), FIRST.date(), 70, back_30=True) for name in people[:known]
        ),
        touches=touches, deals=deals, costs=tuple(CampaignCost(name, "JPY", amount) for name, amount in costs),
        stages=(StageCount("research", known, 0, known),), broken_paths=0, paths=known, persons_in_loop=known,
        persons_known=known, verdicts=tuple(verdicts), advances_without_move=0, arms=tuple(arms), mails=(), actions=(),
        quality=Quality(0, 0, 0, 0, 0, 0, 0, 0), funnel=(),
    )


def the_basis(loop: Loop | None = None, as_of: datetime = AS_OF, **more: Any) -> Basis:
    loop = loop or the_loop()
    of_basis = {name: more.pop(name) for name in ("judged", "former", "expected") if name in more}
    facts = the_facts(**more)
    report = replace(measure(loop, facts, as_of, credits_of(loop, facts, as_of)), version="20270201-ab")
    return Basis(loop, report, facts, as_of, **of_basis)


def a_rich_basis(**more: Any) -> Basis:
    """A loop with enough of everything: the guide brings most deals for least money."""
    won = [(GUIDE, 3_000_000 + 1000 * n) for n in range(60)] + [(ADS, 2_500_000)] * 20 + [(PRIZE, 900_000)] * 5
    return the_basis(**{
        "won": won, "known": 320, "users": 4000, "costs": [(ADS, 900_000), (PRIZE, 800_000), (GUIDE, 400_000)],
        "gates": {"interested": (110, 320), "walk-in": (6, 320), "asks": (70, 110), "opportunity": (60, 70),
                  "bought": (40, 66)},
        "arms": [ArmCount("holdout", "interested", 500, 400, 100, 0, 60, 2)], **more,
    })


def advised(basis: Basis) -> tuple[Advice, Loop, str]:
    """The advice, the draft as its own loader reads it, and the draft's text; it lints."""
    advice, body = proposal(basis, {"demo": the_site()})
    document = Document(body, "proposal.yaml")
    loop = document.read_as(Loop)
    found = problems_with(loop, {"demo": the_site()}, document, basis.as_of, loops=[basis.loop.loop])
    assert (found, advice.problems) == ((), ())
    return advice, loop, body.decode()


def says(advice: Advice) -> set[str]:
    return {point.says for point in advice.points}


def test_the_draft_of_the_example_loop_is_the_golden_one() -> None:
    _, _, text = advised(a_rich_basis())
    assert text == (GOLDEN / "autumn-pumps-2.yaml").read_text(encoding="utf-8")


def test_a_draft_follows_its_loop_in_the_next_period_with_what_was_measured() -> None:
    advice, loop, text = advised(a_rich_basis())
    assert (loop.loop, loop.follows, advice.next_loop) == ("autumn-pumps-2", "autumn-pumps", "autumn-pumps-2")
    assert (loop.period.start, loop.period.end) == (date(2027, 4, 1), date(2027, 10, 31))
    assert {objective.by for objective in loop.objectives} == {loop.period.end}
    rates = loop.assumptions.gates
    assert (rates["asks"].passed, rates["asks"].of) == (70, 110)
    assert loop.assumptions.become_known is not None
    assert (loop.assumptions.become_known.passed, loop.assumptions.become_known.of) == (320, 4000)
    assert len(loop.assumptions.deal_values_minor) == 20
    assert origin(text) == ("autumn-pumps", "20270201-ab")


def test_every_change_has_its_reason_beside_it_and_nothing_else_changes() -> None:
    basis = a_rich_basis()
    advice, loop, text = advised(basis)
    moved_on = draft(basis.loop, (), basis.report.day + timedelta(days=1))
    assert len(changes(moved_on, loop)) >= len(advice.changes) > 5
    joined = " ".join(line.strip().removeprefix("# ") for line in text.splitlines())
    for change in advice.changes:
        assert change.reason in joined
    assert "Evidence A" in joined and "No change: not enough evidence" in joined


def test_money_moves_to_the_campaign_that_brings_more_within_the_budget() -> None:
    advice, loop, _ = advised(a_rich_basis())
    now = {spend.campaign: spend for spend in advice.budget}
    assert now[GUIDE].proposed_minor > now[GUIDE].now_minor
    assert sum(spend.proposed_minor for spend in advice.budget) == sum(spend.now_minor for spend in advice.budget)
    assert advice.budget_probability is not None and advice.budget_probability >= 0.8
    costs = {campaign.name: campaign.cost.total_minor for campaign in loop.campaigns if campaign.cost}
    assert costs == {name: spend.proposed_minor for name, spend in now.items()}


@pytest.mark.parametrize(("won", "point"), [
    ([(GUIDE, 100)] * 10 + [(ADS, 100)] * 2, "budget_few"), ([(GUIDE, 100)] * 40 + [(ADS, 100)] * 40, "budget_unsure"),
    ([], "budget_few"),
])
def test_money_stays_where_it_is_without_evidence(won: list[tuple[str, int]], point: str) -> None:
    advice, loop, text = advised(the_basis(won=won, costs=[(ADS, 900), (GUIDE, 900)], known=100, users=200))
    assert point in says(advice) and "budget" not in says(advice)
    assert not any(campaign.cost for campaign in loop.campaigns)
    assert "No change: not enough evidence." in text


def test_an_empty_report_changes_nothing_but_the_days() -> None:
    advice, loop, _ = advised(the_basis())
    moved_on = draft(the_loop(), (), date(2027, 2, 2))
    assert changes(moved_on, loop) == () == advice.changes
    assert {point.answer for point in advice.points} == {Answer.KEEP}
    assert advice.leaks == () and advice.test is None


def test_a_holdout_that_proves_something_is_evidence_a_and_scales_the_credit_behind_it() -> None:
    plain = the_loop().model_dump(mode="json", by_alias=True)
    for campaign in plain["campaigns"]:
        campaign["stage"] = "problem" if campaign["name"] in (ADS, GUIDE) else campaign["stage"]
    advice, _, _ = advised(a_rich_basis(loop=Loop.model_validate(plain)))
    (row,) = advice.beside_lift
    assert row.measured is not None and row.kept is not None
    assert row.measured == pytest.approx(60 - 400 * 2 / 100)
    assert row.credited == pytest.approx(80) and row.kept == pytest.approx(row.measured / 80)
    by_name = {spend.campaign: spend for spend in advice.budget}
    assert by_name[GUIDE].deals == pytest.approx(60 * row.kept, rel=1e-3) and by_name[PRIZE].deals == pytest.approx(5)
    assert {p.about: p.evidence for p in advice.points if p.says == "budget"}[GUIDE] is Evidence.HOLDOUT


def test_the_bottleneck_is_named_with_how_sure_that_is() -> None:
    advice, _, _ = advised(a_rich_basis(gates={
        "interested": (110, 320), "walk-in": (6, 320), "asks": (30, 110), "opportunity": (28, 30), "bought": (20, 33),
    }))
    assert advice.leaks[0].gate == "asks" and advice.leaks[0].largest > 0.8 and advice.leaks[0].assumed
    (point,) = (p for p in advice.points if p.says == "bottleneck")
    assert (point.evidence, point.answer) == (Evidence.ASSUMED, Answer.LOOK)
    few, _, _ = advised(a_rich_basis(gates={"asks": (1, 20)}))
    assert "bottleneck_few" in says(few) and "bottleneck" not in says(few)


def test_past_loops_set_the_target_of_a_gate_before_the_plan_does() -> None:
    past = a_rich_basis(gates={"asks": (90, 100)}).report
    advice, _, _ = advised(a_rich_basis(former=[past, past]))
    leak = next(leak for leak in advice.leaks if leak.gate == "asks")
    assert (leak.target, leak.assumed) == (pytest.approx(0.9), False)


def words_of(points: Sequence[float], *, won: int, gate: str = "near") -> list[Judged]:
    return [
        Judged(gate, f"{points}{n}", "advance", "", "", FIRST, value, 8.0, n < won) for n, value in enumerate(points)
    ]


def a_loop_short_of_sales(per_week: int = 1) -> Loop:
    plain = the_loop().model_dump(mode="json", by_alias=True)
    plain["sales_capacity"] = {"stage": "problem", "per_week": per_week}
    return Loop.model_validate(plain)


def test_a_threshold_rises_by_one_step_where_sales_is_short_and_the_better_people_are_known() -> None:
    poor, good = words_of([9.0] * 60, won=1, gate="interested"), words_of([13.0] * 40, won=25, gate="interested")
    advice, loop, _ = advised(the_basis(loop=a_loop_short_of_sales(), judged=poor + good, known=100, users=200))
    assert "threshold" in says(advice)
    conditions = loop.gates[0].when.all
    assert conditions is not None and conditions[0].interest is not None and conditions[0].interest.at_least == 12
    alike, _, _ = advised(the_basis(loop=a_loop_short_of_sales(), judged=[
        *words_of([9.0] * 60, won=20, gate="interested"), *words_of([13.0] * 40, won=13, gate="interested"),
    ]))
    assert "threshold_unsure" in says(alike) and "threshold" not in says(alike)
    roomy, _, _ = advised(the_basis(loop=a_loop_short_of_sales(100), judged=poor + good))
    assert "threshold_room" in says(roomy)


def test_one_gate_is_tested_and_no_other_holdout_moves() -> None:
    won = [Judged("asks", f"p{n}", "advance", "", "", FIRST, None, None, n < 40) for n in range(70)]
    basis = a_rich_basis(judged=won)
    advice, loop, _ = advised(basis)
    assert advice.test is not None and advice.test.gate == "asks"
    before = {gate.name: gate.holdout for gate in basis.loop.gates}
    after = {gate.name: gate.holdout for gate in loop.gates}
    assert after == {**before, "asks": advice.test.holdout}


def test_whoever_is_still_interested_enters_the_next_loop() -> None:
    held = [Judged("asks", f"p{n}", "hold", "has not acted yet", "", AS_OF, 16.0, 8.0, False) for n in range(7)]
    advice, loop, _ = advised(the_basis(judged=held))
    assert advice.carried_over == {"asks": 7} and loop.assumptions.people_already_known == 7


# How the loop ends.


def test_the_velocity_curve_is_that_of_the_reference() -> None:
    told = VECTORS["velocity"]
    curve = velocity([Wait(day, "came" if came else "") for day, came in told["waits"]], 9)
    assert {day: curve[int(day)] for day in told["came"]} == pytest.approx(told["came"], abs=0.001)


def test_what_comes_late_is_not_counted_as_lost() -> None:
    assert still_to_come(50, 100) == 1.0 and still_to_come(100, 100) == 0.0 == still_to_come(0, 100)
    # Everybody takes thirty days: of the first sixty days, the newcomers of thirty have arrived.
    curve = [0.0] * 30 + [1.0] * 70
    assert still_to_come(60, 90, curve) == 1.0 > still_to_come(60, 90)
    assert still_to_come(10, 90, curve) == still_to_come(10, 90)


@given(some.integers(0, 500), some.integers(1, 600), some.floats(0, 3))
@settings(max_examples=40, deadline=None)
def test_a_forecast_is_in_order_never_below_what_came_and_likelier_the_lower_the_target(
    came: int, wanted: int, more: float
) -> None:
    from closedloop.reports.bottleneck import seeded

    ahead = outlook(came, came, wanted, more, seeded("any"))
    assert came <= ahead.low <= ahead.middle <= ahead.high and 0 <= ahead.probability <= 1
    assert outlook(came, came, wanted + 1, more, seeded("any")).probability <= ahead.probability
    assert outlook(came, came, wanted, 0, seeded("any")).probability == (came >= wanted)


def test_a_loop_is_forecast_by_its_plan_then_its_pace_then_its_result() -> None:
    told = [
        {one.metric: one for one in advised(the_basis(as_of=at, won=[(GUIDE, 3_000_000)] * 40, known=60))[0].forecasts}
        for at in (datetime(2026, 9, 3, tzinfo=UTC), AS_OF, datetime(2027, 4, 2, tzinfo=UTC))
    ]
    assert [one["opportunities"].rests_on for one in told] == ["plan", "pace", "result"]
    pace = told[1]["opportunities"]
    assert pace.low is not None and pace.high is not None and 40 <= pace.low <= pace.high
    assert told[2]["opportunities"].low == told[2]["opportunities"].high == 40
    assert told[1]["sales"].middle is not None and told[1]["sales"].middle >= 40 * 3_000_000


def test_results_are_held_against_what_was_forecast_of_them() -> None:
    ended = datetime(2027, 4, 2, tzinfo=UTC)
    basis = the_basis(as_of=ended, won=[(GUIDE, 3_000_000)] * 40, known=60, expected={"autumn-pumps": {
        "opportunities": (60, 30.0, 45.0, 60.0), "sales": (120_000_000, 1.0, 2.0, 3.0)}})
    advice, _, _ = advised(basis)
    found = {one.metric: (one.result, one.within, one.place) for one in advice.calibration}
    assert found == {"opportunities": (40, True, pytest.approx(0.35)), "sales": (120_000_000, False, 1.0)}
    assert advice.coverage == 0.5 and coverage(()) is None
    assert advised(replace(basis, report=replace(basis.report, ended=False)))[0].calibration == ()
    earlier = replace(basis.report, loop="spring-pumps")
    over = replace(basis, former=[earlier], expected={"spring-pumps": {"opportunities": (60, 30.0, 45.0, 60.0)}})
    assert [(one.loop, one.within) for one in advised(over)[0].calibration] == [("spring-pumps", True)]
    goal = basis.report.objectives[1]
    assert compared_with("autumn", replace(goal, attained=30), (60, 30.0, 45.0, 60.0)).place == pytest.approx(0.05)


# Whatever the report says.


counts = some.tuples(some.integers(0, 300), some.integers(0, 300)).map(lambda pair: (pair[0], sum(pair)))


@given(
    won=some.lists(some.tuples(some.sampled_from((ADS, GUIDE, PRIZE, "x")), some.integers(0, 10**8)), max_size=50),
    costs=some.lists(some.tuples(some.sampled_from((ADS, GUIDE, PRIZE)), some.integers(0, 10**8)), max_size=4),
    gates=some.dictionaries(some.sampled_from(("interested", "walk-in", "asks", "opportunity", "bought")), counts),
    arms=some.tuples(some.integers(0, 100), some.integers(0, 100)), known=some.integers(0, 200),
    budget=some.none() | some.integers(1, 10**8), days=some.integers(-40, 400),
)
@settings(max_examples=25, deadline=None)
def test_a_proposal_is_always_a_valid_loop_that_lints(
    won: list[tuple[str, int]], costs: list[tuple[str, int]], gates: dict[str, tuple[int, int]], arms: tuple[int, int],
    known: int, budget: int | None, days: int,
) -> None:
    loop = the_loop(budget={"amount_minor": budget} if budget else None)
    arm = ArmCount("holdout", "interested", sum(arms), *arms, 0, arms[0] // 2, arms[1] // 3)
    basis = the_basis(loop=loop, as_of=datetime(2026, 9, 1, tzinfo=UTC) + timedelta(days=days), won=won, costs=costs,
                      gates=gates, arms=[arm], known=known, users=known * 3)
    advice, drafted, text = advised(basis)
    assert drafted.follows == loop.loop and drafted.period.start > basis.report.day
    for leak in advice.leaks:
        assert 0 <= leak.largest <= 1
    for forecast in (*advice.forecasts, *advice.next_forecasts):
        assert forecast.probability is None or 0 <= forecast.probability <= 1
    assert advice.budget_probability is None or 0 <= advice.budget_probability <= 1
    for spend in advice.budget:
        assert 0.7 * spend.now_minor - 1e-6 <= spend.proposed_minor <= 1.3 * spend.now_minor + 1e-6
    if budget and advice.budget:
        assert sum(spend.proposed_minor for spend in advice.budget) <= budget
    again, body = proposal(basis, {"demo": the_site()})
    assert (body.decode(), again) == (text, advice)
    assert ADVICE.validate_json(ADVICE.dump_json(advice)) == advice
    for language in Language:
        assert advice_tables(advice, Words(language)).keys() >= {"advice", "forecast", "leaks"}


def test_both_languages_can_say_every_point() -> None:
    for basis in (the_basis(), a_rich_basis()):
        advice, _, _ = advised(basis)
        for point in advice.points:
            for language in Language:
                assert "{" not in sentence(point, Words(language), "JPY")


# The draft as a file.


@pytest.mark.parametrize(("name", "wanted"), [
    ("autumn", "autumn-2"), ("autumn-2", "autumn-3"), ("autumn-9", "autumn-10"), ("q4-2026", "q4-2027"),
    ("a" * 40, "a" * 38 + "-2"), ("x-0", "x-0-2"), ("a" * 37 + "-99", "a" * 36 + "-100"),
])
def test_the_next_loop_is_called_by_the_next_number(name: str, wanted: str) -> None:
    assert next_name(name) == wanted and len(wanted) <= 40


@pytest.mark.parametrize(("start", "end", "not_before", "wanted"), [
    ("2026-09-01", "2027-03-31", "2027-02-02", ("2027-04-01", "2027-10-31")),
    ("2026-02-01", "2026-02-28", "2026-02-02", ("2026-03-01", "2026-03-31")),
    ("2026-10-01", "2026-12-31", "2026-10-02", ("2027-01-01", "2027-03-31")),
    ("2026-09-03", "2026-09-16", "2026-09-04", ("2026-09-17", "2026-09-30")),
    ("2026-09-01", "2026-09-30", "2027-05-05", ("2027-05-05", "2027-06-03")),
])
def test_the_next_period_is_as_long_and_not_over(
    start: str, end: str, not_before: str, wanted: tuple[str, str]
) -> None:
    period = the_loop(period={"start": start, "end": end}, objectives=[
        {"metric": "sales", "target": 1, "by": end}]).period
    found = next_period(period, date.fromisoformat(not_before))
    assert (f"{found.start}", f"{found.end}") == wanted


def test_days_of_a_plan_move_with_it() -> None:
    plain = the_loop().model_dump(mode="json", by_alias=True)
    plain["campaigns"][0]["cost"] = {"by_day": {"2026-09-01": 5, "2027-03-31": 7}}
    plain["objectives"][0]["by"] = "2026-12-31"
    loop = draft(Loop.model_validate(plain), (), date(2027, 2, 2))
    assert loop.campaigns[0].cost is not None
    assert loop.campaigns[0].cost.by_day == {date(2027, 4, 1): 5, date(2027, 10, 31): 7}
    assert loop.objectives[0].by == date(2027, 7, 31) and loop.objectives[1].by == date(2027, 10, 31)


def test_a_file_that_says_nothing_of_a_report_came_from_none() -> None:
    assert origin("loop: a\n") is None
    body = written(the_loop(), [Note(("gates", 1), "kept " * 40, KEPT)], date(2027, 2, 2), "v1")
    assert origin(body.decode()) == ("autumn-pumps", "v1")
    assert Document(body, "f").read_as(Loop) == draft(the_loop(), (), date(2027, 2, 2))


def test_a_site_that_changed_leaves_a_draft_that_says_what_to_mend() -> None:
    site = the_site()
    bare = site.model_copy(update={"target_attributes": ()})
    advice, body = proposal(a_rich_basis(), {"demo": bare})
    assert advice.problems and b"# To be mended first: " in body
    notes = advise(a_rich_basis(), lambda point: point.says)[1]
    assert Document(body, "f").read_as(Loop) == draft(the_loop(), notes, date(2027, 2, 2))
