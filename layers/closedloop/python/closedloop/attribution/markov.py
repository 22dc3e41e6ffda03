"""The Markov model: what would be lost if a channel were not there.

Source: E. Anderl, I. Becker, F. von Wangenheim, J. H. Schumann, Mapping the customer journey: Lessons learned from
graph-based online attribution modeling, 2016; absorbing chains: J. G. Kemeny, J. L. Snell, Finite Markov Chains, 1960,
chapter 3. States and steps are those of the R package ChannelAttribution, which walks the chain at random; here the
chain is solved, so that nothing depends on chance.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from closedloop.attribution.paths import Ints, Paths, Tally, packed
from closedloop.errors import Refused

# Up to so many states the chain is solved by one dense inverse (0.2 GB), beyond by following it step by step.
DENSE_STATES = 3000
STEPS = 100_000

Floats = NDArray[np.float64]


class TooLong(Refused):
    """The chain's walks hardly ever end; a lower order or other paths can be solved."""


@dataclass(frozen=True, slots=True)
class Removal:
    """Which share of the conversions, and of their value, is lost without each channel.

    Shapes: one entry a channel, by its number.
    Units: shares, 0 to 1; all 0 where there is nothing to lose.
    """

    conversions: Floats
    values: Floats


class Steps:
    """The steps from state to state on all paths, added up part by part.

    Shapes: a state is the last `order` touchpoints, or the whole path where it is shorter; a step that does not leave
    its state is none. Each path counts as often as it led to a deal or to none.
    Source: analytics reference 2.3, 2.7.
    """

    def __init__(self, order: int) -> None:
        self.order = order
        self._starts = Tally(order, 1)
        self._steps = Tally(order + 1, 1)
        self._ends = Tally(order, 3)

    def add(self, paths: Paths) -> None:
        """Count more paths.

        Errors: TooWide.
        """
        walked = paths.conversions + paths.nulls
        count, order = np.flatnonzero(walked), self.order
        starts, lengths = paths.starts[count], paths.lengths[count]
        offsets = np.maximum(lengths - order, 0)

        def state(begins: Ints) -> list[Ints]:
            # 0 says that there is no touchpoint: the path is shorter than a state.
            return [
                np.where(i < lengths, paths.touches[begins + np.minimum(i, lengths - 1)] + 1, 0) for i in range(order)
            ]

        self._starts.add(state(starts), [walked[count]])
        self._ends.add(state(starts + offsets), [
            column[count] for column in (paths.conversions, paths.nulls, paths.values)
        ])
        into = np.flatnonzero((paths.places >= order) & (walked > 0)[paths.path_of])
        grams = [paths.touches[into - order + i] + 1 for i in range(order + 1)]
        moves = np.zeros(len(into), np.bool_)
        for column in grams[1:]:
            moves |= column != grams[0]
        self._steps.add([column[moves] for column in grams], [walked[paths.path_of[into[moves]]]])

    def chain(self, ranks: Ints) -> Chain:
        """The chain with the probabilities that were counted.

        Shapes: `ranks` has the number that each channel is given here, so that equal paths are solved in equal order,
        to the last bit, in whichever order their channels were met.
        """
        steps = self._steps.columns
        places = [self._starts.columns, self._ends.columns, steps[:-1], steps[1:]]
        named = np.concatenate([[0], ranks + 1])
        each = [named[np.concatenate(columns)] for columns in zip(*places, strict=True)]
        keys, widths = packed(each)
        states, numbers = np.unique(keys, return_inverse=True)
        start, end, source, target = np.split(numbers, np.cumsum([len(columns[0]) for columns in places])[:-1])
        size = len(states)
        (begun,), (moved,), (won, lost, value) = self._starts.sums, self._steps.sums, self._ends.sums
        order = np.lexsort((target, source))
        source, target, moved = source[order], target[order], moved[order]
        leaving = np.bincount(source, moved, size) + np.bincount(end, won + lost, size)
        return Chain(
            states=np.stack(np.unravel_index(states, widths), axis=1),
            start=np.bincount(start, begun, size) / max(1, begun.sum()), source=source, target=target,
            chance=moved / leaving[source], conversion=np.bincount(end, won, size) / leaving,
            value=np.bincount(end, value, size) / leaving,
        )


@dataclass(frozen=True, slots=True)
class Chain:
    """An absorbing chain: where walks start, how they go on, and what they end in.

    Shapes: `states` has a row of channel numbers, plus 1, a state, 0 where there is none; `start`, `conversion` and
    `value` have an entry a state; `source`, `target` and `chance` one a step between two states.
    Units: probabilities; `value` is what a visit brings on leaving, on average.
    """

    states: Ints
    start: Floats
    source: Ints
    target: Ints
    chance: Floats
    conversion: Floats
    value: Floats

    def removal(self, channels: int, dense_states: int = DENSE_STATES) -> Removal:
        """What is lost where every arrival in a state with the channel ends in nothing.

        Errors: TooLong.
        Source: analytics reference 2.3.
        """
        rewards = np.stack([self.conversion, self.value], axis=1)
        effects = np.zeros((channels, 2))
        with_channel = [np.flatnonzero((self.states == channel + 1).any(axis=1)) for channel in range(channels)]
        if len(self.states) <= dense_states:
            lost, whole = self._solved(rewards, with_channel)
        else:
            lost, whole = self._followed(rewards, with_channel)
        np.divide(lost, whole, out=effects, where=whole > 0)
        np.clip(effects, 0, 1, out=effects)
        return Removal(effects[:, 0], effects[:, 1])

    def _solved(self, rewards: Floats, with_channel: Sequence[Ints]) -> tuple[Floats, Floats]:
        """By the fundamental matrix: where walks first meet the channel, times what they would have brought."""
        stay = np.eye(len(self.states))
        stay[self.source, self.target] -= self.chance
        fundamental = np.linalg.inv(stay)
        visits, ahead = self.start @ fundamental, fundamental @ rewards
        lost = np.zeros((len(with_channel), 2))
        for channel, states in enumerate(with_channel):
            if len(states):
                hit = np.linalg.solve(fundamental[np.ix_(states, states)].T, visits[states])
                lost[channel] = hit @ ahead[states]
        return lost, self.start @ ahead

    def _followed(self, rewards: Floats, with_channel: Sequence[Ints]) -> tuple[Floats, Floats]:
        """By following all walks until nothing more comes of them, with every channel and without each."""
        whole = self._brought(rewards, np.empty(0, np.int64))
        lost = [whole - self._brought(rewards, states) for states in with_channel]
        return np.reshape(lost, (len(lost), 2)), whole

    def _brought(self, rewards: Floats, without: Ints) -> Floats:
        left = np.ones(len(self.states), np.bool_)
        left[without] = False
        some = left[self.source] & left[self.target]
        source, target, chance = self.source[some], self.target[some], self.chance[some]
        walking, brought = np.where(left, self.start, 0.0), np.zeros(2)
        for _ in range(STEPS):
            brought = brought + walking @ rewards
            walking = np.bincount(target, chance * walking[source], len(walking))
            # What still walks can bring no more than its share of the greatest reward.
            if walking.sum() <= 1e-17:
                return brought
        raise TooLong("the paths go round in circles for too long to be followed; ask for a lower order")
