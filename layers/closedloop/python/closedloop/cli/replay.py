"""closedloop replay: hold what is derived against the ledger, and fold it anew."""

from __future__ import annotations

from typing import Annotated

import typer

from closedloop.cli import console
from closedloop.cli.deployed import AsJson, Outputs, Stage, named
from closedloop.errors import ClosedLoopError
from closedloop.profiles.check import Checked, check
from closedloop.runtime import clock, doors


class NotCaughtUp(ClosedLoopError):
    """The live profiles or the lake are behind the ledger for longer than was waited."""


def replay(
    dry_run: Annotated[bool, typer.Option(help="Only compare. (Folding anew writes only what differs.)")] = True,
    wait_s: Annotated[float, typer.Option(help="Seconds to wait until live and ledger agree.")] = 0.0,
    as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Fold everybody anew from the ledger and hold it against the live profiles and the lake."""
    named(stage, outputs)
    found, archived = caught_up(wait_s)
    content = {
        "packets": found.packets, "events": found.events, "persons": found.persons, "stale": len(found.stale), "archived": archived,
    }
    console.as_json(content) if as_json else console.facts("ledger against live", content)
    if found.stale or archived < found.events:
        raise NotCaughtUp(f"{len(found.stale)} profiles are stale, {found.events - archived} events are not yet in the lake")


def caught_up(wait_s: float) -> tuple[Checked, int]:
    """Compare, again and again while there is time, until nothing is behind: profiles, and events in the lake."""
    state, ledger, sites = doors.state(), doors.ledger(), doors.sites()
    deadline = clock.past(wait_s)
    with console.ERR.status("holding the live profiles and the lake against the ledger") as status:
        while True:
            found = check(ledger.every_packet(), lambda person: state.profile(person).profile, sites)
            archived = doors.archived_events()
            if (not found.stale and archived >= found.events) or clock.is_past(deadline):
                return found, archived
            status.update(f"{len(found.stale)} of {found.persons} profiles behind, {archived} of {found.events} events archived")
            clock.sleep(0.5)
