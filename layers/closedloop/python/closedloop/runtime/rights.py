"""Everything that is held about one person, in both tables and in the lake: to show it, or to erase it.

Both go through all that there is, since nothing lists where a person is mentioned. An erasure is noted whole before
anything of it is done, and every step of it may be done twice: whoever is cut off starts the command again.
"""

from __future__ import annotations

import json
import re
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Set
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from functools import cached_property
from typing import Any
from unicodedata import normalize
from urllib.parse import unquote_plus

from closedloop.capture.wire import ADDRESS_LIKE
from closedloop.errors import BadShape
from closedloop.events.erased import cut
from closedloop.events.event import Event, distinct
from closedloop.events.failed import FailedEvent
from closedloop.events.identifiers import Hasher, is_strong
from closedloop.events.packet import Packet
from closedloop.events.times import iso, parse
from closedloop.identity.evidence import EvidenceKind, Link, links_of
from closedloop.identity.flow import gather
from closedloop.identity.persons import Persons, anchor_of, person_id
from closedloop.lake import layout
from closedloop.lake.compact import renew
from closedloop.lake.erase import About, Found, anonymous, anonymous_decision, go_through, put_missing, renamed_in
from closedloop.lake.rows import event_row
from closedloop.profiles.flow import packets_of, read_person, readable, refold
from closedloop.runtime import clock, doors, lists
from closedloop.sites.definition import Site
from closedloop.store import schema
from closedloop.store.decisions import decision_row
from closedloop.store.ledger import failed_of, packet_item, packet_of
from closedloop.store.profiles import person_of
from closedloop.store.rights import Erasure, is_of, kept_of_erased, packed_mentions, reworded

# Every running function reads anew who was erased within a minute, and none runs for longer than two.
SETTLED = timedelta(seconds=180)
# Fields by which senders name a browser.
BROWSER = frozenset(("anonymousid", "anonymous_id", "cl_anonymous_id", "visitor"))
DIGITS = re.compile(r"\d")
Progress = Callable[[str, int, int | None], None]


def untold(what: str, done: int, of: int | None) -> None:
    """Tells nobody how far it is."""


@dataclass(frozen=True)
class Subject:
    """One person, and how everything about them is known."""

    erasure: Erasure
    sites: Mapping[str, Site]
    pepper: bytes

    @cached_property
    def persons(self) -> Persons:
        """Who owned each browser when, by the evidence as it was."""
        links = [Link(node, strong, EvidenceKind(kind), parse(at), event)
                 for node, strong, kind, at, event in self.erasure.links]
        return Persons(links, sorted(self.erasure.strong))

    @cached_property
    def names(self) -> dict[str, str]:
        return {**self.erasure.names, **self.erasure.persons}

    def gone(self, event: Event) -> Set[str]:
        """The nodes of an event that are this person's; all of them where the event itself is."""
        if event.site not in self.sites:
            return frozenset()
        mine = frozenset(node for node in event.nodes if node in self.erasure.names)
        if not mine and not any(node in self.erasure.shared for node in event.nodes):
            return mine
        own = self.persons.owner_of(event) == self.erasure.person or (
            mine and not any(is_strong(node) and node not in mine for node in event.nodes)
        )
        return frozenset(event.nodes) if own else mine

    def is_own(self, event: Event) -> bool:
        """Whether this person did what an event tells, and is not only named in it."""
        gone = self.gone(event)
        return bool(gone) and gone >= set(event.nodes)

    def left_of(self, item: Mapping[str, Any]) -> list[dict[str, Any]] | None:
        """What stays of an item of the ledger; None where it is not about this person at all."""
        kind = item.get(schema.KIND, {}).get("S")
        if kind == schema.PACKET:
            try:
                packet = packet_of(item)
                left = [self._renamed(one) for one in cut(packet, self.gone)]
            except BadShape:
                return [] if self._lies_under(item) else None
            return None if left == [packet] else [packet_item(one) for one in left]
        if kind == schema.FAILED:
            try:
                return [] if self.has_failed(failed_of([item])) else None
            except BadShape:
                return None
        return None

    def _renamed(self, packet: Packet) -> Packet:
        """A packet in which others tell, by a random name, who brought them."""
        records = json.dumps(packet.records, ensure_ascii=False)
        other = renamed_in(records, self.names)
        return packet if other == records else replace(packet, records=tuple(json.loads(other)))

    def _lies_under(self, item: Mapping[str, Any]) -> bool:
        subject = str(item[schema.PK]["S"])
        node = "v:" + subject[2:].replace("#", ":", 1) if subject.startswith("V#") else subject[2:]
        return node in self.erasure.names

    def has_failed(self, failed: FailedEvent) -> bool:
        """Whether something that failed is about this person."""
        return self.mentions(failed.payload, failed.site) or self.mentions(failed.reason.encode(), failed.site)

    def mentions(self, payload: bytes, site: str) -> bool:
        """Whether outside bytes name this person, in any of the ways in which senders write.

        Shapes: addresses and ids are compared as the doors compare them; a browser counts only where a field says that
        it is one; a site of another customer list is never asked.
        """
        if site and site not in self.sites:
            return False
        text = payload.decode("utf-8", "replace")
        try:
            told = json.loads(text)
        except ValueError:
            told = dict(_form(text))
        if isinstance(told, dict) and schema.PK in told and schema.BODY in told:
            left = self.left_of({**told, schema.KIND: {"S": schema.PACKET}})
            if left is not None:
                return True
        if any(self._is_told(name, value, site) for name, value in _texts(told)):
            return True
        plain = unquote_plus(text)
        return any(self.cell(found[0]) for found in ADDRESS_LIKE.finditer(plain))

    def _is_told(self, name: str, value: str, site: str) -> bool:
        if name.lower() in BROWSER and any(f"v:{one}:{value}" in self.erasure.names for one in self.sites):
            return True
        return self.cell(value)

    def cell(self, value: str, system: str = "") -> bool:
        """Whether one value is an address, an id, a phone or, where it is known of which system, a number of theirs."""
        text = normalize("NFKC", value).strip()
        if not text:
            return False
        hasher = self._hasher
        named = {hasher.address(text), hasher.user(text), hasher.phone(text)}
        if system:
            named |= {hasher.user(f"{system}:{text}"), hasher.customer(text, system)}
        if not named.isdisjoint(self.erasure.strong):
            return True
        digits = "".join(DIGITS.findall(text))
        phones = ("".join(DIGITS.findall(phone))[-9:] for phone in self.erasure.words.get("phone", ()))
        return len(digits) >= 9 and any(digits.endswith(phone) for phone in phones if len(phone) == 9)

    def cell_of(self, key: str) -> Callable[[str], bool]:
        """Which cells of a dropped file are this person's: those of another customer list never are."""
        parts = key.removeprefix(layout.IMPORTS).split("/")
        if len(parts) != 4 or parts[1] not in self.sites:
            return lambda cell: False
        mapping = lists.lists().mapping(parts[1], parts[0], parts[2])
        system = (mapping.namespace or "") if mapping else ""
        return lambda cell: self.cell(cell, system)

    @cached_property
    def _hasher(self) -> Hasher:
        return Hasher(self.pepper, self.erasure.group)

    @property
    def about(self) -> About:
        return About(self.gone, self.names, self.sites, self.left_of, self.mentions, self.cell_of)


def _form(text: str) -> Iterator[tuple[str, str]]:
    for pair in text.split("&"):
        name, _, value = pair.partition("=")
        yield unquote_plus(name), unquote_plus(value)


def _texts(told: Any, name: str = "") -> Iterator[tuple[str, str]]:
    """Every text in a piece of JSON, with the name of its field."""
    if isinstance(told, dict):
        for key, value in told.items():
            yield from _texts(value, str(key))
    elif isinstance(told, list):
        for value in told:
            yield from _texts(value, name)
    elif isinstance(told, str):
        yield name, told
    elif isinstance(told, int) and not isinstance(told, bool):
        yield name, str(told)


def whom(identifier: str, site: Site, at: datetime, why: str = "", asked_by: str = "") -> Subject:
    """The person whom an identifier names, with all that they are known by."""
    state, sites = doors.state(), doors.sites()
    within = {name: one for name, one in sites.items() if one.list_name == site.list_name}
    begun = state.erasing(identifier)
    if begun is not None:
        return Subject(begun, within, doors.pepper())
    nearby = gather(identifier, state)
    strong = nearby.strong or frozenset((identifier,))
    packets = packets_of(nearby, doors.ledger())
    links = list(dict.fromkeys((*nearby.links, *(
        link for arrived in packets.values() for packet in arrived for event in readable(packet)
        for link in links_of(event)
    ))))
    shared = sorted(
        node for node in nearby.near
        if not node.startswith("v:") or any(
            link.node == node and link.strong not in strong and link.kind is EvidenceKind.TOLD for link in links
        )
    )
    own = sorted(node for node in nearby.near if node.startswith("v:") and node not in shared)
    names = {**_random_names(strong), **_random_names(own)}
    _, contact = read_person(nearby, doors.ledger(), sites)
    words: dict[str, set[str]] = {}
    for fields in (contact, *(packet.contact.get(one, {}) for arrived in packets.values() for packet in arrived
                              for one in strong)):
        for name, value in fields.items():
            words.setdefault(name, set()).add(value)
    erasure = Erasure(
        identifier=identifier, name=uuid.UUID(bytes=clock.new_secret()[:16]).hex, group=site.list_name,
        person=person_id(anchor_of(strong)), at=iso(at), why=why, asked_by=asked_by, names=names,
        persons={person_id(node): person_id(names[node]) for node in strong}, shared=tuple(shared),
        words={name: tuple(sorted(values)) for name, values in words.items()},
        links=tuple((link.node, link.strong, link.kind.value, iso(link.at), link.event) for link in _changes(links)),
    )
    return Subject(erasure, within, doors.pepper())


def _random_names(nodes: Iterable[str]) -> dict[str, str]:
    """A random name for each node, of its kind, in the same order as the nodes, so that whatever takes the first or the
    least of several takes the same one as before."""
    names: dict[str, str] = {}
    kinds: dict[str, list[str]] = {}
    for node in sorted(nodes):
        kinds.setdefault(node.rpartition(":")[0], []).append(node)
    for kind, group in kinds.items():
        made = sorted(uuid.UUID(bytes=clock.new_secret()[:16]).hex for _ in group)
        names.update({node: f"{kind}:{name}" for node, name in zip(group, made, strict=True)})
    return names


def _changes(links: Iterable[Link]) -> list[Link]:
    """The evidence that tells when a browser changed hands, without what says the same again."""
    kept: list[Link] = []
    last: dict[tuple[str, EvidenceKind], str] = {}
    for link in sorted(links, key=lambda one: (one.at, one.event, one.node, one.strong)):
        if is_strong(link.node) or last.get((link.node, link.kind)) != link.strong:
            kept.append(link)
        last[link.node, link.kind] = link.strong
    return kept


@dataclass(slots=True)
class Held:
    """Everything that is held about a person, as it lies there."""

    state: list[Mapping[str, Any]] = field(default_factory=list)
    packets: list[Packet] = field(default_factory=list)
    failed: list[FailedEvent] = field(default_factory=list)
    lake: Found = field(default_factory=Found)

    @property
    def counts(self) -> dict[str, int]:
        """How much of each kind there is; empty when nothing is held."""
        counts = {
            "state_items": len(self.state), "packets": len(self.packets),
            "events": len({record["id"] for packet in self.packets for record in packet.records}),
            "failed_events": len(self.failed),
            **{f"lake_{folder.rstrip('/')}": len(rows) for folder, rows in sorted(self.lake.rows.items())},
        }
        return counts if any(counts.values()) else {}


def held(subject: Subject, progress: Progress = untold) -> Held:
    """Everything that is held about a person; nothing is changed."""
    found = Held(lake=go_through(doors.lake(), subject.about, rewrite=False, progress=progress))
    for number, item in enumerate(doors.ledger().every_item(), 1):
        failed = _failed_event(item, subject)
        if failed is not None:
            found.failed.append(failed)
        elif item.get(schema.KIND, {}).get("S") == schema.PACKET and subject.left_of(item) is not None:
            found.packets += _own_part(item, subject)
        progress("ledger", number, None)
    for number, item in enumerate(doors.state().everything(), 1):
        if not kept_of_erased(item) and (is_of(item, subject.names) or reworded(item, subject.names)):
            found.state.append(item)
        progress("state", number, None)
    return found


def _own_part(item: Mapping[str, Any], subject: Subject) -> list[Packet]:
    """The events of a packet that are this person's, and their own words alone."""
    try:
        packet = packet_of(item)
        records = tuple(
            record for record, event in zip(packet.records, packet.events, strict=True) if subject.is_own(event)
        )
    except BadShape:
        return []
    contact = {one: fields for one, fields in packet.contact.items() if one in subject.erasure.strong}
    return [replace(packet, records=records, contact=contact)] if records else []


def _failed_event(item: Mapping[str, Any], subject: Subject) -> FailedEvent | None:
    """The failed event of an item of the ledger, with all its bytes, if it is about this person."""
    if item.get(schema.KIND, {}).get("S") != schema.FAILED:
        return None
    try:
        head = failed_of([item])
        whole = doors.ledger().failed(f"{head.received_at:%Y-%m-%d}", _name_of(item)) if "parts" in item else [head]
    except BadShape:
        return None
    return next((one for one in whole if subject.has_failed(one)), None)


def counted(subject: Subject, found: Held) -> Subject:
    """The person with what there is of them, as the record of an erasure tells it, however often that is cut off."""
    return replace(subject, erasure=replace(subject.erasure, counts=found.counts))


def erase(subject: Subject, progress: Progress = untold) -> Mapping[str, int]:
    """Erase a person: nothing names them any more, and every total stays; what there was of them, in numbers.

    Errors: TryAgain when somebody else is at it; the same command goes on from there.
    """
    state, erasure = doors.state(), subject.erasure
    if state.erasing(erasure.identifier) is None:
        state.begin_erasure(erasure)
    state.bury(erasure)
    for person in erasure.persons:
        state.forget_person(person)
    _wait_until(parse(erasure.at) + SETTLED, progress)
    archived = go_through(doors.lake(), subject.about, rewrite=True, progress=progress).ids
    _erase_ledger(subject, archived, progress)
    _erase_state(subject, archived, progress)
    # Last: by now everything that was delivered lies there without the person.
    renew(doors.lake(), progress)
    state.end_erasure(erasure, clock.now())
    return erasure.counts


def _wait_until(moment: datetime, progress: Progress) -> None:
    """Wait until every function that runs knows that this person was erased."""
    left = whole = max(0, int((moment - clock.now()).total_seconds()) + 1)
    while left > 0:
        clock.sleep(min(left, 5))
        left = max(0, left - 5)
        progress("waiting until every function knows", whole - left, whole)


def _erase_ledger(subject: Subject, archived: Set[str], progress: Progress) -> None:
    sites = subject.sites
    for number, item in enumerate(doors.ledger().every_item(), 1):
        progress("ledger", number, None)
        failed = _failed_event(item, subject)
        if failed is not None:
            doors.ledger().forget_failed(failed)
        if item.get(schema.KIND, {}).get("S") != schema.PACKET:
            continue
        left = subject.left_of(item)
        if left is None:
            continue
        missing = [
            anonymous(event_row(event, sites[event.site], packet.schema), subject.gone(event) & subject.names.keys(),
                      subject.names, sites.values())
            for packet in _own_part(item, subject) for event in packet.events if event.id not in archived
        ]
        # Reports read the lake alone, so what it lacks is written there before the ledger lets it go.
        put_missing(doors.lake(), layout.EVENTS, missing, lambda row: parse(row["received_at"]),
                    f"erased-{_name_of(item)}")
        doors.ledger().replace(item, [packet_of(one) for one in left])


def _name_of(item: Mapping[str, Any]) -> str:
    # The key names a browser or an identifier; what the object is called must not.
    return str(item[schema.SK]["S"]).rpartition("#")[2]


def _erase_state(subject: Subject, archived: Set[str], progress: Progress) -> None:
    state = doors.state()
    for number, item in enumerate(state.everything(), 1):
        progress("state", number, None)
        if kept_of_erased(item):
            continue
        if is_of(item, subject.names):
            if item.get(schema.KIND, {}).get("S") in schema.DECISION_KINDS:
                row = anonymous_decision(decision_row(item), subject.names)
                if row["id"] not in archived:
                    put_missing(doors.lake(), layout.DECISIONS, [row], lambda one: parse(one["at"]),
                                f"erased-{uuid.uuid5(uuid.NAMESPACE_OID, row['id']).hex}")
            state.remove(item)
        elif words := reworded(item, subject.names):
            state.rewrite(item, words)
        elif packed_mentions(item, subject.names):
            # The ledger names the person no more, nor does a profile that is folded from it anew.
            told = state.profile(person_of(item)).profile
            if told is not None:
                refold(told.anchor, state, doors.ledger(), doors.sites(), clock.now)


def own_events(found: Held, as_of: datetime) -> list[Event]:
    """The person's events that were received by a moment, each once, in order of time."""
    return distinct(event for packet in found.packets if packet.received_at <= as_of for event in packet.events)


def as_record(event: Event) -> dict[str, Any]:
    """An event as it is shown to the one whom it is about."""
    return {**asdict(event), "occurred_at": iso(event.occurred_at), "received_at": iso(event.received_at)}
