"""How report_loop carries one call: the lake to this function's disk, then a report for each loop asked for."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from zoneinfo import ZoneInfo

from closedloop.errors import NotFound, NotReconciled
from closedloop.events.times import iso, parse
from closedloop.lake import layout
from closedloop.lake.report_files import build
from closedloop.loops.definition import Loop
from closedloop.runtime import clock, doors, observe


def build_reports(event: Mapping[str, Any], context: Any) -> dict[str, Any]:
    """Build the reports of the loops named, or of every loop in its period.

    Errors: NotFound for a loop that nobody declared; NotReconciled after the other loops' reports are written.
    """
    as_of = parse(event["as_of"]) if event.get("as_of") else clock.now()
    loops = _asked(event.get("loops") or (), as_of)
    reports, failed = [], []
    with TemporaryDirectory() as folder:
        doors.lake().fetch((layout.EVENTS, layout.DECISIONS, layout.FAILED), Path(folder))
        for loop in loops:
            try:
                build(loop, doors.sites(), Path(folder), as_of, doors.reports().put, bucket=doors.reports().bucket)
            except NotReconciled as error:
                # One loop whose numbers contradict each other keeps no other loop from its report.
                observe.alarming(context, "not reconciled", loop=loop.loop, failed="; ".join(error.failed))
                failed.append(error)
                continue
            reports.append({"loop": loop.loop, "latest": layout.latest_report(loop.sites[0], loop.loop)})
            observe.note(context, "reported", loop=loop.loop)
            observe.count("ReportPublished", 1)
    if failed:
        raise failed[0]
    return {"as_of": iso(as_of), "bucket": doors.reports().bucket, "reports": reports}


def _asked(names: Any, as_of: datetime) -> list[Loop]:
    known = {loop.loop: loop for loop in doors.state().loops()}
    if names:
        missing = [name for name in names if name not in known]
        if missing:
            raise NotFound(f"no loop {missing[0]!r} is known")
        return [known[name] for name in names]
    return [
        loop for loop in known.values()
        if loop.period.start <= as_of.astimezone(ZoneInfo(loop.time_zone)).date() <= loop.period.end
    ]
