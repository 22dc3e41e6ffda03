"""closedloop report: build a loop's report now, open it, and say what a later one tells differently."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from tempfile import gettempdir
from typing import Annotated

import typer

from closedloop.cli import console
from closedloop.cli.deployed import AsJson, Outputs, Stage, known_loop, named
from closedloop.lake import layout
from closedloop.reports import summary
from closedloop.reports.restatement import differences
from closedloop.reports.words import Language, Words
from closedloop.runtime import doors
from closedloop.runtime.published import found, steps

app = typer.Typer(no_args_is_help=True, help="Loop reports: what a loop achieved, in numbers that reconcile.")
LoopName = Annotated[str, typer.Argument(help="The loop.")]
Lang = Annotated[Language, typer.Option("--lang", help="The language of the page.")]


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
        reports = content.get("reports")
        content["copied"] = [
            path for report in (reports if isinstance(reports, list) else ())
            for path in copy(out / str(report["loop"]), str(report["latest"]), str(report["version"]))
        ]
    console.as_json(content) if as_json else console.facts("report", content)


def copy(out: Path, *prefixes: str) -> list[str]:
    """Copy folders of a loop's reports beside each other, so that the links of a page lead on; the files' paths."""
    copied = []
    for prefix in prefixes:
        for key in doors.reports().keys(prefix):
            target = out / prefix.rstrip("/").rpartition("/")[2] / key.removeprefix(prefix)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(doors.reports().get(key))
            copied.append(str(target))
    return copied


@app.command("open", epilog="Example: closedloop report open autumn-pumps --lang ja")
def open_(
    loop: LoopName,
    version: Annotated[
        str | None, typer.Option(help="A version, the beginning of one, or a day; the newest when left out.")
    ] = None,
    lang: Lang = Language.EN,
    out: Annotated[Path | None, typer.Option(help="The folder to copy it into; a temporary one when left out.")] = None,
    browser: Annotated[bool, typer.Option("--browser/--no-browser", help="Show the page in a browser.")] = True,
    as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Copy a published report to this machine and open its page."""
    # It draws charts: only who opens a page waits for that to load.
    from closedloop.reports.page import FILE_NAMES

    named(stage, outputs)
    known = known_loop(loop)
    report = found(known, version)
    folder = Path(gettempdir(), "closedloop-reports", loop) if out is None else out / loop
    prefix = layout.report_version(known.sites[0], loop, report.version)
    with console.err().status("copying the report"):
        copy(folder, prefix)
    page = (folder / f"version={report.version}" / FILE_NAMES[lang]).resolve()
    content = {"loop": loop, "version": report.version, "as_of": report.as_of, "page": str(page)}
    # A table would cut the path.
    told = f"{loop} as of {report.as_of}\n{page}"
    console.as_json(content) if as_json else console.out().print(told, highlight=False)
    if browser:
        typer.launch(page.as_uri())


@app.command(epilog="Example: closedloop report diff autumn-pumps --from 2026-11-20 --to 2026-11-27")
def diff(
    loop: LoopName,
    since: Annotated[
        str | None, typer.Option("--from", help="A version or a day; the report before the other when left out.")
    ] = None,
    to: Annotated[str | None, typer.Option("--to", help="A version or a day; the newest when left out.")] = None,
    lang: Lang = Language.EN,
    as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Say what one report of a loop tells differently from another, and what came in between that may be why."""
    named(stage, outputs)
    known = known_loop(loop)
    report = found(known, to)
    if since is None and report.changes is None:
        console.as_json({"loop": loop, "to": report.version, "from": None}) if as_json else console.out().print(
            f"{report.version} is the first report of {loop}")
        return
    former = found(known, since or (report.changes.former if report.changes else None))
    figures, said = differences(former, report), list(steps(known, former, report))
    if as_json:
        console.as_json({
            "loop": loop, "from": former.version, "to": report.version,
            "figures": [asdict(one) for one in figures], "steps": [asdict(step) for step in said],
        })
        return
    words, currency = Words(lang), report.money.currency

    def amount(value: int | None, money: bool) -> str:
        return words.money(value, currency) if money else words.number(value)

    console.table(f"{former.version} → {report.version}", (
        words.get("figure_restated"), words.get("before"), words.get("now_known")), [
        (words.get(one.figure), amount(one.before, one.money), amount(one.now, one.money)) for one in figures])
    if not any(step.restated for step in said):
        console.out().print(words.get("changes_none", before=words.moment(former.as_of)))
    for step in said:
        if step.restated:
            console.table(words.get("changes_lead", before=words.moment(step.former_as_of)), [
                words.get(key) for key in ("figure_restated", "before", "now_known", "first_day", "last_day")], [
                (words.get(one.figure), amount(one.before, one.figure == "revenue_minor"),
                 amount(one.now, one.figure == "revenue_minor"), one.first, one.last) for one in step.restated])
            console.table(words.get("received"), [
                words.get(key) for key in ("received", "facts", "sum_named")], [
                (words.get(f"because:{one.why}"), one.facts,
                 words.money(one.amount_minor, one.currency or currency) if one.amount_minor else "")
                for one in step.reasons])


@app.command(epilog="Example: closedloop report schema > loop-report.schema.json")
def schema() -> None:
    """Print the JSON Schema of summary.json."""
    print(summary.schema().decode(), end="")
