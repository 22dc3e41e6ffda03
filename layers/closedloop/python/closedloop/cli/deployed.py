"""The options that name a deployment, and the doors of the one that was named."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from closedloop.errors import NotFound
from closedloop.loops.definition import Loop
from closedloop.runtime import deployment, doors
from closedloop.sites.definition import Site

AsJson = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Say what would change; change nothing.")]
Stage = Annotated[str | None, typer.Option(help="A stage in AWS: dev, stg or prod.", envvar="CLOSEDLOOP_STAGE")]
Outputs = Annotated[
    Path | None,
    typer.Option(help="outputs.json of a local run; .local/outputs.json when left out.", envvar="CLOSEDLOOP_OUTPUTS"),
]


def named(stage: str | None, outputs: Path | None) -> str:
    """Speak to the deployment that the options name, in words.

    Errors: NoDeployment.
    """
    return deployment.use(stage, outputs)


def known_site(name: str) -> Site:
    """A site that was applied.

    Errors: NotFound.
    """
    site = doors.state().site(name)
    if site is None:
        raise NotFound(f"no site {name!r} is known; apply its file first: closedloop site apply FILE")
    return site


def known_loop(name: str) -> Loop:
    """A loop that was applied, as it stands.

    Errors: NotFound.
    """
    loop = doors.state().loop(name)
    if loop is None:
        raise NotFound(f"no loop {name!r} is known; apply its file first: closedloop loop apply FILE")
    return loop
