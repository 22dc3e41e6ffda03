"""What those who answer for a loop are told when a report of it is published: where it is, and three numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from pydantic import TypeAdapter

from closedloop.reports.advice import Advice, Forecast
from closedloop.reports.metrics import Attainment, Report
from closedloop.reports.words import Language, Words

LONGEST_SUBJECT = 100


@dataclass(frozen=True, slots=True)
class Notice:
    """A message without personal data: names of loop, objective and gate, and figures.

    Units: the subject has at most 100 signs of ASCII, as Amazon SNS asks.
    """

    subject: str
    text: str


NOTICE = TypeAdapter(Notice)


def notice(report: Report, advice: Advice, page: str) -> Notice:
    """The news of one report in both languages, first that of where the loop is run.

    Shapes: `page` is where its page is opened.
    """
    first = language_of(report)
    said = (list(_lines(report, advice, Words(language))) for language in (first, Words(first).other))
    open_it = f"closedloop report open {report.loop} --version {report.version}"
    text = "\n\n".join("\n".join(lines) for lines in said)
    subject = f"Closed Loop: {report.loop}, report of {report.day:%Y-%m-%d}"
    return Notice(
        subject.encode("ascii", "replace").decode()[:LONGEST_SUBJECT], f"{text}\n\n{page}\n{open_it}\n",
    )


def language_of(report: Report) -> Language:
    """The language of where a loop is run."""
    return Language.JA if report.time_zone == "Asia/Tokyo" else Language.EN


def _lines(report: Report, advice: Advice, words: Words) -> Iterator[str]:
    state = words.get("ended" if report.ended else "running" if report.day >= report.starts else "not_begun_yet")
    yield f"{words.get('report')}: {report.loop}, {words.day(report.day)} ({state})"
    goal, expected = _least_sure(report, advice)
    currency = report.money.currency
    yield words.get(
        "notice:attained", metric=words.get(f"metric:{goal.metric}"),
        attained=words.amount(goal, goal.attained, currency), target=words.amount(goal, goal.target, currency),
        share=words.percent(goal.share, 0), day=words.day(goal.by),
    )
    if expected.middle is None:
        yield words.get("notice:no_forecast", missing=expected.missing)
    else:
        low, middle, high = (
            words.amount(goal, value, currency) for value in (expected.low, expected.middle, expected.high)
        )
        yield words.get("notice:forecast", p=words.percent(expected.probability, 0), middle=middle, low=low, high=high)
    leak = next((one for one in advice.leaks if one.largest), None)
    yield words.get("notice:no_leak") if leak is None else words.get(
        "notice:leak", gate=leak.gate, rate=words.percent(leak.rate), target=words.percent(leak.target),
        p=words.percent(leak.largest, 0),
    )


def _least_sure(report: Report, advice: Advice) -> tuple[Attainment, Forecast]:
    """The objective that is least likely met, of several the first in the plan; one without a forecast comes last."""
    pairs = zip(report.objectives, advice.forecasts, strict=True)
    return min(pairs, key=lambda pair: 2.0 if pair[1].probability is None else pair[1].probability)
