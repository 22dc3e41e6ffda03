"""What a report cannot tell since nobody told it: said on its first screen, so that a dash is not read as nothing."""

from __future__ import annotations

from collections.abc import Iterator

from closedloop.events.money import digits
from closedloop.reports.metrics import Report
from closedloop.reports.words import Words


def missing(report: Report, words: Words) -> Iterator[str]:
    """What is missing in the facts, and what to do about it, in words."""
    if not report.quality.counted:
        yield words.get("missing:events", sites=", ".join(report.sites))
    elif not report.money.deals_opened:
        yield words.get("missing:deals")
    without = [one.campaign for one in report.campaigns if one.of_loop and one.cost_minor is None]
    if without:
        yield words.get("missing:costs", campaigns=", ".join(without))
    for currency in (one.currency for one in report.foreign):
        if digits(currency) is None:
            yield words.get("missing:currency", currency=currency)
