"""How the commands speak: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table


def out() -> Console:
    """Where results go; without colours under NO_COLOR, or where nobody looks."""
    return Console(soft_wrap=True)


def err() -> Console:
    """Where progress and errors go."""
    return Console(stderr=True, soft_wrap=True)


def as_json(content: Any) -> None:
    """One JSON document on standard output, for other programs."""
    print(json.dumps(content, ensure_ascii=False, default=str))


def table(title: str, columns: Sequence[str], rows: Sequence[Sequence[object]]) -> None:
    """A table for people."""
    shown = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        shown.add_column(column)
    for row in rows:
        shown.add_row(*("" if cell is None else str(cell) for cell in row))
    out().print(shown)


def facts(title: str, content: Mapping[str, object]) -> None:
    """Names and values, one a line."""
    table(title, ("", ""), [(name, value) for name, value in content.items()])


@contextmanager
def progress(what: str, total: float | None) -> Iterator[Progress]:
    """A progress bar on standard error; its one task is the first."""
    bar = Progress(
        TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), console=err(),
        transient=False,
    )
    with bar:
        bar.add_task(what, total=total)
        yield bar
