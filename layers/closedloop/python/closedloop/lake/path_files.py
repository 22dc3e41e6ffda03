"""Reads a file of paths as ChannelAttribution takes it, of any size in little memory.

A row is a path, with the conversions, their value and the nulls that it led to. DuckDB reads the file and adds up equal
paths. What it cannot take, and what must not be taken, is read once more, line by line: that says where and what was
expected, or writes the rows anew in a plain form (other encodings, decimal commas, line ends of several kinds).
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path
from typing import TextIO

import duckdb
import numpy as np

from closedloop.attribution.paths import SEPARATOR, Channels, Ints, Paths, paths_of
from closedloop.errors import BadShape

COLUMNS = ("path", "total_conversions", "total_conversion_value", "total_null")
ENCODING = "utf-8"
# So many different paths are taken apart at once.
PART = 100_000
# So many problems are named.
PROBLEMS = 20
# Numbers are kept to twelve decimals, or fewer where they would not fit an array of whole numbers otherwise.
DECIMALS = 12
LARGEST = Decimal(10) ** (38 - DECIMALS - 10)

_UTF_8 = re.compile("utf[-_]?8([-_]sig)?", re.IGNORECASE)
_NUMBER = re.compile(r"\+?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Layout:
    file: Path
    encoding: str
    delimiter: str
    names: tuple[str, ...]


class PathFile:
    """The paths of one file, equal ones added up.

    Shapes: a header with the four columns, in any order and among others, separated by commas or semicolons; UTF-8,
    with or without a byte order mark, or the encoding that is named. `scratch` is a folder for what is written anew.
    Units: `rows` as they stand in the file, `paths` that differ; `per_conversion` and `per_value` units of the parts
    are one conversion or null, and one of value. Decimals beyond the twelfth are rounded, and so are those beyond the
    fifteenth digit of the greatest path.
    Errors: BadShape names file and line, and what was expected there.
    """

    def __init__(self, connection: duckdb.DuckDBPyConnection, file: Path, encoding: str, scratch: Path) -> None:
        self._connection = connection
        self._layout = _layout(file, encoding)
        self._scratch = scratch
        try:
            if not _UTF_8.fullmatch(encoding):
                raise UnicodeError(f"{encoding} has to be written anew")
            connection.execute(_sum(self._layout))
        except (duckdb.Error, UnicodeError):
            plain = _in_plain(self._layout, scratch)
            try:
                connection.execute(_sum(plain))
            except duckdb.Error as error:
                raise BadShape(f"{file}: {str(error).splitlines()[0]}") from error
        ((rows, paths, longest, counted, value, most, most_value),) = connection.execute(
            f"SELECT sum(rows), count(*), max(strlen(path) - strlen(replace(path, '{SEPARATOR}', ''))) + 1,"  # noqa: S608
            " sum(c + n), sum(v), max(c + n), max(v) FROM paths"
        ).fetchall()
        if not paths:
            raise BadShape(f"{file}: expected rows below the header; there is none")
        self.rows, self.paths = int(rows), int(paths)
        self.per_conversion = 10 ** _decimals(file, counted * longest, most)
        self.per_value = 10 ** _decimals(file, value * longest, most_value)

    def parts(self, channels: Channels) -> Iterator[Paths]:
        """The paths that differ, part by part.

        Errors: BadShape.
        """
        for begin in range(0, self.paths, PART):
            columns = self._connection.execute(
                "SELECT path, CAST(c AS DOUBLE) AS c, CAST(v AS DOUBLE) AS v, CAST(n AS DOUBLE) AS n FROM paths"
                " WHERE rowid >= ? AND rowid < ?", [begin, begin + PART],
            ).fetchnumpy()

            def whole(name: str, units: int, columns: dict[str, Ints] = columns) -> Ints:
                return np.rint(columns[name] * units).astype(np.int64)

            try:
                yield paths_of(
                    columns["path"].tolist(), whole("c", self.per_conversion), whole("v", self.per_value),
                    whole("n", self.per_conversion), channels,
                )
            except BadShape:
                # A path without a name in it: the lines know where.
                _in_plain(self._layout, self._scratch)
                raise


def _decimals(file: Path, total: Decimal, greatest: Decimal) -> int:
    """How many decimals fit: every sum in 62 bits, and every path's own in the fifty that a float keeps whole."""
    room = min(2.0**62 / float(total or 1), 2.0**50 / float(greatest or 1))
    if room < 1:
        raise BadShape(f"{file}: the numbers are too large to be added up exactly; expected less than {2**50:,} a path")
    return min(DECIMALS, int(math.log10(room)))


def _text(file: Path, encoding: str) -> TextIO:
    # What is not in the encoding comes as lone surrogates, so that its line can be named.
    encoding = "utf-8-sig" if _UTF_8.fullmatch(encoding) else encoding
    return file.open(encoding=encoding, errors="surrogateescape", newline="")


def _layout(file: Path, encoding: str) -> _Layout:
    """What the header says."""
    try:
        with _text(file, encoding) as text:
            header = text.readline()
        header.encode()
    except LookupError as error:
        raise BadShape(f"{encoding!r} is no encoding; expected one like utf-8, cp932 or utf-16") from error
    except UnicodeError as error:
        raise BadShape(f"{file}:1: {_foreign(encoding)}") from error
    read = {mark: tuple(name.strip() for name in next(csv.reader([header], delimiter=mark), ())) for mark in ",;"}
    delimiter = max(read, key=lambda mark: len(set(COLUMNS).intersection(read[mark])))
    names = read[delimiter]
    for name in COLUMNS:
        if names.count(name) != 1:
            raise BadShape(
                f"{file}:1: expected the columns {', '.join(COLUMNS)} with , or ; between them; "
                f"{name} {'is missing' if name not in names else 'stands there more than once'}"
            )
    return _Layout(file, encoding, delimiter, names)


def _foreign(encoding: str) -> str:
    return f"this is not {encoding}; expected a file saved as UTF-8, or its encoding named, as in --encoding cp932"


def _sum(layout: _Layout) -> str:
    """The question that adds up equal paths; a row that cannot be right stops it."""
    columns = ", ".join(
        f"{_quoted(f'c{i}')}: '{f'DECIMAL(38, {DECIMALS})' if name in COLUMNS[1:] else 'VARCHAR'}'"
        for i, name in enumerate(layout.names)
    )
    path, won, value, nulls = (f"c{layout.names.index(name)}" for name in COLUMNS)
    return f"""
CREATE OR REPLACE TEMP TABLE paths AS
SELECT {path} AS path, sum({won}) AS c, sum({value}) AS v, sum({nulls}) AS n, count(*) AS rows
FROM read_csv({_quoted(str(layout.file))}, delim = '{layout.delimiter}', header = true, auto_detect = false,
              quote = '"', escape = '"', columns = {{{columns}}}, compression = 'none')
WHERE CASE WHEN {won} >= 0 AND {value} >= 0 AND {nulls} >= 0 AND ({value} = 0 OR {won} + {nulls} > 0)
                AND {path} IS NOT NULL THEN true ELSE error('no row like the others') END
GROUP BY {path}
"""  # noqa: S608  names are our own, the file's is quoted


def _quoted(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _in_plain(layout: _Layout, scratch: Path) -> _Layout:
    """Write the rows anew: four columns, commas, UTF-8; blank lines are left out.

    Errors: BadShape names the lines that are wrong.
    """
    plain = _Layout(scratch / "paths.csv", ENCODING, ",", COLUMNS)
    problems: list[str] = []
    with _text(layout.file, layout.encoding) as text, plain.file.open("w", encoding=ENCODING, newline="") as target:
        writer = csv.writer(target)
        writer.writerow(COLUMNS)
        for line, row in islice(_rows(layout, text), 1, None):
            wrong = row if isinstance(row, str) else _wrong(layout, row)
            if wrong:
                problems.append(f"{layout.file}:{line}: {wrong}")
                if len(problems) == PROBLEMS:
                    break
            elif not problems:
                writer.writerow([row[0], *(_number(layout, text) for text in row[1:])])
    if problems:
        raise BadShape("\n".join(problems))
    return plain


def _rows(layout: _Layout, text: TextIO) -> Iterator[tuple[int, Sequence[str] | str]]:
    """Each row's line and its four cells, or in words why it has not got them; the header is the first."""
    reader = csv.reader(text, delimiter=layout.delimiter, strict=True)
    places = [layout.names.index(name) for name in COLUMNS]
    while True:
        line = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            return
        except (csv.Error, UnicodeError) as error:
            yield line, f"this row cannot be read: {error}"
            return
        if len(cells) == len(layout.names):
            yield line, [cells[place] for place in places]
        elif cells:
            yield line, f"expected {len(layout.names)} cells, as in the header; found {len(cells)}"


def _wrong(layout: _Layout, row: Sequence[str]) -> str:
    """What is wrong with a row, in words; empty when nothing is."""
    path, *numbers = row
    if not path.isascii() and any("\ud800" <= letter <= "\udfff" for letter in path):
        return _foreign(layout.encoding)
    if tuple(cell.strip() for cell in row) == COLUMNS:
        return "the header stands here again; expected a path and its numbers"
    if not all(name.strip() for name in path.split(SEPARATOR)):
        what = f"path {path!r} has a channel without a name" if path.strip() else "path is empty"
        return f"{what}; expected channels with ` > ` between them"
    for name, text in zip(COLUMNS[1:], numbers, strict=True):
        number = _number(layout, text)
        if not _NUMBER.fullmatch(number) or Decimal(number) >= LARGEST:
            found = repr(text) if text.strip() else "empty"
            return f"{name} is {found}; expected a number of 0 or more, and below {LARGEST:.0e}"
    won, value, nulls = (Decimal(_number(layout, text)) for text in numbers)
    if value and not won + nulls:
        return f"total_conversion_value is {value}; expected a conversion or a null that it belongs to"
    return ""


def _number(layout: _Layout, text: str) -> str:
    """A number as it is written with a decimal point; a comma cannot be one where it stands between the cells."""
    return text.strip().replace(",", ".") if layout.delimiter == ";" else text.strip()
