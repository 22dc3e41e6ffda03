"""Holds a day of the lake against the ledger, and its compacted file against what was delivered."""

from __future__ import annotations

from collections.abc import Set
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from closedloop.lake import columns, layout
from closedloop.lake.compact import MADE_FROM, MEMORY, Day
from closedloop.lake.files import Files
from closedloop.lake.queries import engine

NONE: Set[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Checked:
    """How one day stands.

    Shapes: `missing` are ids that the ledger has and the lake lacks, `more` the reverse; `compacted` is yes, no, where
    its objects are read instead, or differs, where its file says other than the objects that it was made of.
    """

    day: Day
    lines: int
    ids: int
    missing: int
    more: int
    compacted: str


def check_day(files: Files, day: Day, ledger: Set[str] = NONE, *, memory: str = MEMORY) -> Checked:
    """Count a day's distinct ids against the ledger's, and read its compacted file row by row."""
    with TemporaryDirectory() as name, engine(memory=memory, spill=Path(name, "spill")) as connection:
        folder = Path(name)
        files.copy(day.keys, folder)
        lines = [str(folder / key) for key in day.keys]
        made = day.file in files.keys(day.file) and files.copy_if(day.file, folder, MADE_FROM, day.made_from)
        connection.execute(f"CREATE VIEW delivered AS {columns.day(day.folder, lines)}")
        ids = {id_ for (id_,) in connection.execute("SELECT DISTINCT id FROM delivered").fetchall()}
        count = connection.execute("SELECT coalesce(sum(copies), 0) FROM delivered").fetchall()[0][0]
        compacted = "no"
        if made:
            there = f"read_parquet({columns.quoted(str(folder / day.file))}, hive_partitioning = false)"
            ((apart,),) = connection.execute(
                f"SELECT (SELECT count(*) FROM (FROM delivered EXCEPT ALL FROM {there})) "  # noqa: S608  quoted above
                f"+ (SELECT count(*) FROM (FROM {there} EXCEPT ALL FROM delivered))"
            ).fetchall()
            compacted = "differs" if apart else "yes"
    known = ledger if day.folder == layout.EVENTS else ids
    return Checked(day, int(count), len(ids), len(known - ids), len(ids - known), compacted)
