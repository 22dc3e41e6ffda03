"""What the gates read of people, from the decisions of a report that was gathered."""

from __future__ import annotations

from datetime import UTC
from pathlib import Path

import duckdb

from closedloop.reports.judged import Judged, read

SQL = Path(__file__).parent / "sql"


def judged(connection: duckdb.DuckDBPyConnection) -> list[Judged]:
    """The last word of every gate about every person; the connection has gathered the report's facts."""
    asked = (SQL / "judged_points.sql").read_text(encoding="utf-8")
    return [
        Judged(gate, person, outcome, hold_kind, arm, at.replace(tzinfo=UTC), *read(detail), won)
        for gate, person, outcome, hold_kind, arm, at, detail, won in connection.execute(asked).fetchall()
    ]
