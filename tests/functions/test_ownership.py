"""What is owned follows from the ledger whatever is told first: live profiles equal those folded from all of it."""

from __future__ import annotations

from itertools import permutations
from typing import Any

from closedloop.capture.links import REFERRAL, Handed, Tokens
from closedloop.events.event import REFERRAL_FOLLOWED, Door
from closedloop.events.packet import Packet, pack
from closedloop.identity.persons import person_id
from closedloop.profiles.check import check
from closedloop.profiles.ownership import Catalogue
from closedloop.runtime import clock, doors
from closedloop.store.ledger import packet_item
from functions.follow_link import handler as follow_link
from functions.project_profiles import handler as projector
from tests.accounts import Account
from tests.functions.gateway import CHROME, Context, a_request
from tests.functions.streams import a_batch
from tests.unit.test_ownership import PUMPS

AT = "2026-11-24T0{}:00:00.000Z"


def told(deal: str, hour: int, name: str, who: str = "", **properties: Any) -> Packet:
    record = {
        "id": f"demo/crm/{deal}-{hour}", "type": "track", "name": name, "at": AT.format(hour), "deal": deal,
        "ids": [f"email:{who}"] if who else [], "properties": properties,
    }
    return pack([(f"D#demo#{deal}", record, {})], site="demo", door=Door.DEAL, received_at=clock.now(),
                headers={"agent": CHROME})[0]


def deliver(account: Account, *packets: Packet) -> None:
    account.ledger.append(packets)
    reply = projector.handle(a_batch([packet_item(packet) for packet in packets]), Context())
    assert reply == {"batchItemFailures": []}


def live(account: Account, who: str) -> Any:
    return account.state.profile(person_id(f"email:{who}")).profile


def stale(account: Account) -> Any:
    sites = doors.sites()
    return check(account.packets(), lambda person: account.state.profile(person).profile, sites).stale


def test_whatever_comes_first_a_deal_ends_with_its_last_buyer_and_the_live_profiles_are_the_ledgers(
    account: Account, machine: Any
) -> None:
    for n, order in enumerate(permutations(range(4))):
        words = [
            told(f"d{n}", 1, "Deal Opened", f"jane{n}", product="NP-200"),
            told(f"d{n}", 2, "Deal Changed", f"ken{n}", product="NP-400", quantity=2),
            told(f"d{n}", 3, "Deal Won", amount_minor=500, currency="JPY"),
            told(f"d{n}", 4, "Deal Paid", f"jane{n}", amount_minor=200, currency="JPY"),
        ]
        for place in order:
            deliver(account, words[place])
        deliver(account, words[order[0]])
        assert live(account, f"jane{n}") is None, order
        ken = live(account, f"ken{n}")
        assert [(one.product, one.quantity, one.since) for one in ken.owned] == [("NP-400", 2, AT.format(3))], order
        assert ken.deals[f"demo/d{n}"].paid_minor == 200
    assert stale(account) == ()


def test_a_link_that_was_followed_is_known_of_the_person_who_names_themselves_later(
    account: Account, machine: Any
) -> None:
    signed = Tokens(doors.link_keys()).sign(REFERRAL, Handed("demo", "email:jane", "https://www.northwind.example/"))
    reply = follow_link.handle(a_request("GET", f"/r/{signed}", parts={"token": signed}), Context())
    visitor = reply["cookies"][0].partition("=")[2].partition(";")[0]
    (came,) = account.packets()
    assert came.records[0]["name"] == REFERRAL_FOLLOWED
    projector.handle(a_batch([packet_item(came)]), Context())
    form = {
        "id": "demo/form/f", "type": "track", "name": "Form Submitted", "at": AT.format(7), "visitor": visitor,
        "ids": ["email:guest"], "properties": {},
    }
    deliver(account, pack([(f"V#demo#{visitor}", form, {})], site="demo", door=Door.FORM,
                          received_at=clock.now(), headers={"agent": CHROME})[0])
    assert [one.by for one in live(account, "guest").referred] == ["email:jane"]
    assert live(account, "jane") is None
    assert stale(account) == ()


def test_what_is_declared_of_products_later_is_known_at_once_without_folding_again(
    account: Account, machine: Any
) -> None:
    deliver(account, told("d1", 1, "Deal Won", "ken", product="np-200"))
    (thing,) = live(account, "ken").owned
    declared = doors.sites()["demo"].model_copy(update={"products": {}})
    assert Catalogue([declared]).class_of(thing) == ""
    later = type(declared).model_validate(declared.model_dump(by_alias=True, exclude_defaults=True) | {
        "products": PUMPS, "topics": [{"path": "/products/pumps", "topic": "pumps"}],
    })
    assert Catalogue([later]).class_of(thing) == "pump"
