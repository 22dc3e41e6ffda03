"""closedloop rebuild: fold everybody anew, when the rules or the State table are new."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from typing import Annotated

import typer

from closedloop.cli import console
from closedloop.cli.deployed import AsJson, Outputs, Stage, named
from closedloop.errors import BadShape, TryAgain
from closedloop.events.failed import FailedKind
from closedloop.profiles.rebuild import Rebuild
from closedloop.runtime import clock, doors, stream
from closedloop.sites.definition import version_of
from closedloop.store import schema
from closedloop.store.ledger import Ledger
from closedloop.store.state import State

EXAMPLE = "Example: closedloop rebuild --stage dev"
PART = re.compile(r"([1-9]\d{0,3})/([1-9]\d{0,3})")
# What an outage left undone is tried so often before the command gives up, to go on there another time.
ROUNDS = 4


class _Page(stream.Batch):
    """A page of the ledger; what cannot be used was kept when it arrived, and is left out."""

    def _fail(self, number: str, error: Exception, kind: FailedKind) -> None:
        self.failed += 1


def rebuild(
    part: Annotated[str, typer.Option(help="Which part of the ledger, for several at once: 1/4, 2/4, ...")] = "1/1",
    anew: Annotated[bool, typer.Option("--anew", help="Begin at the start, not where the last one stopped.")] = False,
    as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Fold everybody anew from the ledger, and write what is another than the live profile.

    After a change of the site files' topics, points or kinds, or when the State table was lost. It pages through the
    whole Events table, reads each person as the projector does, and may be stopped and called again at any time.
    """
    named(stage, outputs)
    number, parts = _part(part)
    about = -(-doors.ledger().about() // parts)
    with console.progress("folding everybody anew", about or None) as bar:
        content = rebuilt(
            doors.state(), doors.ledger(), number, parts, anew=anew,
            tell=lambda done: bar.update(bar.task_ids[0], completed=done),
        )
    console.as_json(content) if as_json else console.facts("rebuilt", content)


def _part(text: str) -> tuple[int, int]:
    found = PART.fullmatch(text)
    if found is None or int(found[1]) > int(found[2]):
        raise BadShape(f"--part: expected a part such as 1/4, found {text!r}")
    return int(found[1]), int(found[2])


def rebuilt(
    state: State, ledger: Ledger, part: int, parts: int, *, anew: bool, tell: Callable[[int], None]
) -> dict[str, int]:
    """Rebuild a part of the ledger, page by page; tells how many items were read.

    Errors: TryAgain when an outage does not end; the next call goes on there.
    """
    name = f"{part}/{parts}"
    rules = hashlib.sha256(
        "\n".join([doors.CODE_VERSION, *sorted(map(version_of, doors.sites().values()))]).encode()
    ).hexdigest()[:16]
    place = None if anew else state.rebuilt_to(name, rules)
    work = Rebuild(state, ledger, clock.now)
    items = packets = unusable = 0
    while True:
        page, place = ledger.page(part - 1, parts, place)
        batch = _Page([(f"{item[schema.PK]['S']} {item[schema.SK]['S']}", dict(item)) for item in page], "rebuild")
        _fold(work, batch)
        items, packets, unusable = items + len(page), packets + len(batch.arrived), unusable + batch.failed
        state.put_rebuilt(name, rules, place)
        tell(items)
        if place is None:
            return {"packets": packets, "unusable": unusable, "persons": work.persons, "changed": work.changed}


def _fold(work: Rebuild, batch: _Page) -> None:
    for attempt in range(1, ROUNDS + 1):
        results = batch.carry(lambda arrived: work.fold(arrived, batch.sites))
        again = {number for result in results for number in result.again}
        if not again:
            return
        batch.arrived = [arrival for arrival in batch.arrived if arrival[0] in again]
        clock.wait(attempt)
    raise TryAgain("DynamoDB does not take it now; call rebuild again, and it goes on here")
