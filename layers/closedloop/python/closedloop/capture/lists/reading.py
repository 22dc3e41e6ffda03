"""Reads a CSV file row by row: encodings strictly, and what is broken costs its own row alone.

Source: RFC 4180; Microsoft code page 932, whose second bytes are never a quote or the end of a line.
"""

from __future__ import annotations

import csv
import io
import re
from collections import deque
from collections.abc import Collection, Iterator
from dataclasses import dataclass

from closedloop.capture.form_fields import readable
from closedloop.capture.lists.mapping import Mapping
from closedloop.errors import BadShape, TooLarge
from closedloop.sites.words import did_you_mean, listed

MOST_BYTES = 64_000_000
# A row in quotes may go over lines; one that goes on for longer has a quote that was never closed.
MOST_LINES = 100
SEPARATORS = {"comma": ",", "semicolon": ";", "tab": "\t"}
BOM = b"\xef\xbb\xbf"
JAPANESE = re.compile("[\u3040-\u30ff\u4e00-\u9fff]")
Line = tuple[int, str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One row as it stands in the file; `line` is the first of its lines, counted from 1."""

    line: int
    cells: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Reject:
    """A row that is not imported, or one cell of it: where it stands and why, without what it says."""

    line: int
    column: str
    reason: str


class CsvFile:
    """A file as its mapping reads it.

    Shapes: `header` are the columns that are read, by their place; `encoding` and `separator` are those found.
    Errors: BadShape when the file as a whole cannot be read so; TooLarge.
    """

    def __init__(self, content: bytes, mapping: Mapping) -> None:
        if len(content) > MOST_BYTES:
            raise TooLarge(f"the file is over {MOST_BYTES // 1_000_000} MB; split it")
        if content[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise BadShape("the file is UTF-16; save it as CSV UTF-8")
        self._content = content if b"\n" in content else content.replace(b"\r", b"\n")
        self.encoding = self._encoding(mapping.encoding)
        self._skip = mapping.skip_lines
        stated = SEPARATORS.get(mapping.separator)
        tried = {one: self._header(one) for one in ([stated] if stated else SEPARATORS.values())}
        wanted = {name: readable(name) for name in sorted(mapping.headers)}
        self.separator = max(tried, key=lambda one: len(set(wanted.values()) & set(tried[one])))
        names = tried[self.separator]
        _check_header(names, wanted.values())
        self.header = {name: names.index(shown) for name, shown in wanted.items()}

    def rows(self) -> Iterator[Row | Reject]:
        """Every row below the header, and what is wrong with those that are none."""
        found = self._records(self.separator)
        next(found)
        for one in found:
            if isinstance(one, Reject) or any(one.cells):
                yield one

    def _encoding(self, stated: str) -> str:
        if self._content.startswith(BOM):
            return "utf-8"
        if stated != "auto":
            return stated
        try:
            self._content.decode("utf-8")
        except UnicodeDecodeError:
            pass
        else:
            return "utf-8"
        # Mixed files happen; what most lines are is what the file is, and the other lines are refused.
        told = [line for line in io.BytesIO(self._content) if not line.isascii()]
        return "utf-8" if sum(_decodes(line, "utf-8") for line in told) * 2 > len(told) else "cp932"

    def _lines(self) -> Iterator[Line]:
        """The lines with their numbers, and what is wrong with those that cannot be read."""
        for number, raw in enumerate(io.BytesIO(self._content.removeprefix(BOM)), 1):
            wrong = ""
            try:
                text = raw.decode(self.encoding)
            except UnicodeDecodeError:
                text = raw.decode(self.encoding, "replace")
                wrong = f"the row is not written in {self.encoding}, as the file is"
            else:
                if not raw.isascii() and self.encoding == "cp932" and _is_japanese_utf8(raw):
                    wrong = "the row is written in utf-8, the file in cp932"
            if "\x00" in text:
                wrong = "the row holds a sign that text cannot hold"
            if number > self._skip:
                yield number, text, wrong

    def _records(self, separator: str) -> Iterator[Row | Reject]:
        """Rows of any width. A row that is broken costs its first line, and the next line begins a new one."""
        lines, again, width = self._lines(), deque[Line](), 0
        while True:
            taken: list[Line] = []

            def feed(taken: list[Line] = taken) -> Iterator[str]:
                while len(taken) < MOST_LINES:
                    line = again.popleft() if again else next(lines, None)
                    if line is None:
                        return
                    taken.append(line)
                    yield line[1]

            try:
                cells = next(csv.reader(feed(), delimiter=separator, strict=True))
            except StopIteration:
                return
            except csv.Error as error:
                again.extendleft(reversed(taken[1:]))
                yield Reject(taken[0][0], "", _broken(str(error)))
                continue
            wrong = next((wrong for _, _, wrong in taken if wrong), "")
            width = width or len(cells)
            if cells and (wrong or len(cells) != width):
                again.extendleft(reversed(taken[1:]))
                yield Reject(taken[0][0], "", wrong or f"expected {width} cells, found {len(cells)}")
                continue
            if cells:
                yield Row(taken[0][0], tuple(cells))

    def _header(self, separator: str) -> list[str]:
        first = next(self._records(separator), None)
        if isinstance(first, Reject):
            raise BadShape(f"line {first.line}: the header cannot be read: {first.reason}")
        return [readable(name) for name in first.cells] if first else []


def _check_header(names: list[str], wanted: Collection[str]) -> None:
    if not names:
        raise BadShape("the file is empty; expected a line with the names of the columns")
    missing = [name for name in sorted(wanted) if name not in names]
    if missing:
        hints = "".join(did_you_mean(name, names) for name in missing[:1])
        raise BadShape(f"the header has no column {listed(missing, 'and')}{hints}; it has {listed(names[:40], 'and')}")
    doubled = sorted({name for name in wanted if names.count(name) > 1})
    if doubled:
        raise BadShape(f"the header names {listed(doubled, 'and')} twice, so nobody can tell which is meant")


def _decodes(raw: bytes, encoding: str) -> bool:
    try:
        raw.decode(encoding)
    except UnicodeDecodeError:
        return False
    return True


def _is_japanese_utf8(raw: bytes) -> bool:
    """Whether a line that reads as code page 932 is in truth UTF-8: it reads as that too, and then as Japanese."""
    return _decodes(raw, "utf-8") and JAPANESE.search(raw.decode("utf-8")) is not None


def _broken(said: str) -> str:
    if "field larger" in said:
        return f"a cell has over {csv.field_size_limit():,} characters"
    return "a quote opens here that never closes, or closes inside a cell"
