"""Holds the live profiles against the ledger: everybody folded anew, and who differs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

from closedloop.events.event import WHO_IS_WHO, Event, distinct
from closedloop.events.packet import RETRACTABLE, Packet, standing
from closedloop.identity.evidence import links_of
from closedloop.identity.persons import Persons
from closedloop.profiles.flow import readable
from closedloop.profiles.fold import fold
from closedloop.profiles.profile import Profile
from closedloop.sites.definition import Site


@dataclass(frozen=True, slots=True)
class Checked:
    """How the live profiles stand: persons in the ledger, and what those whose live profile is another should have.

    Units: `events` counts distinct ids.
    """

    events: int
    packets: int
    persons: int
    stale: tuple[Profile, ...]


def folded(packets: Iterable[Packet], sites: Mapping[str, Site]) -> tuple[Iterator[Profile], int, int]:
    """Everybody's profile from the whole ledger, with the numbers of packets and of distinct events."""
    every = list(packets)
    told: dict[str, list[Event]] = {}
    for packet in standing(every):
        told.setdefault(packet.subject, []).extend(readable(packet))
    events = [event for own in told.values() for event in own]
    strong = {identifier for event in events for identifier in event.identifiers}
    persons = Persons((link for event in events for link in links_of(event)), strong)
    theirs: dict[str, list[Event]] = {}
    for event in (event for own in told.values() for event in distinct(own) if event.name not in WHO_IS_WHO):
        person = persons.owner_of(event)
        if person is not None:
            theirs.setdefault(person, []).append(event)

    def profiles() -> Iterator[Profile]:
        for person, own in sorted(theirs.items()):
            known = next((sites[event.site] for event in own if event.site in sites), None)
            if known is None:
                continue
            group = {name: site for name, site in sites.items() if site.list_name == known.list_name}
            profile = fold(own, persons.nodes[person], group)
            if profile is not None:
                yield profile

    # What was taken back was received and is archived all the same.
    retractable = {event.id for packet in every if packet.door in RETRACTABLE for event in readable(packet)}
    return profiles(), len(every), len(retractable | {event.id for event in events})


def is_stale(profile: Profile, live: Callable[[str], Profile | None]) -> bool:
    """Whether the live profile of a person is another than the one folded."""
    stored = live(profile.person)
    return stored is None or stored.as_text() != profile.as_text()


def check(packets: Iterable[Packet], live: Callable[[str], Profile | None], sites: Mapping[str, Site]) -> Checked:
    """Fold everybody anew and hold each against the live profile."""
    profiles, packet_count, event_count = folded(packets, sites)
    persons, stale = 0, []
    for profile in profiles:
        persons += 1
        if is_stale(profile, live):
            stale.append(profile)
    return Checked(event_count, packet_count, persons, tuple(stale))
