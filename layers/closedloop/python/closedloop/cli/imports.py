"""closedloop import: what happened before, from files."""

from __future__ import annotations

import csv
import gzip
import hmac
import io
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, TextIO

import typer

from closedloop.capture import access_log, wire
from closedloop.capture.lists.flow import take_back, take_list
from closedloop.capture.lists.mapping import Mapping
from closedloop.capture.lists.plan import Planned
from closedloop.capture.wire import EVENT, Sender
from closedloop.cli import console
from closedloop.cli.deployed import AsJson, DryRun, Outputs, Stage, known_site, named
from closedloop.errors import BadDefinition, BadShape
from closedloop.events.event import Door
from closedloop.events.identifiers import Hasher
from closedloop.events.packet import Entry, pack
from closedloop.lake import layout
from closedloop.runtime import clock, doors, lists
from closedloop.sites.definition import version_of
from closedloop.sites.document import Document

app = typer.Typer(no_args_is_help=True, help="Imports from files; the same file twice changes nothing.")
CHUNK = 2000


File = Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="CSV, in UTF-8 or code page 932.")]
Map = Annotated[Path, typer.Option("--map", exists=True, dir_okay=False, help="The mapping of the source, as YAML.")]
Site_ = Annotated[str, typer.Option("--site", help="The site whose customer list this is.")]
Written = Annotated[Path | None, typer.Option("--rejects", help="Where rejected rows go; FILE.rejects.csv otherwise.")]
Matches = Annotated[Path | None, typer.Option(help="Write whom each row is about, and why, to this CSV.")]


def _command(kind: str, what: str) -> None:
    """Make the command that imports lists of one kind."""

    @app.command(kind, help=f"Take {what} from a CSV file; --dry-run says what would change, and whom it matches.",
                 epilog=f"Example: closedloop import {kind} {kind}.csv --map {kind}.yaml --site demo --dry-run")
    def take(
        file: File, map_: Map, site: Site_, rejects: Written = None, matches: Matches = None,
        dry_run: DryRun = False, as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
    ) -> None:
        mapping = _mapping(map_, kind)
        named(stage, outputs)
        known = known_site(site)
        with ExitStack() as open_files, console.bars() as progress:
            told = _matches(open_files.enter_context(matches.open("w", encoding="utf-8-sig", newline=""))
                            if matches else None)
            report = take_list(file.read_bytes(), mapping, known, lists.list_doors(), dry_run=dry_run, on_match=told,
                               progress=progress)
        if report.rejects:
            rejects = rejects or Path(f"{file.stem}.rejects.csv")
            rejects.write_bytes(lists.rejects_csv(report.rejects))
        content = {**report.as_json(), "rejects_file": str(rejects) if report.rejects else None}
        console.as_json(content) if as_json else _show(file.name, content)


for kind_, what_ in (
    ("people", "persons"), ("attendance", "who came to seminars and the like"), ("purchases", "what was bought"),
    ("deals", "how deals stand"), ("costs", "what campaigns cost"),
):
    _command(kind_, what_)


def _mapping(file: Path, kind: str = "") -> Mapping:
    document = Document(file.read_bytes(), str(file))
    mapping = document.read_as(Mapping)
    if kind and mapping.kind != kind:
        line, column = document.at(("kind",))
        text = f"kind: this maps {mapping.kind}; expected {kind}, or the command `closedloop import {mapping.kind}`"
        raise BadDefinition(str(file), ((line, column, text),))
    return mapping


def _matches(file: TextIO | None) -> Callable[[Planned], None]:
    if file is None:
        return lambda one: None
    writer = csv.writer(file, lineterminator="\r\n")
    writer.writerow(("line", "change", "person", "why"))
    return lambda one: writer.writerow((one.fact.line, one.change, one.person, one.why))


def _show(name: str, content: dict[str, Any]) -> None:
    hidden = ("matches", "rejects", "matched")
    console.facts(f"{name}: {content['state']}", {key: value for key, value in content.items() if key not in hidden})
    if content["matched"]:
        console.facts("whom the rows are about", content["matched"])
    if content["matches"] and content["state"] == "planned":
        console.table("the first of them", ("line", "change", "person", "why"),
                      [tuple(one.values()) for one in content["matches"][:10]])
    if content["rejects"]:
        shown = [tuple(one.values()) for one in content["rejects"][:10]]
        console.table("rejected", ("line", "column", "reason"), shown)
    if content["state"] == "imported":
        console.out().print(f"Undo it with: closedloop import undo {content['import']}")


@app.command("mapping", epilog="Example: closedloop import mapping examples/imports/dealer.yaml --site demo")
def apply_mapping(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="The mapping of the source, as YAML.")],
    site: Site_, dry_run: DryRun = False, as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Declare a source's mapping for the files that are dropped into S3 under imports/KIND/SITE/SOURCE/."""
    mapping = _mapping(file)
    named(stage, outputs)
    known = known_site(site)
    version = version_of(mapping) if dry_run else lists.lists().put_mapping(known.site, mapping)
    content = {
        "source": mapping.source, "kind": mapping.kind, "version": version, "written": not dry_run,
        "drop_files_into": f"s3://{doors.lake().bucket}/{layout.IMPORTS}{mapping.kind}/{known.site}/{mapping.source}/",
    }
    console.as_json(content) if as_json else console.facts(f"mapping of {mapping.source}", content)


@app.command("list", epilog="Example: closedloop import list --site demo")
def list_imports(
    site: Annotated[str, typer.Option(help="The imports of this site alone.")] = "",
    as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """List the imports, newest last: how many rows each wrote, and whether it was undone."""
    named(stage, outputs)
    heads = lists.list_doors().journal.heads(site)
    if as_json:
        console.as_json([asdict(head) for head in heads])
        return
    console.table("imports", ("import", "when", "site", "source", "kind", "state", "rows"), [
        (head.name, head.received_at[:16], head.site, head.source, head.kind, head.state,
         head.counts.get("new", 0) + head.counts.get("corrected", 0))
        for head in heads
    ])


@app.command("undo", epilog="Example: closedloop import undo 3f9a1c2b7d60")
def undo(
    name: Annotated[str, typer.Argument(metavar="IMPORT", help="The import, as `closedloop import list` names it.")],
    as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Take an import back: its facts count no longer, and what they had replaced counts again."""
    named(stage, outputs)
    with console.bars() as progress:
        report = take_back(name, lists.list_doors(), progress)
    content = {
        "import": report.name, "kind": report.kind, "source": report.source, "state": report.state,
        **{what: report.counts[what] for what in ("retracted", "brought back", "gone")},
    }
    console.as_json(content) if as_json else console.facts(f"import {name}", content)


@app.command("access-log", epilog="Example: closedloop import access-log access.log.gz --site demo")
def import_access_log(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="Combined format, plain or gzip.")],
    site: Annotated[str, typer.Option(help="The site whose server wrote the log.")],
    dry_run: DryRun = False, as_json: AsJson = False, stage: Stage = None, outputs: Outputs = None,
) -> None:
    """Take the page views of a web server's access log."""
    named(stage, outputs)
    known = known_site(site)
    key = doors.pepper()
    sender = Sender(site=known, hasher=Hasher(key, known.list_name), may_backfill=True)
    received = clock.now()
    counts: Counter[str] = Counter()
    problems: list[str] = []

    def visitor_of(address: str, agent: str) -> str:
        return hmac.digest(key, f"{known.site}|{address}|{agent}".encode(), "sha256").hex()[:32]

    def take(entries: list[Entry]) -> None:
        packets = pack(entries, site=known.site, door=Door.IMPORT, received_at=received, headers={})
        counts["packets"] += len(packets)
        if not dry_run:
            doors.ledger().append(packets)

    waiting: list[Entry] = []
    with console.progress(file.name, file.stat().st_size) as bar:
        lines = _lines(file, lambda done: bar.update(bar.task_ids[0], completed=done))
        for result in access_log.read(lines, known, visitor_of=visitor_of):
            counts["lines"] += 1
            if isinstance(result, access_log.Bad):
                counts["unreadable"] += 1
                problems.append(f"{file}:{result.line}: {result.reason}")
            elif isinstance(result, access_log.Skipped):
                counts["no page view"] += 1
            else:
                event = EVENT.validate_python(result.event)
                good, bad = wire.checked([(result.line, event)], sender, Door.IMPORT.value, received, None)
                waiting.extend(good)
                counts["page views"] += len(good)
                counts["unreadable"] += len(bad)
                problems.extend(f"{file}:{one.index}: {one.reason}" for one in bad)
            if len(waiting) >= CHUNK:
                take(waiting)
                waiting = []
        if waiting:
            take(waiting)
    content = {
        "file": str(file), "lines": counts["lines"], "page_views": counts["page views"],
        "no_page_view": counts["no page view"], "unreadable": counts["unreadable"], "packets": counts["packets"],
        "written": not dry_run, "problems": problems[:20],
    }
    console.as_json(content) if as_json else console.facts("import", content)


def _lines(file: Path, on_bytes: Callable[[int], None]) -> Iterator[str]:
    """The lines of a log, plain or gzip; how far we are is told in bytes of the file.

    Errors: BadShape when the gzip is damaged; what was read before stays imported, and importing again is harmless.
    """
    with file.open("rb") as raw:
        packed = raw.read(2) == wire.GZIP
        raw.seek(0)
        opened: Any = gzip.GzipFile(fileobj=raw) if packed else raw
        with io.TextIOWrapper(opened, encoding="utf-8", errors="replace", newline="\n") as text:
            try:
                for line in text:
                    yield line
                    on_bytes(raw.tell())
            except (EOFError, zlib.error, gzip.BadGzipFile) as error:
                raise BadShape(f"{file}: the gzip is damaged or cut off: {error}") from error
