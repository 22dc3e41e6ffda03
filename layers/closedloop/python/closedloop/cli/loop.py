"""closedloop loop: write a plan, check it, declare it, see what changed."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer

from closedloop.cli import console
from closedloop.cli.deployed import AsJson, DryRun, Outputs, Stage, named
from closedloop.errors import BadDefinition, NotFound
from closedloop.events.times import iso
from closedloop.lake import layout
from closedloop.lake.layout import ADVICE_FILE, DRAFT
from closedloop.loops.changes import changes, in_force
from closedloop.loops.definition import Loop
from closedloop.loops.feasibility import Feasibility, Past, feasibility
from closedloop.loops.lint import problems_with
from closedloop.loops.proposal import origin
from closedloop.loops.schema import json_schema
from closedloop.reports.advice import ADVICE
from closedloop.reports.metrics import SUMMARY
from closedloop.reports.past import past_of
from closedloop.runtime import clock, deployment, doors
from closedloop.runtime.deployment import NoDeployment
from closedloop.sites.definition import version_of
from closedloop.sites.document import Document

app = typer.Typer(no_args_is_help=True, help="Loops: plans with numbers, campaigns and gates.")

File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The loop's YAML file.")]


@app.command(epilog="Example: closedloop loop apply examples/loops/autumn-pumps.yaml --dry-run")
def apply(
    file: File, dry_run: DryRun = False,
    by: Annotated[str | None, typer.Option(
        help="Who approves it, as the history shows it; whoever is logged in here when left out.",
    )] = None,
    as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Declare a loop from its file; everybody on its customer list is then due for a decision.

    A draft that a report made becomes a loop by this alone: who took it, and what they changed in it, is kept.
    """
    document = Document(file.read_bytes(), str(file))
    loop = document.read_as(Loop)
    where = named(stage, outputs)
    state, before = doors.state(), checked(loop, document)
    change = "new" if before is None else "unchanged" if version_of(before) == version_of(loop) else "changed"
    told = changes(before, loop) if before is not None else ()
    people = list(state.people(doors.sites()[loop.sites[0]].list_name))
    found = feasibility(loop, _past(loop))
    if not dry_run:
        approval = _approval(loop, file, by or deployment.operator(), found)
        # Also when nothing changed: whoever was interrupted here marks the rest by doing it again.
        state.put_loop(loop, clock.now(), version_of(before) if before is not None else "", approval)
        with console.progress("people due for a decision", len(people)) as bar:
            for person in people:
                state.mark_due(person, clock.now())
                bar.advance(bar.task_ids[0])
    content: dict[str, Any] = {
        "loop": loop.loop, "version": version_of(loop), "change": change, "written": not dry_run,
        "people_due": len(people), "where": where,
    }
    if as_json:
        console.as_json({**content, "changes": told, "feasibility": asdict(found)})
        return
    console.facts(f"loop {loop.loop}", content)
    _list("What changes" if dry_run else "What changed", told)
    _list("Feasibility", [str(chance) for chance in found.chances])


@app.command(epilog="Example: closedloop loop propose autumn-pumps --out autumn-pumps-2.yaml")
def propose(
    loop: str,
    out: Annotated[Path | None, typer.Option(help="The file to write it to; standard output when left out.")] = None,
    as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Fetch the draft of the loop after this one, made from its newest report; read it, change it, apply it."""
    named(stage, outputs)
    found = _declared(loop)
    newest = _file(f"{layout.latest_report(found.sites[0], found.loop)}summary.json")
    version = str(json.loads(newest).get("version", "")) if newest is not None else ""
    # What lies in the folder of a version is of one report, whenever somebody looks.
    folder = layout.report_version(found.sites[0], found.loop, version)
    drafted, advice = _file(f"{folder}{DRAFT}"), _file(f"{folder}{ADVICE_FILE}")
    if drafted is None or advice is None:
        raise NotFound(f"no report of {loop!r} has made a draft yet; build one first: closedloop report build {loop}")
    if out is not None:
        out.write_bytes(drafted)
    if as_json:
        console.as_json(json.loads(advice))
    elif out is None:
        print(drafted.decode(), end="")
    else:
        told = ADVICE.validate_json(advice)
        console.facts(f"draft of {told.next_loop}", {
            "file": out, "as_of": told.as_of, "changes": len(told.changes), "problems": len(told.problems) or "none",
        })
        _list("What it changes", [f"{one.place}: {one.reason}" for one in told.changes])
        _list("What has to be mended first", told.problems)


def _file(key: str) -> bytes | None:
    files = doors.reports()
    return files.get(key) if key in files.keys(key) else None


def _approval(loop: Loop, file: Path, by: str, found: Feasibility) -> dict[str, Any]:
    """What is kept of whoever applies a loop: from which report it was drafted, what was changed by hand, what is
    expected of it."""
    kept: dict[str, Any] = {"by": by, "expected": {
        chance.metric: [chance.target, chance.expected.low, chance.expected.middle, chance.expected.high]
        for chance in found.chances if chance.expected is not None
    }}
    drafted = origin(file.read_text(encoding="utf-8-sig"))
    former = doors.state().loop(drafted[0]) if drafted else None
    if drafted is None or former is None:
        return kept
    folder = layout.report_version(former.sites[0], former.loop, drafted[1])
    kept |= {"from_loop": drafted[0], "from_report": drafted[1]}
    draft, advice = _file(f"{folder}{DRAFT}"), _file(f"{folder}{ADVICE_FILE}")
    if draft is not None and advice is not None:
        kept["proposed"] = [f"{one.place}: {one.reason}" for one in ADVICE.validate_json(advice).changes]
        kept["by_hand"] = list(changes(Document(draft, DRAFT).read_as(Loop), loop))
    return kept


@app.command(epilog="Example: closedloop loop check my-loop.yaml")
def check(file: File, as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None) -> None:
    """Check a plan and say whether it can reach its objectives; nothing is written.

    Without a deployment the file is checked by itself: not against its sites, and with stated rates alone.
    """
    document = Document(file.read_bytes(), str(file))
    loop = document.read_as(Loop)
    try:
        where = named(stage, outputs)
        checked(loop, document)
        past = _past(loop)
    except NoDeployment:
        if stage or outputs:
            raise
        where, past = "no deployment: not held against its sites and their reports", None
        if problems := problems_with(loop, None, document, clock.now()):
            raise BadDefinition(str(file), problems) from None
    found = feasibility(loop, past)
    if as_json:
        content = {"loop": loop.loop, "version": version_of(loop), "where": where}
        console.as_json({**content, **asdict(found)})
        return
    console.facts(f"loop {loop.loop}", {"version": version_of(loop), "where": where, "problems": "none"})
    _show_feasibility(loop, found)
    for track, lane in zip(loop.tracks, loop.lanes[1:], strict=True):
        if track.objectives:
            console.out().print(f"track {lane.loop}", style="bold")
            _show_feasibility(lane, feasibility(lane, None if past is None else _past(lane)))


def checked(loop: Loop, document: Document) -> Loop | None:
    """Hold a loop against its sites, the calendar and what was declared before, which comes back.

    Errors: BadDefinition with every problem.
    """
    state, now = doors.state(), clock.now()
    history = state.loop_history(loop.loop)
    before = history[-1][1] if history else None
    problems = problems_with(
        loop, state.sites(), document, now, former=in_force(history, now), loops=[one.loop for one in state.loops()],
        applied=before is not None and version_of(before) == version_of(loop),
    )
    if problems:
        raise BadDefinition(document.file, problems)
    return before


def _past(loop: Loop) -> Past | None:
    """What the newest report of the loop that this one follows, or of itself, has measured; None without a report."""
    measured = doors.state().loop(loop.follows) if loop.follows else loop
    if measured is None:
        return None
    key = f"{layout.latest_report(measured.sites[0], measured.loop)}summary.json"
    files = doors.reports()
    return past_of(SUMMARY.validate_json(files.get(key))) if key in files.keys(key) else None


def _show_feasibility(loop: Loop, found: Feasibility) -> None:
    if found.steps:
        console.table("What the plan rests on", ("step", "go on", "90 of 100 cases", "counted"), [
            (step.step, f"{step.rate.middle:.1%}", f"{step.rate.low:.1%} to {step.rate.high:.1%}", step.rests_on)
            for step in found.steps
        ])
    told = [chance for chance in found.chances if chance.needed is not None]
    if told:
        console.table("How many people each objective needs", ("objective", *loop.stages), [
            (f"{chance.metric} {chance.target:,}", *(f"{chance.needed_at[stage]:,}" if stage in chance.needed_at else ""
                                                     for stage in loop.stages))
            for chance in told
        ])
    _list("Feasibility", [str(chance) for chance in found.chances])


def _list(title: str, lines: Sequence[str]) -> None:
    if lines:
        console.out().print(title, style="bold")
    for line in lines:
        console.out().print(f"- {line}", markup=False, highlight=False)


@app.command(epilog="Example: closedloop loop schema > examples/loops/loop.schema.json")
def schema() -> None:
    """Print the JSON Schema of a loop's file, for editors that complete names and mark mistakes."""
    print(json.dumps(json_schema(), ensure_ascii=False, indent=2))


@app.command(epilog="Example: closedloop loop diff my-loop.yaml my-next-loop.yaml")
def diff(
    file: File,
    other: Annotated[Path | None, typer.Argument(
        exists=True, dir_okay=False, help="The later file; without it, FILE is the later one and what is declared the "
        "earlier.",
    )] = None,
    as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Say in words what changes from one plan to another, or from what is declared to a file."""
    first = _read(file)
    if other is not None:
        before, after = first, _read(other)
    else:
        named(stage, outputs)
        before, after = _declared(first.loop), first
    told = changes(before, after)
    content = {"loop": after.loop, "before": version_of(before), "after": version_of(after), "changes": told}
    if as_json:
        console.as_json(content)
    else:
        _list(f"{after.loop} {content['before']} → {content['after']}", told or ["nothing changes"])


@app.command(epilog="Example: closedloop loop history autumn-pumps")
def history(loop: str, as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None) -> None:
    """Show every version of a loop: since when, by whom, from which loop's report, and what changed."""
    named(stage, outputs)
    versions = doors.state().loop_history(loop)
    if not versions:
        raise NotFound(f"no loop {loop!r} is known; apply its file first: closedloop loop apply FILE")
    earlier = [None, *(one for _, one in versions[:-1])]
    taken = {(row["at"], row["version"]): row for row in doors.state().loop_approvals(loop)}
    content = [
        {"at": iso(at), "version": version_of(one), "changes": changes(before, one) if before else ("declared",),
         "follows": one.follows, **_lineage(taken.get((iso(at), version_of(one)), {}))}
        for (at, one), before in zip(versions, earlier, strict=True)
    ]
    if as_json:
        console.as_json({"loop": loop, "versions": content})
        return
    console.table(f"loop {loop}", ("since", "version", "by", "what changed"), [
        (str(row["at"])[:16], row["version"], row.get("by", ""), "\n".join(row["changes"])) for row in content
    ])
    for row in content:
        if "from_report" in row:
            _list(f"{row['version']} is from the report of {row['from_loop']}, version {row['from_report']}", [
                *(f"proposed: {one}" for one in row.get("proposed", ())),
                *(f"by hand: {one}" for one in row.get("by_hand", ())),
            ])


def _lineage(taken: Mapping[str, Any]) -> dict[str, Any]:
    """Who took a version, from which report, what that proposed, and what a person did otherwise."""
    names = ("by", "from_loop", "from_report", "proposed", "by_hand")
    return {name: taken[name] for name in names if name in taken}


def _read(file: Path) -> Loop:
    return Document(file.read_bytes(), str(file)).read_as(Loop)


def _declared(name: str) -> Loop:
    found = doors.state().loop(name)
    if found is None:
        raise NotFound(f"no loop {name!r} is known; apply its file first: closedloop loop apply FILE")
    return found


@app.command()
def show(loop: str, as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None) -> None:
    """Show a loop: its objectives, its campaigns, its gates."""
    named(stage, outputs)
    found = _declared(loop)
    if as_json:
        console.as_json({"version": version_of(found), **_plain(found)})
        return
    console.out().print(f"[bold]{found.loop}[/bold] {version_of(found)}: {found.strategy}")
    console.out().print(f"{found.period.start} to {found.period.end}, {' → '.join(found.stages)}")
    console.table("Objectives", ("metric", "target", "by"), [
        (o.metric, f"{o.target:,}", o.by) for o in found.objectives
    ])
    console.table("Campaigns", ("name", "stage", "touchpoint", "incentive", "visitors", "cost"), [
        (c.name, c.stage, c.touchpoint, "yes" if c.incentive else "", "" if c.visitors is None else f"{c.visitors:,}",
         "" if c.cost is None else f"{c.cost.total_minor:,}")
        for c in found.campaigns
    ])
    console.table("Gates", ("name", "from", "to", "held out"), [
        (g.name, g.from_, g.to, f"{g.holdout:.0%}" if g.holdout else "") for g in found.gates
    ])
    _list("Tracks, each shown as a loop is", [f"{lane.loop}: {' → '.join(lane.stages)}" for lane in found.lanes[1:]])


def _plain(loop: Loop) -> Mapping[str, Any]:
    return loop.model_dump(mode="json", by_alias=True)
