"""closedloop explain: why a visit has its source, and a browser its grade."""

from __future__ import annotations

import io
import json
import sys
from collections.abc import Iterator

import typer

from closedloop.errors import BadShape
from closedloop.events.agents import grade_agent
from closedloop.events.sources import source_of

app = typer.Typer(no_args_is_help=True, help="Explain a reading: standard input to standard output, a line each.")


SOURCE = """Example: echo '{"url": "https://x.example/?utm_source=a", "referrer": ""}' | closedloop explain source"""


@app.command(epilog=SOURCE)
def source() -> None:
    """Read {url, referrer} as JSON lines; write {channel, medium, source, term, campaign, rule}."""
    for number, line in enumerate(_lines(), 1):
        if not line.strip():
            continue
        try:
            asked = json.loads(line)
            found = source_of(str(asked.get("url") or ""), str(asked.get("referrer") or ""), {}, frozenset())
        except (ValueError, AttributeError, RecursionError) as error:
            raise BadShape(f"line {number}: expected one JSON object with url and referrer") from error
        print(json.dumps({
            "channel": found.channel, "medium": found.medium, "source": found.source, "term": found.term,
            "campaign": found.campaign, "rule": found.rule,
        }, ensure_ascii=False))


@app.command(epilog="Example: cut -d'\"' -f6 access.log | closedloop explain agent")
def agent() -> None:
    """Read user agents line by line; write {grade, reason}."""
    for line in _lines():
        evidence = grade_agent(line.rstrip("\r\n"))
        print(json.dumps({"grade": evidence.grade.value, "reason": evidence.reason}, ensure_ascii=False))


def _lines() -> Iterator[str]:
    """Standard input line by line; a byte that is no UTF-8, as logs hold them, stops nothing, nor does a first mark."""
    if isinstance(sys.stdin, io.TextIOWrapper):
        sys.stdin.reconfigure(encoding="utf-8-sig", errors="replace", newline="\n")
    yield from sys.stdin
