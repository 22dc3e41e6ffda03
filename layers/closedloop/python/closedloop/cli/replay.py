"""closedloop replay: hold what is derived against the ledger."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Annotated

import typer

from closedloop.cli import console
from closedloop.cli.deployed import AsJson, Outputs, Stage, named
from closedloop.errors import ClosedLoopError
from closedloop.profiles.check import Checked, check
from closedloop.runtime import clock, doors


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
    as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Fold everybody anew from the ledger and hold it against the live profiles and the lake; nothing is written."""
    named(stage, outputs)
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
    """Compare, again and again while there is time, until nothing is behind."""
    deadline = clock.past(wait_s)
    with console.ERR.status("holding the live profiles and the lake against the ledger") as status:
        while True:
            standing = _standing()
            if not standing.behind or clock.is_past(deadline):
                return standing
            status.update(standing.behind)
            clock.sleep(0.5)


def _standing() -> Standing:
    state = doors.state()
    found = check(doors.ledger().every_packet(), lambda person: state.profile(person).profile, doors.sites())
    decisions = Counter(
        row["outcome"] if "|M#" in row["id"] else row["kind"] for row in state.every_decision()
    )
    return Standing(found, decisions, *doors.archived())
