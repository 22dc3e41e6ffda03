"""Offices whose people are hard to tell apart, with the truth about who did what: what identity is measured against.

| who is hard to tell               | how often                                                                  |
|-----------------------------------|----------------------------------------------------------------------------|
| several on one browser            | every fifth office has such a computer; each tells a name on it once       |
| one on two browsers               | half; the second is joined by an id, by a mailed link, or by nothing       |
| a mail handed on                  | every tenth; opened where a name was told, or where none was               |
| another address                   | every sixth; told with the same id, the same mobile phone, or with nothing |
| a switchboard's number            | in every second form                                                       |
| one login of several              | every twentieth office                                                     |
| customers of a company taken over | every third; by its number, with an address, a mobile phone, or neither    |

Three of four confirm the address that they gave. Nothing here goes through the doors: it is as the ledger keeps it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from random import Random
from typing import Any

from closedloop.events.event import CONSENT_CONFIRMED, EMAIL_CLICKED, FORM_SUBMITTED, Door, Event
from closedloop.events.identifiers import Hasher
from closedloop.events.packet import Packet
from closedloop.events.times import iso
from closedloop.identity.evidence import links_of
from closedloop.identity.persons import Persons
from closedloop.world.people import chance

SITE = "demo"
DAYS = 90
TAKEN_OVER = "west"


@dataclass(frozen=True, slots=True)
class Offices:
    """What was told, and who did it.

    Shapes: `who` is the number of the person by the id of each event.
    """

    packets: tuple[Packet, ...]
    who: Mapping[str, int]

    @property
    def events(self) -> list[Event]:
        return [event for packet in self.packets for event in packet.events]


@dataclass(frozen=True, slots=True)
class Resolved:
    """How well persons were told apart, over all pairs of facts: one person's or not, joined or not.

    Units: `precision` is the share of joined pairs that are one person's, `recall` the share of one person's that were
    joined; from 0 to 1.
    """

    people: int
    facts: int
    persons: int
    precision: float
    recall: float


@dataclass(slots=True)
class _Teller:
    """Writes down what happens, and who did it."""

    hasher: Hasher
    until: datetime
    rng: Random
    packets: list[Packet] = field(default_factory=list)
    who: dict[str, int] = field(default_factory=dict)

    def tell(
        self, person: int, ids: Iterable[str] = (), *, browser: str = "", door: Door = Door.FORM, name: str = "",
        days: float | None = None,
    ) -> None:
        at = self.until - timedelta(days=self.rng.uniform(1, DAYS) if days is None else max(days, 0.01))
        named = list(ids)
        record: dict[str, Any] = {
            "id": f"{SITE}/{door}/o{len(self.packets):07d}", "type": "track" if name else "page", "name": name,
            "at": iso(at), "ids": named, "context": {"page": {"path": "/products/pumps"}},
        }
        if browser:
            record["visitor"] = browser
        subject = f"V#{SITE}#{browser}" if browser else f"I#{named[0]}"
        self.packets.append(Packet(subject, SITE, door, at, (record,)))
        self.who[record["id"]] = person


def offices(people: int, seed: int, until: datetime, hasher: Hasher) -> Offices:
    """So many people in offices of one to twelve; the same numbers tell the same."""
    rng = chance(seed, "offices", people)
    teller = _Teller(hasher, until, rng)
    number = office = 0
    while number < people:
        office += 1
        size = min(rng.choice((1, 1, 2, 3, 4, 6, 8, 12)), people - number)
        staff = range(number, number + size)
        _tell_office(teller, office, staff)
        number += size
    return Offices(tuple(teller.packets), teller.who)


def _tell_office(teller: _Teller, office: int, staff: range) -> None:
    rng, hasher = teller.rng, teller.hasher
    shared = f"pc-{office}" if len(staff) > 1 and rng.random() < 0.2 else ""
    login = hasher.user(f"login-{office}") if len(staff) > 1 and rng.random() < 0.05 else None
    desk = hasher.phone(f"+8132{office:07d}")
    for person in staff:
        mail = _address(teller, person, office)
        first = rng.uniform(40, DAYS)
        own = f"laptop-{person}"
        ids = [mail, *([desk] if desk and rng.random() < 0.5 else [])]
        _visit(teller, person, own, first, 3)
        teller.tell(person, ids, browser=own, name=FORM_SUBMITTED, days=first)
        if rng.random() < 0.75:
            teller.tell(person, [mail], door=Door.LINK, name=CONSENT_CONFIRMED, days=first - 0.1)
        _second_browser(teller, person, mail, first)
        if shared:
            moment = rng.uniform(1, 39)
            teller.tell(person, [mail], browser=shared, name=FORM_SUBMITTED, days=moment)
            _visit(teller, person, shared, moment, 2, after=True)
        if login:
            moment = rng.uniform(1, 39)
            teller.tell(person, [mail, login], door=Door.BEACON, name="Signed In", days=moment)
            teller.tell(person, [login], door=Door.BEACON, name="Ordered", days=moment - 0.02)
        if rng.random() < 0.1 and len(staff) > 1:
            colleague = rng.choice([one for one in staff if one != person])
            browser = f"laptop-{colleague}" if rng.random() < 0.7 else f"tablet-{colleague}"
            teller.tell(colleague, [mail], browser=browser, door=Door.LINK, name=EMAIL_CLICKED, days=rng.uniform(1, 30))
        _another_address(teller, person, mail)
        _taken_over(teller, person, mail)


def _address(teller: _Teller, person: int, office: int | str) -> str:
    return teller.hasher.address(f"person{person}@office{office}.example") or ""


def _visit(teller: _Teller, person: int, browser: str, days: float, pages: int, *, after: bool = False) -> None:
    for page in range(1, pages + 1):
        teller.tell(person, browser=browser, door=Door.BEACON, days=days + (-page if after else page) / 500)


def _second_browser(teller: _Teller, person: int, mail: str, first: float) -> None:
    rng, browser = teller.rng, f"phone-{person}"
    if rng.random() >= 0.5:
        return
    _visit(teller, person, browser, first - 10, 3)
    how = rng.choices(("id", "click", "nothing"), (45, 35, 20))[0]
    if how == "id":
        user = teller.hasher.user(f"user-{person}") or ""
        teller.tell(person, [mail, user], door=Door.BEACON, name="Signed In", days=first - 5)
        teller.tell(person, [user], browser=browser, door=Door.BEACON, name="Signed In", days=first - 10)
    elif how == "click":
        teller.tell(person, [mail], browser=browser, door=Door.LINK, name=EMAIL_CLICKED, days=first - 10)


def _another_address(teller: _Teller, person: int, mail: str) -> None:
    rng, hasher = teller.rng, teller.hasher
    if rng.random() >= 1 / 6:
        return
    now, by = _address(teller, person, "new"), rng.choices(("id", "mobile", "nothing"), (60, 20, 20))[0]
    name = {"id": hasher.user(f"user-{person}"), "mobile": hasher.phone(f"+8190{person:08d}")}.get(by)
    both = [name] if name else []
    if both:
        teller.tell(person, [mail, *both], name=FORM_SUBMITTED, days=20)
    teller.tell(person, [now, *both], name=FORM_SUBMITTED, days=10)
    if rng.random() < 0.3:
        teller.tell(person, [now], door=Door.LINK, name=CONSENT_CONFIRMED, days=9)


def _taken_over(teller: _Teller, person: int, mail: str) -> None:
    rng, hasher = teller.rng, teller.hasher
    if rng.random() >= 1 / 3:
        return
    number, mobile = hasher.customer(f"W-{person}", TAKEN_OVER) or "", hasher.phone(f"+8170{person:08d}") or ""
    by = rng.choices(("address", "mobile", "neither"), (60, 25, 15))[0]
    listed = {"address": [mail, number], "mobile": [number, mobile], "neither": [number]}[by]
    teller.tell(person, listed, door=Door.LIST, days=30)
    teller.tell(person, [number], door=Door.LIST, name="Visited Dealer", days=25)
    if by == "mobile":
        teller.tell(person, [mail, mobile], name=FORM_SUBMITTED, days=15)


def resolved(world: Offices, persons: Persons | None = None) -> Resolved:
    """How well the product's own rules tell these people apart; what nothing joins is counted as missed.

    Source: pairwise precision and recall of entity resolution, counted by the sizes of clusters.
    """
    events = world.events
    if persons is None:
        names = {name for event in events for name in event.identifiers}
        persons = Persons((link for event in events for link in links_of(event)), names)
    found: dict[str, Hashable] = {
        event.id: persons.owner_of(event) or (event.visitor or event.identifiers) for event in events
    }
    both = Counter((world.who[event], person) for event, person in found.items())
    joined, true = Counter(found.values()), Counter(world.who[event] for event in found)
    right = _pairs(both.values())
    return Resolved(
        len(true), len(found), len(joined), right / max(_pairs(joined.values()), 1),
        right / max(_pairs(true.values()), 1),
    )


def _pairs(sizes: Iterable[int]) -> int:
    return sum(size * (size - 1) // 2 for size in sizes)
