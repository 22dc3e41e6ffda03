"""closedloop run: start the workflow, look at what a run did."""

from __future__ import annotations

from typing import Annotated

import typer

from closedloop.cli import console
from closedloop.cli.deployed import AsJson, Outputs, Stage, named
from closedloop.errors import ClosedLoopError, NotFound
from closedloop.events.times import iso
from closedloop.runtime import clock, doors

app = typer.Typer(no_args_is_help=True, help="Runs of stage_transitions: who moved, and who did not.")
POLL_S = 0.3


class RunFailed(ClosedLoopError):
    """A run of the workflow did not end well; an operator must read its log."""


@app.command(epilog="Example: closedloop run start --wait")
def start(
    wait: Annotated[bool, typer.Option(help="Wait until the run has ended.")] = False,
    everybody: Annotated[bool, typer.Option(help="Look at everybody on running loops, as nightly.")] = False,
    timeout_s: Annotated[float, typer.Option(help="Seconds to wait at the most.")] = 300.0,
    as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Decide about everybody who is due, or about all there are, and do what follows."""
    named(stage, outputs)
    now = clock.now()
    run = doors.run_name("manual", now)
    scope = {"scope": "everybody"} if everybody else {}
    doors.start_transitions(run, {"run": run, "at": iso(now), **scope})
    if wait:
        await_run(run, timeout_s)
    content = doors.state().run(run) or {"run": run, "selected": 0, "counts": {}}
    console.as_json(content) if as_json else console.facts(f"run {run}", content)


def await_run(run: str, timeout_s: float) -> None:
    """Wait for the end of a run.

    Errors: RunFailed when it does not end well or in time.
    """
    deadline = clock.past(timeout_s)
    with console.err().status(f"run {run}"):
        while (status := doors.run_state(run)) == "RUNNING":
            if clock.is_past(deadline):
                raise RunFailed(f"run {run} has not ended after {timeout_s:g} seconds")
            clock.sleep(POLL_S)
    if status != "SUCCEEDED":
        raise RunFailed(f"run {run} ended as {status}")


@app.command()
def show(run: str, as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None) -> None:
    """Show what a run did: everybody selected has one outcome."""
    named(stage, outputs)
    content = doors.state().run(run)
    if content is None:
        raise NotFound(f"no run {run!r} is known, or nobody was due in it")
    console.as_json(content) if as_json else console.facts(f"run {run}", content)
