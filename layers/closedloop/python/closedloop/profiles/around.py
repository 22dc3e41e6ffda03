"""What gates may ask of a person that no profile says: where they have stood since when, and by which sites' rules."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from closedloop.sites.definition import Site

NOTHING: Mapping[str, str] = {}


@dataclass(slots=True)
class Around:
    """What is around a person when they are decided about.

    Shapes: `sites` are those of their customer list; `contact` reads what is held in clear; `since` is when they came
    to the stage where they stand, an ISO time, empty before the first.
    """

    sites: Sequence[Site] = ()
    contact: Callable[[], Mapping[str, str]] = lambda: NOTHING
    since: str = ""


# Of whoever is asked about by their profile alone: one for all, as a sweep reads many.
NOWHERE = Around()
