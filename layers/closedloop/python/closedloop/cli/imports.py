"""closedloop import: what happened before, from files."""

from __future__ import annotations

import gzip
import hmac
import io
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, Any

import typer

from closedloop.capture import access_log, wire
from closedloop.capture.wire import EVENT, Sender
from closedloop.cli import console
from closedloop.cli.deployed import AsJson, DryRun, Outputs, Stage, known_site, named
from closedloop.errors import BadShape
from closedloop.events.event import Door
from closedloop.events.identifiers import Hasher
from closedloop.events.packet import Entry, pack
from closedloop.runtime import clock, doors

app = typer.Typer(no_args_is_help=True, help="Imports: history from files; the same file twice changes nothing.")
CHUNK = 2000


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
