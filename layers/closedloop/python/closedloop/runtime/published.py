"""The reports that were published: the newest, a version, that of a day, and what each said differently."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date

from closedloop.errors import NotFound
from closedloop.lake import layout
from closedloop.loops.definition import Loop
from closedloop.reports.metrics import Report
from closedloop.reports.restatement import Changes
from closedloop.reports.summary import read_summary
from closedloop.runtime import doors


def published(folder: str) -> Report | None:
    """The report in a folder of the reports; nothing where there is none, or none of today's shape."""
    key, files = f"{folder}summary.json", doors.reports()
    return read_summary(files.get(key)) if key in files.keys(key) else None


def before(loop: Loop, report: Report) -> Report | None:
    """The report before one, of which it says what it tells differently."""
    if report.changes is None:
        return None
    return published(layout.report_version(loop.sites[0], loop.loop, report.changes.former))


def versions(loop: Loop) -> list[str]:
    """Every version of a loop's report that was written whole, the oldest first."""
    prefix = layout.report_version(loop.sites[0], loop.loop, "").removesuffix("/")
    return [
        key.removeprefix(prefix).partition("/")[0] for key in doors.reports().keys(prefix)
        if key.endswith("/summary.json")
    ]


def found(loop: Loop, name: str | None) -> Report:
    """A report by its version or the beginning of it, or the newest of a day; the newest of all without a name.

    Errors: NotFound, with the versions that there are.
    """
    site, known = loop.sites[0], list[str]()
    if name is None:
        report = published(layout.latest_report(site, loop.loop))
    elif (day := _day(name)) is not None:
        report = published(layout.report_folder(site, loop.loop, day))
    else:
        known = [version for version in versions(loop) if version.startswith(name)]
        report = published(layout.report_version(site, loop.loop, known[0])) if len(known) == 1 else None
    if report is None:
        which = "" if name is None else f" {name}"
        listed = ", ".join(known or versions(loop)) or "none; build one: closedloop report build"
        raise NotFound(f"no one report{which} of {loop.loop} is there to be read. Versions: {listed}")
    return report


def _day(name: str) -> date | None:
    try:
        return date.fromisoformat(name) if "-" in name[:5] else None
    except ValueError:
        return None


def steps(loop: Loop, since: Report, report: Report) -> Iterator[Changes]:
    """What each report from one to another said differently, the newest first; nothing where they are not in line."""
    passed: list[Changes] = []
    step: Report | None = report
    while step is not None and step.version != since.version:
        if step.changes is None:
            return
        passed.append(step.changes)
        step = before(loop, step)
    if step is not None:
        yield from passed
