"""closedloop failed: what was accepted and proved unusable; look at it, mend the cause, tell it again."""

from __future__ import annotations

import base64
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from datetime import timedelta
from typing import Annotated, Any

import typer

from closedloop.capture.wire import ADDRESS_LIKE
from closedloop.cli import console
from closedloop.cli.deployed import AsJson, DryRun, Outputs, Stage, named
from closedloop.errors import BadShape, NotFound
from closedloop.events.failed import FailedEvent, FailedKind
from closedloop.events.times import iso
from closedloop.runtime import clock, doors
from closedloop.store import schema

app = typer.Typer(
    no_args_is_help=True, help="Failed events: what was accepted and proved unusable; kept whole for 30 days.",
)
ID = re.compile(r"(?P<day>\d{4}-\d\d-\d\d)\.(?P<name>[0-9a-f]{4,32})\Z")
DAY = re.compile(r"\d{4}-\d\d-\d\d\Z")
# Anything long enough to be somebody's number.
NUMBER_LIKE = re.compile(r"\+?\d[\d ()-]{7,}\d")
RECOVERED, STILL, QUARANTINED = "recovered", "fails still", "quarantined"

Day = Annotated[str | None, typer.Option(help="The day of receipt in UTC, such as 2026-11-24; else the last --days.")]
Days = Annotated[int, typer.Option(help="How many days back, today included.", min=1, max=schema.FAILED_TTL.days + 1)]
Site = Annotated[str | None, typer.Option(help="Only this site's.")]
Door = Annotated[str | None, typer.Option(help="Only of this door: beacon, form, email or deal.")]
Kind = Annotated[FailedKind | None, typer.Option(help="Only of this kind.")]


@app.command("list", epilog="Example: closedloop failed list --days 7 --site demo --door beacon")
def list_(
    day: Day = None, days: Days = 7, site: Site = None, door: Door = None, kind: Kind = None,
    everything: Annotated[bool, typer.Option("--all", help="Also those told again with success.")] = False,
    as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """List what failed, with its reason; nothing of what was sent is shown."""
    named(stage, outputs)
    found = [
        one for one in of_days(day, days, site, door, kind) if everything or one.replayed_at is None
    ]
    if as_json:
        console.as_json([_facts(one) for one in found])
        return
    console.table(
        f"{len(found)} failed events", ("id", "received (UTC)", "kind", "site", "door", "said by", "reason"),
        [
            (
                one.id, f"{one.received_at:%Y-%m-%d %H:%M:%S}", _kind(one), one.site, one.door,
                f"{one.handler} {one.code_version}", masked(one.reason),
            )
            for one in found
        ],
    )
    if found:
        console.out().print("closedloop failed show ID shows one whole; closedloop failed replay tells them again.")


@app.command(epilog="Example: closedloop failed show 2026-11-24.1f0c8a2b9d3e")
def show(
    id_: Annotated[str, typer.Argument(metavar="ID", help="As `closedloop failed list` writes it.")],
    as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Show one whole, with the bytes as they came: they may hold personal data."""
    named(stage, outputs)
    failed = _one(id_)
    content = {**_facts(failed), "reason": failed.reason, "sent": dict(failed.sent)}
    if as_json:
        console.as_json({**content, "payload": base64.b64encode(failed.payload).decode()})
        return
    console.facts(f"failed event {failed.id}", content)
    console.out().print(failed.payload.decode("utf-8", "backslashreplace"), markup=False, highlight=False)


@app.command(epilog="Example: closedloop failed replay --site demo --door beacon")
def replay(
    ids: Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="Those; else all that are open.")] = None,
    day: Day = None, days: Days = schema.FAILED_TTL.days + 1, site: Site = None, door: Door = None,
    kind: Kind = None, dry_run: DryRun = False, as_json: AsJson = False, stage: Stage = None,
    outputs: Outputs = None,
) -> None:
    """Tell failed events again, as of when they came; those that are well now are marked, and nothing counts twice.

    What a robot seems to have sent is let in only when it is named by its id, or by --kind quarantined.
    """
    named(stage, outputs)
    chosen = [_one(one) for one in ids] if ids else of_days(day, days, site, door, kind)
    tell_all(chosen, let_in=bool(ids) or kind is FailedKind.QUARANTINED, dry_run=dry_run, as_json=as_json)


def tell_all(chosen: Iterable[FailedEvent], *, let_in: bool, dry_run: bool, as_json: bool) -> None:
    """Tell again what is open, mark what is well, and say what became of each."""
    from closedloop.runtime.failed import tell_again

    waiting = [one for one in chosen if one.replayed_at is None]
    told: list[tuple[FailedEvent, str, str]] = []
    with console.progress("telling again", len(waiting)) as bar:
        for one in waiting:
            if one.kind is FailedKind.QUARANTINED and not let_in:
                told.append((one, QUARANTINED, "only a person lets it in: name its id, or --kind quarantined"))
            elif dry_run:
                told.append((one, "would be told again", ""))
            else:
                reason = tell_again(one)
                if not reason:
                    doors.ledger().mark_replayed(one, clock.now())
                told.append((one, STILL if reason else RECOVERED, reason))
            bar.advance(bar.task_ids[0])
    _say(told, as_json=as_json)


def _say(told: Sequence[tuple[FailedEvent, str, str]], *, as_json: bool) -> None:
    counts = Counter(outcome for _, outcome, _ in told)
    if as_json:
        events = [{"id": one.id, "outcome": outcome, "reason": masked(reason)} for one, outcome, reason in told]
        console.as_json({
            "recovered": counts[RECOVERED], "still": counts[STILL], "quarantined": counts[QUARANTINED],
            "events": events,
        })
        return
    summary = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items())) or "nothing is open"
    console.table(summary, ("id", "site", "door", "outcome", "why"), [
        (one.id, one.site, one.door, outcome, masked(reason)) for one, outcome, reason in told
    ])


def of_days(
    day: str | None, days: int, site: str | None = None, door: str | None = None, kind: FailedKind | None = None
) -> list[FailedEvent]:
    """What failed on a day or on the last days, of a site, a door and a kind when they are named.

    Errors: BadShape when the day is none.
    """
    if day is not None and not DAY.match(day):
        raise BadShape(f"--day {day}: expected a day such as 2026-11-24")
    today = clock.now().date()
    asked = [day] if day else [f"{today - timedelta(days=back):%Y-%m-%d}" for back in reversed(range(days))]
    found = []
    with console.progress("looking through days", len(asked)) as bar:
        for one in asked:
            found += doors.ledger().failed(one)
            bar.advance(bar.task_ids[0])
    return [
        one for one in found
        if site in (None, one.site) and door in (None, one.door) and kind in (None, one.kind)
    ]


def masked(reason: str) -> str:
    """A reason without what may be somebody's address or number: names of fields are the sender's own words."""
    return NUMBER_LIKE.sub("…", ADDRESS_LIKE.sub("…", reason))


def _one(id_: str) -> FailedEvent:
    parts = ID.match(id_)
    found = doors.ledger().failed(parts["day"], parts["name"]) if parts else []
    if len(found) != 1:
        why = "is the beginning of several" if found else "is no failed event of the last 30 days"
        raise NotFound(f"{id_} {why}; `closedloop failed list` names them")
    return found[0]


def _kind(failed: FailedEvent) -> str:
    return failed.kind.value + (" (told again)" if failed.replayed_at else "")


def _facts(failed: FailedEvent) -> dict[str, Any]:
    return {
        "id": failed.id, "received_at": iso(failed.received_at), "kind": failed.kind.value, "site": failed.site,
        "door": failed.door, "handler": failed.handler, "code_version": failed.code_version,
        "reason": masked(failed.reason), "bytes": len(failed.payload),
        "replayed_at": iso(failed.replayed_at) if failed.replayed_at else None,
    }
