"""Who brings others: the tree of referrals, and what those who were brought have bought.

A referral is a fact: a browser followed somebody's own signed link. Everything here is read from these facts anew, so
that people who become one, or no longer are, have the tree that follows from it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from closedloop.events.event import REFERRAL_FOLLOWED, Door, Event
from closedloop.events.times import iso

MOST_REFERRALS = 10
HALVED = 0.5
LEAST_BUYERS = 2
TENTH = 10


class Referral(NamedTuple):
    """One time that somebody followed another's link.

    Shapes: `at` is an ISO time; `event` settles ties of time; `by` is the identifier whose link it was.
    """

    at: str
    event: str
    by: str


class Referred(NamedTuple):
    """A person as the tree sees them.

    Shapes: `nodes` are the identifiers that are theirs; `bought` are the ISO times of what they bought and kept.
    """

    nodes: tuple[str, ...]
    referrals: tuple[Referral, ...]
    bought: tuple[str, ...]


class Parent(NamedTuple):
    """Who brought somebody, and when."""

    person: str
    at: str


@dataclass(frozen=True, slots=True)
class Line:
    """One line of a score: who was brought, at which depth, when they bought, and what that adds."""

    person: str
    depth: int
    bought_at: str
    adds: float


@dataclass(frozen=True, slots=True)
class Advocate:
    """Somebody who brought others.

    Shapes: `score` is the sum of `lines`, one for everybody below who bought after they were brought.
    """

    person: str
    brought: int
    lines: tuple[Line, ...]
    influencer: bool = False

    @property
    def score(self) -> float:
        return sum(line.adds for line in self.lines)

    @property
    def words(self) -> str:
        """The evidence in words."""
        bought = len(self.lines)
        if not bought:
            return f"brought {self.brought}, of whom nobody has bought yet"
        sum_of = " + ".join(f"{line.adds:g}" for line in self.lines)
        return f"brought {self.brought}; {bought} of those below bought: {self.score:g} = {sum_of}"


@dataclass(frozen=True, slots=True)
class Growth:
    """What word of mouth adds.

    Shapes: `invites` are the people whom customers brought, `converted` those of them who then bought.
    """

    customers: int
    invites: int
    converted: int

    @property
    def k(self) -> float | None:
        """How many customers one customer brings; nothing while there is no customer.

        Source: analytics reference 5.6: invites per customer times conversion per invite.
        """
        if not self.customers:
            return None
        return self.invites / self.customers * (self.converted / self.invites) if self.invites else 0.0

    @property
    def multiplier(self) -> float | None:
        """What one customer becomes with all whom they and these bring; nothing where it would not end."""
        return None if self.k is None or self.k >= 1 else 1 / (1 - self.k)


def referrals_of(events: Iterable[Event]) -> tuple[Referral, ...]:
    """Whose links somebody followed: the first time of each, oldest first, at most ten.

    Only the door of links says so, where the signature was checked.
    """
    found: dict[str, Referral] = {}
    followed = (event for event in events if event.name == REFERRAL_FOLLOWED and event.door is Door.LINK)
    for event in sorted(followed, key=lambda event: (event.occurred_at, event.id)):
        by = event.properties.get("referrer")
        if isinstance(by, str):
            found.setdefault(by, Referral(iso(event.occurred_at), event.id, by))
    return tuple(found.values())[:MOST_REFERRALS]


def tree(people: Mapping[str, Referred]) -> dict[str, Parent]:
    """Who brought whom: the first to do so, unless that would bring somebody by those whom they brought themselves.

    The referrals are taken in order of time, whatever order they arrived in, so that the tree is always the same.
    """
    person_of = {node: person for person, one in people.items() for node in one.nodes}
    told = sorted((referral, person) for person, one in people.items() for referral in one.referrals)
    parents: dict[str, Parent] = {}
    for referral, person in told:
        by = person_of.get(referral.by)
        if by is not None and person not in parents and person not in _above(by, parents):
            parents[person] = Parent(by, referral.at)
    return parents


def _above(person: str, parents: Mapping[str, Parent]) -> Iterator[str]:
    """Somebody, and everybody who brought them."""
    yield person
    while person in parents:
        person = parents[person].person
        yield person


def advocates(people: Mapping[str, Referred]) -> list[Advocate]:
    """Everybody who brought somebody, the best first.

    Whoever is brought and buys afterwards adds 1 to who brought them, a half to who brought these, and so on. An
    influencer is in the top tenth of all who brought somebody, and at least two of those below have bought.

    Source: analytics reference 5.6.
    """
    parents = tree(people)
    brought: dict[str, int] = {}
    lines: dict[str, list[Line]] = {}
    for person, parent in sorted(parents.items()):
        brought[parent.person] = brought.get(parent.person, 0) + 1
        bought = _bought_after(people[person], parent)
        for depth, above in enumerate(_above(parent.person, parents), 1):
            if bought:
                lines.setdefault(above, []).append(Line(person, depth, bought, HALVED ** (depth - 1)))
    found = sorted(
        (
            Advocate(person, count, tuple(sorted(lines.get(person, ()), key=lambda line: (line.depth, line.bought_at))))
            for person, count in brought.items()
        ),
        key=lambda one: (-one.score, one.person),
    )
    least = found[-(-len(found) // TENTH) - 1].score if found else 0.0
    return [
        Advocate(one.person, one.brought, one.lines, one.score >= least and len(one.lines) >= LEAST_BUYERS)
        for one in found
    ]


def growth(people: Mapping[str, Referred]) -> Growth:
    """What word of mouth adds to these people."""
    by_customers = {
        person: parent for person, parent in tree(people).items() if people[parent.person].bought
    }
    return Growth(
        customers=sum(bool(one.bought) for one in people.values()), invites=len(by_customers),
        converted=sum(bool(_bought_after(people[person], parent)) for person, parent in by_customers.items()),
    )


def _bought_after(one: Referred, parent: Parent) -> str:
    """When somebody first bought after they were brought; empty while they have not."""
    return min((at for at in one.bought if at >= parent.at), default="")
