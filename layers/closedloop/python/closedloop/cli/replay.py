"""closedloop replay: hold what is derived against the ledger."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from itertools import dropwhile
from typing import Annotated

import typer

from closedloop.cli import console
from closedloop.cli import failed as failures
from closedloop.cli.deployed import AsJson, Outputs, Stage, named
from closedloop.errors import ClosedLoopError
from closedloop.lake import layout
from closedloop.profiles.check import Checked, check, is_stale
from closedloop.profiles.profile import Profile
from closedloop.runtime import clock, doors
from closedloop.store import schema

POLL_S = 1.0


class NotCaughtUp(ClosedLoopError):
    """The live profiles or the lake are behind the ledger for longer than was waited."""


@dataclass(frozen=True, slots=True)
class Standing:
    """How live state and lake stand against the ledger and the decisions written."""

    found: Checked
    decisions: Counter[str]
    archived_events: int
    archived_decisions: int

    @property
    def behind(self) -> str:
        """What is behind, in words; empty when nothing is."""
        events = self.found.events - self.archived_events
        decisions = self.decisions.total() - self.archived_decisions
        parts = (
            (len(self.found.stale), "profiles are stale"), (events, "events are not yet in the lake"),
            (decisions, "decisions are not yet in the lake"),
        )
        return ", ".join(f"{count} {what}" for count, what in parts if count > 0)


def replay(
    wait_s: Annotated[float, typer.Option(help="Seconds to wait until live and ledger agree.")] = 0.0,
    failed: Annotated[bool, typer.Option("--failed", help="Tell all open failed events again instead.")] = False,
    as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Fold everybody anew from the ledger and hold it against the live profiles and the lake; nothing is written.

    With --failed: tell again what was accepted and proved unusable; `closedloop failed replay` does so for some of it.
    """
    named(stage, outputs)
    if failed:
        failures.tell_all(
            failures.of_days(None, schema.FAILED_TTL.days + 1), let_in=False, dry_run=False, as_json=as_json
        )
        return
    standing = caught_up(wait_s)
    content = {
        "packets": standing.found.packets, "events": standing.found.events, "persons": standing.found.persons,
        "stale": len(standing.found.stale), "archived_events": standing.archived_events,
        "archived_decisions": standing.archived_decisions, "transitions": standing.decisions["transition"],
        "verdicts": standing.decisions["verdict"], "mails": standing.decisions["sent"],
    }
    console.as_json(content) if as_json else console.facts("ledger against live", content)
    if standing.behind:
        raise NotCaughtUp(standing.behind)


def caught_up(wait_s: float) -> Standing:
    """Compare until nothing is behind or the time is over; while waiting, only what is behind is asked again."""
    deadline = clock.past(wait_s)
    with console.err().status("holding the live profiles and the lake against the ledger") as status:
        while True:
            standing = _standing()
            if not standing.behind or clock.is_past(deadline):
                return standing
            while standing.behind and not clock.is_past(deadline):
                status.update(standing.behind)
                clock.sleep(POLL_S)
                standing = _again(standing)


def _live(person: str) -> Profile | None:
    return doors.state().profile(person).profile


def _standing() -> Standing:
    found = check(doors.ledger().every_packet(), _live, doors.sites())
    decisions = Counter(
        row["outcome"] if "|M#" in row["id"] else row["kind"] for row in doors.state().every_decision()
    )
    archived = doors.archived()
    return Standing(found, decisions, archived.count(layout.EVENTS), archived.count(layout.DECISIONS))


def _again(standing: Standing) -> Standing:
    # Until the first of them is well, none of the others has to be asked.
    stale = tuple(dropwhile(lambda profile: not is_stale(profile, _live), standing.found.stale))
    archived = doors.archived()
    return replace(
        standing, found=replace(standing.found, stale=stale), archived_events=archived.count(layout.EVENTS),
        archived_decisions=archived.count(layout.DECISIONS),
    )
