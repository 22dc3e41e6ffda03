"""The command `closedloop`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated

import typer

from closedloop.cli import (
    account,
    attribute,
    console,
    customers,
    doctor,
    explain,
    failed,
    imports,
    lake,
    loop,
    notices,
    person,
    rebuild,
    replay,
    report,
    rights,
    run,
    site,
    stages,
    trial,
    world,
)
from closedloop.errors import ClosedLoopError, Refused
from closedloop.runtime import doors
from closedloop.store.calls import CallFailed

DEBUG = "--debug"
LOOK = "`closedloop doctor` looks at everything that a deployment needs"

app = typer.Typer(
    name="closedloop", no_args_is_help=True, pretty_exceptions_enable=False,
    help="Closed-loop marketing in your own AWS account: sites, loops, runs, reports.",
)
app.add_typer(site.app, name="site")
stages.register(loop.app)
trial.register(loop.app)
app.add_typer(loop.app, name="loop")
app.add_typer(run.app, name="run")
app.add_typer(notices.notices, name="notice")
app.add_typer(notices.tasks, name="task")
app.add_typer(report.app, name="report")
app.add_typer(imports.app, name="import")
rights.register(person.app)
app.add_typer(person.app, name="person")
app.add_typer(rights.suppressions, name="suppression")
app.add_typer(account.app, name="account")
app.add_typer(customers.app, name="customers")
app.add_typer(explain.app, name="explain")
app.add_typer(failed.app, name="failed")
app.add_typer(lake.app, name="lake")
app.add_typer(world.app, name="world")
app.command()(replay.replay)
app.command(epilog=rebuild.EXAMPLE)(rebuild.rebuild)
app.command()(doctor.doctor)
app.command(epilog=attribute.EXAMPLE)(attribute.attribute)


@app.callback()
def closedloop(
    debug: Annotated[bool, typer.Option(DEBUG, help="When something fails, show where in the program.")] = False,
) -> None:
    """Closed-loop marketing in your own AWS account: sites, loops, runs, reports."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Run a command, that of the process when none is given; what goes wrong ends it with one message.

    Shapes: exit status 2 when the input is at fault, else 1. `--debug` may stand anywhere.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    try:
        app(args=[word for word in given if word != DEBUG], prog_name="closedloop")
    except Exception as error:
        # Whatever it is, a person reads it; --debug shows all of it.
        if DEBUG in given:
            raise
        console.err().print(_said(error), style="red", markup=False, highlight=False)
        sys.exit(2 if isinstance(error, Refused) else 1)


def _said(error: Exception) -> str:
    """An error in one message, for the person at the keyboard."""
    if isinstance(error, CallFailed):
        return f"DynamoDB did not do it: {error}; {LOOK}"
    if isinstance(error, ClosedLoopError):
        return str(error)
    if isinstance(error, doors.outages()):
        return f"AWS did not do it: {error}; {LOOK}"
    return f"this should not happen: {type(error).__name__}: {error}; {DEBUG} shows where"
