"""Who is who in a report: persons from the lake's own evidence, and what the new ones are like."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from closedloop.events.event import (
    CONSENT_CONFIRMED,
    DEAL_REFUNDED,
    EMAIL_CLICKED,
    PERSONS_MERGED,
    PERSONS_SPLIT,
    Door,
    Event,
    EventType,
)
from closedloop.events.identifiers import is_strong
from closedloop.identity.evidence import EvidenceKind, Link, links_of
from closedloop.identity.persons import Persons
from closedloop.profiles.fit import fit_of
from closedloop.sites.definition import Site

ALWAYS = datetime(1, 1, 1, tzinfo=UTC)
FOR_EVER = datetime(9999, 1, 1, tzinfo=UTC)
SAID_BY = {
    EvidenceKind.CLICK: (Door.LINK, EMAIL_CLICKED), EvidenceKind.CONFIRMED: (Door.LINK, CONSENT_CONFIRMED),
    EvidenceKind.MERGED: (Door.OPERATOR, PERSONS_MERGED), EvidenceKind.SPLIT: (Door.OPERATOR, PERSONS_SPLIT),
}


@dataclass(frozen=True, slots=True)
class Identification:
    """An event that names somebody, with the nodes that it says belong together."""

    id: str
    site: str
    visitor: str
    ids: tuple[str, ...]
    deal: str
    at: datetime
    kind: EvidenceKind = EvidenceKind.TOLD
    of_refund: bool = False


@dataclass(frozen=True, slots=True)
class Holding:
    """Whose a node is, from a moment on until before another.

    Shapes: `shared` is true of a name that several people share: decisions made under it stay under its own id.
    """

    node: str
    since: datetime
    until: datetime
    person: str
    shared: bool = False


def holdings(told: Iterable[Identification]) -> list[Holding]:
    """Whose every node is at every moment, by the product's own rules of identity."""
    links: list[Link] = []
    strong: set[str] = set()
    for one in told:
        strong.update(one.ids)
        links.extend(links_of(_event(one)))
    persons = Persons(links, sorted(strong))
    held = [Holding(node, ALWAYS, FOR_EVER, person) for person, nodes in persons.nodes.items() for node in nodes]
    for node, seen in persons.shared.items():
        # Before the first word on a node it belongs to the first named in it, afterwards to the last.
        held.extend(_periods(persons, node, [ALWAYS, *seen]))
    return sorted(held, key=lambda h: (h.node, h.since))


def _periods(persons: Persons, node: str, moments: list[datetime]) -> list[Holding]:
    """A browser, a deal or a shared name, cut where it changes hands; while it is nobody's, there is no period."""
    periods: list[Holding] = []
    before: str | None = None
    for at in moments:
        owner = persons.owner(node, at)
        if owner == before:
            continue
        if before is not None:
            periods[-1] = replace(periods[-1], until=at)
        if owner is not None:
            periods.append(Holding(node, at, FOR_EVER, owner, is_strong(node)))
        before = owner
    return periods


def _event(one: Identification) -> Event:
    """The event again, as far as it speaks of identity."""
    prefix = f"v:{one.site}:"
    door, name = SAID_BY.get(one.kind, (Door.BEACON, ""))
    return Event(
        id=one.id, site=one.site, type=EventType.IDENTIFY, name=DEAL_REFUNDED if one.of_refund else name,
        visitor=one.visitor.removeprefix(prefix) or None, identifiers=one.ids,
        deal=one.deal.removeprefix(f"deal:{one.site}:") or None, occurred_at=one.at, received_at=one.at,
        door=door, packet="", properties={}, traits={}, context={},
    )


def fits(said: Iterable[tuple[str, str]], sites: Iterable[Site]) -> dict[str, int]:
    """How much each person is like the wanted people of the site where they fit best.

    Shapes: `said` are person and traits as JSON text, oldest first; the last word on each attribute counts.
    """
    attributes: dict[str, dict[str, Any]] = {}
    for person, traits in said:
        known = attributes.setdefault(person, {})
        known.update((name, value) for name, value in _mapping(traits).items() if value not in (None, ""))
    listed = tuple(sites)
    return {person: max((fit_of(known, site) for site in listed), default=0) for person, known in attributes.items()}


def _mapping(text: str) -> Mapping[str, Any]:
    read = json.loads(text)
    return read if isinstance(read, Mapping) else {}
