"""From the lake's rows to the report's figures and files."""

from __future__ import annotations

import csv
import io
import json
import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import jsonschema
import pytest

from closedloop.errors import NotReconciled
from closedloop.lake.report_files import File, build, prepared
from closedloop.loops.definition import Loop
from closedloop.loops.feasibility import GateRate
from closedloop.reports.credit import MODELS
from closedloop.reports.metrics import Report
from closedloop.reports.past import past_of
from tests.unit.test_report_rows import (
    DAY,
    a_deal,
    a_decision,
    a_form,
    a_move,
    a_page,
    a_verdict,
    an_event,
    the_loop,
    the_site,
    write,
)

AS_OF = DAY + timedelta(days=50)
DATED = "reports/site=demo/loop=autumn-pumps/dt=2026-11-24/"
# The name of a version ends with what it says; the tests call it V.
VERSION = "reports/site=demo/loop=autumn-pumps/version=V/"
LATEST = "reports/site=demo/loop=autumn-pumps/latest/"
NO_NUMBER = re.compile(r"\b(nan|NaN|inf|Infinity|None|undefined)\b")


def a_small_loop(folder: Path, *, extra: tuple[dict[str, Any], ...] = ()) -> Path:
    """Ada reads, is mailed, hears a seminar, buys for 300; Bob wins a prize and is not seen again; Eve only reads."""
    hour, day = timedelta(hours=1), timedelta(days=1)
    events = [
        a_page("e1", "ada", channel="Paid Search", source="google", campaign="search-ads"),
        a_page("e2", "ada", at=DAY + timedelta(minutes=2), path="/products/pumps"),
        a_form("e3", "ada", "ada", at=DAY + timedelta(minutes=9), industry="water", employees=500),
        a_page("e4", "ada", at=DAY + 3 * day, channel="Direct"),
        an_event("e5", "Email Delivered", at=DAY + day, ids=["email:ada"], door="email", grade="likely",
                 properties={"campaign": "case-mail", "loop": "autumn-pumps"}),
        an_event("e6", "Email Opened", at=DAY + day, ids=["email:ada"], door="email", grade="machine",
                 properties={"campaign": "case-mail", "loop": "autumn-pumps"}),
        an_event("e7", "Email Link Clicked", at=DAY + day + hour, ids=["email:ada"], door="link",
                 properties={"campaign": "case-mail", "loop": "autumn-pumps"}),
        an_event("e8", "Seminar Attended", at=DAY + 5 * day, ids=["email:ada"], door="import"),
        a_deal("e9", "Deal Opened", "ada", 250, at=DAY + 6 * day),
        a_deal("e10", "Deal Won", "", 300, at=DAY + 8 * day),
        a_page("e11", "bob", at=DAY + day, channel="Organic Search", source="google"),
        a_form("e12", "bob", "bob", at=DAY + day + hour / 4, form="prize", industry="student", employees=10),
        a_page("e13", "eve", at=DAY + 20 * day, channel="Referral", source="news.example"),
        a_page("e14", "bot", grade="machine"),
        an_event("e15", "Campaign Cost Reported", door="import", properties={
            "campaign": "search-ads", "day": "2026-10-05", "amount_minor": 120, "currency": "JPY"}),
    ]
    decisions = [
        a_move("t1", "ada", "", "research"), a_move("t2", "bob", "", "research", at=DAY + day),
        a_verdict("v1", "ada", "interested", "hold", hold_kind="not enough interest"),
        a_verdict("v2", "ada", "interested", "advance", arm="treated", at=DAY + hour),
        a_move("t3", "ada", "research", "problem", gate="interested", at=DAY + hour),
        a_decision("a1", "action", "ada", campaign="case-mail", outcome="pending", at=DAY + hour),
        a_decision("a2", "action", "ada", campaign="case-mail", outcome="sent", at=DAY + 2 * hour),
        a_verdict("v3", "bob", "interested", "exclude", reason="studying, not buying", at=DAY + day),
        a_move("t4", "bob", "research", "excluded", gate="interested", at=DAY + day),
        a_verdict("v4", "ada", "asks", "advance", at=DAY + 5 * day),
        a_move("t5", "ada", "problem", "proposal", gate="asks", at=DAY + 5 * day),
    ]
    return write(folder, [*events, *extra], decisions)


def built(
    folder: Path, loop: Loop | None = None, as_of: datetime = AS_OF
) -> tuple[Report, dict[str, bytes], list[File]]:
    report, files = prepared(loop or the_loop(), {"demo": the_site()}, folder, as_of, bucket="BUCKET", memory="300MB")
    return report, {file.key.replace(report.version, "V"): file.body for file in files}, files


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, dict[str, bytes], list[File]]:
    return built(a_small_loop(tmp_path_factory.mktemp("lake")))


def test_objectives_say_what_was_reached_and_how_the_pace_is(small: Any) -> None:
    fit, opportunities, sales = small[0].objectives
    assert (fit.attained, fit.target, opportunities.attained, sales.attained) == (1, 150, 1, 300)
    assert fit.state == "behind" and fit.elapsed == pytest.approx(85 / 212)
    assert fit.per_day_so_far == pytest.approx(1 / 85) and fit.per_day_needed == pytest.approx(149 / 127)
    assert sales.series[-1][1] == 300 and sales.series[0][1] == 0


def test_stages_balance_and_gates_say_why(small: Any) -> None:
    report: Report = small[0]
    assert {s.stage: (s.entered, s.left, s.now) for s in report.stages if s.entered} == {
        "research": (2, 2, 0), "problem": (1, 1, 0), "proposal": (1, 0, 1), "excluded": (1, 0, 1)}
    interested, _, asks, opportunity, _ = report.gates
    assert (interested.judged, interested.advanced, interested.held, interested.excluded) == (2, 1, 0, 1)
    assert interested.exclusions[0].why == "studying, not buying"
    assert (asks.advance_rate, opportunity.advance_rate, opportunity.advance_interval) == (1.0, None, None)


def test_people_are_counted_and_not_their_page_views(small: Any) -> None:
    people = small[0].people
    assert (people.unique_users, people.known, people.anonymous, people.page_views) == (3, 2, 1, 5)
    assert (people.new_persons, people.new_with_fit) == (2, 1)
    assert (people.cohort_30, people.back_30) == (3, pytest.approx(1 / 3))


def test_each_campaign_shows_its_cost_its_people_and_its_credit(small: Any) -> None:
    campaigns = {campaign.campaign: campaign for campaign in small[0].campaigns}
    ads, prize, guide = campaigns["search-ads"], campaigns["prize-draw"], campaigns["pump-guide"]
    assert (ads.cost_minor, ads.reached, ads.brought, ads.cost_per_new_person_minor) == (120, 1, 0, 120)
    assert (prize.brought, prize.never_back, guide.brought, guide.never_back) == (1, 1.0, 1, 0.0)
    assert (ads.first.revenue_minor, campaigns["pump-seminar"].last.revenue_minor) == (300, 300)
    assert {name: c.linear.revenue_minor for name, c in campaigns.items() if c.linear.revenue_minor} == {
        "search-ads": 60, "pump-guide": 60, "case-mail": 60, "Direct": 60, "pump-seminar": 60}
    assert campaigns["Organic Search/google"].reached == 1


def test_every_model_shares_the_same_deals_and_says_so_in_a_column_of_its_own(small: Any) -> None:
    report: Report = small[0]
    assert tuple(model.model for model in report.models) == MODELS
    for model in report.models:
        assert sum(share.revenue_minor for share in model.channels.values()) == 300, model.model
        assert sum(share.deals for share in model.channels.values()) == pytest.approx(1, abs=1e-9), model.model
    by_name = {model.model: model for model in report.models}
    # Ada met search-ads, pump-guide, came by herself, clicked in the mail and heard the seminar.
    assert by_name["position"].channels["search-ads"].revenue_minor == 120
    assert by_name["last_non_direct"].channels["pump-seminar"].revenue_minor == 300
    # Bob came by search and won nothing: only Markov asks, and no credit comes of it.
    assert all("Organic Search/google" not in model.channels for model in report.models)
    assert by_name["markov"].removal["search-ads"] == 1.0 and not by_name["shapley"].removal
    rows = list(csv.reader(io.StringIO(small[1][VERSION + "human/models_revenue.csv"].decode("utf-8-sig"))))
    assert rows[0][:3] == ["Campaign", "First (JPY)", "Last (JPY)"] and len(rows[0]) == 13
    assert [sum(float(row[place]) for row in rows[1:]) for place in range(1, 13)] == [300.0] * 12


def test_a_campaign_says_what_a_deal_cost_and_when_its_cost_was_back(small: Any, tmp_path: Path) -> None:
    ads = next(one for one in small[0].campaigns if one.campaign == "search-ads")
    assert (ads.cost_per_deal_minor, ads.revenue_per_cost, ads.paid_back_on) == (600, 0.5, None)
    later = DAY + timedelta(days=20)
    again = (
        a_page("x1", "ada", at=later, channel="Paid Search", source="google", campaign="search-ads"),
        a_deal("x2", "Deal Won", "ada", 60, at=later + timedelta(days=1), deal="d2"),
    )
    report, _, _ = built(a_small_loop(tmp_path, extra=again))
    ads = next(one for one in report.campaigns if one.campaign == "search-ads")
    assert (ads.cost_per_deal_minor, ads.revenue_per_cost) == (100, 1.0)
    assert ads.paid_back_on == (later + timedelta(days=1)).date()


def test_what_was_measured_is_what_the_next_plan_may_expect(small: Any) -> None:
    past = past_of(small[0])
    assert (past.loop, past.day, past.running) == ("autumn-pumps", AS_OF.date(), True)
    assert (past.known, past.fit, past.fit_at_least, past.repeat) == ((2, 3), (1, 2), 60, (1, 3))
    assert past.gates["interested"] == GateRate("research", "problem", 1, 2)
    assert (past.gates["opportunity"], past.deal_value_minor) == (GateRate("proposal", "decision", 0, 0), 300)


def test_whoever_was_held_out_was_ready(tmp_path: Path) -> None:
    held = a_verdict("v9", "bob", "interested", "hold", hold_kind="holdout", arm="holdout", at=DAY + timedelta(days=2))
    folder = write(tmp_path, [a_form("e1", "bob", "bob")], [a_move("t1", "bob", "", "research"), held])
    assert past_of(built(folder)[0]).gates["interested"] == GateRate("research", "problem", 1, 1)


def test_a_cost_by_day_counts_the_days_that_are_over_and_coming_back_may_be_an_objective(tmp_path: Path) -> None:
    plain = the_loop().model_dump(mode="json", by_alias=True)
    plain["campaigns"][2]["cost"] = {"by_day": {"2026-10-05": 40, "2026-11-24": 2, "2026-11-25": 9_000}}
    plain["objectives"][1] = {"metric": "repeat", "target": 4, "by": "2027-03-31"}
    report, files, _ = built(a_small_loop(tmp_path), Loop.model_validate(plain))
    assert {c.campaign: c.cost_minor for c in report.campaigns if c.cost_minor} == {"search-ads": 120, "pump-guide": 42}
    repeat = report.objectives[1]
    assert (repeat.metric, repeat.attained, repeat.share) == ("repeat", 1, 0.25)
    pages = [body.decode() for key, body in files.items() if key.startswith(DATED) and key.endswith(".html")]
    assert len(pages) == 2 and all("came back" in page or "再訪した新規個人" in page for page in pages)


def test_money_mails_and_quality_are_told(small: Any) -> None:
    report: Report = small[0]
    assert (report.money.deals_won, report.money.revenue_minor, report.money.cost_minor) == (1, 300, 120)
    assert report.money.return_on_cost == pytest.approx(1.5)
    (mail,) = report.mails
    assert (mail.asked_for, mail.sent, mail.delivered, mail.opened, mail.opened_by_machine, mail.clicked) == (
        1, 1, 1, 0, 1, 1)
    assert (report.quality.machine, report.quality.duplicates, report.quality.counted) == (2, 0, 15)


def test_an_experiment_with_an_empty_arm_claims_nothing(small: Any) -> None:
    (experiment,) = small[0].experiments
    assert (experiment.treated, experiment.holdout, experiment.treated_won) == (1, 0, 1)
    assert (experiment.answer, experiment.lift, experiment.interval) == ("empty", None, None)


def test_a_label_waits_for_thirty_days(tmp_path: Path) -> None:
    report, files, _ = built(a_small_loop(tmp_path), as_of=DAY + timedelta(days=29))
    assert {campaign.never_back for campaign in report.campaigns} == {None}
    assert report.people.back_30 is None and {week.back_30 for week in report.weeks} == {None}
    assert b"not shown yet" in files[LATEST + "index.html"]


def test_every_check_holds_and_is_shown(small: Any) -> None:
    report: Report = small[0]
    assert report.reconciles and all(check.holds for check in report.checks)
    page = small[1][LATEST + "index.html"].decode()
    assert page.count("Credit sums to the revenue") == len(MODELS) == 12 and f"All {len(report.checks)}" in page


def test_files_come_in_an_order_that_never_shows_half_a_report(small: Any) -> None:
    keys = [file.key.replace(small[0].version, "V") for file in small[2]]
    first_latest = keys.index(LATEST + "summary.json")
    assert all(key.startswith(LATEST) for key in keys[first_latest:]) and keys[-1] == LATEST + "index.html"
    kinds = [
        "curated/", "curated_csv/", VERSION + "human/", VERSION + "proposal", VERSION + "notice", VERSION + "index",
        VERSION + "summary.json", DATED, "manifests/", "schemas/", LATEST,
    ]
    places = [next(n for n, kind in enumerate(kinds) if key.startswith(kind)) for key in keys]
    assert places == sorted(places)
    assert small[1][LATEST + "index.html"] == small[1][DATED + "index.html"]


def test_the_same_lake_as_of_the_same_moment_gives_the_same_bytes(small: Any, tmp_path: Path) -> None:
    again = built(a_small_loop(tmp_path))[1]
    assert again == small[1]


def test_copies_and_their_order_change_no_figure_but_the_count_of_copies(small: Any, tmp_path: Path) -> None:
    folder = a_small_loop(tmp_path)
    for file in [*folder.glob("events/**/*.gz"), *folder.glob("decisions/**/*.gz")]:
        other = file.parent.parent / "dt=2026-12-31" / file.parent.name / file.name
        other.parent.mkdir(parents=True)
        other.write_bytes(file.read_bytes())
    report: Report = built(folder)[0]
    assert report.quality.duplicates == 15
    for part in ("objectives", "stages", "gates", "people", "weeks", "money", "campaigns", "experiments", "mails"):
        assert getattr(report, part) == getattr(small[0], part)


def test_the_summary_keeps_to_its_schema(small: Any) -> None:
    summary = json.loads(small[1][LATEST + "summary.json"], parse_constant=pytest.fail)
    told = json.loads(small[1]["schemas/loop-report.schema.json"])
    jsonschema.Draft202012Validator.check_schema(told)
    jsonschema.validate(summary, told)
    assert summary["loop"] == "autumn-pumps" and summary["reconciles"] is True
    assert summary["as_of"] == "2026-11-24T03:00:00.000Z"


def test_the_manifest_is_what_quicksight_reads(small: Any) -> None:
    assert json.loads(small[1]["manifests/quicksight/funnel_daily.json"]) == {
        "fileLocations": [{"URIPrefixes": ["s3://BUCKET/curated_csv/funnel_daily/site=demo/"]}],
        "globalUploadSettings": {"format": "CSV", "delimiter": ",", "textqualifier": '"', "containsHeader": "true"},
    }


def test_machines_get_plain_csv_and_people_get_a_mark(small: Any) -> None:
    machine = small[1]["curated_csv/funnel_daily/site=demo/autumn-pumps.part-2026.csv"]
    assert not machine.startswith(b"\xef\xbb\xbf") and b"\r" not in machine
    rows = list(csv.DictReader(io.StringIO(machine.decode())))
    assert sum(int(row["entered"]) for row in rows) == 5 and sum(int(row["revenue_minor"]) for row in rows) == 300
    people = small[1][VERSION + "human/stages.csv"]
    assert people.startswith(b"\xef\xbb\xbf") and people.count(b"\r\n") == people.count(b"\n") == 7
    assert "段階" in small[1][VERSION + "human/stages.ja.csv"].decode("utf-8-sig")


def test_parquet_has_the_columns_of_its_table(tmp_path: Path) -> None:
    files = built(a_small_loop(tmp_path), as_of=DAY + timedelta(days=8, hours=9))[1]
    part = tmp_path / "part.parquet"
    part.write_bytes(files["curated/funnel_daily/site=demo/dt=2026-10-13/autumn-pumps.part-0.parquet"])
    with duckdb.connect() as connection:
        columns = connection.execute(f"DESCRIBE SELECT * FROM '{part}'").fetchall()
        rows = connection.execute(f"SELECT stage, source, revenue_minor FROM '{part}'").fetchall()
    assert [(name, kind) for name, kind, *_ in columns] == [
        ("loop", "VARCHAR"), ("stage", "VARCHAR"), ("source", "VARCHAR"), ("medium", "VARCHAR"),
        ("campaign", "VARCHAR"), ("entered", "BIGINT"), ("advanced", "BIGINT"), ("held", "BIGINT"),
        ("excluded", "BIGINT"), ("revenue_minor", "BIGINT"), ("currency", "VARCHAR"), ("as_of", "TIMESTAMP")]
    assert rows == [("customer", "google", 300)]


@pytest.mark.parametrize("as_of", ["2026-08-01T00:00:00Z", "2026-08-31T15:00:00Z", "2026-09-20T00:00:00Z",
                                   "2027-06-01T00:00:00Z"])
def test_an_empty_lake_makes_a_report_of_dashes(tmp_path: Path, as_of: str) -> None:
    report, files, _ = built(tmp_path, as_of=datetime.fromisoformat(as_of))
    assert report.reconciles and report.money.revenue_minor == 0 and report.people.back_30 is None
    for name in ("index.html", "index.ja.html"):
        page = files[LATEST + name].decode()
        shown = re.sub(r"<style>.*?</style>|<meta[^>]*>|<svg.*?</svg>", "", page, flags=re.DOTALL)
        words = re.sub(r"<[^>]+>", " ", shown)
        assert "—" in words and not NO_NUMBER.search(words)


def test_other_currencies_stand_apart_and_are_in_no_sum(tmp_path: Path) -> None:
    extra = (
        a_deal("x1", "Deal Won", "bob", 999, at=DAY + timedelta(days=9), deal="d2", currency="USD"),
        an_event("x2", "Campaign Cost Reported", door="import", properties={
            "campaign": "prize-draw", "day": "2026-10-06", "amount_minor": 50, "currency": "USD"}),
    )
    report, files, _ = built(a_small_loop(tmp_path, extra=extra))
    assert (report.money.revenue_minor, report.money.cost_minor, report.money.deals_won) == (300, 120, 1)
    (usd,) = report.foreign
    assert (usd.currency, usd.deals_won, usd.revenue_minor, usd.cost_minor) == ("USD", 1, 999, 50)
    assert "USD is not the loop" in files[LATEST + "index.html"].decode()


def test_a_refund_is_taken_off_revenue_and_credit(tmp_path: Path) -> None:
    extra = (a_deal("x1", "Deal Refunded", "", None, at=DAY + timedelta(days=20)),)
    report = built(a_small_loop(tmp_path, extra=extra))[0]
    assert (report.money.revenue_minor, report.money.refunded_minor, report.money.deals_refunded) == (0, 300, 1)
    assert {campaign.first.revenue_minor for campaign in report.campaigns} == {0}


def test_a_shops_orders_are_deals_like_a_crms_and_the_report_balances(tmp_path: Path) -> None:
    day = timedelta(days=1)
    extra = (
        a_deal("x1", "Order Completed", "bob", 500, at=DAY + 5 * day, deal="o-1") | {"door": "beacon"},
        a_deal("x2", "Order Refunded", "bob", 120, at=DAY + 6 * day, deal="o-1") | {"door": "beacon"},
        a_deal("x3", "Order Completed", "ada", 70, at=DAY + 6 * day, deal="o-2") | {"door": "beacon"},
        a_deal("x4", "Order Cancelled", "", None, at=DAY + 7 * day, deal="o-2") | {"door": "beacon"},
        # What a browser says of an order names no deal.
        an_event("x5", "Order Completed", at=DAY + 5 * day, properties={"amount_minor": 9999, "currency": "JPY"}),
    )
    report = built(a_small_loop(tmp_path, extra=extra))[0]
    assert report.reconciles
    assert (report.money.deals_won, report.money.revenue_minor, report.money.refunded_minor) == (2, 680, 120)
    assert (report.money.deals_lost, report.money.deals_mixed) == (1, 0)


def test_whoever_handled_a_refund_has_neither_the_deal_nor_its_credit(tmp_path: Path) -> None:
    day = timedelta(days=1)
    extra = (
        a_deal("x1", "Deal Refunded", "desk", 30, at=DAY + 9 * day),
        a_deal("x2", "Deal Changed", "", 280, at=DAY + 10 * day),
    )
    before, after = built(a_small_loop(tmp_path / "a"))[0], built(a_small_loop(tmp_path / "b", extra=extra))[0]
    assert after.reconciles
    assert (after.money.revenue_minor, after.money.refunded_minor) == (250, 30)
    credited = [[one.campaign for one in report.campaigns if one.linear.deals] for report in (before, after)]
    assert credited[0] == credited[1] != []


def test_a_deal_that_the_crms_own_stage_opens_again_is_won_no_more(tmp_path: Path) -> None:
    again = a_deal("x1", "Deal Changed", "", None, at=DAY + timedelta(days=20))
    extra = (again | {"properties": '{"stage": "proposal", "stage_is_open": true}'},)
    report = built(a_small_loop(tmp_path, extra=extra))[0]
    assert report.reconciles
    assert (report.money.deals_won, report.money.revenue_minor, report.money.deals_lost) == (0, 0, 0)


def test_a_deal_told_in_two_currencies_is_marked_on_the_page(tmp_path: Path) -> None:
    extra = (a_deal("x1", "Deal Refunded", "", 5, at=DAY + timedelta(days=20), currency="USD"),)
    report, files, _ = built(a_small_loop(tmp_path, extra=extra))
    assert report.reconciles
    assert (report.money.revenue_minor, report.money.refunded_minor, report.money.deals_mixed) == (300, 0, 1)
    assert "several currencies" in files[LATEST + "index.html"].decode()
    assert "複数の通貨" in files[LATEST + "index.ja.html"].decode()


def test_a_deal_won_at_the_very_moment_of_the_report_is_in_it(tmp_path: Path) -> None:
    extra = (a_deal("x1", "Deal Won", "", 40, at=AS_OF, deal="d9", received_at="2026-11-24T03:00:00.000Z"),
             a_deal("x2", "Deal Won", "", 40, at=AS_OF + timedelta(minutes=3), deal="d8",
                    received_at="2026-11-24T02:59:00.000Z"))
    assert built(a_small_loop(tmp_path, extra=extra))[0].money.revenue_minor == 340


def test_a_deal_of_nobody_is_credited_to_no_touchpoint(tmp_path: Path) -> None:
    extra = (a_deal("x1", "Deal Won", "", 40, at=DAY, deal="d9"),)
    report = built(a_small_loop(tmp_path, extra=extra))[0]
    assert report.campaigns[-1].campaign == "(none)" and report.campaigns[-1].linear.revenue_minor == 40


def test_a_report_that_does_not_reconcile_is_not_published(tmp_path: Path) -> None:
    folder = a_small_loop(tmp_path)
    write(folder / "decisions/more", [], [a_verdict("v9", "eve", "asks", "advance")])
    put: list[str] = []
    with pytest.raises(NotReconciled, match="advances_moved: 1 = 0"):
        build(the_loop(), {"demo": the_site()}, folder, AS_OF, lambda key, body, kind: put.append(key), bucket="BUCKET")
    assert put == []


def test_a_gate_of_an_earlier_version_keeps_its_verdicts(tmp_path: Path) -> None:
    folder = a_small_loop(tmp_path)
    write(folder / "decisions/more", [], [a_verdict("v9", "bob", "former", "hold", hold_kind="wrong target")])
    assert built(folder)[0].gates[-1].gate == "former"
