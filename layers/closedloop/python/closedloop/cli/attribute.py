"""closedloop attribute: which channels share the credit, from a file of paths."""

from __future__ import annotations

import csv
import sys
from collections.abc import Iterator, Mapping
from decimal import Decimal
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import msgspec
import typer

from closedloop.cli import console

MEMORY = "384MB"
MODELS = "first,last,linear,position,markov,shapley"
DIRECT = "direct,(direct)"
EXAMPLE = "Example: closedloop attribute paths.csv --models first,linear,markov,shapley --format json"
BY_PLACE = "shapley_ordered"
# What a column of a table takes beside its text.
BORDERS = 4


class Format(StrEnum):
    TABLE = "table"
    JSON = "json"
    CSV = "csv"


def attribute(
    file: Annotated[Path, typer.Argument(
        exists=True, dir_okay=False,
        help="CSV with path, total_conversions, total_conversion_value, total_null; ` > ` between channels.",
    )],
    models: Annotated[str, typer.Option(
        help="Models with commas between them: first, last, last_non_direct, linear, position, markov, markov2, "
             "markov3, shapley, shapley_ordered.",
    )] = MODELS,
    shown: Annotated[Format, typer.Option("--format", help="How the credit is written.")] = Format.TABLE,
    direct: Annotated[str, typer.Option(help="The channels of those who came by themselves, for last_non_direct.")] =
    DIRECT,
    encoding: Annotated[str, typer.Option(help="The file's encoding: utf-8, cp932, ...")] = "utf-8",
) -> None:
    """Share conversions and their value among the channels, by several models side by side.

    Every model's credit sums to the totals of the file. First, last and the other rules and Shapley keep accounts;
    Markov compares paths that led to a conversion with those that did not. None of them proves an effect: a holdout
    does.
    """
    # numpy and DuckDB take a moment; the other commands do not wait for them.
    from closedloop.attribution import models as known
    from closedloop.attribution.paths import Channels, Paths
    from closedloop.lake.path_files import PathFile
    from closedloop.lake.queries import engine

    asked = list(dict.fromkeys(name.strip() for name in models.split(",")))
    known.check(asked)
    channels = Channels()
    with TemporaryDirectory() as scratch, engine(memory=MEMORY, spill=Path(scratch)) as connection:
        with console.err().status(f"reading {file}"):
            paths = PathFile(connection, file, encoding, Path(scratch))
        with console.progress("paths that differ", paths.paths) as bar:

            def parts() -> Iterator[Paths]:
                for part in paths.parts(channels):
                    yield part
                    bar.advance(bar.task_ids[0], len(part.lengths))

            names = frozenset(name.strip().casefold() for name in direct.split(","))
            found = known.attribute(parts(), channels.names, asked, names)
    credit = {
        model: {
            channel: {"conversions": won, "value": value}
            for channel, won, value in zip(
                shares,
                known.written([share.conversions for share in shares.values()], paths.per_conversion),
                known.written([share.value for share in shares.values()], paths.per_value), strict=True,
            )
        }
        for model, shares in found.models.items()
    }
    totals = {
        "conversions": known.plain(Decimal(found.conversions) / paths.per_conversion),
        "value": known.plain(Decimal(found.value) / paths.per_value),
        "null": known.plain(Decimal(found.nulls) / paths.per_conversion), "rows": Decimal(paths.rows),
        "paths": Decimal(paths.paths),
    }
    if shown is Format.JSON:
        content = {"models": credit, "removal_effects": found.removal, "totals": totals}
        print(msgspec.json.Encoder(decimal_format="number").encode(content).decode())
    elif shown is Format.CSV:
        writer = csv.writer(sys.stdout, lineterminator="\n")
        writer.writerow(("model", "channel", "conversions", "value", "removal_effect"))
        for model, shares in credit.items():
            lost = found.removal.get(model, {})
            writer.writerows(
                (model, channel, f"{share['conversions']:f}", f"{share['value']:f}", lost.get(channel, ""))
                for channel, share in shares.items()
            )
    else:
        _tables(credit, found.removal, totals)


def _tables(
    credit: Mapping[str, Mapping[str, Mapping[str, Decimal]]], removal: Mapping[str, Mapping[str, float]],
    totals: Mapping[str, Decimal],
) -> None:
    """Conversions, value and removal effects, a table each, a column a model; places of a channel stand apart."""
    # The places of a channel have rows of their own.
    for group in (set(credit) - {BY_PLACE}, set(credit) & {BY_PLACE}):
        for what in ("conversions", "value") if group else ():
            _beside(what, {
                model: {**{channel: _short(share[what]) for channel, share in credit[model].items()},
                        "total": _short(totals[what])}
                for model in credit if model in group
            })
    if removal:
        _beside("removal effects", {
            model: {channel: f"{effect:.4f}" for channel, effect in effects.items()}
            for model, effects in removal.items()
        })
    console.out().print(
        f"{totals['rows']:,} rows, {totals['paths']:,} different paths, {totals['null']:,} without a conversion"
    )


def _beside(what: str, columns: Mapping[str, Mapping[str, str]]) -> None:
    """Columns of figures side by side, in as many tables as the width asks for: a figure is never cut off."""
    rows = list(next(iter(columns.values())))
    first = max(map(len, rows)) + BORDERS
    fitting: list[list[str]] = [[]]
    room = console.out().width - first
    for name, column in columns.items():
        wide = max(map(len, (name, *column.values()))) + BORDERS
        if room < wide and fitting[-1]:
            fitting.append([])
            room = console.out().width - first
        fitting[-1].append(name)
        room -= wide
    for names in fitting:
        console.table(what, ("channel", *names), [[row, *(columns[name][row] for name in names)] for row in rows])


def _short(number: Decimal) -> str:
    return f"{number:,.2f}"
