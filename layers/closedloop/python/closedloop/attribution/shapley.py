"""Shapley values: what a channel adds to others, averaged over all orders in which they can come together.

They are an accounting rule: paths that led to nothing take no part, so no effect is shown.
Source: L. S. Shapley, A Value for n-Person Games, 1953; K. Zhao, S. H. Mahboobi, S. R. Bagheri, Shapley Value Methods
for Attribution Modeling in Online Advertising, 2018.
"""

from __future__ import annotations

import numpy as np

from closedloop.attribution.paths import Ints, Paths, Tally


class Sets:
    """What was won on paths with each number of different channels, by channel.

    Shapes: keys are the number of different channels on the path and the channel.
    """

    def __init__(self) -> None:
        self.tally = Tally(2, 2)

    def add(self, paths: Paths) -> None:
        """Count more paths.

        Errors: TooWide.
        """
        keys, width = _keys(paths)
        keys.sort()
        path, channel = np.divmod(keys[np.flatnonzero(np.diff(keys, prepend=-1))], width)
        size = np.bincount(path, minlength=len(paths.lengths))
        self.tally.add([size[path], channel], [paths.conversions[path], paths.values[path]])


class OrderedSets:
    """The same by the channel's place among the different channels of the path, counted from 1.

    Shapes: keys are the number of different channels on the path, the channel, and its place.
    """

    def __init__(self) -> None:
        self.tally = Tally(3, 2)

    def add(self, paths: Paths) -> None:
        """Count more paths.

        Errors: TooWide.
        """
        keys, width = _keys(paths)
        _, met = np.unique(keys, return_index=True)
        path, channel = np.divmod(keys[np.sort(met)], width)
        size = np.bincount(path, minlength=len(paths.lengths))
        place = np.arange(len(path)) - (np.cumsum(size) - size)[path] + 1
        self.tally.add([size[path], channel, place], [paths.conversions[path], paths.values[path]])


def _keys(paths: Paths) -> tuple[Ints, int]:
    """Path and channel of each touchpoint as one number, and how many channels there can be."""
    width = int(paths.touches.max(initial=0)) + 1
    return paths.path_of * width + paths.touches, width
