"""closedloop site tail: what comes in, as it comes in, and what the checks made of it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from datetime import date, datetime, timedelta
from typing import Annotated, Any
from zoneinfo import ZoneInfo

import typer
from rich.text import Text

from closedloop.cli import console
from closedloop.cli.deployed import Outputs, Stage, known_site, named
from closedloop.cli.failed import masked
from closedloop.errors import BadShape
from closedloop.events.times import iso, parse
from closedloop.lake import layout
from closedloop.runtime import clock, doors

POLL_S = 2.0
SPAN = re.compile(r"(\d{1,4})([smhd])\Z")
UNITS_S = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
COLOURS = {"accepted": "green", "failed": "red"}


@dataclass(frozen=True, slots=True)
class Line:
    """One event and what the checks made of it.

    Shapes: `verdict` is accepted or failed; `who` is the beginning of an id or of a keyed hash; `grade` is human,
    likely or machine with its reason; `notes` say what a web developer may want to mend. Texts are empty where nothing
    is told.
    """

    at: str
    verdict: str
    door: str
    what: str
    who: str
    source: str
    grade: str
    notes: tuple[str, ...]
    id: str


def tail(
    site: Annotated[str, typer.Argument(help="The site's name.")],
    since: Annotated[str, typer.Option(help="How far back to begin: 30s, 15m, 2h, 1d.")] = "15m",
    follow: Annotated[bool, typer.Option(help="Go on until Ctrl-C, or end with what there is.")] = True,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON document a line (NDJSON).")] = False,
    stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Show what comes in and what the checks made of it: accepted or failed, how human, from where, and what to mend.

    An event shows once it is in the lake, which is about half a minute after it came in: so watching costs the others
    who read the stream nothing. What a door refuses outright is told to its sender alone.
    """
    named(stage, outputs)
    zone = ZoneInfo(known_site(site).time_zone)
    begin = clock.now() - _span(since)
    seen: set[str] = set()
    shown: set[str] = set()
    if not as_json:
        told = f"{site} since {begin.astimezone(zone):%H:%M}; new events show half a minute after they came in"
        console.err().print(told + ("; Ctrl-C ends" if follow else ""), style="dim", highlight=False)
    try:
        while True:
            for line in sorted(_new(site, begin, seen), key=lambda line: line.at):
                # A batch that the stream delivered again lies in the lake again.
                if line.id not in shown:
                    shown.add(line.id)
                    print(json.dumps(asdict(line), ensure_ascii=False)) if as_json else _show(line, zone)
            if not follow:
                return
            clock.sleep(POLL_S)
    except KeyboardInterrupt:
        return


def _span(text: str) -> timedelta:
    found = SPAN.match(text)
    if not found:
        raise BadShape(f"--since {text}: expected a number and s, m, h or d, such as 15m")
    return timedelta(seconds=int(found[1]) * UNITS_S[found[2]])


def _new(site: str, begin: datetime, seen: set[str]) -> Iterator[Line]:
    """The lines of objects that were not read before."""
    files, today = doors.lake(), clock.now().date()
    for day in _days(begin.date(), today):
        for prefix, line_of in ((layout.EVENTS, accepted), (layout.FAILED, refused)):
            for key in files.keys_since(f"{prefix}dt={day:%Y-%m-%d}/", begin):
                if key not in seen:
                    seen.add(key)
                    rows = (row for row in files.get_rows(key) if row.get("site") == site)
                    yield from (line for line in map(line_of, rows) if parse(line.at) >= begin)


def _days(first: date, last: date) -> list[date]:
    return [first + timedelta(days=number) for number in range((last - first).days + 1)]


def accepted(row: Mapping[str, Any]) -> Line:
    """A row of the lake's events in the words of the checks."""
    named_by = [*row["ids"], row["visitor"].rpartition(":")[2]]
    who = next((one for one in named_by if one), "")
    where = masked(row["path"]) if row["type"] in ("page", "screen") else masked(row["name"])
    source = "/".join(part for part in (row["channel"], masked(row["source"]), masked(row["term"])) if part)
    return Line(
        at=row["received_at"], verdict="accepted", door=row["door"], what=f"{row['type']} {where}".strip(),
        who=who[:14], source=source, grade=f"{row['grade']} ({row['grade_reason']})", notes=tuple(_notes(row)),
        id=row["id"],
    )


def _notes(row: Mapping[str, Any]) -> Iterator[str]:
    if row["late"]:
        yield f"late: says it happened at {row['occurred_at'][:16]}Z, too long before it came"
    if row["type"] == "identify" and not row["ids"]:
        yield "id refused: names nobody by a userId or an e-mail address that can be one"
    elif not (row["visitor"] or row["ids"] or row["deal"]):
        yield "nobody: without consent only counted"
    if row["type"] == "page" and not row["topic"]:
        yield "no topic: add data-topic to the page, or a rule for its path to the site's file"
    if row["type"] == "page" and not row["path"]:
        yield "no path: the page did not say where it is"


def refused(row: Mapping[str, Any]) -> Line:
    """A row of the lake's failed events."""
    name = f"{row['at'][:10]}.{row['id'].partition('#')[2][:12]}"
    return Line(
        at=iso(parse(row["at"])), verdict="failed", door=row.get("door", ""), what=row.get("kind", ""), who="",
        source="", grade="", notes=(masked(row["reason"]), f"closedloop failed show {name}"), id=name,
    )


def _show(line: Line, zone: ZoneInfo) -> None:
    shown = Text(f"{parse(line.at).astimezone(zone):%H:%M:%S} ")
    shown.append(f"{line.verdict:8} ", style=COLOURS[line.verdict])
    shown.append(f"{line.door:6} {line.what}", style="bold")
    for part in (line.who, line.source, line.grade):
        if part:
            shown.append(f"  {part}")
    for note in line.notes:
        shown.append(f"\n         {note}", style="yellow")
    console.out().print(shown)
