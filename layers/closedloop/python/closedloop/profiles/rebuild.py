"""The rebuild: everybody folded anew from the ledger, as the projector would, when the rules or the table are new."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from closedloop.events.event import Event
from closedloop.events.identifiers import is_strong
from closedloop.events.packet import Packet
from closedloop.identity.evidence import links_of
from closedloop.profiles.flow import KeptEvidence, Packets, Profiles, Projected, project
from closedloop.sites.definition import Site

# So many names are remembered as done; whoever was forgotten is folded once more, which changes nothing.
REMEMBERED = 200_000


class _Counted:
    """The State table, and whose profiles were asked for."""

    def __init__(self, state: Profiles) -> None:
        self._state = state
        self.persons: set[str] = set()

    def profile(self, person: str) -> Any:
        self.persons.add(person)
        return self._state.profile(person)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._state, name)


class Rebuild:
    """Folds the people of the ledger page by page, each once.

    A person is found by the events that name them; the projector then reads all that is theirs, wherever it lies. Where
    evidence is missing in State it is put there, and whoever it touches is folded again, so that what later pages tell
    is not lost. Doing it twice, or going on after it was stopped, changes nothing.
    """

    def __init__(self, state: Profiles, ledger: Packets, now: Callable[[], datetime]) -> None:
        self._state = state
        self._ledger = ledger
        self._now = now
        self._done: dict[str, None] = {}
        self.persons = 0
        self.changed = 0

    def fold(self, arrived: Iterable[tuple[str, Packet, Sequence[Event]]], sites: Mapping[str, Site]) -> Projected:
        """Fold everybody whom a page of packets names and who was not folded before."""
        counted, kept = _Counted(self._state), KeptEvidence(self._state)
        naming = [
            (number, packet, named) for number, packet, events in arrived
            if (named := [event for event in events if event.identifiers]) and self._is_new(named, kept)
        ]
        result = project(naming, cast(Profiles, counted), self._ledger, sites, self._now)
        for number, _, events in naming:
            if number not in result.again:
                self._done.update((name, None) for name in _names(events))
        for name in list(self._done)[: max(0, len(self._done) - REMEMBERED)]:
            del self._done[name]
        self.persons += len(counted.persons)
        self.changed += len(result.changed)
        return result

    def _is_new(self, events: Sequence[Event], kept: KeptEvidence) -> bool:
        return any(name not in self._done for name in _names(events)) or not all(
            kept.has(link) for event in events for link in links_of(event)
        )


def _names(events: Iterable[Event]) -> Iterable[str]:
    return (name for event in events for name in event.identifiers if is_strong(name))
