"""Paths, many at once: the channels met on the way to a deal or to none, as arrays, and exact sums over them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from closedloop.errors import BadShape, Refused

Ints: TypeAlias = NDArray[np.int64]
SEPARATOR = ">"
NAMELESS = "a path has a channel without a name; expected names with ` > ` between them"
_END = "\n"
# Sums over so many keys are kept in an array as long as the keys are wide; beyond, the keys are sorted.
DENSE = 1 << 20


class TooWide(Refused):
    """So many channels in states so long cannot be told apart; a lower order can."""


class Channels(dict[str, int]):
    """The channels' numbers, given as the names are met; blanks around a name do not count.

    Errors: BadShape for an empty name.
    """

    def __init__(self) -> None:
        super().__init__({_END: -1})
        self.names: list[str] = []

    def __missing__(self, written: str) -> int:
        name = written.strip()
        if not name:
            raise BadShape(NAMELESS)
        if name == written:
            self.names.append(name)
            self[name] = len(self.names) - 1
        else:
            self[written] = self[name]
        return self[written]


@dataclass(frozen=True)
class Paths:
    """Paths with what became of them.

    Shapes: `touches` holds the channels' numbers of all paths, end to end; the others have one entry a path, and every
    path has a touchpoint.
    Units: whole numbers all; what one of `conversions` and `nulls` stands for is the same, and up to the caller, as is
    that of `values`.
    """

    touches: Ints
    lengths: Ints
    conversions: Ints
    values: Ints
    nulls: Ints

    def only(self, some: NDArray[np.bool_]) -> Paths:
        """Some of the paths."""
        return Paths(
            self.touches[np.repeat(some, self.lengths)], self.lengths[some], self.conversions[some], self.values[some],
            self.nulls[some],
        )

    @cached_property
    def starts(self) -> Ints:
        """Where each path begins among the touchpoints."""
        return np.cumsum(self.lengths) - self.lengths

    @cached_property
    def path_of(self) -> Ints:
        """To which path each touchpoint belongs."""
        return np.repeat(np.arange(len(self.lengths)), self.lengths)

    @cached_property
    def places(self) -> Ints:
        """Each touchpoint's place in its path, from 0."""
        return np.arange(len(self.touches)) - self.starts[self.path_of]


def paths_of(
    written: Sequence[str], conversions: Ints, values: Ints, nulls: Ints, channels: Channels
) -> Paths:
    """Read paths written as names with `>` between them.

    Errors: BadShape where a name is missing.
    """
    # The end of a path stands among the names as one that no channel can have.
    names = f"{SEPARATOR}{_END}{SEPARATOR}".join((*written, "")).split(SEPARATOR)[:-1]
    numbers = np.fromiter(map(channels.__getitem__, names), np.int64, len(names))
    ends = np.flatnonzero(numbers == channels[_END])
    if len(ends) != len(written):
        raise BadShape(NAMELESS)
    return Paths(numbers[numbers != channels[_END]], np.diff(ends, prepend=-1) - 1, conversions, values, nulls)


def paths_from(rows: Iterable[tuple[Sequence[str], int, int, int]], channels: Channels) -> Paths:
    """Paths from rows of channels, conversions, value and nulls; a row without a channel is not theirs to credit."""
    some = [row for row in rows if row[0]]
    touches = np.fromiter((channels[name] for path, *_ in some for name in path), np.int64)
    lengths = np.fromiter((len(path) for path, *_ in some), np.int64, len(some))
    return Paths(touches, lengths, *np.array([row[1:] for row in some], np.int64).reshape(-1, 3).T.copy())


class Tally:
    """Exact sums of whole numbers by key, added up part by part.

    Shapes: a key is a row over `columns`, each a whole number of 0 or more; `sums` has one array a weight.
    """

    def __init__(self, columns: int, weights: int) -> None:
        self.columns: tuple[Ints, ...] = (np.empty(0, np.int64),) * columns
        self.sums: tuple[Ints, ...] = (np.empty(0, np.int64),) * weights

    def add(self, columns: Sequence[Ints], weights: Sequence[Ints]) -> None:
        """Add weights to the sums of their keys.

        Errors: TooWide.
        """
        part, sums = _grouped(columns, weights)
        self.columns, self.sums = _grouped(
            [np.concatenate(pair) for pair in zip(self.columns, part, strict=True)],
            [np.concatenate(pair) for pair in zip(self.sums, sums, strict=True)],
        )

    def rows(self) -> Iterable[tuple[int, ...]]:
        """Key and sums, row by row."""
        return zip(*(column.tolist() for column in (*self.columns, *self.sums)), strict=True)


def packed(columns: Sequence[Ints]) -> tuple[Ints, tuple[int, ...]]:
    """Each row of the columns as one number, and how wide the columns are; `numpy.unravel_index` takes it apart again.

    Errors: TooWide.
    """
    widths = tuple(int(column.max(initial=0)) + 1 for column in columns)
    if prod(widths) >= 1 << 63:
        raise TooWide("too many channels for states of this length; ask for a lower order")
    keys = columns[0]
    for column, width in zip(columns[1:], widths[1:], strict=True):
        keys = keys * width + column
    return keys, widths


def _grouped(columns: Sequence[Ints], weights: Sequence[Ints]) -> tuple[tuple[Ints, ...], tuple[Ints, ...]]:
    if not len(columns[0]):
        return tuple(columns), tuple(weights)
    keys, widths = packed(columns)
    span = prod(widths)
    if span <= DENSE:
        met = np.zeros(span, np.bool_)
        met[keys] = True
        found, slots, size = np.flatnonzero(met), keys, span
    else:
        found, slots = np.unique(keys, return_inverse=True)
        size = len(found)
    sums = []
    for weight in weights:
        total = np.zeros(size, np.int64)
        np.add.at(total, slots, weight)
        sums.append(total[found] if span <= DENSE else total)
    return np.unravel_index(found, widths), tuple(sums)
