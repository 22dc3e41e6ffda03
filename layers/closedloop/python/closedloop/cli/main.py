"""The command `closedloop`."""

from __future__ import annotations

import sys

import typer

from closedloop.cli import doctor, explain, imports, loop, person, replay, report, run, site, world
from closedloop.cli.console import ERR
from closedloop.errors import ClosedLoopError, Refused

app = typer.Typer(
    name="closedloop", no_args_is_help=True, pretty_exceptions_enable=False,
    help="Closed-loop marketing in your own AWS account: sites, loops, runs, reports.",
)
app.add_typer(site.app, name="site")
app.add_typer(loop.app, name="loop")
app.add_typer(run.app, name="run")
app.add_typer(report.app, name="report")
app.add_typer(imports.app, name="import")
app.add_typer(person.app, name="person")
app.add_typer(explain.app, name="explain")
app.add_typer(world.app, name="world")
app.command()(replay.replay)
app.command()(doctor.doctor)


def main() -> None:
    """Run a command; a named fact ends it with one message: exit status 2 when the input is at fault, else 1."""
    try:
        app()
    except ClosedLoopError as error:
        if "--debug" in sys.argv:
            raise
        ERR.print(str(error), style="red", markup=False, highlight=False)
        sys.exit(2 if isinstance(error, Refused) else 1)

