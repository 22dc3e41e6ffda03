"""closedloop rebuild: everybody anew, page by page, going on where it was stopped."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from closedloop.cli.rebuild import rebuilt
from closedloop.events.event import Door
from closedloop.identity.persons import person_id
from closedloop.runtime import doors
from closedloop.store.calls import Dynamo
from closedloop.store.ledger import Ledger
from tests.accounts import EVENTS, STATE, Account
from tests.builders import a_form, a_packet

PEOPLE = [f"email:person-{number}" for number in range(10)]


class Paged:
    """DynamoDB, whose scans end after three items as they do after a megabyte."""

    def __init__(self, dynamo: Dynamo) -> None:
        self._dynamo = dynamo

    def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        return self._dynamo.call(operation, {**parameters, "Limit": 3} if operation == "Scan" else parameters)


@pytest.fixture
def told(account: Account) -> Account:
    """Ten people of whom the ledger knows and State does not, and a packet that nobody can read."""
    packets = [
        a_packet(a_form(f"f{number}", ids=[name], visitor=f"v{number}"), door=Door.FORM, site="demo")
        for number, name in enumerate(PEOPLE)
    ]
    account.ledger.append(packets)
    broken = {**account.items()[0], "sk": {"S": "2026-11-24T06:00:00.000Z#broken"}, "body": {"S": "{"}}
    account.client("dynamodb").put_item(TableName=EVENTS, Item=broken)
    return account


def rebuild(pages: int = 99, *, anew: bool = False) -> dict[str, int]:
    """Rebuild until so many pages are done, then press Ctrl-C."""
    ledger = Ledger(Paged(doors.dynamo()), EVENTS, lambda attempt: None)
    left = iter(range(pages))

    def tell(done: int) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt

    return rebuilt(doors.state(), ledger, 1, 1, anew=anew, tell=tell)


def known(account: Account) -> set[str]:
    return {item["pk"]["S"].removeprefix("P#") for item in account.items(STATE) if item["sk"]["S"] == "PROFILE"}


def test_a_rebuild_that_was_stopped_goes_on_where_it_was(told: Account) -> None:
    with pytest.raises(KeyboardInterrupt):
        rebuild(2)
    assert 0 < len(known(told)) < len(PEOPLE)
    gone_on = rebuild()
    assert gone_on["packets"] < len(PEOPLE)
    assert known(told) == set(map(person_id, PEOPLE))
    assert rebuild() == {"packets": 10, "unusable": 1, "persons": 10, "changed": 0}
    assert told.failed() == []


def test_a_rebuild_begins_anew_when_it_is_asked_to_or_the_rules_are_others(told: Account) -> None:
    with pytest.raises(KeyboardInterrupt):
        rebuild(2)
    place = next(item for item in told.items(STATE) if item["pk"]["S"] == "REBUILD")
    assert rebuild(anew=True)["packets"] == 10
    told.client("dynamodb").put_item(TableName=STATE, Item={**place, "rules": {"S": "those of before"}})
    assert rebuild()["packets"] == 10
