"""Every question of the lake is one that Athena understands, about columns that are there."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
import sqlglot
from sqlglot import exp
from sqlglot.optimizer.annotate_types import annotate_types
from sqlglot.optimizer.qualify import qualify

from closedloop.lake.queries import SQL, engine, gather
from infra.athena_sql import WRITTEN, in_athena
from tests.unit.test_report_rows import DAY, the_loop, the_site

QUESTIONS = {file.stem: file.read_text(encoding="utf-8") for file in sorted(SQL.glob("*.sql"))}


@pytest.fixture(scope="module")
def schema(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, str]]:
    """Every table of a report, as DuckDB has it."""
    folder = tmp_path_factory.mktemp("empty")
    with engine(memory="300MB", spill=folder) as connection:
        gather(connection, folder, the_loop(), {"demo": the_site()}, DAY + timedelta(days=1))
        told = connection.execute(
            "SELECT table_name, column_name, data_type FROM information_schema.columns ORDER BY ordinal_position"
        ).fetchall()
    tables: dict[str, dict[str, str]] = {}
    for table, column, kind in told:
        tables.setdefault(table, {})[column] = kind
    return tables


def told(question: str) -> str:
    """A question in Athena's words, with each table under its own name."""
    return re.sub(r"\$(\w+)", r"\1", in_athena(QUESTIONS[question]))


@pytest.mark.parametrize("dialect", ["athena", "trino"])
@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_is_read_in_the_words_of_athena_and_of_trino(question: str, dialect: str) -> None:
    tree = sqlglot.parse_one(told(question), read=dialect)
    assert not list(tree.find_all(exp.Command, exp.Anonymous))
    # Said once more in the same words, it is the same: nothing was dropped on the way.
    assert tree.sql(dialect, pretty=True) == told(question).strip()


@pytest.mark.parametrize("question", QUESTIONS)
def test_a_question_in_athenas_words_asks_for_columns_that_are_there_and_of_known_types(
    question: str, schema: dict[str, dict[str, str]]
) -> None:
    tree = sqlglot.parse_one(told(question), read="athena")
    typed = annotate_types(
        qualify(tree, schema=schema, dialect="athena", validate_qualify_columns=True), schema=schema, dialect="athena"
    )
    assert [one.alias_or_name for one in typed.selects if one.is_type("unknown")] == []
    assert set(re.findall(r"\$(\w+)", in_athena(QUESTIONS[question]))) <= set(schema)


def test_a_column_that_no_table_has_is_seen(schema: dict[str, dict[str, str]]) -> None:
    wrong = sqlglot.parse_one("SELECT c.persona FROM acts AS c", read="athena")
    with pytest.raises(sqlglot.errors.OptimizeError):
        qualify(wrong, schema=schema, dialect="athena")


def test_only_tables_that_a_question_does_not_make_itself_lie_elsewhere() -> None:
    asked = in_athena("WITH acts AS (SELECT id FROM told) SELECT a.id FROM acts a JOIN told ON told.id = a.id")
    assert re.findall(r"FROM \S+ AS \S+|JOIN \S+ AS \S+", asked) == [
        "FROM $told AS told", "FROM acts AS a", "JOIN $told AS told"]


def test_every_question_stands_in_athenas_words_as_it_is_asked_now() -> None:
    """If this fails: `python -m infra.athena_sql` writes them anew."""
    assert len(QUESTIONS) >= 30
    written = {file.stem: file.read_text(encoding="utf-8") for file in sorted(WRITTEN.glob("*.sql"))}
    assert written == {name: in_athena(question) for name, question in QUESTIONS.items()}
