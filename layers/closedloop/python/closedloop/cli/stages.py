"""closedloop loop move, closedloop loop balance: who stands where, now by hand and then by history."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta
from typing import Annotated
from zoneinfo import ZoneInfo

import typer

from closedloop.cli import console
from closedloop.cli.deployed import AsJson, DryRun, Outputs, Stage, known_site, named
from closedloop.errors import BadShape, NotFound
from closedloop.events.identifiers import Hasher
from closedloop.identity.persons import ids_of, person_id
from closedloop.loops.definition import BESIDE_THE_PATH, Loop
from closedloop.loops.moves import balance, moved_by_hand
from closedloop.runtime import clock, doors

Name = Annotated[str, typer.Argument(help="The loop.")]


def register(app: typer.Typer) -> None:
    """Add the commands to those of loops."""
    example = "closedloop loop move autumn-pumps --email jane@example.com --to recycled --reason 'buys next year'"
    app.command("move", epilog=f"Example: {example}")(move)
    app.command("balance", epilog="Example: closedloop loop balance autumn-pumps --day 2026-10-01")(balance_of)


def move(
    loop: Name,
    email: Annotated[str, typer.Option(help="The person's e-mail address.")],
    to: Annotated[str, typer.Option(help="The stage; recycled, lost or excluded take them off the path.")],
    reason: Annotated[str, typer.Option(help="Why, in words that stay with the move.")],
    dry_run: DryRun = False, as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Bring somebody to another stage by hand, forward or back; the move and its reason stay in their history."""
    named(stage, outputs)
    plan, state, now = _loop(loop), doors.state(), clock.now()
    identifier = Hasher(doors.pepper(), known_site(plan.sites[0]).list_name).address(email)
    if identifier is None:
        raise BadShape(f"{email!r} is no e-mail address")
    stored = state.living(person_id(identifier))
    if stored.profile is None:
        raise NotFound("nobody is known by this address")
    profile = stored.profile
    positions = [state.position(person, plan.loop) for person in ids_of(profile.nodes)]
    decisions = moved_by_hand(plan, positions, to, reason, now)
    if not dry_run:
        for decision in decisions:
            state.write_decision(decision, plan, profile.anchor, doors.run_name("hand", now), now, stored.version)
        state.mark_due(profile.person, now)
    content = {
        "person": profile.person, "loop": plan.loop, "from": decisions[-1].before.stage, "to": to,
        "reason": decisions[-1].reason, "written": not dry_run,
    }
    console.as_json(content) if as_json else console.facts("move", content)


def balance_of(
    loop: Name,
    day: Annotated[str | None, typer.Option(help="A day such as 2026-10-01, to its end; now when left out.")] = None,
    as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Show how many people stood at each stage at the end of a day; it reads the whole history, for an operator."""
    named(stage, outputs)
    plan, state = _loop(loop), doors.state()
    until = clock.now() if day is None else _end_of(day, plan)
    with console.err().status("reading the history of moves"):
        found = balance(state.every_decision(), plan.loop, until, state.present_id)
    others = sorted(set(found) - {*plan.stages, *BESIDE_THE_PATH})
    counts = {name: found[name] for name in (*plan.stages, *BESIDE_THE_PATH, *others)}
    if as_json:
        console.as_json({"loop": plan.loop, "at": until.isoformat(), "stages": counts, "people": found.total()})
        return
    console.table(f"{plan.loop} at {until:%Y-%m-%d %H:%M %Z}", ("stage", "people"), [*counts.items()])


def _loop(name: str) -> Loop:
    found = doors.state().loop(name)
    if found is None:
        raise NotFound(f"no loop {name!r} is known; apply its file first: closedloop loop apply FILE")
    return found


def _end_of(day: str, plan: Loop) -> datetime:
    try:
        after = date.fromisoformat(day) + timedelta(days=1)
    except (ValueError, OverflowError):
        raise BadShape(f"expected a day, such as 2026-10-01, found {day!r}") from None
    return datetime.combine(after, time(), ZoneInfo(plan.time_zone)) - timedelta(milliseconds=1)
