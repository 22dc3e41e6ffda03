"""Reports are versioned: a later one says what it tells differently and why, and no reader meets half of one."""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from closedloop.lake.report_files import File, prepared
from closedloop.reports.metrics import Report
from closedloop.reports.summary import read_summary, summary
from tests.unit.test_report import AS_OF, LATEST, a_small_loop
from tests.unit.test_report_rows import DAY, a_deal, a_form, a_page, an_event, the_loop, the_site

WEEK, LATE = timedelta(days=7), "2026-11-27T00:00:00.000Z"
JPY = "JPY"


def made(
    folder: Path, *extra: Mapping[str, Any], as_of: datetime = AS_OF + WEEK, former: Report | None = None,
    **changes: Any,
) -> tuple[Report, list[File]]:
    return prepared(changes.pop("loop", the_loop()), {"demo": the_site()}, a_small_loop(folder, extra=tuple(extra)),
                    as_of, bucket="BUCKET", memory="300MB", former=former, **changes)


@pytest.fixture(scope="module")
def first(tmp_path_factory: pytest.TempPathFactory) -> tuple[Report, list[File]]:
    return made(tmp_path_factory.mktemp("first"), as_of=AS_OF)


def late(*, name: str = "Deal Won", amount: int | None = 70, **changes: Any) -> dict[str, Any]:
    told = {"deal": "d2", "received_at": LATE, **changes}
    return a_deal("late", name, "bob", amount, at=DAY + timedelta(days=9), **told)


CASES = {
    "late revenue": (
        [late()], {"deals_opened": (0, 1), "deals_won": (0, 1), "revenue_minor": (0, 70)}, [("late_deal", 1, 70, JPY)]),
    "a refund": ([late(name="Deal Refunded", deal="d1", amount=100)], {"revenue_minor": (300, 200)},
                 [("refund", 1, 100, JPY)]),
    "a merge": (
        [an_event("late", "Persons Merged", at=AS_OF + timedelta(days=1), door="operator",
                  ids=["email:ada", "email:bob"])],
        {"new_persons": (1, 0), "unique_users": (2, 1), "first_seen": (2, 1)}, [("merge", 1, 0, "")]),
    "a person who is told late": (
        [{**a_form("late", "zoe", "zoe", at=DAY + timedelta(days=2)), "received_at": LATE}],
        {"new_persons": (0, 1), "first_seen": (2, 3)}, [("late_fact", 1, 0, "")]),
    "a row that a list took back": (
        [an_event("late", "List Row Retracted", at=AS_OF + timedelta(days=1), door="list",
                  properties={"retracts": "e10"})],
        {"deals_won": (1, 0), "revenue_minor": (300, 0)}, [("retracted", 1, 0, "")]),
}


@pytest.mark.parametrize("case", CASES, ids=list(CASES))
def test_what_changed_and_why_is_told(first: Any, tmp_path: Path, case: str) -> None:
    extra, restated, reasons = CASES[case]
    report, files = made(tmp_path, *extra, former=first[0])
    assert report.changes is not None and report.changes.former == first[0].version
    assert {one.figure: (one.before, one.now) for one in report.changes.restated} == restated
    assert [(one.why, one.facts, one.amount_minor, one.currency) for one in report.changes.reasons] == reasons
    pages = [file.body.decode() for file in files if file.key.startswith(LATEST) and file.key.endswith(".html")]
    assert all(f"../version={first[0].version}/" in page for page in pages)
    assert "What changed and why" in pages[1] and "訂正内容とその理由" in pages[0]


def test_a_merge_taken_back_gives_the_former_figures_and_says_so(first: Any, tmp_path: Path) -> None:
    day = timedelta(days=1)
    merge, split = (
        an_event(name, name, at=AS_OF + n * day, door="operator", ids=["email:ada", "email:bob"])
        for n, name in ((1, "Persons Merged"), (9, "Persons Split"))
    )
    merged = made(tmp_path / "merged", merge, former=first[0])[0]
    undone = made(tmp_path / "undone", merge, split, as_of=AS_OF + 2 * WEEK, former=merged)[0]
    assert undone.changes is not None
    assert {one.figure: (one.before, one.now) for one in undone.changes.restated}["new_persons"] == (0, 1)
    assert [one.why for one in undone.changes.reasons] == ["split"]


def test_what_goes_on_is_no_restatement(first: Any, tmp_path: Path) -> None:
    new = [a_page("new", "kim", at=AS_OF + timedelta(days=2)),
           a_deal("won", "Deal Won", "bob", 70, at=AS_OF + timedelta(days=2), deal="d2")]
    report, files = made(tmp_path, *new, former=first[0], erased=[AS_OF + timedelta(days=1)])
    assert report.changes is not None and report.changes.restated == report.changes.reasons == ()
    page = next(file.body.decode() for file in files if file.key == LATEST + "index.html")
    assert "Nothing that the report of 2026-11-24 03:00 UTC had shown has changed." in page


def test_erasures_a_changed_loop_and_what_nothing_explains_are_reasons(first: Any, tmp_path: Path) -> None:
    erased, loop = [AS_OF - WEEK, AS_OF + timedelta(days=1)], the_loop(strategy="Another one.")
    report = made(tmp_path, late(), former=first[0], erased=erased, loop=loop)[0]
    assert report.changes is not None
    assert [(one.why, one.facts) for one in report.changes.reasons] == [
        ("definition", 1), ("erasure", 1), ("late_deal", 1)]
    in_time = {**late(), "received_at": "2026-11-01T00:00:00.000Z"}
    silent = made(tmp_path / "silent", in_time, former=first[0])[0]
    assert silent.changes is not None and [one.why for one in silent.changes.reasons] == ["unexplained"]


def test_the_same_moment_after_the_same_former_report_gives_the_same_bytes(first: Any, tmp_path: Path) -> None:
    one, two = (made(tmp_path / name, late(), former=first[0])[1] for name in ("one", "two"))
    assert one == two


def test_a_report_of_an_earlier_moment_is_a_version_and_moves_nothing_else(tmp_path: Path) -> None:
    report, files = made(tmp_path, as_of=AS_OF - WEEK, newest=False)
    assert {file.key.partition("version=")[2].partition("/")[0] for file in files} == {report.version}


def test_a_summary_is_read_again_as_the_report_that_it_was(first: Any) -> None:
    assert read_summary(summary(first[0])) == first[0]
    assert read_summary(summary(first[0]).replace(b'"schema": 1', b'"schema": 99')) is None


def opened(bucket: Mapping[str, bytes], key: str) -> dict[str, bytes]:
    """A page of the bucket and everything that it leads to."""
    page = bucket[key].decode()
    folder = key.rpartition("/")[0].rpartition("/")[0]
    found = {key: bucket[key]}
    for link in re.findall(r'href="\.\./([^"]+)"', page):
        found[f"{folder}/{link}"] = bucket[f"{folder}/{link}"]
    return found


def test_killed_after_any_write_a_reader_meets_the_old_report_or_the_new_one(first: Any, tmp_path: Path) -> None:
    report, files = made(tmp_path, late(), former=first[0])
    bucket = {file.key: file.body for file in first[1]}
    old, new = first[0].version, report.version
    kept = {key: body for key, body in bucket.items() if f"version={old}/" in key}
    for file in files:
        bucket[file.key] = file.body
        assert {key: bucket[key] for key in kept} == kept
        seen = read_summary(bucket[LATEST + "summary.json"])
        assert seen in (first[0], report)
        for name in ("index.html", "index.ja.html"):
            body = bucket[LATEST + name].decode()
            own = new if f"/version={new}/" in body else old
            leads_to = {key for key in opened(bucket, LATEST + name) if "/latest/" not in key}
            former = {f"reports/site=demo/loop=autumn-pumps/version={old}/{name}"} if own == new else set()
            assert all(f"version={own}/" in key for key in leads_to - former)
    assert seen == report and new in bucket[LATEST + "index.html"].decode()
    again = dict(bucket)
    for file in files:
        again[file.key] = file.body
    assert again == bucket
