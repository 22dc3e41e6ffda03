"""Makes one Parquet file of each day that was delivered, and tells readers whether it still says what was delivered.

A day's file carries, in metadata that S3 replaces together with it, of what it was made: the names and contents of
all objects of that day. Whoever finds other objects there reads the objects themselves, so a day that was delivered
late, or out of which a person was taken, is never read from a file that does not know it. One object replaces another
at once: a reader sees the old file or the new one, and a day that was cut off is made again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from tempfile import TemporaryDirectory

from closedloop.lake import columns, layout
from closedloop.lake.files import AT_ONCE, Files
from closedloop.lake.queries import engine

MEMORY = "900MB"
MADE_FROM = "made-from"
FOLDERS = (layout.EVENTS, layout.DECISIONS)
Progress = Callable[[str, int, int], None]


def untold(what: str, done: int, of: int) -> None:
    """Tells nobody how far it is."""


@dataclass(frozen=True, slots=True)
class Day:
    """One day of a folder as it was delivered: the objects it lies in, and what their contents are known by."""

    folder: str
    day: date
    keys: tuple[str, ...]
    made_from: str

    @property
    def file(self) -> str:
        """The name of the day's compacted file."""
        return layout.compacted(self.folder, self.day)


def day_of(files: Files, folder: str, day: date) -> Day:
    """A day as it lies there now; other columns make another file of the same objects."""
    found = list(files.stamps(layout.of_day(folder, day)))
    told = repr((columns.COLUMNS[folder], found))
    return Day(folder, day, tuple(key for key, _ in found), hashlib.sha256(told.encode()).hexdigest())


def days_of(files: Files, folder: str) -> list[date]:
    """Every day of which something was delivered, oldest first."""
    return sorted(layout.day_of(name) for name in files.folders(folder))


def stale(files: Files, days: Iterable[tuple[str, date]]) -> Iterator[Day]:
    """The days among these whose file is missing, or was made of other objects than lie there now."""
    made = set(files.keys(layout.COMPACTED))
    for folder, day in days:
        found = day_of(files, folder, day)
        if found.file not in made or files.metadata(found.file).get(MADE_FROM) != found.made_from:
            yield found


def closed(files: Files, before: date) -> list[tuple[str, date]]:
    """Every day of events and decisions that was over before a day began."""
    return [(folder, day) for folder in FOLDERS for day in days_of(files, folder) if day < before]


def compact(files: Files, day: Day, *, memory: str = MEMORY) -> Day:
    """Write a day's file, of what lies there when it is written; the same objects give the same bytes."""
    while True:
        with TemporaryDirectory() as name:
            folder = Path(name)
            files.copy(day.keys, folder)
            target = folder / "part.parquet"
            write_day(day.folder, [folder / key for key in day.keys], target, memory=memory)
            now = day_of(files, day.folder, day.day)
            if now == day:
                files.put_file(day.file, target, {MADE_FROM: day.made_from})
                return day
        # Something was delivered, or somebody taken out, meanwhile.
        day = now


def write_day(prefix: str, lines: Iterable[Path], target: Path, *, memory: str = MEMORY) -> None:
    """Make one day's Parquet file of files of lines; what spills lies beside it meanwhile."""
    named = sorted(map(str, lines))
    with engine(memory=memory, spill=target.parent / "spill") as connection:
        connection.execute(
            f"COPY ({columns.day(prefix, named)}) TO {columns.quoted(str(target))} "
            "(FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880)"
        )


def renew(files: Files, progress: Progress = untold) -> None:
    """Make every compacted day anew that was changed since, and leave nothing of what it said before.

    Shapes: for an erasure, when the objects as delivered name the person no more; twice is as once.
    """
    made = [
        (folder, layout.day_of(key.rpartition("/")[0])) for folder in FOLDERS
        for key in files.keys(layout.COMPACTED + folder)
    ]
    for number, day in enumerate(stale(files, made), 1):
        compact(files, day)
        progress(layout.COMPACTED, number, len(made))
    for key, version in list(files.former(layout.COMPACTED)):
        files.remove_former(key, version)


def fetch(files: Files, into: Path) -> None:
    """Copy what a report reads to a folder: each day's file where it says what was delivered, else the objects."""
    made = set(files.keys(layout.COMPACTED))

    def take(day: Day) -> Sequence[str]:
        current = day.file in made and files.copy_if(day.file, into, MADE_FROM, day.made_from)
        return () if current else day.keys

    found = [day_of(files, folder, day) for folder in FOLDERS for day in days_of(files, folder)]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        left = [key for keys in pool.map(take, found) for key in keys]
    files.copy([*left, *files.keys(layout.FAILED)], into)
