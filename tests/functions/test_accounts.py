"""From the doors to the account: who buys for which company, in whatever order and however often it is told."""

from __future__ import annotations

import itertools
import json
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from closedloop.events.event import ROW_RETRACTED, Door
from closedloop.events.identifiers import Hasher
from closedloop.events.packet import Packet, pack
from closedloop.identity.accounts import accounts_of, keys_of
from closedloop.identity.persons import person_id
from functions.capture_beacon import handler as beacon
from functions.project_profiles import handler
from tests.accounts import EVENTS, PEPPER, STATE, Account
from tests.functions.gateway import SECRET_KEY, Context, a_request, basic, said
from tests.functions.streams import a_batch

NTA, TOYOTA = "7000012050002", "1180301018771"
HASHER = Hasher(PEPPER.encode(), "demo")


def call(kind: str, number: int, user: str = "", **words: Any) -> dict[str, Any]:
    named = {"userId": user} if user else {"anonymousId": f"browser-{number}"}
    return {
        "type": kind, "messageId": f"m-{number}", "timestamp": f"2026-11-24T05:{number:02}:00Z", **named, **words,
    }


def identify(number: int, email: str, user: str = "", **traits: Any) -> dict[str, Any]:
    return call("identify", number, user, traits={"email": email, **traits})


def tell(*events: dict[str, Any]) -> None:
    """A server tells of its users, each event in a request of its own."""
    for event in events:
        request = a_request("POST", "/v1/batch", json.dumps({"batch": [event]}), headers={
            "authorization": basic(SECRET_KEY),
        })
        assert said(beacon.handle(request, Context())) == {"success": True}


def project(account: Account, order: Sequence[int] = (), times: int = 1) -> None:
    items = sorted(account.items(EVENTS), key=lambda item: item["sk"]["S"])
    items = [items[place] for place in order] if order else items
    for _ in range(times):
        assert handler.handle(a_batch(items), Context()) == {"batchItemFailures": []}


def accounts(account: Account) -> dict[str, tuple[str, ...]]:
    """Every account of the demo's customer list with whom it has, as the command reads them."""
    state = account.state
    persons = dict(one for key in state.account_keys("demo") for one in state.members(key))
    return accounts_of({person: keys for person, keys in persons.items() if state.profile(person).profile})


def key(**told: str) -> str:
    return keys_of(told, lambda: HASHER)[0]


def of(email: str) -> str:
    identifier = HASHER.address(email)
    assert identifier
    return person_id(identifier)


ACME, BETA = key(company_domain="acme.co.jp"), key(company_domain="beta.co.jp")
KEN, JANE, ADA = "ken@acme.co.jp", "jane@tokyo.acme.co.jp", "ada@beta.co.jp"


def test_colleagues_are_one_account_and_free_mail_is_none(account: Account, machine: Any) -> None:
    tell(identify(1, KEN), identify(2, JANE), identify(3, ADA), identify(4, "x@gmail.com"),
         identify(5, "x@docomo.ne.jp"), identify(6, "x@mailinator.com"))
    project(account)
    assert accounts(account) == {ACME: tuple(sorted((of(KEN), of(JANE)))), BETA: (of(ADA),)}


def test_whoever_changes_company_moves_with_their_new_address(account: Account, machine: Any) -> None:
    tell(identify(1, KEN, "u-1"), identify(2, JANE))
    project(account)
    [ken] = [person for person in accounts(account)[ACME] if person != of(JANE)]
    tell(identify(3, "ken@beta.co.jp", "u-1"))
    project(account)
    found = accounts(account)
    assert found[ACME] == (of(JANE),)
    assert len(found[BETA]) == 1
    assert ken not in found[ACME]


def test_an_explicit_group_call_goes_before_a_number_and_a_number_before_a_domain(
    account: Account, machine: Any
) -> None:
    tell(identify(1, KEN, "u-1", corporate_number="７０００-0120-50002"))
    project(account)
    number = key(corporate_number=NTA)
    assert list(accounts(account)) == [number]
    tell(call("group", 2, "u-1", groupId="acme-holding", traits={"name": "Acme 株式会社", "email": "info@acme.co.jp"}))
    project(account)
    assert list(accounts(account)) == [key(company_id="acme-holding")]
    # Of whom only the domain is known goes along, and nobody else.
    tell(identify(3, JANE), identify(4, ADA))
    project(account)
    assert {name: len(members) for name, members in accounts(account).items()} == {
        key(company_id="acme-holding"): 2, BETA: 1,
    }
    contacts = [account.state.contact(person) for members in accounts(account).values() for person in members]
    named = next(contact for contact in contacts if "company_id" in contact)
    # The traits of a group call are the company's.
    assert (named["company"], named["email"], named.get("name")) == ("Acme 株式会社", KEN, None)
    assert account.state.links(HASHER.address("info@acme.co.jp") or "") == []


def state_of(account: Account) -> list[Any]:
    """All that State has of accounts and contacts; how often a profile was written is left out."""
    kept = [item for item in account.items(STATE) if item["pk"]["S"].startswith(("A#", "GA#"))
            or item["sk"]["S"] == "CONTACT"]
    return sorted(json.dumps({name: item[name] for name in item if name != "expires_at"}) for item in kept)


def test_in_whatever_order_and_however_often_it_comes_it_is_the_same(account: Account, machine: Any) -> None:
    tell(identify(1, KEN, "u-1"), call("group", 2, "u-1", groupId="acme-1"), identify(3, JANE, "u-2"),
         identify(4, JANE, "u-2", corporate_number=TOYOTA))
    project(account)
    wanted = accounts(account)
    assert len(wanted) == 2
    live = state_of(account)
    for order in itertools.permutations(range(4)):
        for item in account.items(STATE):
            if item["pk"]["S"].startswith(("A#", "GA#", "P#", "N#", "G#")):
                account.client("dynamodb").delete_item(
                    TableName=STATE, Key={"pk": item["pk"], "sk": item["sk"]}
                )
        project(account, order, times=2)
        assert (accounts(account), state_of(account)) == (wanted, live), order


def test_told_again_nothing_is_written(account: Account, machine: Any) -> None:
    tell(identify(1, KEN, "u-1"), call("group", 2, "u-1", groupId="acme-1"))
    project(account)
    before = sorted(map(repr, account.items(STATE)))
    project(account, times=2)
    assert sorted(map(repr, account.items(STATE))) == before


def test_neither_table_has_a_clear_company_among_its_keys(account: Account, machine: Any) -> None:
    tell(identify(1, "ken@secret-acme.co.jp", "u-1", corporate_number=NTA), identify(2, "jane@secret-acme.co.jp"))
    project(account)
    for item in (*account.items(EVENTS), *account.items(STATE)):
        assert "secret-acme" not in item["pk"]["S"] + item["sk"]["S"]
        if item["sk"]["S"] not in ("CONTACT",) and item["pk"]["S"].startswith(("A#", "GA#")):
            assert "secret-acme" not in repr(item)


def test_a_page_may_name_the_company_of_its_visitor_before_it_names_the_visitor(account: Account, machine: Any) -> None:
    tell(call("group", 1, groupId="acme-1"))
    project(account)
    assert accounts(account) == {}
    tell({**identify(2, KEN), "anonymousId": "browser-1"})
    project(account)
    assert accounts(account) == {key(company_id="acme-1"): (of(KEN),)}


def test_a_former_packet_without_a_group_is_read_as_ever(account: Account) -> None:
    tell(identify(1, KEN))
    assert [event.group for packet in account.packets() for event in packet.events] == [""]


def row(email: str, minute: int, retracts: str = "") -> Packet:
    """A list's row that gives an address the customer number u-9, or what takes such a row back."""
    name = f"demo/list/{email}"
    ids = [str(HASHER.address(email)), str(HASHER.user("u-9"))]
    record = {"type": "identify", "id": name, "name": ""} | (
        {"type": "track", "id": f"{name}-gone", "name": ROW_RETRACTED} if retracts else {}
    )
    record |= {"at": f"2026-11-24T05:{minute}:00.000Z", "ids": ids, "traits": {}, "properties": {"retracts": retracts}}
    received = datetime(2026, 11, 24, 6, minute, tzinfo=UTC)
    [packet] = pack([(f"I#{ids[0]}", record, {})], site="demo", door=Door.LIST, received_at=received, headers={})
    return packet


def test_two_who_become_one_and_two_again_are_of_their_accounts_each_time(account: Account, machine: Any) -> None:
    other = "ken@beta.co.jp"
    tell(identify(1, KEN), identify(2, other))
    project(account)
    apart = accounts(account)
    assert apart == {ACME: (of(KEN),), BETA: (of(other),)}
    account.ledger.append([row(KEN, 30), row(other, 31)])
    project(account)
    [(_, one)] = accounts(account).items()
    assert len(one) == 1
    account.ledger.append([row(other, 40, retracts=f"demo/list/{other}")])
    project(account)
    assert accounts(account) == apart
