"""Which persons an account has: derived with the contact, moved with it, and never under a clear name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

import pytest

from closedloop.errors import MissingSetting, ProfileMoved
from closedloop.identity.accounts import Keys, accounts_of, keys_of
from closedloop.profiles.profile import Profile
from closedloop.store import schema
from closedloop.store.calls import Dynamo
from closedloop.store.state import State
from tests.builders import HASHER, JANE, KEN, NOW, SITE, a_profile, minutes

Rows = Callable[[str], list[dict[str, Any]]]
JANES, KENS = a_profile(), a_profile("p_ken", (KEN,))
NTA = "7000012050002"


def contact(domain: str = "", number: str = "", group: str = "") -> dict[str, str]:
    told = {"company_domain": domain, "corporate_number": number, "company_id": group}
    return {"email": "jane@acme.example", **{name: word for name, word in told.items() if word}}


ACME, BETA = contact("acme.co.jp"), contact("beta.co.jp")


def keys(told: Mapping[str, str]) -> Keys:
    return keys_of(told, lambda: HASHER)


[OF_ACME], [OF_BETA] = keys(ACME), keys(BETA)


def test_who_has_a_key_is_found_by_it_with_all_their_keys(state: State) -> None:
    state.put_profile(JANES, 0, NOW, contact("acme.co.jp", NTA, "a-1"))
    state.put_profile(KENS, 0, NOW, ACME)
    every = keys(contact("acme.co.jp", NTA, "a-1"))
    assert len(every) == 3
    assert dict(state.members(OF_ACME)) == {"p_jane": every, "p_ken": (OF_ACME,)}
    for key in every[:2]:
        assert list(state.members(key)) == [("p_jane", every)]
    assert set(state.account_keys(SITE)) == set(every)
    assert list(state.account_keys("contoso")) == []


def test_nobody_has_a_key_of_a_contact_that_says_nothing_of_a_company(state: State, tables: tuple[str, str]) -> None:
    state.put_profile(JANES, 0, NOW, {"email": "jane@gmail.com", "company": "Acme"})
    assert list(state.account_keys(SITE)) == []


def test_whoever_changes_company_leaves_the_one_and_joins_the_other_and_may_come_back(state: State) -> None:
    for version, (told, here, there) in enumerate((
        (ACME, OF_ACME, OF_BETA), (BETA, OF_BETA, OF_ACME), (ACME, OF_ACME, OF_BETA), (ACME, OF_ACME, OF_BETA),
    )):
        state.put_profile(JANES, version, minutes(version), told)
        assert list(state.members(here)) == [("p_jane", (here,))]
        assert list(state.members(there)) == []


def test_a_stronger_key_is_told_to_the_weaker_one(state: State) -> None:
    state.put_profile(JANES, 0, NOW, ACME)
    state.put_profile(JANES, 1, NOW, contact("acme.co.jp", NTA))
    state.put_profile(KENS, 0, NOW, ACME)
    number = keys(contact(number=NTA))[0]
    assert dict(state.members(OF_ACME)) == {"p_jane": (number, OF_ACME), "p_ken": (OF_ACME,)}
    assert accounts_of(dict(state.members(OF_ACME))) == {number: ("p_jane", "p_ken")}


def test_a_profile_stored_without_another_contact_moves_nobody(state: State) -> None:
    state.put_profile(JANES, 0, NOW, ACME)
    state.put_profile(a_profile(fit=60), 1, NOW)
    assert list(state.members(OF_ACME)) == [("p_jane", (OF_ACME,))]


def test_whoever_was_slower_moves_nobody(state: State) -> None:
    state.put_profile(JANES, 0, NOW, ACME)
    with pytest.raises(ProfileMoved):
        state.put_profile(a_profile(fit=60), 7, NOW, BETA)
    assert (list(state.members(OF_ACME)), list(state.members(OF_BETA))) == ([("p_jane", (OF_ACME,))], [])


def test_one_who_became_another_is_of_no_account_and_is_again_when_that_is_undone(state: State) -> None:
    state.put_profile(KENS, 0, NOW, BETA)
    state.put_profile(JANES, 0, NOW, ACME, former={"p_ken": 1})
    assert dict(state.members(OF_ACME)) | dict(state.members(OF_BETA)) == {"p_jane": (OF_ACME,)}
    state.put_profile(KENS, 2, NOW, BETA)
    assert list(state.members(OF_BETA)) == [("p_ken", (OF_BETA,))]


def test_of_many_who_became_one_as_many_leave_as_one_write_holds(
    state: State, monkeypatch: pytest.MonkeyPatch
) -> None:
    # As with a hundred writes and thirty who became one, in small.
    monkeypatch.setattr("closedloop.store.profiles.MOST_WRITES", 20)
    former = {f"p_{number}": 1 for number in range(4)}
    for number, person in enumerate(former):
        state.put_profile(a_profile(person, (f"email:{number}",)), 0, NOW, contact(f"c{number}.example", NTA, "a-1"))
    state.put_profile(JANES, 0, NOW, ACME, former=former)
    assert all(state.profile(person).moved_to == "p_jane" for person in former)
    # Those that stay are of persons without a profile, whom whoever reads passes over.
    stay = dict(state.members(keys(contact(group="a-1"))[0]))
    assert set(stay) < set(former)


def test_of_whom_nothing_is_known_any_more_no_account_is_left(state: State) -> None:
    state.put_profile(JANES, 0, NOW, ACME)
    state.drop_profile("p_jane", 1, NOW, SITE)
    assert list(state.members(OF_ACME)) == []


def test_what_somebody_left_ends_by_itself(state: State, tables: tuple[str, str], rows: Rows) -> None:
    state.put_profile(JANES, 0, NOW, ACME)
    state.put_profile(JANES, 1, minutes(1), BETA)
    ends = {row[schema.PK]["S"]: row.get(schema.TTL, {}).get("N") for row in rows(tables[1])
            if row[schema.PK]["S"].startswith("A#")}
    assert ends == {f"A#{OF_ACME}": str(int(minutes(1).timestamp())), f"A#{OF_BETA}": None}


def test_no_key_holds_a_clear_name_of_a_company(state: State, tables: tuple[str, str], rows: Rows) -> None:
    state.put_profile(JANES, 0, NOW, contact("secret-acme.co.jp", NTA, "secret-id"))
    for row in rows(tables[1]):
        words = repr(row) if row[schema.SK]["S"] != "CONTACT" else repr((row[schema.PK], row[schema.SK]))
        assert not any(word in words for word in ("secret-acme", NTA, "secret-id")), row


def test_two_customer_lists_have_no_account_in_common(state: State) -> None:
    state.put_profile(JANES, 0, NOW, ACME)
    state.put_profile(Profile("p_other", "contoso", (JANE,), "", "", 1), 0, NOW, ACME)
    assert [person for person, _ in state.members(OF_ACME)] == ["p_jane"]
    [other] = state.account_keys("contoso")
    assert other != OF_ACME


def test_a_long_list_of_persons_is_paged_through(state: State) -> None:
    for number in range(20):
        # A group id makes three keys, each of which holds all three.
        told = contact("acme.co.jp", NTA, "a-1") | {"note": "x" * 100}
        state.put_profile(a_profile(f"p_{number:02}", (f"email:{number}",)), 0, NOW, told)
    assert [person for person, _ in state.members(OF_ACME)] == [f"p_{number:02}" for number in range(20)]


def test_without_the_pepper_no_company_is_kept_rather_than_one_in_clear(
    engine: tuple[Dynamo, Any], tables: tuple[str, str]
) -> None:
    bare = State(engine[0], tables[1])
    bare.put_profile(JANES, 0, NOW, {"email": "jane@gmail.com"})
    with pytest.raises(MissingSetting):
        bare.put_profile(JANES, 1, NOW, ACME)


class DiesAt:
    """Carries so many calls and no more."""

    def __init__(self, dynamo: Dynamo, calls: int) -> None:
        self._dynamo, self._left = dynamo, calls

    def call(self, operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
        self._left -= 1
        if self._left < 0:
            raise KeyboardInterrupt
        return self._dynamo.call(operation, parameters)


def test_killed_at_any_call_somebody_is_of_the_account_that_their_contact_says(
    engine: tuple[Dynamo, Any], tables: tuple[str, str], state: State
) -> None:
    state.put_profile(JANES, 0, NOW, ACME)
    for calls in count():
        version = state.profile("p_jane").version
        told, key = (BETA, OF_BETA) if state.contact("p_jane") == ACME else (ACME, OF_ACME)
        dying = State(DiesAt(engine[0], calls), tables[1], state._pepper)
        try:
            dying.put_profile(JANES, version, NOW, told)
        except KeyboardInterrupt:
            now = keys(state.contact("p_jane"))[0]
            assert [person for person, _ in state.members(now)] == ["p_jane"]
            continue
        assert [person for person, _ in state.members(key)] == ["p_jane"]
        assert calls >= 2
        break


@pytest.fixture(autouse=True)
def small_pages(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Pages of a few entries, so that a list of twenty has three."""
    pages = State._pages

    def few(self: State, query: dict[str, Any], *operation: str) -> Iterator[Any]:
        return pages(self, {**query, "Limit": 7}, *operation)

    monkeypatch.setattr(State, "_pages", few)
    yield
