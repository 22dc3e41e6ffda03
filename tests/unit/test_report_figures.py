"""Velocity, cohorts, the people of a campaign and the health of the list, from rows of the lake."""

from __future__ import annotations

import json
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest

from closedloop.lake.report_files import prepared
from closedloop.profiles.kinds import TO_COME_BACK
from closedloop.reports.campaign_quality import campaign_quality
from closedloop.reports.deals import Deal
from closedloop.reports.facts import CohortWeek, ListCount, NewPerson, StageStay
from closedloop.reports.metrics import MATURE_30, Report
from closedloop.reports.velocity import pipeline_velocity, stage_velocity
from closedloop.reports.window import window
from tests.unit.test_report import AS_OF, LATEST
from tests.unit.test_report_rows import (
    DAY,
    a_deal,
    a_form,
    a_move,
    a_page,
    an_event,
    ask,
    the_loop,
    the_site,
    write,
)

ONE = timedelta(days=1)
LOOP = the_loop()
AUTUMN = date(2026, 10, 5)


def a_prize(id_: str, who: str, **when: Any) -> dict[str, Any]:
    properties = json.dumps({"form": "prize", "incentive": True})
    return {**a_form(id_, who, who, form="prize", **when), "properties": properties}


def test_each_way_out_of_a_stage_ends_one_way_in(tmp_path: Path) -> None:
    """Ada moves on after 2 days, is lost after 3 more and comes back; Bob stays; Cyd goes on in the moment she came."""
    moves = [
        a_move("a1", "ada", "", "research"), a_move("a2", "ada", "research", "problem", at=DAY + 2 * ONE),
        a_move("a3", "ada", "problem", "lost", at=DAY + 5 * ONE),
        a_move("a4", "ada", "lost", "problem", at=DAY + 9 * ONE),
        a_move("b1", "bob", "", "research", at=DAY + ONE),
        a_move("c1", "cyd", "", "research"), a_move("c2", "cyd", "research", "problem"),
    ]
    facts = ask(write(tmp_path, [], moves), as_of=DAY + 10 * ONE)
    assert set(facts.stays) == {
        StageStay("research", "moved", 48, 1), StageStay("research", "still", 216, 1),
        StageStay("research", "moved", 0, 1), StageStay("problem", "lost", 72, 1), StageStay("problem", "still", 24, 1),
        StageStay("problem", "still", 240, 1), StageStay("lost", "moved", 96, 1),
    }


def test_velocity_is_that_of_the_reference() -> None:
    stays = [StageStay("research", end, days * 24, 1)
             for days, end in ((2, "moved"), (3, "still"), (5, "moved"), (5, "moved"), (8, "still"))]
    research, problem, *_ = stage_velocity(LOOP, stays)
    assert (research.entered, research.moved, research.lost, research.still) == (5, 3, 0, 2)
    assert (research.median_days, research.moved_30, problem.median_days, problem.entered) == (5, None, None, 0)
    assert research.curve == ((2, pytest.approx(0.2)),)
    late = stage_velocity(LOOP, [*stays[:-1], StageStay("research", "lost", 31 * 24, 1)])[0]
    shares = (late.moved_30, late.lost_30, late.still_30)
    assert shares == (pytest.approx(0.7333, abs=1e-4), 0.0, pytest.approx(0.2667, abs=1e-4))
    assert late.still_30_interval is not None and late.still_30_interval.low == 0


def test_a_pipeline_brings_what_the_reference_says_and_nothing_while_half_are_not_there() -> None:
    def deal(n: int, days: int | None, *, lost: bool = False) -> Deal:
        end = None if days is None else DAY + days * ONE
        return Deal(f"d{n}", "demo", "p", DAY, None if lost else end, end if lost else None, 1_000_000, 0, "JPY")

    seen = window(LOOP, DAY + 60 * ONE)
    deals = [*(deal(n, 40) for n in range(20)), *(deal(n, 40, lost=True) for n in range(80)),
             *(deal(n, None) for n in range(50))]
    found = pipeline_velocity(LOOP, deals, seen, DAY + 40 * ONE)
    assert (found.open, found.win_rate, found.mean_value_minor, found.cycle_days) == (50, 0.2, 1_000_000, None)
    quick = pipeline_velocity(LOOP, [deal(1, 40), deal(2, 50, lost=True), deal(3, None)], seen, DAY + 40 * ONE)
    # 1 open × 1/2 won × 1,000,000 ÷ 40 days, were half of the three won by then.
    assert quick.cycle_days is None and quick.per_day_minor is None
    won = pipeline_velocity(LOOP, [deal(1, 40), deal(2, 40), deal(3, None)], seen, DAY + 60 * ONE)
    assert (won.cycle_days, won.per_day_minor) == (40, 25_000)
    assert pipeline_velocity(LOOP, [], seen, DAY).win_rate is None


def test_a_cohort_counts_whoever_is_active_in_each_week_after(tmp_path: Path) -> None:
    week = 7 * ONE
    facts = ask(write(tmp_path, [
        a_page("a1", "ada"), a_page("a2", "ada", at=DAY + ONE), a_page("a3", "ada", at=DAY + 2 * week),
        a_page("b1", "bob"), a_page("b2", "bob", at=DAY + week), a_page("b3", "bob", at=DAY + 2 * week),
        a_page("c1", "cyd", at=DAY + week), a_page("m", "bot", grade="machine"),
        an_event("o", "Email Opened", at=DAY + 3 * week, visitor="v:demo:ada", door="email"),
    ]))
    assert facts.cohorts == (
        CohortWeek(AUTUMN, 0, 2), CohortWeek(AUTUMN, 1, 1), CohortWeek(AUTUMN, 2, 2), CohortWeek(AUTUMN + week, 0, 1))


def test_a_campaign_tells_whom_it_met_and_who_was_known_before(tmp_path: Path) -> None:
    folder = write(tmp_path, [
        a_form("k1", "ken", "ken"), a_page("k2", "ken", at=DAY + ONE, campaign="search-ads", channel="Paid Search"),
        a_page("z1", "zoe", campaign="search-ads", channel="Paid Search"),
        a_form("z2", "zoe", "zoe", at=DAY + ONE), a_page("y1", "yui", campaign="search-ads", channel="Paid Search"),
        a_page("x1", "kim", campaign="no-campaign-of-ours", channel="Paid Search"),
    ])
    found = {one.campaign: (one.people, one.known) for one in ask(folder).campaign_people}
    assert found == {"search-ads": (3, 1), "pump-guide": (2, 0)}


PRIZE = {
    "a prize and nothing else": ([a_prize("p", "bob")], True),
    "the prize's page on the same day": ([a_page("q", "bob"), a_prize("p", "bob", at=DAY + ONE / 9)], True),
    "two prizes": ([a_prize("p", "bob"), a_prize("q", "bob", at=DAY + 3 * ONE)], True),
    "a mail is opened": ([a_prize("p", "bob"), an_event("q", "Email Opened", at=DAY + 2 * ONE, ids=["email:bob"],
                                                        door="email")], True),
    "back on another day": ([a_prize("p", "bob"), a_page("q", "bob", at=DAY + 2 * ONE)], False),
    "another form": ([a_prize("p", "bob"), a_form("q", "bob", "bob", at=DAY + ONE / 9)], False),
    "no prize at all": ([a_form("q", "bob", "bob")], False),
}


@pytest.mark.parametrize("case", PRIZE, ids=list(PRIZE))
def test_a_prize_hunter_is_whoever_profiles_call_so(tmp_path: Path, case: str) -> None:
    events, hunter = PRIZE[case]
    (new,) = ask(write(tmp_path, events)).new_persons
    assert new.prize_only is hunter


def people(back: int, gone: int, *, prize: bool = False) -> list[NewPerson]:
    return [NewPerson(f"{n}", DAY, AUTUMN, AUTUMN, 0, n < back, prize) for n in range(back + gone)]


def test_a_firework_is_the_reference_s_and_is_flagged_only_where_chance_does_not_explain_it() -> None:
    assert MATURE_30 == TO_COME_BACK
    brought = {"rocket": people(8, 92, prize=True), "steady": people(20, 80), "tiny": people(0, 2)}
    told = {one.campaign: one for one in campaign_quality(brought, brought, (), [*brought, "idle"], ["idle"], 50)}
    rocket = campaign_quality(brought, brought, (), ["rocket", "steady"], (), 50)[0]
    assert rocket.firework == pytest.approx(0.6) and rocket.answer == "firework"
    assert (rocket.prize_hunters, rocket.prize_share, rocket.back_share, rocket.others_share) == (100, 1.0, 0.08, 0.2)
    assert (told["tiny"].firework, told["tiny"].answer) == (1.0, "not_enough_evidence")
    assert told["steady"].answer == "lasting"
    assert told["tiny"].no_return is not None and 0.85 < told["tiny"].no_return < 1
    idle = told["idle"]
    assert (idle.met, idle.known, idle.firework, idle.answer, idle.no_return) == (0, 0, None, "", None)


def test_every_address_stands_in_one_row(tmp_path: Path) -> None:
    def told(id_: str, name: str, who: str, **changes: Any) -> dict[str, Any]:
        return an_event(id_, name, ids=[f"email:{who}"], **{"at": DAY + ONE, "door": "email", **changes})

    named = [a_form(f"f-{who}", who, who) for who in ("ada", "bob", "cyd", "dan", "eve", "fay", "gus")]
    facts = ask(write(tmp_path, [
        *named, a_form("old", "hal", "hal", at=DAY - timedelta(days=400)),
        an_event("listed", type="identify", door="list", ids=["email:ida"]),
        told("1", "Email Bounced", "bob"), told("2", "Email Bounced", "cyd", properties={"soft": True}),
        told("3", "Email Marked As Spam", "dan"), told("4", "Email Unsubscribed", "eve"),
        told("5", "Mail Suppressed", "fay", door="operator"), told("6", "Mail Allowed", "fay", at=DAY + 2 * ONE,
                                                                   door="operator"),
        told("7", "Mail Suppressed", "gus", door="operator"),
    ]))
    assert facts.list_count == ListCount(addresses=9, bounced=1, complained=1, stopped=2, gone_quiet=2, alive=3)


ODD = {
    "one event": ([a_page("e", "ada")], []),
    "one deal, no person": ([a_deal("d", "Deal Won", "", 100)], []),
    "one person at one stage": ([a_form("f", "ada", "ada")], [a_move("m", "ada", "", "research")]),
    "a decision before its fact": ([], [a_move("m", "ada", "", "research", at=DAY + timedelta(days=51))]),
}


@pytest.mark.parametrize("case", ODD, ids=list(ODD))
def test_next_to_nothing_makes_a_report_of_dashes(tmp_path: Path, case: str) -> None:
    events, decisions = ODD[case]
    report, files = prepared(the_loop(), {"demo": the_site()}, write(tmp_path, events, decisions), AS_OF, bucket="B",
                             memory="300MB")
    assert isinstance(report, Report) and report.reconciles
    page = next(file.body.decode() for file in files if file.key == LATEST + "index.html")
    assert page.count("—") > 20 and ">None<" not in page
