"""How the commands speak: results on standard output, progress and errors on standard error."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
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
    # The first column names its row, often for another command: it is not cut however narrow the window is.
    longest = max((len(str(row[0])) for row in rows), default=0)
    for place, column in enumerate(columns):
        shown.add_column(column, min_width=min(longest, 40) if place == 0 else None)
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


@contextmanager
def bars() -> Iterator[Callable[[str, int, int | None], None]]:
    """A progress bar for each step of a piece of work, as it tells what it does, how far it is, and of how much.

    Shapes: of how much is None while nobody knows.
    """
    with progress("reading", None) as bar:
        tasks = {"reading": bar.task_ids[0]}

        def tell(what: str, done: int, of: int | None) -> None:
            if what not in tasks:
                bar.update(tasks["reading"], visible=False)
                tasks[what] = bar.add_task(what, total=of)
            bar.update(tasks[what], completed=done)

        yield tell
