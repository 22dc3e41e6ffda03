"""Whatever is counted, figures are numbers or nothing; and no false sum gets past the checks."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timedelta
from fractions import Fraction
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as some

from closedloop.attribution.journeys import Touch
from closedloop.attribution.rules import Credit
from closedloop.errors import NotReconciled
from closedloop.reports.credit import Credits, credits_of
from closedloop.reports.deals import Deal, DealFact, fold_deals
from closedloop.reports.facts import (
    ActionCount,
    ArmCount,
    CampaignCost,
    CampaignPeople,
    CohortWeek,
    Facts,
    FirstDay,
    FunnelRow,
    ListCount,
    MailCount,
    NewPerson,
    Quality,
    StageCount,
    StageStay,
    Users,
    VerdictCount,
    Week,
)
from closedloop.reports.metrics import SUMMARY, measure, wanted_fit
from closedloop.reports.reconcile import reconciled
from closedloop.reports.tables import human_csv, shown, tables
from closedloop.reports.words import Language, Words
from tests.unit.test_report_rows import DAY, the_loop

AS_OF = DAY + timedelta(days=50)
LOOP = the_loop()
TOKYO = ZoneInfo("Asia/Tokyo")
COUNT = some.integers(0, 10**6)
CHANNELS = some.sampled_from(["search-ads", "pump-guide", "Direct", "Referral/x"])
WHEN = some.integers(-40, 60).map(lambda days: DAY + timedelta(days=days))
WHO = some.sampled_from(["p1", "p2", "p3", ""])


def a_fact(**changes: Any) -> Facts:
    """Facts that hang together: one person, one deal of 300, one step of two stages."""
    won = Deal("d1", "demo", "p1", DAY, DAY, None, 300, 0, "JPY")
    facts = Facts(
        users=Users(2, 3, 9, 1), weeks=(Week(DAY.date(), 5, 9),),
        first_days=(FirstDay(DAY.date(), DAY.date(), 5, 1, 2),),
        new_persons=(NewPerson("p1", DAY, DAY.date(), DAY.date(), 100, True),),
        touches={"p1": (Touch(DAY - timedelta(hours=1), "e1", "search-ads"),)}, deals=(won,),
        costs=(CampaignCost("search-ads", "JPY", 10),),
        stages=(StageCount("research", 2, 1, 1), StageCount("problem", 1, 0, 1)), broken_paths=0, paths=2,
        persons_in_loop=2, persons_known=2,
        verdicts=(VerdictCount("interested", "advance", "", "", 1),
                  VerdictCount("interested", "hold", "holdout", "", 1)),
        advances_without_move=0, arms=(ArmCount("holdout", "interested", 2, 1, 1, 0, 1, 0),),
        mails=(MailCount("case-mail", "Email Opened", True, 1),), actions=(ActionCount("case-mail", "sent", 1),),
        quality=Quality(12, 10, 10, 1, 1, 9, 8, 1, 0),
        funnel=(FunnelRow("demo", DAY.date(), LOOP.loop, "customer", "", "", "", 0, 0, 0, 0, 300, "JPY"),),
        stays=(StageStay("research", "moved", 5, 1), StageStay("research", "still", 50, 1),
               StageStay("problem", "still", 45, 1)),
        cohorts=(CohortWeek(DAY.date(), 0, 5), CohortWeek(DAY.date(), 1, 2)),
        campaign_people=(CampaignPeople("search-ads", 3, 1),), list_count=ListCount(4, 1, 0, 1, 0, 2),
    )
    return replace(facts, **changes)


def checked(facts: Facts, credits: Credits | None = None) -> Any:
    credits = credits or credits_of(LOOP, facts, AS_OF)
    return reconciled(measure(LOOP, facts, AS_OF, credits), facts, credits)


def test_facts_that_hang_together_make_a_report() -> None:
    report = checked(a_fact())
    assert report.reconciles and len(report.checks) > 25


@pytest.mark.parametrize(("changes", "failing"), [
    ({"quality": Quality(12, 9, 10, 0, 0, 0, 0, 0, 0)}, "events_counted_once"),
    ({"quality": Quality(9, 10, 10, 0, 0, 0, 0, 0, 0)}, "delivered_covers_counted"),
    ({"users": Users(5, 5, 9, 0)}, "page_views_cover_users"),
    ({"persons_known": 0}, "persons_cover_new"),
    ({"broken_paths": 1}, "paths_whole"),
    ({"stages": (StageCount("research", 2, 1, 2),)}, "stage_balance:research"),
    ({"persons_in_loop": 1}, "everybody_stands_somewhere"),
    ({"paths": 1}, "paths_cover_persons"),
    ({"stays": (StageStay("research", "moved", 5, 2), StageStay("problem", "still", 45, 1))}, "still_is_now:research"),
    ({"stays": (StageStay("research", "still", 5, 1),)}, "stays_are_entries:research"),
    ({"cohorts": (CohortWeek(DAY.date(), 0, 4),)}, "cohorts_are_first_seen"),
    ({"campaign_people": (CampaignPeople("search-ads", 1, 2),)}, "met_covers_known:search-ads"),
    ({"list_count": ListCount(4, 1, 0, 1, 0, 1)}, "addresses_sum"),
    ({"new_persons": (NewPerson("p1", DAY, DAY.date() - timedelta(days=90), DAY.date(), 100, True),)}, "days_are_new"),
    ({"advances_without_move": 1}, "advances_moved"),
    ({"arms": (ArmCount("holdout", "interested", 3, 1, 1, 0, 1, 0),)}, "arms_sum:holdout:interested"),
    ({"funnel": ()}, "funnel_is_revenue"),
    ({"actions": (ActionCount("case-mail", "vanished", 1),)}, "actions_sum:case-mail"),
    ({"verdicts": (VerdictCount("interested", "perhaps", "", "", 1),)}, "verdicts_sum:interested"),
])
def test_each_contradiction_stops_the_report(changes: dict[str, Any], failing: str) -> None:
    with pytest.raises(NotReconciled) as raised:
        checked(a_fact(**changes))
    assert any(failed.startswith(failing) for failed in raised.value.failed)


@pytest.mark.parametrize(("share", "failing"), [
    (Credit(Fraction(1), 299), "credit_is_revenue:linear"),
    (Credit(Fraction(1, 2), 300), "credit_is_deals:linear"),
])
def test_credit_that_is_lost_stops_the_report(share: Credit, failing: str) -> None:
    facts = a_fact()
    credits = credits_of(LOOP, facts, AS_OF)
    with pytest.raises(NotReconciled, match=failing):
        checked(facts, replace(credits, by_rule={**credits.by_rule, "linear": {"search-ads": share}}))


DEALS = some.lists(some.builds(
    DealFact, deal=some.sampled_from(["d1", "d2", "d3"]), site=some.sampled_from(["demo", "shop"]), person=WHO, at=WHEN,
    name=some.sampled_from([
        "Deal Opened", "Deal Changed", "Deal Won", "Deal Lost", "Deal Paid", "Deal Refunded", "Order Completed",
        "Order Updated", "Order Cancelled", "Order Refunded",
    ]),
    amount_minor=some.none() | some.integers(0, 10**9), currency=some.sampled_from(["", "JPY", "USD"]),
    event=some.uuids().map(str), open=some.booleans(),
), max_size=12)


@given(DEALS, some.randoms())
def test_a_deal_is_the_same_in_whatever_order_it_was_told(said: list[DealFact], order: Any) -> None:
    mixed = list(said)
    order.shuffle(mixed)
    assert fold_deals(said) == fold_deals(mixed)


def test_the_last_word_on_a_deal_counts() -> None:
    def say(name: str, hour: int, amount: int | None = None, person: str = "") -> DealFact:
        return DealFact("d1", "demo", name, person, DAY + timedelta(hours=hour), amount, "JPY", f"e{hour}")

    (deal,) = fold_deals([say("Deal Opened", 0, 100, "p1"), say("Deal Lost", 1), say("Deal Won", 2, 80),
                          say("Deal Refunded", 3, 30)])
    assert (deal.person, deal.won_at, deal.lost_at) == ("p1", DAY + timedelta(hours=2), None)
    assert (deal.value_minor, deal.refunded_minor, deal.revenue_minor) == (80, 30, 50)
    (lost,) = fold_deals([say("Deal Won", 0, 100), say("Deal Lost", 1)])
    assert (lost.won_at, lost.revenue_minor) == (None, 0)
    assert fold_deals([say("Deal Refunded", 0, 100), say("Deal Paid", 1, 100)]) == []


def test_whoever_handles_a_refund_is_not_the_buyer() -> None:
    def say(name: str, hour: int, person: str = "") -> DealFact:
        return DealFact("d1", "demo", name, person, DAY + timedelta(hours=hour), 100, "JPY", f"e{hour}")

    (deal,) = fold_deals([say("Order Completed", 0, "p1"), say("Order Refunded", 1, "p2"), say("Deal Paid", 2, "p3")])
    assert deal.person == "p1"
    (handed,) = fold_deals([say("Deal Opened", 0, "p1"), say("Deal Changed", 1, "p2"), say("Deal Won", 2)])
    assert handed.person == "p2"
    (told,) = fold_deals([say("Deal Won", 0), say("Deal Paid", 1, "p3")])
    assert told.person == "p3"


def test_one_id_on_two_sites_is_two_deals() -> None:
    said = [DealFact("d1", site, "Deal Won", "", DAY, 100, "JPY", site) for site in ("demo", "shop")]
    assert [(deal.site, deal.value_minor) for deal in fold_deals(said)] == [("demo", 100), ("shop", 100)]


@settings(max_examples=80, deadline=None)
@given(
    users=some.builds(Users, COUNT, COUNT, COUNT, COUNT),
    first_days=some.lists(some.builds(lambda at, n: FirstDay(at.date(), at.date(), n, n // 2, n // 2), WHEN, COUNT),
                          max_size=5),
    new=some.lists(some.builds(
        lambda who, at, fit, back: NewPerson(who, at, at.date(), at.date(), fit, back),
        WHO, WHEN.filter(lambda at: at >= DAY), some.integers(0, 100), some.booleans()), max_size=5),
    touches=some.dictionaries(
        WHO, some.lists(some.builds(Touch, WHEN, some.just("e"), CHANNELS), max_size=6).map(tuple)),
    deals=DEALS,
    costs=some.lists(some.builds(CampaignCost, CHANNELS, some.sampled_from(["JPY", "USD", ""]), COUNT), max_size=4),
    arms=some.builds(lambda t, c, tw, cw: ArmCount("holdout", "interested", t + c, t, c, 0, min(t, tw), min(c, cw)),
                     COUNT, COUNT, COUNT, COUNT),
    verdicts=some.lists(some.builds(VerdictCount, some.sampled_from(["interested", "asks"]), some.sampled_from(
        ["advance", "hold", "exclude"]), some.just("holdout"), some.text(max_size=5), COUNT), max_size=5),
    as_of=WHEN,
)
def test_no_figure_is_ever_no_number(
    users: Users, first_days: list[FirstDay], new: list[NewPerson], touches: dict[str, tuple[Touch, ...]],
    deals: list[DealFact], costs: list[CampaignCost], arms: ArmCount, verdicts: list[VerdictCount], as_of: datetime,
) -> None:
    facts = a_fact(
        users=users, first_days=tuple(first_days), new_persons=tuple(new), touches=touches,
        deals=tuple(fold_deals(deals)), costs=tuple(costs), arms=(arms,), verdicts=tuple(verdicts),
    )
    credits = credits_of(LOOP, facts, as_of)
    report = measure(LOOP, facts, as_of, credits)
    json.loads(SUMMARY.dump_json(report), parse_constant=pytest.fail)
    for by_channel in credits.by_rule.values():
        assert sum(share.value for share in by_channel.values()) == report.money.revenue_minor
        assert sum((share.conversions for share in by_channel.values()), Fraction(0)) == report.money.deals_won
    assert sum(campaign.brought for campaign in report.campaigns) == len(new)
    for language in Language:
        words = Words(language)
        for table in tables(report, words).values():
            assert len(human_csv(table, "JPY", words).splitlines()) >= 1
            for row in table.rows:
                for column, cell in zip(table.columns, row, strict=True):
                    if not isinstance(cell, str):
                        assert not {"nan", "inf", "None"} & set(shown(cell, column.kind, "JPY", words).split())


def test_the_fit_that_counts_is_the_objective_s() -> None:
    assert wanted_fit(LOOP) == 60


def test_a_loop_s_last_day_ends_at_its_own_midnight() -> None:
    end = datetime(2027, 4, 1, tzinfo=TOKYO)
    report = measure(LOOP, a_fact(), end - timedelta(seconds=1), credits_of(LOOP, a_fact(), end))
    assert not report.ended and report.experiments[0].method == "always_valid"
    after = measure(LOOP, a_fact(), end, credits_of(LOOP, a_fact(), end))
    assert after.ended and after.experiments[0].method == "newcombe"
    assert [objective.state for objective in after.objectives] == ["missed"] * 3


@pytest.mark.parametrize(("arms", "answer"), [
    (ArmCount("holdout", "interested", 1000, 800, 200, 0, 400, 20), "better"),
    (ArmCount("holdout", "interested", 1000, 800, 200, 0, 80, 100), "worse"),
    (ArmCount("holdout", "interested", 1000, 800, 200, 0, 80, 20), "not_enough_evidence"),
    (ArmCount("holdout", "interested", 1000, 700, 300, 0, 400, 20), "refused"),
    (ArmCount("holdout", "interested", 3, 3, 0, 0, 1, 0), "empty"),
    (ArmCount("holdout", "interested", 0, 0, 0, 0, 0, 0), "empty"),
])
def test_an_experiment_says_no_more_than_it_knows(arms: ArmCount, answer: str) -> None:
    facts = a_fact(arms=(arms,))
    (experiment,) = measure(LOOP, facts, AS_OF, credits_of(LOOP, facts, AS_OF)).experiments
    assert experiment.answer == answer
    assert (experiment.lift is None) is (answer in ("refused", "empty"))
