"""closedloop attribute: what it reads, what it writes, and how it says what is wrong with a file."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any

import duckdb
import pytest

from closedloop.attribution.paths import Channels
from closedloop.cli.main import main
from closedloop.lake.path_files import PathFile
from closedloop.lake.queries import engine

HEADER = "path,total_conversions,total_conversion_value,total_null\n"
ROWS = "A > B,1,100,0\nA,0,0,1\nB,1,50,0\nB,0,0,1\n"
EVERY = "first,last,last_non_direct,linear,position,markov,markov2,markov3,shapley,shapley_ordered"
Ran = tuple[int, str, str]
Run = Callable[..., Ran]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """The command on a file with this content."""

    def attribute(content: str | bytes, *words: str) -> Ran:
        file = tmp_path / "paths.csv"
        file.write_bytes(content if isinstance(content, bytes) else content.encode())
        status = 0
        try:
            main(["attribute", str(file), *words])
        except SystemExit as end:
            status = int(end.code or 0)
        said = capsys.readouterr()
        return status, said.out, said.err.replace(str(file), "FILE")

    return attribute


def told(run: Run, content: str | bytes, *words: str) -> Any:
    status, out, err = run(content, *words, "--format", "json")
    assert status == 0, err
    return json.loads(out, parse_float=Decimal)


def test_json_has_models_removal_effects_and_totals_and_every_number_sums(run: Run) -> None:
    found = told(run, HEADER + ROWS, "--models", EVERY)
    assert list(found) == ["models", "removal_effects", "totals"]
    assert list(found["models"]) == EVERY.split(",")
    assert found["totals"] == {"conversions": 2, "value": 150, "null": 2, "rows": 4, "paths": 3}
    assert list(found["removal_effects"]) == ["markov", "markov2", "markov3"]
    assert found["models"]["linear"] == {
        "A": {"conversions": Decimal("0.5"), "value": 50}, "B": {"conversions": Decimal("1.5"), "value": 100}
    }
    for channels in found["models"].values():
        assert sum(share["conversions"] for share in channels.values()) == 2
        assert sum(share["value"] for share in channels.values()) == 150


def test_cents_stay_cents_and_thirds_are_cut_so_that_they_sum(run: Run) -> None:
    found = told(run, HEADER + "A,1,0.1,0\nA,1,0.20,0\nA > B > C,1,100.07,2\n", "--models", "first,linear")
    assert found["totals"]["value"] == Decimal("100.37")
    assert found["models"]["first"]["A"]["value"] == Decimal("100.37")
    assert [share["value"] for share in found["models"]["linear"].values()] == [
        Decimal("33.656666666666667"), Decimal("33.356666666666667"), Decimal("33.356666666666666")
    ]


def test_csv_has_a_row_for_each_model_and_channel(run: Run) -> None:
    status, out, _ = run(HEADER + ROWS, "--models", "last,markov", "--format", "csv")
    rows = list(csv.DictReader(out.splitlines()))
    assert status == 0
    assert [(row["model"], row["channel"], row["conversions"], row["value"]) for row in rows[:2]] == [
        ("last", "A", "0", "0"), ("last", "B", "2", "150")
    ]
    assert [float(row["removal_effect"]) for row in rows[2:]] == pytest.approx([1 / 3, 1])


def test_tables_are_as_many_as_fit_and_no_figure_is_cut(run: Run) -> None:
    rows = "".join(f"A channel with a long name {i},1,123456789.12,1\n" for i in range(3))
    status, out, _ = run(HEADER + rows, "--models", EVERY)
    assert status == 0
    assert "…" not in out
    assert out.count("370,370,367.36") == len(EVERY.split(","))
    assert "3 rows, 3 different paths, 3 without a conversion" in out


@pytest.mark.parametrize(
    "content",
    [
        HEADER + ROWS,
        "\ufeff" + HEADER + ROWS,
        (HEADER + ROWS).replace("\n", "\r\n"),
        HEADER.replace("\n", "\r\n") + ROWS,
        (HEADER + ROWS).replace(",", ";"),
        HEADER + ROWS.rstrip("\n"),
        HEADER + "\n" + ROWS + "\n\n",
        HEADER + ROWS.replace("A > B", "A>B").replace("\nB,", "\n B ,"),
        HEADER + ROWS.replace("100", "1e2").replace(",50,", ",50.000,"),
        "note,total_null,path,total_conversion_value,total_conversions\n"
        'x,0,A > B,100,1\n"y, ""z""",1,A,0,0\n,0,B,50,1\n,1,B,0,0\n',
        HEADER + "B,0,0,1\nB,1,50,0\nA,0,0,1\nA > B,1,100,0\n",
    ],
    ids=[
        "plain", "byte order mark", "Windows' line ends", "mixed line ends", "semicolons", "no end of line at the end",
        "blank lines", "blanks", "other ways to write a number", "other columns, in another order, quoted",
        "other order of rows",
    ],
)
def test_what_means_the_same_is_read_the_same(run: Run, content: str) -> None:
    assert told(run, content, "--models", EVERY) == told(run, HEADER + ROWS, "--models", EVERY)


def test_after_semicolons_a_number_may_have_a_decimal_comma(run: Run) -> None:
    found = told(run, (HEADER + "A;1;12,5;0\nB;1;0.25;0\n").replace(",total", ";total"), "--models", "last")
    assert found["totals"]["value"] == Decimal("12.75")


def test_a_file_of_a_japanese_spreadsheet_is_read_when_its_encoding_is_named(run: Run) -> None:
    content = (HEADER + "検索 > メール,1,1000,0\n").encode("cp932")
    status, _, err = run(content)
    assert (status, "FILE:2: this is not utf-8" in err, "--encoding cp932" in err) == (2, True, True)
    assert list(told(run, content, "--encoding", "cp932")["models"]["first"]) == ["メール", "検索"]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "FILE:1: expected the columns path, total_conversions, total_conversion_value, total_null"),
        (HEADER, "FILE: expected rows below the header; there is none"),
        ("path,total_conversions,total_null\nA,1,0\n", "FILE:1: expected the columns"),
        ("path,total_conversions,total_null\nA,1,0\n", "total_conversion_value is missing"),
        ("path," + HEADER + "A,A,1,2,3\n", "path stands there more than once"),
        (HEADER + "A,1,2,0\nA,-1,0,1\n", "FILE:3: total_conversions is '-1'; expected a number of 0 or more"),
        (HEADER + "A,1,2,0\nA,1,-0.5,1\nB,1,0,-2\n", "FILE:4: total_null is '-2'"),
        (HEADER + "A,1,2,0\nB,3,0,-2\n", "FILE:3: total_null is '-2'"),
        (HEADER + "A,NaN,0,1\n", "FILE:2: total_conversions is 'NaN'"),
        (HEADER + "A,1,inf,1\n", "FILE:2: total_conversion_value is 'inf'"),
        (HEADER + "A,1,,1\n", "FILE:2: total_conversion_value is empty; expected a number"),
        (HEADER + 'A,1,"1,5",1\n', "FILE:2: total_conversion_value is '1,5'"),
        (HEADER + "A,1,1e30,1\n", "FILE:2: total_conversion_value is '1e30'; expected a number of 0 or more, and"),
        (HEADER + "A,1,2,0\n,1,0,1\n", "FILE:3: path is empty; expected channels with ` > ` between them"),
        (HEADER + 'A,1,2,0\n"  ",1,0,1\n', "FILE:3: path is empty"),
        (HEADER + "A >  > B,1,0,1\n", "FILE:2: path 'A >  > B' has a channel without a name"),
        (HEADER + "A,1,2,0\n" + HEADER + "B,1,2,0\n", "FILE:3: the header stands here again"),
        (HEADER + "A,1,2\n", "FILE:2: expected 4 cells, as in the header; found 3"),
        (HEADER + "A,1,2,0,9\n", "FILE:2: expected 4 cells, as in the header; found 5"),
        (HEADER + '"A,1,2,0\nB,1,2,0\n', "FILE:2: this row cannot be read"),
        (HEADER + "A,0,5,0\n", "FILE:2: total_conversion_value is 5; expected a conversion or a null"),
        (HEADER.encode("utf-16"), "FILE:1: this is not utf-8"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_line_and_what_was_expected(
    run: Run, content: str | bytes, said: str
) -> None:
    status, out, err = run(content)
    assert (status, out) == (2, "")
    assert said in err


def test_many_wrong_lines_are_named_at_once_but_not_all_of_them(run: Run) -> None:
    _, _, err = run(HEADER + "A,x,0,1\n" * 100)
    assert len([line for line in err.splitlines() if line.startswith("FILE:")]) == 20


def test_what_is_no_model_format_or_encoding_is_told_with_what_there_is(run: Run) -> None:
    status, _, err = run(HEADER + ROWS, "--models", "first,magic")
    assert (status, "'magic' is no model; expected some of first" in err) == (2, True)
    assert run(HEADER + ROWS, "--format", "xml")[0] == 2
    status, _, err = run(HEADER + ROWS, "--encoding", "klingon")
    assert (status, "'klingon' is no encoding" in err) == (2, True)


def test_the_channels_of_those_who_came_by_themselves_can_be_named(run: Run) -> None:
    found = told(run, HEADER + "A > Home,1,9,0\n", "--models", "last_non_direct", "--direct", "home,bookmark")
    assert found["models"]["last_non_direct"]["A"]["conversions"] == 1


def test_numbers_that_fit_no_sum_keep_as_many_digits_as_can_be_added_exactly(tmp_path: Path) -> None:
    file = tmp_path / "paths.csv"
    file.write_text(HEADER + "A,1,33.333333333333336,0\nB,1,900000000000.01,0\n")
    with duckdb.connect() as connection:
        paths = PathFile(connection, file, "utf-8", tmp_path)
        (part,) = paths.parts(Channels())
        assert sorted(part.values.tolist()) == [33_333, 900_000_000_000_010]
        assert (paths.per_value, paths.per_conversion) == (1000, 10**12)


def test_duckdb_draws_no_progress_among_the_results(tmp_path: Path) -> None:
    with engine(memory="64MB", spill=tmp_path) as connection:
        assert connection.execute("SELECT current_setting('enable_progress_bar')").fetchone() == (False,)
