"""Builders with vivid defaults: Jane of Acme reads about pumps at Northwind, one November morning."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any

from closedloop.events.event import DEAL_OPENED, FORM_SUBMITTED, Door, Event, EventType
from closedloop.events.identifiers import Hasher
from closedloop.events.packet import Packet
from closedloop.events.times import iso
from closedloop.identity.evidence import EvidenceKind, Link
from closedloop.loops.definition import Loop
from closedloop.profiles.profile import Profile
from closedloop.sites.definition import Site
from closedloop.store.ledger import subject_of

NOW = datetime(2026, 11, 24, 6, 0, tzinfo=UTC)
PEPPER = b"a pepper of the tests"
SITE = "northwind"
CHROME = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/131.0.0.0 Safari/537.36"
)
GOOGLEBOT = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)"

HASHER = Hasher(PEPPER, SITE)


def the_pepper() -> bytes:
    return PEPPER


def address(text: str = "jane@acme.example") -> str:
    """The identifier of an e-mail address."""
    identifier = HASHER.address(text)
    assert identifier is not None
    return identifier


def user(text: str = "C-1001") -> str:
    """The identifier of a customer number."""
    identifier = HASHER.user(text)
    assert identifier is not None
    return identifier


JANE, KEN = address(), address("ken@acme.example")


def minutes(count: float) -> datetime:
    """A moment so many minutes after NOW."""
    return NOW + timedelta(minutes=count)


def a_site(site: str = SITE, **changes: Any) -> Site:
    """A site that sells pumps and valves and would like to meet manufacturers."""
    return Site.model_validate(
        {
            "site": site,
            "title": "Northwind Pumps",
            "write_key": f"pk_{site.replace('-', '')}0001",
            "origins": [f"https://www.{site}.example"],
            "topics": [{"path": "/pumps", "topic": "pumps"}, {"path": "/valves", "topic": "valves"}],
            "target_attributes": [{"attribute": "industry", "is_one_of": ["manufacturing"], "points": 60}],
            "forms": {
                "contact": {"fields": [{"name": "email", "kind": "email", "required": True}], "thanks": "/thanks"}
            },
            "mail_sender": {
                "name": "Northwind",
                "address": "hello@northwind.example",
                "postal_address": "1 Quay, Yokohama",
                "contact": "https://www.northwind.example/contact",
            },
            **changes,
        }
    )


def a_loop(loop: str = "autumn", **changes: Any) -> Loop:
    """A loop from research over problem and proposal to customer; a mail waits at the first three stages."""
    mail = {"subject": "Pumps", "text": "Hello, read {{ link }}", "link": "https://www.northwind.example/pumps"}
    return Loop.model_validate(
        {
            "loop": loop,
            "sites": [SITE],
            "strategy": "Meet manufacturers",
            "currency": "JPY",
            "period": {"start": date(2026, 11, 1), "end": date(2026, 12, 31)},
            "objectives": [{"metric": "deals_won", "target": 3, "by": date(2026, 12, 31)}],
            "stages": ["research", "problem", "proposal", "customer"],
            "campaigns": [
                {"name": "welcome", "stage": "research", "touchpoint": "email", "mail": mail},
                {"name": "guide", "stage": "problem", "touchpoint": "email", "mail": mail},
                {"name": "offer", "stage": "proposal", "touchpoint": "email", "mail": mail},
            ],
            "gates": [
                {"name": "interested", "from": "research", "to": "problem", "when": {"visited": {"path": "/pumps"}}},
                {"name": "asked", "from": "problem", "to": "proposal", "when": {"did": {"event": FORM_SUBMITTED}}},
                {"name": "bought", "from": "proposal", "to": "customer", "when": {"deal": "won"}},
            ],
            **changes,
        }
    )


def a_record(
    id: str = "e1",
    type: str = "page",
    name: str = "",
    at: datetime = NOW,
    *,
    visitor: str = "",
    ids: Sequence[str] = (),
    deal: str = "",
    path: str = "/pumps/p-200",
    **more: Any,
) -> dict[str, Any]:
    """One stored event: a page view unless something else is said."""
    record: dict[str, Any] = {"id": f"{SITE}/beacon/{id}", "type": type, "name": name, "at": iso(at), **more}
    if type in ("page", "screen"):
        record["context"] = {
            "page": {"path": path, "url": f"https://www.northwind.example{path}"},
            **more.get("context", {}),
        }
    if visitor:
        record["visitor"] = visitor
    if ids:
        record["ids"] = list(ids)
    if deal:
        record["deal"] = deal
    return record


def a_packet(
    *records: Mapping[str, Any],
    subject: str | None = None,
    site: str = SITE,
    door: Door = Door.BEACON,
    received_at: datetime = NOW,
    agent: str = CHROME,
    contact: Mapping[str, Mapping[str, str]] | None = None,
) -> Packet:
    """A packet as a door would store it: under its browser, else its deal, else its first identifier."""
    records = records or (a_record(visitor="jane-laptop"),)
    first = records[0]
    if subject is None:
        node = (
            f"v:{site}:{first['visitor']}"
            if first.get("visitor")
            else f"deal:{site}:{first['deal']}"
            if first.get("deal")
            else first["ids"][0]
        )
        subject = subject_of(node)
    return Packet(
        subject=subject,
        site=site,
        door=door,
        received_at=received_at,
        records=tuple(records),
        contact=contact or {},
        headers={"agent": agent},
    )


def an_event(
    id: str = "e1", door: Door = Door.BEACON, received_at: datetime = NOW, agent: str = CHROME, **record: Any
) -> Event:
    """One event, read as the ledger would give it back."""
    made = a_record(id, **record)
    if not (made.get("visitor") or made.get("ids") or made.get("deal")):
        made["visitor"] = "jane-laptop"
    return a_packet(made, door=door, received_at=received_at, agent=agent).events[0]


def a_form(id: str = "f1", ids: Sequence[str] = (JANE,), **more: Any) -> dict[str, Any]:
    """Somebody names themselves in a form."""
    return a_record(id, EventType.TRACK.value, FORM_SUBMITTED, ids=ids, **more)


def a_deal(
    name: str = DEAL_OPENED, id: str = "d1", deal: str = "D-7", amount_minor: int | None = 500_000, **more: Any
) -> dict[str, Any]:
    """Something said of a deal of 500,000 yen."""
    money = {"currency": "JPY"} | ({} if amount_minor is None else {"amount_minor": amount_minor})
    return a_record(id, EventType.TRACK.value, name, deal=deal, properties=money, **more)


def a_link(
    node: str = f"v:{SITE}:jane-laptop",
    strong: str = JANE,
    at: datetime = NOW,
    kind: EvidenceKind = EvidenceKind.TOLD,
    event: str = "northwind/form/f1",
) -> Link:
    """Evidence that a browser is Jane's."""
    return Link(node, strong, kind, at, event)


def a_profile(person: str = "p_jane", nodes: Sequence[str] = (JANE,), **changes: Any) -> Profile:
    """What is known of Jane after two events."""
    values: dict[str, Any] = {
        "person": person,
        "group": SITE,
        "nodes": tuple(nodes),
        "first_at": iso(NOW),
        "last_at": iso(NOW),
        "events": 2,
        **changes,
    }
    return Profile(**values)
