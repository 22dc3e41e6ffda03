"""closedloop notice, closedloop task: what sales was told, what needs a look, and the calls to make."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

import typer

from closedloop.cli import console
from closedloop.cli.deployed import AsJson, DryRun, Outputs, Stage, known_loop, named
from closedloop.errors import BadShape, NotFound
from closedloop.events.event import Door
from closedloop.events.packet import Packet
from closedloop.events.times import iso
from closedloop.runtime import clock, doors
from closedloop.sites.words import did_you_mean, listed
from closedloop.store.notices import Task

notices = typer.Typer(no_args_is_help=True, help="Notices to sales: what went out, and what needs a look.")
tasks = typer.Typer(no_args_is_help=True, help="Calls to make: list them, and say how each ended.")

LoopName = Annotated[str, typer.Argument(help="The loop.")]
SHOWN = ("at", "campaign", "channel", "outcome", "reason", "person")


@notices.command("list", epilog="Example: closedloop notice list autumn-pumps")
def list_(loop: LoopName, as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None) -> None:
    """Show every notice of a loop: when, about whom, by which channel, and how its delivery stands."""
    named(stage, outputs)
    known_loop(loop)
    rows = list(doors.state().deliveries(loop))
    if as_json:
        console.as_json({"loop": loop, "notices": rows})
        return
    console.table(f"notices of {loop}", SHOWN, [[row[name] for name in SHOWN] for row in rows])


@notices.command(epilog="Example: closedloop notice review autumn-pumps")
def review(loop: LoopName, as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None) -> None:
    """Show what failed or what nobody knows the end of, mails too, with its reason; it reads the whole history."""
    named(stage, outputs)
    known_loop(loop)
    state = doors.state()
    with console.err().status("reading the history of actions"):
        rows: list[Mapping[str, Any]] = [
            {**row, "channel": "action"} for row in state.every_decision()
            if row["kind"] == "action" and row["loop"] == loop and row["outcome"] in ("failed", "unknown")
            and "|M#" in row["id"]
        ]
    rows += [{"id": "", **row} for row in state.deliveries(loop) if row["outcome"] in ("failed", "unknown")]
    told = [{name: row[name] for name in SHOWN} for row in sorted(rows, key=lambda row: (row["at"], row["id"]))]
    if as_json:
        console.as_json({"loop": loop, "review": told})
        return
    # A reason is read whole, however narrow the window is.
    for row in told:
        console.out().print(
            f"{row['at']}  {row['campaign']}  {row['channel']}  {row['outcome']}  {row['person']}\n  {row['reason']}",
            markup=False, highlight=False,
        )
    if not told:
        console.out().print("nothing failed, and everything is known")


@tasks.command("list", epilog="Example: closedloop task list autumn-pumps")
def list_tasks(
    loop: LoopName,
    every: Annotated[bool, typer.Option("--all", help="Those that ended too.")] = False,
    as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Show the calls to make, the most urgent first, with whom to call."""
    named(stage, outputs)
    known_loop(loop)
    state = doors.state()
    found = [task for task in state.tasks(loop) if every or task.status == "open"]
    rows = [{**_told(task), **_whom(task)} for task in found]
    if as_json:
        console.as_json({"loop": loop, "tasks": rows})
        return
    console.table(
        f"calls of {loop}", ("task", "until", "who", "phone", "outcome"),
        [(row["task"], row["until"], row["who"], row["phone"], row["outcome"] or "open") for row in rows],
    )


@tasks.command(epilog="Example: closedloop task done autumn-pumps/hot-lead/p_.../VERSION --outcome 'Appointment Made'")
def done(
    task: Annotated[str, typer.Argument(help="The call's id, as the notice and the list say it.")],
    outcome: Annotated[str, typer.Option(help="How it ended, in a word of the plan.")],
    dry_run: DryRun = False, as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Say how a call ended; it becomes a fact about the person, which gates can ask for."""
    named(stage, outputs)
    state = doors.state()
    found = state.task(task)
    if outcome not in found.outcomes:
        near = did_you_mean(outcome, found.outcomes)
        raise BadShape(f"--outcome: expected {listed(found.outcomes)}, found {outcome!r}{near}")
    profile = state.living(found.person).profile
    if profile is None:
        raise NotFound("nobody is known by this id any more")
    if not dry_run:
        found = state.end_task(found, outcome, clock.now())
        site = known_loop(found.loop).sites[0]
        doors.ledger().append([ended_call(found, profile.anchor, site, datetime.fromisoformat(found.done_at))])
    content = {**_told(found), "outcome": outcome, "written": not dry_run}
    console.as_json(content) if as_json else console.facts("call", content)


def ended_call(task: Task, anchor: str, site: str, at: datetime) -> Packet:
    """The fact that a call ended; said twice, it is one."""
    name = hashlib.sha256(task.id.encode()).hexdigest()[:32]
    record = {
        "id": f"{site}/operator/call-{name}", "type": "track", "name": task.outcome, "at": iso(at), "ids": [anchor],
        "properties": {"loop": task.loop, "campaign": task.campaign},
    }
    return Packet(f"I#{anchor}", site, Door.OPERATOR, at, (record,))


def _told(task: Task) -> dict[str, str]:
    return {"task": task.id, "at": task.at, "until": task.until, "outcome": task.outcome, "person": task.person}


def _whom(task: Task) -> dict[str, str]:
    from closedloop.loops.notices import who

    state = doors.state()
    profile = state.living(task.person).profile
    told = who(state.contact(profile.person)) if profile else {}
    who_ = " / ".join(told[name] for name in ("name", "company") if name in told) or told.get("email", "")
    return {"who": who_, "phone": told.get("phone", "")}
