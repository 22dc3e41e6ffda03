"""A compacted day has the columns that are written down, and loses nothing that a question reads."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import duckdb
import pytest

from closedloop.lake import columns, layout
from tests.unit.test_report_rows import a_form, a_move, a_page, write


@pytest.mark.parametrize("prefix", [layout.EVENTS, layout.DECISIONS])
def test_a_compacted_day_has_the_columns_written_down_in_their_order(tmp_path: Path, prefix: str) -> None:
    folder = write(tmp_path, [a_page("e1", "b1"), a_form("e2", "b1", "ada")], [a_move("t1", "ada", "", "research")])
    wanted = [(column.name, column.type) for column in columns.COLUMNS[prefix]]
    for lines in ([str(file) for file in (folder / prefix).glob("**/*.gz")], []):
        part = tmp_path / "part.parquet"
        with duckdb.connect() as connection:
            connection.execute(f"COPY ({columns.day(prefix, lines)}) TO '{part}' (FORMAT parquet)")
            told: Any = connection.execute(f"DESCRIBE SELECT * FROM read_parquet('{part}')").fetchall()
        assert [(name, kind) for name, kind, *_ in told] == wanted
    assert {kind for _, kind in wanted} <= columns.TYPES.keys()
