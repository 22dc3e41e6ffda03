"""What the door for lists keeps in State: mappings, one writer a source, and whom many identifiers belong to."""

from __future__ import annotations

from typing import Any

import pytest

from closedloop.capture.lists.mapping import Mapping as ListMapping
from closedloop.errors import TryAgain
from closedloop.identity.persons import person_id
from closedloop.store.calls import Dynamo
from closedloop.store.lists import CLAIMED_FOR, Lists
from closedloop.store.state import State
from tests.builders import JANE, KEN, NOW, SITE, a_profile, a_site, address, minutes, user

MAPPING = ListMapping.model_validate({"source": "desk", "kind": "people", "fields": {"email": "mail", "at": "day"}})


@pytest.fixture
def lists(engine: tuple[Dynamo, Any], tables: tuple[str, str]) -> Lists:
    return Lists(engine[0], tables[1])


def test_a_mapping_is_found_by_site_kind_and_source_and_is_no_site(lists: Lists, state: State) -> None:
    state.put_site(a_site())
    lists.put_mapping(SITE, MAPPING)
    assert lists.mapping(SITE, "people", "desk") == MAPPING
    assert lists.mapping(SITE, "deals", "desk") is None
    assert lists.mapping("contoso", "people", "desk") is None
    assert set(state.sites()) == {SITE}


def test_one_import_of_a_source_writes_at_a_time(lists: Lists) -> None:
    lists.claim("s", "one", NOW)
    lists.claim("s", "one", minutes(5))
    lists.claim("other", "two", NOW)
    with pytest.raises(TryAgain):
        lists.claim("s", "two", minutes(6))
    lists.release("s", "two")
    with pytest.raises(TryAgain):
        lists.claim("s", "two", minutes(7))
    lists.release("s", "one")
    lists.claim("s", "two", minutes(8))


def test_a_claim_that_nobody_renews_lapses(lists: Lists) -> None:
    lists.claim("s", "one", NOW)
    lists.claim("s", "two", NOW + CLAIMED_FOR + (minutes(1) - NOW))


def test_many_are_looked_up_at_once_under_the_ids_that_they_have_now(lists: Lists, state: State) -> None:
    customer = user("C-1")
    jane = a_profile(person_id(JANE), (JANE, customer))
    state.put_profile(jane, 0, NOW, None, {person_id(customer): 0})
    state.put_profile(a_profile(person_id(KEN), (KEN,)), 0, NOW)
    state.drop_profile(person_id(KEN), 1, NOW, SITE)
    strangers = [address(f"nobody{number}@acme.example") for number in range(230)]
    assert lists.known([JANE, customer, KEN, *strangers]) == {JANE: jane.person, customer: jane.person}
    assert lists.addresses([jane.person, person_id(KEN), "p_nobody"]) == {jane.person: frozenset({JANE})}
    assert lists.known([]) == {}


def test_who_became_one_with_another_twice_is_followed_to_the_end(lists: Lists, state: State) -> None:
    least, middle, last = sorted(address(f"{name}@acme.example") for name in "abc")
    state.put_profile(a_profile(person_id(middle), (middle,)), 0, NOW, None, {person_id(last): 0})
    state.put_profile(a_profile(person_id(least), (least,)), 0, NOW, None, {person_id(middle): 1})
    assert lists.known([last]) == {last: person_id(least)}
