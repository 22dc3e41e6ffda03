"""closedloop lake: hold what was archived against the ledger, and make days that are over into single files."""

from __future__ import annotations

from datetime import date, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from closedloop.cli import console
from closedloop.cli.deployed import AsJson, Outputs, Stage, named
from closedloop.errors import BadShape, ClosedLoopError
from closedloop.lake import layout
from closedloop.runtime import clock, doors
from closedloop.store import schema

if TYPE_CHECKING:
    from closedloop.lake.check import Checked

app = typer.Typer(no_args_is_help=True, help="The lake: all facts as delivered, and each day as one Parquet file.")

# Who must act, and how.
_ACTS = {
    "file differs": "the compacted file says other than what was delivered; remove {one.day.file} from the lake's "
                    "bucket, then run `closedloop lake compact`",
    "missing": "{one.missing} are in the ledger and not in the lake; look at the dead letters of archive_events and at "
               "`closedloop failed list`, and have them delivered again",
    "more than the ledger": "{one.more} are in the lake and no more in the ledger, and nobody was erased; ask who may "
                            "write to the Events table, and restore it",
}


@app.callback()
def lake() -> None:
    """The lake: all facts as delivered, and each day as one Parquet file."""


class LakeDiffers(ClosedLoopError):
    """The lake does not hold what the ledger holds; the operator must act, as the message says."""


@app.command(epilog="Example: closedloop lake check --since 2026-11-01")
def check(
    since: Annotated[str | None, typer.Option(help="The first day, such as 2026-11-01; all when left out.")] = None,
    as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Hold every day of the lake against the ledger: each event in both, each compacted file as delivered."""
    from closedloop.lake.check import NONE, check_day
    from closedloop.lake.compact import FOLDERS, day_of, days_of

    named(stage, outputs)
    today, files, first = clock.now().date(), doors.lake(), _day(since) or date.min
    with console.bars() as progress:
        ledger: dict[date, set[str]] = {}
        for number, packet in enumerate(doors.ledger().every_packet(), 1):
            day = packet.received_at.date()
            if day >= first and packet.site in doors.sites():
                ledger.setdefault(day, set()).update(str(record["id"]) for record in packet.records)
            progress("ledger", number, None)
        there = {(folder, day) for folder in FOLDERS for day in days_of(files, folder) if day >= first}
        listed = sorted(there | {(layout.EVENTS, day) for day in ledger}, reverse=True)
        found = []
        for number, (folder, day) in enumerate(listed, 1):
            found.append(check_day(files, day_of(files, folder, day), ledger.get(day, NONE)))
            progress("days", number, len(listed))
    erased = bool(doors.state().erasures())
    states = [_state(one, today, erased=erased) for one in found]
    rows: list[dict[str, Any]] = [{
        "folder": one.day.folder.rstrip("/"), "day": f"{one.day.day}", "ledger": one.ids - one.more + one.missing,
        "lake": one.ids, "lines": one.lines, "missing": one.missing, "more": one.more, "compacted": one.compacted,
        "state": state,
    } for one, state in zip(found, states, strict=True)]
    wrong = [
        f"{one.day.folder.rstrip('/')} of {one.day.day}: {_ACTS[state].format(one=one)}"
        for one, state in zip(found, states, strict=True) if state in _ACTS
    ]
    if as_json:
        console.as_json(rows)
    else:
        console.table(f"{len(rows)} days", ("day", "ledger", "lake", "one file", "state"), [
            (f"{row['folder']} {row['day']}", row["ledger"] if row["folder"] == "events" else "", row["lake"],
             row["compacted"], row["state"]) for row in rows
        ])
    if wrong:
        raise LakeDiffers("\n".join(wrong))


def _state(one: Checked, today: date, *, erased: bool) -> str:
    """How a day stands, in words; those of _ACTS are wrong."""
    if one.compacted == "differs":
        return "file differs"
    if one.missing:
        return "on its way" if one.day.day >= today else "missing"
    if one.more and one.day.folder == layout.EVENTS:
        # The ledger forgets by age, and whom it forgot on demand the lake counts as nobody.
        if one.day.day <= today - schema.EVENTS_TTL + timedelta(days=1):
            return "older than the ledger"
        return "erased from the ledger" if erased else "more than the ledger"
    return "complete"


@app.command(epilog="Example: closedloop lake compact")
def compact(
    today: Annotated[bool, typer.Option("--today", help="Today too, as far as it has come.")] = False,
    as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Make every day that is over and has changed into one Parquet file now, as compact_lake does every night."""
    from closedloop.lake.compact import closed, stale
    from closedloop.lake.compact import compact as compacted

    named(stage, outputs)
    files, before = doors.lake(), clock.now().date() + timedelta(days=int(today))
    days = closed(files, before)
    with console.bars() as progress:
        made = []
        for number, day in enumerate(days, 1):
            made += [compacted(files, found).file for found in stale(files, [day])]
            progress("days", number, len(days))
    content = {"days": len(days), "made": len(made)}
    console.as_json(content) if as_json else console.facts("compaction", content)


def _day(stated: str | None) -> date | None:
    try:
        return date.fromisoformat(stated) if stated else None
    except ValueError as error:
        raise BadShape(f"--since {stated}: expected a day such as 2026-11-01") from error
