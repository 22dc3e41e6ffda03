"""Writes the lake's questions in Athena's words: `python -m infra.athena_sql`, after a question was changed.

The files in `lake/sql/athena/` are made of those in `lake/sql/`; a test holds them against each other. So the functions
carry no transpiler. A table that a question reads stands there as `$name`, for whoever asks to say where it lies.
"""

from __future__ import annotations

from pathlib import Path

import sqlglot
from sqlglot import exp

ROOT = Path(__file__).resolve().parent.parent
QUESTIONS = ROOT / "layers/closedloop/python/closedloop/lake/sql"
WRITTEN = QUESTIONS / "athena"
OURS, ATHENA = "duckdb", "athena"


def in_athena(question: str) -> str:
    """A question as Athena is asked it; a name of the question's own WITH stays as it is."""
    tree = sqlglot.parse_one(question, read=OURS)
    made = {cte.alias for cte in tree.find_all(exp.CTE)}
    for table in list(tree.find_all(exp.Table)):
        if table.name not in made:
            place = exp.Table(this=exp.Identifier(this=f"${table.name}", quoted=False))
            table.replace(exp.alias_(place, table.alias or table.name, table=True))
    told = tree.sql(dialect=ATHENA, pretty=True, comments=False, unsupported_level=sqlglot.ErrorLevel.RAISE)
    return f"{told}\n"


def main() -> None:
    """Write every question anew, and take away those that are asked no more."""
    WRITTEN.mkdir(exist_ok=True)
    asked = sorted(QUESTIONS.glob("*.sql"))
    for file in asked:
        (WRITTEN / file.name).write_text(in_athena(file.read_text(encoding="utf-8")), encoding="utf-8")
    for left in {file.name for file in WRITTEN.glob("*.sql")} - {file.name for file in asked}:
        (WRITTEN / left).unlink()


if __name__ == "__main__":
    main()
