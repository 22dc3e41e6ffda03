"""The projector: packets that arrived become evidence, and every person they touch is folded again.

Read the version first, then the nodes, then the packets, then fold, then write on that version: any other order can
lose an event without an error.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Protocol

from closedloop.errors import ProfileMoved, TryAgain
from closedloop.events import event as names
from closedloop.events.event import Event
from closedloop.events.packet import Packet
from closedloop.identity.evidence import Link, links_of
from closedloop.identity.flow import Evidence, Neighbourhood, gather, strong_nodes
from closedloop.identity.persons import Persons, anchor_of, person_id
from closedloop.profiles.fold import fold
from closedloop.profiles.profile import Profile
from closedloop.sites.definition import Site

if TYPE_CHECKING:
    from closedloop.store.state import StoredProfile

ROUNDS = 5
HOT = frozenset((names.FORM_SUBMITTED, names.DEAL_OPENED, names.DEAL_WON, names.DEAL_LOST, names.DEAL_REFUNDED))


class Profiles(Evidence, Protocol):
    """What the projector needs of the State table."""

    def put_link(self, link: Link) -> None: ...
    def profile(self, person: str) -> StoredProfile: ...
    def contact(self, person: str) -> dict[str, str]: ...
    def put_profile(self, profile: Profile, seen: int, due_at: datetime, contact: Mapping[str, str] | None = None) -> None: ...
    def suppress(self, identifier: str, reason: str, now: datetime) -> None: ...


class Packets(Protocol):
    """What the projector needs of the ledger."""

    def packets(self, node: str) -> Iterator[Packet]: ...


@dataclass
class Projected:
    """What came of a batch: the records to try again, the people whose profile changed, and the hot ones of them."""

    again: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    hot: set[str] = field(default_factory=set)


def project(
    arrived: Sequence[tuple[str, Packet, Sequence[Event]]], state: Profiles, ledger: Packets,
    sites: Mapping[str, Site], now: Callable[[], datetime],
) -> Projected:
    """Fold everybody whom a batch touches, once each.

    Shapes: each arrival is the record's number in the stream, its packet and the packet's events.
    """
    result = Projected()
    touched: dict[str, set[str]] = {}
    hot: set[str] = set()
    for record, _, events in arrived:
        try:
            for link in dict.fromkeys(link for event in events for link in links_of(event)):
                state.put_link(link)
            found = strong_nodes(dict.fromkeys(node for event in events for node in event.nodes), state)
        except TryAgain:
            result.again.add(record)
            continue
        for node in found:
            touched.setdefault(node, set()).add(record)
        if any(event.name in HOT for event in events):
            hot.update(found)
    done: set[str] = set()
    for node in sorted(touched):
        if node in done:
            continue
        try:
            profile, changed, nodes = refold(node, state, ledger, sites, now)
        except TryAgain:
            result.again.update(touched[node])
            continue
        done.update(nodes)
        if profile is not None:
            if changed:
                result.changed.add(profile.person)
            if hot & nodes:
                result.hot.add(profile.person)
    return result


def refold(
    node: str, state: Profiles, ledger: Packets, sites: Mapping[str, Site], now: Callable[[], datetime]
) -> tuple[Profile | None, bool, frozenset[str]]:
    """Fold one person anew from the ledger and store the result if it is another than the stored one.

    Shapes: the profile (None while there is nothing to fold), whether it changed, and the person's strong nodes.
    Errors: ProfileMoved after five rounds against others.
    """
    for _ in range(ROUNDS):
        nearby = gather(node, state)
        person = person_id(anchor_of(nearby.strong))
        stored = state.profile(person)
        held = state.contact(person)
        nearby = gather(node, state)
        if person_id(anchor_of(nearby.strong)) != person:
            continue
        profile, contact = read_person(nearby, ledger, sites)
        if profile is None:
            return None, False, nearby.strong
        if stored.profile is not None and stored.profile.as_text() == profile.as_text() and held == contact:
            return profile, False, nearby.strong
        try:
            state.put_profile(profile, stored.version, now(), contact if contact != held else None)
        except ProfileMoved:
            continue
        if profile.suppressed:
            for strong in nearby.strong:
                state.suppress(strong, profile.suppressed, now())
        return profile, True, nearby.strong
    raise ProfileMoved(node)


def read_person(
    nearby: Neighbourhood, ledger: Packets, sites: Mapping[str, Site]
) -> tuple[Profile | None, dict[str, str]]:
    """A person's profile and contact as the ledger has them now; contact fields that came later replace earlier ones."""
    events, packets = events_of(nearby, ledger)
    contact: dict[str, str] = {}
    for packet in sorted(packets, key=lambda packet: (packet.received_at, packet.id)):
        for identifier, fields in packet.contact.items():
            if identifier in nearby.strong:
                contact.update(fields)
    groups = [site.list_name for event in events if (site := sites.get(event.site))]
    within = {name: site for name, site in sites.items() if groups and site.list_name == groups[0]}
    return fold(events, nearby.strong, within), contact


def events_of(nearby: Neighbourhood, ledger: Packets) -> tuple[list[Event], list[Packet]]:
    """Every event that is this person's, and the packets they came in."""
    packets = [packet for node in sorted(nearby.strong | nearby.near) for packet in ledger.packets(node)]
    events = [event for packet in packets for event in packet.events]
    persons = Persons([*nearby.links, *(link for event in events for link in links_of(event))], nearby.strong)
    person = person_id(anchor_of(nearby.strong))
    return [event for event in events if persons.owner_of(event) == person], packets
