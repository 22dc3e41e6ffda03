"""The profile: what the events say of a person now, as a value that can be stored and read back.

The stored text has four lines, each an object in JSON, so that a sweep over everybody reads no more than gates ask:

| line    | what                                                                                        |
|---------|---------------------------------------------------------------------------------------------|
| head    | who, and what most gates ask: interest, engagement, fit, attributes, deals as lists         |
| did     | what was done, each in one text: how often, then the moments kept                           |
| visited | the pages seen, likewise                                                                    |
| rest    | all else                                                                                    |

What is empty is left out. Of a moment only what differs from the one before is written, in whole parts:
`3 2026-11-15T06:28:27.551Z 29:53.551Z 55.020Z`.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Set
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime
from typing import Any, Protocol

from pydantic_core import from_json

from closedloop.errors import BadShape
from closedloop.events.times import parse


@dataclass(frozen=True, slots=True)
class Seen:
    """How often something was done or seen, and when: the newest moments, as many as windows need.

    Shapes: `moments` are ISO texts, newest last, at most `MOMENTS`; `times` counts all.
    """

    times: int
    moments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class DealState:
    """Where one deal stands.

    Units: money in minor units; `refunded_minor` is what went back.
    """

    state: str
    amount_minor: int
    currency: str
    at: str
    refunded_minor: int = 0


class Asked(Protocol):
    """What gates may ask of a person; the profile answers it, and so does an excerpt of its text."""

    @property
    def person(self) -> str: ...
    @property
    def interest(self) -> Mapping[str, int]: ...
    @property
    def engagement(self) -> int: ...
    @property
    def fit(self) -> int: ...
    @property
    def attributes(self) -> Mapping[str, Any]: ...
    def done(self, event: str) -> Seen | None: ...
    def pages(self, path: str) -> Iterable[Seen]: ...
    def deal_states(self) -> Set[str]: ...


@dataclass(frozen=True, slots=True)
class Profile:
    """What the events say of a person now.

    Shapes: `interest` and `engagement` are forward-decay sums (see interest.py); `attributes` never hold contact
    data; `suppressed` is the reason why this person gets no mail, empty when they may.
    Units: `fit` from 0 to 100; times are ISO texts in UTC.
    """

    person: str
    group: str
    nodes: tuple[str, ...]
    first_at: str
    last_at: str
    events: int
    interest: Mapping[str, int] = field(default_factory=dict)
    engagement: int = 0
    fit: int = 0
    attributes: Mapping[str, Any] = field(default_factory=dict)
    visited: Mapping[str, Seen] = field(default_factory=dict)
    did: Mapping[str, Seen] = field(default_factory=dict)
    deals: Mapping[str, DealState] = field(default_factory=dict)
    first_source: Mapping[str, str] = field(default_factory=dict)
    last_source: Mapping[str, str] = field(default_factory=dict)
    active_days: int = 0
    suppressed: str = ""
    consent: Mapping[str, str] = field(default_factory=dict)

    @property
    def anchor(self) -> str:
        """The node that the person is named after."""
        return self.nodes[0]

    def done(self, event: str) -> Seen | None:
        """How often something was done, None when it never was."""
        return self.did.get(event)

    def pages(self, path: str) -> list[Seen]:
        """How often each page was seen whose path begins so."""
        return [seen for page, seen in self.visited.items() if page.startswith(path)]

    def deal_states(self) -> set[str]:
        return {deal.state for deal in self.deals.values()}

    def as_text(self) -> str:
        """The profile as the one text that equal profiles share."""
        head, rest = (
            {name: value for name in names if (value := getattr(self, name)) or name in _ALWAYS}
            for names in (_HEAD, _REST)
        )
        if self.deals:
            head["deals"] = {name: _deal_words(deal) for name, deal in self.deals.items()}
        did, visited = ({key: _seen_text(seen) for key, seen in part.items()} for part in (self.did, self.visited))
        return "\n".join(map(_as_json, (head, did, visited, rest)))

    @property
    def last(self) -> datetime:
        return parse(self.last_at)


_HEAD = ("person", "group", "nodes", "interest", "engagement", "fit", "attributes")
_REST = tuple(each.name for each in fields(Profile) if each.name not in {*_HEAD, "deals", "did", "visited"})
_ALWAYS = frozenset(
    each.name for each in fields(Profile) if each.default is MISSING and each.default_factory is MISSING
)
_as_json = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode
# Where a moment may be cut: before its seconds, its minutes, its hour.
_CUTS = (17, 14, 11)
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError)


def _deal_words(deal: DealState) -> list[Any]:
    words: list[Any] = [deal.state, deal.amount_minor, deal.currency, deal.at]
    return [*words, deal.refunded_minor] if deal.refunded_minor else words


def _seen_text(seen: Seen) -> str:
    words, before = [str(seen.times)], ""
    for moment in seen.moments:
        alike = len(moment) == len(before)
        cut = next((cut for cut in _CUTS if alike and moment.startswith(before[:cut])), 0)
        words.append(moment[cut:])
        before = moment
    return " ".join(words)


def _seen(text: str) -> Seen:
    times, *words = text.split(" ")
    moments, before = [], ""
    for word in words:
        before = word if "T" in word else before[: -len(word)] + word
        moments.append(before)
    return Seen(int(times), tuple(moments))


def profile_from(text: str) -> Profile:
    """Read what `as_text` wrote.

    Errors: BadShape.
    """
    try:
        head, did, visited, rest = map(from_json, text.split("\n"))
        # Newer code may know more of a person; what this code does not know it leaves out.
        values = {name: part[name] for part, names in ((head, _HEAD), (rest, _REST)) for name in names if name in part}
        values["nodes"] = tuple(values["nodes"])
        values["deals"] = {name: DealState(*words) for name, words in head.get("deals", {}).items()}
        return Profile(
            did={key: _seen(seen) for key, seen in did.items()},
            visited={key: _seen(seen) for key, seen in visited.items()},
            **values,
        )
    except _UNREADABLE as error:
        raise BadShape(f"a stored profile cannot be read: {error}") from error


class Excerpt:
    """What gates ask of a person, read from the stored text no further than they ask.

    Errors: BadShape, whenever something is asked for that cannot be read; `profile_from` finds all at once.
    """

    __slots__ = (
        "_deals", "_did", "_text", "_visited",
        "attributes", "engagement", "fit", "group", "interest", "nodes", "person",
    )

    def __init__(self, text: str) -> None:
        try:
            told = from_json(text[: text.index("\n")])
            self.person: str = told["person"]
            self.group: str = told["group"]
            self.nodes: list[str] = told["nodes"]
            self.interest: Mapping[str, int] = told.get("interest", _NOTHING)
            self.engagement: int = told.get("engagement", 0)
            self.fit: int = told.get("fit", 0)
            self.attributes: Mapping[str, Any] = told.get("attributes", _NOTHING)
            self._deals: Mapping[str, list[Any]] = told.get("deals", _NOTHING)
        except _UNREADABLE as error:
            raise BadShape(f"a stored profile cannot be read: {error}") from error
        self._text = text
        self._did: Mapping[str, str] | None = None
        self._visited: Mapping[str, str] | None = None

    @property
    def anchor(self) -> str:
        """The node that the person is named after."""
        return self.nodes[0]

    def done(self, event: str) -> Seen | None:
        """How often something was done, None when it never was."""
        if self._did is None:
            self._did = _line(self._text, DID)
        text = self._did.get(event)
        return None if text is None else _read(text)

    def pages(self, path: str) -> list[Seen]:
        """How often each page was seen whose path begins so."""
        if self._visited is None:
            self._visited = _line(self._text, VISITED)
        return [_read(text) for page, text in self._visited.items() if page.startswith(path)]

    def deal_states(self) -> Set[str]:
        if not self._deals:
            return _NO_DEAL
        try:
            return {words[0] for words in self._deals.values()}
        except (TypeError, IndexError) as error:
            raise BadShape(f"a stored profile's deals cannot be read: {error}") from error


DID, VISITED = 1, 2
_NOTHING: Mapping[str, Any] = {}
_NO_DEAL: Set[str] = frozenset()


def _line(text: str, number: int) -> dict[str, str]:
    try:
        told = from_json(text.split("\n", number + 1)[number])
    except (ValueError, IndexError) as error:
        raise BadShape(f"a stored profile cannot be read: {error}") from error
    if not isinstance(told, dict):
        raise BadShape("a stored profile has a line that is no object")
    return told


def _read(text: str) -> Seen:
    try:
        return _seen(text)
    except _UNREADABLE as error:
        raise BadShape(f"a stored profile's moments cannot be read: {error}") from error
