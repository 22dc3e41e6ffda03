"""The projector: packets that arrived become evidence, and every person they touch is folded again.

Read the version first, then the nodes, then the packets, then fold, then write on that version: any other order can
lose an event without an error.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple, Protocol

from closedloop.errors import BadShape, ProfileMoved, TryAgain
from closedloop.events import event as names
from closedloop.events.confirmations import ASKED_WITHIN, Question, questions_of
from closedloop.events.event import Door, Event, distinct
from closedloop.events.identifiers import is_strong, normal_address
from closedloop.events.packet import Packet, retracted_by, standing
from closedloop.identity.accounts import company_facts
from closedloop.identity.evidence import Link, links_of
from closedloop.identity.flow import Evidence, Neighbourhood, ReadOnce, gather, strong_nodes
from closedloop.identity.persons import Persons, anchor_of, ids_of, person_id
from closedloop.profiles.fold import fold
from closedloop.profiles.profile import Profile
from closedloop.sites.definition import Site

if TYPE_CHECKING:
    from closedloop.store.profiles import StoredProfile

ROUNDS = 5
# A transaction holds a hundred writes, and an id that moves takes three.
MOST_FORMER = 30
HOT = frozenset((
    names.FORM_SUBMITTED, names.CONSENT_CONFIRMED, names.DEAL_OPENED, names.DEAL_WON, names.DEAL_LOST,
    names.DEAL_REFUNDED, names.ORDER_COMPLETED, names.ORDER_CANCELLED, names.ORDER_REFUNDED,
))


class Profiles(Evidence, Protocol):
    """What the projector needs of the State table."""

    def put_link(self, link: Link) -> None: ...
    def drop_link(self, link: Link) -> None: ...
    def enlist(self, group: str, person: str) -> None: ...
    def drop_profile(self, person: str, seen: int, now: datetime, group: str = "") -> None: ...
    def profile(self, person: str) -> StoredProfile: ...
    def contact(self, person: str) -> dict[str, str]: ...
    def put_profile(
        self,
        profile: Profile,
        seen: int,
        due_at: datetime,
        contact: Mapping[str, str] | None = None,
        former: Mapping[str, int] | None = None,
    ) -> None: ...
    def suppress(self, identifier: str, reason: str, now: datetime) -> None: ...
    def ask(self, question: Question) -> None: ...


class Packets(Protocol):
    """What the projector needs of the ledger."""

    def packets(self, node: str) -> Iterator[Packet]: ...


@dataclass
class Projected:
    """What came of a batch: the records to try again, the people whose profile changed, and the hot ones of them."""

    again: set[str] = field(default_factory=set)
    changed: set[str] = field(default_factory=set)
    hot: set[str] = field(default_factory=set)


class KeptEvidence:
    """Which evidence the table has already, as it was read once, so that nothing is written to say it again."""

    def __init__(self, evidence: Evidence) -> None:
        self._read = ReadOnce(evidence)
        self._added: dict[tuple[str, str, str], tuple[datetime, str]] = {}

    def has(self, link: Link) -> bool:
        """Whether the table has this evidence, or earlier evidence that says the same, at both its ends."""
        said = self._added.get((link.node, link.strong, link.kind))
        return (said is not None and said <= (link.at, link.event)) or all(
            any(
                (kept.node, kept.strong, kept.kind) == (link.node, link.strong, link.kind)
                and (kept.at, kept.event) <= (link.at, link.event)
                for kept in self._read.links(end)
            )
            for end in (link.strong, link.node)
        )

    def add(self, link: Link) -> None:
        """Note what was written."""
        self._added[link.node, link.strong, link.kind] = link.at, link.event


def project(
    arrived: Sequence[tuple[str, Packet, Sequence[Event]]],
    state: Profiles,
    ledger: Packets,
    sites: Mapping[str, Site],
    now: Callable[[], datetime],
) -> Projected:
    """Fold everybody whom a batch touches, once each.

    Shapes: each arrival is the record's number in the stream, its packet and the packet's events.
    """
    result = Projected()
    touched: dict[str, set[str]] = {}
    hot: set[str] = set()
    kept = KeptEvidence(state)
    for record, _, events in arrived:
        try:
            for link in dict.fromkeys(link for event in events for link in links_of(event)):
                # An app names its user in every event, which is nothing new after the first.
                if not kept.has(link):
                    state.put_link(link)
                    kept.add(link)
        except TryAgain:
            result.again.add(record)
    # The batch's own evidence is written; what others write meanwhile makes them fold the same people.
    known = ReadOnce(state)
    naming: set[str] = set()
    for record, packet, events in arrived:
        if record in result.again:
            continue
        try:
            found = strong_nodes(dict.fromkeys(node for event in events for node in event.nodes), known)
        except TryAgain:
            result.again.add(record)
            continue
        naming.update(name for event in events if _says_who(event) for name in event.identifiers)
        for node in found:
            touched.setdefault(node, set()).add(record)
        # What a list tells is history: it wakes nobody.
        if packet.door is not Door.LIST and any(event.name in HOT for event in events):
            hot.update(found)
    done: set[str] = set()
    waiting = deque(sorted(touched))
    while waiting:
        node = waiting.popleft()
        if node in done:
            continue
        try:
            folded = _refold(node, state, ledger, sites, now, known)
        except TryAgain:
            result.again.update(touched[node])
            continue
        done -= folded.parted
        done |= folded.nodes
        if folded.profile is not None:
            if folded.changed:
                result.changed.add(folded.profile.person)
            if hot & folded.nodes:
                result.hot.add(folded.profile.person)
        # Whoever was one with this person, or shares a name with them, may be another now; what a name did that is
        # shared and nobody's own is one of theirs.
        theirs = folded.beside if folded.profile is None or naming & folded.nodes else frozenset()
        for other in sorted(folded.parted | theirs):
            if other not in done:
                touched.setdefault(other, set()).update(touched[node])
                waiting.append(other)
    for record, packet, events in arrived:
        if record in result.again:
            continue
        try:
            for question in questions_of(packet, events):
                # What is read again much later, as by a replay, asks nobody any more.
                if now() - question.at <= ASKED_WITHIN:
                    state.ask(question)
                    result.hot.add(person_id(question.identifier))
        except TryAgain:
            result.again.add(record)
    return result


class _Folded(NamedTuple):
    """What came of folding one person, and whose person may be another by it.

    Shapes: `beside` share a contested name with this person; `parted` were joined by evidence that fell.
    """

    profile: Profile | None
    changed: bool
    nodes: frozenset[str]
    beside: frozenset[str]
    parted: frozenset[str]


def _says_who(event: Event) -> bool:
    """Whether an event can change who is who for others than those whom it names."""
    return len(event.identifiers) > 1 or event.name == names.CONSENT_CONFIRMED or (
        event.visitor is not None and bool(event.identifiers)
    )


def refold(
    node: str,
    state: Profiles,
    ledger: Packets,
    sites: Mapping[str, Site],
    now: Callable[[], datetime],
    known: Evidence | None = None,
) -> tuple[Profile | None, bool, frozenset[str]]:
    """Fold one person anew from the ledger and store the result if it is another than the stored one.

    A name that several people share is nobody's: what was stored under it is taken back.

    When strong nodes became one person, the profiles under their former ids become signs to this one in the same
    write, so that nobody is decided about twice; a sign is put even where no profile was, or a slower fold of the
    lone node would still write one.

    Shapes: the profile (None while there is nothing to fold), whether it changed, and the person's strong nodes;
    `known` is what was read of browsers and deals earlier in the batch.
    Errors: ProfileMoved after five rounds against others.
    """
    return _refold(node, state, ledger, sites, now, known)[:3]


def _refold(
    node: str,
    state: Profiles,
    ledger: Packets,
    sites: Mapping[str, Site],
    now: Callable[[], datetime],
    known: Evidence | None,
) -> _Folded:
    parted: set[str] = set()

    def folded(profile: Profile | None, changed: bool) -> _Folded:
        return _Folded(profile, changed, nearby.strong or frozenset((node,)), nearby.beside, frozenset(parted))

    # Most people have one strong node and are named after it; whoever is not is read again under the right name.
    person = person_id(node)
    rounds = ROUNDS + 1
    while rounds:
        rounds -= 1
        stored = state.profile(person)
        held = state.contact(person) if stored.version else {}
        nearby = gather(node, state, known)
        named = person_id(anchor_of(nearby.strong or (node,)))
        if named != person:
            person = named
            continue
        packets = packets_of(nearby, ledger)
        fallen = fallen_links(nearby, packets)
        if fallen:
            # Who is whom is asked anew without it; those who were joined by it alone have their own ids back.
            for link, other in fallen.items():
                state.drop_link(link)
                parted |= {name for name in (link.node, link.strong) if is_strong(name)}
                if other is not None:
                    state.put_link(other)
            known = None
            continue
        profile, contact = _profile_of(nearby, packets, sites)
        if profile is None:
            try:
                return folded(None, _forget(person, nearby, packets, stored, state, now()))
            except ProfileMoved:
                continue
        if stored.profile is not None and stored.profile.as_text() == profile.as_text() and held == contact:
            return folded(profile, False)
        former = _former(profile, stored, state)
        if stored.version and stored.profile is None:
            # The id was somebody else's for a while, or nobody's.
            state.enlist(profile.group, person)
        if profile.suppressed:
            # Before the profile is stored: an equal profile must mean that this was done.
            for strong in profile.nodes:
                state.suppress(strong, profile.suppressed, now())
        at_once = dict([*former.items()][:MOST_FORMER])
        wait = former.keys() - at_once.keys()
        # Names whose ids wait for the next write are not the profile's yet, so that who goes on knows what is left.
        written = replace(profile, nodes=tuple(n for n in profile.nodes if person_id(n) not in wait))
        try:
            state.put_profile(written, stored.version, now(), contact if contact != held else None, at_once)
        except ProfileMoved:
            continue
        if not wait:
            return folded(profile, True)
        rounds += 1
    raise ProfileMoved(node)


def _forget(
    person: str, nearby: Neighbourhood, packets: Mapping[str, Sequence[Packet]], stored: StoredProfile, state: Profiles,
    now: datetime,
) -> bool:
    """Take back the profile, or the sign to another, of a person of whom nothing stands; whether there was one.

    Errors: ProfileMoved.
    """
    if not (stored.profile or stored.moved_to) or _told(nearby, packets):
        return False
    state.drop_profile(person, stored.version, now, stored.profile.group if stored.profile else "")
    return stored.profile is not None


def _former(profile: Profile, stored: StoredProfile, state: Profiles) -> dict[str, int]:
    """The ids that this person has no longer and that are no signs to them yet, each with the version seen."""
    known = set(ids_of(stored.profile.nodes)) if stored.profile is not None else set()
    former = {}
    for person in ids_of(profile.nodes)[1:]:
        if person not in known:
            other = state.profile(person)
            # A sign to whom the id was one with before leads astray once that one is somebody else.
            if other.moved_to != profile.person:
                former[person] = other.version
    return former


def read_person(
    nearby: Neighbourhood, ledger: Packets, sites: Mapping[str, Site]
) -> tuple[Profile | None, dict[str, str]]:
    """A person's profile and contact as the ledger has them now; later contact fields replace earlier ones."""
    return _profile_of(nearby, packets_of(nearby, ledger), sites)


def _profile_of(
    nearby: Neighbourhood, packets: Mapping[str, Sequence[Packet]], sites: Mapping[str, Site]
) -> tuple[Profile | None, dict[str, str]]:
    events = _told(nearby, packets)
    contact: dict[str, str] = {}
    addresses: list[str] = []
    every = (packet for arrived in packets.values() for packet in standing(arrived))
    for packet in sorted(every, key=lambda packet: (packet.received_at, packet.id)):
        for identifier, fields in packet.contact.items():
            if identifier in nearby.strong:
                addresses += [value for name, value in fields.items() if name == "email"]
                contact.update(
                    (name, value)
                    for name, value in fields.items()
                    if name != "email" or normal_address(value) is not None
                )
    contact |= company_facts(events, addresses)
    groups = [site.list_name for event in events if (site := sites.get(event.site))]
    within = {name: site for name, site in sites.items() if groups and site.list_name == groups[0]}
    return fold(events, nearby.strong, within), contact


def events_of(nearby: Neighbourhood, ledger: Packets) -> list[Event]:
    """Every event that is this person's and stands."""
    return _told(nearby, packets_of(nearby, ledger))


def packets_of(nearby: Neighbourhood, ledger: Packets) -> dict[str, list[Packet]]:
    """Every packet of a person's nodes, by node."""
    return {node: list(ledger.packets(node)) for node in sorted(nearby.strong | nearby.near)}


def fallen_links(nearby: Neighbourhood, packets: Mapping[str, Sequence[Packet]]) -> dict[Link, Link | None]:
    """The evidence of a person that was retracted, each with the earliest of what says the same and stands."""
    gone = {one for arrived in packets.values() for packet in arrived for one in retracted_by(packet)}
    if not gone:
        return {}
    stand = [event for arrived in packets.values() for packet in standing(arrived) for event in readable(packet)]
    ids = {event.id for event in stand}
    others: dict[tuple[str, str, str], Link] = {}
    for link in sorted((link for event in stand for link in links_of(event)), key=lambda link: (link.at, link.event)):
        others.setdefault((link.node, link.strong, link.kind), link)
    return {
        link: others.get((link.node, link.strong, link.kind))
        for link in nearby.links if link.event in gone - ids
    }


def _told(nearby: Neighbourhood, packets: Mapping[str, Sequence[Packet]]) -> list[Event]:
    events: list[Event] = []
    links = list(nearby.links)
    for arrived in packets.values():
        told = [event for packet in standing(arrived) for event in readable(packet)]
        links += (link for event in told for link in links_of(event))
        # Copies of one event lie in one partition; they must not fall to two people by a blink between their times.
        events += distinct(told)
    if not nearby.strong:
        return []
    persons = Persons(links, nearby.strong)
    person = person_id(anchor_of(nearby.strong))
    # What an operator decided says who somebody is, not what they did.
    return [event for event in events if event.name not in names.WHO_IS_WHO and persons.owner_of(event) == person]


def readable(packet: Packet) -> list[Event]:
    """A packet's events; none when one cannot be read, as the whole packet was then kept as a failed event."""
    try:
        return packet.events
    except BadShape:
        return []
