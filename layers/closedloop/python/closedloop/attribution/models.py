"""All models side by side over the same paths, each sharing out exactly what there is.

`first`, `last`, `linear`, `position` weigh a touchpoint by its place in the path, and `last_non_direct` by its name too
(rules.py); `markov`, `markov2`, `markov3` by what would be lost without its channel, in a chain of that order
(markov.py); `shapley`, `shapley_ordered` by what its channel adds to the others (shapley.py). Where the analytics
reference leaves something open, the meaning is that of the R package ChannelAttribution: repeats count in `linear`, a
path shorter than the order is a state of its own, and a path counts as often as it led to a conversion or to none.

Credit is a fraction without rounding, and the sum over the channels is the total, for conversions and for value; a
result that is not so is never given. For writing, `written` cuts it to decimals whose sum is still the total: shares
are rounded down, and what is missing goes to the largest remainders, the earlier name first.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from fractions import Fraction
from functools import cache
from typing import Protocol

import numpy as np

from closedloop.attribution.markov import Removal, Steps
from closedloop.attribution.paths import Paths, Tally
from closedloop.attribution.rules import BY_PLACE, DIRECT, is_direct, whole
from closedloop.attribution.shapley import OrderedSets, Sets
from closedloop.errors import BadShape, Refused

MARKOV: Mapping[str, int] = {"markov": 1, "markov2": 2, "markov3": 3}
MODELS = (*BY_PLACE, "last_non_direct", *MARKOV, "shapley", "shapley_ordered")
# Written credit has so many decimals at most.
DECIMALS = 15


class UnknownModel(Refused):
    """A model is asked for that is none of ours."""


@dataclass(frozen=True, slots=True)
class Share:
    """What a model credits a channel with."""

    conversions: Fraction
    value: Fraction


Shares = dict[str, Share]


@dataclass(frozen=True, slots=True)
class Attribution:
    """What every model says of the same paths.

    Shapes: `models` has each model's channels, all that were met, in order of name; `shapley_ordered` has a row for
    each place that a channel had among those of a path, `NAME (PLACE)`. `removal` holds the Markov models' effects.
    """

    models: Mapping[str, Shares]
    removal: Mapping[str, Mapping[str, float]]
    conversions: int
    value: int
    nulls: int


class _Count(Protocol):
    def add(self, paths: Paths) -> None: ...


class _Places:
    """What was won, by the path's length and the channel, for its first, its last and its other touchpoints."""

    def __init__(self) -> None:
        self.first, self.between, self.last = Tally(2, 2), Tally(2, 2), Tally(2, 2)

    def add(self, paths: Paths) -> None:
        ends = paths.starts + paths.lengths - 1
        many = paths.lengths > 1
        between = np.ones(len(paths.touches), np.bool_)
        between[paths.starts] = between[ends] = False
        touched = np.flatnonzero(between)
        for tally, at, path in (
            (self.first, paths.starts, np.arange(len(ends))), (self.between, touched, paths.path_of[touched]),
            (self.last, ends[many], np.flatnonzero(many)),
        ):
            tally.add([paths.lengths[path], paths.touches[at]], [paths.conversions[path], paths.values[path]])


class _LastNonDirect:
    """What was won, by the last channel that is not the direct one."""

    def __init__(self, names: Sequence[str], direct: Collection[str]) -> None:
        self._names, self._direct = names, direct
        self.tally = Tally(1, 2)

    def add(self, paths: Paths) -> None:
        led = np.array([not is_direct(name, self._direct) for name in self._names])
        place = np.where(led[paths.touches], paths.places, -1)
        best = np.maximum.reduceat(place, paths.starts)
        at = paths.starts + np.where(best < 0, paths.lengths - 1, best)
        self.tally.add([paths.touches[at]], [paths.conversions, paths.values])


def attribute(
    parts: Iterable[Paths], names: Sequence[str], models: Sequence[str], direct: Collection[str] = DIRECT
) -> Attribution:
    """Share the conversions and the value of all paths among their channels, by each model.

    Shapes: `names` are the channels' names by number and may grow while the parts come; paths in any order and cut
    into any parts give the same answer.
    Errors: UnknownModel, TooWide, TooLong; BadShape where a path has a value but was never walked.
    Source: analytics reference 2.1 to 2.4.
    """
    check(models)
    counts: dict[str, _Count] = {}
    for model in models:
        if model in BY_PLACE:
            counts.setdefault("places", _Places())
        elif model in MARKOV:
            counts[model] = Steps(MARKOV[model])
        elif model == "last_non_direct":
            counts[model] = _LastNonDirect(names, direct)
        else:
            counts[model] = Sets() if model == "shapley" else OrderedSets()
    conversions = value = nulls = 0
    for paths in parts:
        if len(paths.lengths):
            if paths.values[(paths.conversions + paths.nulls) == 0].any():
                raise BadShape("a path has a value, but neither a conversion nor a null")
            conversions += int(paths.conversions.sum())
            value += int(paths.values.sum())
            nulls += int(paths.nulls.sum())
            # Only Markov asks what led to nothing.
            won = paths.only((paths.conversions > 0) | (paths.values != 0))
            for count in counts.values():
                if isinstance(count, Steps):
                    count.add(paths)
                elif len(won.lengths):
                    count.add(won)
    result: dict[str, Shares] = {}
    removal: dict[str, dict[str, float]] = {}
    for model in models:
        count = counts["places" if model in BY_PLACE else model]
        if isinstance(count, Steps):
            ordered = _in_order(names)
            ranks = np.empty(len(names), np.int64)
            ranks[[number for _, number in ordered]] = np.arange(len(names))
            lost = count.chain(ranks).removal(len(names))
            removal[model] = {name: float(effect) for (name, _), effect in zip(ordered, lost.conversions, strict=True)}
            result[model] = _by_removal(lost, sorted(names), conversions, value)
        elif isinstance(count, _Places):
            result[model] = _by_place(count, model, names)
        elif isinstance(count, Sets):
            result[model] = _summed(((channel, Fraction(1, size), won, worth)
                                     for size, channel, won, worth in count.tally.rows()), names)
        elif isinstance(count, _LastNonDirect):
            result[model] = _summed(((channel, Fraction(1), won, worth)
                                     for channel, won, worth in count.tally.rows()), names)
        elif isinstance(count, OrderedSets):
            result[model] = _by_order(count, names)
        assert sum(share.conversions for share in result[model].values()) == conversions, model
        assert sum(share.value for share in result[model].values()) == value, model
    return Attribution(result, removal, conversions, value, nulls)


def check(models: Sequence[str]) -> None:
    """Whether all of them are models.

    Errors: UnknownModel names the first that is none.
    """
    for model in models:
        if model not in MODELS:
            raise UnknownModel(f"{model!r} is no model; expected some of {', '.join(MODELS)}")


def written(shares: Sequence[Fraction], units: int = 1, decimals: int = DECIMALS) -> list[Decimal]:
    """Shares as decimals of the same sum.

    Shapes: the sum has no more decimals than are written; of what is cut off, the largest remainders are rounded up.
    Units: `units` of a share are one of what is written.
    """
    parts = whole([share * 10**decimals / units for share in shares])
    return [plain(Decimal(part).scaleb(-decimals)) for part in parts]


def plain(number: Decimal) -> Decimal:
    """A number without needless zeros behind its point, or an exponent before it."""
    return number.quantize(Decimal(1)) if number == number.to_integral_value() else number.normalize()


def _in_order(names: Sequence[str]) -> list[tuple[str, int]]:
    return sorted((name, number) for number, name in enumerate(names))


def _summed(parts: Iterable[tuple[int, Fraction, int, int]], names: Sequence[str]) -> Shares:
    """Add up parts: the channel, its weight, and the conversions and value that are weighed."""
    conversions, values = [Fraction(0)] * len(names), [Fraction(0)] * len(names)
    for channel, weight, won, worth in parts:
        conversions[channel] += weight * won
        values[channel] += weight * worth
    return {name: Share(conversions[number], values[number]) for name, number in _in_order(names)}


def _by_place(count: _Places, model: str, names: Sequence[str]) -> Shares:
    rule = cache(BY_PLACE[model])
    return _summed((
        (channel, rule(length)[place], won, worth)
        for tally, place in ((count.first, 0), (count.between, 1), (count.last, -1))
        for length, channel, won, worth in tally.rows()
    ), names)


def _by_order(count: OrderedSets, names: Sequence[str]) -> Shares:
    rows = list(count.tally.rows())
    seats = sorted({(names[channel], channel, place) for _, channel, place, *_ in rows})
    number = {(channel, place): i for i, (_, channel, place) in enumerate(seats)}
    shares = _summed(
        ((number[channel, place], Fraction(1, size), won, worth) for size, channel, place, won, worth in rows),
        # Names in the order of the seats, so that the tenth place comes after the ninth.
        [f"{i:09}" for i in range(len(seats))],
    )
    return {f"{name} ({place})": share for (name, _, place), share in zip(seats, shares.values(), strict=True)}


def _by_removal(lost: Removal, names: Sequence[str], conversions: int, value: int) -> Shares:
    won, worth = ([Fraction(float(effect)) for effect in effects] for effects in (lost.conversions, lost.values))
    if not any(worth):
        # More was paid back than paid: there is no value to lose, and what there is goes with the conversions.
        worth = won
    all_won, all_worth = sum(won), sum(worth)
    return {
        name: Share(
            conversions * won[number] / all_won if all_won else Fraction(0),
            value * worth[number] / all_worth if all_worth else Fraction(0),
        )
        for name, number in _in_order(names)
    }


