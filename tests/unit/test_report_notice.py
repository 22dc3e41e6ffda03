"""What is told of a report: three numbers in two languages, and nobody's data."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from closedloop.lake.layout import NOTICE_FILE
from closedloop.reports.advice import ADVICE
from closedloop.reports.bottleneck import Leak
from closedloop.reports.notice import NOTICE, notice
from tests.unit.test_report import small  # noqa: F401  the fixture

PAGE = "https://s3.console.aws.amazon.com/s3/object/reports?prefix=index.html"


@pytest.fixture
def told(small: Any) -> tuple[Any, Any]:  # noqa: F811
    report, files, _ = small
    (advice,) = {body for key, body in files.items() if key.endswith("latest/proposal.json")}
    return report, ADVICE.validate_json(advice)


def test_it_says_how_far_how_sure_and_where_it_leaks_in_the_language_of_the_place_first(told: Any) -> None:
    report, advice = told
    leak = Leak("interested", 0.05, 0.12, False, 8.0, 5.0, 11.0, 0.61)
    sure = replace(advice.forecasts[1], missing="", middle=80.0, low=60.0, high=101.0, probability=0.31)
    surer = [replace(one, probability=0.9) for one in advice.forecasts]
    advice = replace(advice, leaks=(leak,), forecasts=(surer[0], sure, surer[2]))
    japanese, english, where = notice(report, advice, PAGE).text.split("\n\n")
    assert english.splitlines() == [
        "Loop report: autumn-pumps, 24 Nov 2026 (running)",
        "1. Opportunities: 1 of 60 (2%), due 31 Mar 2027",
        "2. Likely met: 31%; 80 by then, 60 to 101 in 90 of 100 cases",
        "3. Largest leak: gate interested lets 5.0% through, 12.0% should pass (largest in 61% of cases)",
    ]
    assert "ゲート interested の通過率 5.0%" in japanese and len(japanese.splitlines()) == 4
    assert where.startswith(PAGE + "\nclosedloop report open autumn-pumps --version 2026")
    assert notice(replace(report, time_zone="Europe/Paris"), advice, PAGE).text.startswith("Loop report")


def test_what_is_not_known_is_said_in_words(told: Any) -> None:
    report, advice = told
    nothing = replace(advice, leaks=(), forecasts=tuple(
        replace(one, missing="nobody came", middle=None, low=None, high=None, probability=None)
        for one in advice.forecasts))
    text = notice(report, nothing, PAGE).text
    assert "2. Likely met: not known (nobody came)" in text and "3. Largest leak: not enough evidence" in text


def test_a_subject_is_plain_ascii_of_at_most_a_hundred_signs(told: Any) -> None:
    report, advice = told
    subject = notice(replace(report, loop="ポンプ" * 50), advice, PAGE).subject
    assert len(subject) == 100 and subject.isascii() and "\n" not in subject


def test_the_notice_lies_in_the_version_before_its_summary(small: Any) -> None:  # noqa: F811
    _, files, order = small
    names = [file.key.rpartition("/")[2] for file in order if "/version=" in file.key]
    assert names.index(NOTICE_FILE) < names.index("summary.json") == len(names) - 1
    (body,) = [body for key, body in files.items() if key.endswith(NOTICE_FILE)]
    assert "autumn-pumps" in NOTICE.validate_json(body).subject
