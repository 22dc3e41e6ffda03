"""`python -m bench [QUESTION ...]` measures, prints the table and writes `build/bench.json`."""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import tempfile
from pathlib import Path

from rich.console import Console
from rich.table import Table

from bench import attribution, cold_start, cost, decisions, fold, lists, rebuild, size, traffic, updates, warm, wru
from bench.endpoint import Endpoint
from bench.packages import BUILD
from bench.protocol import SAMPLES, Figure, Row

QUESTIONS = {
    "cold_start": cold_start.rows, "warm": warm.rows, "wru": wru.rows, "updates": updates.rows,
    "decisions": decisions.rows, "cost": cost.rows, "fold": fold.rows, "rebuild": rebuild.rows,
    "lists": lists.rows, "attribution": attribution.rows, "size": size.rows,
}


def main() -> None:
    asks = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    asks.add_argument("questions", nargs="*", metavar="QUESTION", help=f"of {', '.join(QUESTIONS)}; all when left out")
    asks.add_argument("--samples", type=int, default=SAMPLES, help=f"of each side; a result has {SAMPLES} or more")
    asks.add_argument("--paths", type=int, default=attribution.PATHS, help="how many paths attribution is measured on")
    asks.add_argument("--out", type=Path, default=BUILD / "bench.json", help="where the figures are written")
    told = asks.parse_args()
    unknown = [name for name in told.questions if name not in QUESTIONS]
    if unknown:
        asks.error(f"{unknown[0]} is none of {', '.join(QUESTIONS)}")
    # A file or a pipe has no width of its own; the table needs one.
    console = Console(width=None if sys.stdout.isatty() else 190)
    errors = Console(stderr=True)
    found: list[Row] = []
    site = traffic.site()
    with (
        tempfile.TemporaryDirectory() as scratch,
        Endpoint(site.model_dump_json(by_alias=True), site.site, traffic.PEPPER.decode()) as endpoint,
    ):
        for name in told.questions or QUESTIONS:
            with errors.status(f"measuring {name}"):
                work = Path(scratch, name)
                work.mkdir()
                more = {"paths": told.paths} if name == "attribution" else {}
                found += QUESTIONS[name](told.samples, work, endpoint, **more)
    console.print(_table(found))
    console.print(
        f"{told.samples} samples a side, medians; ratio is ours by the other's, with the least and the greatest of two "
        f"neighbouring samples. Python {platform.python_version()}, {os.cpu_count()} cores, {platform.machine()}."
    )
    if told.samples < SAMPLES:
        console.print(f"Fewer than {SAMPLES} samples: not a result.")
    told.out.parent.mkdir(parents=True, exist_ok=True)
    told.out.write_text(json.dumps(
        {
            "python": sys.version.split()[0], "machine": platform.machine(), "cores": os.cpu_count(),
            "samples": told.samples, "rows": [row.as_json() for row in found],
        },
        indent=1,
    ))


def _table(found: list[Row]) -> Table:
    table = Table(title="Closed Loop, measured")
    for name in ("question", "case", "unit"):
        table.add_column(name)
    for name in ("ours (min, max)", "other (min, max)", "ratio (spread)", "wanted", "load"):
        table.add_column(name, justify="right")
    table.add_column("")
    before = ""
    for row in found:
        ratio = f"{row.ratio:.2f}" if row.ratio is not None else ""
        if row.spread:
            ratio += f" ({row.spread[0]:.2f}-{row.spread[1]:.2f})"
        wanted = f"{row.wanted[0]} {row.wanted[1]} {_number(row.wanted[2])}" if row.wanted else ""
        mark = {None: "", True: "[green]reached", False: "[red]missed"}[row.reached]
        if before and before != row.question:
            table.add_section()
        before = row.question
        sides = (_side(row.ours), _side(row.other) if row.other else "")
        table.add_row(row.question, row.case, row.unit, *sides, ratio, wanted, f"{row.load[0]:.1f}", mark)
    return table


def _side(figure: Figure) -> str:
    if figure.least == figure.most:
        return _number(figure.median)
    return f"{_number(figure.median)} ({_number(figure.least)}, {_number(figure.most)})"


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


if __name__ == "__main__":
    main()
