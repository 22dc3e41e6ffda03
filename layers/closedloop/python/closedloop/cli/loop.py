"""closedloop loop: declare a plan, look at it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from closedloop.cli import console
from closedloop.cli.deployed import AsJson, DryRun, Outputs, Stage, named
from closedloop.errors import BadDefinition, NotFound
from closedloop.loops.definition import Loop
from closedloop.loops.lint import problems_with
from closedloop.runtime import clock, doors
from closedloop.sites.definition import version_of
from closedloop.sites.document import Document

app = typer.Typer(no_args_is_help=True, help="Loops: plans with numbers, campaigns and gates.")


@app.command(epilog="Example: closedloop loop apply examples/loops/autumn-pumps.yaml --dry-run")
def apply(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The loop's YAML file.")],
    dry_run: DryRun = False, as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Declare a loop from its file; everybody on its customer list is then due for a decision."""
    document = Document(file.read_bytes(), str(file))
    loop = document.read_as(Loop)
    where = named(stage, outputs)
    state = doors.state()
    sites = {name: site for name in loop.sites if (site := state.site(name)) is not None}
    if problems := problems_with(loop, sites, document):
        raise BadDefinition(str(file), problems)
    before = state.loop(loop.loop)
    change = "new" if before is None else "unchanged" if version_of(before) == version_of(loop) else "changed"
    due = 0
    if not dry_run:
        state.put_loop(loop, clock.now())
        people = list(state.people(sites[loop.sites[0]].list_name)) if change != "unchanged" else []
        with console.progress("people due for a decision", len(people)) as bar:
            for person in people:
                state.mark_due(person, clock.now())
                bar.advance(bar.task_ids[0])
        due = len(people)
    content = {
        "loop": loop.loop, "version": version_of(loop), "change": change, "written": not dry_run, "people_due": due,
        "where": where,
    }
    console.as_json(content) if as_json else console.facts(f"loop {loop.loop}", content)


@app.command()
def show(loop: str, as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None) -> None:
    """Show a loop: its objectives, its campaigns, its gates."""
    named(stage, outputs)
    found = doors.state().loop(loop)
    if found is None:
        raise NotFound(f"no loop {loop!r} is known; apply its file first: closedloop loop apply FILE")
    if as_json:
        console.as_json({"version": version_of(found), **found.model_dump(mode="json", by_alias=True)})
        return
    console.out().print(f"[bold]{found.loop}[/bold] {version_of(found)}: {found.strategy}")
    console.out().print(f"{found.period.start} to {found.period.end}, {' → '.join(found.stages)}")
    console.table("Objectives", ("metric", "target", "by"), [
        (o.metric, f"{o.target:,}", o.by) for o in found.objectives
    ])
    console.table("Campaigns", ("name", "stage", "touchpoint", "incentive"), [
        (c.name, c.stage, c.touchpoint, "yes" if c.incentive else "") for c in found.campaigns
    ])
    console.table("Gates", ("name", "from", "to", "held out"), [
        (g.name, g.from_, g.to, f"{g.holdout:.0%}" if g.holdout else "") for g in found.gates
    ])
