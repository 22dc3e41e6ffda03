"""What each number of a person is made of, and which kinds of people they are; for `closedloop person show`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from closedloop.cli import console
from closedloop.events.event import Event
from closedloop.events.identifiers import normal_address
from closedloop.events.times import iso
from closedloop.profiles.fit import best_site, fit_sum
from closedloop.profiles.fold import ledger
from closedloop.profiles.kinds import Told, kinds_of
from closedloop.profiles.points import Line, summed
from closedloop.profiles.profile import Profile
from closedloop.sites.definition import Site

# As many lines of a number as a window holds; those before are told as one.
LINES = 30
Lines = Sequence[tuple[Line, int]]


@dataclass(frozen=True, slots=True)
class Scores:
    """A person's numbers as of a moment, each with the lines that sum to it.

    Units: lines of engagement and interest in hundredths of a point.
    """

    now: datetime
    engagement: Lines
    interest: Mapping[str, Lines]
    fit: int
    fit_site: str
    fit_lines: Sequence[tuple[str, int]]
    kinds: tuple[Told, ...]

    def as_json(self) -> dict[str, Any]:
        """The numbers and their lines."""
        return {
            "fit": self.fit, "engagement": _sum(self.engagement),
            "interest": {topic: _sum(lines) for topic, lines in self.interest.items()},
            "kinds": [{"kind": one.kind, "reason": one.reason, "evidence": dict(one.evidence)} for one in self.kinds],
            "fit_ledger": [{"what": what, "points": points} for what, points in self.fit_lines],
            "ledger": [
                {"at": iso(line.at), "what": line.what, "topic": line.topic, "points": round(line.points, 3),
                 "why": self._why(line), "now": worth / 100}
                for lines in (self.engagement, *self.interest.values()) for line, worth in lines
            ],
        }

    def show(self) -> None:
        """Print them for people."""
        console.table(f"fit {self.fit} = the sum of, on {self.fit_site}", ("what", "points"), self.fit_lines)
        interest = ((f"interest in {topic}", lines) for topic, lines in self.interest.items())
        for title, lines in (("engagement", self.engagement), *interest):
            older, shown = lines[:-LINES], lines[-LINES:]
            before = [("", f"{len(older)} lines before", "", f"{_sum(older):.2f}", "")] if older else []
            console.table(
                f"{title} {_sum(lines):.2f} = the sum of", ("when", "what", "points", "worth now", "why"),
                before + [
                    (f"{line.at:%Y-%m-%d %H:%M}", line.what, f"{line.points:.2f}", f"{each / 100:.2f}", self._why(line))
                    for line, each in shown
                ],
            )
        console.table("kinds", ("kind", "why", "seen in"), [
            (told.kind, told.reason, "; ".join(f"{what}: {value}" for what, value in told.evidence))
            for told in self.kinds
        ])

    def _why(self, line: Line) -> str:
        return "counts from then on, if nothing comes of it" if line.ignored and line.at > self.now else line.why


def _sum(lines: Lines) -> float:
    return sum(worth for _, worth in lines) / 100


def scores(
    profile: Profile, events: Iterable[Event], contact: Mapping[str, str], sites: Mapping[str, Site], now: datetime
) -> Scores:
    """A person's numbers as of now, from the facts that the profile was folded of."""
    own = [event for event in events if event.site in sites]
    lines = ledger(own, sites)
    topics = sorted({line.topic for line in lines} - {""})
    known = [sites[name] for name in {event.site for event in own}]
    site = best_site(profile.attributes, known)
    of_list = [one for one in sites.values() if one.list_name == profile.group]
    domain = (normal_address(contact.get("email", "")) or "").rpartition("@")[2]
    return Scores(
        now=now, fit=profile.fit, fit_site=site.site, fit_lines=fit_sum(profile.attributes, site),
        engagement=summed([line for line in lines if not line.topic], now),
        interest={topic: summed([line for line in lines if line.topic == topic], now) for topic in topics},
        kinds=kinds_of(profile, of_list, now, domain),
    )
