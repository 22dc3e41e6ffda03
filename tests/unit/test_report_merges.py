"""What a report says after a merge: the one before stays to the byte, the next reads persons as they are then."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from closedloop.lake.report_files import prepared
from closedloop.reports.facts import Facts
from tests.unit.test_report_rows import DAY, a_deal, a_form, a_page, an_event, ask, the_loop, the_site, write

FIRST, SECOND, THIRD = (DAY + timedelta(days=days) for days in (40, 41, 42))
TOLD = [
    a_page("e1", "b1", channel="organic search", source="google"),
    a_form("e2", "b1", "ada", at=DAY + timedelta(hours=1)),
    a_page("e3", "b2", channel="display", source="ads", at=DAY + timedelta(days=1)),
    a_form("e4", "b2", "ada.new", at=DAY + timedelta(days=1, hours=1)),
    a_deal("e5", "Deal Opened", "ada.new", 300, at=DAY + timedelta(days=2)),
    a_deal("e6", "Deal Won", "ada.new", 300, at=DAY + timedelta(days=3)),
]


def a_decision(id_: str, name: str, at: datetime, **properties: str) -> dict[str, Any]:
    return an_event(id_, name, at=at, door="operator", ids=["email:ada", "email:ada.new"], properties=properties)


MERGED = a_decision("demo/operator/merge-1", "Persons Merged", FIRST + timedelta(hours=1))
UNDONE = a_decision("demo/operator/undo-1", "Decision Undone", SECOND + timedelta(hours=1), retracts=MERGED["id"])


def published(folder: Path, as_of: datetime) -> Mapping[str, bytes]:
    _, files = prepared(the_loop(), {"demo": the_site()}, folder, as_of, bucket="reports")
    return {file.key: file.body for file in files}


def told_by(facts: Facts) -> dict[str, Any]:
    """What of the facts knows no persons: it is the same whoever is whom."""
    return {
        "views": facts.users.page_views, "costs": facts.costs, "quality": (
            facts.quality.counted, facts.quality.page_views, facts.quality.machine,
        ),
        "deals": [(deal.deal, deal.won_at, deal.revenue_minor, deal.currency) for deal in facts.deals],
    }


def test_a_report_from_before_a_merge_stays_to_the_byte_and_the_next_differs_by_it_alone(tmp_path: Path) -> None:
    before = published(write(tmp_path / "before", TOLD), FIRST)
    lake = write(tmp_path / "lake", [*TOLD, MERGED, UNDONE])
    assert published(lake, FIRST) == before
    # Every moment has its own files; only what is called the latest is replaced.
    after = published(lake, SECOND)
    versions = {key for key in before if "/version=" in key}
    assert versions
    assert versions.isdisjoint(after)
    assert after != published(write(tmp_path / "without", TOLD), SECOND)

    first, second, third = (ask(lake, as_of=moment) for moment in (FIRST, SECOND, THIRD))
    assert told_by(first) == told_by(second) == told_by(third)
    assert [len(facts.new_persons) for facts in (first, second, third)] == [2, 1, 2]
    assert [facts.persons_known for facts in (first, second, third)] == [2, 1, 2]
    # Credit follows: how they first came had its part in the deal only while they were one.
    journeys = [{touch.event for touch in facts.touches[facts.deals[0].person]} for facts in (first, second, third)]
    assert ["e1" in events for events in journeys] == [False, True, False]
    assert (third.touches, third.new_persons, third.deals) == (first.touches, first.new_persons, first.deals)
