"""The draft of the next loop on the command line: fetched, changed by a person, applied, remembered."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from closedloop.lake import layout
from closedloop.lake.report_files import proposal
from closedloop.loops.definition import Loop
from closedloop.reports.advice import ADVICE
from closedloop.reports.metrics import SUMMARY
from closedloop.runtime import deployment
from closedloop.sites.document import Document
from tests.cli.conftest import LOOP, REPORTS, STATE, Cloud, Run, the_examples
from tests.unit.test_advice import a_rich_basis

VERSION = "20270201-ab"


@pytest.fixture
def reported(applied: Cloud) -> Cloud:
    """The example loop with a report that has much to advise."""
    basis = a_rich_basis()
    advice, draft = proposal(basis, {"demo": the_examples()[0]})
    folder = layout.report_version("demo", "autumn-pumps", VERSION)
    for key, body in (
        (f"{folder}proposal.yaml", draft), (f"{folder}proposal.json", ADVICE.dump_json(advice)),
        (f"{layout.latest_report('demo', 'autumn-pumps')}summary.json", SUMMARY.dump_json(basis.report)),
    ):
        applied.client("s3").put_object(Bucket=REPORTS, Key=key, Body=body)
    return applied


def test_the_draft_is_fetched_as_a_file_that_passes_the_check(reported: Cloud, run: Run) -> None:
    before = reported.items(STATE)
    said = run("loop", "propose", "autumn-pumps", "--out", "next.yaml")
    assert (said.status, said.err) == (0, "")
    assert "draft of autumn-pumps-2" in said.out and "- campaigns pump-guide cost: pump-guide: spend" in said.out
    assert run("loop", "propose", "autumn-pumps").out == Path("next.yaml").read_text(encoding="utf-8")
    assert run("loop", "propose", "autumn-pumps", "--json").json["next_loop"] == "autumn-pumps-2"
    steps = run("loop", "check", "next.yaml", "--json").json["steps"]
    # What the draft states is what the report measured: nobody is counted twice.
    assert {step["rests_on"] for step in steps if step["step"] == "visitor becomes known"} == {
        "320 of 4,000, measured by autumn-pumps on 2027-02-01, still running"}
    assert reported.items(STATE) == before


def test_a_person_applies_the_draft_and_the_history_says_who_and_what(reported: Cloud, run: Run) -> None:
    run("loop", "propose", "autumn-pumps", "--out", "next.yaml")
    text = Path("next.yaml").read_text(encoding="utf-8")
    Path("next.yaml").write_text(text.replace("target: 150,", "target: 400,"), encoding="utf-8")
    assert run("loop", "apply", "next.yaml", "--by", "Jane", "--json").json["change"] == "new"
    (version,) = run("loop", "history", "autumn-pumps-2", "--json").json["versions"]
    assert (version["by"], version["follows"], version["from_loop"], version["from_report"]) == (
        "Jane", "autumn-pumps", "autumn-pumps", VERSION)
    assert version["by_hand"] == ["objective new_persons_with_fit, target: 150 → 400"]
    proposed = run("loop", "propose", "autumn-pumps", "--json").json["changes"]
    assert version["proposed"] == [f"{one['place']}: {one['reason']}" for one in proposed]
    shown = run("loop", "history", "autumn-pumps-2").out
    assert "Jane" in shown and f" is from the report of autumn-pumps, version {VERSION}\n" in shown
    assert "- by hand: objective new_persons_with_fit, target: 150 → 400\n" in shown


def test_what_is_expected_of_a_loop_is_kept_when_it_is_approved(reported: Cloud, run: Run) -> None:
    run("loop", "propose", "autumn-pumps", "--out", "next.yaml")
    run("loop", "apply", "next.yaml")
    body = next(
        json.loads(item["body"]["S"]) for item in reported.items(STATE)
        if item["pk"]["S"] == "L#autumn-pumps-2" and item["sk"]["S"].startswith("A#")
    )
    assert body["by"] == deployment.operator()
    assert set(body["expected"]) == {"new_persons_with_fit", "opportunities", "sales"}
    for target, low, middle, high in body["expected"].values():
        assert target > 0 and low <= middle <= high


def test_a_dry_run_approves_nothing(reported: Cloud, run: Run) -> None:
    run("loop", "propose", "autumn-pumps", "--out", "next.yaml")
    before = reported.items(STATE)
    assert run("loop", "apply", "next.yaml", "--dry-run").status == 0
    assert reported.items(STATE) == before


def test_a_loop_written_by_hand_has_who_applied_it_and_no_report(applied: Cloud, run: Run) -> None:
    changed = Path("mine.yaml")
    changed.write_text(LOOP.read_text(encoding="utf-8").replace("at_least: 8,", "at_least: 6,"), encoding="utf-8")
    run("loop", "apply", changed, "--by", "Ken")
    first, second = run("loop", "history", "autumn-pumps", "--json").json["versions"]
    assert "by" not in first and second["by"] == "Ken" and "from_report" not in second


def test_without_a_report_there_is_no_draft(applied: Cloud, run: Run) -> None:
    said = run("loop", "propose", "autumn-pumps")
    assert (said.status, said.out) == (2, "")
    assert said.err == (
        "no report of 'autumn-pumps' has made a draft yet; build one first: closedloop report build autumn-pumps\n"
    )
    assert run("loop", "propose", "nosuch").status == 2


def test_a_draft_of_a_report_that_is_gone_is_still_a_plan(applied: Cloud, run: Run) -> None:
    text = LOOP.read_text(encoding="utf-8").replace("at_least: 8,", "at_least: 6,")
    Path("old.yaml").write_text(f"# From the report of autumn-pumps, version lost.\n{text}", encoding="utf-8")
    assert Document(Path("old.yaml").read_bytes(), "old.yaml").read_as(Loop).loop == "autumn-pumps"
    run("loop", "apply", "old.yaml")
    *_, version = run("loop", "history", "autumn-pumps", "--json").json["versions"]
    assert version["from_report"] == "lost" and "proposed" not in version
