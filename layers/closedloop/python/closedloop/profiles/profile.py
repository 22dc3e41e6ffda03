"""The profile: what the events say of a person now, as a value that can be stored and read back."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import datetime
from typing import Any

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

    def as_text(self) -> str:
        """The profile as the one text that equal profiles share."""
        return json.dumps(asdict(self), ensure_ascii=False, sort_keys=True, separators=(",", ":"))

    @property
    def last(self) -> datetime:
        return parse(self.last_at)


_NAMES = frozenset(each.name for each in fields(Profile))


def profile_from(text: str) -> Profile:
    """Read what `as_text` wrote.

    Errors: BadShape.
    """
    try:
        # Newer code may know more of a person; what this code does not know it leaves out.
        values = {name: value for name, value in json.loads(text).items() if name in _NAMES}
        values["nodes"] = tuple(values["nodes"])
        for name in ("visited", "did"):
            values[name] = {key: Seen(seen["times"], tuple(seen["moments"])) for key, seen in values[name].items()}
        values["deals"] = {key: DealState(**deal) for key, deal in values["deals"].items()}
        return Profile(**values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadShape(f"a stored profile cannot be read: {error}") from error
