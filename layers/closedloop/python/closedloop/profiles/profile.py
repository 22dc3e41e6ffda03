"""The profile: what the events say of a person now, as a value that can be stored and read back.

It is kept in two parts, so that a sweep over everybody reads no more than gates ask, and a change costs one write unit:

| part | what                                                                                                      |
|------|-----------------------------------------------------------------------------------------------------------|
| told | a list in JSON: person, group, nodes, interest, engagement, fit, attributes, deals, what was done, and what |
|      | was shown in vain, if anything was                                                                        |
| more | an object in JSON of all else, the pages visited among it; packed by zlib                                 |

What was done and visited is one text each: how often, then the moments kept. Of a moment only what differs from the one
before is written, in whole parts: `3 2026-11-15T06:28:27.551Z 29:53.551Z 55.020Z`. In `more` what is empty is left out.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Callable, Iterable, Mapping, Set
from dataclasses import MISSING, dataclass, field, fields
from datetime import datetime
from typing import Any, NamedTuple, Protocol

import msgspec

from closedloop.errors import BadShape
from closedloop.events.times import parse
from closedloop.profiles.advocacy import Referral
from closedloop.profiles.around import NOWHERE, Around
from closedloop.profiles.interest import Ignored
from closedloop.profiles.ownership import Thing


class Seen(msgspec.Struct, frozen=True, gc=False):
    """How often something was done or seen, and when: the newest moments, as many as windows need.

    Shapes: `moments` are ISO texts, newest last, at most `MOMENTS`; `times` counts all.
    """

    times: int
    moments: tuple[str, ...]


class Stored(NamedTuple):
    """A profile as it is kept: what gates ask, and all else."""

    told: str
    more: bytes


@dataclass(frozen=True, slots=True)
class DealState:
    """Where one deal stands.

    Shapes: `state` is opened, won or lost; `mixed` says that several currencies were named; `won_at` is told where
    something was said of a won deal afterwards.
    Units: money in minor units; `refunded_minor` is what went back, `paid_minor` what came in, where that was told.
    """

    state: str
    amount_minor: int
    currency: str
    at: str
    refunded_minor: int = 0
    paid_minor: int = 0
    mixed: bool = False
    won_at: str = ""

    @property
    def standing(self) -> str:
        """Where the deal stands, its money told in."""
        if self.refunded_minor:
            return "refunded" if self.refunded_minor >= self.amount_minor else "partly refunded"
        if self.paid_minor:
            return "paid" if self.paid_minor >= self.amount_minor else "partly paid"
        return self.state


class Asked(Protocol):
    """What gates may ask of a person; the profile answers it, and so does an excerpt of its text."""

    @property
    def person(self) -> str: ...
    @property
    def interest(self) -> Mapping[str, int]: ...
    @property
    def ignored(self) -> Mapping[str, Ignored]: ...
    @property
    def engagement(self) -> int: ...
    @property
    def fit(self) -> int: ...
    @property
    def attributes(self) -> Mapping[str, Any]: ...
    @property
    def around(self) -> Around: ...
    def done(self, event: str) -> Seen | None: ...
    def pages(self, path: str) -> Iterable[Seen]: ...
    def deal_states(self) -> Set[str]: ...
    def whole(self) -> Profile: ...


@dataclass(frozen=True, slots=True)
class Profile:
    """What the events say of a person now.

    Shapes: `interest` and `engagement` are forward-decay sums, and `ignored` what to take off interest when it is read
    (see interest.py); `prize_at` is when somebody first took a prize who never did anything else; `attributes` never
    hold contact data; `clicked` is by the campaign of the mail; `suppressed` is the reason why this person gets no
    mail, empty when they may; `site_consent` is where a company of the group heard another word than `consent`;
    `machine` counts the events that a machine made, by the reason of their grade.
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
    site_consent: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    machine: Mapping[str, int] = field(default_factory=dict)
    ignored: Mapping[str, Ignored] = field(default_factory=dict)
    prize_at: str = ""
    owned: tuple[Thing, ...] = ()
    referred: tuple[Referral, ...] = ()
    clicked: Mapping[str, Seen] = field(default_factory=dict)

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

    @property
    def around(self) -> Around:
        """Nothing is known but the profile."""
        return NOWHERE

    def whole(self) -> Profile:
        """The profile itself."""
        return self

    def consent_to(self, purpose: str, site: str) -> str:
        """The last word on a purpose to one company, or where it never heard one, to the group; empty for none."""
        return self.site_consent.get(site, {}).get(purpose) or self.consent.get(purpose, "")

    def as_text(self) -> str:
        """The profile as the one text that equal profiles share."""
        return "\n".join(self._parts())

    def stored(self) -> Stored:
        """The profile as it is kept."""
        told, more = self._parts()
        return Stored(told, zlib.compress(more.encode(), level=9, wbits=_RAW))

    def _parts(self) -> tuple[str, str]:
        deals = {name: _deal_words(deal) for name, deal in self.deals.items()}
        did, visited, clicked = (
            {key: _seen_text(seen) for key, seen in part.items()} for part in (self.did, self.visited, self.clicked)
        )
        told = [getattr(self, name) for name in _TOLD]
        more = {name: value for name in _MORE if (value := getattr(self, name)) or name in _ALWAYS}
        ignored = [self.ignored] if self.ignored else []
        return _as_json([*told, deals, did, *ignored]), _as_json({
            **more, **({"visited": visited} if visited else {}), **({"clicked": clicked} if clicked else {}),
        })

    @property
    def last(self) -> datetime:
        return parse(self.last_at)


_TOLD = ("person", "group", "nodes", "interest", "engagement", "fit", "attributes")
_SEEN = ("did", "visited", "clicked")
_MORE = tuple(each.name for each in fields(Profile) if each.name not in {*_TOLD, *_SEEN, "deals", "ignored"})
_ALWAYS = frozenset(
    each.name for each in fields(Profile) if each.default is MISSING and each.default_factory is MISSING
)
_RAW = -zlib.MAX_WBITS
_as_json = json.JSONEncoder(
    ensure_ascii=False, sort_keys=True, separators=(",", ":"), default=msgspec.to_builtins
).encode
# Where a moment may be cut: before its seconds, its minutes, its hour.
_CUTS = (17, 14, 11)
_UNREADABLE = (ValueError, TypeError, AttributeError, zlib.error)


def _deal_words(deal: DealState) -> list[Any]:
    words: list[Any] = [deal.state, deal.amount_minor, deal.currency, deal.at]
    more = (deal.refunded_minor, deal.paid_minor, deal.mixed, *([deal.won_at] if deal.won_at else []))
    return [*words, *more] if any(more) else words


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


class _Told(msgspec.Struct, array_like=True, frozen=True, gc=False):
    """What gates ask, in the order of its list; newer code may add to it."""

    person: str
    group: str
    nodes: list[str]
    interest: dict[str, int]
    engagement: int
    fit: int
    attributes: dict[str, Any]
    deals: dict[str, list[Any]]
    did: msgspec.Raw
    ignored: dict[str, Ignored] = {}


class _Visited(msgspec.Struct, frozen=True, gc=False):
    """Of all else, the pages alone."""

    visited: dict[str, str] = {}


_told = msgspec.json.Decoder(_Told).decode
_did = msgspec.json.Decoder(dict[str, str]).decode
_more = msgspec.json.Decoder(dict[str, Any]).decode
_visited = msgspec.json.Decoder(_Visited).decode


def _itself(value: Any) -> Any:
    return value


# What of all else is more than JSON's own values.
_AS: Mapping[str, Callable[[Any], Any]] = {
    "owned": lambda rows: tuple(Thing(*row) for row in rows),
    "referred": lambda rows: tuple(Referral(*row) for row in rows),
}


def profile_from(stored: Stored) -> Profile:
    """Read what `stored` gave.

    Errors: BadShape.
    """
    try:
        told, more = _told(stored.told), _more(zlib.decompress(stored.more, _RAW))
        return Profile(
            person=told.person, group=told.group, nodes=tuple(told.nodes), interest=told.interest,
            engagement=told.engagement, fit=told.fit, attributes=told.attributes,
            ignored=told.ignored,
            deals={name: DealState(*words) for name, words in told.deals.items()},
            did={key: _seen(text) for key, text in _did(told.did).items()},
            visited={key: _seen(text) for key, text in more.get("visited", _NOTHING).items()},
            clicked={key: _seen(text) for key, text in more.get("clicked", _NOTHING).items()},
            # Newer code may know more of a person; what this code does not know it leaves out.
            **{name: _AS.get(name, _itself)(more[name]) for name in _MORE if name in more},
        )
    except _UNREADABLE as error:
        raise BadShape(f"a stored profile cannot be read: {error}") from error


class Excerpt:
    """What gates ask of a person, read from what is stored no further than they ask.

    Errors: BadShape, whenever something is asked for that cannot be read; `profile_from` finds all at once.
    """

    __slots__ = (
        "_deals", "_did", "_more", "_raw", "_text", "_visited", "_whole",
        "around", "attributes", "engagement", "fit", "group", "ignored", "interest", "nodes", "person",
    )

    def __init__(self, stored: Stored, around: Around = NOWHERE) -> None:
        self._text, self._more = stored
        self.around = around
        self._whole: Profile | None = None
        try:
            told = _told(self._text)
        except ValueError as error:
            raise BadShape(f"a stored profile cannot be read: {error}") from error
        self.person = told.person
        self.group = told.group
        self.nodes = told.nodes
        self.interest: Mapping[str, int] = told.interest
        self.ignored: Mapping[str, Ignored] = told.ignored
        self.engagement = told.engagement
        self.fit = told.fit
        self.attributes: Mapping[str, Any] = told.attributes
        self._deals = told.deals
        self._raw = told.did
        self._did: Mapping[str, str] | None = None
        self._visited: Mapping[str, str] | None = None

    @property
    def anchor(self) -> str:
        """The node that the person is named after."""
        return self.nodes[0]

    def whole(self) -> Profile:
        """Everything that is stored, for what few gates ask."""
        if self._whole is None:
            self._whole = profile_from(Stored(self._text, self._more))
        return self._whole

    def done(self, event: str) -> Seen | None:
        """How often something was done, None when it never was."""
        try:
            if self._did is None:
                self._did = _did(self._raw)
            text = self._did.get(event)
            return None if text is None else _seen(text)
        except ValueError as error:
            raise BadShape(f"what a stored profile did cannot be read: {error}") from error

    def pages(self, path: str) -> list[Seen]:
        """How often each page was seen whose path begins so."""
        try:
            if self._visited is None:
                self._visited = _visited(zlib.decompress(self._more, _RAW)).visited
            return [_seen(text) for page, text in self._visited.items() if page.startswith(path)]
        except (ValueError, zlib.error) as error:
            raise BadShape(f"a stored profile's pages cannot be read: {error}") from error

    def deal_states(self) -> Set[str]:
        if not self._deals:
            return _NO_DEAL
        try:
            return {words[0] for words in self._deals.values()}
        except (TypeError, IndexError) as error:
            raise BadShape(f"a stored profile's deals cannot be read: {error}") from error


_NOTHING: Mapping[str, Any] = {}
_NO_DEAL: Set[str] = frozenset()
