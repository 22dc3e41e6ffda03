"""The reports' commands: a published one is opened, two are compared, and the schema is printed."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest

from closedloop.lake.report_files import build
from closedloop.reports.metrics import Report
from closedloop.runtime import doors
from tests.accounts import forget
from tests.cli.conftest import REPORTS, Cloud, Run
from tests.unit.test_report import AS_OF, a_small_loop
from tests.unit.test_report_rows import DAY, a_deal, the_loop, the_site

WEEK = timedelta(days=7)
REFUND = a_deal("late", "Deal Refunded", "", 100, at=DAY + timedelta(days=20), received_at="2026-11-27T00:00:00.000Z")


@pytest.fixture
def two(applied: Cloud, tmp_path: Path) -> tuple[Report, Report]:
    """Two reports of the small loop: before the second, a refund came late."""
    forget()
    former = None
    made = []
    for name, extra, as_of in (("a", (), AS_OF), ("b", (REFUND,), AS_OF + WEEK)):
        former = build(the_loop(), {"demo": the_site()}, a_small_loop(tmp_path / name, extra=extra), as_of,
                       doors.reports().put, bucket=REPORTS, former=former)
        made.append(former)
    return made[0], made[1]


def test_two_reports_are_compared_with_what_changed_and_why(two: tuple[Report, Report], run: Run) -> None:
    first, second = two
    said = run("report", "diff", "autumn-pumps", "--json").json
    assert (said["from"], said["to"]) == (first.version, second.version)
    assert {one["figure"]: (one["before"], one["now"]) for one in said["figures"]} == {
        "revenue_minor": (300, 200), "refunded_minor": (0, 100)}
    (step,) = said["steps"]
    assert [(one["figure"], one["before"], one["now"], one["first"]) for one in step["restated"]] == [
        ("revenue_minor", 300, 200, "2026-10-13")]
    assert step["reasons"] == [{"why": "refund", "facts": 1, "amount_minor": 100, "currency": "JPY"}]
    shown = run("report", "diff", "autumn-pumps", "--from", "2026-11-24", "--to", second.version)
    assert "¥300" in shown.out and "refunds and cancellations" in shown.out
    assert "返金・取消" in run("report", "diff", "autumn-pumps", "--lang", "ja").out


def test_the_other_way_round_only_figures_are_told_and_the_first_report_has_no_former(
    two: tuple[Report, Report], run: Run
) -> None:
    back = run("report", "diff", "autumn-pumps", "--from", two[1].version[:20], "--to", "2026-11-24", "--json").json
    assert (len(back["figures"]), back["steps"]) == (2, [])
    assert "is the first report" in run("report", "diff", "autumn-pumps", "--to", "2026-11-24").out


def test_a_report_is_opened_with_all_that_its_page_links_to(two: tuple[Report, Report], run: Run) -> None:
    for version, lang in ((None, "en"), ("2026-11-24", "ja")):
        words = () if version is None else ("--version", version)
        said = run("report", "open", "autumn-pumps", "--out", "here", "--no-browser", "--json", "--lang", lang, *words)
        page = Path(said.json["page"])
        assert said.json["version"] == two[version is None].version
        links = re.findall(r'href="(\.\./[^"]+)"', page.read_text(encoding="utf-8"))
        assert len(links) > 15
        own = [link for link in links if said.json["version"] in link]
        assert all((page.parent / link).resolve().is_file() for link in own) and len(links) - len(own) <= 1


@pytest.mark.parametrize("words", [("open",), ("diff",)])
def test_what_is_not_there_is_named(applied: Cloud, run: Run, words: tuple[str, ...]) -> None:
    said = run("report", *words, "autumn-pumps")
    assert said.status == 2
    assert said.err == (
        "no one report of autumn-pumps is there to be read. Versions: none; build one: closedloop report build\n"
    )
    assert run("report", *words, "winter").err.startswith("no loop 'winter' is known")


def test_a_version_that_several_could_be_is_not_guessed(two: tuple[Report, Report], run: Run) -> None:
    said = run("report", "open", "autumn-pumps", "--version", "2026", "--no-browser")
    assert said.status == 2 and two[0].version in said.err and two[1].version in said.err


def test_the_schema_is_printed_without_a_deployment(cloud: Cloud, run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("STATE_TABLE")
    said = json.loads(run("report", "schema").out)
    jsonschema.Draft202012Validator.check_schema(said)
    assert {"money", "velocity", "changes"} <= set(said["properties"])
