"""What an operator decides of who is whom: a merge, a split, and taking either back; each is a fact in the ledger.

A decision is told like any other event and may be taken back by its name, so a replay comes to the same persons. What a
report said before stays said: it is another file; the next one reads the persons as they are then.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from closedloop.errors import NotFound, Refused
from closedloop.events.event import DECISION_UNDONE, PERSONS_MERGED, PERSONS_SPLIT, Door, EventType
from closedloop.events.identifiers import is_address, is_strong, kind_of
from closedloop.events.packet import Packet
from closedloop.events.times import iso
from closedloop.identity.evidence import JOINS, EvidenceKind, Link, verified_by
from closedloop.identity.flow import Evidence, Neighbourhood, gather
from closedloop.identity.persons import anchor_of

DECIDED = (EvidenceKind.MERGED, EvidenceKind.SPLIT)
LONGEST_REASON = 300


@dataclass(frozen=True, slots=True)
class Decision:
    """What is to be written, and who is who before and after.

    Shapes: `name` is what it is undone by; `before` and `after` are the names of each person concerned.
    """

    name: str
    packet: Packet
    before: tuple[frozenset[str], ...]
    after: tuple[frozenset[str], ...]


@dataclass(frozen=True, slots=True)
class Why:
    """One piece of evidence about a person, in words.

    Shapes: `effect` begins with joins, owns, shares, verifies, contested, too weak or keeps apart.
    """

    link: Link
    effect: str


class Supposing:
    """Evidence as it would be with one piece more, or one less."""

    def __init__(self, evidence: Evidence, more: Link | None = None, less: Link | None = None) -> None:
        self._evidence, self._more, self._less = evidence, more, less

    def links(self, node: str) -> list[Link]:
        links = [link for link in self._evidence.links(node) if link != self._less]
        more = self._more
        return [*links, more] if more is not None and node in (more.node, more.strong) else links


def merge(one: str, other: str, site: str, reason: str, evidence: Evidence, now: datetime) -> Decision:
    """Decide that two names are one person's.

    Errors: Refused when both persons have a verified address, are one already, or a split keeps them apart.
    """
    persons = [_person(name, evidence) for name in (one, other)]
    if persons[0].strong == persons[1].strong:
        raise Refused("these are one person already; `closedloop person show --why` says by what")
    verified = [link for person in persons for link in _verified(person, evidence)[:1]]
    if len(verified) == 2:
        each = " and the other ".join(f"on {link.at:%Y-%m-%d} by {_how(link)}" for link in verified)
        raise Refused(
            f"both have an address of their own that was verified, the one {each}: whoever opens mail at each of two "
            "addresses may be two people, so verified persons are never made one"
        )
    anchors = [anchor_of(person.strong) for person in persons]
    link = _link(EvidenceKind.MERGED, anchors[0], anchors[1], site, now)
    after = _after(Supposing(evidence, more=link), link)
    if len(after) > 1:
        raise Refused("a split keeps them apart; undo it first: closedloop person undo ONE OTHER")
    return _decision(link, PERSONS_MERGED, site, reason, [person.strong for person in persons], after, now)


def split(one: str, other: str, site: str, reason: str, evidence: Evidence, now: datetime) -> Decision:
    """Decide that two names that are one person's are two people's.

    Errors: Refused when they are two already, or an operator's merge joins them.
    """
    person = _person(one, evidence)
    if other not in person.strong or one == other:
        raise Refused("these are not two names of one person; `closedloop person show` tells a person's names")
    link = _link(EvidenceKind.SPLIT, one, other, site, now)
    after = _after(Supposing(evidence, more=link), link)
    if len(after) < 2:
        raise Refused("an operator merged them; undo that instead: closedloop person undo ONE OTHER")
    return _decision(link, PERSONS_SPLIT, site, reason, [person.strong], after, now)


def undo(one: str, other: str, reason: str, evidence: Evidence, now: datetime, name: str = "") -> Decision:
    """Take back what was decided between two persons, or two names of one.

    Errors: NotFound when nothing was; Refused when it is not clear which, until one is named.
    """
    before = [gather(each, evidence) for each in (one, other)]
    within = {one, other}.union(*(person.strong for person in before))
    decided = {
        link for person in before for link in person.links
        if link.kind in DECIDED and {link.node, link.strong} <= within and name in ("", name_of(link))
    }
    if not decided:
        raise NotFound("nothing was decided between these two")
    if len(decided) > 1:
        known = ", ".join(sorted(map(name_of, decided)))
        raise Refused(f"several things were decided between these two; name one by --decision: {known}")
    (link,) = decided
    site = link.event.partition("/")[0]
    gone = hashlib.sha256(link.event.encode()).hexdigest()[:16]
    record = _record(f"{site}/operator/undo-{gone}", DECISION_UNDONE, link, {"retracts": link.event}, reason, now)
    persons = {gather(end, evidence).strong for end in (link.node, link.strong)}
    return Decision(
        name_of(link), Packet(f"I#{link.node}", site, Door.OPERATOR, now, (record,)), _sorted(persons),
        _after(Supposing(evidence, less=link), link),
    )


def name_of(link: Link) -> str:
    """What a decision is called: the last part of its event's id."""
    return link.event.rpartition("/")[2]


def why(person: Neighbourhood, evidence: Evidence) -> list[Why]:
    """Every piece of evidence about a person, the strongest first, and what it does."""
    about = [
        link for link in person.links
        if {link.node, link.strong} & (person.strong | person.contested) or link.node in person.near
    ]
    told = {link.node for link in about if link.strength >= JOINS}
    verifying = {found for name in person.strong if is_address(name)
                 if (found := verified_by(name, evidence.links(name))) is not None}
    return [
        Why(link, _effect(link, person, told, verifying))
        for link in sorted(about, key=lambda link: (-link.strength, link.at, link.event, link.node))
    ]


def _effect(link: Link, person: Neighbourhood, told: set[str], verifying: set[Link]) -> str:
    if link.kind is EvidenceKind.SPLIT:
        return "keeps apart"
    if link.kind is EvidenceKind.CONFIRMED:
        return "verifies the address"
    shared = sorted({kind_of(end) for end in (link.node, link.strong) if end in person.contested})
    if is_strong(link.node):
        if shared:
            return f"contested: the {shared[0]} is of people who are not one, and glues nobody"
        return "joins" if {link.node, link.strong} <= person.strong else "of somebody else"
    verifies = ", and verifies the address" if link in verifying else ""
    if link.strength < JOINS and link.node in told:
        return f"too weak: a name was told there{verifies}"
    others = {other.strong for other in person.links if other.node == link.node} - person.strong
    return f"{'shares, each from when they were named' if others else 'owns'}{verifies}"


def _person(name: str, evidence: Evidence) -> Neighbourhood:
    person = gather(name, evidence)
    if not person.strong:
        raise Refused(f"this {kind_of(name)} is shared by people who are not one; name each by their own address")
    return person


def _verified(person: Neighbourhood, evidence: Evidence) -> list[Link]:
    found = (verified_by(name, evidence.links(name)) for name in sorted(person.strong) if is_address(name))
    return [link for link in found if link is not None]


def _how(link: Link) -> str:
    confirmed = link.kind is EvidenceKind.CONFIRMED
    return "the button of a mail that asked" if confirmed else "a mailed link, opened where the address was told"


def _link(kind: EvidenceKind, one: str, other: str, site: str, now: datetime) -> Link:
    digest = hashlib.sha256(f"{one}|{other}|{iso(now)}".encode()).hexdigest()[:16]
    what = "merge" if kind is EvidenceKind.MERGED else "split"
    return Link(one, other, kind, now, f"{site}/operator/{what}-{digest}")


def _after(evidence: Evidence, link: Link) -> tuple[frozenset[str], ...]:
    """Who the two ends are then; a name that is contested then is by itself."""
    return _sorted({gather(end, evidence).strong or frozenset((end,)) for end in (link.node, link.strong)})


def _sorted(persons: Iterable[frozenset[str]]) -> tuple[frozenset[str], ...]:
    return tuple(sorted(persons, key=sorted))


def _decision(
    link: Link, name: str, site: str, reason: str, before: Iterable[frozenset[str]],
    after: tuple[frozenset[str], ...], now: datetime,
) -> Decision:
    record = _record(link.event, name, link, {}, reason, now)
    packet = Packet(f"I#{link.node}", site, Door.OPERATOR, now, (record,))
    return Decision(name_of(link), packet, _sorted(before), after)


def _record(
    id_: str, name: str, link: Link, properties: Mapping[str, Any], reason: str, now: datetime
) -> dict[str, Any]:
    if not reason.strip() or len(reason) > LONGEST_REASON or "@" in reason:
        # It is archived, where no address may lie.
        raise Refused(f"a decision needs a reason of at most {LONGEST_REASON} characters, without an e-mail address")
    return {
        "id": id_, "type": EventType.TRACK.value, "name": name, "at": iso(now), "ids": [link.node, link.strong],
        "properties": {**properties, "reason": reason.strip()},
    }
