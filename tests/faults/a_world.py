"""A small world of people for the nemesis, by a seed: every event that they cause, with door and subject."""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from closedloop.events import event as names
from closedloop.events.event import Door, Event
from closedloop.events.packet import Packet
from tests.builders import CHROME, GOOGLEBOT, HASHER, a_deal, a_form, a_packet, a_record, address, minutes, user

Contact = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Fact:
    """One event as its door would store it."""

    record: Mapping[str, Any]
    door: Door
    agent: str
    contact: Contact

    @property
    def subject(self) -> str:
        return self.packet.subject

    @property
    def packet(self) -> Packet:
        """The event alone in a packet."""
        return a_packet(self.record, door=self.door, agent=self.agent, contact=self.contact)

    @property
    def event(self) -> Event:
        return self.packet.events[0]


def a_world(seed: int) -> list[Fact]:
    """About forty events of people who read, share a browser or a login, tell names, click mails, buy and leave."""
    rng = random.Random(seed)
    facts: list[Fact] = []

    def fact(
        record: Mapping[str, Any], door: Door = Door.BEACON, agent: str = CHROME, contact: Contact | None = None
    ) -> None:
        facts.append(Fact({**record, "id": f"northwind/{door}/{len(facts):03d}"}, door, agent, contact or {}))

    def pages(visitor: str, count: int, agent: str = CHROME) -> None:
        for _ in range(count):
            path = rng.choice(["/pumps/p-200", "/pumps/p-300", "/valves/v-1", "/about"])
            fact(a_record(at=minutes(rng.randint(0, 300)), visitor=visitor, path=path), agent=agent)

    def form(name: str, visitor: str = "", at: float | None = None) -> None:
        moment = minutes(rng.randint(0, 300) if at is None else at)
        mail = f"{name}@acme.example"
        record = a_form(ids=[address(mail)], at=moment, visitor=visitor, traits={"industry": "manufacturing"})
        fact(record, Door.FORM, contact={address(mail): {"email": mail, "last_name": name.title()}})

    # Jane reads, asks, buys, gives a part back.
    pages("jane-laptop", 3)
    form("jane", "jane-laptop")
    fact(a_deal(ids=[address("jane@acme.example")], at=minutes(310)), Door.DEAL)
    fact(a_deal(names.DEAL_WON, at=minutes(rng.choice([305, 320]))), Door.DEAL)
    if rng.random() < 0.5:
        fact(a_deal(names.DEAL_REFUNDED, amount_minor=100_000, at=minutes(330)), Door.DEAL)

    # Ken and Li share a browser; Ken's mail is forwarded to Jane's laptop, which proves nothing.
    pages("office-pc", 3)
    form("ken", "office-pc", at=100)
    form("li", "office-pc", at=200)
    clicked = a_record(
        type="track",
        name=names.EMAIL_CLICKED,
        ids=[address("ken@acme.example")],
        at=minutes(150),
        visitor="jane-laptop",
        context={"method": "GET"},
    )
    fact(clicked, Door.LINK)

    # Mia is a customer number at first; then she tells her address with it.
    pages("mia-phone", 2)
    number, mail = user("C-77"), "mia@acme.example"
    fact(a_record(type="identify", ids=[number], at=minutes(20), visitor="mia-phone"))
    fact(a_record(ids=[number], at=minutes(30), path="/pumps/p-200"))
    told = a_record(type="identify", ids=[address(mail), number], at=minutes(200))
    fact(told, contact={address(mail): {"email": mail, "last_name": "Mia"}})
    if rng.random() < 0.7:
        fact(a_record(ids=[number], type="track", name=names.FORM_SUBMITTED, at=minutes(210)))

    # Noa clicks a mail on a browser where nobody told a name, then wants no more of them.
    fact({**clicked, "ids": [address("noa@acme.example")], "visitor": "noa-tablet"}, Door.LINK)
    form("noa")
    leaving = rng.choice([names.EMAIL_UNSUBSCRIBED, names.EMAIL_COMPLAINED, names.EMAIL_BOUNCED])
    fact(a_record(type="track", name=leaving, ids=[address("noa@acme.example")], at=minutes(250)), Door.EMAIL)

    # Pat and Quinn share a login and a telephone; each confirms an address, so neither glues them. Ray's two addresses
    # were merged, and the number that Sue was told with is another's.
    login, desk = user("office"), HASHER.phone("+81312345678") or ""
    for name in ("pat", "quinn"):
        ids = [address(f"{name}@acme.example"), login, desk]
        fact(a_form(ids=ids, at=minutes(rng.randint(0, 300))), Door.FORM)
        if rng.random() < 0.8:
            moment = minutes(rng.randint(0, 300))
            fact(a_record(type="track", name=names.CONSENT_CONFIRMED, ids=ids[:1], at=moment), Door.LINK)
    for _ in range(3):
        moment, visitor = minutes(rng.randint(0, 300)), rng.choice(["", "pat-pc"])
        fact(a_record(ids=[rng.choice([login, desk])], visitor=visitor, at=moment))
    for decided, one, other in (
        (names.PERSONS_MERGED, address("ray@acme.example"), address("ray@new.example")),
        (names.PERSONS_SPLIT, address("sue@acme.example"), user("C-9")),
    ):
        fact(a_form(ids=[one], at=minutes(rng.randint(0, 300))), Door.FORM)
        ids = [other] if decided == names.PERSONS_MERGED else [one, other]
        fact(a_record(type="identify", ids=ids, at=minutes(rng.randint(0, 300))))
        fact(a_record(type="track", name=decided, ids=[one, other], at=minutes(rng.randint(0, 300))), Door.OPERATOR)

    # A crawler reads too, and somebody who stays unknown.
    pages("crawler", 2, GOOGLEBOT)
    pages("unknown", 2)
    rng.shuffle(facts)
    return facts
