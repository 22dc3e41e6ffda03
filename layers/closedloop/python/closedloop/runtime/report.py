"""How report_loop carries one call: the lake to this function's disk, then a report for each loop asked for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

from closedloop.errors import NotFound, NotReconciled
from closedloop.events.times import iso, parse
from closedloop.lake import layout
from closedloop.lake.compact import fetch
from closedloop.lake.report_files import RECOMPUTED, build
from closedloop.loops.definition import LANE, Loop
from closedloop.reports.bottleneck import OWN_LOOPS
from closedloop.reports.improvement import Expected
from closedloop.reports.metrics import Report
from closedloop.reports.notice import NOTICE
from closedloop.runtime import clock, doors, observe
from closedloop.runtime.published import before, published


def build_reports(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Build the reports of the loops named, or of every one that is due, and tell of each once.

    Shapes: a call of the schedule is as of the time it was set for, so that a repeated one makes the same version.
    Errors: NotFound for a loop that nobody declared; NotReconciled after the other loops' reports are written.
    """
    moment = event.get("as_of") or event.get("scheduled_time")
    as_of = parse(moment) if moment else clock.now()
    loops = _asked(event.get("loops") or (), as_of)
    reports, failed = [], []
    erased = [parse(one["began_at"]) for one in doors.state().erasures()]
    with TemporaryDirectory() as folder:
        fetch(doors.lake(), Path(folder))
        for loop in loops:
            try:
                former, newest = _former(loop, as_of)
                followed, expected = _followed(loop)
                report = build(
                    loop, doors.sites(), Path(folder), as_of, doors.reports().put, bucket=doors.reports().bucket,
                    former=former, erased=erased, newest=newest, before=followed, expected=expected,
                )
            except NotReconciled as error:
                # One loop whose numbers contradict each other keeps no other loop from its report.
                observe.alarming(context, "not reconciled", loop=loop.loop, failed="; ".join(error.failed))
                failed.append(error)
                continue
            version = layout.report_version(loop.sites[0], loop.loop, report.version)
            reports.append({
                "told": newest and _tell(version),
                "loop": loop.loop, "latest": layout.latest_report(loop.sites[0], loop.loop),
                "version": version,
                "restated": len(report.changes.restated) if report.changes else 0,
            })
            observe.note(context, "reported", loop=loop.loop)
            observe.count("ReportPublished", 1)
    if failed:
        raise failed[0]
    return {"as_of": iso(as_of), "bucket": doors.reports().bucket, "reports": reports}


def _asked(names: Any, as_of: datetime) -> list[Loop]:
    known = {loop.loop: loop for loop in doors.state().lanes()}
    if names:
        missing = [name for name in names if name not in known]
        if missing:
            raise NotFound(f"no loop {missing[0]!r} is known")
        # Whoever asks for a loop has the reports of its tracks too.
        return [loop for loop in known.values() if loop.loop in names or loop.loop.partition(LANE)[0] in names]
    return [loop for loop in known.values() if _is_due(loop, as_of.astimezone(ZoneInfo(loop.time_zone)).date())]


def _is_due(loop: Loop, today: date) -> bool:
    """Whether a loop runs, ended so lately that facts still come in, or has no report of its end yet."""
    if loop.period.start > today:
        return False
    if today <= loop.period.end + RECOMPUTED:
        return True
    last = published(layout.latest_report(loop.sites[0], loop.loop))
    return last is None or not last.ended


def _tell(version: str) -> bool:
    """Tell of a published version, unless it was told of; whoever dies in between tells again."""
    files, mark = doors.reports(), version + layout.NOTICED_FILE
    if mark in files.keys(mark):
        return False
    told = NOTICE.validate_json(files.get(version + layout.NOTICE_FILE))
    doors.tell_of_report(told.subject, told.text)
    files.put_json(mark, {"subject": told.subject})
    return True


def _former(loop: Loop, as_of: datetime) -> tuple[Report | None, bool]:
    """The report before this one, and whether none of a later moment is published.

    Each report names the one before it, so an earlier moment is found from the newest backwards.
    """
    found = published(layout.latest_report(loop.sites[0], loop.loop))
    newest = found is None or found.as_of <= iso(as_of)
    while found is not None and found.as_of >= iso(as_of):
        found = before(loop, found)
    return found, newest


def _followed(loop: Loop) -> tuple[list[Report], Expected]:
    """The last reports of the loops that this one follows, oldest first, and what was forecast of each and of it."""
    known = {one.loop: one for one in doors.state().lanes()}
    expected, follows = {loop.loop: _expected(loop)}, loop.follows
    reports: list[Report] = []
    while follows in known and follows not in expected and len(expected) <= OWN_LOOPS:
        earlier = known[follows]
        expected[earlier.loop], follows = _expected(earlier), earlier.follows
        report = published(layout.latest_report(earlier.sites[0], earlier.loop))
        reports += [report] if report is not None else []
    return reports[::-1], expected


def _expected(loop: Loop) -> dict[str, tuple[int, float, float, float]]:
    """What was forecast of a loop when it was last approved before it began, else first."""
    taken = doors.state().loop_approvals(loop.loop)
    ahead = [one for one in taken if one["at"][:10] <= f"{loop.period.start}"]
    spans = (ahead[-1] if ahead else taken[0])["expected"] if taken else {}
    return {metric: (target, low, middle, high) for metric, (target, low, middle, high) in spans.items()}
