"""closedloop report: build a loop's report now, open the newest."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from closedloop.cli import console
from closedloop.cli.deployed import AsJson, Outputs, Stage, named
from closedloop.runtime import doors

app = typer.Typer(no_args_is_help=True, help="Loop reports: what a loop achieved, in numbers that reconcile.")


@app.command(epilog="Example: closedloop report build autumn-pumps --out report/")
def build(
    loop: Annotated[str | None, typer.Argument(help="The loop; every running one when left out.")] = None,
    out: Annotated[Path | None, typer.Option(help="A folder to copy the report's files into.")] = None,
    as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Have report_loop build the report now, and say where it is."""
    named(stage, outputs)
    with console.err().status("report_loop reads the lake and writes the report"):
        content = doors.build_report({"loops": [loop]} if loop else {})
    if out is not None:
        content["copied"] = copy(content, out)
    console.as_json(content) if as_json else console.facts("report", content)


def copy(content: dict[str, object], out: Path) -> list[str]:
    """Copy the newest files of each report built into a folder; their paths."""
    copied = []
    reports = content.get("reports")
    for report in reports if isinstance(reports, list) else ():
        prefix = str(report["latest"])
        for key in doors.reports().keys(prefix):
            target = out / str(report["loop"]) / key.removeprefix(prefix).lstrip("/")
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(doors.reports().get(key))
            copied.append(str(target))
    return copied
